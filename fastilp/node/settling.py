"""Settlement of a running node: control's part put together with the listener for engines. Imports
config, control, transports, _core and errors.

Engines are other processes, and slow: no packet ever waits for one of them.
"""

import asyncio
from collections.abc import Iterable

import structlog

from fastilp.config.models import Settings
from fastilp.control.accounts import Accounts
from fastilp.control.engine_client import EngineClient
from fastilp.control.idempotency import Idempotency
from fastilp.control.punts import Punts
from fastilp.control.settlement import Settlement
from fastilp.control.settlement_calls import SettlementCalls
from fastilp.control.settlement_messages import EngineMessages
from fastilp.control.tables import NodeTables
from fastilp.node.listening import listen_http, with_port
from fastilp.node.monitoring import Monitoring
from fastilp.node.report import EventLog
from fastilp.node.wiring import NodeWiring
from fastilp.storage.ledger import Ledger
from fastilp.transports.auth import TokenTable
from fastilp.transports.http_messages import HttpRequest, HttpResponse, path_of
from fastilp.transports.http_reply import Answerer, HttpReply
from fastilp.transports.http_server import HttpListener
from fastilp.transports.pump import Pump

_log = structlog.get_logger("fastilp.settlement")

_CALLS_MAX = 256
_BUSY = HttpResponse(503, b"", "", {"Retry-After": "1"})


class NodeSettling:
    """Made with the switch; `start` when the node listens, `close` at its end."""

    def __init__(
        self,
        settings: Settings,
        pump: Pump,
        ledger: Ledger,
        accounts: Accounts,
        tables: NodeTables,
        monitoring: Monitoring,
    ) -> None:
        config = settings.settlement
        self._address = settings.listen.settlement
        self._pump = pump
        self._ledger = ledger
        self._accounts = accounts
        self._config = config
        tokens = {url: token.get_secret_value() for url, token in config.outgoing_tokens.items()}
        self._client = EngineClient(tokens)
        self.settlement = Settlement(
            accounts,
            tables,
            ledger,
            self._client,
            monitoring.alerts,
            pump.now_ms,
            settle_every_seconds=config.settle_every,
            kept_days=config.kept_days,
        )
        self.settlement.restore()
        monitoring.numbers.append(self._numbers)
        self._listener: HttpListener | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls: SettlementCalls | None = None

    def attach(self, wiring: NodeWiring, events: EventLog) -> None:
        """Hear of accounts as they come and go, and of what is due."""
        wiring.on_opened.append(self.settlement.account_opened)
        wiring.on_shut.append(self.settlement.account_shut)
        self._accounts.on_closing.append(self.settlement.records_without)
        self._accounts.on_closed.append(self.settlement.account_closed)
        events.on_settle = self.settlement.due

    async def start(self, punts: Punts) -> None:
        """Raises ConfigError where listening fails."""
        settlement = self.settlement
        messages = EngineMessages(
            self._client, punts.requests, settlement.engine_of_account, self._pump.now_ms
        )
        punts.settle = messages.handle
        token = self._config.incoming_token
        self._calls = SettlementCalls(
            settlement,
            messages,
            self._ledger,
            Idempotency(self._ledger, self._accounts.vault.hash_key),
            token.get_secret_value() if token is not None else None,
            self._config.kept_days,
        )
        if self._address is not None:
            self._listener = HttpListener(
                self._pump, TokenTable(), TokenTable(), fallback=self._fallback
            )
            await listen_http(self._listener, self._address, "listen.settlement")
        settlement.start()

    @property
    def address(self) -> str | None:
        """Where engines call, with the port that the system chose."""
        if self._listener is None or self._address is None:
            return None
        return with_port(self._address, self._listener.port)

    def stop_accepting(self) -> None:
        if self._listener is not None:
            self._listener.stop_accepting()

    async def close(self, timeout_seconds: float) -> None:
        await self.settlement.close()
        if self._listener is not None:
            await self._listener.drain(timeout_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- What engines call ----------------------------------------------------------------------

    def _fallback(self, request: HttpRequest) -> HttpResponse | Answerer | None:
        path = path_of(request.target)
        if path == "/":
            return None
        if len(self._tasks) >= _CALLS_MAX:
            return _BUSY

        def answer(reply: HttpReply) -> None:
            task = asyncio.get_running_loop().create_task(self._answer(request, path, reply))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return answer

    async def _answer(self, request: HttpRequest, path: str, reply: HttpReply) -> None:
        assert self._calls is not None
        try:
            found = await self._calls.answer(request.method, path, request.headers, request.body)
            response = HttpResponse(found.status, found.body, found.content_type, found.headers)
        except Exception:
            _log.exception("a settlement engine's call failed", path=path[:200])
            response = HttpResponse(500)
        if not reply.closed:
            reply.answer(response)

    # --- Metrics --------------------------------------------------------------------------------

    def _numbers(self) -> Iterable[tuple[str, str, float]]:
        settlement = self.settlement
        open_ = settlement.outbox.open()
        refused = sum(intent.state == "refused" for intent in open_)
        yield "settlements_pending", "Settlements that wait for their engine.", len(open_) - refused
        yield "settlements_refused", "Settlements that an engine refused: see to them.", refused
        yield (
            "settlement_tries",
            "Calls of engines to pay, since the start.",
            settlement.outbox.tries,
        )
        yield (
            "settlements_sent",
            "Settlements that engines took, since the start.",
            (settlement.outbox.sent),
        )
        yield (
            "settlement_credits",
            "Settlements of peers, since the start.",
            (settlement.credits.count),
        )
        waiting = len(settlement.engine_accounts)
        yield "engine_accounts_waiting", "Accounts that engines are still to be told of.", waiting
