"""The STREAM receiver of a node: what is paid to its accounts ends here (RFC 29).

Owner of `Switch.terminal`. Imports _core, its neighbours and errors. It keeps nothing that it could
not do without: secrets come out of the addresses again, and what it remembers of a connection (its
keys, how much came) is in a table of bounded size. A packet that does not decrypt is not mine and
goes back to the switch. Money that it fulfils belongs to the account already: the packet has taken
the way of every other one.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from fastilp._core.books import Account
from fastilp._core.link import Link
from fastilp._core.packet import Fulfill, Prepare, Reject
from fastilp._core.stream import decode_packet, encode_packet
from fastilp._core.stream_frames import (
    ConnectionAssetDetails,
    ConnectionClose,
    ConnectionDataBlocked,
    ConnectionMaxData,
    ConnectionMaxStreamId,
    ConnectionNewAddress,
    ConnectionStreamIdBlocked,
    Frame,
    Packet,
    StreamData,
    StreamDataBlocked,
    StreamMaxData,
    StreamMaxMoney,
    StreamMoney,
    StreamMoneyBlocked,
    StreamReceipt,
)
from fastilp._core.switch import Switch
from fastilp.endpoints.stream.crypto import Keys, receipt
from fastilp.endpoints.stream.shares import split
from fastilp.endpoints.stream.tokens import Credentials, ReceiptKey, Tokens, body_of
from fastilp.errors import DecodeError

_log = logging.getLogger("fastilp.payments")

_PREPARE, _FULFILL, _REJECT = 12, 13, 14
_UNLIMITED = (1 << 64) - 1
# Data is taken and thrown away: a sender of both must not wait for a window.
_DATA_WINDOW_SIZE = 65_536
_STREAMS_MORE = 20
_STREAM_ID_MAX = (1 << 32) - 1
# Connections whose keys and totals are remembered, and streams of each.
CONNECTIONS_MAX = 4_096
STREAMS_MAX = 32
# Answers to so many frames, or one more, are made at most: whatever was asked, they fit into a
# packet and cost little. Each may have a receipt, and a packet has room for thousands of frames.
_FRAMES_MAX = 64


class Incoming(NamedTuple):
    """A packet that was fulfilled. `from_account`: the account it came in on, not the payer's."""

    to_account: Account
    from_account: Account | None
    destination: str
    amount: int
    sequence: int
    connection_closed: bool


class _Connection:
    """`received`: stream id -> what came since the connection is remembered."""

    __slots__ = ("keys", "receipts", "received")

    def __init__(self, keys: Keys, receipts: ReceiptKey | None) -> None:
        self.keys = keys
        self.receipts = receipts
        self.received: dict[int, int] = {}

    def credit(self, amount: int, frames: list[StreamMoney]) -> None:
        for stream_id, part in split(amount, frames).items():
            if stream_id in self.received or len(self.received) < STREAMS_MAX:
                total = self.received.get(stream_id, 0) + part
                self.received[stream_id] = min(total, _UNLIMITED)


class StreamReceiver:
    """`secret_seed`: the node's. `now_ms`: its clock. `wake` asks for a turn of the pump, and
    `received` hears of every packet that was fulfilled."""

    def __init__(
        self,
        switch: Switch,
        secret_seed: bytes,
        now_ms: Callable[[], int],
        wake: Callable[[], None],
        received: Callable[[Incoming], None],
        heard: Callable[[str, Frame], list[Frame]] | None = None,
    ) -> None:
        """`heard` takes the data of connections: it is given the destination and each frame that is
        about data or streams, in authentic packets, and says what is answered."""
        self._heard = heard or _take_no_data
        self._switch = switch
        self._now_ms = now_ms
        self._wake = wake
        self._received = received
        self._tokens = Tokens(secret_seed)
        self._connections: OrderedDict[tuple[bytes, bytes], _Connection] = OrderedDict()
        switch.set_token_key(self._tokens.check_key)
        switch.terminal.owner = self
        switch.terminal.up = True

    def credentials(
        self,
        account_name: str,
        account_address: str,
        receipt_nonce: bytes | None = None,
        receipt_secret: bytes | None = None,
    ) -> Credentials:
        """Address and shared secret of a new connection to an account; with receipts if there are
        nonce (16 bytes) and secret (32). Raises UsageError, and KeyError for an unknown account."""
        receipts = None
        if receipt_nonce is not None or receipt_secret is not None:
            receipts = ReceiptKey(receipt_nonce or b"", receipt_secret or b"")
        account = self._switch.account(account_name)
        return self._tokens.credentials(account, account_address, receipts)

    def flush(self, link: Link) -> None:
        """Called by the pump: answer what waits."""
        answers = [
            (request_id, self._answer_safely(packet, sender, account))
            for request_id, packet, sender, account in self._switch.take_terminal(self._now_ms())
        ]
        if answers:
            link.receive(answers)
            self._wake()

    def _answer_safely(self, packet: bytes, sender: Account | None, account: Account) -> bytes:
        try:
            return self._answer(packet, sender, account)
        except Exception:
            # One packet must not take the others' answers with it.
            _log.exception("a packet to a receiver was not handled")
            return self._reject("T00", "an internal error")

    def _answer(self, packet: bytes, sender: Account | None, account: Account) -> bytes:
        """A Fulfill, a Reject, or the packet itself: not mine."""
        prepare = Prepare.decode(packet)
        body = body_of(prepare.destination)
        if body is None:
            return packet
        key = (account.id, body)
        connection = self._connections.get(key) or self._connection(account, body)
        try:
            plain = connection.keys.decrypt(prepare.data)
        except DecodeError:
            return packet
        self._remember(key, connection)
        try:
            request = decode_packet(plain)
        except DecodeError as error:
            return self._reject("F06", str(error))
        if request.packet_type != _PREPARE:
            return self._reject("F06", "what was encrypted is not the data of a Prepare")
        return self._reply(prepare, request, connection, sender, account)

    def _reply(
        self,
        prepare: Prepare,
        request: Packet,
        connection: _Connection,
        sender: Account | None,
        account: Account,
    ) -> bytes:
        fulfillment = connection.keys.fulfillment(prepare.data)
        fulfils = (
            prepare.amount >= request.amount
            and sha256(fulfillment).digest() == prepare.execution_condition
        )
        money = [frame for frame in request.frames if type(frame) is StreamMoney]
        if fulfils:
            connection.credit(prepare.amount, money)
        destination = prepare.destination
        frames: list[Frame] = []
        for frame in request.frames:
            # What is said is heard, even if there is no room to answer it.
            answers = self._heard(destination, frame)
            if len(frames) < _FRAMES_MAX:
                frames += _replies(frame, connection, account, with_receipts=fulfils) or answers
        kind = _FULFILL if fulfils else _REJECT
        plain = encode_packet(kind, request.sequence, prepare.amount, frames)
        data = connection.keys.encrypt(plain)
        closed = any(type(frame) is ConnectionClose for frame in request.frames)
        if fulfils or closed:
            amount = 0 if closed and not fulfils else prepare.amount
            self._received(
                Incoming(account, sender, prepare.destination, amount, request.sequence, closed)
            )
        if fulfils:
            return bytes(Fulfill(fulfillment=fulfillment, data=data))
        return self._reject("F99", "", data)

    def _connection(self, account: Account, body: bytes) -> _Connection:
        keys = Keys(self._tokens.shared_secret(account, body))
        return _Connection(keys, self._tokens.receipt_key(account, body))

    def _remember(self, key: tuple[bytes, bytes], connection: _Connection) -> None:
        """Only what has shown that it knows the secret: others push nobody out."""
        self._connections[key] = connection
        self._connections.move_to_end(key)
        if len(self._connections) > CONNECTIONS_MAX:
            self._connections.popitem(last=False)

    def _reject(self, code: str, message: str, data: bytes = b"") -> bytes:
        return bytes(
            Reject(code=code, triggered_by=self._switch.address, message=message, data=data)
        )


def _replies(
    frame: Frame, connection: _Connection, account: Account, *, with_receipts: bool
) -> list[Frame]:
    """What a frame about money or assets asks for; nothing for the others."""
    if isinstance(frame, ConnectionNewAddress):
        return [ConnectionAssetDetails(account.asset_code, account.asset_scale)]
    if not isinstance(frame, StreamMoney | StreamMoneyBlocked):
        return []
    total = connection.received.get(frame.stream_id, 0)
    replies: list[Frame] = [StreamMaxMoney(frame.stream_id, _UNLIMITED, total)]
    if connection.receipts is not None and with_receipts and frame.stream_id <= 0xFF:
        replies.append(StreamReceipt(frame.stream_id, _receipt(connection, frame.stream_id)))
    return replies


def _take_no_data(destination: str, frame: Frame) -> list[Frame]:
    return windows(frame)


def windows(frame: Frame) -> list[Frame]:
    """There is always room for more data, since none is kept."""
    if isinstance(frame, StreamData):
        end = frame.offset + len(frame.data)
        return [StreamMaxData(frame.stream_id, _bounded(end + _DATA_WINDOW_SIZE))]
    if isinstance(frame, StreamDataBlocked):
        return [StreamMaxData(frame.stream_id, _bounded(frame.offset_max + _DATA_WINDOW_SIZE))]
    if isinstance(frame, ConnectionDataBlocked):
        return [ConnectionMaxData(_bounded(frame.offset_max + _DATA_WINDOW_SIZE))]
    if isinstance(frame, ConnectionStreamIdBlocked):
        return [ConnectionMaxStreamId(min(frame.stream_id_max + _STREAMS_MORE, _STREAM_ID_MAX))]
    return []


def _bounded(offset: int) -> int:
    return min(offset, _UNLIMITED)


def _receipt(connection: _Connection, stream_id: int) -> bytes:
    key = connection.receipts
    assert key is not None
    return receipt(key.nonce, stream_id, connection.received.get(stream_id, 0), key.secret)
