"""What tests of every kind need: waiting, free ports, the sums of the books. Of fastilp it imports
only how ports are found.
"""

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from fastilp import ports

WAIT_SECONDS = 60.0
_WORKERS_MAX = 16
_LOOK_SECONDS = 0.01


class _Ledger(Protocol):
    def sums(self) -> Mapping[Any, Mapping[str, int]]: ...


def until(
    holds: Callable[[], object], about: Callable[[], object] = str, seconds: float = WAIT_SECONDS
) -> None:
    """Look again and again; `about` is what the failure says if it never comes true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, about()
        time.sleep(_LOOK_SECONDS)


def wait_until(look: Callable[[], Any], wanted: Any, seconds: float = WAIT_SECONDS) -> None:
    """The same for a value; the last look is in the failure."""
    seen: list[Any] = [None]

    def holds() -> bool:
        seen[0] = look()
        return bool(seen[0] == wanted)

    until(holds, lambda: f"still {seen[0]!r}, wanted {wanted!r}", seconds)


def _own_ports() -> Iterator[int]:
    """A test may wait before it listens: no two workers share a port, and none comes twice."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = list(ports.quiet_ports()[worker % _WORKERS_MAX :: _WORKERS_MAX])
    first = random.randrange(len(own))
    return itertools.cycle(own[first:] + own[:first])


_PORTS = _own_ports()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    return ports.free_ports(count, _PORTS)


def free_port() -> int:
    return free_ports(1)[0]


def check_sums(ledger: _Ledger) -> None:
    """Money is conserved: per asset, debits equal credits."""
    for sums in ledger.sums().values():
        assert sums["debits_pending"] == sums["credits_pending"]
        assert sums["debits_posted"] == sums["credits_posted"]
