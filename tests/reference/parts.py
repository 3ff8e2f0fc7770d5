"""The small parts of the reference model: accounts, token buckets, links, in-flight entries, rows.

Imports the standard library, fastilp.errors and its neighbours here. Nothing in it decides about a
packet; that is pipeline.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastilp.errors import UsageError
from tests.reference.packets import PREPARE, Packet, Prepare

if TYPE_CHECKING:
    from tests.reference.model import ModelSwitch

PACKET_SIZE_MAX = 65_535
MINUTE_MS = 60_000
# A message waits with its id and its size in front.
MESSAGE_HEAD_SIZE = 8

DEFAULTS: dict[str, Any] = {
    "min_balance": None,
    "max_balance": None,
    "max_packet_amount": 2**64 - 1,
    "packets_per_minute_limit": None,
    "amount_per_minute_limit": None,
    "round_trip_time": 500,
    "settle_threshold": None,
    "settle_to": None,
    "max_in_flight_amount": None,
    "in_flight_in_max": 16_384,
    "in_flight_out_max": 16_384,
    "max_packet_amount_out": None,
    "amount_per_minute_limit_out": None,
    "allowed_destinations": None,
    "spread": None,
}


class Bucket:
    """`limit` tokens a minute; the level counts sixty-thousandths of a token, so it is exact."""

    def __init__(self) -> None:
        self.limit: int | None = None
        self.level = 0
        self.filled_at_ms = 0

    def refill(self, now_ms: int) -> None:
        if self.limit is None:
            return
        grown = self.level + self.limit * max(0, now_ms - self.filled_at_ms)
        self.level = min(grown, self.limit * MINUTE_MS)
        self.filled_at_ms = max(self.filled_at_ms, now_ms)

    def set_limit(self, limit: int | None, now_ms: int) -> None:
        self.refill(now_ms)
        if self.limit is None and limit is not None:
            self.level = limit * MINUTE_MS
            self.filled_at_ms = now_ms
        self.limit = limit
        self.refill(now_ms)

    def take(self, tokens: int, now_ms: int) -> bool:
        if self.limit is None:
            return True
        self.refill(now_ms)
        if self.level < tokens * MINUTE_MS:
            return False
        self.level -= tokens * MINUTE_MS
        return True

    def give_back(self, tokens: int, now_ms: int) -> None:
        if self.limit is not None:
            self.level += tokens * MINUTE_MS
            self.refill(now_ms)


@dataclass(eq=False)
class ModelAccount:
    """Handle of an account, and what the switch keeps of it beside the money."""

    index: int
    id: bytes
    name: str
    asset_code: str
    asset_scale: int
    settings: dict[str, Any] = field(default_factory=lambda: dict(DEFAULTS))
    closing: bool = False
    egress: "ModelLink | None" = None
    packets: Bucket = field(default_factory=Bucket)
    amounts: Bucket = field(default_factory=Bucket)
    amounts_out: Bucket = field(default_factory=Bucket)
    punted: bool = False
    in_flight_in: int = 0
    in_flight_out: int = 0
    punts: int = 0

    @property
    def asset(self) -> tuple[str, int]:
        return self.asset_code, self.asset_scale


class ModelLink:
    """A message link: whole packets in and out."""

    def __init__(
        self, switch: "ModelSwitch", account: ModelAccount | None, name: str, local: bool
    ) -> None:
        self.switch = switch
        self.account = account
        self.name = name
        self.kind = "message"
        self.local = local
        self.closed = False
        self._up = True
        self.in_flight = 0
        self.egress: list[tuple[int, bytes]] = []
        # Fulfills lie in the egress, or did and nobody has noted that they were taken.
        self.relaying = False
        self.owner: Any = None

    @property
    def up(self) -> bool:
        return self._up and not self.closed

    @up.setter
    def up(self, value: bool) -> None:
        self._up = value

    def receive(
        self, packets: Iterable[tuple[int, bytes]], egress: ModelAccount | None = None
    ) -> None:
        if self.closed:
            raise UsageError("link is closed")
        for request_id, packet in packets:
            if len(packet) > PACKET_SIZE_MAX:
                raise UsageError("packet over 65,535 bytes")
            self.switch.inbox.append(Row(self, request_id, bytes(packet), egress))

    def take(self) -> list[tuple[int, bytes]]:
        waiting, self.egress = self.egress, []
        return waiting

    @property
    def egress_size(self) -> int:
        return sum(MESSAGE_HEAD_SIZE + len(packet) for _, packet in self.egress)

    def close(self) -> None:
        self.closed = True
        self.switch.dropped += sum(packet[0] != PREPARE for _, packet in self.egress)
        self.egress = []


@dataclass(eq=False)
class Row:
    """One packet of a batch on its way through the stages."""

    link: ModelLink
    request_id: int
    raw: bytes
    egress: ModelAccount | None
    packet: Packet | None = None
    outcome: str = ""
    maximum: int = 0
    # An answer's match.
    entry: "Entry | None" = None
    # A Prepare's way. `sender` is None for control's own packets.
    prepare: Prepare | None = None
    sender: ModelAccount | None = None
    upstream: ModelLink | None = None
    upstream_id: int = 0
    tokens: int = 0
    tokens_out: int = 0
    punt: bool = False
    # A punt because its account or prefix is marked; whoever answers may send it on.
    marked: bool = False
    reinjected: bool = False
    next_hop: ModelAccount | None = None
    amount_out: int = 0
    expires_out_ms: int = 0


@dataclass(eq=False)
class Entry:
    """A Prepare that was sent on and waits for its answer."""

    request_id: int
    link: ModelLink
    upstream: ModelLink
    upstream_id: int
    sender: ModelAccount | None
    next_hop: ModelAccount | None
    amount_in: int
    amount_out: int
    prepaid: int
    tokens: int
    condition: bytes
    expires_in_ms: int
    expires_out_ms: int
    punt: bool
    order: int
    tokens_out: int
    marked: bool


@dataclass(eq=False)
class Waiting:
    """A Fulfill that must not leave before its commit."""

    ticket: int
    entry: Entry
    packet: bytes
