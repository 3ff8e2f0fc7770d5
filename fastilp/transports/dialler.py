"""Keeps one connection up to a peer: dials, and dials again with exponential back-off. Imports
transports only.

It dials while the account has no connection; one that the peer made is as good.
"""

import abc
import asyncio
import logging
import random
from typing import Generic, Protocol, TypeVar

from fastilp.transports.socket_port import SocketPort

_log = logging.getLogger("fastilp.dialler")

CONNECT_SECONDS = 10.0
"""For one attempt, from the first packet to the peer's consent."""
_BACK_OFF_MIN_SECONDS = 0.1
_BACK_OFF_MAX_SECONDS = 30.0
# A connection that lasted this long was a good one: the next outage starts from the shortest wait.
_GOOD_SECONDS = 10.0


class BackOff:
    """How long to wait before dialling again: twice as long each time, less up to a half at random,
    so that the peers of a node that came back do not all come at once."""

    def __init__(self) -> None:
        self._seconds = _BACK_OFF_MIN_SECONDS

    def next(self, up_seconds: float) -> float:
        """`up_seconds`: how long the last connection lasted."""
        if up_seconds >= _GOOD_SECONDS:
            self._seconds = _BACK_OFF_MIN_SECONDS
        seconds = self._seconds
        self._seconds = min(seconds * 2, _BACK_OFF_MAX_SECONDS)
        return seconds * random.uniform(0.5, 1.0)


Port = TypeVar("Port", bound=SocketPort)


class DialledSession(Protocol):
    """What a dialler needs to know of a connection."""

    opened: bool
    closed: bool
    ended: asyncio.Event
    reason: str
    """Why it ended, where the peer or we said so."""

    def close(self, reason: str) -> None: ...


class Dialler(abc.ABC, Generic[Port]):
    """Subclasses make one attempt in `_connect`; the rest is here."""

    def __init__(self, port: Port, url: str) -> None:
        """`url` is for the log: without a token."""
        self.last_error = ""
        """Why the last attempt failed; empty while up."""
        self.attempts = 0
        self._port = port
        self._url = url
        self._task: asyncio.Task[None] | None = None
        self._session: DialledSession | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Hang up and stay down; the port can be used again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None and session.opened and not session.closed:
            session.close("the dialler is closed")
            await session.ended.wait()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        back_off = BackOff()
        while True:
            # The peer may have dialled us meanwhile: one connection is enough.
            await self._port.down.wait()
            up_seconds = 0.0
            try:
                self.attempts += 1
                session = await self._connect()
                self.last_error = ""
                start = loop.time()
                await session.ended.wait()
                up_seconds = loop.time() - start
                self.last_error = session.reason or "connection lost"
            except Exception as error:
                self._failed(str(error) or type(error).__name__)
            await asyncio.sleep(back_off.next(up_seconds))

    def _failed(self, reason: str) -> None:
        # A new reason needs a person; the same one again, up to twice a minute, does not.
        level = logging.INFO if reason == self.last_error else logging.WARNING
        self.last_error = reason
        account = self._port.link.account
        extra = {"account": account.name if account is not None else None}
        _log.log(level, "dialling %s failed: %s", self._url, reason, extra=extra)

    @abc.abstractmethod
    async def _connect(self) -> DialledSession:
        """One attempt: connected and authenticated, or an exception that says why not. Sets
        `_session` before the first wait."""
