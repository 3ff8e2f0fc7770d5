"""BTP 2.0, the dialling side: keeps one connection up to a peer's URL. Imports _core and transports
only.

    dialler = BtpDialler(port, "btp+wss://:secret@b.example/accounts/a/ilp/btp")
    dialler.start()
    ...
    await dialler.close()

It dials while the account has no connection; one that the peer made is as good.
"""

import asyncio
import secrets
import ssl
from urllib.parse import unquote, urlsplit, urlunsplit

from fastilp._core import codec_btp
from fastilp._core.codec_btp import Entry, Message
from fastilp.errors import DecodeError, UsageError
from fastilp.transports.auth import url_without_token
from fastilp.transports.btp import ERROR, MESSAGE, RESPONSE, BtpLimits, BtpPort, BtpSession
from fastilp.transports.dialler import CONNECT_SECONDS, Dialler
from fastilp.transports.websocket import dial_websocket

_SCHEMES = {"btp+ws": "ws", "btp+wss": "wss", "ws": "ws", "wss": "wss"}


def parse_btp_url(url: str, token: str | None) -> tuple[str, str, str]:
    """WebSocket URL without credentials, username and token. Raises UsageError."""
    shown = url_without_token(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # What urlsplit says may quote a part of the token.
        raise UsageError(f"BTP URL {shown!r}: host or port is not valid") from None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise UsageError(
            f"BTP URL {shown!r} is not btp+ws://[user]:[token]@host[:port]/path, nor btp+wss://"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    plain = urlunsplit((_SCHEMES[parts.scheme], netloc, parts.path or "/", parts.query, ""))
    if token is None:
        token = unquote(parts.password or "")
    return plain, unquote(parts.username or ""), token


class BtpClientSession(BtpSession):
    """Sends the token and waits until the peer took it."""

    def __init__(self, port: BtpPort, username: str, token: str, limits: BtpLimits) -> None:
        super().__init__(port.pump, limits, masked=True)
        self.ready: asyncio.Future[bool] = self._loop.create_future()
        self.ended = asyncio.Event()
        self.reason = ""
        """Why the peer did not take us."""
        self._dialled = port
        self._username = username
        self._token = token
        self._auth_id = secrets.randbits(32)
        self._early: list[bytes] = []
        self._early_size = 0

    def hello_opened(self) -> None:
        entries = [Entry("auth", 0, b"")]
        if self._username:
            entries.append(Entry("auth_username", 1, self._username.encode()))
        entries.append(Entry("auth_token", 1, self._token.encode()))
        self.send(MESSAGE, self._auth_id, entries)

    def hello_message(self, payload: bytes) -> None:
        try:
            message = codec_btp.decode(payload)
        except DecodeError:
            return
        if message.request_id != self._auth_id or message.type not in (RESPONSE, ERROR):
            self._hello_early(payload)
        elif message.type == ERROR:
            text = message.data.decode("utf-8", "replace")[:200]
            self.reason = f"peer refused: {message.code} {message.name} {text}"
            self.close("refused")
        else:
            self._open()

    def hello_again(self, message: Message) -> None:
        """We are the ones who authenticate: a server has nothing to prove to us."""
        self.send(RESPONSE, message.request_id, [])

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if not self.ready.done():
            self.ready.set_result(False)
        self.ended.set()

    def _hello_early(self, payload: bytes) -> None:
        """Packets that overtook the Response; they count once we know that the peer took our
        token."""
        limits = self._limits
        self._early.append(payload)
        self._early_size += len(payload)
        if len(self._early) > limits.early_messages_max or self._early_size > limits.early_size_max:
            self.reason = "peer sent packets and no Response to auth"
            self.close(self.reason)

    def _open(self) -> None:
        self.bind(self._dialled)
        if not self.ready.done():
            self.ready.set_result(True)
        early, self._early = self._early, []
        for payload in early:
            self.feed(payload)


class BtpDialler(Dialler[BtpPort]):
    """URLs: `btp+ws(s)://[user]:[token]@host[:port]/path` or `ws(s)://...`; a token given apart
    wins. Raises UsageError for anything else."""

    def __init__(
        self,
        port: BtpPort,
        url: str,
        token: str | None = None,
        *,
        limits: BtpLimits | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        plain, self._username, self._token = parse_btp_url(url, token)
        super().__init__(port, plain)
        self._limits = limits or BtpLimits()
        self._ssl_context = ssl_context

    async def _connect(self) -> BtpClientSession:
        """One attempt: connected and authenticated, or an exception that says why not."""
        session = BtpClientSession(self._port, self._username, self._token, self._limits)
        self._session = session
        async with asyncio.timeout(CONNECT_SECONDS):
            await dial_websocket(self._url, session, self._ssl_context)
        if not await session.ready:
            raise ConnectionError(session.reason or "peer closed the connection during auth")
        return session
