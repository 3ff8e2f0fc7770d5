"""Small types that several layers share. Imports nothing of fastilp."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version

try:
    VERSION = _version("fastilp")
except PackageNotFoundError:
    # Run from a checkout that was built in place and never installed.
    VERSION = "0+checkout"


class Relation(StrEnum):
    """What the holder of an account is to us (RFC 34); the words of Interledger.rs."""

    PARENT = "Parent"
    PEER = "Peer"
    CHILD = "Child"
    NON_ROUTING_ACCOUNT = "NonRoutingAccount"

    @classmethod
    def parse(cls, text: str) -> "Relation":
        """By name, whatever the case. Raises ValueError that names the four."""
        for relation in cls:
            if relation.value.lower() == text.strip().lower():
                return relation
        raise ValueError(f"must be one of {', '.join(cls)}")


class EndpointKind(StrEnum):
    """What answers the packets of an account inside this process, instead of a peer."""

    LOOPBACK = "loopback"


@dataclass(frozen=True, slots=True)
class AccountDetails:
    """An account as control knows it: names and meaning of docs/configuration.md.

    Incoming tokens are keyed hashes, outgoing ones plain text. Never log one of these.
    """

    username: str
    ilp_address: str
    asset_code: str
    asset_scale: int
    routing_relation: Relation = Relation.NON_ROUTING_ACCOUNT
    round_trip_time: int = 500
    max_packet_amount: int = 2**64 - 1
    max_packet_amount_out: int | None = None
    min_balance: int | None = None
    max_balance: int | None = None
    max_in_flight_amount: int | None = None
    in_flight_in_max: int = 16_384
    in_flight_out_max: int = 16_384
    packets_per_minute_limit: int | None = None
    amount_per_minute_limit: int | None = None
    amount_per_minute_limit_out: int | None = None
    allowed_destinations: tuple[str, ...] | None = None
    circuit_breaker: bool = False
    receive_routes: bool | None = None
    send_routes: bool | None = None
    send_all_routes: bool = False
    route_priority: int = 0
    route_weight: int = 1
    routes_max: int = 200_000
    import_allow: tuple[str, ...] | None = None
    import_deny: tuple[str, ...] | None = None
    spread: Decimal | None = None
    ilp_over_http_url: str | None = None
    ilp_over_http_incoming_token: bytes | None = None
    ilp_over_http_outgoing_token: str | None = None
    ilp_over_batch_url: str | None = None
    ilp_over_batch_incoming_token: bytes | None = None
    ilp_over_batch_outgoing_token: str | None = None
    ilp_over_btp_url: str | None = None
    ilp_over_btp_incoming_token: bytes | None = None
    ilp_over_btp_outgoing_token: str | None = None
    settle_threshold: int | None = None
    settle_to: int | None = None
    settlement_engine_url: str | None = None
    endpoint: EndpointKind | None = None
