"""How far a payment is: what was sent, what is in flight, what is left. Imports rate.

A payment has a fixed source amount, or a fixed delivery amount and a source amount that it must not
exceed. Money counts as sent when its packet was fulfilled.
"""

from fastilp.endpoints.stream.rate import RateEstimate
from fastilp.errors import UsageError


class Goal:
    __slots__ = (
        "delivered",
        "delivery_amount",
        "in_flight",
        "in_flight_delivery",
        "sent",
        "source_amount",
    )

    def __init__(self, source_amount: int | None, delivery_amount: int | None) -> None:
        if (source_amount is None) == (delivery_amount is None):
            raise UsageError("a payment has either source_amount or delivery_amount")
        for amount in (source_amount, delivery_amount):
            if amount is not None and type(amount) is not int:
                raise UsageError(f"an amount is a whole number of smallest units, not {amount!r}")
            if amount is not None and not 0 <= amount < 1 << 64:
                raise UsageError(f"an amount is from 0 to 2**64 - 1, not {amount}")
        self.source_amount = source_amount
        """To send in all, or at most; None until it is known."""
        self.delivery_amount = delivery_amount
        self.sent = 0
        self.delivered = 0
        self.in_flight = 0
        self.in_flight_delivery = 0
        """What the packets in flight deliver at least, as far as we know."""

    @property
    def left(self) -> int:
        """Of the source amount, with nothing that is in flight."""
        return max((self.source_amount or 0) - self.sent - self.in_flight, 0)

    @property
    def is_reached(self) -> bool:
        if self.delivery_amount is not None:
            return self.delivered >= self.delivery_amount
        return self.left == 0 and self.in_flight == 0

    def unsent(self, rate: RateEstimate) -> int:
        """Source units that still have to leave, as things stand."""
        if self.delivery_amount is None:
            return self.left
        missing = self.delivery_amount - self.delivered - self.in_flight_delivery
        if missing <= 0:
            return 0
        return min(rate.needed(missing) or 0, self.left)

    def took_off(self, amount: int, delivery: int) -> None:
        self.in_flight += amount
        self.in_flight_delivery += delivery

    def came_back(self, amount: int, delivery: int) -> None:
        self.in_flight -= amount
        self.in_flight_delivery -= delivery

    def arrived(self, amount: int, delivery: int, delivered: int) -> None:
        self.came_back(amount, delivery)
        self.sent += amount
        self.delivered += delivered
