"""What tests of every kind need: waiting, free ports, the sums of the books. Imports nothing of
fastilp.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

WAIT_SECONDS = 60.0
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


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def free_port() -> int:
    return free_ports(1)[0]


def check_sums(ledger: _Ledger) -> None:
    """Money is conserved: per asset, debits equal credits."""
    for sums in ledger.sums().values():
        assert sums["debits_pending"] == sums["credits_pending"]
        assert sums["debits_posted"] == sums["credits_posted"]
