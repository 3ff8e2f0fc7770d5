"""Records of settlement: what we pay through engines, what engines have credited in part, which
accounts engines know. Imports `records` and `payments`.

A settlement is written in the transaction of its debit, before anybody is asked to pay it, and
stays one until an engine has taken it or a human has decided. Its id is the `Idempotency-Key` of
all tries; ids are in the order of time.
"""

import dataclasses
from hashlib import sha256

from fastilp.errors import UsageError
from fastilp.storage.payments import canonical_id, name_in_list
from fastilp.storage.records import Kind

PENDING = "pending"
"""Not yet taken by the engine; whether it was paid may be uncertain."""
SENT = "sent"
"""The engine has taken it: from here on it is the engine's (RFC 38)."""
REFUSED = "refused"
"""The engine has said that it will not take it; a human decides."""
PAID = "paid"
"""A human has said that it was paid."""
REFUNDED = "refunded"
"""A human has said that it was not and will not be paid: the debit was taken back."""
OPEN_STATES = (PENDING, REFUSED)

THRESHOLD, EVERY, MANUAL, PREFUND = "threshold", "every", "manual", "prefund"
REASONS = (THRESHOLD, EVERY, MANUAL, PREFUND)

OF_ALL = bytes(16)
"""In the place of an account's id, in lists."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SettlementIntent:
    """`amount` is in units of the account's asset, at `scale`. The engine stays the same for all
    tries, as a key means nothing to another one, which would pay once more; where it has moved, a
    human says so."""

    settlement_id: str
    account_id: bytes
    username: str
    asset_code: str
    scale: int
    amount: int
    engine_url: str
    reason: str
    created_at_ms: int
    changed_at_ms: int
    state: str = PENDING
    tries: int = 0
    uncertain_at_ms: int = 0
    """When the first try began that had no answer, or one that is neither yes nor no, since a human
    last decided; 0: none."""
    next_try_ms: int = 0
    external_id: str | None = None
    """What the engine, or a human, says it is on the ledger."""
    error: str | None = None
    """Of the last try."""

    @property
    def may_be_paid(self) -> bool:
        return self.uncertain_at_ms != 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SettlementName:
    """A settlement's name in a list of settlements."""

    name: str
    settlement_id: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What engines have credited beyond whole units of an account: less than one of them."""

    account_id: bytes
    asset_code: str
    amount: int
    scale: int


WANTED, CREATED, UNWANTED, GONE = "wanted", "created", "unwanted", "gone"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EngineAccount:
    """An account as an engine knows it, or is to know it."""

    account_id: bytes
    username: str
    engine_url: str
    state: str = WANTED


def leftover_name(account_id: bytes, asset_code: str) -> str:
    return f"{account_id.hex()}/{asset_code}"


def engine_account_name(account_id: bytes, engine_url: str) -> str:
    """URLs have no bound that a key could keep to."""
    return f"{account_id.hex()}/{sha256(engine_url.encode()).hexdigest()[:32]}"


def settlement_id_of(text: str) -> str:
    """Raises UsageError for what is no id."""
    try:
        return canonical_id(text)
    except UsageError:
        raise UsageError(f"{text[:100]!r} is no id of a settlement") from None


def names_of(intent: SettlementIntent) -> list[SettlementName]:
    """Its names in the lists of its account's settlements and of all, the newest first."""
    return [
        SettlementName(
            name=name_in_list(account_id, intent.settlement_id),
            settlement_id=intent.settlement_id,
        )
        for account_id in (intent.account_id, OF_ALL)
    ]


SETTLEMENTS: Kind[SettlementIntent] = Kind(
    "settlement", SettlementIntent, lambda record: record.settlement_id
)
SETTLEMENTS_OF: Kind[SettlementName] = Kind(
    "settlement_of", SettlementName, lambda record: record.name
)
SETTLEMENTS_OPEN: Kind[SettlementName] = Kind(
    "settlement_open", SettlementName, lambda record: record.name
)
LEFTOVERS: Kind[Leftover] = Kind(
    "leftover", Leftover, lambda record: leftover_name(record.account_id, record.asset_code)
)
ENGINE_ACCOUNTS: Kind[EngineAccount] = Kind(
    "engine_account",
    EngineAccount,
    lambda record: engine_account_name(record.account_id, record.engine_url),
)
