"""Where exchange rates come from: what each kind of source says, as exact numbers.

A source answers `quotes()` with the value of one standard unit per asset code, all in the same
unit of account, as Fractions that are exactly what the text said: a float is never made. Imports
nothing of fastilp but errors; the HTTP client is aiohttp, because this is cold traffic. A source
raises RateError whatever the other side does.
"""

import asyncio
import json
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from fastilp.errors import FastILPError

Quotes = dict[str, Fraction]

# CoinCap's list is 200 kB, CryptoCompare's 100 assets 700 kB.
_RESPONSE_SIZE_MAX = 8 * 1024 * 1024
# A number with more digits, or an exponent beyond this, is no price.
_DIGITS_MAX = 60
_ASSETS_MAX = 10_000

COINCAP_URL = "https://api.coincap.io/v2"
CRYPTOCOMPARE_URL = "https://min-api.cryptocompare.com/data/top/mktcapfull?limit=100&tsym=USD"


class RateError(FastILPError):
    """A source could not be asked, or what it said is not what its kind says."""


class RateSource(Protocol):
    async def quotes(self) -> Quotes:
        """Raises RateError."""

    async def close(self) -> None: ...


class HttpSource:
    """Asks one or more URLs, all of which must answer, and reads the answers with `parse`."""

    def __init__(
        self,
        urls: tuple[str, ...],
        parse: Callable[[list[Any]], Quotes],
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._urls = urls
        self._parse = parse
        self._headers = dict(headers or {})
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def quotes(self) -> Quotes:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        documents = [read_json(await self._get(self._session, url)) for url in self._urls]
        return checked(self._parse, documents)

    async def _get(self, session: aiohttp.ClientSession, url: str) -> bytes:
        shown = url.partition("?")[0]
        try:
            # A redirect could carry the key of the provider elsewhere.
            async with session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise RateError(f"{shown} answered HTTP {response.status}")
                body = await response.content.read(_RESPONSE_SIZE_MAX + 1)
                while not response.content.at_eof() and len(body) <= _RESPONSE_SIZE_MAX:
                    body += await response.content.read(_RESPONSE_SIZE_MAX + 1 - len(body))
        except TimeoutError:
            raise RateError(f"{shown} did not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise RateError(f"{shown}: {str(error) or type(error).__name__}") from None
        if len(body) > _RESPONSE_SIZE_MAX:
            raise RateError(f"{shown} answered more than {_RESPONSE_SIZE_MAX} bytes")
        return body

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class FileSource:
    """A JSON or TOML file (by its name's end): asset code -> value, or that under `rates`."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def version(self) -> object:
        """Differs when the file was written to."""
        try:
            status = self._path.stat()
        except OSError as error:
            return error.errno
        return status.st_mtime_ns, status.st_size, status.st_ino

    async def quotes(self) -> Quotes:
        try:
            content = await asyncio.to_thread(self._path.read_bytes)
        except OSError as error:
            raise RateError(f"{self._path} cannot be read: {error.strerror}") from None
        if self._path.suffix.lower() == ".json":
            return checked(_of_table, [read_json(content)])
        try:
            document = tomllib.loads(content.decode(), parse_float=Decimal)
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise RateError(f"{self._path} is not TOML: {error}") from None
        return checked(_of_table, [document])

    async def close(self) -> None:
        """Nothing is kept open."""


def coincap(url: str = COINCAP_URL, *, timeout_seconds: float = 10.0) -> HttpSource:
    """`<url>/assets` and `<url>/rates`, prices in US dollars."""
    urls = (f"{url.rstrip('/')}/assets", f"{url.rstrip('/')}/rates")
    return HttpSource(urls, _of_coincap, timeout_seconds=timeout_seconds)


def cryptocompare(
    key: str, url: str = CRYPTOCOMPARE_URL, *, timeout_seconds: float = 10.0
) -> HttpSource:
    """The list of the largest by market capitalisation, prices in US dollars."""
    headers = {"Authorization": f"Apikey {key}"}
    return HttpSource((url,), _of_cryptocompare, headers=headers, timeout_seconds=timeout_seconds)


def rafiki(url: str, base: str = "USD", *, timeout_seconds: float = 10.0) -> HttpSource:
    """`<url>?base=USD` -> `{"base": "USD", "rates": {"EUR": 0.9}}`: units for one of the base."""
    joined = f"{url}{'&' if '?' in url else '?'}base={base}"

    def parse(documents: list[Any]) -> Quotes:
        [document] = documents
        if document.get("base", base) != base:
            raise ValueError(f"base is {document['base']!r}, not {base}")
        found = {code: 1 / number_of(rate) for code, rate in document["rates"].items()}
        return {**found, base: Fraction(1)}

    return HttpSource((joined,), parse, timeout_seconds=timeout_seconds)


# --- reading ------------------------------------------------------------------------------------


def read_json(content: bytes) -> Any:
    """Numbers with a point as Decimal: exactly what the text said. Raises RateError."""
    try:
        return json.loads(content, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise RateError(f"the answer is not JSON: {error}") from None


def number_of(value: object) -> Fraction:
    """A positive number that was written as one or as text. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError(f"{value!r} is not a number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{str(value)[:40]!r} is not a number") from None
    if not number.is_finite() or number <= 0:
        raise ValueError(f"{str(value)[:40]!r} is not a positive number")
    if abs(number.adjusted()) > _DIGITS_MAX or len(number.as_tuple().digits) > _DIGITS_MAX:
        raise ValueError(f"{str(value)[:40]!r} has more than {_DIGITS_MAX} digits")
    return Fraction(number)


def checked(parse: Callable[[list[Any]], Quotes], documents: list[Any]) -> Quotes:
    """What `parse` makes of it, or RateError."""
    try:
        found = parse(documents)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise RateError(f"unexpected answer: {type(error).__name__} {error}") from None
    if not found or len(found) > _ASSETS_MAX:
        raise RateError(f"unexpected answer: rates of {len(found)} assets")
    return found


def _of_table(documents: list[Any]) -> Quotes:
    [document] = documents
    table = document.get("rates", document)
    return {code.upper(): number_of(value) for code, value in table.items()}


def _of_coincap(documents: list[Any]) -> Quotes:
    assets, rates = documents
    found: Quotes = {}
    for row, key in [(r, "rateUsd") for r in rates["data"]] + [
        (r, "priceUsd") for r in assets["data"]
    ]:
        # A few of hundreds have no price today. Symbols are not unique: the largest comes first.
        if row[key] is not None:
            found.setdefault(row["symbol"].upper(), number_of(row[key]))
    return {**found, "USD": Fraction(1)} if found else found


def _of_cryptocompare(documents: list[Any]) -> Quotes:
    [document] = documents
    found: Quotes = {}
    for row in document["Data"]:
        price = row.get("RAW", {}).get("USD", {}).get("PRICE")
        if price:
            found.setdefault(row["CoinInfo"]["Name"].upper(), number_of(price))
    return {**found, "USD": Fraction(1)} if found else found


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not a number")
