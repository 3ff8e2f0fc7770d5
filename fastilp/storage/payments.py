"""Records of payments that the node sends: what each is for, how far it is, which ones run.

Imports `records`. A payment's id begins with the time of its order, so ids are in the order of
time; an account's payments are listed by `PAYMENTS_OF`, the newest first.
"""

import dataclasses
import secrets
import uuid

from fastilp.errors import UsageError
from fastilp.storage.records import Kind

_ID_MAX = 2**128 - 1
_VERSION_7, _VARIANT = 7 << 76, 2 << 62


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRecord:
    """Amounts of the source are in units of the account's asset. Exactly one of `source_amount`
    and `delivery_amount` is what was ordered."""

    payment_id: str
    account_id: bytes
    username: str
    receiver: str
    created_at_ms: int
    changed_at_ms: int
    state: str
    source_asset_code: str
    source_asset_scale: int
    source_amount: int | None = None
    delivery_amount: int | None = None
    slippage: str = "0.015"
    from_address: str = ""
    to_address: str = ""
    destination_asset_code: str | None = None
    destination_asset_scale: int | None = None
    sent_amount: int = 0
    """Of Prepares that were fulfilled."""
    delivered_amount: int = 0
    in_flight_amount: int = 0
    """At most this much more was sent when the record was written."""
    uncertain_amount: int = 0
    """At most this much more was sent in a run of the node that ended before the answers came."""
    error: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PaymentName:
    """A payment's name in a list of payments."""

    name: str
    payment_id: str


def new_payment_id(now_ms: int) -> str:
    """A UUID of version 7 (RFC 9562 section 5.7)."""
    random = secrets.randbits(74)
    high, low = random >> 62, random & (2**62 - 1)
    return str(uuid.UUID(int=now_ms << 80 | _VERSION_7 | high << 64 | _VARIANT | low))


def name_in_list(account_id: bytes, payment_id: str) -> str:
    """Backwards in time."""
    return f"{beginning_of(account_id)}{_ID_MAX - uuid.UUID(payment_id).int:032x}"


def canonical_id(text: str) -> str:
    """Raises UsageError for what is no id."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise UsageError(f"{text[:100]!r} is no id of a payment") from None


def beginning_of(account_id: bytes) -> str:
    """What the names of an account's payments begin with."""
    return f"{account_id.hex()}/"


PAYMENTS: Kind[PaymentRecord] = Kind("payment", PaymentRecord, lambda record: record.payment_id)
PAYMENTS_OF: Kind[PaymentName] = Kind("payment_of", PaymentName, lambda record: record.name)
PAYMENTS_RUNNING: Kind[PaymentName] = Kind("payment_run", PaymentName, lambda record: record.name)
