"""The admin API behind the node's listener: which requests it gets, and in which form. Imports
control.api and transports.
"""

import asyncio
from collections.abc import Mapping

import structlog

from fastilp.control.api import hot
from fastilp.control.api.application import application
from fastilp.control.api.context import Context
from fastilp.control.tracing import Tracing
from fastilp.errors import StorageError
from fastilp.node.traced import traced
from fastilp.transports.asgi import AsgiServer
from fastilp.transports.http_messages import HttpRequest, HttpResponse, path_of
from fastilp.transports.http_reply import Answerer

_log = structlog.get_logger("fastilp.node")

# Between two looks for what is too old: answers to idempotent calls, a 256th of them each time,
# payments and settlements.
_SWEEP_SECONDS = 1.0


class Admin:
    def __init__(self, context: Context, tracing: Tracing) -> None:
        self._context = context
        self._server = AsgiServer(traced(application(context), tracing))
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Before anybody can ask."""
        await self._server.warm_up("/accounts?limit=1")
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await self._server.close()

    def fallback(self, request: HttpRequest) -> HttpResponse | Answerer | None:
        """None: the listener knows what to say."""
        authorization = request.headers.get("authorization", "")
        body = hot.balance(self._context, request.method, request.target, authorization)
        if body is not None:
            return HttpResponse(200, body)
        if path_of(request.target).endswith("/ilp/btp"):
            return None
        return self._server.answerer(request)

    def is_trusted(self, headers: Mapping[str, str]) -> bool:
        return self._context.is_admin(headers.get("authorization", ""))

    async def _sweep(self) -> None:
        while True:
            try:
                self._context.idempotency.sweep()
                if self._context.paying is not None:
                    self._context.paying.payments.sweep()
                if self._context.settlement is not None:
                    self._context.settlement.outbox.sweep()
            except StorageError as error:
                _log.warning("old answers and payments were not forgotten", reason=str(error))
            await asyncio.sleep(_SWEEP_SECONDS)
