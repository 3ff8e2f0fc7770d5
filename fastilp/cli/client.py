"""A running node, asked over its HTTP API. Imports errors.

Sends what ilp-cli sends: the same paths, headers and bodies. Whatever goes wrong is one
FastILPError that says what to do about it.
"""

import contextlib
import http.client
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

from fastilp.errors import FastILPError, UsageError

TIMEOUT_SECONDS = 30.0
_DETAIL_SIZE_MAX = 500
_ACCOUNT_NOT_FOUND = "account-not-found"


class Answer(NamedTuple):
    """What the node answered; its status is one of success, or one that was expected."""

    body: bytes
    status: int = 200

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        try:
            # Numbers stay as they were written: no digit of money is lost in a float.
            return json.loads(self.body, parse_float=str)
        except ValueError:
            raise FastILPError("the answer is no JSON; is it a node that answers?") from None


class NodeError(FastILPError):
    """The node answered with something other than success."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class NodeClient:
    """`url` may end in a path, for a node behind a proxy."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        ca_file: Path | None = None,
        timeout_seconds: float | None = TIMEOUT_SECONDS,
    ) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.hints: Mapping[int, str] = {}
        """By status: what to do about a refusal, where a command knows better than we."""
        self._parts = _split(self.url)
        self._ca_file = ca_file
        self._timeout_seconds = timeout_seconds

    # --- The four ways to ask -------------------------------------------------------------------

    def get(self, path: str, *, auth: bool = True) -> Answer:
        return self.call("GET", path, auth=auth)

    def delete(self, path: str) -> Answer:
        return self.call("DELETE", path)

    def send_json(
        self,
        method: str,
        path: str,
        body: Mapping[str, object],
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return self.call(method, path, content, "application/json", headers=headers)

    def send_text(self, method: str, path: str, text: str) -> Answer:
        """A raw body without a content type, as ilp-cli sends it."""
        return self.call(method, path, text.encode())

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str | None = None,
        *,
        auth: bool = True,
        expected: tuple[int, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Raises NodeError for any status but 2xx and the expected ones."""
        sent = {} if content_type is None else {"Content-Type": content_type}
        if auth:
            sent |= self._authorization()
        with self._exchange(method, path, body, sent | dict(headers or {})) as response:
            content = response.read()
        if not 200 <= response.status < 300 and response.status not in expected:
            call = f"{method} {self.url}{path}"
            raise self.refusal(call, response.status, response.reason, content)
        return Answer(content, response.status)

    def events(self, path: str) -> Iterator[tuple[str, str]]:
        """Server-sent events as they come, name and data; ends when the node ends them."""
        with self._exchange("GET", path, None, self._authorization()) as response:
            if response.status != 200:
                call, content = f"GET {self.url}{path}", response.read()
                raise self.refusal(call, response.status, response.reason, content)
            name = ""
            for line in response:
                field, _, text = line.decode("utf-8", "replace").rstrip("\r\n").partition(": ")
                if field == "event":
                    name = text
                elif field == "data":
                    yield name, text

    def _authorization(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    @contextlib.contextmanager
    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection()
        try:
            connection.request(method, self._parts.path + path, body, {"Accept": "*/*", **headers})
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self.unreachable(error) from None
        except ValueError as error:
            # A token that no header can carry.
            raise UsageError(f"this cannot be sent: {error}") from None
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout_seconds)
        return http.client.HTTPSConnection(
            host, port, timeout=self._timeout_seconds, context=self.ssl_context()
        )

    def ssl_context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(f"--ca-file {self._ca_file} cannot be used: {reason}") from None

    # --- What went wrong, and what to do --------------------------------------------------------

    def unreachable(self, error: Exception) -> FastILPError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return FastILPError(
                f"{self.url} shows a certificate that is not trusted: {error.verify_message};"
                " give --ca-file with the certificate to trust"
            )
        if isinstance(error, TimeoutError):
            return FastILPError(f"{self.url} does not answer in time; is the node overloaded?")
        if isinstance(error, ssl.SSLError | http.client.HTTPException):
            return FastILPError(
                f"no node answers at {self.url}, but something else does"
                f" ({type(error).__name__}: {error}); https instead of http, or the other way?"
            )
        reason = getattr(error, "strerror", None) or error
        return FastILPError(
            f"no node answers at {self.url}: {reason}; does it run there? --node says where"
        )

    def refusal(self, call: str, status: int, reason: str, body: bytes) -> NodeError:
        detail, kind = _problem(body)
        said = f"{status} {printable(reason)}".rstrip()
        text = f"{call}: {said}" + (f": {detail}" if detail else "")
        hint = self._hint(status, kind)
        return NodeError(f"{text}; {hint}" if hint else text, status)

    def _hint(self, status: int, kind: str) -> str:
        if status in self.hints and not kind.endswith(_ACCOUNT_NOT_FOUND):
            return self.hints[status]
        if status == 401 and self.token is None:
            return "give --auth (or ILP_CLI_API_AUTH), or --config with node.admin_auth_token"
        if status == 401:
            return "the token that was sent is neither the node's nor the account's; see --auth"
        if status == 404 and kind.endswith(_ACCOUNT_NOT_FOUND):
            return "`fastilp accounts list` shows the accounts"
        if status in (404, 405, 501):
            return "this node does not offer that, or offers it at another address: see --node"
        if status == 409:
            return "change what is there (`update`), or delete it first"
        if status == 503:
            return "it starts, stops, or its disk does not commit: `fastilp health` says why"
        if status >= 500:
            return "the node's log says more"
        return ""


def segment(text: str) -> str:
    """A path segment: whatever a name holds, it stays one."""
    return quote(text, safe="")


def printable(text: str) -> str:
    """What came from elsewhere must not move the cursor of our terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", url):
        raise UsageError(f"--url must be http://host:port or https://host:port, not {url!r}")
    return parts


def _problem(body: bytes) -> tuple[str, str]:
    """Detail and type of a problem+json (RFC 7807); other bodies are taken for text."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        text = " ".join(body.decode("utf-8", "replace").split())
        return printable(text[:_DETAIL_SIZE_MAX]), ""
    parts = [str(problem.get("detail") or problem.get("title") or "")]
    for parameter in problem.get("invalid-params") or []:
        # The detail of most begins with the name already.
        if isinstance(parameter, dict) and str(parameter.get("name")) not in parts[0]:
            words = [str(parameter[key]) for key in ("name", "type", "reason") if key in parameter]
            parts.append(" ".join(words))
    text = ", ".join(part for part in parts if part)
    return printable(text[:_DETAIL_SIZE_MAX]), str(problem.get("type", ""))
