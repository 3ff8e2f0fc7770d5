"""IL-DCP (RFC 31): a child asks its parent for address, asset scale and asset code. Imports _core,
octets and errors.

Only the bytes are here: `punts` decides who gets an answer, `inheritance` asks.
"""

from hashlib import sha256
from typing import NamedTuple

from fastilp._core.packet import Prepare, is_valid_address
from fastilp.control.octets import Reader, var_octets
from fastilp.errors import DecodeError

DESTINATION = "peer.config"
# The fulfillment of every peer protocol is 32 zero bytes: without money there is no secret.
FULFILLMENT = bytes(32)
CONDITION = sha256(FULFILLMENT).digest()

_ADDRESS_SIZE_MAX = 1_023
_CODE_SIZE_MAX = 255


class Config(NamedTuple):
    """What a parent gives its child."""

    address: str
    asset_scale: int
    asset_code: str


def request(expires_at_ms: int) -> Prepare:
    """What a child sends."""
    return Prepare(
        amount=0, expires_at=expires_at_ms, execution_condition=CONDITION, destination=DESTINATION
    )


def response_data(address: str, asset_scale: int, asset_code: str) -> bytes:
    """Data of the Fulfill: clientAddress, assetScale, assetCode."""
    return (
        var_octets(address.encode("ascii"))
        + asset_scale.to_bytes(1)
        + var_octets(asset_code.encode())
    )


def parse_response(data: bytes) -> Config:
    """What the data of a parent's Fulfill says. Raises DecodeError."""
    reader = Reader(data)
    address = reader.text(_ADDRESS_SIZE_MAX)
    if not is_valid_address(address):
        raise DecodeError(f"{address[:100]!r} is no ILP address")
    return Config(address, reader.uint(1), reader.text(_CODE_SIZE_MAX))
