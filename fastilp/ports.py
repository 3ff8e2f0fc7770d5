"""Ports for programs that must be told one before they listen. Imports nothing of fastilp.

A port that the system names for `bind(0)` may be that of anybody's outgoing connection a moment
later, or be named again: these are none of those.
"""

import contextlib
import random
import socket
from collections.abc import Iterable
from pathlib import Path

_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST, _FIRST_OUTGOING = 10_000, 32_768


def quiet_ports() -> range:
    """Those that the system gives to no outgoing connection, as far as it says which."""
    try:
        end = int(_OUTGOING.read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        end = _FIRST_OUTGOING
    return range(_FIRST, end) if end > 2 * _FIRST else range(_FIRST, _FIRST_OUTGOING)


def free_ports(count: int, among: Iterable[int] | None = None) -> list[int]:
    """Ports that nobody listens on, all different; the first of `among`, else any.

    ValueError when there are not so many.
    """
    if among is None:
        every = quiet_ports()
        among = random.sample(every, len(every))
    with contextlib.ExitStack() as bound:
        ports: list[int] = []
        for port in among:
            with contextlib.suppress(OSError):
                bound.enter_context(socket.socket()).bind(("", port))
                ports.append(port)
            if len(ports) == count:
                return ports
    raise ValueError(f"there are no {count} free ports")


def free_port() -> int:
    return free_ports(1)[0]
