"""What requests carry and answers show, for checking and for the OpenAPI document. Imports the
kinds of values, and types.

Fields, order and defaults of Interledger.rs' account come first, our own after them.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from fastilp.control.values import (
    I64,
    I64_MAX,
    SECRET,
    U8,
    U32,
    U64,
    U64_MAX,
    AccountRelation,
    AllowedDestinations,
    AssetCode,
    BatchUrl,
    BtpUrl,
    HttpUrl,
    IlpAddress,
    Milliseconds30,
    PacketCount,
    RoutePriority,
    RoutesMax,
    RouteWeight,
    Spread,
    Token,
    Username,
    whole_number,
)
from fastilp.types import EndpointKind, Relation


def _number(low: int, high: int) -> WithJsonSchema:
    """Numbers may be strings."""
    number = {"type": "integer", "minimum": low, "maximum": high}
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": "^-?[0-9]+$"}]})


_DECIMAL = {"type": "string", "pattern": r"^0(\.[0-9]+)?$"}
_TEXT = WithJsonSchema({"type": "string"})
_U8 = Annotated[U8, _number(0, 255)]
_U32 = Annotated[U32, _number(0, 2**32 - 1)]
_U64 = Annotated[U64, _number(0, U64_MAX)]
_I64 = Annotated[I64, _number(-I64_MAX - 1, I64_MAX)]
_NotNegative = Annotated[int, whole_number(0, I64_MAX), _number(0, I64_MAX)]
_Count = Annotated[PacketCount, _number(1, 1_000_000)]
_Amount = Annotated[int, whole_number(1, U64_MAX), _number(1, U64_MAX)]
_RoundTrip = Annotated[Milliseconds30, _number(0, 30_000)]
_Relation = Annotated[
    AccountRelation, WithJsonSchema({"type": "string", "enum": [each.value for each in Relation]})
]
_Username = Annotated[
    Username, WithJsonSchema({"type": "string", "pattern": r"^\w{2,32}$", "examples": ["alice"]})
]
_AssetCode = Annotated[
    AssetCode, WithJsonSchema({"type": "string", "minLength": 1, "examples": ["ABC"]})
]
_Token = Annotated[Token, WithJsonSchema({"type": "string", "pattern": "^[!-~]+$"})]
_Endpoint = Annotated[
    EndpointKind, WithJsonSchema({"type": "string", "enum": [each.value for each in EndpointKind]})
]
_Prefixes = Annotated[
    AllowedDestinations,
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "maxItems": 256}),
]
_Flag = Annotated[bool, WithJsonSchema({"type": "boolean"})]
_Priority = Annotated[RoutePriority, _number(-1_000, 1_000)]
_Weight = Annotated[RouteWeight, _number(1, 1_000)]
_RoutesMax = Annotated[RoutesMax, _number(0, 10_000_000)]
_Spread = Annotated[
    Spread,
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "exclusiveMaximum": 1}, _DECIMAL]}),
]
_Http = Annotated[HttpUrl, _TEXT]
_Btp = Annotated[BtpUrl, _TEXT]
_Batch = Annotated[BatchUrl, _TEXT]


class AccountIn(BaseModel):
    """An account to create, or all that an account is to be; what is left out is unset."""

    model_config = ConfigDict(extra="ignore")

    username: _Username
    ilp_address: Annotated[IlpAddress, _TEXT] | None = None
    asset_code: _AssetCode
    asset_scale: _U8
    max_packet_amount: _U64 = U64_MAX
    min_balance: _I64 | None = None
    ilp_over_http_url: _Http | None = None
    ilp_over_http_incoming_token: _Token | None = None
    ilp_over_http_outgoing_token: _Token | None = None
    ilp_over_btp_url: _Btp | None = None
    ilp_over_btp_incoming_token: _Token | None = None
    ilp_over_btp_outgoing_token: _Token | None = None
    settle_threshold: _I64 | None = None
    settle_to: _I64 | None = None
    routing_relation: _Relation = Relation.NON_ROUTING_ACCOUNT
    round_trip_time: _RoundTrip = 500
    packets_per_minute_limit: _U32 | None = None
    amount_per_minute_limit: _U64 | None = None
    settlement_engine_url: _Http | None = None
    ilp_over_batch_url: _Batch | None = None
    ilp_over_batch_incoming_token: _Token | None = None
    ilp_over_batch_outgoing_token: _Token | None = None
    max_balance: _I64 | None = None
    max_in_flight_amount: _U64 | None = None
    in_flight_in_max: _Count = 16_384
    in_flight_out_max: _Count = 16_384
    max_packet_amount_out: _U64 | None = None
    amount_per_minute_limit_out: _U64 | None = None
    allowed_destinations: _Prefixes | None = None
    circuit_breaker: _Flag = False
    receive_routes: _Flag | None = None
    send_routes: _Flag | None = None
    send_all_routes: _Flag = False
    route_priority: _Priority = 0
    route_weight: _Weight = 1
    routes_max: _RoutesMax = 200_000
    import_allow: _Prefixes | None = None
    import_deny: _Prefixes | None = None
    spread: _Spread | None = None
    endpoint: _Endpoint | None = None


class SettingsIn(BaseModel):
    """What an account's holder may change; what is left out stays as it is."""

    model_config = ConfigDict(extra="ignore")

    ilp_over_http_url: _Http | None = None
    ilp_over_http_incoming_token: _Token | None = None
    ilp_over_http_outgoing_token: _Token | None = None
    ilp_over_btp_url: _Btp | None = None
    ilp_over_btp_incoming_token: _Token | None = None
    ilp_over_btp_outgoing_token: _Token | None = None
    settle_threshold: _I64 | None = None
    settle_to: _NotNegative | None = None
    ilp_over_batch_url: _Batch | None = None
    ilp_over_batch_incoming_token: _Token | None = None
    ilp_over_batch_outgoing_token: _Token | None = None


class PaymentIn(BaseModel):
    """A payment: of so much of the account's asset, or so that so much arrives."""

    model_config = ConfigDict(extra="ignore")

    receiver: Annotated[str, Field(min_length=1, max_length=2_048)]
    source_amount: _Amount | None = None
    delivery_amount: _Amount | None = None
    slippage: _Spread = Decimal("0.015")


# The account of Interledger.rs, in the order of its fields, then ours.
SHOWN_FIELDS = tuple(AccountIn.model_fields)


class ProblemOut(BaseModel):
    """RFC 7807."""

    type: str
    title: str
    status: int
    detail: str | None = None
    datetime: str | None = None
    invalid_params: Annotated[list[dict[str, str]] | None, Field(alias="invalid-params")] = None


class BalanceOut(BaseModel):
    asset_code: str
    balance: float


class HealthOut(BaseModel):
    """`reasons` says why not."""

    live: bool
    ready: bool
    reasons: list[str]


class ReceiptOut(BaseModel):
    """What was paid; amounts of the source in units of the account's asset."""

    delivered_amount: int
    destination_asset_code: str | None
    destination_asset_scale: int | None
    from_: Annotated[str, Field(alias="from")]
    in_flight_amount: int
    sent_amount: int
    source_amount: int
    source_asset_code: str
    source_asset_scale: int
    to: str


class PaymentOut(BaseModel):
    """A payment and how far it is; `in_flight_amount` and `uncertain_amount`: at most so much more
    was sent."""

    id: str
    username: str
    receiver: str
    state: str
    source_asset_code: str
    source_asset_scale: int
    source_amount: int | None
    delivery_amount: int | None
    slippage: float
    from_: Annotated[str, Field(alias="from")]
    to: str
    destination_asset_code: str | None
    destination_asset_scale: int | None
    sent_amount: int
    delivered_amount: int
    in_flight_amount: int
    uncertain_amount: int
    error: str | None
    created_at: str
    changed_at: str
    receipt: ReceiptOut | None


class SettlementOut(BaseModel):
    """What we pay through an engine. `pending`: not taken yet, `refused`: a human decides, `sent`:
    the engine has it, `paid` and `refunded`: what a human said."""

    id: str
    account_id: str
    username: str
    asset_code: str
    asset_scale: int
    amount: str
    reason: str
    state: str
    tries: int
    may_be_paid: bool
    error: str | None
    external_id: str | None
    engine_url: str
    created_at: str
    changed_at: str
    next_try_at: str | None


class SettleIn(BaseModel):
    """How much to settle, in units of the account; without it, down to `settle_to`."""

    model_config = ConfigDict(extra="ignore")

    amount: _U64 | None = None


class RetryIn(BaseModel):
    """Where the engine is now, if it has moved; `force` where it may have paid already."""

    model_config = ConfigDict(extra="ignore")

    engine_url: _Http | None = None
    force: _Flag = False


class ResolveIn(BaseModel):
    """What has become of a settlement; `force` refunds what the engine may have paid."""

    model_config = ConfigDict(extra="ignore")

    state: Literal["paid", "refunded"]
    external_id: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    force: _Flag = False


class SpspOut(BaseModel):
    """RFC 9: where to pay to, and the secret of the connection, in base64."""

    destination_account: str
    shared_secret: str
    receipts_enabled: bool | None = None


# What every account has: nothing stands for them where they are left out.
REQUIRED_FIELDS = ("username", "asset_code", "asset_scale")


def patch_schema() -> dict[str, Any]:
    """Of the fields of an account to change: none is needed, and null unsets."""
    schema = AccountIn.model_json_schema()
    del schema["required"]
    schema["description"] = "Fields of an account to change; null unsets one."
    schema["additionalProperties"] = False
    properties = schema["properties"]
    for name in properties.keys() - set(REQUIRED_FIELDS):
        properties[name].pop("default", None)
        kinds = properties[name].get("anyOf")
        if kinds is None:
            title = properties[name].pop("title", name)
            properties[name] = {"anyOf": [properties[name], {"type": "null"}], "title": title}
        elif {"type": "null"} not in kinds:
            kinds.append({"type": "null"})
    return schema


def account_schema() -> dict[str, Any]:
    """Of an account as it is shown: like what was sent, with an id, tokens as the text SECRET."""
    properties: dict[str, Any] = {"id": {"type": "string", "format": "uuid"}}
    for name in SHOWN_FIELDS:
        if name.endswith("_token"):
            properties[name] = {"const": SECRET}
        elif name in ("allowed_destinations", "import_allow", "import_deny"):
            properties[name] = {"type": ["array", "null"], "items": {"type": "string"}}
        elif name in ("circuit_breaker", "send_all_routes"):
            properties[name] = {"type": "boolean"}
        elif name in ("receive_routes", "send_routes"):
            properties[name] = {"type": ["boolean", "null"]}
        elif name in _SHOWN_NUMBERS:
            properties[name] = {"type": ["integer", "null"]}
        else:
            properties[name] = {"type": ["string", "null"]}
    return {"type": "object", "properties": properties, "required": list(properties)}


_SHOWN_NUMBERS = (
    "asset_scale",
    "max_packet_amount",
    "min_balance",
    "settle_threshold",
    "settle_to",
    "round_trip_time",
    "packets_per_minute_limit",
    "amount_per_minute_limit",
    "max_balance",
    "max_in_flight_amount",
    "in_flight_in_max",
    "in_flight_out_max",
    "max_packet_amount_out",
    "amount_per_minute_limit_out",
    "route_priority",
    "route_weight",
    "routes_max",
)
