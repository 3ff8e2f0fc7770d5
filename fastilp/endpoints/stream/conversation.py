"""One end of a STREAM connection: numbers, encrypts and reads packets. Imports _core, crypto.

A peer's answer never raises: what is not authentic is an answer without a STREAM packet, what is no
ILP packet counts as a temporary failure. Each packet has a sequence number of its own, retries too
(RFC 29, section 4.4), so an answer to another packet is found out.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from fastilp._core.packet import Fulfill, Prepare, Reject, decode, is_valid_address
from fastilp._core.stream import decode_packet, encode_packet
from fastilp._core.stream_frames import Frame, Packet
from fastilp.endpoints.stream.crypto import Keys
from fastilp.endpoints.stream.uplink import checked_secret
from fastilp.errors import DecodeError, UsageError

# RFC 29, section 4.6: with more packets under one key, initialisation vectors would repeat.
SEQUENCE_MAX = 1 << 31

_PREPARE = 12
_FULFILL = 13
_REJECT = 14
# What a broken answer counts as: the next one may be whole.
_MALFORMED = "T00"
WRONG_FULFILLMENT = "F05"


@dataclass(slots=True)
class Sent:
    """A packet that waits for its answer."""

    sequence: int
    prepare: bytes
    amount: int
    minimum: int
    expires_at_ms: int
    fulfillment: bytes | None
    """None: nobody can fulfil it."""
    frames: tuple[Frame, ...]
    sent_ms: int


@dataclass(slots=True)
class Answer:
    """`code` is empty for a Fulfill with the right preimage."""

    code: str
    message: str
    triggered_by: str
    data: bytes
    packet: Packet | None
    """What the receiver says, and nobody else can have said."""


class Conversation:
    """The sender's end. Raises UsageError for an address or a secret that is none."""

    def __init__(self, destination: str, shared_secret: bytes, sequence_first: int = 1) -> None:
        if not is_valid_address(destination):
            raise UsageError(f"destination is not a valid ILP address: {destination!r}")
        self.destination = destination
        self.sequence_next = sequence_first
        self.delivered = 0
        """What the receiver got on this connection, in its units."""
        self.data_next = 0
        """Offset of the application data that is sent next."""
        self._keys = Keys(checked_secret(shared_secret))

    @property
    def is_used_up(self) -> bool:
        return self.sequence_next >= SEQUENCE_MAX

    def prepare(
        self,
        amount: int,
        minimum: int,
        frames: Iterable[Frame],
        now_ms: int,
        expires_at_ms: int,
        *,
        fulfillable: bool = True,
        destination: str = "",
    ) -> Sent:
        sequence = self.sequence_next
        self.sequence_next += 1
        kept = tuple(frames)
        data = self._keys.encrypt(encode_packet(_PREPARE, sequence, minimum, kept))
        fulfillment = self._keys.fulfillment(data) if fulfillable else None
        condition = os.urandom(32) if fulfillment is None else sha256(fulfillment).digest()
        prepare = Prepare(
            amount=amount,
            expires_at=expires_at_ms,
            execution_condition=condition,
            destination=destination or self.destination,
            data=data,
        )
        return Sent(
            sequence, bytes(prepare), amount, minimum, expires_at_ms, fulfillment, kept, now_ms
        )

    def read(self, sent: Sent, octets: bytes) -> Answer:
        try:
            answer = decode(octets)
        except DecodeError as error:
            return Answer(_MALFORMED, f"malformed answer: {error}", "", b"", None)
        if isinstance(answer, Fulfill):
            if answer.fulfillment != sent.fulfillment:
                text = "the preimage does not match the condition"
                return Answer(WRONG_FULFILLMENT, text, "", b"", None)
            packet = self._authentic(sent, answer.data, _FULFILL)
            return Answer("", "", "", answer.data, packet)
        if isinstance(answer, Reject):
            packet = self._authentic(sent, answer.data, _REJECT)
            return Answer(answer.code, answer.message, answer.triggered_by, answer.data, packet)
        return Answer(_MALFORMED, "a Prepare instead of an answer", "", b"", None)

    def _authentic(self, sent: Sent, data: bytes, packet_type: int) -> Packet | None:
        if not data:
            return None
        try:
            packet = decode_packet(self._keys.decrypt(data))
        except DecodeError:
            return None
        fits = packet.sequence == sent.sequence and packet.packet_type == packet_type
        return packet if fits else None
