"""The clock, and the pump against a real switch."""

import asyncio
from pathlib import Path

import pytest

from fastilp._core.ledger import Ledger
from fastilp._core.link import Link
from fastilp._core.switch import Switch
from fastilp.transports.pump import Clock, Event, Pump
from tests import ilp_bytes
from tests.transports.harness import FULFILLMENT, Receiver, on_uvloop, prepare, until

SECOND_NS = 1_000_000_000


class Times:
    """A wall clock and a monotonic clock that stand still until told otherwise."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000 * SECOND_NS
        self.monotonic = 5 * SECOND_NS
        self.clock = Clock(lambda: self.wall, lambda: self.monotonic)

    def error_ms(self) -> int:
        """What is still to be slewed; as of the last reading of the clock."""
        return self.wall // 1_000_000 - self.clock.now_ms()

    def pass_(self, seconds: float) -> None:
        self.wall += round(seconds * SECOND_NS)
        self.monotonic += round(seconds * SECOND_NS)


def test_clock_follows_time() -> None:
    times = Times()
    start = times.clock.now_ms()
    assert start == 1_800_000_000_000
    times.pass_(1.5)
    assert times.clock.now_ms() == start + 1_500
    assert times.error_ms() == 0


def test_clock_does_not_step_with_the_wall_clock() -> None:
    times = Times()
    start = times.clock.now_ms()
    times.wall += 3_600 * SECOND_NS
    assert times.clock.now_ms() == start
    assert times.error_ms() == 3_600_000
    times.pass_(10)
    # 0.1 % of ten seconds, forwards.
    assert times.clock.now_ms() == start + 10_010
    times.wall -= 7_200 * SECOND_NS
    times.pass_(10)
    assert times.clock.now_ms() == start + 20_000


def test_clock_catches_up_and_then_stays() -> None:
    times = Times()
    start = times.clock.now_ms()
    times.wall += SECOND_NS // 2
    for _ in range(600):
        times.pass_(1)
        times.clock.now_ms()
    assert times.error_ms() == 0
    assert times.clock.now_ms() == start + 600_500


def test_clock_never_goes_back() -> None:
    times = Times()
    before = times.clock.now_ms()
    for step in (0, -1, 10**6, -(10**9), 10**3):
        times.wall += step * SECOND_NS
        times.monotonic += 1_000_000
        now = times.clock.now_ms()
        assert now >= before
        before = now


class Failing:
    def flush(self, link: Link) -> None:
        raise RuntimeError("this shell is broken")


def two_receivers(switch: Switch, pump: Pump) -> tuple[Receiver, Receiver]:
    receivers = []
    for name in ("alice", "bob"):
        account = switch.add_account(name, asset_code="USD", asset_scale=9, min_balance=-1_000)
        switch.set_route(f"g.hub.{name}", account)
        receivers.append(Receiver(switch.open_link(account, local=True), pump))
    return receivers[0], receivers[1]


@on_uvloop
async def test_one_turn_for_all_that_woke_it() -> None:
    switch = Switch(Ledger.memory(), address="g.hub")
    pump = Pump(switch)
    alice, bob = two_receivers(switch, pump)
    bob.answer = lambda packet: None
    for request_id in range(10):
        alice.send(request_id, prepare())
    await until(lambda: len(bob.held) == 10)
    assert pump.turns == 1
    bob.release()
    await until(lambda: len(alice.seen) == 10)
    assert pump.turns == 2
    assert {packet.fulfillment for packet in alice.seen} == {FULFILLMENT}
    pump.close()
    pump.wake()
    await asyncio.sleep(0.01)
    assert pump.turns == 2


@on_uvloop
async def test_comes_back_at_the_deadline() -> None:
    switch = Switch(Ledger.memory(), address="g.hub")
    pump = Pump(switch)
    alice, bob = two_receivers(switch, pump)
    bob.answer = lambda packet: None
    alice.send(1, prepare(ms=20_000))
    alice.send(2, prepare(ms=300))
    await until(lambda: len(alice.seen) == 1)
    assert alice.seen[0].code == "R00"
    assert switch.in_flight() == 1
    bob.release()
    await until(lambda: len(alice.seen) == 2)
    assert alice.seen[1].type == ilp_bytes.FULFILL
    pump.close()


@on_uvloop
async def test_a_broken_shell_stops_nobody_else() -> None:
    switch = Switch(Ledger.memory(), address="g.hub")
    pump = Pump(switch)
    alice, bob = two_receivers(switch, pump)
    carol = switch.add_account("carol", asset_code="USD", asset_scale=9)
    switch.set_route("g.hub.carol", carol)
    switch.open_link(carol).owner = Failing()
    alice.send(1, prepare(to="g.hub.carol"))
    alice.send(2, prepare(to="g.hub.bob"))
    await until(lambda: len(alice.seen) == 1)
    assert alice.seen[0].type == ilp_bytes.FULFILL
    pump.close()


@on_uvloop
async def test_a_turn_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = Switch(Ledger.memory(), address="g.hub")
    pump = Pump(switch)
    alice, bob = two_receivers(switch, pump)
    bob.answer = lambda packet: None

    def broken() -> None:
        monkeypatch.undo()
        raise MemoryError

    monkeypatch.setattr(pump, "_turn_events", broken)
    alice.send(1, prepare(ms=300))
    await until(lambda: len(alice.seen) == 1)
    assert alice.seen[0].code == "R00"
    pump.close()


@on_uvloop
async def test_events_are_handed_on() -> None:
    events: list[Event] = []
    switch = Switch(Ledger.memory(), address="g.hub")

    def broken(batch: list[Event]) -> None:
        events.extend(batch)
        raise RuntimeError("control is broken")

    pump = Pump(switch, broken)
    alice, bob = two_receivers(switch, pump)
    switch.set_account(switch.account("bob"), settle_threshold=5, settle_to=0)
    alice.send(1, prepare(amount=7))
    await until(lambda: bool(events))
    assert [(name, amount) for name, _, amount in events] == [("settle", 7)]
    # The pump goes on.
    alice.send(2, prepare(amount=1))
    await until(lambda: len(alice.seen) == 2)
    pump.close()


@on_uvloop
async def test_a_commit_wakes_it(tmp_path: Path) -> None:
    ledger = Ledger.open(str(tmp_path / "data"))
    switch = Switch(ledger, address="g.hub")
    pump = Pump(switch)
    alice, _ = two_receivers(switch, pump)
    for request_id in range(3):
        alice.send(request_id, prepare())
        await until(lambda: len(alice.seen) == request_id + 1)  # noqa: B023
    turns = pump.turns
    await asyncio.sleep(0.05)
    # An eventfd that nobody empties would turn the pump for ever.
    assert pump.turns <= turns + 2
    pump.close()
    ledger.close()
