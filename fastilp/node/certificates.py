"""Certificates of listeners, which follow their files while connections stay open. Imports errors.

certificate = Certificate("cert.pem", "key.pem", "listen.http_tls_certificate")
... certificate.context for the listener, as long as it listens
certificate.refresh()           # now and then; says in the log what it did
"""

import asyncio
import os
import ssl
from collections.abc import Iterable

import structlog

from fastilp.errors import ConfigError

_log = structlog.get_logger("fastilp.node")

# A renewal comes days before the old certificate ends: seconds do not matter.
_LOOK_SECONDS = 2.0

_Stamp = tuple[tuple[int, int, int], ...]


class Certificate:
    """`setting` is its dotted key, for messages. Raises ConfigError if the files cannot be used."""

    def __init__(self, certificate: str, key: str | None, setting: str) -> None:
        self._certificate = certificate
        self._key = key
        self._setting = setting
        self._stamp = self._read_stamp()
        self.context = self._load()
        self._current = self.context
        # Asked at every handshake, with or without a server's name in it (RFC 6066 section 3): new
        # connections get the new certificate, those that are open keep what they agreed on.
        self.context.sni_callback = self._choose

    def refresh(self) -> None:
        """Take the files again if they have changed. What cannot be used does not replace what
        can: certificate and key may be written one after the other."""
        stamp = self._read_stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._current = self._load()
        except ConfigError as error:
            _log.error("certificate not replaced", setting=self._setting, reason=str(error))
        else:
            _log.info("certificate replaced", setting=self._setting, path=self._certificate)

    def _choose(
        self, connection: ssl.SSLObject, server_name: str | None, context: ssl.SSLContext
    ) -> None:
        connection.context = self._current

    def _load(self) -> ssl.SSLContext:
        files = {self._setting: self._certificate}
        if self._key is not None:
            files[self._setting.removesuffix("certificate") + "key"] = self._key
        for setting, path in files.items():
            _check_readable(path, setting)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            # A key behind a password would be asked for on the terminal, and the node would wait.
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except OSError as error:
            # ssl.SSLError is one too, and says what is wrong with the contents.
            reason = error.strerror or str(error)
            message = f"{' and '.join(files.values())} cannot be used: {reason}"
            raise ConfigError(message, key=" and ".join(files)) from None
        return context

    def _read_stamp(self) -> _Stamp:
        """Changes whenever a file does, or what a symbolic link leads to."""
        stamps = []
        for path in (self._certificate, self._key):
            try:
                found = os.stat(path or self._certificate)
                stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except OSError:
                stamps.append((0, 0, 0))
        return tuple(stamps)


def _no_password() -> str:
    return ""


def _check_readable(path: str, setting: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", key=setting) from None


async def refresh_forever(certificates: Iterable[Certificate]) -> None:
    """Until it is cancelled."""
    watched = tuple(certificates)
    while watched:
        await asyncio.sleep(_LOOK_SECONDS)
        for certificate in watched:
            certificate.refresh()
