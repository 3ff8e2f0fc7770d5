"""STREAM's keys, encryption and fulfillments (RFC 29, section 4), and receipts (RFC 39).

Imports the errors, and AES-GCM from `cryptography`; HMAC-SHA256 is the standard library's. The data
of a packet is: initialisation vector (12 bytes), tag (16), ciphertext; no additional data.
"""

import os
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fastilp.errors import DecodeError, UsageError

_ENCRYPTION_LABEL = b"ilp_stream_encryption"
_FULFILLMENT_LABEL = b"ilp_stream_fulfillment"
_NONCE_SIZE = 12
_TAG_SIZE = 16
# Bytes that encryption adds.
OVERHEAD_SIZE = _NONCE_SIZE + _TAG_SIZE

_RECEIPT_VERSION = b"\x01"
_RECEIPT_NONCE_SIZE = 16
_RECEIPT_SIGNED_SIZE = 26
RECEIPT_SIZE = _RECEIPT_SIGNED_SIZE + 32


def encryption_key(shared_secret: bytes) -> bytes:
    return hmac_digest(shared_secret, _ENCRYPTION_LABEL, "sha256")


def fulfillment_key(shared_secret: bytes) -> bytes:
    return hmac_digest(shared_secret, _FULFILLMENT_LABEL, "sha256")


def encrypt(cipher: AESGCM, plain: bytes) -> bytes:
    nonce = os.urandom(_NONCE_SIZE)
    sealed = cipher.encrypt(nonce, plain, None)
    return nonce + sealed[-_TAG_SIZE:] + sealed[:-_TAG_SIZE]


def decrypt(cipher: AESGCM, data: bytes) -> bytes:
    """Raises DecodeError, at the cost of one pass over the data."""
    if len(data) < OVERHEAD_SIZE:
        raise DecodeError(f"STREAM data has {len(data)} bytes, at least {OVERHEAD_SIZE} are needed")
    sealed = data[OVERHEAD_SIZE:] + data[_NONCE_SIZE:OVERHEAD_SIZE]
    try:
        return cipher.decrypt(data[:_NONCE_SIZE], sealed, None)
    except InvalidTag:
        raise DecodeError("STREAM data was not encrypted with this key") from None


class Keys:
    """What both ends derive from the shared secret of a connection."""

    __slots__ = ("_cipher", "_fulfillment_key")

    def __init__(self, shared_secret: bytes) -> None:
        self._cipher = AESGCM(encryption_key(shared_secret))
        self._fulfillment_key = fulfillment_key(shared_secret)

    def encrypt(self, plain: bytes) -> bytes:
        return encrypt(self._cipher, plain)

    def decrypt(self, data: bytes) -> bytes:
        """Raises DecodeError."""
        return decrypt(self._cipher, data)

    def fulfillment(self, data: bytes) -> bytes:
        """Of a Prepare with this data, as it came: encrypted."""
        return hmac_digest(self._fulfillment_key, data, "sha256")


class Receipt(NamedTuple):
    """What a receiver of money certifies: the total that a stream has received so far."""

    nonce: bytes
    stream_id: int
    total: int


def receipt(nonce: bytes, stream_id: int, total: int, secret: bytes) -> bytes:
    """The 58 bytes of a receipt. Raises UsageError."""
    if len(nonce) != _RECEIPT_NONCE_SIZE:
        raise UsageError(f"the nonce of a receipt has 16 bytes, not {len(nonce)}")
    if not 0 <= stream_id <= 0xFF or not 0 <= total < 1 << 64:
        raise UsageError(f"no receipt has stream {stream_id} and total {total}")
    signed = _RECEIPT_VERSION + nonce + bytes([stream_id]) + total.to_bytes(8)
    return signed + hmac_digest(secret, signed, "sha256")


def verify_receipt(octets: bytes, secret: bytes) -> Receipt:
    """What it says. Raises DecodeError if it is no receipt or this secret did not sign it."""
    if len(octets) != RECEIPT_SIZE or octets[:1] != _RECEIPT_VERSION:
        raise DecodeError(f"no STREAM receipt of version 1: {len(octets)} bytes")
    signed, seal = octets[:_RECEIPT_SIGNED_SIZE], octets[_RECEIPT_SIGNED_SIZE:]
    if not compare_digest(hmac_digest(secret, signed, "sha256"), seal):
        raise DecodeError("the STREAM receipt was not signed with this secret")
    return Receipt(signed[1:17], signed[17], int.from_bytes(signed[18:]))
