"""SPSP, the asking side (RFC 9), and payment pointers (RFC 26): where to pay, and by which secret.
Imports _core and errors; asks by aiohttp.

What the other side answers is bounded in size and time, and whatever is wrong with it is a
PaymentError that says so. A pointer is asked by TLS alone, wherever it redirects to.
"""

import asyncio
import base64
import binascii
import json
import re
import ssl
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import aiohttp

from fastilp._core.packet import is_valid_address
from fastilp.errors import ConfigError, PaymentError

TIMEOUT_SECONDS = 10.0
_BODY_SIZE_MAX = 65_536
_REDIRECTS_MAX = 5
_SECRET_SIZE = 32
_CONNECTIONS_MAX = 100
_SHOWN_MAX = 200
# Old servers know the second one (RFC 9, SPSPv3).
_ACCEPT = "application/spsp4+json, application/spsp+json"
_REDIRECTS = (301, 302, 303, 307, 308)
# A host name, and a path of RFC 3986 without what is encoded twice.
_POINTER = re.compile(r"\$([A-Za-z0-9.-]+)(/[!$%&'()*+,./0-9:;=@A-Z_a-z~-]*)?")


class SpspDetails(NamedTuple):
    """The answer to a query."""

    destination: str
    shared_secret: bytes
    receipts_enabled: bool = False


def url_of(receiver: str) -> str:
    """The URL behind a payment pointer, or the URL that was given. Raises PaymentError."""
    if receiver.startswith("$"):
        found = _POINTER.fullmatch(receiver)
        if found is None:
            raise PaymentError(
                f"{_shown(receiver)} is no payment pointer: $host or $host/path, in ASCII, without"
                " a port, a query, a fragment or a user (RFC 26)"
            )
        path = found[2] if found[2] not in (None, "/") else "/.well-known/pay"
        return f"https://{found[1]}{path}"
    try:
        parts = urlsplit(receiver)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f]", receiver) or "@" in parts.netloc:
        raise PaymentError(
            f"{_shown(receiver)} is no receiver: a payment pointer ($host/path) or a URL"
        )
    return receiver


class SpspClient:
    """`ca_file`: PEM of the certificates to trust, instead of the system's. Raises ConfigError."""

    def __init__(
        self, ca_file: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._ssl = _context(ca_file)
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def query(
        self,
        receiver: str,
        receipt_nonce: bytes | None = None,
        receipt_secret: bytes | None = None,
    ) -> SpspDetails:
        """Raises PaymentError."""
        headers = {"Accept": _ACCEPT, "Accept-Encoding": "identity"}
        if receipt_nonce is not None and receipt_secret is not None:
            headers["Receipt-Nonce"] = base64.b64encode(receipt_nonce).decode()
            headers["Receipt-Secret"] = base64.b64encode(receipt_secret).decode()
        url = url_of(receiver)
        try:
            # Redirects share it.
            async with asyncio.timeout(self._timeout_seconds):
                return await self._query(url, headers)
        except ssl.SSLError as error:
            raise PaymentError(f"{_shown(url)}: {_shown(_why(error))}") from None
        except TimeoutError:
            raise PaymentError(f"{_shown(url)} does not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise PaymentError(f"{_shown(url)} cannot be asked: {_shown(_why(error))}") from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            # Connections by TLS end in turns of the loop.
            await asyncio.sleep(0)

    async def _query(self, url: str, headers: dict[str, str]) -> SpspDetails:
        for _ in range(_REDIRECTS_MAX + 1):
            async with self._opened().get(
                url, headers=headers, allow_redirects=False, ssl=self._ssl
            ) as response:
                if response.status not in _REDIRECTS:
                    return _details(url, response.status, await _body(response))
                url = _redirected(url, response.headers.get("Location", ""))
        raise PaymentError(f"{_shown(url)} is one redirect too many")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=_CONNECTIONS_MAX)
            # No cookies: a receiver is not to know one payment from another. What is compressed
            # all the same stays so: a few bytes may be megabytes.
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        return self._session


def _context(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"{ca_file!r} cannot be used: {reason}"
        raise ConfigError(message, key="payments.ca_file") from None


def _why(error: Exception) -> str:
    """aiohttp shows its TLS context among the reasons, which tells nobody anything."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or str(error.os_error)
    return str(error) or type(error).__name__


async def _body(response: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for piece in response.content.iter_any():
        found += piece
        if len(found) > _BODY_SIZE_MAX:
            raise PaymentError(f"{_shown(str(response.url))} answers more than {_BODY_SIZE_MAX} B")
    return bytes(found)


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    if url.startswith("https:") and not target.startswith("https:"):
        raise PaymentError(f"{_shown(url)} leads away from TLS, to {_shown(target)}")
    return url_of(target)


def _details(url: str, status: int, body: bytes) -> SpspDetails:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    fields: dict[str, Any] = found if isinstance(found, dict) else {}
    if status != 200:
        said = fields.get("message") or fields.get("detail") or ""
        reason = f": {_shown(str(said))}" if said else ""
        raise PaymentError(f"{_shown(url)} answers {status}{reason}")
    destination, secret = fields.get("destination_account"), fields.get("shared_secret")
    if not isinstance(destination, str) or not is_valid_address(destination):
        raise PaymentError(f"{_shown(url)} is no receiver: its destination_account is no address")
    shared_secret = _octets(secret) if isinstance(secret, str) else b""
    if len(shared_secret) != _SECRET_SIZE:
        raise PaymentError(f"{_shown(url)}: its shared_secret is not 32 bytes in base64")
    return SpspDetails(destination, shared_secret, fields.get("receipts_enabled") is True)


def _octets(text: str) -> bytes:
    """Either alphabet of RFC 4648, with padding or without."""
    plain = text.strip().replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _shown(text: str) -> str:
    """What came from elsewhere, for a message: short, and in one line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:_SHOWN_MAX])
