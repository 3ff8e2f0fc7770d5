"""The control records of a node: accounts, tombstones of closed ones, tables that the API set,
answers to idempotent calls, the sealed key of token hashes. Those of payments are in `payments`.

Imports `records`. Names and meanings of an account's fields are those of docs/configuration.md.
"""

import dataclasses

from fastilp.storage.records import Fields, Kind

U64_MAX = 2**64 - 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AccountRecord:
    """An account's settings. Incoming tokens are keyed hashes, outgoing ones are sealed; control
    does both."""

    account_id: bytes
    username: str
    ilp_address: str
    asset_code: str
    asset_scale: int
    origin: str = "api"
    """Who set it last: "api", or "config", the settings' file."""
    routing_relation: str = "NonRoutingAccount"
    round_trip_time: int = 500
    max_packet_amount: int = U64_MAX
    min_balance: int | None = None
    max_balance: int | None = None
    max_in_flight_amount: int | None = None
    in_flight_in_max: int = 16_384
    in_flight_out_max: int = 16_384
    packets_per_minute_limit: int | None = None
    amount_per_minute_limit: int | None = None
    amount_per_minute_limit_out: int | None = None
    max_packet_amount_out: int | None = None
    allowed_destinations: str | None = None
    """Prefixes, as a JSON array."""
    circuit_breaker: bool = False
    receive_routes: bool | None = None
    send_routes: bool | None = None
    send_all_routes: bool = False
    route_priority: int = 0
    route_weight: int = 1
    routes_max: int = 200_000
    import_allow: str | None = None
    import_deny: str | None = None
    """Prefixes, as JSON arrays."""
    spread: str | None = None
    ilp_over_http_url: str | None = None
    ilp_over_http_incoming_token: bytes | None = None
    ilp_over_http_outgoing_token: bytes | None = None
    ilp_over_batch_url: str | None = None
    ilp_over_batch_incoming_token: bytes | None = None
    ilp_over_batch_outgoing_token: bytes | None = None
    ilp_over_btp_url: str | None = None
    ilp_over_btp_incoming_token: bytes | None = None
    ilp_over_btp_outgoing_token: bytes | None = None
    settle_threshold: int | None = None
    settle_to: int | None = None
    settlement_engine_url: str | None = None
    endpoint: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """An account that was closed over the API. Its counters stay in the ledger under its id, so
    that sums include them and a late credit has a place."""

    account_id: bytes
    username: str
    asset_code: str
    asset_scale: int
    written_off: int
    """Its balance when it was closed, positive = we owed the holder; now in `written_off`."""
    closed_at_ms: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TableRecord:
    """A table that was set over the API as a whole: "rates", "static_routes" or
    "settlement_engines". While there is a record, the settings' file has no say. Or a text of the
    node itself: "address", which a parent gave, and "last_address"."""

    name: str
    entries: str
    """A JSON object of texts, or the text."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRecord:
    """What was answered to a call with an `Idempotency-Key`, for the next call with the same."""

    key_hash: str
    input_hash: bytes
    status: int
    content_type: str
    body: bytes
    expires_at_ms: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SealedKeyRecord:
    """The key under which tokens are hashed, sealed by one that follows from the secret seed."""

    name: str
    sealed: bytes


def _without_batch(fields: Fields) -> Fields:
    """Version 1 knew no batch protocol."""
    names = ("url", "incoming_token", "outgoing_token")
    return fields | {f"ilp_over_batch_{name}": None for name in names}


def _of_config(fields: Fields) -> Fields:
    """Up to version 2 every account came from the settings' file."""
    return fields | {"origin": "config"}


ACCOUNTS: Kind[AccountRecord] = Kind(
    "account",
    AccountRecord,
    lambda record: record.username,
    upgrades=(_without_batch, _of_config),
)
TOMBSTONES: Kind[Tombstone] = Kind("tombstone", Tombstone, lambda record: record.account_id.hex())
TABLES: Kind[TableRecord] = Kind("table", TableRecord, lambda record: record.name)
IDEMPOTENCY: Kind[IdempotencyRecord] = Kind(
    "idempotency", IdempotencyRecord, lambda record: record.key_hash
)
SEALED_KEYS: Kind[SealedKeyRecord] = Kind("sealed_key", SealedKeyRecord, lambda record: record.name)
