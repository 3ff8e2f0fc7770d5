"""What the engine needs of a Lightning node: a few calls that every kind of node has. Imports
errors.

Payments and invoices are named by their payment hash, in hex. Whatever a node answers that is not
what was asked for is a NotNowError: the node is the operator's, and may be starting, locked, or
another one after the next call.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from enum import Enum
from hashlib import sha256
from typing import Any, NamedTuple

from fastilp.engines.errors import NotNowError

_SHOWN_LENGTH = 200


class Invoice(NamedTuple):
    """What an invoice (BOLT 11) says. Its signature is right, and it is of the node's network."""

    payment_hash: str
    msat: int
    expires_s: int
    """Seconds of the Unix clock."""


class State(Enum):
    UNKNOWN = "unknown"
    """The node has never heard of it."""
    PENDING = "pending"
    """It may still succeed: money may be on its way."""
    FAILED = "failed"
    """Nothing is on its way any more, and nothing will be, unless it is tried again."""
    PAID = "paid"


class Payment(NamedTuple):
    state: State
    fee_msat: int = 0
    """On top of the amount, to nodes on the way."""
    preimage: str = ""
    """The proof that it was paid: only the payee can have told it."""
    reason: str = ""

    def proves(self, payment_hash: str) -> bool:
        try:
            return sha256(bytes.fromhex(self.preimage)).hexdigest() == payment_hash
        except ValueError:
            return False


class LightningNode(ABC):
    """`open` before, `close` after; in between any number of calls at a time."""

    @property
    @abstractmethod
    def trouble(self) -> str:
        """The last failure to reach the node, empty while it answers."""

    @abstractmethod
    def open(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def describe(self) -> str:
        """Its public key and network, for an operator."""

    @abstractmethod
    async def create_invoice(self, msat: int, memo: str, expiry_s: int) -> str:
        """For `msat`, whole satoshis: the invoice as a payer needs it."""

    @abstractmethod
    async def decode(self, invoice: str) -> Invoice:
        """Raises EngineError if it is none, or of another network."""

    @abstractmethod
    async def pay(self, invoice: str, fee_msat_max: int) -> None:
        """Try it, for as long as the node likes to. What came of it, `payment` tells: an exception
        says nothing about that. A node pays a hash once, however often it is asked to."""

    @abstractmethod
    async def payment(self, payment_hash: str) -> Payment:
        """What became of a payment of ours. Unless it is certain that nothing is on its way, it is
        PENDING."""

    @abstractmethod
    async def received(self, payment_hashes: Iterable[str]) -> dict[str, int]:
        """Of these invoices of ours those that were paid, for good, and how many msat came."""


def integer(value: Any) -> int:
    """A number in JSON, or in a text, as nodes have it. Raises NotNowError."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise NotNowError(f"the Lightning node answers {value!r} for a number")
    try:
        return int(value)
    except ValueError:
        raise NotNowError(f"the Lightning node answers {shown(value)!r} for a number") from None


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise NotNowError(f"the Lightning node answers {shown(value)} for a text")
    return value


def shown(value: Any) -> str:
    return str(value)[:_SHOWN_LENGTH]
