"""Tokens of accounts as they are kept: incoming ones as keyed hashes, outgoing ones sealed.

Imports storage, _core and errors. The key that seals follows from the node's secret seed; the key
that hashes is random, kept in the store, and sealed like a token, so that the seed can be changed
without asking every peer for a new token. Whoever has the data directory and not the seed learns
no token.
"""

import hmac
import secrets
from collections.abc import Iterable
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fastilp._core.ledger import Ledger
from fastilp.errors import ConfigError
from fastilp.storage.kinds import ACCOUNTS, SEALED_KEYS, AccountRecord, SealedKeyRecord
from fastilp.storage.records import Reader

_PURPOSE = b"fastilp_token_encryption"
_HASH_KEY = "token_hash"
_NONCE_SIZE = 12
_KEY_ID_SIZE = 4
_OUTGOING = (
    "ilp_over_http_outgoing_token",
    "ilp_over_batch_outgoing_token",
    "ilp_over_btp_outgoing_token",
)
# Ledger.transact takes at most 500 records.
_RECORDS_PER_CALL = 400


class Sealer:
    """AES-256-GCM under a key that follows from a secret seed. What is sealed says under which key,
    and opens only in the place that it was sealed for."""

    def __init__(self, seed: bytes) -> None:
        key = hmac.digest(seed, _PURPOSE, sha256)
        self.key_id = sha256(key).digest()[:_KEY_ID_SIZE]
        self._cipher = AESGCM(key)

    def seal(self, secret: bytes, place: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_SIZE)
        return self.key_id + nonce + self._cipher.encrypt(nonce, secret, place)

    def is_mine(self, sealed: bytes) -> bool:
        return sealed.startswith(self.key_id)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Raises ConfigError for another seed's, or damage."""
        rest = sealed[_KEY_ID_SIZE:]
        try:
            return self._cipher.decrypt(rest[:_NONCE_SIZE], rest[_NONCE_SIZE:], place)
        except (InvalidTag, ValueError):
            raise ConfigError(
                "does not open the tokens in the data directory: give the seed that the node had,"
                " or finish `fastilp config rotate`",
                key="node.secret_seed",
            ) from None


class Vault:
    """What accounts need: a hash of what peers send, and the texts that we send."""

    def __init__(self, sealer: Sealer, hash_key: bytes) -> None:
        self.hash_key = hash_key
        self._sealer = sealer

    @classmethod
    def open(cls, ledger: Ledger, seed: bytes) -> "Vault":
        """The vault of a ledger; its hash key is made when there is none. Raises ConfigError."""
        found = None if ledger.store is None else cls.of_store(ledger.store, seed)
        if found is not None:
            return found
        sealer = Sealer(seed)
        vault = cls(sealer, secrets.token_bytes(32))
        if ledger.store is not None:
            ledger.transact(puts=[_hash_key_record(sealer, vault.hash_key)])
        return vault

    @classmethod
    def of_store(cls, store: Reader, seed: bytes) -> "Vault | None":
        """The vault of a store that is only read; None if no node has made one. Raises
        ConfigError."""
        record = SEALED_KEYS.get(store, _HASH_KEY)
        if record is None:
            return None
        sealer = Sealer(seed)
        return cls(sealer, sealer.open(record.sealed, _HASH_KEY.encode()))

    @classmethod
    def temporary(cls) -> "Vault":
        """For ledgers that keep nothing."""
        return cls(Sealer(secrets.token_bytes(32)), secrets.token_bytes(32))

    def hash(self, token: str) -> bytes:
        # A header may hold any bytes: then they are nobody's token, not an error.
        return hmac.digest(self.hash_key, token.encode("utf-8", "surrogatepass"), sha256)

    def seal(self, account_id: bytes, field: str, token: str) -> bytes:
        return self._sealer.seal(token.encode(), _place(account_id, field))

    def unseal(self, account_id: bytes, field: str, sealed: bytes) -> str:
        return self._sealer.open(sealed, _place(account_id, field)).decode()


def rotate(ledger: Ledger, old_seed: bytes, new_seed: bytes) -> int:
    """Seal everything under the new seed; returns how many tokens that were. What an interrupted
    call has left is done by the next one. Raises ConfigError if the old seed is not the store's."""
    old, new = Sealer(old_seed), Sealer(new_seed)
    store = ledger.store
    record = None if store is None else SEALED_KEYS.get(store, _HASH_KEY)
    if store is None or record is None:
        return 0
    owner = new if new.is_mine(record.sealed) else old
    hash_key = owner.open(record.sealed, _HASH_KEY.encode())
    count = 0
    puts: list[tuple[bytes, bytes]] = []
    for account in list(ACCOUNTS.items(store)):
        changes = dict(_resealed(account, old, new))
        if not changes:
            continue
        count += len(changes)
        puts.append(ACCOUNTS.put(_replaced(account, changes)))
        if len(puts) == _RECORDS_PER_CALL:
            ledger.transact(puts=puts)
            puts = []
    # Last: while it is under the old seed, the node starts with the old one or not at all.
    ledger.transact(puts=[*puts, _hash_key_record(new, hash_key)])
    return count


def _resealed(account: AccountRecord, old: Sealer, new: Sealer) -> Iterable[tuple[str, bytes]]:
    for field in _OUTGOING:
        sealed = getattr(account, field)
        if sealed is not None and not new.is_mine(sealed):
            place = _place(account.account_id, field)
            yield field, new.seal(old.open(sealed, place), place)


def _replaced(account: AccountRecord, changes: dict[str, bytes]) -> AccountRecord:
    values = {name: getattr(account, name) for name in AccountRecord.__slots__}
    return AccountRecord(**(values | changes))


def _place(account_id: bytes, field: str) -> bytes:
    return account_id + field.encode()


def _hash_key_record(sealer: Sealer, hash_key: bytes) -> tuple[bytes, bytes]:
    sealed = sealer.seal(hash_key, _HASH_KEY.encode())
    return SEALED_KEYS.put(SealedKeyRecord(name=_HASH_KEY, sealed=sealed))
