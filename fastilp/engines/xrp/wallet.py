"""The engine's key: its address, and transactions that it signs. Imports errors.

xrpl-py does the cryptography and the codec.
"""

import hashlib
from typing import Any

from xrpl.constants import XRPLException
from xrpl.core import keypairs
from xrpl.core.addresscodec import is_valid_classic_address
from xrpl.core.binarycodec import encode, encode_for_signing

from fastilp.errors import DecodeError

# So that a hash of a transaction can be one of nothing else.
HASH_PREFIX = b"TXN\x00"
TAG_MAX = 2**32 - 1
# Of XRP: a drop is a millionth.
SCALE = 6


class Wallet:
    def __init__(self, secret: str) -> None:
        """Raises DecodeError."""
        try:
            self._public, self._private = keypairs.derive_keypair(secret)
        except (ValueError, KeyError, XRPLException):
            raise DecodeError("must be the secret of an XRP account, such as sEd…") from None
        self.address: str = keypairs.derive_classic_address(self._public)

    def sign(self, fields: dict[str, Any]) -> tuple[str, str]:
        """The transaction as it is submitted, and its hash, both in hex."""
        transaction = fields | {"Account": self.address, "SigningPubKey": self._public}
        signature = keypairs.sign(bytes.fromhex(encode_for_signing(transaction)), self._private)
        blob = encode(transaction | {"TxnSignature": signature})
        return blob, hash_of(blob)


def hash_of(blob: str) -> str:
    digest = hashlib.sha512(HASH_PREFIX + bytes.fromhex(blob)).digest()
    return digest[:32].hex().upper()


def address_of(value: Any) -> str:
    """An address as a peer writes it. Raises DecodeError."""
    if not isinstance(value, str) or not is_valid_classic_address(value):
        raise DecodeError("an address must be one of the XRP Ledger, such as r…")
    return value


def tag_of(value: Any) -> int:
    """A destination tag as a peer writes it. Raises DecodeError."""
    if type(value) is not int or not 0 <= value <= TAG_MAX:
        raise DecodeError(f"a destination tag must be a whole number from 0 to {TAG_MAX}")
    return value
