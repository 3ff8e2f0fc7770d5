"""A hub with two accounts for tests that look at one thing at a time.

Imports its neighbours here. `Hub` hides what a test does not care about: accounts of alice and bob,
a link each, routes to both, a clock, and the coding of packets. Round trips take no time, so that
numbers stay round.
"""

import hashlib
from typing import Any

from tests.helpers import check_sums
from tests.reference.lockstep import NOW_MS, Kit
from tests.reference.packets import Fulfill, Packet, Prepare, Reject, decode, encode

OWN = "g.hub"
PREIMAGE = b"\x07" * 32
CONDITION = hashlib.sha256(PREIMAGE).digest()


class Hub:
    """`switch`, `ledger`; accounts `alice` and `bob`; links `a` and `b`; `control` is closed."""

    def __init__(
        self,
        kit: Kit,
        *,
        manual: bool = False,
        path: str = "",
        address: str = OWN,
        alice: dict[str, Any] | None = None,
        bob: dict[str, Any] | None = None,
        **limits: int,
    ) -> None:
        self.ledger = kit.open(path) if path else kit.memory(manual_commit=manual)
        self.switch = kit.switch(self.ledger, address, **limits)
        self.manual = manual
        self.now_ms = NOW_MS
        self.alice = self.add("alice", **(alice or {}))
        self.bob = self.add("bob", **(bob or {}))
        self.a = self.switch.open_link(self.alice)
        self.b = self.switch.open_link(self.bob)
        self.control = self.switch.control
        self.switch.set_route("g.hub.alice", self.alice)
        self.switch.set_route("g.hub.bob", self.bob)
        if manual:
            self.ledger.release()

    def add(self, name: str, asset_code: str = "USD", asset_scale: int = 9, **settings: Any) -> Any:
        settings = {"round_trip_time": 0} | settings
        return self.switch.add_account(
            name, asset_code=asset_code, asset_scale=asset_scale, **settings
        )

    # --- packets --------------------------------------------------------------------------------

    def prepare(self, amount: int = 100, to: str = "g.hub.bob.x", in_ms: int = 10_000) -> Prepare:
        return Prepare(amount, self.now_ms + in_ms, CONDITION, to.encode(), b"data")

    def send(self, request_id: int = 1, link: Any = None, **fields: Any) -> Prepare:
        """Hand in one Prepare, on alice's link unless another is named."""
        prepare = self.prepare(**fields)
        (link or self.a).receive([(request_id, encode(prepare))])
        return prepare

    def answer(
        self, request_id: int, packet: Packet | bytes | None = None, link: Any = None
    ) -> None:
        """Answer a Prepare on bob's link, unless another is named, by default with its Fulfill."""
        raw = packet if isinstance(packet, bytes) else encode(packet or Fulfill(PREIMAGE))
        (link or self.b).receive([(request_id, raw)])

    def run(self, advance_ms: int = 0) -> None:
        self.now_ms += advance_ms
        self.switch.process(self.now_ms)

    def commit(self) -> None:
        """Everything up to now is committed; what waited for it leaves in the next `run`."""
        if self.ledger.store is not None:
            assert self.ledger.store.wait(self.ledger.ticket)
        else:
            self.ledger.release()

    def counters(self, account: Any) -> dict[str, int]:
        """Counters of an account, without the zeros."""
        counters = self.switch.counters(account)
        assert counters == self.ledger.counters(account.id)
        return {name: value for name, value in counters.items() if value}

    def internal(self, kind: str, asset_code: str = "USD", asset_scale: int = 9) -> dict[str, int]:
        """Counters of an internal account, without the zeros."""
        key = self.ledger.internal_id(asset_code, asset_scale, kind)
        return {name: value for name, value in self.ledger.counters(key).items() if value}

    def take(self, link: Any) -> list[tuple[int, Any]]:
        return [(request_id, decode(packet)) for request_id, packet in link.take()]

    # --- usual steps ----------------------------------------------------------------------------

    def forwarded(self, request_id: int = 1, **fields: Any) -> int:
        """Send one Prepare through to bob; returns the id that bob sees."""
        self.send(request_id, **fields)
        self.run()
        assert self.a.take() == []
        [(sent_id, packet)] = self.take(self.b)
        assert isinstance(packet, Prepare)
        return sent_id

    def pay(self, amount: int, *, back: bool = False) -> None:
        """One whole payment from alice to bob, or back."""
        link, other = (self.b, self.a) if back else (self.a, self.b)
        self.send(1, link, amount=amount, to="g.hub.alice" if back else "g.hub.bob")
        self.run()
        [(sent_id, packet)] = self.take(other)
        assert isinstance(packet, Prepare), packet
        self.answer(sent_id, link=other)
        self.run()
        if not self.manual:
            assert self.take(link) == [(1, Fulfill(PREIMAGE))]

    def refused(self, link: Any = None, **fields: Any) -> str:
        """Send one Prepare and return the code of the Reject that comes back."""
        self.send(1, link, **fields)
        self.run()
        [(_, packet)] = self.take(link or self.a)
        assert isinstance(packet, Reject)
        return packet.code.decode()

    def counted(self) -> dict[str, int]:
        """Outcomes that happened, without the zeros."""
        return {name: count for name, count in self.switch.statuses().items() if count}

    def balances(self) -> tuple[int, int]:
        return self.switch.balance(self.alice), self.switch.balance(self.bob)

    def check_sums(self) -> None:
        check_sums(self.ledger)
