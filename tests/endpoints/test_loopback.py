"""The loopback endpoint, asked through a real switch."""

from hashlib import sha256

import pytest

from fastilp._core.packet import Fulfill, Reject, decode
from fastilp.endpoints.loopback import Loopback
from tests.small_switch import ADDRESS, SmallSwitch, details

LOOP = f"{ADDRESS}.loop"
PREIMAGE = b"\x11" * 32


@pytest.fixture
def node() -> SmallSwitch:
    small = SmallSwitch()
    account = small.accounts.add(details("loop"))
    Loopback(small.switch.open_link(account, local=True), lambda: ADDRESS, small.wake)
    return small


def balances(node: SmallSwitch) -> tuple[int, int]:
    accounts = (node.switch.account("alice"), node.switch.account("loop"))
    return node.switch.balance(accounts[0]), node.switch.balance(accounts[1])


def test_fulfils_with_zeros(node: SmallSwitch) -> None:
    answer = node.exchange("alice", node.prepare(LOOP, 10))
    assert isinstance(answer, Fulfill) and answer.fulfillment == bytes(32)
    assert balances(node) == (-10, 10)
    assert node.wakes == 1


def test_fulfils_with_the_preimage_in_data(node: SmallSwitch) -> None:
    condition = sha256(PREIMAGE).digest()
    prepare = node.prepare(LOOP + ".x", 7, execution_condition=condition, data=PREIMAGE + b"more")
    answer = node.exchange("alice", prepare)
    assert isinstance(answer, Fulfill) and answer.fulfillment == PREIMAGE
    assert balances(node) == (-7, 7)


@pytest.mark.parametrize("data", [b"", b"\x22" * 32, PREIMAGE[:31]])
def test_rejects_what_it_cannot_fulfil(node: SmallSwitch, data: bytes) -> None:
    # The condition of 31 bytes would fit the short data, but a fulfillment has 32.
    condition = sha256(data[:31]).digest()
    code, _ = node.refusal("alice", node.prepare(LOOP, 7, execution_condition=condition, data=data))
    assert code == "F05"
    assert balances(node) == (0, 0)


@pytest.mark.parametrize("code", ["F99", "T04", "R01"])
def test_rejects_on_demand(node: SmallSwitch, code: str) -> None:
    refused = node.refusal("alice", node.prepare(f"{LOOP}.reject.{code}", 7))
    assert refused == (code, "rejected on demand")
    assert balances(node) == (0, 0)


def test_ignores_on_demand(node: SmallSwitch) -> None:
    link = node.links["alice"]
    link.receive([(5, bytes(node.prepare(LOOP + ".ignore", 7)))])
    node.turn()
    node.turn()
    assert link.take() == []
    assert balances(node) == (-7, 0)
    node.now_ms += 30_000
    node.turn()
    [(request_id, packet)] = link.take()
    answer = decode(packet)
    assert isinstance(answer, Reject)
    assert (request_id, answer.code) == (5, "R00")
    assert balances(node) == (0, 0)


def test_bytes_that_are_no_prepare(node: SmallSwitch) -> None:
    loopback = Loopback(node.links["bob"], lambda: ADDRESS, node.wake)
    answer = loopback.answer(b"\x0c\x00")
    assert isinstance(answer, Reject) and answer.code == "F01"
