"""HTTP/1.1 messages as bytes: what both HTTP shells and their users need. Imports nothing of the
package."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote

OCTET_STREAM = "application/octet-stream"
# quilt and the Java connector send the second one; most clients' defaults leave the header out.
PACKET_CONTENT_TYPES = ("", OCTET_STREAM, "application/ilp+octet-stream")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CONNECTION_CLOSE = b"Connection: close\r\n"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that is no ILP packet, for the listener's fallback."""

    method: str
    target: str
    headers: Mapping[str, str]
    """Names in lower case; the values of a repeated header are joined by ", "."""
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpResponse:
    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one listener."""

    header_size_max: int = 16_384
    """Request line and headers, bytes; what most servers take."""
    body_size_max: int = 65_535
    """The largest packet of any link, bytes."""
    large_body_size_max: int = 8 * 1024 * 1024
    """Of requests that the listener's `is_trusted` lets through: whole tables of the operator."""
    requests_in_flight_max: int = 256
    """Pipelined requests of one connection that wait for an answer; above it reading pauses."""
    connections_max: int = 4_096
    """Sockets, HTTP and BTP together; above it a new one is answered 503."""
    request_seconds: float = 10.0
    """From a request's first byte to its last (slow loris)."""
    idle_seconds: float = 120.0
    """Keep-alive without a request."""
    stall_seconds: float = 30.0
    """A client that does not read what it asked for."""


def status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode("ascii")


def response_head(response: HttpResponse) -> bytes:
    """Status line and headers, without the empty line that ends them."""
    lines = [f"{name}: {value}\r\n" for name, value in response.headers.items()]
    if response.content_type and response.body:
        lines.append(f"Content-Type: {response.content_type}\r\n")
    lines.append(f"Content-Length: {len(response.body)}\r\n")
    return status_line(response.status) + "".join(lines).encode("latin-1")


def stream_head(response: HttpResponse, *, chunked: bool) -> bytes:
    """The same for a body of unknown length; unless it is chunked, closing ends it."""
    lines = [f"{name}: {value}\r\n" for name, value in response.headers.items()]
    if response.content_type:
        lines.append(f"Content-Type: {response.content_type}\r\n")
    if chunked:
        lines.append("Transfer-Encoding: chunked\r\n")
    return status_line(response.status) + "".join(lines).encode("latin-1")


_PACKET_HEADS = {
    status: status_line(status) + f"Content-Type: {OCTET_STREAM}\r\nContent-Length: ".encode()
    for status in (200, 400)
}


def packet_head(status: int, size: int) -> bytes:
    """The same for a packet as the body."""
    return b"%s%d\r\n" % (_PACKET_HEADS[status], size)


def problem(status: int, detail: str, **headers: str) -> HttpResponse:
    """An RFC 7807 answer; `headers` with _ for -."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return HttpResponse(
        status,
        json.dumps(body).encode() + b"\n",
        "application/problem+json",
        {name.replace("_", "-"): value for name, value in headers.items()},
    )


def path_of(target: str) -> str:
    """The path of a request target in origin form or absolute form (RFC 9112 3.2)."""
    if not target.startswith("/"):
        _, _, rest = target.partition("://")
        _, slash, path = rest.partition("/")
        target = slash + path
    return target.partition("?")[0]


def username_in(path: str, suffix: str) -> str | None:
    """The username of `/accounts/<username><suffix>`."""
    if not path.startswith("/accounts/") or not path.endswith(suffix):
        return None
    username = path[len("/accounts/") : -len(suffix)]
    if not username or "/" in username:
        return None
    return unquote(username)


def media_type(content_type: str) -> str:
    """A Content-Type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()
