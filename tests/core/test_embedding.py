"""The embedded switch as a program of others uses it: public names, no event loop, a real store."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastilp

# Names and calls as the documentation shows them; the loop sleeps on `fileno` until the commit.
PROGRAM = """
import asyncio, hashlib, select, sys, time
import fastilp

try:
    asyncio.get_running_loop()
except RuntimeError:
    pass
else:
    raise SystemExit("there is a loop")

ledger = fastilp.Ledger.open(sys.argv[1])
switch = fastilp.Switch(ledger, address="g.hub")
alice = switch.add_account("alice", asset_code="USD", asset_scale=9, min_balance=-10**12)
bob = switch.add_account("bob", asset_code="USD", asset_scale=9)
switch.set_route("g.hub.bob", bob)
a, b = switch.open_link(alice), switch.open_link(bob)
before = switch.balance(alice), switch.balance(bob)

preimage = b"p" * 32
now_ms = int(time.time() * 1000)
prepare = fastilp.Prepare(
    amount=1000, expires_at=now_ms + 30_000, destination="g.hub.bob.x",
    execution_condition=hashlib.sha256(preimage).digest(), data=b"hello",
)
a.receive([(1, bytes(prepare))])
switch.process(now_ms)
[(sent_id, packet)] = b.take()
assert fastilp.Prepare.decode(packet).data == b"hello"
assert switch.balance(alice) == before[0] - 1000
b.receive([(sent_id, bytes(fastilp.Fulfill(fulfillment=preimage)))])
switch.process(now_ms)
assert a.take() == []
for _ in range(100):
    readable, _, _ = select.select([switch.fileno()], [], [], 10)
    assert readable == [switch.fileno()]
    switch.process(now_ms)
    if answers := a.take():
        break
[(request_id, packet)] = answers
answer = fastilp.decode(packet)
assert (request_id, answer.fulfillment) == (1, preimage)

a.receive([(2, b"not a packet")])
switch.process(now_ms)
[(request_id, packet)] = a.take()
reject = fastilp.Reject.decode(packet)
assert (request_id, reject.code, reject.triggered_by) == (2, "F01", "g.hub")
print(switch.balance(alice), switch.balance(bob))
ledger.close()
"""


def run(folder: Path, checkout: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=folder.parent,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_seconds_are_no_milliseconds() -> None:
    switch = fastilp.Switch(fastilp.Ledger.memory(), address="g.hub")
    with pytest.raises(fastilp.UsageError, match="whole milliseconds"):
        switch.process(time.time())  # type: ignore[arg-type]
    switch.process(time.time_ns() // 1_000_000)


def test_program_as_documented(tmp_path: Path, checkout: Path) -> None:
    assert run(tmp_path / "data", checkout) == "-1000 1000"
    assert run(tmp_path / "data", checkout) == "-2000 2000"
