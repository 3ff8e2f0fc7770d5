"""The models behind `config.load`: one frozen pydantic class per section, a type per kind of
value.

Imports types and the address grammar of `_core.packet`. Every message says what would be right,
because `config` shows it to a person who looks at a file. Numbers may be strings, as in
Interledger.rs.
"""

import re
import unicodedata
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fastilp._core.packet import is_valid_address, is_valid_prefix
from fastilp.types import EndpointKind, Relation

U64_MAX = 2**64 - 1
I64_MAX = 2**63 - 1
U32_MAX = 2**32 - 1


def _whole_number(low: int, high: int) -> BeforeValidator:
    def check(value: object) -> int:
        right = f"must be a whole number from {low} to {high}"
        if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
            raise ValueError(right)
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise ValueError(right) from None
        if not number.is_finite() or not low <= number <= high or number != int(number):
            raise ValueError(right)
        return int(number)

    return BeforeValidator(check)


def _decimal(value: object) -> Decimal:
    # A float has lost what was written; TOML numbers arrive as int or Decimal.
    if not isinstance(value, bool) and isinstance(value, int | str | Decimal):
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        if number.is_finite():
            return number
    raise ValueError('must be a decimal number, best as a string: "1.25"')


def _rate(value: object) -> Decimal:
    number = _decimal(value)
    if number <= 0:
        raise ValueError("a rate must be greater than zero; leave the asset out if it has none")
    return number


def _spread(value: object) -> Decimal:
    number = _decimal(value)
    if not 0 <= number < 1:
        raise ValueError('must be at least 0 and less than 1: "0.002" takes 0.2 %')
    return number


def _share(value: object) -> Decimal:
    number = _decimal(value)
    if not 0 < number <= 1:
        raise ValueError('must be more than 0 and at most 1: "0.2" is one in five')
    return number


def _service_name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[^:]+:[A-Za-z_]\w*", value):
        raise ValueError('must be file and class, "rule.py:Rule", or module and class, "rule:Rule"')
    return value


def _ilp_address(value: object) -> str:
    if not isinstance(value, str) or not is_valid_address(value):
        raise ValueError(
            "is not an ILP address: a scheme (g, private, example, peer, self, test, test1, test2,"
            " test3, local), then segments of letters, digits, _ ~ -, all joined by dots"
        )
    return value


def _prefix(value: object) -> str:
    if not isinstance(value, str) or not is_valid_prefix(value):
        raise ValueError('must be an ILP address, a scheme alone, or "" for the default route')
    return value


def _own_address(value: object) -> str:
    address = _ilp_address(value)
    if address.split(".")[0] in ("peer", "self"):
        raise ValueError("must not be a peer. or self. address: those never leave a link or a host")
    return address


def _username(value: object) -> str:
    text = unicodedata.normalize("NFKC", value) if isinstance(value, str) else ""
    if not re.fullmatch(r"\w{2,32}", text):
        raise ValueError("must be 2 to 32 letters, digits or underscores")
    return text


def _asset_code(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value.encode()) > 32:
        raise ValueError('must be a text of 1 to 32 bytes, such as "USD"')
    return value.strip().upper()


def split_host_port(value: str) -> tuple[str, int]:
    """`127.0.0.1:7770`, `[::1]:7770`; port 0 lets the system choose. Raises ValueError."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:\[\]/]+)):([0-9]{1,5})", value)
    if match is None or int(match[3]) > 65_535:
        raise ValueError('must be host:port with a port from 0 to 65535, such as "127.0.0.1:7770"')
    return match[1] or match[2], int(match[3])


def _host_port(value: object) -> str:
    split_host_port(value if isinstance(value, str) else "")
    return str(value)


def _host_port_or_unix(value: object) -> str:
    if isinstance(value, str) and value.startswith("unix:") and len(value) > len("unix:"):
        return value
    return _host_port(value)


def _check_url(value: object, schemes: tuple[str, ...]) -> str:
    right = f"must be a URL with a host and one of the schemes {', '.join(schemes)}"
    if not isinstance(value, str) or value != value.strip():
        raise ValueError(right)
    try:
        parts = urlsplit(value)
        usable = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(right)
    return value


def _url(*schemes: str) -> BeforeValidator:
    return BeforeValidator(lambda value: _check_url(value, schemes))


def _batch_url(value: object) -> str:
    right = "must be ilp+tcp://host[:port], ilp+tls://host[:port] or ilp+unix:///path"
    if isinstance(value, str) and value.startswith("ilp+unix:"):
        parts = urlsplit(value)
        if parts.hostname or len(parts.path) < 2 or value != value.strip():
            raise ValueError(right)
        return value
    try:
        return _check_url(value, ("ilp+tcp", "ilp+tls"))
    except ValueError:
        raise ValueError(right) from None


def _hex_seed(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("must be 32 bytes in hex, 64 digits: `openssl rand -hex 32` makes one")
    return text


def _token(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not re.fullmatch(r"[!-~]+", text):
        raise ValueError("must be a text of printable ASCII characters without spaces")
    return text


def _relation(value: object) -> Relation:
    return Relation.parse(value if isinstance(value, str) else "")


Rate = Annotated[Decimal, BeforeValidator(_rate)]
Spread = Annotated[Decimal, BeforeValidator(_spread)]
IlpAddress = Annotated[str, BeforeValidator(_ilp_address)]
Prefix = Annotated[str, BeforeValidator(_prefix)]
OwnAddress = Annotated[str, BeforeValidator(_own_address)]
Username = Annotated[str, BeforeValidator(_username)]
AssetCode = Annotated[str, BeforeValidator(_asset_code)]
HostPort = Annotated[str, BeforeValidator(_host_port)]
HostPortOrUnix = Annotated[str, BeforeValidator(_host_port_or_unix)]
HttpUrl = Annotated[str, _url("http", "https")]
BatchUrl = Annotated[str, BeforeValidator(_batch_url)]
BtpUrl = Annotated[str, _url("btp+ws", "btp+wss", "ws", "wss")]
Seed = Annotated[SecretStr, BeforeValidator(_hex_seed)]
Token = Annotated[SecretStr, BeforeValidator(_token)]
U8 = Annotated[int, _whole_number(0, 255)]
U32 = Annotated[int, _whole_number(0, U32_MAX)]
U64 = Annotated[int, _whole_number(0, U64_MAX)]
I64 = Annotated[int, _whole_number(-I64_MAX - 1, I64_MAX)]
PacketCount = Annotated[int, _whole_number(1, 1_000_000)]
Milliseconds = Annotated[int, _whole_number(0, 3_600_000)]


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
    hold_max_ms: Annotated[int, _whole_number(1, 30_000)] = 30_000
    window_min_ms: Annotated[int, _whole_number(0, 30_000)] = 100
    drain_max_ms: Milliseconds = 30_000


class ListenConfig(_Section):
    """Where it listens; `settlement` and `batch` are off unless set, and the admin API is at `http`
    unless it has an address of its own."""

    http: HostPort = "127.0.0.1:7770"
    http_tls_certificate: Annotated[str, Field(min_length=1)] | None = None
    http_tls_key: Annotated[str, Field(min_length=1)] | None = None
    admin: HostPort | None = None
    admin_tls_certificate: Annotated[str, Field(min_length=1)] | None = None
    admin_tls_key: Annotated[str, Field(min_length=1)] | None = None
    settlement: HostPort | None = None
    batch: HostPortOrUnix | None = None
    batch_tls_certificate: Annotated[str, Field(min_length=1)] | None = None
    batch_tls_key: Annotated[str, Field(min_length=1)] | None = None


class ExchangeRateConfig(_Section):
    """What conversions between different assets cost."""

    spread: Spread = Decimal(0)


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

    window: Annotated[int, _whole_number(1, 1_000_000)] = 50
    ratio: Annotated[Decimal, BeforeValidator(_share)] = Decimal("0.2")
    open_ms: Milliseconds = 30_000


class ServiceConfig(_Section):
    """A rule in Python, and what it decides about."""

    service: Annotated[str, BeforeValidator(_service_name)]
    accounts: tuple[Username, ...] = ()
    prefixes: tuple[Prefix, ...] = ()
    options: dict[str, Any] = {}


class AccountConfig(_Section):
    """An account: the fields of the admin API of Interledger.rs, and some of our own."""

    username: Username
    ilp_address: IlpAddress = Field(default="", validate_default=False)
    asset_code: AssetCode
    asset_scale: U8
    routing_relation: Annotated[Relation, BeforeValidator(_relation)] = Relation.NON_ROUTING_ACCOUNT
    round_trip_time: Annotated[int, _whole_number(0, 30_000)] = 500
    max_packet_amount: U64 = U64_MAX
    max_packet_amount_out: U64 | None = None
    min_balance: I64 | None = None
    max_balance: I64 | None = None
    max_in_flight_amount: U64 | None = None
    in_flight_in_max: PacketCount = 16_384
    in_flight_out_max: PacketCount = 16_384
    packets_per_minute_limit: U32 | None = None
    amount_per_minute_limit: U64 | None = None
    amount_per_minute_limit_out: U64 | None = None
    allowed_destinations: Annotated[tuple[Prefix, ...], Field(max_length=256)] | None = None
    circuit_breaker: bool = False
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
    # Counted once: a node may have tens of thousands of accounts.
    names = Counter(account.username for account in settings.accounts)
    addresses = Counter(account.ilp_address for account in settings.accounts)
    for account in settings.accounts:
        repeated = names[account.username] > 1, addresses[account.ilp_address] > 1
        problems += [
            (f"accounts.{account.username}.{key}", text)
            for key, text in _account_contradictions(account, settings, *repeated)
        ]
    parents = [a.username for a in settings.accounts if a.routing_relation is Relation.PARENT]
    if len(parents) > 1:
        text = f"only one account may be the Parent (RFC 34), here are {', '.join(parents)}"
        problems.append((f"accounts.{parents[1]}.routing_relation", text))
    for prefix, username in settings.routes.items():
        if username not in names:
            text = f"{username!r} is no account; there are: {', '.join(sorted(names)) or 'none'}"
            problems.append((f"routes.{prefix}", text))
    for number, service in enumerate(settings.services, 1):
        for username in set(service.accounts) - set(names):
            text = f"{username!r} is no account; there are: {', '.join(sorted(names)) or 'none'}"
            problems.append((f"services.{number}.accounts", text))
        if not service.accounts and not service.prefixes:
            problems.append((f"services.{number}", "decides about nothing: accounts or prefixes?"))
    return problems


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
