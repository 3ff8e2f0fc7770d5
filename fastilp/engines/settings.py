"""Settings of an engine: a TOML file, over it the environment, over that the flags. Imports errors.

The names are those of Interledger.rs's engine where it has one. An engine adds its own by a
subclass. A variable is `FASTILP_ENGINE_` and the name in capitals; secrets belong there or in the
file, never on the command line, where everybody on the machine reads them.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from fastilp.engines.store import BYTES_MAX
from fastilp.errors import ConfigError

PREFIX = "FASTILP_ENGINE_"


class EngineSettings(BaseModel):
    """What every engine has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settlement_api_bind_address: str = Field(
        "127.0.0.1:3000", description="host:port that the connector calls; port 0: any."
    )
    connector_url: str = Field(
        "http://127.0.0.1:7771", description="Settlement listener of the connector."
    )
    data_dir: str = Field("engine-data", description="Folder of the engine's store.")
    store_bytes_max: int = Field(
        BYTES_MAX, ge=1 << 20, lt=1 << 46, description="The store's file never gets larger."
    )
    incoming_token: SecretStr | None = Field(
        None, description="The bearer token that callers must show."
    )
    connector_token: SecretStr | None = Field(
        None, description="The bearer token that the connector wants."
    )
    retry_first_ms: int = Field(
        100, ge=1, le=3_600_000, description="After the first failure; then doubled each time."
    )
    retry_longest_ms: int = Field(
        300_000, ge=1, le=3_600_000, description="Longest time between two tries."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="json, console, or auto: console on a terminal."
    )

    @field_validator("settlement_api_bind_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise ValueError("must be host:port, such as 127.0.0.1:3000")
        return value

    @field_validator("connector_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @property
    def bind(self) -> tuple[str, int]:
        host, _, port = self.settlement_api_bind_address.rpartition(":")
        return host.strip("[]"), int(port)


Model = TypeVar("Model", bound=EngineSettings)


def load(model: type[Model], path: Path | None, flags: Mapping[str, str | None]) -> Model:
    """Raises ConfigError that names the setting and where it came from."""
    given = {name: value for name, value in flags.items() if value is not None}
    origins = [("flags", given), ("environment", _of_environment(model)), _of_file(path)]
    merged = {name: value for _, values in reversed(origins) for name, value in values.items()}
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise _config_error(error, origins) from None


def _of_environment(model: type[EngineSettings]) -> dict[str, Any]:
    found = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in os.environ.items()
        if name.startswith(PREFIX)
    }
    unknown = sorted(found.keys() - model.model_fields.keys())
    if unknown:
        known = ", ".join(f"{PREFIX}{name.upper()}" for name in model.model_fields)
        message = f"{PREFIX}{unknown[0].upper()} is no setting; there are {known}"
        raise ConfigError(message, path="environment")
    return found


def _of_file(path: Path | None) -> tuple[str, dict[str, Any]]:
    if path is None:
        return "defaults", {}
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not TOML: {error}", path=str(path)) from None
    if isinstance(values.get("data_dir"), str):
        # It must not depend on where the engine is started from.
        values["data_dir"] = str(path.parent / values["data_dir"])
    return str(path), values


def _config_error(error: ValidationError, origins: list[tuple[str, dict[str, Any]]]) -> ConfigError:
    """Of the first thing that is wrong. The value is not shown: it may be a secret."""
    item = error.errors(include_input=False)[0]
    key = ".".join(str(part) for part in item["loc"])
    origin = next((name for name, values in origins if key in values), origins[-1][0])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "is not a setting"
    if item["type"] == "missing":
        message = f"is missing; give it in a file or as {PREFIX}{key.upper()}"
    return ConfigError(message, path=origin, key=key)
