"""Prepares that may end at this node: the terminal link, tokens, and packets that are not mine."""

import os

import pytest

from fastilp._core.switch import Switch
from fastilp._core.token import BODY_RECEIPTS_SIZE, BODY_SIZE, has_token, token_check
from fastilp.errors import UsageError
from tests.reference.hub import OWN, PREIMAGE, Hub
from tests.reference.kits import COMPILED
from tests.reference.packets import Fulfill, Prepare, Reject, decode, encode

KEY = bytes(range(16))
BODY = b"abcdefghijklmnopqrstuv"
TOKEN = (BODY + token_check(KEY, BODY)).decode()


@pytest.fixture
def hub() -> Hub:
    hub = Hub(COMPILED)
    hub.switch.set_token_key(KEY)
    hub.switch.terminal.up = True
    return hub


def ended(hub: Hub, to: str = f"g.hub.bob.{TOKEN}", amount: int = 100) -> tuple[int, bytes]:
    """Send a Prepare that comes out of the terminal link; returns it with its id."""
    hub.send(7, to=to, amount=amount)
    hub.run()
    [(request_id, packet, sender, receiver)] = hub.switch.take_terminal(hub.now_ms)
    assert (sender, receiver) == (hub.alice, hub.bob)
    assert hub.take(hub.b) == [] and hub.take(hub.a) == []
    return request_id, packet


def finish(hub: Hub) -> None:
    assert hub.switch.in_flight() == 0
    assert hub.switch.in_flight_of(hub.bob) == (0, 0) == hub.switch.in_flight_of(hub.alice)
    assert hub.switch.terminal.in_flight == 0 == hub.b.in_flight
    hub.check_sums()


# Vectors of the paper's appendix A: key 00 .. 0f, message 00 .. 0e, hash a129ca6149be45e5.
def test_the_check_is_siphash() -> None:
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    check = token_check(KEY, bytes(range(15)))
    assert sum(alphabet.index(c) << 6 * i for i, c in enumerate(check)) == 0xA129CA6149BE45E5


@pytest.mark.parametrize("size", [BODY_SIZE, BODY_RECEIPTS_SIZE])
def test_a_token_is_known_by_its_last_segment(size: int) -> None:
    body = b"x" * size
    token = body + token_check(KEY, body)
    assert has_token(KEY, b"g.hub.bob." + token)
    assert not has_token(bytes(16), b"g.hub.bob." + token)
    assert not has_token(KEY, b"g.hub.bob." + token + b".more")
    assert not has_token(KEY, b"g.hub.bobx" + token)
    assert not has_token(KEY, token)
    assert not has_token(KEY, b"g.hub.bob." + token[:-1] + b"~")


def test_keys_have_16_bytes(hub: Hub) -> None:
    for wrong in (b"", bytes(15), bytes(32)):
        with pytest.raises(UsageError, match="16 bytes"):
            hub.switch.set_token_key(wrong)
        with pytest.raises(UsageError, match="16 bytes"):
            token_check(wrong, BODY)


def test_money_that_ends_here(hub: Hub) -> None:
    request_id, packet = ended(hub)
    prepare = decode(packet)
    assert isinstance(prepare, Prepare) and prepare.amount == 100
    assert hub.counters(hub.bob) == {"credits_pending": 100}
    hub.switch.terminal.receive([(request_id, encode(Fulfill(PREIMAGE)))])
    hub.run()
    assert hub.take(hub.a) == [(7, Fulfill(PREIMAGE))]
    assert hub.balances() == (-100, 100)
    finish(hub)


def test_a_refusal(hub: Hub) -> None:
    request_id, _ = ended(hub)
    reject = Reject(b"F99", b"g.hub", b"", b"x")
    hub.switch.terminal.receive([(request_id, encode(reject))])
    hub.run()
    assert hub.take(hub.a) == [(7, reject)]
    assert hub.balances() == (0, 0)
    finish(hub)


def test_a_wrong_fulfillment_moves_nothing(hub: Hub) -> None:
    request_id, _ = ended(hub)
    hub.switch.terminal.receive([(request_id, encode(Fulfill(bytes(32))))])
    hub.run()
    assert [answer.code for _, answer in hub.take(hub.a)] == [b"F05"]
    assert hub.balances() == (0, 0)
    finish(hub)


@pytest.mark.parametrize("to", ["g.hub.bob", "g.hub.bob.x", f"g.hub.bob.{TOKEN}x", "g.hub.bob.a.b"])
def test_other_addresses_go_to_the_next_hop(hub: Hub, to: str) -> None:
    hub.send(7, to=to)
    hub.run()
    assert hub.switch.take_terminal(hub.now_ms) == []
    [(request_id, _)] = hub.take(hub.b)
    hub.answer(request_id)
    hub.run()
    assert hub.balances() == (-100, 100)
    finish(hub)


def test_without_a_receiver_it_is_a_packet_like_any_other(hub: Hub) -> None:
    hub.switch.terminal.up = False
    hub.send(7, to=f"g.hub.bob.{TOKEN}")
    hub.run()
    assert hub.switch.take_terminal(hub.now_ms) == [] and len(hub.take(hub.b)) == 1


def test_not_mine_goes_on_to_the_next_hop(hub: Hub) -> None:
    request_id, packet = ended(hub)
    hub.switch.terminal.receive([(request_id, packet)])
    hub.run()
    assert hub.b.take() == [(request_id, packet)]
    assert hub.counters(hub.bob) == {"credits_pending": 100}
    assert (hub.switch.terminal.in_flight, hub.b.in_flight) == (0, 1)
    # The receiver has had its turn: nothing it says counts any more.
    hub.switch.terminal.receive([(request_id, encode(Fulfill(PREIMAGE)))])
    hub.switch.terminal.receive([(request_id, packet)])
    hub.run()
    assert hub.take(hub.a) == [] and hub.b.take() == []
    hub.answer(request_id)
    hub.run()
    assert hub.take(hub.a) == [(7, Fulfill(PREIMAGE))]
    assert hub.balances() == (-100, 100)
    finish(hub)


def refused_as_not_mine(hub: Hub, to: str = f"g.hub.bob.{TOKEN}") -> Reject:
    request_id, packet = ended(hub, to)
    hub.switch.terminal.receive([(request_id, packet)])
    hub.run()
    [(_, reject)] = hub.take(hub.a)
    assert isinstance(reject, Reject) and reject.triggered_by == OWN.encode()
    assert hub.balances() == (0, 0)
    finish(hub)
    return reject


@pytest.mark.parametrize("to", ["g.hub.bob", "g.hub.bob.x", f"g.hub.bob.{TOKEN}"])
def test_without_a_link_everything_ends_here(hub: Hub, to: str) -> None:
    hub.switch.set_egress(hub.bob, None)
    assert refused_as_not_mine(hub, to).code == b"F06"
    assert hub.counted() == {"forwarded": 1, "not_ours": 1}


def test_a_link_that_takes_nothing_is_none(hub: Hub) -> None:
    hub.switch.set_egress(hub.bob, None)
    sends = hub.switch.open_link(hub.bob, local=True, takes=False)
    assert refused_as_not_mine(hub, "g.hub.bob.x").code == b"F06"
    assert sends.up and sends.take() == []


def test_not_mine_and_the_link_is_down(hub: Hub) -> None:
    hub.b.up = False
    assert refused_as_not_mine(hub).code == b"T01"


def test_not_mine_and_the_link_is_suspended(hub: Hub) -> None:
    hub.switch.suspend(hub.bob, True)
    assert hub.refused(to="g.hub.bob.x") == "T01", "a breaker does not send it to the receiver"
    assert refused_as_not_mine(hub).code == b"T01"
    hub.switch.suspend(hub.bob, False)
    request_id, packet = ended(hub)
    hub.switch.terminal.receive([(request_id, packet)])
    hub.run()
    assert hub.b.take() == [(request_id, packet)]


def test_not_mine_too_late(hub: Hub) -> None:
    request_id, packet = ended(hub)
    hub.switch.terminal.receive([(request_id, packet)])
    hub.run(advance_ms=20_000)
    [(_, reject)] = hub.take(hub.a)
    assert isinstance(reject, Reject) and reject.code == b"R00"
    finish(hub)


def test_what_was_taken_in_time_counts_however_late_the_turn_comes(hub: Hub) -> None:
    """The receiver has made a receipt of it."""
    request_id, _ = ended(hub)
    hub.switch.terminal.receive([(request_id, encode(Fulfill(PREIMAGE)))])
    hub.run(advance_ms=40_000)
    assert hub.take(hub.a) == [(7, Fulfill(PREIMAGE))]
    assert hub.balances() == (-100, 100)
    finish(hub)


def test_what_was_taken_in_time_and_is_answered_too_late_does_not(hub: Hub) -> None:
    request_id, _ = ended(hub)
    hub.run(advance_ms=40_000)
    hub.switch.terminal.receive([(request_id, encode(Fulfill(PREIMAGE)))])
    hub.run()
    assert [answer.code for _, answer in hub.take(hub.a)] == [b"R00"]
    assert hub.balances() == (0, 0)
    finish(hub)


def test_not_mine_ends_what_was_taken_in_time(hub: Hub) -> None:
    request_id, packet = ended(hub)
    hub.switch.terminal.receive([(request_id, packet)])
    hub.run()
    [(request_id, _)] = hub.take(hub.b)
    hub.answer(request_id)
    hub.run(advance_ms=40_000)
    assert [answer.code for _, answer in hub.take(hub.a)] == [b"R00"]
    assert hub.balances() == (0, 0)
    finish(hub)


def test_what_has_expired_is_not_taken(hub: Hub) -> None:
    hub.send(7, to=f"g.hub.bob.{TOKEN}")
    hub.run()
    assert hub.switch.take_terminal(hub.now_ms + 40_000) == []
    hub.run(advance_ms=40_000)
    assert [answer.code for _, answer in hub.take(hub.a)] == [b"R00"]
    finish(hub)


def test_what_nobody_asked_changes_nothing(hub: Hub) -> None:
    stranger = hub.prepare(5, f"g.hub.bob.{TOKEN}")
    hub.switch.terminal.receive([(12345, encode(stranger)), (1, b"\x0c\x00"), (2, b"")])
    hub.run()
    assert hub.switch.terminal.take() == [] and hub.take(hub.a) == [] and hub.take(hub.b) == []
    assert hub.counted() == {"unmatched": 3}
    finish(hub)


def test_what_is_taken_too_late_is_left_out(hub: Hub) -> None:
    hub.send(7, to=f"g.hub.bob.{TOKEN}", in_ms=1_000)
    hub.run()
    hub.run(advance_ms=5_000)
    assert hub.switch.take_terminal(hub.now_ms) == []
    assert [answer.code for _, answer in hub.take(hub.a)] == [b"R00"]
    finish(hub)


def test_limits_hold_for_what_ends_here(hub: Hub) -> None:
    hub.switch.set_account(hub.bob, max_balance=150)
    request_id, _ = ended(hub)
    assert hub.refused(to=f"g.hub.bob.{TOKEN}") == "T04"
    hub.switch.terminal.receive([(request_id, encode(Fulfill(PREIMAGE)))])
    hub.run()
    assert hub.balances() == (-100, 100)
    finish(hub)


def test_any_garbage_is_answered(hub: Hub) -> None:
    for number in range(200):
        request_id, _ = ended(hub)
        hub.switch.terminal.receive([(request_id, os.urandom(number))])
        hub.run()
        [(_, reject)] = hub.take(hub.a)
        assert isinstance(reject, Reject)
    finish(hub)


def test_terminal_is_a_switch_s(hub: Hub) -> None:
    assert isinstance(hub.switch, Switch) and hub.switch.terminal is not hub.switch.control
