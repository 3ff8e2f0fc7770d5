"""The batch protocol, the dialling side: keeps one connection up to a peer's URL. Imports _core and
transports only.

    dialler = BatchDialler(port, "ilp+tls://alice:secret@b.example")
    dialler.start()
    ...
    await dialler.close()
"""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from fastilp.errors import UsageError
from fastilp.transports.auth import url_without_token
from fastilp.transports.batch import (
    DEFAULT_PORT,
    VERSION,
    BatchLimits,
    BatchPort,
    BatchSession,
    HelloError,
)
from fastilp.transports.dialler import CONNECT_SECONDS, Dialler

_SCHEMES = ("ilp+tcp", "ilp+tls", "ilp+unix")


@dataclass(frozen=True, slots=True)
class BatchAddress:
    """Where a peer listens, and who we are there."""

    scheme: str
    host: str
    port: int
    path: str
    username: str
    token: str

    def __str__(self) -> str:
        """Without the token."""
        if self.path:
            return f"{self.scheme}://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_batch_url(url: str, token: str | None = None) -> BatchAddress:
    """`ilp+tcp://[account[:token]@]host[:port]`, `ilp+tls://…`, `ilp+unix://[…@]/path`; a token
    given apart wins. Raises UsageError."""
    shown = url_without_token(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # What urlsplit says may quote a part of the token.
        raise UsageError(f"batch URL {shown!r}: host or port is not valid") from None
    is_unix = parts.scheme == "ilp+unix"
    path = unquote(parts.path)
    place_is_right = (
        path.startswith("/") and len(path) > 1 and not parts.hostname and port is None
        if is_unix
        else bool(parts.hostname) and path in ("", "/") and port != 0
    )
    if parts.scheme not in _SCHEMES or not place_is_right or parts.query or parts.fragment:
        raise UsageError(
            f"batch URL {shown!r} is not ilp+tcp://[account[:token]@]host[:port], nor ilp+tls://, "
            "nor ilp+unix:///path"
        )
    return BatchAddress(
        scheme=parts.scheme,
        host=parts.hostname or "",
        port=port or DEFAULT_PORT,
        path=path if is_unix else "",
        username=unquote(parts.username or ""),
        token=unquote(parts.password or "") if token is None else token,
    )


class BatchClientSession(BatchSession):
    """Sends name and token and waits until the peer took them."""

    def __init__(self, port: BatchPort, address: BatchAddress, limits: BatchLimits) -> None:
        super().__init__(port.pump, limits)
        self.ready: asyncio.Future[bool] = self._loop.create_future()
        self.in_flight_max: int | None = None
        """How many of our Prepares the peer lets wait for an answer, if it said so."""
        self._dialled = port
        self._address = address

    def hello_opened(self) -> None:
        address = self._address
        account = {"account": address.username} if address.username else {}
        self.write_map(ilp=VERSION, token=address.token, **account)

    def hello(self, fields: dict[Any, Any], size: int) -> None:
        error = fields.get("error")
        if isinstance(error, str):
            self.end(f"peer refused: {error[:200]}")
        elif fields.get("ilp") != VERSION:
            raise HelloError(f'the answer to the hello must say "ilp": {VERSION}')
        else:
            in_flight_max = fields.get("in_flight_max")
            self.in_flight_max = in_flight_max if isinstance(in_flight_max, int) else None
            self.bind(self._dialled, size)
            if not self.ready.done():
                self.ready.set_result(True)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if not self.ready.done():
            self.ready.set_result(False)


class BatchDialler(Dialler[BatchPort]):
    """URLs as `parse_batch_url` has them; raises UsageError for others. TLS verifies the peer's
    certificate against the system's authorities unless a context is given."""

    def __init__(
        self,
        port: BatchPort,
        url: str,
        token: str | None = None,
        *,
        limits: BatchLimits | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._address = parse_batch_url(url, token)
        super().__init__(port, str(self._address))
        self._limits = limits or BatchLimits()
        self._ssl_context = None
        if self._address.scheme == "ilp+tls":
            self._ssl_context = ssl_context or ssl.create_default_context()

    async def _connect(self) -> BatchClientSession:
        loop = asyncio.get_running_loop()
        address = self._address
        session = BatchClientSession(self._port, address, self._limits)
        self._session = session
        async with asyncio.timeout(CONNECT_SECONDS):
            if address.path:
                await loop.create_unix_connection(lambda: session, address.path)
            else:
                await loop.create_connection(
                    lambda: session, address.host, address.port, ssl=self._ssl_context
                )
        if not await session.ready:
            raise ConnectionError(session.reason or "peer closed the connection during the hello")
        return session
