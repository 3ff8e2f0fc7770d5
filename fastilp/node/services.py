"""The operator's rules by name: from `[[services]]` to objects. Imports config, control, errors.

A rule is code that runs in this process with all its rights; the settings say which.
"""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import structlog

from fastilp.config.models import ServiceConfig
from fastilp.control.services import Service, Services
from fastilp.errors import ConfigError, UsageError

_log = structlog.get_logger("fastilp.node")


def add_services(services: Services, configs: tuple[ServiceConfig, ...]) -> None:
    """Raises ConfigError that names the entry."""
    for number, config in enumerate(configs, 1):
        key = f"services.{number}"
        service = _make(config, f"{key}.service")
        try:
            absent = services.add(service, accounts=config.accounts, prefixes=config.prefixes)
        except UsageError as error:
            raise ConfigError(str(error), key=key) from None
        for username in sorted(absent):
            # Closed over the API, or still to be made there: no reason not to start.
            _log.warning(
                "a rule is for an account that is not there; it holds once there is one",
                account=username,
                key=f"{key}.accounts",
            )


def _make(config: ServiceConfig, key: str) -> Service:
    where, _, name = config.service.rpartition(":")
    try:
        is_file = where.endswith(".py")
        module = _from_file(Path(where)) if is_file else importlib.import_module(where)
        service = getattr(module, name)(**config.options)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{config.service!r} cannot be made: {reason}", key=key) from error
    if not isinstance(service, Service):
        raise ConfigError(f"{config.service!r} is no fastilp.control.services.Service", key=key)
    return service


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fastilp_service_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
