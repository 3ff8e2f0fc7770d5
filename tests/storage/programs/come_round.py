"""Writes as fast as it can until it is killed, so that the journal comes round again and again, and
prints each step that it knows to be committed: come_round.py PATH START [DURABILITY]

After step n every account stands at n, and so does the record `step`.
"""

import sys

from fastilp._core.store import Store
from tests.storage.rows import pack

ACCOUNTS = 300


def main() -> None:
    path, step = sys.argv[1], int(sys.argv[2])
    store = Store(path, sync=sys.argv[3:] != ["process"], map_size=1 << 20, preallocate=1 << 20)
    ticket = 0
    while True:
        step += 1
        ticket += 1
        rows = [(index, pack(index, debits_posted=step)) for index in range(ACCOUNTS)]
        store.write(ticket, rows, [(b"step", b"%d" % step)])
        store.wait(ticket)
        print(step, flush=True)


main()
