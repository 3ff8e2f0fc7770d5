"""Prefixes with several next hops: which one a packet takes while links come and go."""

from collections import Counter

import pytest

from fastilp._core.books import Account
from fastilp._core.ledger import Ledger
from fastilp._core.link import Link
from fastilp._core.packet import Prepare, Reject, decode
from fastilp._core.switch import Switch

NOW_MS = 1_700_000_000_000
NAMES = "ABCDE"


class Hub:
    """Anne sends; A to E are next hops."""

    def __init__(self) -> None:
        self.switch = Switch(Ledger.memory(), "g.hub")
        self.accounts: dict[str, Account] = {}
        self.links: dict[str, Link] = {}
        for name in ("anne", *NAMES):
            account = self.switch.add_account(name, asset_code="USD", asset_scale=9)
            self.accounts[name] = account
            self.links[name] = self.switch.open_link(account)

    def route(self, prefix: str, names: str, weights: tuple[int, ...] = ()) -> None:
        first, *others = (self.accounts[name] for name in names)
        self.switch.set_route(prefix, first, others, weights)

    def sent(self, destination: str, sender: str = "anne") -> str:
        """Where a Prepare went, or the code of its refusal."""
        packet = Prepare(
            amount=1,
            expires_at=NOW_MS + 20_000,
            execution_condition=bytes(32),
            destination=destination,
        )
        self.links[sender].receive([(1, bytes(packet))])
        self.switch.process(NOW_MS)
        answers = self.links[sender].take()
        if answers:
            answer = decode(answers[0][1])
            assert isinstance(answer, Reject)
            return answer.code
        [name] = [name for name in NAMES if self.links[name].take()]
        return name


def test_the_next_one_that_is_up() -> None:
    hub = Hub()
    hub.route("g.x", "ABC")
    assert hub.sent("g.x.1") == "A"
    hub.links["A"].up = False
    assert hub.sent("g.x.1") == "B"
    hub.switch.suspend(hub.accounts["B"], True)
    assert hub.sent("g.x.1") == "C"
    hub.switch.suspend(hub.accounts["B"], False)
    assert hub.sent("g.x.1") == "B"
    hub.links["A"].up = True
    assert hub.sent("g.x.1") == "A"
    for name in "ABC":
        hub.links[name].up = False
    assert hub.sent("g.x.1") == "T01"


def test_closed_accounts_are_passed_over() -> None:
    hub = Hub()
    hub.route("g.x", "AB")
    hub.switch.close_account(hub.accounts["A"])
    assert hub.sent("g.x.1") == "B"
    hub.switch.remove_account(hub.accounts["A"])
    assert hub.sent("g.x.1") == "B"


def test_never_back_to_the_sender() -> None:
    """Neither by the best route, which the others do not replace, nor in place of another."""
    hub = Hub()
    hub.route("g.x", "ABC")
    assert hub.sent("g.x.1", "A") == "F02"
    hub.links["A"].up = False
    assert hub.sent("g.x.1", "B") == "C"
    hub.links["C"].up = False
    assert hub.sent("g.x.1", "B") == "T01"


def test_shares_by_weight_and_each_destination_sticks() -> None:
    hub = Hub()
    hub.route("g.x", "ABCD", (2, 1, 1))
    destinations = [f"g.x.{number}" for number in range(400)]
    first = {name: hub.sent(name) for name in destinations}
    assert first == {name: hub.sent(name) for name in destinations}
    counts = Counter(first.values())
    assert set(counts) == {"A", "B", "C"}
    assert 150 < counts["A"] < 250 and 60 < counts["B"] < 140 and 60 < counts["C"] < 140
    hub.links["A"].up = False
    second = {name: hub.sent(name) for name in destinations}
    # What others carried stays there, what A carried is shared.
    assert all(second[name] == first[name] for name in destinations if first[name] != "A")
    moved = Counter(second[name] for name in destinations if first[name] == "A")
    assert set(moved) == {"B", "C"}
    hub.links["B"].up = hub.links["C"].up = False
    assert {hub.sent(name) for name in destinations} == {"D"}


def test_a_sender_that_has_a_share_is_passed_over() -> None:
    hub = Hub()
    hub.route("g.x", "AB", (1, 1))
    assert {hub.sent(f"g.x.{number}", "A") for number in range(50)} == {"B"}


def test_default_route_has_choices_too() -> None:
    hub = Hub()
    hub.route("", "AB")
    hub.links["A"].up = False
    assert hub.sent("g.anything") == "B"
    assert hub.switch.routes() == {"": hub.accounts["A"]}
    hub.switch.del_route("")
    assert hub.sent("g.anything") == "F02"


def test_routes_change_between_one_and_several() -> None:
    hub = Hub()
    for names in ("A", "AB", "BA", "C", "CDE", "E"):
        hub.route("g.x", names)
        assert hub.sent("g.x.1") == names[0]
        assert hub.switch.routes() == {"g.x": hub.accounts[names[0]]}


def test_groups_are_shared_and_given_back() -> None:
    """Far more changes than there are groups: what nobody uses is used again."""
    hub = Hub()
    for number in range(70_000):
        hub.route(f"g.x{number % 7}", "ABCDE"[: 2 + number % 3], (1 + number % 997, 1))
    hub.links["A"].up = False
    assert hub.sent("g.x1.y") == "B"


def test_more_groups_than_there_may_be() -> None:
    """Beyond the bound a prefix has its best next hop and no other."""
    hub = Hub()
    for number in range(65_537):
        hub.route(f"g.x.y{number}", "AB", (1 + number, 1))
    hub.links["A"].up = False
    assert hub.sent("g.x.y0") == "B"
    assert hub.sent("g.x.y65536") == "T01"
    hub.switch.del_route("g.x.y0")
    hub.route("g.x.y65536", "AB", (65_537, 1))
    assert hub.sent("g.x.y65536") == "B"


def test_more_accounts_than_count() -> None:
    hub = Hub()
    hub.route("g.x", "AAAAAAAAB")
    hub.links["A"].up = False
    assert hub.sent("g.x.1") == "T01"


def test_strangers_are_refused() -> None:
    hub, other = Hub(), Hub()
    with pytest.raises(ValueError, match="not an account of this switch"):
        hub.switch.set_route("g.x", hub.accounts["A"], [other.accounts["B"]])
    assert hub.switch.routes() == {}
