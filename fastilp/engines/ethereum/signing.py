"""The engine's key: its address, signatures of the handshake, transactions. Imports errors.

eth-account does the cryptography. Addresses are texts of `0x` and 40 small hex digits everywhere in
the engine, so that they compare as texts.
"""

import re
import sys
from typing import Any

from eth_account import Account
from eth_keys.datatypes import PrivateKey, Signature
from eth_keys.exceptions import BadSignature
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from fastilp.errors import DecodeError

# A library below eth-account raises it to 100,000; nested JSON would then run over the end of the
# stack instead of raising RecursionError. This is Python's own default.
sys.setrecursionlimit(1_000)

# So that a signature of the handshake can be one of nothing else, a transaction least of all.
HANDSHAKE_PREFIX = b"ilp-ethl-create-account-message"
NUMBER_BYTES_MAX = 32
_ADDRESS = re.compile(r"(?:0x)?[0-9a-fA-F]{40}")


class Key:
    def __init__(self, private_key: bytes) -> None:
        self._key = PrivateKey(private_key)
        self._private_key = private_key
        self.address: str = self._key.public_key.to_address().lower()

    def sign_challenge(self, challenge: bytes) -> dict[str, list[int]]:
        """As Interledger.rs's engine writes signatures: numbers as lists of bytes."""
        signature = self._key.sign_msg_hash(keccak(HANDSHAKE_PREFIX + challenge))
        return {
            "v": _to_bytes(signature.v + 27),
            "r": _to_bytes(signature.r),
            "s": _to_bytes(signature.s),
        }

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[str, str]:
        """The raw transaction and its hash, both in hex."""
        fields = transaction | {"to": to_checksum_address(transaction["to"])}
        signed = Account.sign_transaction(fields, self._private_key)
        return "0x" + bytes(signed.raw_transaction).hex(), "0x" + bytes(signed.hash).hex()


def signer_of(challenge: bytes, signature: Any) -> str:
    """The address whose key made the signature. Raises DecodeError."""
    if not isinstance(signature, dict):
        raise DecodeError('"signature" must be an object with "v", "r" and "s"')
    v, r, s = (_to_number(signature.get(name)) for name in ("v", "r", "s"))
    try:
        found = Signature(vrs=(v - 27, r, s))
        key = found.recover_public_key_from_msg_hash(keccak(HANDSHAKE_PREFIX + challenge))
    except (BadSignature, ValidationError, ValueError) as error:
        raise DecodeError(f'"signature" is none: {error}') from None
    return str(key.to_address()).lower()


def address_of(value: Any) -> str:
    """An address as a peer writes it. Raises DecodeError."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise DecodeError("an address must be 20 bytes in hex")
    return "0x" + value.removeprefix("0x").lower()


def bytes_of(value: Any, size_max: int) -> bytes:
    """A list of numbers, as a peer writes bytes. Raises DecodeError."""
    if not isinstance(value, list) or len(value) > size_max:
        raise DecodeError(f"bytes must be a list of at most {size_max} numbers")
    if not all(type(each) is int and 0 <= each <= 255 for each in value):
        raise DecodeError("bytes must be a list of numbers from 0 to 255")
    return bytes(value)


def _to_bytes(number: int) -> list[int]:
    """Big endian, without zeros in front."""
    return list(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _to_number(value: Any) -> int:
    return int.from_bytes(bytes_of(value, NUMBER_BYTES_MAX), "big")
