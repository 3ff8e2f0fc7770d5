"""CPU time of processes with threads and children, as far as it can be said without timing."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fastilp.loadtest.cpu import cpu_ns, rss_bytes, tree

# Burns what it is told to, in a child that has ended, a thread, or itself; says so, and waits.
PROGRAM = """
import subprocess, sys, threading, time
def burn():
    start = time.thread_time()
    while time.thread_time() - start < 0.3:
        pass
how = sys.argv[1]
child = None
if how == "child":
    subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.3: pass"])
elif how == "living":
    child = subprocess.Popen([sys.executable, __file__, "self"], stdin=subprocess.PIPE)
elif how == "thread":
    thread = threading.Thread(target=burn); thread.start(); thread.join()
else:
    burn()
print("done", flush=True)
sys.stdin.read()
if child: child.communicate()
"""


@contextmanager
def burnt(how: str, path: str) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, path, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        lines = 2 if how == "living" else 1
        for _ in range(lines):
            assert process.stdout.readline() == "done\n"
        yield process.pid
    finally:
        process.communicate()


def test_threads_and_children_are_included(tmp_path: object) -> None:
    path = f"{tmp_path}/burn.py"
    with open(path, "w") as file:
        file.write(PROGRAM)
    for how in ("self", "thread", "child", "living"):
        with burnt(how, path) as pid:
            # Ended children are counted in ticks of a hundredth of a second.
            assert cpu_ns([pid]) >= 290_000_000, how
            assert len(tree([pid])) == (2 if how == "living" else 1)
            assert rss_bytes([pid]) > 1_000_000


def test_a_process_that_is_gone_takes_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert cpu_ns([process.pid]) == 0
    assert rss_bytes([process.pid]) == 0
