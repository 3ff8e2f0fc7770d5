"""The settings of Interledger.rs as ours: its JSON or YAML file, its variables `ILP_*`. Imports
errors alone.

Names and meanings are its own (docs/interledger-rs.md). What we have no use for is said, with the
reason; its Redis is not read.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fastilp.errors import ConfigError

_PREFIX = "ILP_"
NAMES = {
    "ilp_address": "node.ilp_address",
    "secret_seed": "node.secret_seed",
    "admin_auth_token": "node.admin_auth_token",
    "http_bind_address": "listen.http",
    "settlement_api_bind_address": "listen.settlement",
    "exchange_rate.provider": "exchange_rate.provider",
    "exchange_rate.poll_interval": "exchange_rate.poll_interval",
    "exchange_rate.poll_failure_tolerance": "exchange_rate.poll_failure_tolerance",
    "exchange_rate.spread": "exchange_rate.spread",
    "default_spsp_account": "payments.default_spsp_account",
    "route_broadcast_interval": "routing.route_broadcast_interval",
    "settle_every": "settlement.settle_every",
    "prometheus.bind_address": "prometheus.bind_address",
}
"""Their settings that we have: theirs -> ours, section and key."""

_NO_REDIS = "the books are in node.data_dir; accounts are not taken over from Redis"
_NO_QUANTILES = "durations are sums and counts, without quantiles"
_NO_PUBSUB = "[packet_records] sends the same records to a webhook or a file"
REASONS = {
    "database_url": _NO_REDIS,
    "redis_url": _NO_REDIS,
    "database_prefix": "every node has a data directory of its own",
    "prometheus.histogram_window": _NO_QUANTILES,
    "prometheus.histogram_granularity": _NO_QUANTILES,
    "google_pubsub.service_account_credentials": _NO_PUBSUB,
    "google_pubsub.project_id": _NO_PUBSUB,
    "google_pubsub.topic": _NO_PUBSUB,
}
"""Their settings that we have not, and why."""

# The one provider that is written as a table, for the sake of its key.
_KEYED_PROVIDER = "exchange_rate.provider.cryptocompare"


def imported(source: Path | None) -> tuple[str, list[str]]:
    """TOML, and a line for each setting that has no place in it. Raises ConfigError."""
    # A variable comes behind what is in the file, and replaces it.
    settings = _flat(_read(source) if source is not None else {}) | _environment()
    if not settings:
        raise ConfigError("nothing to import: no file, and no variable ILP_…")
    sections: dict[str, dict[str, str]] = {}
    left_out = []
    for name, value in settings.items():
        if name.lower() == _KEYED_PROVIDER:
            found = f"{{ CryptoCompare = {json.dumps(str(value))} }}"
            sections.setdefault("exchange_rate", {})["provider"] = found
        elif name in NAMES:
            section, _, key = NAMES[name].partition(".")
            # A JSON string of printable text is a TOML basic string.
            sections.setdefault(section, {})[key] = json.dumps(str(value))
        elif value is not None:
            left_out.append(f"{name} is left out: {REASONS.get(name, 'it is no setting known')}")
    return _toml(sections), left_out


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", path=str(path)) from None
    try:
        # As texts: a seed of digits must not become a number, nor a rate a float.
        found = (
            json.loads(text, parse_int=str, parse_float=str)
            if path.suffix == ".json"
            else yaml.load(text, Loader=yaml.BaseLoader)
        )
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"is not valid: {error}", path=str(path)) from None
    if not isinstance(found, dict):
        raise ConfigError("must hold names and values", path=str(path))
    return found


def _environment() -> dict[str, Any]:
    """Nesting is by two underscores; `ILP_ADDRESS` is another name of `ilp_address`."""
    found = {}
    for variable, value in sorted(os.environ.items()):
        if not variable.startswith(_PREFIX) or variable.startswith("ILP_CLI_"):
            continue
        name = variable.removeprefix(_PREFIX).lower().replace("__", ".")
        found["ilp_address" if name == "address" else name] = value
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            flat |= _flat(value, f"{key}.")
        else:
            flat[key] = value
    return flat


def _toml(sections: Mapping[str, Mapping[str, str]]) -> str:
    lines = []
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{key} = {value}" for key, value in values.items())]
    return "\n".join(lines) + "\n"
