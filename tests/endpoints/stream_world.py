"""A chain of real switches in virtual time, with a payer at one end and a receiver at the other.

    world = World(assets=[("ABC", 9), ("XYZ", 2)])      # one switch between alice and bob
    machine = world.pay(source_amount=1_000)
    world.run(machine)

Between neighbours lies a Wire, which may delay, drop, change or answer packets; an honest one
only delays. `check` asserts that every switch's debits equal its credits, and what alice paid and
bob got.
"""

import heapq
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from hashlib import sha256
from itertools import count

from fastilp._core.ledger import Ledger
from fastilp._core.link import Link
from fastilp._core.packet import Fulfill, Prepare, Reject
from fastilp._core.stream import decode_packet, encode_packet
from fastilp._core.stream_frames import (
    ConnectionAssetDetails,
    ConnectionClose,
    ConnectionNewAddress,
    Frame,
    StreamData,
    StreamMaxMoney,
    StreamMoney,
    StreamReceipt,
)
from fastilp._core.switch import Switch
from fastilp.endpoints.stream.conversation import Conversation
from fastilp.endpoints.stream.crypto import Keys, receipt
from fastilp.endpoints.stream.path import Path
from fastilp.endpoints.stream.payment import PaymentMachine, Terms
from fastilp.endpoints.stream.progress import Progress
from fastilp.endpoints.stream.uplink import AccountUplink
from fastilp.errors import DecodeError

NOW_MS = 1_700_000_000_000
SECRET = b"\x2a" * 32
RECEIPT_NONCE, RECEIPT_SECRET = b"\x01" * 16, b"\x02" * 32
TOKEN = "bobs-token"

Answer = Callable[[bytes], None]


class Wire:
    """Between two neighbours. `pass_on` gets the Prepare, whoever sends it on calls `on`, and what
    comes back goes to `back`; each any number of times, at once or later by `world.later`."""

    def __init__(self, latency_ms: int = 10) -> None:
        self.latency_ms = latency_ms

    def pass_on(
        self, world: "World", packet: bytes, on: Callable[[bytes, Answer], None], back: Answer
    ) -> None:
        world.later(self.latency_ms, lambda: on(packet, partial(self.bring_back, world, back)))

    def bring_back(self, world: "World", back: Answer, answer: bytes) -> None:
        world.later(self.latency_ms, lambda: back(answer))


class Receiver:
    """A STREAM receiver as RFC 29 describes it, with switches for what real ones do otherwise."""

    def __init__(self, address: str, asset: tuple[str, int]) -> None:
        self.address = address
        self.asset = asset
        self.received = 0
        self.amounts: list[int] = []
        self.data: dict[int, bytes] = {}
        self.frames: list[Frame] = []
        self.tells_asset = True
        self.refuses = False
        self.receive_max: int | None = None
        self.closes: Frame | None = None
        self.says: list[Frame] = []
        """Goes with every answer."""
        self.claims: Callable[[int], int] = int
        """What an answer to a fulfilled packet says that arrived."""
        self._keys = Keys(SECRET)

    def answer(self, packet: bytes) -> bytes:
        prepare = Prepare.decode(packet)
        try:
            asked = decode_packet(self._keys.decrypt(prepare.data))
        except DecodeError:
            return self._reject("F06", b"")
        if prepare.destination != f"{self.address}.{TOKEN}":
            return self._reject("F02", b"")
        self.frames += asked.frames
        for frame in asked.frames:
            if isinstance(frame, StreamData):
                self.data[frame.offset] = frame.data
        answers = list(self._frames(asked.frames))
        fulfillment = self._keys.fulfillment(prepare.data)
        fits = sha256(fulfillment).digest() == prepare.execution_condition
        full = self.receive_max is not None and (self.received + prepare.amount > self.receive_max)
        if not fits or prepare.amount < asked.amount or full or self.closes or self.refuses:
            plain = encode_packet(14, asked.sequence, prepare.amount, answers)
            return self._reject("F99", self._keys.encrypt(plain))
        self.received += prepare.amount
        self.amounts.append(prepare.amount)
        proof = receipt(RECEIPT_NONCE, 1, min(self.received, 2**64 - 1), RECEIPT_SECRET)
        plain = encode_packet(
            13, asked.sequence, self.claims(prepare.amount), [*answers, StreamReceipt(1, proof)]
        )
        return bytes(Fulfill(fulfillment=fulfillment, data=self._keys.encrypt(plain)))

    def _frames(self, asked: tuple[Frame, ...]) -> list[Frame]:
        found = list(self.says)
        if self.closes is not None:
            found.append(self.closes)
        for frame in asked:
            if isinstance(frame, ConnectionNewAddress) and self.tells_asset:
                found.append(ConnectionAssetDetails(*self.asset))
            if isinstance(frame, StreamMoney) or self.receive_max is not None:
                limit = 2**64 - 1 if self.receive_max is None else self.receive_max
                found.append(StreamMaxMoney(1, limit, min(self.received, 2**64 - 1)))
        return found

    def _reject(self, code: str, data: bytes) -> bytes:
        return bytes(Reject(code=code, triggered_by=self.address, message="no", data=data))


class World:
    def __init__(
        self,
        *,
        assets: list[tuple[str, int]] | None = None,
        rates: dict[str, Fraction] | None = None,
        spread: Fraction = Fraction(0),
        wires: dict[int, Wire] | None = None,
        accounts: dict[int, dict[str, int]] | None = None,
    ) -> None:
        """`assets[i]` is that of the i-th account from alice to bob: one more than switches, of
        which there are at least one. `wires[i]` comes before switch i, the last one before the
        receiver; `accounts[i]` are settings of the sender's account at switch i."""
        self.assets = assets or [("ABC", 9)] * 3
        self.now_ms = NOW_MS
        self.sent_packets = 0
        self.switches: list[Switch] = []
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._wires = wires or {}
        self._ids = count()
        self._backs: list[dict[int, Answer]] = []
        self._links: list[tuple[Link | None, Link]] = []
        last = len(self.assets) - 1
        for index in range(last):
            self._add_switch(index, rates or {}, spread, (accounts or {}).get(index, {}))
        address = f"test.n{last - 1}.bob"
        self.receiver = Receiver(address, self.assets[last])
        alice = self.switches[0].account("in")
        self.uplink = AccountUplink(
            self.switches[0], alice, lambda: None, "test.n0.in", lambda: self.now_ms
        )
        self.path = Path()
        self.conversation = Conversation(f"{address}.{TOKEN}", SECRET)

    def _add_switch(
        self, index: int, rates: dict[str, Fraction], spread: Fraction, settings: dict[str, int]
    ) -> None:
        switch = Switch(Ledger.memory(), f"test.n{index}")
        for code, rate in rates.items():
            switch.set_rate(code, rate)
        switch.set_spread(spread)
        (code_in, scale_in), (code_out, scale_out) = self.assets[index : index + 2]
        account_in = switch.add_account(
            "in", asset_code=code_in, asset_scale=scale_in, round_trip_time=0, **settings
        )
        account_out = switch.add_account(
            "out", asset_code=code_out, asset_scale=scale_out, round_trip_time=0
        )
        link_in = None if index == 0 else switch.open_link(account_in)
        link_out = switch.open_link(account_out)
        switch.set_route("test", account_out)
        self.switches.append(switch)
        self._links.append((link_in, link_out))
        self._backs.append({})

    # --- Time -----------------------------------------------------------------------------------

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_ms + delay_ms, next(self._order), action))

    def pay(self, **terms: object) -> PaymentMachine:
        return PaymentMachine(
            Terms(**terms),  # type: ignore[arg-type]
            self.conversation,
            self.path,
            self.uplink.address,
            self.now_ms,
        )

    def run(
        self, *machines: PaymentMachine, until_ms: int = 600_000, each: Callable[[], None] = int
    ) -> list[Progress]:
        """Until all machines are finished; `each` is called at every moment."""
        end_ms = self.now_ms + until_ms
        while not all(machine.is_finished for machine in machines):
            assert self.now_ms < end_ms, [machine.progress() for machine in machines]
            each()
            for machine in machines:
                for sent in machine.take(self.now_ms):
                    self.sent_packets += 1
                    answered = partial(self._answered, machine, sent.sequence)
                    self.uplink.send(sent.prepare, answered)
            if not self._turn() and not all(machine.is_finished for machine in machines):
                self._advance(machines)
        return [machine.progress() for machine in machines]

    def settle(self) -> None:
        """Until nothing is on its way any more."""
        while True:
            if self._turn():
                continue
            if not self._events and not any(one.in_flight() for one in self.switches):
                return
            self._advance(())

    def _answered(self, machine: PaymentMachine, sequence: int, packet: bytes) -> None:
        machine.answered(sequence, packet, self.now_ms)

    def _turn(self) -> bool:
        """Whether anything happened at this moment."""
        before = next(self._order)
        while self._events and self._events[0][0] <= self.now_ms:
            heapq.heappop(self._events)[2]()
        moved = False
        for index, switch in enumerate(self.switches):
            switch.process(self.now_ms)
            for link in switch.dirty_links():
                moved = True
                if link.owner is not None:
                    link.owner.flush(link)
                else:
                    self._carry(index, link)
        return moved or next(self._order) > before + 1

    def _advance(self, machines: tuple[PaymentMachine, ...]) -> None:
        due = [switch.next_deadline_ms() for switch in self.switches]
        due += [machine.deadline_ms() for machine in machines if not machine.is_finished]
        due += [self._events[0][0]] if self._events else []
        known = [one for one in due if one is not None]
        assert known, "nothing will ever happen again"
        self.now_ms = max(self.now_ms + 1, min(known))

    # --- Wires ----------------------------------------------------------------------------------

    def _carry(self, index: int, link: Link) -> None:
        """What switch `index` has for a neighbour."""
        for request_id, packet in link.take():
            if packet[0] != 12:
                # What is no packet at all is taken for a Prepare, and refused.
                back = self._backs[index].pop(request_id, None)
                if back is not None:
                    back(packet)
                continue
            wire = self._wires.get(index + 1, Wire())
            reply = partial(self._reply, link, request_id)
            wire.pass_on(self, packet, partial(self._arrive, index + 1), reply)

    def _reply(self, link: Link, request_id: int, packet: bytes) -> None:
        link.receive([(request_id, packet)])

    def _arrive(self, index: int, packet: bytes, back: Answer) -> None:
        if index == len(self.switches):
            back(self.receiver.answer(packet))
            return
        request_id = next(self._ids) % (1 << 32)
        self._backs[index][request_id] = back
        link = self._links[index][0]
        assert link is not None
        link.receive([(request_id, packet)])

    # --- Sums -----------------------------------------------------------------------------------

    def paid(self) -> int:
        return -self.switches[0].balance(self.switches[0].account("in"))

    def got(self) -> int:
        """By the books of the last switch."""
        return self.switches[-1].balance(self.switches[-1].account("out"))

    def check(self, *progress: Progress, lossless: bool = True) -> None:
        """After `settle`: no switch has made or lost money, nothing is pending. With `lossless`
        the receiver's last neighbour has heard of all that it fulfilled."""
        for switch in self.switches:
            switch.ledger.check()
            for account in switch.accounts():
                counters = switch.counters(account)
                pending = ("debits_pending", "credits_pending", "prepaid_pending")
                assert [counters[name] for name in pending] == [0, 0, 0]
        assert sum(one.sent_amount for one in progress) == self.paid()
        assert self.receiver.received == sum(self.receiver.amounts) >= self.got()
        assert not lossless or self.receiver.received == self.got()


def closed(code: int = 9, message: str = "enough") -> Frame:
    return ConnectionClose(code, message)
