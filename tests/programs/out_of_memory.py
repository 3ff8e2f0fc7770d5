"""A switch whose process may take no more memory: out_of_memory.py accounts|fulfills.

Each trial is a process of its own, with a limit of its address space a little above what it has;
tables that grow by doubling meet it while Python's small objects still find room. Ends with status
0 if what was refused is whole afterwards, and the sums hold.
"""

import hashlib
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from fastilp import Fulfill, Ledger, Link, Switch, decode
from tests import ilp_bytes

MIB = 1 << 20
NOW_MS = 1_800_000_000_000
PREIMAGE = b"p" * 32
CONDITION = hashlib.sha256(PREIMAGE).digest()
EXCHANGES_MAX = 20_000
ACCOUNTS_BEFORE, ACCOUNTS_MAX = 8_100, 100_000


def limit(extra: int | None) -> None:
    """So many bytes more than now; None: as much as there is."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    wanted = resource.RLIM_INFINITY if extra is None else pages * resource.getpagesize() + extra
    resource.setrlimit(resource.RLIMIT_AS, (wanted, resource.RLIM_INFINITY))


def pair(switch: Switch) -> tuple[Link, Link]:
    links = []
    for name in ("alice", "bob"):
        account = switch.add_account(name, asset_code="USD", asset_scale=9)
        switch.set_route(f"g.hub.{name}", account)
        links.append(switch.open_link(account))
    return links[0], links[1]


def add(switch: Switch, name: str, count: int) -> None:
    for number in range(count):
        switch.add_account(f"{name}{number}", asset_code="USD", asset_scale=9)


def exchange(switch: Switch, ledger: Ledger, a: Link, b: Link, fulfill: bytes) -> None:
    a.receive([(1, ilp_bytes.prepare(5, "g.hub.bob", CONDITION, NOW_MS + 20_000, b""))])
    switch.process(NOW_MS)
    [(sent, _)] = b.take()
    b.receive([(sent, fulfill)])
    switch.process(NOW_MS)


def fulfills(extra: int) -> None:
    """They wait for their commit until there is no room for one more."""
    ledger = Ledger.memory(manual_commit=True)
    switch = Switch(ledger, "g.hub")
    a, b = pair(switch)
    ledger.release()
    fulfill = bytes(Fulfill(fulfillment=PREIMAGE, data=bytes(32_000)))
    limit(extra)
    done = 0
    while switch.statuses()["undeliverable"] < 3:
        exchange(switch, ledger, a, b, fulfill)
        done += 1
        assert done < EXCHANGES_MAX, "memory was never exhausted"
    assert a.take() == [], "a Fulfill left before its commit"
    limit(None)
    ledger.release()
    switch.process(NOW_MS)
    assert len(a.take()) == done - 3
    assert switch.balance(switch.account("alice")) == -5 * done
    ledger.check()


def accounts(extra: int) -> None:
    """They are made until there is no room for one more, and then for many more. At the start the
    tables are nearly as large as blocks from the heap get."""
    ledger = Ledger.memory()
    switch = Switch(ledger, "g.hub")
    a, b = pair(switch)
    add(switch, "before", ACCOUNTS_BEFORE)
    limit(extra)
    try:
        add(switch, "until", ACCOUNTS_MAX)
    except MemoryError:
        limit(None)
    else:
        raise AssertionError("memory was never exhausted")
    add(switch, "after", 2 * ACCOUNTS_BEFORE)
    exchange(switch, ledger, a, b, bytes(Fulfill(fulfillment=PREIMAGE)))
    assert [type(decode(packet)) for _, packet in a.take()] == [Fulfill]
    ledger.check()


def trial(run: Callable[[int], None], extra: int) -> int:
    child = os.fork()
    if child == 0:
        run(extra)
        # Its tables are freed by then.
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    run, extras = {
        "fulfills": (fulfills, [100 * MIB, 200 * MIB]),
        "accounts": (accounts, [step * MIB // 4 for step in range(40)]),
    }[sys.argv[1]]
    ended = {extra: trial(run, extra) for extra in extras}
    sys.exit(str(ended) if any(ended.values()) else 0)
