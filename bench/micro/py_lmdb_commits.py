"""Commits random rows through py-lmdb on a thread, one for each line of standard input.

py_lmdb_commits.py PATH ACCOUNTS COUNT idle|saturated: what test_commit compares with, in a
process of its own because two copies of LMDB in one lose its locks. Answers each line with the ns
that it took.
"""

import queue
import random
import sys
import threading
import time

import lmdb

PATH, ACCOUNTS, COUNT, MODE = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

Rows = list[tuple[bytes, bytes]]


def write(env: lmdb.Environment, rows: "queue.Queue[Rows | None]", done: list[int]) -> None:
    while (batch := rows.get()) is not None:
        with env.begin(write=True) as txn:
            txn.cursor().putmulti(batch)
        done[0] += 1


def main() -> None:
    chance = random.Random(1)
    rows: queue.Queue[Rows | None] = queue.Queue()
    done, asked = [0], 1
    with lmdb.open(PATH, map_size=1 << 30) as env:
        writer = threading.Thread(target=write, args=(env, rows, done))
        writer.start()
        rows.put([(index.to_bytes(16, "big"), bytes(128)) for index in range(ACCOUNTS)])
        while done[0] < asked:
            pass
        print("ready", flush=True)
        pause = threading.Event()
        for _ in sys.stdin:
            asked += 1
            value = asked.to_bytes(16, "little") * 8
            indexes = chance.sample(range(ACCOUNTS), COUNT)
            start = time.perf_counter_ns()
            rows.put([(index.to_bytes(16, "big"), value) for index in indexes])
            while done[0] < asked:
                if MODE == "idle":
                    pause.wait(0.0001)
            print(time.perf_counter_ns() - start, flush=True)
        rows.put(None)
        writer.join()


main()
