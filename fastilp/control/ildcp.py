"""IL-DCP (RFC 31): tells a child its address, asset scale and asset code. Imports nothing of
fastilp.

Only the bytes are here; `punts` decides who gets an answer.
"""

from hashlib import sha256

DESTINATION = "peer.config"
# The fulfillment of every peer protocol is 32 zero bytes: without money there is no secret.
FULFILLMENT = bytes(32)
CONDITION = sha256(FULFILLMENT).digest()


def response_data(address: str, asset_scale: int, asset_code: str) -> bytes:
    """Data of the Fulfill: clientAddress, assetScale, assetCode."""
    return (
        var_octets(address.encode("ascii"))
        + asset_scale.to_bytes(1)
        + var_octets(asset_code.encode())
    )


def var_octets(content: bytes) -> bytes:
    """A variable-length octet string, canonical (RFC 30)."""
    size = len(content)
    if size < 0x80:
        return bytes([size]) + content
    width = (size.bit_length() + 7) // 8
    return bytes([0x80 | width]) + size.to_bytes(width) + content
