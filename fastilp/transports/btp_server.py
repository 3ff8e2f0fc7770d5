"""BTP 2.0, the listening side: who is the peer that dialled us? Imports _core and transports only.

The first message must carry an `auth_token`; which entries come before it is the peer's business
(the RFC wants `auth` first, Interledger.rs does not look). Success is an empty Response, failure an
Error F00 and the end.
"""

import asyncio

from fastilp._core import codec_btp
from fastilp._core.codec_btp import Message
from fastilp.errors import DecodeError
from fastilp.transports.auth import TokenTable
from fastilp.transports.btp import MESSAGE, RESPONSE, BtpLimits, BtpPort, BtpSession
from fastilp.transports.pump import Pump


def entry_text(message: Message, name: str) -> str | None:
    """The first entry of this name as text; None if there is none."""
    for entry in message.entries:
        if entry.name == name:
            return entry.data.decode("utf-8", "surrogateescape")
    return None


class BtpServerSession(BtpSession):
    """`username`: from the path, or None where the path names nobody and the token must."""

    def __init__(
        self,
        pump: Pump,
        tokens: TokenTable[BtpPort],
        username: str | None,
        limits: BtpLimits,
        sessions: set[BtpSession],
    ) -> None:
        super().__init__(pump, limits, masked=False)
        self._tokens = tokens
        self._username = username
        self._sessions = sessions

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sessions.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._sessions.discard(self)
        super().connection_lost(error)

    def hello_opened(self) -> None:
        """The peer speaks first."""

    def hello_message(self, payload: bytes) -> None:
        try:
            message = codec_btp.decode(payload)
        except DecodeError:
            self.close("the first message is not BTP")
            return
        port = self._find(message) if message.type == MESSAGE else None
        if port is None:
            self._refuse(message)
            return
        # The Response is in the socket before any packet can be.
        self.send(RESPONSE, message.request_id, [])
        self.bind(port)

    def hello_again(self, message: Message) -> None:
        if self._find(message) is self.port:
            self.send(RESPONSE, message.request_id, [])
        else:
            self._refuse(message)

    def _find(self, message: Message) -> BtpPort | None:
        token = entry_text(message, "auth_token")
        if not token:
            return None
        username = self._username or entry_text(message, "auth_username")
        if username:
            return self._tokens.find(username, token)
        return self._tokens.find_by_token(token)

    def _refuse(self, message: Message) -> None:
        username = self._username or entry_text(message, "auth_username")
        self._tokens.refused("btp", username)
        self.send_error(message.request_id, "F00", "NotAcceptedError", "authentication failed")
        self.close("authentication failed")
