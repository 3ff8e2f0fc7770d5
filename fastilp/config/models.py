"""The models behind `config.load`: one frozen pydantic class per section.

Imports the kinds of values of `control`, types and the address grammar of `_core.packet`.
"""

from collections import Counter
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fastilp._core.packet import is_valid_address
from fastilp.control.values import (
    I64,
    U8,
    U32,
    U64,
    U64_MAX,
    AccountRelation,
    AllowedDestinations,
    AssetCode,
    AssetPair,
    BatchUrl,
    BtpUrl,
    ConnectionCount,
    HostPort,
    HostPortOrUnix,
    HttpUrl,
    IlpAddress,
    Milliseconds,
    Milliseconds30,
    OwnAddress,
    PacketCount,
    Prefix,
    Rate,
    RateProvider,
    RoutePriority,
    RoutesMax,
    RouteWeight,
    Seed,
    ServiceName,
    Share,
    Spread,
    Token,
    Username,
    whole_number,
)
from fastilp.types import EndpointKind, Relation


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeConfig(_Section):
    """Who the node is, and how it keeps its books."""

    ilp_address: OwnAddress = "local.host"
    secret_seed: Seed | None = None
    admin_auth_token: Token | None = None
    data_dir: Annotated[str, Field(min_length=1)] = "data"
    durability: Literal["commit", "process"] = "commit"
    in_flight_max: PacketCount = 65_536
    http_connections_out_max: ConnectionCount = 32
    hold_max_ms: Annotated[int, whole_number(1, 30_000)] = 30_000
    window_min_ms: Annotated[int, whole_number(0, 30_000)] = 100
    drain_max_ms: Milliseconds = 30_000


class ListenConfig(_Section):
    """Where it listens; `settlement` and `batch` are off unless set, and the admin API is at `http`
    unless it has an address of its own."""

    http: HostPort = "127.0.0.1:7770"
    http_tls_certificate: Annotated[str, Field(min_length=1)] | None = None
    http_tls_key: Annotated[str, Field(min_length=1)] | None = None
    http_connections_max: ConnectionCount = 4_096
    admin: HostPort | None = None
    admin_tls_certificate: Annotated[str, Field(min_length=1)] | None = None
    admin_tls_key: Annotated[str, Field(min_length=1)] | None = None
    settlement: HostPort | None = None
    batch: HostPortOrUnix | None = None
    batch_tls_certificate: Annotated[str, Field(min_length=1)] | None = None
    batch_tls_key: Annotated[str, Field(min_length=1)] | None = None
    open_btp: HostPort | None = None
    batch_connections_max: ConnectionCount = 1_024


class ExchangeRateConfig(_Section):
    """Where rates come from, and what conversions between different assets cost."""

    provider: RateProvider | None = None
    url: HttpUrl | None = None
    file: Annotated[str, Field(min_length=1)] | None = None
    poll_interval: Annotated[int, whole_number(100, 86_400_000)] = 60_000
    poll_failure_tolerance: Annotated[int, whole_number(0, 1_000_000)] = 5
    timeout_ms: Annotated[int, whole_number(1, 600_000)] = 10_000
    spread: Spread = Decimal(0)
    spreads: dict[AssetPair, Spread] = {}


class LoggingConfig(_Section):
    """Structured logs, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"

    @field_validator("level", "format", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


class CircuitBreakerConfig(_Section):
    """When accounts with `circuit_breaker` get no packets for a while."""

    window: Annotated[int, whole_number(1, 1_000_000)] = 50
    ratio: Share = Decimal("0.2")
    open_ms: Milliseconds = 30_000


class RoutingConfig(_Section):
    """How the node tells its neighbours of routes, and chooses between theirs."""

    route_broadcast_interval: Annotated[int, whole_number(100, 3_600_000)] = 30_000
    multipath: bool = False


class OpenBtpConfig(_Section):
    """What becomes of those who come to `listen.open_btp`, whatever their secret is."""

    template: Username | None = None
    accounts_max: Annotated[int, whole_number(1, 1_000_000)] = 1_000


class PaymentsConfig(_Section):
    """Payments that the node sends, and whom it receives them for."""

    default_spsp_account: Username | None = None
    ca_file: Annotated[str, Field(min_length=1)] | None = None
    kept_days: Annotated[int, whole_number(1, 36_500)] = 400


class SettlementConfig(_Section):
    """Settlement engines: which pays in which asset, and what they and the node show each other."""

    engines: dict[AssetCode, HttpUrl] = {}
    incoming_token: Token | None = None
    outgoing_tokens: dict[HttpUrl, Token] = {}
    settle_every: Annotated[int, whole_number(1, 31_536_000)] | None = None
    kept_days: Annotated[int, whole_number(1, 36_500)] = 400


class PrometheusConfig(_Section):
    """Metrics without a token at an address of their own, and counters by kind of account."""

    bind_address: HostPort | None = None
    by_kind: bool = False


class _SinkConfig(_Section):
    url: HttpUrl | None = None
    token: Token | None = None


class PacketRecordsConfig(_SinkConfig):
    """A record of each fulfilled packet, to a webhook or a file of JSON lines."""

    file: Annotated[str, Field(min_length=1)] | None = None
    queue_max: Annotated[int, whole_number(1, 1_000_000)] = 10_000


class AlertsConfig(_SinkConfig):
    """Where alerts go beside the list."""


class TracingConfig(_Section):
    """OpenTelemetry for the control plane."""

    otlp_url: HttpUrl | None = None


class ServiceConfig(_Section):
    """A rule in Python, and what it decides about."""

    service: ServiceName
    accounts: tuple[Username, ...] = ()
    prefixes: tuple[Prefix, ...] = ()
    options: dict[str, Any] = {}


class AccountConfig(_Section):
    """An account: the fields of the admin API of Interledger.rs, and some of our own."""

    username: Username
    ilp_address: IlpAddress = Field(default="", validate_default=False)
    asset_code: AssetCode
    asset_scale: U8
    routing_relation: AccountRelation = Relation.NON_ROUTING_ACCOUNT
    round_trip_time: Milliseconds30 = 500
    max_packet_amount: U64 = U64_MAX
    max_packet_amount_out: U64 | None = None
    spread: Spread | None = None
    min_balance: I64 | None = None
    max_balance: I64 | None = None
    max_in_flight_amount: U64 | None = None
    in_flight_in_max: PacketCount = 16_384
    in_flight_out_max: PacketCount = 16_384
    packets_per_minute_limit: U32 | None = None
    amount_per_minute_limit: U64 | None = None
    amount_per_minute_limit_out: U64 | None = None
    allowed_destinations: AllowedDestinations | None = None
    circuit_breaker: bool = False
    receive_routes: bool | None = None
    send_routes: bool | None = None
    send_all_routes: bool = False
    route_priority: RoutePriority = 0
    route_weight: RouteWeight = 1
    routes_max: RoutesMax = 200_000
    import_allow: AllowedDestinations | None = None
    import_deny: AllowedDestinations | None = None
    ilp_over_http_url: HttpUrl | None = None
    ilp_over_http_incoming_token: Token | None = None
    ilp_over_http_outgoing_token: Token | None = None
    ilp_over_batch_url: BatchUrl | None = None
    ilp_over_batch_incoming_token: Token | None = None
    ilp_over_batch_outgoing_token: Token | None = None
    ilp_over_btp_url: BtpUrl | None = None
    ilp_over_btp_incoming_token: Token | None = None
    ilp_over_btp_outgoing_token: Token | None = None
    settle_threshold: I64 | None = None
    settle_to: I64 | None = None
    settlement_engine_url: HttpUrl | None = None
    endpoint: EndpointKind | None = None


class Settings(BaseSettings):
    """All of it. Made by `config.load`, which has read the sources; this class only judges."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="FASTILP_")

    node: NodeConfig = NodeConfig()
    listen: ListenConfig = ListenConfig()
    exchange_rate: ExchangeRateConfig = ExchangeRateConfig()
    logging: LoggingConfig = LoggingConfig()
    circuit_breaker: CircuitBreakerConfig = CircuitBreakerConfig()
    routing: RoutingConfig = RoutingConfig()
    open_btp: OpenBtpConfig = OpenBtpConfig()
    payments: PaymentsConfig = PaymentsConfig()
    settlement: SettlementConfig = SettlementConfig()
    prometheus: PrometheusConfig = PrometheusConfig()
    packet_records: PacketRecordsConfig = PacketRecordsConfig()
    alerts: AlertsConfig = AlertsConfig()
    tracing: TracingConfig = TracingConfig()
    services: tuple[ServiceConfig, ...] = ()
    accounts: tuple[AccountConfig, ...] = ()
    routes: dict[Prefix, Username] = {}
    rates: dict[AssetCode, Rate] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @field_validator("accounts", mode="after")
    @classmethod
    def _default_addresses(
        cls, accounts: tuple[AccountConfig, ...], info: ValidationInfo
    ) -> tuple[AccountConfig, ...]:
        node = info.data.get("node", NodeConfig())
        return tuple(
            account
            if account.ilp_address
            else account.model_copy(
                update={"ilp_address": f"{node.ilp_address}.{account.username}"}
            )
            for account in accounts
        )


def contradictions(settings: Settings) -> list[tuple[str, str]]:
    """What is wrong between settings that are each right: (dotted key, what would be right)."""
    problems = _listen_contradictions(settings.listen)
    problems += _rate_contradictions(settings.exchange_rate)
    if settings.packet_records.file is not None and settings.packet_records.url is not None:
        problems.append(("packet_records.file", "leave url or file out: records go to one of them"))
    # Counted once: a node may have tens of thousands of accounts.
    names = Counter(account.username for account in settings.accounts)
    addresses = Counter(account.ilp_address for account in settings.accounts)
    for account in settings.accounts:
        repeated = names[account.username] > 1, addresses[account.ilp_address] > 1
        problems += [
            (f"accounts.{account.username}.{key}", text)
            for key, text in _account_contradictions(account, settings, *repeated)
        ]
    problems += _open_btp_contradictions(settings, set(names))
    parents = [a.username for a in settings.accounts if a.routing_relation is Relation.PARENT]
    if len(parents) > 1:
        text = f"only one account may be the Parent (RFC 34), here are {', '.join(parents)}"
        problems.append((f"accounts.{parents[1]}.routing_relation", text))
    for prefix, username in settings.routes.items():
        if username not in names:
            text = f"{username!r} is no account; there are: {', '.join(sorted(names)) or 'none'}"
            problems.append((f"routes.{prefix}", text))
    for number, service in enumerate(settings.services, 1):
        if not service.accounts and not service.prefixes:
            problems.append((f"services.{number}", "decides about nothing: accounts or prefixes?"))
    return problems


def _open_btp_contradictions(settings: Settings, names: set[str]) -> list[tuple[str, str]]:
    template = settings.open_btp.template
    if template is not None and template not in names:
        text = f"{template!r} is no account; there are: {', '.join(sorted(names)) or 'none'}"
        return [("open_btp.template", text)]
    if settings.listen.open_btp is not None and template is None:
        text = "is missing: which account's asset and limits do those who come get?"
        return [("open_btp.template", text)]
    return []


def _listen_contradictions(listen: ListenConfig) -> list[tuple[str, str]]:
    problems = []
    for name in ("http", "admin", "batch"):
        certificate = f"{name}_tls_certificate"
        if getattr(listen, certificate) is None:
            if getattr(listen, f"{name}_tls_key") is not None:
                text = f"has no effect without {certificate}"
                problems.append((f"listen.{name}_tls_key", text))
        elif (address := getattr(listen, name)) is None or address.startswith("unix:"):
            text = f"has no effect without {name} on a host and port"
            problems.append((f"listen.{certificate}", text))
    if listen.admin == listen.http and not listen.http.endswith(":0"):
        text = f"{listen.http} is the address of listen.http already; leave admin out, or change it"
        problems.append(("listen.admin", text))
    return problems


def _rate_contradictions(rate: ExchangeRateConfig) -> list[tuple[str, str]]:
    name = rate.provider.name if rate.provider is not None else None
    problems = []
    if name == "file" and rate.file is None:
        problems.append(("exchange_rate.file", 'is missing: provider is "file"'))
    if name == "Rafiki" and rate.url is None:
        problems.append(("exchange_rate.url", 'is missing: provider is "Rafiki"'))
    if rate.file is not None and name != "file":
        problems.append(("exchange_rate.file", 'has no effect without provider = "file"'))
    if rate.url is not None and name in (None, "file"):
        problems.append(("exchange_rate.url", "has no effect without a provider that is asked"))
    return problems


def _account_contradictions(
    account: AccountConfig, settings: Settings, name_repeats: bool, address_repeats: bool
) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []
    if name_repeats:
        numbers = [
            str(number)
            for number, each in enumerate(settings.accounts, 1)
            if each.username == account.username
        ]
        text = f"is given to more than one account: to the entries {' and '.join(numbers)}"
        problems.append(("username", text))
    elif address_repeats:
        problems.append(("ilp_address", f"{account.ilp_address} is given to more than one account"))
    if account.ilp_address == settings.node.ilp_address:
        problems.append(("ilp_address", f"{account.ilp_address} is the node's own; give another"))
    elif not is_valid_address(account.ilp_address):
        text = f"{account.ilp_address!r} would not be an ILP address; give the account one"
        problems.append(("ilp_address", text))
    low, high = account.min_balance, account.max_balance
    if low is not None and high is not None and low > high:
        problems.append(("min_balance", f"{low} must not be above max_balance, {high}"))
    threshold, target = account.settle_threshold, account.settle_to
    if threshold is not None and target is not None and target >= threshold:
        problems.append(("settle_to", f"{target} must be below settle_threshold, {threshold}"))
    if (threshold is None) != (target is None):
        key, other = ("settle_threshold", "settle_to")
        if threshold is None:
            key, other = other, key
        problems.append((key, f"has no effect without {other}; give both or neither"))
    urls = (account.ilp_over_http_url, account.ilp_over_batch_url, account.ilp_over_btp_url)
    if account.endpoint and any(urls):
        text = "packets of this account end in this process; leave the URL or the endpoint out"
        problems.append(("endpoint", text))
    return problems
