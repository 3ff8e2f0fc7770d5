"""Rules in Python, through a real switch: which packets they see, and what their answers do."""

import asyncio
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastilp._core.books import Account
from fastilp._core.packet import Fulfill, Prepare, Reject
from fastilp.control.services import Answer, Service
from fastilp.errors import UsageError
from tests.helpers import check_sums
from tests.small_switch import ADDRESS, SmallSwitch

BOB = f"{ADDRESS}.bob"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "office_hours.py"


class Rule(Service):
    """Says what it was told to say, and notes what it saw."""

    def __init__(self, decide: Callable[[Service, Prepare], Any] | None = None) -> None:
        self.decide = decide or (lambda service, prepare: prepare)
        self.seen: list[tuple[str, int]] = []

    def handle(self, account: Account, prepare: Prepare) -> Any:
        self.seen.append((account.name, prepare.amount))
        return self.decide(self, prepare)


def node_with(*rules: Service, **covers: Any) -> SmallSwitch:
    node = SmallSwitch()
    for rule in rules:
        node.punts.services.add(rule, **(covers or {"accounts": ["alice"]}))
    return node


def pay(node: SmallSwitch, username: str = "alice", amount: int = 5, to: str = BOB) -> str:
    """The code that the sender gets, or nothing after the Fulfill of whoever is at the end."""
    node.links[username].receive([(1, bytes(node.prepare(to, amount)))])
    for _ in range(3):
        node.turn()
    return settle(node, username)


def settle(node: SmallSwitch, username: str = "alice") -> str:
    for link in node.links.values():
        packets = link.take()
        for request_id, packet in packets:
            if packet[0] == 14:
                return Reject.decode(packet).code
            if packet[0] == 12:
                link.receive([(request_id, bytes(Fulfill(fulfillment=bytes(32))))])
    node.turn()
    [(_, packet)] = node.links[username].take()
    assert packet[0] == 13
    return ""


def test_rule_sees_its_accounts_only() -> None:
    rule = Rule()
    node = node_with(rule)
    assert [pay(node), pay(node, "paul", 7)] == ["", ""]
    assert rule.seen == [("alice", 5)]
    assert node.switch.statuses()["punted"] == 1
    check_sums(node.switch.ledger)


def test_rule_sees_its_prefixes_only() -> None:
    rule = Rule()
    node = node_with(rule, prefixes=[f"{ADDRESS}.bob", "g.shop"])
    assert [pay(node), pay(node, "paul", 7), pay(node, "bob", 1, f"{ADDRESS}.paul")] == [""] * 3
    assert rule.seen == [("alice", 5), ("paul", 7)]


def test_reject_comes_back() -> None:
    node = node_with(Rule(lambda service, prepare: service.reject("F99", "not today")))
    assert node.refusal("alice", node.prepare(BOB, 5)) == ("F99", "not today")
    assert node.switch.in_flight() == 0


def test_prepare_that_goes_on_may_differ() -> None:
    def rewrite(service: Service, prepare: Prepare) -> Prepare:
        return Prepare(
            amount=prepare.amount,
            expires_at=prepare.expires_at_ms,
            execution_condition=prepare.execution_condition,
            destination=f"{ADDRESS}.paul",
            data=b"seen",
        )

    node = node_with(Rule(rewrite))
    assert pay(node) == ""
    assert node.switch.balance(node.switch.account("paul")) == 5
    check_sums(node.switch.ledger)


def test_rules_are_asked_in_order() -> None:
    first, second = Rule(), Rule(lambda service, prepare: service.reject("F99", "no"))
    third = Rule()
    node = node_with(first, second, third)
    assert pay(node) == "F99"
    assert (len(first.seen), len(second.seen), len(third.seen)) == (1, 1, 0)


def test_account_and_prefix_of_one_rule_ask_it_once() -> None:
    rule = Rule()
    node = node_with(rule, accounts=["alice"], prefixes=[BOB])
    assert pay(node) == ""
    assert rule.seen == [("alice", 5)]


@pytest.mark.parametrize(
    "wrong",
    [None, "yes", Fulfill(fulfillment=bytes(32)), "amount", "raise"],
    ids=["nothing", "text", "fulfill", "amount", "raise"],
)
def test_rule_that_fails_refuses(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    def decide(service: Service, prepare: Prepare) -> Any:
        if wrong == "raise":
            raise RuntimeError("out of order")
        if wrong == "amount":
            return Prepare(
                amount=prepare.amount + 1,
                expires_at=prepare.expires_at_ms,
                execution_condition=prepare.execution_condition,
                destination=prepare.destination,
            )
        return wrong

    node = node_with(Rule(decide))
    with caplog.at_level(logging.ERROR, "fastilp.services"):
        assert [pay(node) for _ in range(3)] == ["T00"] * 3
    assert node.punts.services.failures == 3
    assert len(caplog.records) == 1
    assert node.switch.in_flight() == 0
    check_sums(node.switch.ledger)


def test_fulfill_without_money() -> None:
    node = node_with(Rule(lambda service, prepare: Fulfill(fulfillment=bytes(32))))
    assert isinstance(node.exchange("alice", node.prepare(BOB, 0)), Fulfill)


def test_removed_rule_sees_nothing() -> None:
    kept, removed = Rule(), Rule()
    node = node_with(kept, removed, prefixes=[BOB], accounts=["paul"])
    node.punts.services.remove(removed)
    assert pay(node) == ""
    node.punts.services.remove(kept)
    assert pay(node) == ""
    assert (len(kept.seen), len(removed.seen)) == (1, 0)
    assert node.switch.statuses()["punted"] == 1


def test_packet_that_waits_for_a_removed_rule_goes_on() -> None:
    rule = Rule()
    node = node_with(rule)
    node.links["alice"].receive([(1, bytes(node.prepare(BOB, 5)))])
    node.switch.process(node.now_ms)
    node.punts.services.remove(rule)
    node.turn()
    node.turn()
    assert settle(node) == ""
    assert rule.seen == []


def test_what_cannot_be_marked_changes_nothing() -> None:
    rule = Rule()
    node = SmallSwitch()
    with pytest.raises(UsageError):
        node.punts.services.add(rule, accounts=["alice"], prefixes=["g.ok", "g..wrong"])
    assert pay(node) == ""
    assert rule.seen == []


def test_rule_may_take_its_time() -> None:
    async def run() -> tuple[str, list[tuple[str, int]]]:
        asked = asyncio.Event()
        first = Rule()

        async def think(prepare: Prepare) -> Answer:
            await asked.wait()
            return prepare

        node = node_with(Rule(lambda service, prepare: think(prepare)), first)
        node.links["alice"].receive([(1, bytes(node.prepare(BOB, 5)))])
        for _ in range(3):
            node.turn()
        assert node.switch.in_flight() == 1
        asked.set()
        before = node.wakes
        while node.wakes == before:
            await asyncio.sleep(0)
        node.turn()
        return settle(node), first.seen

    assert asyncio.run(run()) == ("", [("alice", 5)])


def test_slow_rule_that_fails_refuses() -> None:
    async def run() -> str:
        async def think() -> Answer:
            raise RuntimeError("out of order")

        node = node_with(Rule(lambda service, prepare: think()))
        node.links["alice"].receive([(1, bytes(node.prepare(BOB, 5)))])
        node.turn()
        while not node.wakes:
            await asyncio.sleep(0)
        node.turn()
        return settle(node)

    assert asyncio.run(run()) == "T00"


def test_answer_after_the_expiry_changes_nothing() -> None:
    async def run() -> None:
        asked = asyncio.Event()

        async def think(prepare: Prepare) -> Answer:
            await asked.wait()
            return prepare

        node = node_with(Rule(lambda service, prepare: think(prepare)))
        node.links["alice"].receive([(1, bytes(node.prepare(BOB, 5)))])
        node.turn()
        node.now_ms += 30_000
        node.turn()
        assert Reject.decode(node.links["alice"].take()[0][1]).code == "R00"
        asked.set()
        while not node.wakes:
            await asyncio.sleep(0)
        node.turn()
        assert node.switch.statuses()["unmatched"] == 1
        assert node.links["bob"].take() == []
        check_sums(node.switch.ledger)

    asyncio.run(run())


def test_example_is_short_and_does_what_it_says() -> None:
    spec = importlib.util.spec_from_file_location("office_hours", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    source = EXAMPLE.read_text().rpartition('"""')[2].splitlines()
    assert len([line for line in source if line.strip()]) <= 20
    node = node_with(module.OfficeHours(100, opens=0, closes=24))
    assert pay(node, amount=101) == ""
    node = node_with(module.OfficeHours(100, opens=0, closes=0))
    assert [pay(node, amount=101), pay(node, amount=100)] == ["T00", ""]
