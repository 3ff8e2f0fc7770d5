"""An ASGI application behind the listener: what is not ILP becomes `http` scopes of ASGI 3.
Imports transports only.

The listener's parser has judged the request already: sizes, times, framing and order are its
business, so an application can be as slow as it likes without holding up a packet.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from fastilp.transports.http_messages import HttpRequest, HttpResponse, path_of, problem
from fastilp.transports.http_reply import Answerer, HttpReply

_log = logging.getLogger("fastilp.api")

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

_INTERNAL_ERROR = problem(500, "an internal error; the log has it")


class AsgiServer:
    """Runs one application, a task per request."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._tasks: set[asyncio.Task[None]] = set()

    def answerer(self, request: HttpRequest) -> Answerer:
        def answer(reply: HttpReply) -> None:
            task = asyncio.get_running_loop().create_task(self._run(request, reply))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return answer

    async def warm_up(self, target: str) -> None:
        """Ask for something, and let nobody have the answer: what the application loads and builds
        at its first request takes milliseconds that no packet should wait for."""

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            return

        await self._application(scope_of(HttpRequest("GET", target, {}, b"")), receive, send)

    async def close(self) -> None:
        """End what still runs: the listener has hung up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, request: HttpRequest, reply: HttpReply) -> None:
        exchange = _AsgiExchange(request, reply)
        try:
            await self._application(scope_of(request), exchange.receive, exchange.send)
        except ClientGoneError:
            return
        except Exception:
            _log.exception("request failed", extra={"path": path_of(request.target)[:200]})
        exchange.finish()


class ClientGoneError(OSError):
    """Nobody reads this answer any more."""


class _AsgiExchange:
    def __init__(self, request: HttpRequest, reply: HttpReply) -> None:
        self._request: HttpRequest | None = request
        self._reply = reply
        self._response: HttpResponse | None = None
        self._begun = False
        self._ended = False

    async def receive(self) -> Message:
        request, self._request = self._request, None
        if request is not None:
            return {"type": "http.request", "body": request.body, "more_body": False}
        while not (self._reply.closed or self._ended):
            await asyncio.sleep(1.0)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._reply.closed:
            raise ClientGoneError
        if message["type"] == "http.response.start":
            self._response = _response_of(message)
        elif message["type"] == "http.response.body":
            await self._send_body(message.get("body", b""), message.get("more_body", False))

    async def _send_body(self, body: bytes, more: bool) -> None:
        assert self._response is not None
        if not self._begun and not more:
            self._begun = self._ended = True
            response = self._response
            self._reply.answer(
                HttpResponse(response.status, body, response.content_type, response.headers)
            )
            return
        if not self._begun:
            self._begun = True
            self._reply.begin(self._response)
        self._reply.write(body)
        if not more:
            self._ended = True
            self._reply.end()
            return
        await self._reply.room()

    def finish(self) -> None:
        """Whatever the application did, the client gets an end."""
        if self._ended or self._reply.closed:
            return
        self._ended = True
        if self._begun:
            self._reply.end()
        else:
            self._reply.answer(_INTERNAL_ERROR)


def scope_of(request: HttpRequest) -> Message:
    """Trailing slashes mean nothing; HEAD is GET, of which the connection leaves the body out."""
    path = path_of(request.target)
    _, _, query = request.target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET" if request.method == "HEAD" else request.method,
        "scheme": "http",
        "path": unquote(path).rstrip("/") or "/",
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": query.encode("utf-8", "surrogateescape"),
        "root_path": "",
        "headers": [
            (name.encode("latin-1"), value.encode("utf-8", "surrogateescape"))
            for name, value in request.headers.items()
        ],
        "client": None,
        "server": None,
        "state": {},
    }


def _response_of(message: Message) -> HttpResponse:
    """Lengths and connections are the listener's business."""
    headers = {
        name.decode("latin-1").title(): value.decode("latin-1")
        for name, value in message["headers"]
        if name not in (b"content-length", b"connection", b"transfer-encoding", b"content-type")
    }
    content_type = next(
        (value.decode("latin-1") for name, value in message["headers"] if name == b"content-type"),
        "",
    )
    return HttpResponse(message["status"], b"", content_type, headers)
