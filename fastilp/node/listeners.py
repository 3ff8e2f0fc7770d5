"""All that the node listens on: HTTP, the admin API where it has an address of its own, and the
batch protocol. Imports config, transports and what lies beside it in `node`.

    listeners = Listeners(settings.listen, pump, http_tokens, btp_tokens, batch_tokens, fallback)
    await listeners.start()
    ...
    listeners.stop_accepting()
    await listeners.drain(2.0)
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping

from fastilp.config.models import ListenConfig
from fastilp.node.certificates import refresh_forever
from fastilp.node.listening import certificates, listen_batch, listen_http, with_port
from fastilp.transports.auth import TokenTable
from fastilp.transports.batch import BatchPort
from fastilp.transports.batch_server import BatchListener
from fastilp.transports.btp import BtpPort
from fastilp.transports.http_messages import HttpLimits, HttpRequest, HttpResponse, path_of
from fastilp.transports.http_port import HttpPort
from fastilp.transports.http_reply import Answerer
from fastilp.transports.http_server import Fallback, Feeds, HttpListener
from fastilp.transports.pump import Pump

# What strangers ask for before they pay (RFC 9): no part of the admin API.
_PUBLIC = re.compile(r"/\.well-known/pay|/accounts/[^/]+/(?:spsp|\.well-known/pay)")
# A payment pointer, where SPSP is asked for.
_POINTER = re.compile(r"/accounts/[^/]+")


class Listeners:
    """`fallback` answers what is no packet; large bodies only where `is_trusted` says so. Where the
    admin API has its own address, that one serves everything, and `listen.http` packets alone."""

    def __init__(
        self,
        listen: ListenConfig,
        pump: Pump,
        http_tokens: TokenTable[HttpPort],
        btp_tokens: TokenTable[BtpPort],
        batch_tokens: TokenTable[BatchPort],
        fallback: Fallback,
        is_trusted: Callable[[Mapping[str, str]], bool],
        open_tokens: TokenTable[BtpPort] | None = None,
        feeds: Feeds | None = None,
    ) -> None:
        self._listen = listen
        self._pump = pump
        self._http_tokens = http_tokens
        self._btp_tokens = btp_tokens
        self._batch_tokens = batch_tokens
        self._fallback = fallback
        self._is_trusted = is_trusted
        self._open_tokens = open_tokens
        self._feeds = feeds
        self._certificates = certificates(listen)
        self._http: dict[str, HttpListener] = {}
        self._batch: BatchListener | None = None
        self._refresher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises ConfigError where listening fails; what listens already is for `drain`."""
        if self._listen.admin is None:
            await self._start_http("http", self._listen.http, self._fallback, self._feeds)
        else:
            await self._start_http("http", self._listen.http, self._public, None)
            await self._start_http("admin", self._listen.admin, self._fallback, self._feeds)
        if self._listen.open_btp is not None and self._open_tokens is not None:
            await self._start_open_btp(self._listen.open_btp, self._open_tokens)
        self._batch = await listen_batch(
            self._pump, self._batch_tokens, self._listen, self._context("batch")
        )
        watching = refresh_forever(self._certificates.values())
        self._refresher = asyncio.get_running_loop().create_task(watching)

    def addresses(self) -> dict[str, str]:
        """By the names of `[listen]`, with the ports that the system chose."""
        found = {
            name: with_port(getattr(self._listen, name), listener.port)
            for name, listener in self._http.items()
        }
        if self._batch is not None and self._listen.batch is not None:
            found["batch"] = with_port(self._listen.batch, self._batch.port)
        return found

    def stop_accepting(self) -> None:
        """No new connections; those that are open go on."""
        for listener in self._http.values():
            listener.stop_accepting()
        if self._batch is not None:
            self._batch.stop_accepting()

    async def drain(self, timeout_seconds: float) -> None:
        """Close every connection, once what was written has left."""
        if self._refresher is not None:
            self._refresher.cancel()
        await asyncio.gather(*(each.drain(timeout_seconds) for each in self._http.values()))
        if self._batch is not None:
            await self._batch.drain(timeout_seconds)

    async def _start_http(
        self, name: str, address: str, fallback: Fallback, feeds: Feeds | None
    ) -> None:
        listener = HttpListener(
            self._pump,
            self._http_tokens,
            self._btp_tokens,
            fallback=fallback,
            is_trusted=self._is_trusted,
            feeds=feeds,
            limits=HttpLimits(connections_max=self._listen.http_connections_max),
            ssl_context=self._context(name),
        )
        await listen_http(listener, address, f"listen.{name}")
        self._http[name] = listener

    async def _start_open_btp(self, address: str, tokens: TokenTable[BtpPort]) -> None:
        """BTP alone: no packets over HTTP, and nothing else."""
        listener = HttpListener(self._pump, TokenTable(), tokens)
        await listen_http(listener, address, "listen.open_btp")
        self._http["open_btp"] = listener

    def _context(self, name: str) -> ssl.SSLContext | None:
        certificate = self._certificates.get(name)
        return None if certificate is None else certificate.context

    def _public(self, request: HttpRequest) -> HttpResponse | Answerer | None:
        path = path_of(request.target).rstrip("/")
        wants_spsp = "application/spsp" in request.headers.get("accept", "")
        is_preflight = request.method == "OPTIONS"
        is_pointer = _POINTER.fullmatch(path) and (wants_spsp or is_preflight)
        return self._fallback(request) if _PUBLIC.fullmatch(path) or is_pointer else None
