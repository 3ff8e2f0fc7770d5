"""Listeners of incoming payments: who hears what, and what becomes of those who do not listen."""

import json
from datetime import UTC, datetime
from typing import NamedTuple

from fastilp._core.books import Account
from fastilp._core.ledger import Ledger
from fastilp._core.switch import Switch
from fastilp.control.notifications import QUEUE_MAX, Notifications

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Packet(NamedTuple):
    to_account: Account
    from_account: Account | None
    destination: str = "example.node.bob.token"
    amount: int = 5
    sequence: int = 1
    connection_closed: bool = False


def accounts() -> tuple[Account, Account]:
    switch = Switch(Ledger.memory(), address="example.node")
    alice, bob = (
        switch.add_account(name, asset_code="ABC", asset_scale=9) for name in ("alice", "bob")
    )
    return alice, bob


def test_rcv_04_a_message() -> None:
    alice, bob = accounts()
    notifications = Notifications(lambda: NOON)
    listener = notifications.listen(bob)
    notifications.received(Packet(bob, alice))
    notifications.received(Packet(bob, None, amount=0, sequence=2, connection_closed=True))
    first, second = (json.loads(each) for each in listener.take())
    assert list(first.items()) == [
        ("to_username", "bob"),
        ("from_username", "alice"),
        ("destination", "example.node.bob.token"),
        ("amount", 5),
        ("timestamp", "2026-05-01T12:00:00+00:00"),
        ("sequence", 1),
        ("connection_closed", False),
    ]
    assert (second["amount"], second["sequence"], second["connection_closed"]) == (0, 2, True)
    assert listener.take() == []


def test_who_hears_what() -> None:
    alice, bob = accounts()
    notifications = Notifications()
    of_alice, of_bob = notifications.listen(alice), notifications.listen(bob)
    of_all = notifications.listen(None)
    assert len(notifications) == 3
    notifications.received(Packet(bob, alice))
    assert of_alice.take() == []
    [to_bob] = of_bob.take()
    # The quirk of Interledger.rs.
    assert of_all.take() == [f'{{"Ok":{to_bob}}}']
    for listener in (of_alice, of_bob, of_all):
        listener.close()
        listener.close()
    assert len(notifications) == 0
    notifications.received(Packet(bob, alice))
    assert of_bob.take() == []


def test_a_listener_that_does_not_read_loses_the_oldest_and_is_told() -> None:
    alice, bob = accounts()
    notifications = Notifications()
    listener = notifications.listen(None)
    for sequence in range(QUEUE_MAX + 7):
        notifications.received(Packet(bob, alice, sequence=sequence))
    lost, *rest = map(json.loads, listener.take())
    assert lost == {"Err": "channel lagged by 7"}
    assert [each["Ok"]["sequence"] for each in rest] == list(range(7, QUEUE_MAX + 7))
    notifications.received(Packet(bob, alice))
    assert [list(json.loads(each)) for each in listener.take()] == [["Ok"]]


def test_it_is_said_that_there_is_more_and_that_there_will_be_none() -> None:
    alice, bob = accounts()
    notifications = Notifications()
    listener, other = notifications.listen(bob), notifications.listen(alice)
    said: list[str] = []
    listener.on_more = lambda: said.append("more")
    listener.on_end = lambda: said.append("end")
    other.on_end = lambda: said.append("other")
    notifications.received(Packet(bob, alice))
    notifications.end(bob.id)
    assert said == ["more", "end"]
