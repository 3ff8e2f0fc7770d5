"""fastilp: an Interledger (ILPv4) connector with a compiled core. These are the public names.

Each is loaded when it is used first: a command line that needs nothing of the core begins without
it. `__init__.pyi` tells type checkers the same.
"""

from importlib import import_module

_MODULES = {
    "Account": "_core.books",
    "BatchConnection": "_core.connection_batch",
    "BtpConnection": "_core.connection_btp",
    "ConfigError": "errors",
    "ConflictError": "errors",
    "Connection": "_core.link",
    "DecodeError": "errors",
    "FastILPError": "errors",
    "Fulfill": "_core.packet",
    "InternalError": "errors",
    "Ledger": "storage.ledger",
    "Link": "_core.link",
    "Prepare": "_core.packet",
    "ProtocolError": "errors",
    "Reject": "_core.packet",
    "StorageError": "errors",
    "Switch": "_core.switch",
    "UsageError": "errors",
    "decode": "_core.packet",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
