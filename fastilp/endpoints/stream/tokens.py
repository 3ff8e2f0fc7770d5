"""Addresses and shared secrets of connections that end here, made and found again from nothing but
the node's seed. Imports _core, crypto and errors.

A token is 16 random bytes as base64url, or, for a connection with receipts, 80 bytes: the same, and
under AES-GCM the receipts' nonce and secret; then the switch's check (`_core.token`). The shared
secret is an HMAC of the account and the token's body under a key of the seed: a token is worth
nothing below another account's address.
"""

import base64
import os
from hmac import digest as hmac_digest
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fastilp._core.books import Account
from fastilp._core.token import BODY_RECEIPTS_SIZE, BODY_SIZE, CHECK_SIZE, token_check
from fastilp.errors import UsageError

_RANDOM_SIZE = 16
_NONCE_SIZE = 12
RECEIPT_NONCE_SIZE = 16
RECEIPT_SECRET_SIZE = 32


class Credentials(NamedTuple):
    """What a sender needs to pay: see RFC 9."""

    destination: str
    shared_secret: bytes


class ReceiptKey(NamedTuple):
    """With what the receiver signs its receipts (RFC 39)."""

    nonce: bytes
    secret: bytes


class Tokens:
    """`secret_seed`: 32 bytes, the node's."""

    def __init__(self, secret_seed: bytes) -> None:
        self._secret_key = _derived(secret_seed, b"ilp_stream_shared_secret")
        self._receipts = AESGCM(_derived(secret_seed, b"fastilp_stream_receipts"))
        self.check_key = _derived(secret_seed, b"fastilp_stream_token")[:16]
        """For `Switch.set_token_key`."""

    def credentials(
        self, account: Account, address: str, receipts: ReceiptKey | None = None
    ) -> Credentials:
        """A new connection to an account that has this address. Raises UsageError for a key of
        receipts that is none."""
        octets = os.urandom(_RANDOM_SIZE)
        if receipts is not None:
            octets += self._receipts.encrypt(octets[:_NONCE_SIZE], _packed(receipts), account.id)
        body = base64.urlsafe_b64encode(octets).rstrip(b"=")
        token = body + token_check(self.check_key, body)
        return Credentials(f"{address}.{token.decode()}", self.shared_secret(account, body))

    def shared_secret(self, account: Account, body: bytes) -> bytes:
        return hmac_digest(self._secret_key, account.id + body, "sha256")

    def receipt_key(self, account: Account, body: bytes) -> ReceiptKey | None:
        """None: its connection has none, or the token is another account's."""
        if len(body) != BODY_RECEIPTS_SIZE:
            return None
        try:
            octets = base64.b64decode(body + b"=", altchars=b"-_", validate=True)
            nonce, sealed = octets[:_NONCE_SIZE], octets[_RANDOM_SIZE:]
            plain = self._receipts.decrypt(nonce, sealed, account.id)
        except (ValueError, InvalidTag):
            # Characters of addresses that are none of base64's, or another account's token.
            return None
        return ReceiptKey(plain[:RECEIPT_NONCE_SIZE], plain[RECEIPT_NONCE_SIZE:])


def body_of(destination: str) -> bytes | None:
    """The body of the token that is the last segment; None: that is no token. The check is not
    looked at: who does not know the shared secret of a body gains nothing by inventing one."""
    segment = destination.rpartition(".")[2]
    if len(segment) - CHECK_SIZE not in (BODY_SIZE, BODY_RECEIPTS_SIZE):
        return None
    return segment[:-CHECK_SIZE].encode()


def _derived(secret_seed: bytes, label: bytes) -> bytes:
    return hmac_digest(secret_seed, label, "sha256")


def _packed(receipts: ReceiptKey) -> bytes:
    sizes = (len(receipts.nonce), len(receipts.secret))
    if sizes != (RECEIPT_NONCE_SIZE, RECEIPT_SECRET_SIZE):
        raise UsageError(
            f"receipts need a nonce of 16 bytes and a secret of 32, not {sizes[0]} and {sizes[1]}"
        )
    return receipts.nonce + receipts.secret
