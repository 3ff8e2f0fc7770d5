"""When to try again what has failed. Imports the standard library only."""

import random
import time

FIRST_MS = 100
# RFC 38: at most an hour between two tries.
LONGEST_MS = 3_600_000
_DOUBLINGS_MAX = 40


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def delay_ms(tries: int, first_ms: int = FIRST_MS, longest_ms: int = LONGEST_MS) -> int:
    """After so many tries: doubled each time, and by a random half of it shorter, so that those
    who failed together do not come back together."""
    doubled = first_ms << min(max(tries - 1, 0), _DOUBLINGS_MAX)
    whole = min(doubled, longest_ms)
    return whole - random.randrange(whole // 2 + 1)
