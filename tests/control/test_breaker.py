"""The circuit breaker, on a switch whose next hop answers as the transports do."""

from fractions import Fraction

from fastilp._core.packet import Fulfill, Prepare, Reject
from fastilp.control.breaker import BreakerLimits, Breakers
from tests.small_switch import ADDRESS, SmallSwitch

LIMITS = BreakerLimits(window=10, ratio=Fraction(1, 5), open_ms=1_000)
UNREACHABLE = Reject(code="T01", triggered_by=ADDRESS, message="peer cannot be reached")
PEERS_T01 = Reject(code="T01", triggered_by="example.node.bob", message="my next hop is down")
GOOD = Fulfill(fulfillment=bytes(32))


class Circuit:
    """alice pays bob; `changes` is what the breaker told."""

    def __init__(self) -> None:
        self.node = SmallSwitch()
        self.changes: list[tuple[str, bool]] = []
        self.breakers = Breakers(
            self.node.switch, LIMITS, lambda account, is_open: self.changes.append(
                (account.name, is_open)
            ),
        )  # fmt: skip
        self.bob = self.node.switch.account("bob")
        self.breakers.watch(self.bob)

    def pay(self, answer: Fulfill | Reject, count: int = 1) -> list[str]:
        """What becomes of payments that bob's side answers so: "", or the code of the Reject."""
        codes = []
        for _ in range(count):
            prepare = bytes(self.node.prepare(f"{ADDRESS}.bob", 5))
            self.node.links["alice"].receive([(1, prepare)])
            self.node.turn()
            for request_id, packet in self.node.links["bob"].take():
                assert isinstance(Prepare.decode(packet), Prepare)
                self.node.links["bob"].receive([(request_id, bytes(answer))])
            self.node.turn()
            [(_, packet)] = self.node.links["alice"].take()
            codes.append(Reject.decode(packet).code if packet[0] == 14 else "")
        return codes

    def tick(self, advance_ms: int = 0) -> None:
        self.node.now_ms += advance_ms
        self.breakers.tick(self.node.now_ms)


def test_opens_at_the_ratio_and_closes_after_a_while() -> None:
    circuit = Circuit()
    circuit.pay(GOOD, 8)
    circuit.pay(UNREACHABLE, 2)
    circuit.tick()
    assert list(circuit.breakers.open()) == ["bob"]
    assert circuit.pay(GOOD) == ["T01"]
    assert circuit.node.switch.statuses()["link_down"] == 1
    circuit.tick(999)
    assert circuit.pay(GOOD) == ["T01"]
    circuit.tick(1)
    assert circuit.pay(GOOD) == [""]
    assert circuit.changes == [("bob", True), ("bob", False)]
    assert circuit.node.switch.balance(circuit.bob) == 9 * 5
    [sums] = circuit.node.switch.ledger.sums().values()
    assert sums["debits_posted"] == sums["credits_posted"]


def test_below_the_ratio_stays_closed() -> None:
    circuit = Circuit()
    for _ in range(3):
        circuit.pay(GOOD, 9)
        circuit.pay(UNREACHABLE)
        circuit.tick()
    assert circuit.changes == []


def test_fewer_than_a_window_decide_nothing() -> None:
    circuit = Circuit()
    circuit.pay(UNREACHABLE, 9)
    circuit.tick()
    assert circuit.changes == []
    circuit.pay(GOOD)
    circuit.tick()
    assert circuit.changes == [("bob", True)]


def test_what_the_peer_answers_does_not_count() -> None:
    circuit = Circuit()
    circuit.pay(PEERS_T01, 20)
    circuit.tick()
    assert circuit.changes == []


def test_forgotten_account_is_sent_to_again() -> None:
    circuit = Circuit()
    circuit.pay(UNREACHABLE, 10)
    circuit.tick()
    circuit.breakers.forget("bob")
    # Who was told that it opened hears that it did not stay so: alerts, routes.
    assert circuit.changes == [("bob", True), ("bob", False)]
    assert circuit.pay(GOOD) == [""]
    assert len(circuit.breakers) == 0
    circuit.breakers.forget("nobody")


def test_accounts_that_are_not_watched_are_left_alone() -> None:
    circuit = Circuit()
    circuit.breakers.forget("bob")
    circuit.pay(UNREACHABLE, 20)
    circuit.tick()
    assert circuit.changes == []
