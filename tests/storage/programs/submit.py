"""Submits transfers until it is killed, and prints each ticket that it knows to be committed.

submit.py PATH SEED ACCOUNTS START: START is the ticket of the state that the directory holds.
Tickets of a run count from 1; the record `ticket` holds the number of steps since the seed.
"""

import random
import sys
import time

from fastilp._core.store import Store
from tests.storage.rows import Books


def main() -> None:
    path, seed, accounts, start = sys.argv[1], *map(int, sys.argv[2:5])
    books = Books(seed, accounts)
    for _ in books.steps_to(start):
        pass
    store = Store(path, map_size=1 << 20, preallocate=1 << 20)
    pace = random.Random(start)
    print(f"open {store.incarnation}", flush=True)
    ticket, told = 0, 0
    while True:
        rows = books.step()
        ticket += 1
        store.write(ticket, rows, [(b"ticket", b"%d" % books.ticket)])
        if pace.random() < 0.1:
            time.sleep(pace.choice([0, 0.001, 0.07]))  # the last one lets folding begin
        committed = store.committed_ticket
        if committed > told:
            told = committed
            print(f"committed {start + told}", flush=True)


main()
