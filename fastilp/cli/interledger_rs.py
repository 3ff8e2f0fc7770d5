"""The settings of Interledger.rs as ours: its JSON or YAML file, its variables `ILP_*`. Imports the
settings' models, to be sure that what is written can be read.

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
# Theirs -> ours.
_NAMES = {
    "ilp_address": ("node", "ilp_address"),
    "secret_seed": ("node", "secret_seed"),
    "admin_auth_token": ("node", "admin_auth_token"),
    "http_bind_address": ("listen", "http"),
    "settlement_api_bind_address": ("listen", "settlement"),
    "exchange_rate.spread": ("exchange_rate", "spread"),
    "route_broadcast_interval": ("routing", "route_broadcast_interval"),
}
_REASONS = {
    "database_url": "the books are in node.data_dir; accounts are not taken over from Redis",
    "redis_url": "the books are in node.data_dir; accounts are not taken over from Redis",
    "database_prefix": "every node has a data directory of its own",
}
_NO_PLACE = "there is no setting for it in this version"


def imported(source: Path | None) -> tuple[str, list[str]]:
    """TOML, and a line for each setting that has no place in it. Raises ConfigError."""
    settings = _flat(_read(source) if source is not None else {}) | _environment()
    if not settings:
        raise ConfigError("nothing to import: no file, and no variable ILP_…")
    sections: dict[str, dict[str, str]] = {
        "node": {},
        "listen": {},
        "exchange_rate": {},
        "routing": {},
    }
    left_out = []
    for name, value in settings.items():
        if name in _NAMES:
            section, key = _NAMES[name]
            sections[section][key] = str(value)
        elif value is not None:
            left_out.append(f"{name} is left out: {_REASONS.get(name, _NO_PLACE)}")
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
        if values:
            lines.append(f"[{section}]")
            # A JSON string of printable text is a TOML basic string.
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
