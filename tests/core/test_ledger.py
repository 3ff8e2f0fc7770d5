"""Money: the counters after each step, limits, prepaid money, settlement, and control's door."""

from pathlib import Path
from typing import Any

import pytest

from fastilp.errors import ConflictError, StorageError, UsageError
from tests.core.conftest import MakeHub
from tests.reference.hub import PREIMAGE, Hub
from tests.reference.kits import COMPILED
from tests.reference.packets import Fulfill, Reject

NO = Reject(b"F99", b"g.hub.bob.x")


@pytest.fixture
def exchange(make_hub: MakeHub) -> Hub:
    """Alice in USD with 9 digits, bob in EUR with 2, two dollars to the euro."""
    hub = make_hub(bob={"asset_code": "EUR", "asset_scale": 2})
    hub.switch.set_rate("USD", 1)
    hub.switch.set_rate("EUR", 2)
    return hub


# --- counters -----------------------------------------------------------------------------------

IN, OUT = 10**9, 50


def test_prepare_reserves_both_sides(exchange: Hub) -> None:
    exchange.forwarded(amount=IN)
    assert exchange.counters(exchange.alice) == {"debits_pending": IN}
    assert exchange.counters(exchange.bob) == {"credits_pending": OUT}
    assert exchange.internal("exchange") == {"credits_pending": IN}
    assert exchange.internal("exchange", "EUR", 2) == {"debits_pending": OUT}
    assert exchange.balances() == (-IN, 0)
    exchange.check_sums()


def test_fulfill_posts_both_sides(exchange: Hub) -> None:
    exchange.pay(IN)
    assert exchange.counters(exchange.alice) == {"debits_posted": IN, "debits_relayed": IN}
    assert exchange.counters(exchange.bob) == {"credits_posted": OUT}
    assert exchange.internal("exchange") == {"credits_posted": IN}
    assert exchange.internal("exchange", "EUR", 2) == {"debits_posted": OUT}
    assert exchange.balances() == (-IN, OUT)
    exchange.check_sums()


@pytest.mark.parametrize("by", ["reject", "wrong", "malformed", "expiry", "late"])
def test_everything_else_voids_both_sides(exchange: Hub, by: str) -> None:
    sent_id = exchange.forwarded(amount=IN)
    if by != "expiry":
        answers = {"reject": NO, "wrong": Fulfill(bytes(32)), "malformed": b"\x0d", "late": None}
        exchange.answer(sent_id, answers[by])
    exchange.run(10_008 if by in ("expiry", "late") else 0)
    assert len(exchange.a.take()) == 1
    for account in (exchange.alice, exchange.bob):
        assert exchange.counters(account) == {}
    assert exchange.internal("exchange") == exchange.internal("exchange", "EUR", 2) == {}


def test_refused_prepare_moves_nothing(make_hub: MakeHub) -> None:
    """The next hop's limit is asked after the sender's money would have moved: it must not have."""
    hub = make_hub(bob={"max_balance": 99})
    assert hub.refused() == "T04"
    assert hub.counters(hub.alice) == hub.counters(hub.bob) == hub.internal("exchange") == {}


def test_amounts_above_doubles_and_signed_words(hub: Hub) -> None:
    amounts = [2**53 + 1, 2**63 - 1, 2**63 + 1, 2**64 - 1, 1]
    for amount in amounts:
        hub.pay(amount)
    assert hub.balances() == (-sum(amounts), sum(amounts))
    assert hub.switch.counters(hub.alice)["debits_posted"] > 2**64
    hub.pay(2**64 - 1, back=True)
    assert hub.balances() == (2**64 - 1 - sum(amounts), sum(amounts) - 2**64 + 1)
    hub.check_sums()


def test_amount_zero_moves_nothing(make_hub: MakeHub) -> None:
    """It is no risk: limits that are passed already do not stop it."""
    hub = make_hub(alice={"min_balance": 1}, bob={"max_balance": -1, "max_in_flight_amount": 0})
    hub.pay(0)
    assert hub.counters(hub.alice) == hub.counters(hub.bob) == {}


def test_many_accounts_and_assets(hub: Hub) -> None:
    """The tables grow while money is in flight; everybody pays the next one, nothing gets lost."""
    hub.switch.set_rate("USD", 1)
    sent_id = hub.forwarded(amount=100)
    ring = []
    for number in range(300):
        code = f"A{number % 40}"
        account = hub.add(f"account-{number}", code, number % 5)
        hub.switch.set_rate(code, 1 + number % 40)
        hub.switch.set_route(f"g.hub.account-{number}", account)
        ring.append((account, hub.switch.open_link(account)))
    for number, (_, link) in enumerate(ring):
        to = f"g.hub.account-{(number + 1) % len(ring)}"
        hub.send(number, link, amount=10**12, to=to)
    hub.run()
    for _, link in ring:
        for next_id, _ in link.take():
            hub.answer(next_id, link=link)
    hub.answer(sent_id)
    hub.run()
    assert [hub.take(link) for _, link in ring] == [
        [(number, Fulfill(PREIMAGE))] for number in range(len(ring))
    ]
    assert hub.balances() == (-100, 100)
    assert {hub.switch.counters(account)["debits_posted"] for account, _ in ring} == {10**12}
    assert len(hub.ledger.sums()) == 1 + 40
    hub.check_sums()


# --- limits -------------------------------------------------------------------------------------


def test_floor_is_inclusive_and_counts_what_is_pending(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"min_balance": -150})
    sent_id = hub.forwarded(amount=100)
    assert hub.refused(amount=51) == "T04"
    hub.forwarded(amount=50)
    hub.answer(sent_id, NO)
    hub.run()
    hub.a.take()
    hub.forwarded(amount=100)
    assert hub.refused(amount=1) == "T04"


def test_floor_within_one_batch(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"min_balance": -100})
    for request_id in range(3):
        hub.send(request_id, amount=60 - 20 * request_id)
    hub.run()
    assert [request_id for request_id, _ in hub.take(hub.a)] == [2]
    assert hub.balances() == (-100, 0)


def test_pending_credit_is_not_money_to_spend(make_hub: MakeHub) -> None:
    hub = make_hub(bob={"min_balance": 0})
    sent_id = hub.forwarded(amount=100)
    assert hub.refused(hub.b, to="g.hub.alice", amount=1) == "T04"
    hub.answer(sent_id)
    hub.run()
    assert hub.take(hub.a) == [(1, Fulfill(PREIMAGE))]
    hub.pay(100, back=True)
    assert hub.balances() == (0, 0)


def test_ceiling_is_inclusive_and_counts_what_is_pending(make_hub: MakeHub) -> None:
    hub = make_hub(bob={"max_balance": 150})
    hub.forwarded(amount=100)
    assert hub.refused(amount=51) == "T04"
    hub.forwarded(amount=50)


def test_debit_pending_leaves_the_ceiling_alone(make_hub: MakeHub) -> None:
    """Bob's own Prepare may yet fail, so it makes no room for more credit until it is posted."""
    hub = make_hub(bob={"max_balance": 100})
    hub.pay(100)
    hub.send(1, hub.b, to="g.hub.alice", amount=60)
    hub.run()
    [(sent_id, _)] = hub.take(hub.a)
    assert hub.refused(amount=1) == "T04"
    hub.answer(sent_id, link=hub.a)
    hub.run()
    hub.take(hub.b)
    hub.forwarded(amount=60)


def test_balances_of_rfc_32(make_hub: MakeHub) -> None:
    """RFC 32's example, with our sign: alice's maximum of 20 is bob's floor, bob's 5 is hers."""
    hub = make_hub(alice={"min_balance": -5}, bob={"min_balance": -20})
    carol = hub.add("carol")
    hub.switch.open_link(carol)
    hub.switch.set_route("g.hub.carol", carol)

    def sends(link: Any, amount: int, *, refused: bool = False) -> None:
        hub.send(1, link, to="g.hub.carol", amount=amount)
        hub.run()
        codes = [packet.code for _, packet in hub.take(link) if isinstance(packet, Reject)]
        assert codes == ([b"T04"] if refused else [])

    sends(hub.b, 12)
    sends(hub.b, 9, refused=True)
    sends(hub.b, 7)
    assert hub.switch.balance(hub.bob) == -19
    hub.ledger.transact([(hub.bob.id, "settlement", 19)])
    assert hub.switch.balance(hub.bob) == 0
    sends(hub.a, 2)
    sends(hub.a, 5, refused=True)
    assert hub.switch.balance(hub.alice) == -2


def test_in_flight_amount_frees_on_commit_only(make_hub: MakeHub) -> None:
    """What bob could claim after a crash: sent to him, and not durably posted."""
    hub = make_hub(manual=True, bob={"max_in_flight_amount": 100})
    sent_id = hub.forwarded(amount=100)
    assert hub.refused(amount=1) == "T04"
    hub.answer(sent_id)
    hub.run()
    assert hub.refused(amount=1) == "T04"
    hub.commit()
    hub.run()
    assert hub.take(hub.a) == [(1, Fulfill(PREIMAGE))]
    # Nothing else happens on this hub: room must not wait for other money to move.
    hub.forwarded(amount=100)


def test_in_flight_amount_within_one_batch(make_hub: MakeHub) -> None:
    hub = make_hub(bob={"max_in_flight_amount": 100})
    for request_id in range(3):
        hub.send(request_id, amount=60 - 20 * request_id)
    hub.run()
    assert [request_id for request_id, _ in hub.take(hub.a)] == [2]


# --- prepaid money ------------------------------------------------------------------------------


@pytest.fixture
def prepaid(make_hub: MakeHub) -> Hub:
    """Alice has paid 60 ahead, and an engine would settle anything that we owe her."""
    hub = make_hub(alice={"settle_threshold": 1, "settle_to": 0})
    hub.ledger.transact([(hub.alice.id, "settlement", 60)])
    assert hub.counters(hub.alice) == {"credits_posted": 60, "prepaid_posted": 60}
    return hub


def test_prepaid_money_is_spent_first(prepaid: Hub) -> None:
    sent_id = prepaid.forwarded(amount=100)
    assert prepaid.switch.counters(prepaid.alice)["prepaid_pending"] == 60
    assert prepaid.switch.balance(prepaid.alice) == -40
    prepaid.answer(sent_id)
    prepaid.run()
    counters = prepaid.switch.counters(prepaid.alice)
    assert (counters["prepaid_pending"], counters["prepaid_posted"]) == (0, 0)
    assert prepaid.switch.balance(prepaid.alice) == -40


def test_share_of_each_packet_is_its_own(prepaid: Hub) -> None:
    """40 of the first come from prepaid money, 20 of the second: each Reject gives its own back."""
    first, second = prepaid.forwarded(amount=40), prepaid.forwarded(amount=40)
    prepaid.answer(second, NO)
    prepaid.run()
    assert prepaid.switch.counters(prepaid.alice)["prepaid_pending"] == 40
    prepaid.answer(first)
    prepaid.run()
    counters = prepaid.switch.counters(prepaid.alice)
    assert (counters["prepaid_pending"], counters["prepaid_posted"]) == (0, 20)
    prepaid.check_sums()


@pytest.mark.parametrize("by", ["reject", "expiry"])
def test_refund_goes_to_the_bucket_it_came_from(prepaid: Hub, by: str) -> None:
    """Else a rejected packet would turn a prepayment into a debt, and we would pay it back."""
    sent_id = prepaid.forwarded(amount=50)
    if by == "reject":
        prepaid.answer(sent_id, NO)
    prepaid.run(0 if by == "reject" else 10_008)
    assert prepaid.counters(prepaid.alice) == {"credits_posted": 60, "prepaid_posted": 60}
    assert prepaid.switch.take_events() == []


# --- settlement ---------------------------------------------------------------------------------

# (clearing, threshold, settle_to, amount, clearing after, settled), as Interledger.rs tests them.
# Left out: (0, 0, -100, 0), its prefunding when an account is made; here nothing has moved, so
# nothing settles, and control prefunds if it wants to.
PROCESS_FULFILL = [
    (30, 40, 10, 15, 10, 35),
    (30, 50, 10, 15, 45, 0),
    (30, 40, 50, 15, 45, 0),
    (-150, -100, -500, 100, -500, 450),
    (-150, -100, -500, 49, -101, 0),
    (0, 70, 50, 0, 0, 0),
    # Ours: the threshold itself triggers, beside it nothing does.
    (0, 100, 0, 100, 0, 100),
    (0, 100, 0, 99, 99, 0),
    (0, 2**64, 0, 1, 1, 0),
]


@pytest.mark.parametrize(
    ("before", "threshold", "settle_to", "amount", "after", "settled"), PROCESS_FULFILL
)
def test_fulfill_triggers_settlement(
    hub: Hub, before: int, threshold: int, settle_to: int, amount: int, after: int, settled: int
) -> None:
    hub.ledger.transact([(hub.bob.id, "exchange", before)])
    hub.pay(amount)
    assert hub.switch.take_events() == []
    hub.ledger.transact([(hub.bob.id, "exchange", -amount)])
    hub.switch.set_account(hub.bob, settle_threshold=threshold, settle_to=settle_to)
    hub.pay(amount)
    events = hub.switch.take_events()
    assert events == ([("settle", hub.bob, settled)] if settled else [])
    hub.ledger.transact([(hub.bob.id, "settlement", -settled)])
    assert hub.switch.balance(hub.bob) == after
    hub.check_sums()


def test_settle_event_once_per_batch(make_hub: MakeHub) -> None:
    hub = make_hub(bob={"settle_threshold": 100, "settle_to": 0})
    sent_ids = [hub.forwarded(request_id, amount=70) for request_id in range(3)]
    for sent_id in sent_ids:
        hub.answer(sent_id)
    hub.run()
    assert hub.switch.take_events() == [("settle", hub.bob, 210)]
    assert hub.switch.take_events() == []


def test_half_a_setting_settles_nothing(make_hub: MakeHub) -> None:
    for settings in ({"settle_threshold": 1}, {"settle_to": 0}):
        hub = make_hub(bob=settings)
        hub.pay(1_000)
        assert hub.switch.take_events() == []


# (clearing before, settled, balance after, prepaid after)
INCOMING_SETTLEMENT = [
    (0, 100, 100, 100),
    (50, 100, 150, 100),
    (-100, 40, -60, 0),
    (-100, 100, 0, 0),
    (-100, 140, 40, 40),
    (-(2**63), 2**63 + 5, 5, 5),
    (-1, 2**64 - 1, 2**64 - 2, 2**64 - 2),
]


@pytest.mark.parametrize(("before", "amount", "balance", "free"), INCOMING_SETTLEMENT)
def test_incoming_settlement(hub: Hub, before: int, amount: int, balance: int, free: int) -> None:
    hub.ledger.transact([(hub.bob.id, "exchange", before)])
    hub.ledger.transact([(hub.bob.id, "settlement", amount)])
    assert hub.switch.balance(hub.bob) == balance
    assert hub.switch.counters(hub.bob)["prepaid_posted"] == free
    assert hub.internal("settlement") == {"debits_posted": amount}
    hub.check_sums()


def test_two_settlements_in_one_call(hub: Hub) -> None:
    """The second finds what the first left: 100 owed, 80 and 80 paid, so 60 are ahead."""
    hub.ledger.transact([(hub.bob.id, "exchange", -100)])
    hub.ledger.transact([(hub.bob.id, "settlement", 80), (hub.bob.id, "settlement", 80)])
    assert hub.switch.balance(hub.bob) == 60
    assert hub.switch.counters(hub.bob)["prepaid_posted"] == 60


def test_settlement_counts_pending_debits_as_owed(hub: Hub) -> None:
    hub.forwarded(amount=100)
    hub.ledger.transact([(hub.alice.id, "settlement", 130)])
    assert hub.switch.counters(hub.alice)["prepaid_posted"] == 30
    assert hub.balances() == (30, 0)


# --- control's door -----------------------------------------------------------------------------


def test_transact_moves_both_ways(hub: Hub) -> None:
    hub.ledger.transact([(hub.alice.id, "written_off", 30), (hub.bob.id, "written_off", -12)])
    assert hub.counters(hub.alice) == {"credits_posted": 30}
    assert hub.counters(hub.bob) == {"debits_posted": 12, "debits_relayed": 12}
    assert hub.internal("written_off") == {"debits_posted": 30, "credits_posted": 12}
    hub.check_sums()


def test_transact_is_all_or_nothing(hub: Hub) -> None:
    good = (hub.alice.id, "settlement", 30)
    for moves in (
        [good, (b"\0" * 16, "settlement", 1)],
        [good, (hub.bob.id, "no such kind", 1)],
        [good] * 501,
    ):
        with pytest.raises(UsageError):
            hub.ledger.transact(moves)
        assert hub.counters(hub.alice) == {}
    with pytest.raises(UsageError):
        hub.ledger.transact(
            [good], puts=[(b"%d" % n, b"") for n in range(400)], deletes=[b"x"] * 100
        )
    hub.ledger.transact([good] * 500)
    assert hub.switch.balance(hub.alice) == 15_000


def test_tickets_grow(make_hub: MakeHub) -> None:
    hub = make_hub(manual=True)
    first = hub.ledger.transact([(hub.alice.id, "settlement", 1)])
    second = hub.ledger.transact([(hub.alice.id, "settlement", 1)])
    assert first < second == hub.ledger.ticket
    assert hub.ledger.committed_ticket < first
    hub.ledger.release(first)
    assert hub.ledger.committed_ticket == first
    hub.ledger.release()
    assert hub.ledger.committed_ticket == second


def test_expectations(make_hub: MakeHub, tmp_path: Path) -> None:
    """Records ride with the money they explain, and a replay of the same key changes nothing."""
    hub = make_hub(path=str(tmp_path / "data"))
    key, move = b"settled/17", (hub.alice.id, "settlement", 30)
    hub.ledger.transact([move], puts=[(key, b"30")], expect=[(key, None)])
    for expected in (None, b"31"):
        with pytest.raises(ConflictError):
            hub.ledger.transact([move], puts=[(key, b"")], expect=[(key, expected)])
    assert hub.switch.balance(hub.alice) == 30
    hub.ledger.transact([move], deletes=[key], expect=[(key, b"30")])
    hub.ledger.transact([move], expect=[(key, None)])
    assert hub.switch.balance(hub.alice) == 90
    hub.ledger.close()


@pytest.mark.parametrize(
    "records",
    [
        {"puts": [(b"k" * 512, b"")]},
        {"puts": [(b"", b"")]},
        {"puts": [(b"k", None)]},
        {"puts": [(b"good", b""), 7]},
        {"deletes": [b""]},
        {"adjustments": [(None, "settlement", 1.5)]},
    ],
    ids=lambda records: next(iter(records)),
)
def test_records_that_cannot_be_kept(tmp_path: Path, records: dict[str, Any]) -> None:
    """A settlement without its idempotency key would be paid twice: neither is taken. And nobody
    waits for its ticket, which would look like a stalled disk."""
    hub = Hub(COMPILED, path=str(tmp_path / "data"))
    moves = [(hub.alice.id, "settlement", 30)]
    moves += [(hub.alice.id, *rest) for _, *rest in records.get("adjustments", [])]
    ticket, counters = hub.ledger.ticket, hub.switch.counters(hub.alice)
    with pytest.raises((UsageError, TypeError)):
        hub.ledger.transact(**(records | {"adjustments": moves}))
    assert (hub.ledger.ticket, hub.switch.counters(hub.alice)) == (ticket, counters)
    hub.check_sums()
    hub.run(1)
    hub.commit()
    hub.run(2_000)
    hub.forwarded()
    hub.ledger.close()


def test_closed_ledger_takes_nothing(tmp_path: Path) -> None:
    hub = Hub(COMPILED, path=str(tmp_path / "data"))
    hub.forwarded()
    hub.ledger.close()
    hub.ledger.close()
    with pytest.raises(StorageError):
        hub.ledger.transact([(hub.alice.id, "settlement", 30)])
    assert hub.balances() == (-100, 0)
    assert hub.refused() == "T00"
