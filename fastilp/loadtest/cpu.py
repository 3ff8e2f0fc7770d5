"""CPU time and memory of other processes, threads and children included. Imports nothing of ours.

Linux gives every process a clock of its own, in nanoseconds, with the threads that have ended in
it; /proc counts in ticks of 10 ms, which is too coarse for a few microseconds per exchange at a low
rate.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path

_NS = 1_000_000_000
# clock_getcpuclockid(3): the process id and which clock, in one number.
_CLOCK_SCHED = 2


def cpu_ns(pids: Iterable[int]) -> int:
    """CPU time so far of these processes and all that they started."""
    return sum(_own_ns(pid) + _ended_children_ns(pid) for pid in tree(pids))


def rss_bytes(pids: Iterable[int]) -> int:
    """Resident memory now."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for pid in tree(pids):
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
        except OSError:
            continue
    return total


def tree(pids: Iterable[int]) -> set[int]:
    """The processes and their descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def _own_ns(pid: int) -> int:
    try:
        return time.clock_gettime_ns((~pid << 3) | _CLOCK_SCHED)
    except OSError:
        return 0


def _ended_children_ns(pid: int) -> int:
    fields = _stat(pid)
    if not fields:
        return 0
    return (int(fields[13]) + int(fields[14])) * _NS // os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """/proc/<pid>/stat from its third field, the state, on: a name may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
