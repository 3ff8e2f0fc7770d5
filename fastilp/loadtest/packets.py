"""Packets of the load generator: a template to patch, and the answers of a receiver.

Imports _core's packets. The fulfillment is always the same one: checking it costs a connector the
same, and costs us nothing.
"""

import hashlib
from datetime import UTC, datetime
from typing import NamedTuple

from fastilp._core.packet import Fulfill, Prepare, Reject
from fastilp.loadtest.task import Destination

FULFILLMENT = b"fastilp loadtest, 32 bytes long."
CONDITION = hashlib.sha256(FULFILLMENT).digest()
_EXPIRY_DIGITS = 17
_AMOUNT_SIZE = 8
_COUNTER_SIZE = 8


class Template(NamedTuple):
    """A Prepare, and where in it the engine writes."""

    packet: bytes
    expiry_offset: int
    number_offset: int
    number_digits: int
    number_count: int
    counter_offset: int


def template(destination: Destination, amount: int, payload: int) -> Template:
    """The data begins with the preimage where it has the room: fastilp's loopback accounts, and
    receivers of others that look there, fulfil with it."""
    preimage = FULFILLMENT if payload >= len(FULFILLMENT) + _COUNTER_SIZE else b""
    packet = bytes(
        Prepare(
            amount=amount,
            expires_at=datetime(2030, 1, 1, tzinfo=UTC),
            execution_condition=CONDITION,
            destination=destination.first,
            data=preimage + bytes(payload - len(preimage)),
        )
    )
    # Type, length of the rest (RFC 30: one byte, or a count of bytes and those), amount, expiry.
    head = 2 if packet[1] < 0x80 else 2 + (packet[1] & 0x7F)
    number_offset = packet.index(destination.first.encode()) + len(destination.prefix)
    return Template(
        packet=packet,
        expiry_offset=head + _AMOUNT_SIZE,
        number_offset=number_offset if destination.digits else 0,
        number_digits=destination.digits,
        number_count=destination.count,
        counter_offset=len(packet) - payload + len(preimage) if payload >= _COUNTER_SIZE else 0,
    )


def fulfill(payload: int) -> bytes:
    return bytes(Fulfill(fulfillment=FULFILLMENT, data=bytes(payload)))


def reject() -> bytes:
    """What a mixed receiver answers to a share of the Prepares."""
    return bytes(
        Reject(code="F99", triggered_by="example.loadtest", message="refused by choice", data=b"")
    )


def request_head(host: str, path: str, token: str, size: int) -> bytes:
    """A request in the shape that ILP peers send, up to its body."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
    ).encode("ascii")
