"""Kinds of values that settings and the admin API share: what is right for each, and in which words
a wrong one is refused.

Imports types and the address grammar of `_core.packet`. Every message says what would be right.
Numbers may be strings, as in Interledger.rs.
"""

import re
import unicodedata
from decimal import Decimal, InvalidOperation
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainValidator, SecretStr

from fastilp._core.packet import is_valid_address, is_valid_prefix
from fastilp.types import Relation

SECRET = "SECRET"
"""Is shown in the place of every token."""
U64_MAX = 2**64 - 1
I64_MAX = 2**63 - 1
U32_MAX = 2**32 - 1
# Of a decimal number, and its exponent: as a fraction a larger one fills memory, and 1e-999999999
# is written in twelve characters.
_DIGITS_MAX = 100


def whole_number(low: int, high: int) -> BeforeValidator:
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
        if number.is_finite() and _is_short(number):
            return number
    raise ValueError('must be a decimal number, best as a string: "1.25"')


def _is_short(number: Decimal) -> bool:
    _, digits, exponent = number.as_tuple()
    return len(digits) <= _DIGITS_MAX and abs(int(exponent)) <= _DIGITS_MAX


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
    code = value.strip().upper() if isinstance(value, str) else ""
    if not code or not code.isprintable() or len(code.encode()) > 32:
        raise ValueError('must be a printable text of 1 to 32 bytes, such as "USD"')
    return code


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
    if text == SECRET:
        raise ValueError(
            f"{SECRET} is what is shown in the place of tokens:"
            " give the token itself, or leave it out"
        )
    return text


def _relation(value: object) -> Relation:
    return Relation.parse(value if isinstance(value, str) else "")


class Provider(NamedTuple):
    """A source of exchange rates, and the key it may want."""

    name: str
    key: SecretStr | None = None


def _provider(value: object) -> Provider:
    """`"CoinCap"`, `"Rafiki"`, `"file"`, or `{CryptoCompare = "key"}`."""
    if isinstance(value, Provider):
        return value
    if isinstance(value, dict) and len(value) == 1:
        [(name, key)] = value.items()
        if str(name).lower() == "cryptocompare" and isinstance(key, str) and key.isprintable():
            return Provider("CryptoCompare", SecretStr(key))
    found = {name.lower(): name for name in ("CoinCap", "Rafiki", "file")}
    if isinstance(value, str) and value.lower() in found:
        return Provider(found[value.lower()])
    raise ValueError('must be "CoinCap", "Rafiki", "file", or { CryptoCompare = "<key>" }')


def _asset_pair(value: object) -> str:
    codes = value.upper().split("/") if isinstance(value, str) else []
    if len(codes) != 2 or not all(code.strip() for code in codes):
        raise ValueError('must be asset codes in and out, such as "USD/EUR"')
    return "/".join(code.strip() for code in codes)


RateProvider = Annotated[Provider, PlainValidator(_provider)]
AssetPair = Annotated[str, BeforeValidator(_asset_pair)]
Rate = Annotated[Decimal, BeforeValidator(_rate)]
Share = Annotated[Decimal, BeforeValidator(_share)]
ServiceName = Annotated[str, BeforeValidator(_service_name)]
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
U8 = Annotated[int, whole_number(0, 255)]
U32 = Annotated[int, whole_number(0, U32_MAX)]
U64 = Annotated[int, whole_number(0, U64_MAX)]
I64 = Annotated[int, whole_number(-I64_MAX - 1, I64_MAX)]
AccountRelation = Annotated[Relation, BeforeValidator(_relation)]
AllowedDestinations = Annotated[tuple[Prefix, ...], Field(max_length=256)]
RoutePriority = Annotated[int, whole_number(-1_000, 1_000)]
RouteWeight = Annotated[int, whole_number(1, 1_000)]
RoutesMax = Annotated[int, whole_number(0, 10_000_000)]
PacketCount = Annotated[int, whole_number(1, 1_000_000)]
ConnectionCount = Annotated[int, whole_number(1, 1_000_000)]
Milliseconds30 = Annotated[int, whole_number(0, 30_000)]
Milliseconds = Annotated[int, whole_number(0, 3_600_000)]
