"""Into which packets a payment is cut. Imports rate.

Evenly, so that no crumb is left that is too small to arrive; and where a packet delivers few units,
to the least source amount that delivers as many.
"""

from fastilp.endpoints.stream.rate import Bounds, RateEstimate

# A packet that does not fit the window waits until so much of it is free, not for every crumb.
_WINDOW_PARTS = 8


def even_part(unsent: int, largest: int, rate: RateEstimate) -> int:
    if unsent <= largest:
        return unsent
    count = -(-unsent // largest)
    return rate.aligned(-(-unsent // count))


def next_amount(
    unsent: int, largest: int, room: int, window: int, rate: RateEstimate, bounds: Bounds
) -> tuple[int, int] | None:
    """Source amount of the next packet, and what it has to deliver; None if none can leave now.

    `room` is what is free of `window`. With all of it free a packet may be larger than the window,
    if nothing smaller would deliver enough.
    """
    amount = even_part(unsent, largest, rate)
    if amount > room:
        if room < window // _WINDOW_PARTS:
            return None
        amount = rate.aligned(room)
    asked = bounds.asked(amount) if amount else None
    if asked is None:
        larger = min(largest, unsent, max(bounds.least(), amount))
        if larger > room and room < window:
            return None
        amount, asked = larger, bounds.asked(larger)
    return None if asked is None else (amount, asked)
