"""Echo: whoever sends a Prepare to our own address gets one back, to see that a path works both
ways.

A convention of the JavaScript connector without an RFC. The request's data is a magic text, a
type and the requester's address; the reply is a Prepare of the same amount and condition to
that address, so the requester fulfils its own packet. Imports _core and errors. Texts of errors
are those of Interledger.rs.
"""

from fastilp._core.packet import Prepare, is_valid_address

MAGIC = b"ECHOECHOECHOECHO"
REQUEST = 0
RESPONSE = 1


class EchoError(Exception):
    """Not an echo request; the text goes into an F01."""


def is_echo(prepare: Prepare) -> bool:
    return prepare.data.startswith(MAGIC)


def reply(prepare: Prepare, own_address: str) -> Prepare:
    """The Prepare that takes the place of an echo request. Raises EchoError."""
    source = _source_address(prepare.data[len(MAGIC) :])
    # A reply to us would echo for ever, and a peer. address never leaves a link (RFC 15).
    if not is_valid_address(source) or source == own_address or source.startswith("peer."):
        raise EchoError("Could not parse source address from Echo packet")
    return Prepare(
        amount=prepare.amount,
        expires_at=prepare.expires_at_ms,
        execution_condition=prepare.execution_condition,
        destination=source,
        data=MAGIC + bytes([RESPONSE]),
    )


def _source_address(body: bytes) -> str:
    if not body:
        raise EchoError("Could not read echo packet type.")
    if body[0] != REQUEST:
        raise EchoError(f"The echo packet type: {body[0]} is not acceptable.")
    # The length is one byte below 128, else 0x81 or 0x82 and as many bytes (RFC 30).
    start = 2
    size = body[1] if len(body) > 1 else -1
    if size >= 0x80:
        start += size & 0x7F
        size = int.from_bytes(body[2:start]) if 2 < start <= len(body) else -1
    if size < 0 or start + size > len(body):
        raise EchoError("Could not read source address.")
    return body[start : start + size].decode("ascii", "replace")
