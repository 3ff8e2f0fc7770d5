"""Alerts: the list, and what raises them, on a real switch."""

import pytest

from fastilp._core.packet import Fulfill, Prepare, Reject
from fastilp.control import alerts as kinds
from fastilp.control.alerts import Alert, Alerts
from fastilp.control.watch import Flaps, Watch
from tests.small_switch import ADDRESS, SmallSwitch, details


class Clock:
    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now


def test_same_alert_is_counted_and_told_once() -> None:
    clock = Clock()
    alerts = Alerts(clock)
    told: list[Alert] = []
    alerts.listeners.append(told.append)
    for clock.now in (1, 2, 3):
        alerts.set(kinds.NEAR_LIMIT, f"at {clock.now}", "alice")
    assert [(one.kind, one.account) for one in told] == [(kinds.NEAR_LIMIT, "alice")]
    assert alerts.list() == [
        {
            "kind": kinds.NEAR_LIMIT,
            "account": "alice",
            "message": "at 3",
            "first_ms": 1,
            "last_ms": 3,
            "count": 3,
            "active": True,
        }
    ]
    alerts.clear(kinds.NEAR_LIMIT, "alice")
    assert (alerts.active(), alerts.list(active_only=True)) == (0, [])
    alerts.set(kinds.NEAR_LIMIT, "again", "alice")
    assert (len(told), alerts.active(), len(alerts)) == (2, 1, 1)
    assert alerts.raised[kinds.NEAR_LIMIT] == 4


def test_list_is_bounded_and_newest_first() -> None:
    alerts = Alerts(Clock())
    alerts.set(kinds.COMMIT_FAILING, "kept: it is not over")
    alerts.set(kinds.RATES_STALE, "over")
    alerts.clear(kinds.RATES_STALE)
    for number in range(999):
        alerts.set(kinds.NEAR_LIMIT, "near", f"account{number}")
    found = alerts.list()
    assert (len(found), found[0]["account"]) == (1_000, "account998")
    assert found[-1]["kind"] == kinds.COMMIT_FAILING
    assert len(alerts.list(limit=3)) == 3
    alerts.forget("account998")
    assert alerts.list()[0]["account"] == "account997"


class Watched:
    """alice pays bob; what the watch sees afterwards."""

    def __init__(self, **settings: int) -> None:
        self.node = SmallSwitch()
        carol = self.node.accounts.add(details("carol", **settings))
        self.node.links["carol"] = self.node.switch.open_link(carol)
        self.alerts = Alerts()
        self.watch = Watch(self.node.switch, self.node.accounts, self.alerts)

    def pay(self, sender: str, receiver: str, amount: int, answer: Fulfill | Reject) -> None:
        prepare = self.node.prepare(f"{ADDRESS}.{receiver}", amount)
        self.node.links[sender].receive([(1, bytes(prepare))])
        self.node.turn()
        [(request_id, packet)] = self.node.links[receiver].take()
        assert Prepare.decode(packet).amount == amount
        self.node.links[receiver].receive([(request_id, bytes(answer))])
        self.node.turn()
        self.node.links[sender].take()

    def seen(self) -> list[tuple[str, str]]:
        self.watch.look()
        return [(one["kind"], one["account"]) for one in self.alerts.list(active_only=True)]


GOOD = Fulfill(fulfillment=bytes(32))


def test_balance_near_the_floor() -> None:
    watched = Watched(min_balance=-100)
    watched.pay("carol", "bob", 89, GOOD)
    assert watched.seen() == []
    watched.pay("carol", "bob", 2, GOOD)
    assert watched.seen() == [(kinds.NEAR_LIMIT, "carol")]
    assert watched.alerts.list()[0]["message"] == "min_balance is near: balance -91"
    # It is over when there is clearly room again, not at the same line.
    watched.pay("bob", "carol", 10, GOOD)
    assert watched.seen() == [(kinds.NEAR_LIMIT, "carol")]
    watched.pay("bob", "carol", 1, GOOD)
    assert watched.seen() == []


def test_another_limit_begins_anew() -> None:
    watched = Watched(min_balance=-100)
    watched.pay("carol", "bob", 95, GOOD)
    near = [(kinds.NEAR_LIMIT, "carol")]
    for limits, seen in (
        ({"min_balance": -101}, near),
        # 13 % are left: not enough for the old limit to be over, and not near the new one.
        ({"min_balance": -110}, []),
        ({"min_balance": -100}, near),
        ({}, []),
        ({"min_balance": -100, "max_balance": 5}, near),
        ({"max_balance": 5}, []),
    ):
        watched.node.accounts.update("carol", details("carol", **limits))
        assert watched.seen() == seen, limits


def test_balance_near_the_ceiling() -> None:
    watched = Watched(max_balance=100)
    watched.pay("alice", "carol", 95, GOOD)
    assert watched.seen() == [(kinds.NEAR_LIMIT, "carol")]
    assert watched.alerts.list()[0]["message"] == "max_balance is near: balance 95"


def test_prepaid_account_without_money_is_no_alert() -> None:
    assert Watched(min_balance=0).seen() == []


@pytest.mark.parametrize(
    ("by", "seen"),
    [
        (f"{ADDRESS}.carol", [(kinds.BALANCE_REFUSED, "carol")]),
        (f"{ADDRESS}.carol.far", []),
        ("g.elsewhere", []),
    ],
)
def test_peer_that_refuses_our_balance(by: str, seen: list[tuple[str, str]]) -> None:
    watched = Watched()
    watched.pay("alice", "carol", 5, Reject(code="T04", triggered_by=by, message="no"))
    assert watched.seen() == seen


def test_closed_account_is_forgotten() -> None:
    watched = Watched(min_balance=-100)
    watched.pay("carol", "bob", 95, GOOD)
    assert watched.seen()
    watched.watch.forget("carol")
    assert watched.alerts.list() == []


def test_every_account_is_looked_at_in_turn() -> None:
    watched = Watched()
    for number in range(1_200):
        watched.node.accounts.add(details(f"name{number}", min_balance=-10))
    last = watched.node.switch.account("name1199")
    watched.node.links["name1199"] = watched.node.switch.open_link(last)
    watched.pay("name1199", "bob", 10, GOOD)
    looks = 0
    while not watched.seen():
        looks += 1
    assert looks == 2


def test_link_that_flaps() -> None:
    clock = Clock()
    alerts = Alerts()
    flaps = Flaps(alerts, clock)
    for second in range(4):
        clock.now += second
        flaps.changed("alice", "btp", True)
        flaps.changed("alice", "btp", False)
    assert alerts.active() == 0
    clock.now += 60
    flaps.changed("alice", "btp", False)
    assert alerts.active() == 0
    for _ in range(4):
        flaps.changed("alice", "btp", False)
    assert [one["message"] for one in alerts.list()] == ["its btp link went down 5 times in 60 s"]
    clock.now += 60
    flaps.look()
    assert alerts.active() == 1
    clock.now += 1
    flaps.look()
    assert alerts.active() == 0
