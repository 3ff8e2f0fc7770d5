"""What there is to say of a payment at any moment. Imports nothing but types."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction


class State(StrEnum):
    PROBING = "probing"
    SENDING = "sending"
    ENDING = "ending"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (State.COMPLETED, State.FAILED, State.CANCELLED)


class Reason(StrEnum):
    """Why a payment failed, for programs; `Progress.error` is for people."""

    NONE = ""
    UNREACHABLE = "unreachable"
    RATE_TOO_LOW = "rate_too_low"
    AMOUNT_TOO_SMALL = "amount_too_small"
    TIMED_OUT = "timed_out"
    REJECTED = "rejected"
    WRONG_FULFILLMENT = "wrong_fulfillment"
    CLOSED_BY_RECEIVER = "closed_by_receiver"
    RECEIVER_FULL = "receiver_full"
    USED_UP = "used_up"


@dataclass(frozen=True, slots=True)
class Progress:
    """Amounts in the smallest units of either side. `sent_amount` was fulfilled and is gone for
    good, `in_flight_amount` comes back or is gone."""

    state: State
    source_amount: int | None
    """Fixed, or what a fixed delivery amount costs as far as we know."""
    delivery_amount: int | None
    sent_amount: int
    in_flight_amount: int
    delivered_amount: int
    destination_asset_code: str | None
    destination_asset_scale: int | None
    rate: Fraction | None
    """Destination units for a source unit."""
    minimum_rate: Fraction | None
    packet_amount_max: int | None
    """None: no hop has named a limit."""
    packets_fulfilled: int
    packets_rejected: int
    packets_in_flight: int
    sequence_next: int
    waiting_for: str
    """The last refusal, while nothing goes through."""
    receipt: bytes
    """The newest that the receiver sent (RFC 39), or none."""
    reason: Reason
    error: str


Outcome = Progress
