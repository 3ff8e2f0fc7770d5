"""A switch with a million accounts and a million routes, in a process of its own: how long it takes
to load, and how much memory. Prints one JSON object.

`python -m bench.micro.million [COUNT [DIRECTORY]]`; with a directory the ledger is durable, and it
is loaded a second time from there.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fastilp import Ledger, Switch


def resident_size() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4_096


def measured(name: str, count: int, work: Callable[[], object]) -> dict[str, float]:
    """Seconds of a piece of work, and bytes for each thing it made."""
    size, start = resident_size(), time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return {
        f"{name}_s": round(seconds, 3),
        f"{name}_bytes_each": round((resident_size() - size) / count),
    }


def add_accounts(switch: Switch, count: int) -> None:
    for i in range(count):
        switch.add_account(f"account{i}", asset_code="USD", asset_scale=9)


def set_routes(switch: Switch, count: int) -> None:
    """Addresses of three and four segments, of 26 characters or so, an account each."""
    for i, account in enumerate(switch.accounts()):
        switch.set_route(f"g.hub.region{i % 97}.account{i}", account)


def loaded(ledger: Ledger, count: int) -> dict[str, float]:
    switch = Switch(ledger, address="g.hub")
    start, cpu = time.perf_counter(), time.process_time()
    figures = measured("accounts", count, lambda: add_accounts(switch, count))
    figures |= measured("routes", count, lambda: set_routes(switch, count))
    figures["all_s"] = round(time.perf_counter() - start, 3)
    figures["all_cpu_s"] = round(time.process_time() - cpu, 3)
    figures["process_mb"] = round(resident_size() / 1e6)
    assert len(switch.accounts()) == count
    return figures


def main(count: int = 1_000_000, directory: str = "") -> None:
    if not directory:
        print(json.dumps(loaded(Ledger.memory(), count)))
        return
    ledger = Ledger.open(directory)
    first = loaded(ledger, count)
    ledger.close()
    opened: list[Ledger] = []
    figures = measured("open", count, lambda: opened.append(Ledger.open(directory)))
    again = {f"again_{key}": value for key, value in loaded(opened[0], count).items()}
    opened[0].close()
    print(json.dumps(first | figures | again))


if __name__ == "__main__":
    main(*(int(one) if one.isdigit() else one for one in sys.argv[1:]))  # type: ignore[arg-type]
