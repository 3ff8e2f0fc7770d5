"""The batch protocol, the listening side: TCP, TLS or a Unix socket. Imports _core and transports
only.

    listener = BatchListener(pump, tokens)
    await listener.start("127.0.0.1", 7767)     # or start_unix("/run/fastilp.sock")
    ...
    listener.stop_accepting()
    await listener.drain(5.0)

uvloop does not close while a socket listens, so `stop_accepting` belongs into a `finally`.
"""

import asyncio
import contextlib
import os
import ssl
from typing import Any

from fastilp.transports.auth import TokenTable
from fastilp.transports.batch import VERSION, BatchLimits, BatchPort, BatchSession, HelloError
from fastilp.transports.pump import Pump


class BatchListener:
    """One listening address."""

    def __init__(
        self,
        pump: Pump,
        tokens: TokenTable[BatchPort],
        *,
        limits: BatchLimits | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.pump = pump
        self.tokens = tokens
        self.limits = limits or BatchLimits()
        self.port = 0
        self.sessions: set[BatchSession] = set()
        self._ssl_context = ssl_context
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.AbstractServer | None = None
        self._path = ""

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError. Port 0 picks a free one, see `port`."""
        is_tls = self._ssl_context is not None
        server = await self._loop.create_server(
            self._session,
            host,
            port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=self.limits.hello_seconds if is_tls else None,
            backlog=1_024,
        )
        self._server = server
        self.port = server.sockets[0].getsockname()[1]

    async def start_unix(self, path: str) -> None:
        """Listen at a path, without TLS; a socket that is there already is taken over. Raises
        OSError."""
        self._server = await self._loop.create_unix_server(self._session, path, backlog=1_024)
        self._path = path

    def stop_accepting(self) -> None:
        """No new connections; those that are open go on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            self._path = ""

    async def drain(self, timeout_seconds: float) -> None:
        """Stop accepting and close every connection, once what was written has left. Stop the
        switch's Prepares first (`Switch.drain`)."""
        self.stop_accepting()
        deadline = self._loop.time() + timeout_seconds
        for session in list(self.sessions):
            session.close("the node is shutting down")
        while self.sessions and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        for session in list(self.sessions):
            session.abort()
        # An abort takes a turn of the loop, which may be the last one for a long time.
        while self.sessions:
            await asyncio.sleep(0)

    def _session(self) -> BatchSession:
        return BatchServerSession(self)


class BatchServerSession(BatchSession):
    """A peer that dialled us."""

    def __init__(self, listener: BatchListener) -> None:
        super().__init__(listener.pump, listener.limits)
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        sessions = self._listener.sessions
        sessions.add(self)
        if len(sessions) > self._limits.connections_max:
            self.fail("too many connections")

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._listener.sessions.discard(self)

    def hello(self, fields: dict[Any, Any], size: int) -> None:
        if fields.get("ilp") != VERSION:
            raise HelloError(f'the hello must say "ilp": {VERSION}')
        username, token = fields.get("account"), fields.get("token")
        port = self._find(username, token)
        if port is None:
            self._listener.tokens.refused("batch", username if isinstance(username, str) else None)
            self.close("authentication failed")
            return
        account = port.link.account
        assert account is not None
        in_flight_max = self._pump.switch.settings(account)["in_flight_in_max"]
        # In the socket before any packet can be.
        self.write_map(ilp=VERSION, in_flight_max=in_flight_max)
        self.bind(port, size)

    def hello_failed(self) -> None:
        # Strangers must not fill the log.
        self._listener.tokens.refused("batch", None, self.reason)

    def _find(self, username: object, token: object) -> BatchPort | None:
        """By name and token, or by the token alone where no name is given."""
        if not isinstance(token, str) or not token:
            return None
        if isinstance(username, str) and username:
            return self._listener.tokens.find(username, token)
        return None if username else self._listener.tokens.find_by_token(token)
