"""Times the condition checks of columns of 256 rows, for one kernel, beside hashlib.

condition_times.py, with FASTILP_SHA256 naming the kernel: a process of its own, because the choice
is made at import. Prints the median ns per row, those of one `hashlib.sha256(32 bytes).digest()`,
and the median of the ratios of neighbouring rounds.
"""

import hashlib
import random
import time
from statistics import median

from fastilp._core import condition

ROWS, CALLS, ROUNDS = 256, 100, 31


def main() -> None:
    messages = [random.Random(1).randbytes(32) for _ in range(ROWS)]
    fulfillments = b"".join(messages)
    conditions = b"".join(hashlib.sha256(one).digest() for one in messages)
    digest, clock = hashlib.sha256, time.perf_counter_ns
    figures = []
    for _ in range(ROUNDS):
        start = clock()
        for _ in range(CALLS):
            matched = condition.count_matches(fulfillments, conditions)
        middle = clock()
        for _ in range(CALLS):
            for one in messages:
                digest(one).digest()
        figures.append(((middle - start) / CALLS / ROWS, (clock() - middle) / CALLS / ROWS))
        assert matched == ROWS
    check_ns, hashlib_ns = (median(column) for column in zip(*figures, strict=True))
    ratio = median(check / reference for check, reference in figures)
    print(condition.kernel(), round(check_ns, 1), round(hashlib_ns, 1), round(ratio, 3))


main()
