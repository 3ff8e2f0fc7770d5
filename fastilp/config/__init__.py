"""Settings of a node: a TOML file, `FASTILP_<SECTION>__<KEY>` of the environment, flags.

The only reader of the environment. Imports errors and `models`, where the sections are.
Promises that what `load` returns is complete and right, or a ConfigError that lists everything
that is wrong: file or variable, dotted key, what it was and what it should be. Names and
defaults are those of Interledger.rs where it has the setting.
"""

import difflib
import os
import re
import secrets
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from fastilp.config.models import AccountConfig, ServiceConfig, Settings, contradictions
from fastilp.config.partial import more_problems
from fastilp.errors import ConfigError

_PREFIX = "FASTILP_"
# Settings of settlement engines, which may run beside the node.
_OF_ENGINES = f"{_PREFIX}ENGINE_"
_SECRET_KEY = re.compile(r"(token|secret_seed)$")
# What steers the build and the tests of this repository.
_SWITCHES = {
    f"{_PREFIX}{name}"
    for name in (
        "CACHE",
        "CHECK_EVERY_BATCH",
        "COVERAGE",
        "DEBUG",
        "HUNT",
        "LMDB",
        "SANITIZE",
        "SOAK",
        "STREAM_VECTORS",
    )
}


def load(path: str | Path | None = None, overrides: Mapping[str, object] | None = None) -> Settings:
    """Flags (`overrides`, by dotted key) win over the environment, and that over the file."""
    file = _read_file(Path(path)) if path is not None else {}
    environment = _read_environment()
    flags = _nest(overrides or {})
    merged = _merge(_merge(file, environment), flags)
    origins = [("flags", flags), ("environment", environment), (str(path or "defaults"), file)]
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        problems = _problems(error, merged)
        raise _config_error(problems + more_problems(error, merged, problems), origins) from None
    found = contradictions(settings)
    if found:
        raise _config_error(found, origins)
    return _with_whole_paths(settings, path, (environment, flags))


# Paths that a setting names, or has as its default.
_PATHS = (
    ("node", "data_dir"),
    ("exchange_rate", "file"),
    ("payments", "ca_file"),
    ("packet_records", "file"),
    *(
        ("listen", f"{name}_tls_{part}")
        for name in ("http", "admin", "batch")
        for part in ("certificate", "key")
    ),
)


def _with_whole_paths(
    settings: Settings, path: str | Path | None, apart: tuple[dict[str, Any], ...]
) -> Settings:
    """A path of the file, or a default, must not depend on where the node is started from."""
    for section_name, key in _PATHS:
        section = getattr(settings, section_name)
        value = getattr(section, key)
        if value is None:
            continue
        given_apart = any(key in (each.get(section_name) or {}) for each in apart)
        folder = Path(path).parent if path is not None and not given_apart else Path()
        update = {key: os.path.abspath(folder / value)}
        section = section.model_copy(update=update)
        settings = settings.model_copy(update={section_name: section})
    if path is None:
        return settings
    services = tuple(
        # A file is beside the settings; a module is found by its name.
        each.model_copy(update={"service": os.path.abspath(Path(path).parent / each.service)})
        if each.service.rpartition(":")[0].endswith(".py") else each
        for each in settings.services
    )  # fmt: skip
    return settings.model_copy(update={"services": services})


def unknown_variables() -> list[str]:
    """Variables that begin like ours and are read by nobody: most likely a setting misspelled."""
    known = {f"{_PREFIX}{section.upper()}" for section in Settings.model_fields} | _SWITCHES
    return [
        name
        for name in sorted(os.environ)
        if name.upper().startswith(_PREFIX)
        and "__" not in name
        and name.upper() not in known
        and not name.upper().startswith(_OF_ENGINES)
    ]


def secret_seed(settings: Settings) -> tuple[bytes, Path | None]:
    """The node's root secret, and the file it was generated into if this call made it.

    Call it with the data directory locked: two nodes must not generate two seeds.
    """
    if settings.node.secret_seed is not None:
        return bytes.fromhex(settings.node.secret_seed.get_secret_value()), None
    path = Path(settings.node.data_dir) / "secret_seed"
    if path.exists():
        return _read_seed(path), None
    seed = secrets.token_bytes(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(seed.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return seed, path


def _read_seed(path: Path) -> bytes:
    text = path.read_text().strip()
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ConfigError(
            "holds something other than 32 bytes in hex; restore it, or give node.secret_seed",
            path=str(path),
        )
    return bytes.fromhex(text)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            # Decimal, so that a rate written as a number is the number that was written.
            return tomllib.load(file, parse_float=Decimal)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not TOML: {error}", path=str(path)) from None


def _read_environment() -> dict[str, Any]:
    for name in sorted(os.environ):
        section, delimiter, _ = name.removeprefix(_PREFIX).partition("__")
        # Names without a section are not ours: FASTILP_DEBUG and such steer the build.
        if name.startswith(_PREFIX) and delimiter and section.lower() not in Settings.model_fields:
            known = ", ".join(f"{_PREFIX}{field.upper()}__…" for field in Settings.model_fields)
            raise ConfigError(f"{name} names no section; there are {known}", path="environment")
    try:
        found = EnvSettingsSource(Settings, env_prefix=_PREFIX, env_nested_delimiter="__")()
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        name = f"{_PREFIX}{field[1].upper()}" if field else "a section"
        message = f"{name} must be a whole section as JSON: {error.__cause__ or error}"
        raise ConfigError(message, path="environment") from None
    # Names in the environment have no case; asset codes are upper case anyway.
    return {key: _upper_keys(value) if key == "rates" else value for key, value in found.items()}


def _nest(flags: Mapping[str, object]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for dotted, value in flags.items():
        section, _, key = dotted.partition(".")
        if value is not None and not key:
            nested[section] = value
        elif value is not None:
            nested.setdefault(section, {})[key] = value
    return nested


def _merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for section, value in high.items():
        under = low.get(section)
        if section == "rates":
            under = _upper_keys(under)
        if isinstance(under, dict) and isinstance(value, dict):
            merged[section] = under | value
        elif isinstance(under, list) and isinstance(value, dict):
            merged[section] = _merge_accounts(under, value)
        else:
            merged[section] = value
    return merged


def _upper_keys(value: Any) -> Any:
    return {str(k).upper(): v for k, v in value.items()} if isinstance(value, dict) else value


def _merge_accounts(accounts: list[Any], patches: dict[str, Any]) -> list[Any]:
    """`FASTILP_ACCOUNTS__ALICE__MIN_BALANCE`: for keeping tokens out of the file."""
    merged = [dict(entry) if isinstance(entry, dict) else entry for entry in accounts]
    by_name = {str(e.get("username", "")).lower(): e for e in merged if isinstance(e, dict)}
    for name, patch in patches.items():
        if name.lower() not in by_name or not isinstance(patch, dict):
            known = ", ".join(sorted(by_name)) or "none"
            message = f"no account has the username {name!r}; there are: {known}"
            raise ConfigError(message, path="environment", key=f"accounts.{name}")
        by_name[name.lower()].update(patch)
    return merged


Origins = list[tuple[str, dict[str, Any]]]


def _config_error(problems: list[tuple[str, str]], origins: Origins) -> ConfigError:
    if len(problems) == 1:
        key, message = problems[0]
        return ConfigError(message, path=_origin(key, origins), key=key)
    lines = [f"\n  {_origin(key, origins)} [{key}]: {text}" for key, text in problems]
    return ConfigError(f"{len(problems)} settings are wrong:{''.join(lines)}")


def _problems(error: ValidationError, merged: dict[str, Any]) -> list[tuple[str, str]]:
    return [(_dotted(item["loc"], merged), _sentence(item, item["loc"])) for item in error.errors()]


def _dotted(location: tuple[int | str, ...], merged: dict[str, Any]) -> str:
    """`accounts.alice.asset_scale` says more than `accounts.0.asset_scale`."""
    parts = [str(part) for part in location if part != "[key]"]
    if len(location) > 1 and location[0] == "accounts" and isinstance(location[1], int):
        entry = merged["accounts"][location[1]]
        name = entry.get("username") if isinstance(entry, dict) else None
        parts[1] = str(name) if name else str(location[1] + 1)
    elif len(location) > 1 and isinstance(location[1], int):
        parts[1] = str(location[1] + 1)
    return ".".join(parts)


def _origin(key: str, origins: Origins) -> str:
    """The source that wins for a dotted key; the lowest one for a key that is nowhere."""
    section, _, rest = key.partition(".")
    for name, data in origins:
        here = data.get(section)
        if section == "accounts" and isinstance(here, dict):
            username, _, rest = rest.partition(".")
            here = here.get(username.lower())
        if (isinstance(here, dict) and (rest in here or not rest)) or isinstance(here, list):
            return name
    return origins[-1][0]


# Sections that are lists, and the model of an entry.
_LISTS: dict[str, type[BaseModel]] = {"accounts": AccountConfig, "services": ServiceConfig}
_WORDS = {"string_type": "must be a text", "string_too_short": "must not be empty"}


def _sentence(item: Any, location: tuple[int | str, ...]) -> str:
    kind = item["type"]
    if kind == "extra_forbidden":
        return _unknown_key(location)
    if kind == "missing":
        return "is missing"
    if kind in ("model_type", "dict_type", "tuple_type"):
        wanted = "a list of tables, [[…]]" if kind == "tuple_type" else "a table, […]"
        return f"must be {wanted}"
    message = _WORDS.get(kind, str(item["msg"]).removeprefix("Value error, "))
    if kind in ("literal_error", "enum"):
        message = f"must be {item['ctx']['expected']}"
    value = item["input"]
    is_secret = bool(location) and bool(_SECRET_KEY.search(str(location[-1])))
    if isinstance(value, str | int | float | Decimal) and not is_secret:
        return f"{str(value)!r}: {message}"
    return message


def _unknown_key(location: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = Settings
    if len(location) > 1:
        annotation = Settings.model_fields[str(location[0])].annotation
        model = _LISTS.get(str(location[0])) or annotation  # type: ignore[assignment]
    known = list(model.model_fields)
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    if close:
        return f"is not a setting; did you mean {close[0]!r}?"
    return f"is not a setting; there are {', '.join(known)}"
