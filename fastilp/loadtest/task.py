"""What the load generator's process is asked to do, as JSON: who sends, who receives, how long.

Imports nothing of ours. A `Load` is what a person chooses (a scenario file, the flags of `fastilp
loadtest run`); a `Task` is what comes of it once a target has been started and has told where its
accounts are reached.
"""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

WireTransport = Literal["batch", "btp", "http"]
# `embedded`: the switch in a Python program, without sockets.
Transport = Literal[WireTransport, "embedded"]
Durability = Literal["commit", "process"]

# A request in flight takes a slot of the engine.
SLOT_BITS = 17
IN_FLIGHT_MAX = 1 << SLOT_BITS

_Positive = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, le=1)]


# What a load of payments can choose; the packets are the nodes' own.
_OF_PAYMENTS = frozenset({"transport", "window", "durability", "payment", "packet_max"})


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Flood(_Model):
    """Other links that press on the connector while a single one is measured."""

    links: _Positive
    window: Annotated[int, Field(ge=1, le=IN_FLIGHT_MAX // 2)]
    """Prepares in flight, of all these links together."""


class Load(_Model):
    """One way of loading a connector."""

    transport: Transport = "batch"
    window: Annotated[int, Field(ge=1, le=IN_FLIGHT_MAX // 2)] | None = None
    rate: Annotated[float, Field(gt=0)] | None = None
    connections: _Positive | None = None
    """HTTP: sockets of the sender; without it one for each Prepare in flight, at most 1,024."""
    depth: _Positive = 1
    """HTTP: requests pipelined on one socket."""
    batch: _Positive = 256
    """Embedded: Prepares that are handed in at once."""
    accounts: Annotated[int, Field(ge=2)] = 2
    """One half sends, the other half receives."""
    routes: Annotated[int, Field(ge=0)] = 0
    """Static routes, spread over the receivers; 0: the receivers' own addresses."""
    durability: Durability = "commit"
    payload: Annotated[int, Field(ge=0, le=32_000)] = 100
    """Bytes of data in a Prepare."""
    answer_payload: Annotated[int, Field(ge=0, le=32_000)] = 64
    amount: Annotated[int, Field(ge=1, le=(1 << 64) - 1)] = 1000
    """Of each Prepare, in the sender's smallest unit."""
    rate_of_exchange: str | None = None
    """The receivers' asset is another one, and this is what one unit of it is worth: "1.25"."""
    reject_share: _Share = 0.0
    stall_ms: Annotated[int, Field(ge=0)] = 0
    """Receivers do nothing for so long …"""
    stall_period_ms: Annotated[int, Field(ge=0)] = 0
    """… in each such period."""
    expires_in_ms: Annotated[int, Field(ge=500, le=30_000)] = 20_000
    flood: Flood | None = None
    payment: Annotated[int, Field(ge=1, le=(1 << 63) - 1)] | None = None
    """Instead of Prepares: payments of so many units, from an account of one node to one of
    another; `window` of them at a time."""
    packet_max: _Positive | None = None
    """Units that a packet of a payment may have; without it a payment is one packet."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Load":
        """The complaints name keys in backquotes, for `complaints` to change into flags."""
        if (self.window is None) == (self.rate is None):
            raise ValueError("give `window` (closed loop) or `rate` (open loop), not both")
        if self.payload and self.payload < 8:
            raise ValueError("`payload` must be 0, or at least 8 bytes, which number the packets")
        if self.flood and self.transport not in ("batch", "btp"):
            raise ValueError("`flood` needs links that are connections: `transport` batch or btp")
        if self.transport == "embedded" and (
            self.rate or self.reject_share or self.stall_ms or self.rate_of_exchange
        ):
            raise ValueError(
                "`transport` embedded is a closed loop of one asset that fulfils everything: it"
                " goes without `rate`, `reject_share`, `rate_of_exchange` and `stall_ms`"
            )
        if self.transport != "http" and (self.connections or self.depth > 1):
            raise ValueError("`connections` and `depth` are for `transport` http")
        if self.flood and self.flood.links >= self.senders:
            raise ValueError("`flood` must leave one sender, and half of the `accounts` send")
        if self.stall_ms and self.stall_ms >= self.stall_period_ms:
            raise ValueError("`stall_ms` must be less than `stall_period_ms`")
        if self.packet_max is not None and self.payment is None:
            raise ValueError("`packet_max` means nothing without `payment`")
        if self.payment is not None and self.model_fields_set - _OF_PAYMENTS:
            strange = sorted(f"`{name}`" for name in self.model_fields_set - _OF_PAYMENTS)
            raise ValueError(f"{', '.join(strange)}: not for loads of a `payment`")
        if self.payment is not None and self.transport == "embedded":
            raise ValueError("`payment` needs two nodes: `transport` batch, btp or http")
        if self.rate_of_exchange is not None and not _is_rate(self.rate_of_exchange):
            raise ValueError("`rate_of_exchange` must be a decimal number above 0, such as 1.25")
        return self

    @property
    def senders(self) -> int:
        return self.accounts // 2

    @property
    def receivers(self) -> int:
        return self.accounts - self.senders

    @property
    def sockets(self) -> int:
        """Of the sender, over HTTP."""
        if self.connections is not None:
            return self.connections
        return max(1, min(self.window or 64, 1024) // self.depth)


def _is_rate(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text)) and float(text) > 0


class Peer(_Model):
    """Where an account of the target is reached. `pair`: nowhere, the two ends are ours."""

    kind: Literal[WireTransport, "pair"]
    host: str = "127.0.0.1"
    port: int = 0
    unix: str = ""
    path: str = "/"
    username: str = ""
    token: str = ""


class Destination(_Model):
    """Addresses that differ in a number: prefix, `digits` digits below `count`, suffix."""

    prefix: str
    digits: int = 0
    count: int = 1
    suffix: str = ""

    @property
    def first(self) -> str:
        return self.numbered(0)

    def numbered(self, number: int) -> str:
        shown = f"{number:0{self.digits}}" if self.digits else ""
        return f"{self.prefix}{shown}{self.suffix}"


class Flow(_Model):
    name: str
    senders: tuple[Peer, ...]
    destination: Destination
    window: int = 0
    rate: float = 0.0
    sockets: int = 1
    depth: int = 1
    amount: int
    payload: int


class Task(_Model):
    """Everything that the worker process needs."""

    transport: WireTransport
    flows: tuple[Flow, ...]
    receivers: tuple[Peer, ...] = ()
    listen_port: int | None = None
    """Where the target's next hop listens, where that is us."""
    pids: tuple[int, ...] = ()
    """Processes whose CPU time is measured, with their children."""
    core: int | None = None
    warm_up_seconds: float = 2.0
    seconds: float = 10.0
    drain_seconds: float = 5.0
    answer_payload: int = 64
    reject_share: float = 0.0
    stall_ms: int = 0
    stall_period_ms: int = 0
    expires_in_ms: int = 20_000
