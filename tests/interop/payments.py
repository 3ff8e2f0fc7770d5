"""The payments that every hop must carry: STREAM by ilp-protocol-stream, and by @interledger/pay.

Both ends stay up until the hop's books say what they must: STREAM's receiver probes its sender
too, and a probe whose answer never comes would be held until it expires.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.helpers import wait_until
from tests.interop.processes import Event, Script, stopping

Plugin = dict[str, Any]
Books = Mapping[str, int]


@dataclass
class Payment:
    """Who pays whom, what must leave and what arrive, and the hop's books afterwards."""

    alice: Plugin
    bob: Plugin
    sent: int
    delivered: int
    books: Callable[[], Books]
    books_after: Books
    scale: int = 9
    prices: dict[str, float] = field(default_factory=dict)


async def eventually(look: Callable[[], Any], wanted: Any) -> None:
    """`wait_until` while the test's own peers go on working."""
    await asyncio.to_thread(wait_until, look, wanted)


def wait_received(receiver: Script, amount: int) -> None:
    """Until the receiver has said that all of `amount` came in, and not a unit more."""
    received = 0
    while received < amount:
        received = int(receiver.event("money")["received"])
    assert received == amount


def carry(script: str, payment: Payment, task: dict[str, Any]) -> Event:
    """Start both ends, wait for the payment and for the books; what the two ends said."""
    receiver = Script(script, {"role": "receive", "plugin": payment.bob})
    with stopping(receiver):
        ready = receiver.event("ready")
        credentials = {key: ready[key] for key in ("destinationAccount", "sharedSecret")}
        sender = Script(script, {"role": "send", "plugin": payment.alice, **credentials, **task})
        with stopping(sender):
            paid = sender.event("paid")
            wait_received(receiver, payment.delivered)
            wait_until(payment.books, payment.books_after)
    return {**ready, **paid}


def stream_exactly(payment: Payment) -> Event:
    """ilp-protocol-stream at both ends."""
    paid = carry("stream.js", payment, {"amount": str(payment.sent)})
    assert int(paid["sent"]) == payment.sent
    assert int(paid["delivered"]) == payment.delivered
    return paid


def pay_exactly(payment: Payment) -> Event:
    """@interledger/pay to @interledger/stream-receiver."""
    amount = Decimal(payment.sent).scaleb(-payment.scale)
    task = {"amountToSend": f"{amount:f}", "prices": payment.prices, "slippage": 0.01}
    paid = carry("pay.js", payment, task)
    assert paid["error"] is None
    # This client counts in whole units of the asset.
    delivered = Decimal(payment.delivered).scaleb(-int(paid["assetScale"]))
    assert Decimal(paid["amountSent"]) == amount
    assert Decimal(paid["amountDelivered"]) == delivered
    return paid
