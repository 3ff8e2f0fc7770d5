"""Every exception that fastilp raises. Imports nothing; a peer's bytes never raise."""


class FastILPError(Exception):
    """Root of all of them."""


class ConfigError(FastILPError):
    """A setting is wrong: `path` names the file or environment, `key` the dotted setting."""

    def __init__(self, message: str, *, path: str = "", key: str = "") -> None:
        self.path = path
        self.key = key
        where = " ".join(part for part in (path, f"[{key}]" if key else "") if part)
        super().__init__(f"{where}: {message}" if where else message)


class UsageError(FastILPError, ValueError):
    """Our caller asked for something that cannot be."""


class ConflictError(FastILPError):
    """A `transact` found a record other than it expected; nothing was written."""


class DecodeError(FastILPError, ValueError):
    """Bytes are not the packet or message they were taken for."""


class ProtocolError(FastILPError):
    """A peer broke framing; its connection is closed. `link` names the link."""

    def __init__(self, message: str, *, link: str = "") -> None:
        self.link = link
        super().__init__(f"{link}: {message}" if link else message)


class StorageError(FastILPError):
    """The data directory or its disk refuses."""


class PaymentError(FastILPError):
    """A payment cannot be made, or has ended before all of it was sent; the text says why."""


class InternalError(FastILPError):
    """Our own bug."""
