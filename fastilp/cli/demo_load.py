"""The other side of `fastilp demo`, a process of its own: a payer and a payee behind one switch.

    payer ─ local link ─▶ alice's BTP ─▶ the node ─▶ bob's BTP ─▶ local link ─ payee

Packets are shaped like those of STREAM (RFC 29): 200 bytes of data, and the fulfillment follows
from the data and a secret that payer and payee share. Run as `python -m fastilp.cli.demo_load
TASK`, where TASK is a JSON object; prints a JSON object with what came back. Imports transports and
_core.
"""

import asyncio
import hmac
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from hashlib import sha256

import uvloop

from fastilp._core.books import Account
from fastilp._core.ledger import Ledger
from fastilp._core.link import Link
from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp._core.switch import Switch
from fastilp.errors import UsageError
from fastilp.transports.btp import BtpPort
from fastilp.transports.btp_client import BtpDialler
from fastilp.transports.pump import Pump

_DATA_SIZE = 200
_EXPIRY_MS = 30_000
_CONNECT_SECONDS = 10.0


class Payer:
    """Keeps `window` Prepares in flight until `count` were answered."""

    def __init__(self, link: Link, egress: Account, pump: Pump, task: dict[str, object]) -> None:
        self._link = link
        self._egress = egress
        self._pump = pump
        self._secret = bytes.fromhex(str(task["secret"]))
        self._destination = str(task["destination"])
        self._amount = int(str(task["amount"]))
        self._count = int(str(task["count"]))
        self._window = int(str(task["window"]))
        self._sent = 0
        self.answered = 0
        self.fulfilled = 0
        self.rejected: Counter[str] = Counter()
        self.done = asyncio.Event()
        link.owner = self

    def fill(self) -> None:
        """Send what the window has room for."""
        room = min(self._window - (self._sent - self.answered), self._count - self._sent)
        if room <= 0:
            return
        expires_at = self._pump.now_ms() + _EXPIRY_MS
        first = self._sent
        self._sent += room
        packets = [(index, self._prepare(expires_at)) for index in range(first, self._sent)]
        self._link.receive(packets, egress=self._egress)
        self._pump.wake()

    def _prepare(self, expires_at: int) -> bytes:
        data = os.urandom(_DATA_SIZE)
        fulfillment = hmac.digest(self._secret, data, sha256)
        return bytes(
            Prepare(
                amount=self._amount,
                expires_at=expires_at,
                execution_condition=sha256(fulfillment).digest(),
                destination=self._destination,
                data=data,
            )
        )

    def flush(self, link: Link) -> None:
        """Answers; called by the pump."""
        for _, packet in link.take():
            self.answered += 1
            answer = decode(packet)
            if isinstance(answer, Fulfill):
                self.fulfilled += 1
            elif isinstance(answer, Reject):
                self.rejected[f"{answer.code} {answer.message}"] += 1
        if self.answered == self._count:
            self.done.set()
        self.fill()


class Payee:
    """Fulfils everything that the shared secret fulfils."""

    def __init__(self, link: Link, pump: Pump, secret: bytes) -> None:
        self._pump = pump
        self._secret = secret
        self.received = 0
        link.owner = self

    def flush(self, link: Link) -> None:
        """Prepares; called by the pump."""
        answers = []
        for request_id, packet in link.take():
            prepare = Prepare.decode(packet)
            self.received += prepare.amount
            fulfillment = hmac.digest(self._secret, prepare.data, sha256)
            answers.append((request_id, bytes(Fulfill(fulfillment=fulfillment))))
        link.receive(answers)
        self._pump.wake()


async def load(task: dict[str, object]) -> dict[str, object]:
    switch = Switch(Ledger.memory(), "example.elsewhere")
    pump = Pump(switch)
    up = asyncio.Event()

    def on_change(port: BtpPort) -> None:
        if all(each.up for each in ports):
            up.set()

    def account(name: str, side: str) -> Account:
        return switch.add_account(name, asset_code=str(task[f"{side}_asset"]), asset_scale=9)

    payer, payee = account("payer", "alice"), account("payee", "bob")
    alice, bob = account("alice", "alice"), account("bob", "bob")
    ports: list[BtpPort] = []
    ports += [_port(switch, each, pump, on_change) for each in (alice, bob)]
    switch.set_route(str(task["destination"]), payee)
    receiver = Payee(switch.open_link(payee, local=True), pump, bytes.fromhex(str(task["secret"])))
    sender = Payer(switch.open_link(payer, local=True), alice, pump, task)
    diallers = [
        BtpDialler(port, str(task[f"{name}_url"]), str(task[f"{name}_token"]))
        for port, name in zip(ports, ("alice", "bob"), strict=True)
    ]
    for dialler in diallers:
        dialler.start()
    try:
        await asyncio.wait_for(up.wait(), _CONNECT_SECONDS)
        result = await _burst(sender, float(str(task["seconds"])))
    except TimeoutError:
        errors = "; ".join(dialler.last_error or "no answer" for dialler in diallers)
        raise UsageError(f"cannot connect to the node: {errors}") from None
    finally:
        for dialler in diallers:
            await dialler.close()
        pump.close()
    return {**result, "received": receiver.received}


def _port(
    switch: Switch, account: Account, pump: Pump, on_change: Callable[[BtpPort], None]
) -> BtpPort:
    return BtpPort(switch.open_link(account, kind="btp"), pump, on_change)


async def _burst(sender: Payer, seconds: float) -> dict[str, object]:
    start = time.monotonic()
    sender.fill()
    # Every Prepare is answered within its expiry, so this ends even if the node does not answer.
    await asyncio.wait_for(sender.done.wait(), seconds + _EXPIRY_MS / 1_000)
    return {
        "answered": sender.answered,
        "fulfilled": sender.fulfilled,
        "rejected": dict(sender.rejected),
        "seconds": time.monotonic() - start,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(load(json.loads(sys.argv[1])))))
