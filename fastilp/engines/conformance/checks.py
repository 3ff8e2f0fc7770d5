"""The checks, each a function with a sentence. Imports the neighbours.

`API` needs one engine, `MONEY` two that are peers and share a ledger. A check that the ledger takes
part in waits for the stand-in to hear of the money, as long as the caller allows.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fractions import Fraction

import orjson

from fastilp.engines.conformance.calls import (
    Calls,
    CheckError,
    expect,
    expect_refused,
    gathered,
)
from fastilp.engines.conformance.connector import StandIn
from fastilp.engines.quantity import Quantity

DUPLICATES = 8
# Decimals that no ledger has.
FINER = 60
_POLL_S = 0.1


@dataclass
class Trial:
    """An engine, an account at it, and how much it is to pay in the checks that move money."""

    engine: Calls
    account: str
    stand_in: StandIn
    unit: Quantity
    wait_s: float
    quiet_s: float
    payee: str = ""
    """The account of the peer's engine that is credited."""

    def total(self) -> Fraction:
        credits = self.stand_in.accounts[self.payee].credits.values()
        return sum((value(each) for each in credits), Fraction(0))

    async def arrived(self, total: Fraction) -> None:
        """All of it, and after a while still no more. Raises CheckError."""
        end = time.monotonic() + self.wait_s
        while self.total() < total and time.monotonic() < end:
            await asyncio.sleep(_POLL_S)
        await asyncio.sleep(self.quiet_s)
        if self.total() != total:
            raise CheckError(f"{float(total)} was to arrive, {float(self.total())} did")


Check = Callable[[Trial], Awaitable[None]]


def value(quantity: Quantity) -> Fraction:
    return Fraction(quantity.amount, 10**quantity.scale)


async def creates_accounts(trial: Trial) -> None:
    """An account is created with 201, and again with 201"""
    for _ in range(2):
        expect(await trial.engine.create(trial.account), 201, what="POST /accounts")


async def refuses_what_is_no_json(trial: Trial) -> None:
    """Bodies that are not JSON are refused"""
    headers = {"Content-Type": "application/json"}
    expect_refused(
        await trial.engine.call("POST", "/accounts", b'{"id":', headers), "half an object"
    )
    expect_refused(await trial.engine.settle(trial.account, b"\xff\x00"), "bytes")


async def wants_a_key(trial: Trial) -> None:
    """A settlement without Idempotency-Key is refused"""
    reply = await trial.engine.settle(trial.account, trial.unit.to_json(), None)
    expect_refused(reply, "no Idempotency-Key")


async def refuses_bad_amounts(trial: Trial) -> None:
    """Amounts that are no text of digits are refused, and scales outside 0 to 255"""
    amounts: list[object] = [
        1,
        1.5,
        None,
        "",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "0x10",
        " 1",
        "\u0661",
        ["1"],
        {},
    ]
    for amount in amounts:
        reply = await trial.engine.settle(trial.account, {"amount": amount, "scale": 2})
        expect_refused(reply, f"amount {amount!r}")
    for scale in (-1, 256, "2", None, 1.5):
        reply = await trial.engine.settle(trial.account, {"amount": "1", "scale": scale})
        expect_refused(reply, f"scale {scale!r}")


async def knows_its_accounts(trial: Trial) -> None:
    """Accounts that were not created are answered with 404"""
    unknown = f"unknown-{uuid.uuid4()}"
    reply = await trial.engine.settle(unknown, trial.unit.to_json())
    expect(reply, 404, what="a settlement of an unknown account")
    expect(await trial.engine.message(unknown, b"{}"), 404, what="a message to it")
    expect(await trial.engine.delete(unknown), 404, what="its deletion")


async def survives_messages(trial: Trial) -> None:
    """Messages that mean nothing are answered, with 201 or 4xx"""
    for message in (b"", b"\x00\xff", b"[]", b"{}", b'{"type":"unknown"}', b"a" * 30_000):
        reply = await trial.engine.message(trial.account, message)
        if reply.status != 201:
            expect_refused(reply, f"message {message[:20]!r}")


async def takes_fine_amounts(trial: Trial) -> None:
    """Amounts finer than any ledger are taken, and nothing is paid for them"""
    for quantity in (Quantity(1, 255), Quantity(10**60, 255)):
        reply = await trial.engine.settle(trial.account, quantity.to_json())
        expect(reply, 201, what=f"{quantity}")


async def deletes_accounts(trial: Trial) -> None:
    """An account is deleted with 204, and is unknown then"""
    account = f"deleted-{uuid.uuid4()}"
    expect(await trial.engine.create(account), 201, what="POST /accounts")
    expect(await trial.engine.delete(account), 204, what="DELETE /accounts/:id")
    reply = await trial.engine.settle(account, trial.unit.to_json())
    expect(reply, 404, what="a settlement of a deleted account")


async def pays_once(trial: Trial) -> None:
    """A settlement that is sent again is answered the same and paid once; another one under its key
    is refused"""
    before, key = trial.total(), str(uuid.uuid4())
    first = await trial.engine.settle(trial.account, trial.unit.to_json(), key)
    expect(first, 201, what="a settlement")
    again = await trial.engine.settle(trial.account, trial.unit.to_json(), key)
    if again != first:
        raise CheckError(f"the repeated call was answered {again}, not {first}")
    other = Quantity(trial.unit.amount + 1, trial.unit.scale).to_json()
    reply = await trial.engine.settle(trial.account, other, key)
    expect_refused(reply, "the key with another amount")
    await trial.arrived(before + value(trial.unit))


async def pays_duplicates_once(trial: Trial) -> None:
    """Settlements that come at the same time under one key are one payment"""
    before, key = trial.total(), str(uuid.uuid4())
    body = trial.unit.to_json()
    replies = await gathered(
        *(trial.engine.settle(trial.account, body, key) for _ in range(DUPLICATES))
    )
    for reply in replies:
        expect(reply, 201, what="a duplicate")
    await trial.arrived(before + value(trial.unit))


async def pays_at_once(trial: Trial) -> None:
    """Settlements that come at the same time under different keys are all paid"""
    before, body = trial.total(), trial.unit.to_json()
    replies = await gathered(*(trial.engine.settle(trial.account, body) for _ in range(DUPLICATES)))
    for reply in replies:
        expect(reply, 201, what="one of several")
    await trial.arrived(before + DUPLICATES * value(trial.unit))


async def keeps_leftovers(trial: Trial) -> None:
    """Parts that are too fine for the ledger add up to a payment"""
    before = trial.total()
    scale = trial.unit.scale + FINER
    tenths = trial.unit.amount * 3 * 10 ** (FINER - 1)
    for part in [tenths + 7] * 5 + [tenths - 7] * 5:
        body = Quantity(part, scale).to_json()
        expect(await trial.engine.settle(trial.account, body), 201, what="a part")
    # An engine may keep what has added up until it is asked for more.
    last = await trial.engine.settle(trial.account, trial.unit.to_json())
    expect(last, 201, what="a settlement")
    await trial.arrived(before + 4 * value(trial.unit))


async def repeats_credits(trial: Trial) -> None:
    """A credit is repeated under its key until the connector takes it, whatever came back before"""
    before = trial.total()
    trial.stand_in.failures.extend(["fail", "refuse", "hang up", "lose"])
    expect(await trial.engine.settle(trial.account, trial.unit.to_json()), 201, what="a settlement")
    await trial.arrived(before + value(trial.unit))
    left = list(trial.stand_in.failures)
    trial.stand_in.failures.clear()
    if left:
        raise CheckError(f"the connector was not called again; still to come: {left}")


async def answers_settlements_in_json(trial: Trial) -> None:
    """What is answered to a settlement of the smallest kind is empty, a text or JSON"""
    reply = await trial.engine.settle(trial.account, Quantity(1, 255).to_json())
    expect(reply, 201, what="a settlement")
    if reply.body[:1] in (b"{", b"["):
        try:
            orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            raise CheckError(f"half JSON: {reply.body[:100]!r}") from None


API: tuple[Check, ...] = (
    creates_accounts,
    refuses_what_is_no_json,
    wants_a_key,
    refuses_bad_amounts,
    knows_its_accounts,
    survives_messages,
    deletes_accounts,
)
MONEY: tuple[Check, ...] = (
    pays_once,
    pays_duplicates_once,
    pays_at_once,
    keeps_leftovers,
    repeats_credits,
    takes_fine_amounts,
    answers_settlements_in_json,
)
