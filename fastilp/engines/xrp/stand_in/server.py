"""The stand-in as a server: the methods of rippled's JSON-RPC that an engine calls, on loopback.
Imports the neighbours.

Ledgers close by `ledger_accept`, as with rippled in stand-alone mode, or on a timer. It fails on
command, which only the program that holds it can give.
"""

import asyncio
import json
import os
import signal
from collections import Counter, deque
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiohttp import web

from fastilp.engines.xrp.stand_in.ledger import (
    BASE_FEE,
    RESERVE_BASE,
    RESERVE_EACH,
    Entry,
    StandInLedger,
)
from fastilp.errors import ConfigError, DecodeError

PAGE_MAX = 200
BODY_BYTES_MAX = 1 << 20


class _Refused(Exception):
    """`code` as rippled has it, and more of the result."""

    def __init__(self, code: str, message: str = "", **more: Any) -> None:
        self.result = {"error": code, "error_message": message or code, **more}
        super().__init__(code)


class StandIn:
    """Listens on `address`; `ledger` is what it tells of."""

    def __init__(self, address: str, network_id: int = 0, close_every_ms: int = 0) -> None:
        """`close_every_ms`: 0 closes ledgers on command only."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._close_every_ms = close_every_ms
        self._closer: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self.ledger = StandInLedger(network_id)
        self.calls: Counter[str] = Counter()
        self.page = PAGE_MAX
        """Entries of an answer, at most."""
        self.failures: deque[str] = deque()
        """What becomes of the next submissions: `lose` (it is taken and the answer is lost), `drop`
        (it is answered and not taken), `hang up` (neither)."""
        self.url = ""

    async def start(self) -> None:
        """Raises ConfigError."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post("/", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            raise ConfigError(f"cannot listen on {self._host}:{self._port}: {error}") from None
        self.url = f"http://{self._host}:{self._runner.addresses[0][1]}"
        if self._close_every_ms:
            self._closer = asyncio.create_task(self._close_often())

    async def stop(self) -> None:
        if self._closer is not None:
            self._closer.cancel()
            await asyncio.gather(self._closer, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _close_often(self) -> None:
        while True:
            await asyncio.sleep(self._close_every_ms / 1_000)
            self.ledger.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            call = orjson.loads(await request.read())
            method, params = str(call["method"]), dict((call.get("params") or [{}])[0])
        except (orjson.JSONDecodeError, TypeError, ValueError, KeyError, AttributeError):
            return web.Response(status=400, text="Unable to parse request")
        self.calls[method] += 1
        failure = ""
        if method == "submit" and self.failures:
            failure = self.failures.popleft()
        try:
            if failure == "hang up":
                return _hung_up(request)
            result = {**self._result(method, params, failure == "drop"), "status": "success"}
        except _Refused as refused:
            result = {**refused.result, "request": params, "status": "error"}
        if failure == "lose":
            return _hung_up(request)
        return web.Response(body=orjson.dumps({"result": result}), content_type="application/json")

    def _result(self, method: str, params: dict[str, Any], is_dropped: bool) -> dict[str, Any]:
        """Raises _Refused."""
        if method == "submit":
            return self._submit(params, is_dropped)
        known = {
            "server_state": self._server_state,
            "fee": self._fee,
            "account_info": self._account_info,
            "ledger": self._ledger,
            "tx": self._transaction,
            "account_tx": self._account_transactions,
            "ledger_accept": self._ledger_accept,
        }
        if method not in known:
            raise _Refused("unknownCmd", "Unknown method.")
        return known[method](params)

    def _server_state(self, params: dict[str, Any]) -> dict[str, Any]:
        ledger = self.ledger
        validated = {
            "seq": ledger.number,
            "hash": ledger.ledger_hash(ledger.number),
            "base_fee": BASE_FEE,
            "reserve_base": RESERVE_BASE,
            "reserve_inc": RESERVE_EACH,
        }
        return {
            "state": {
                "build_version": "stand-in",
                "complete_ledgers": f"{ledger.first}-{ledger.number}",
                "network_id": ledger.network_id,
                "server_state": "full",
                "validated_ledger": validated,
            }
        }

    def _ledger(self, params: dict[str, Any]) -> dict[str, Any]:
        number = _number(params, "ledger_index", -1)
        if not self.ledger.first <= number <= self.ledger.number:
            raise _Refused("lgrNotFound", "ledgerNotFound")
        found = {"ledger_hash": self.ledger.ledger_hash(number), "ledger_index": number}
        return {**found, "ledger": {**found, "closed": True}, "validated": True}

    def _fee(self, params: dict[str, Any]) -> dict[str, Any]:
        names = ("base_fee", "median_fee", "minimum_fee", "open_ledger_fee")
        return {"drops": dict.fromkeys(names, str(BASE_FEE))}

    def _account_info(self, params: dict[str, Any]) -> dict[str, Any]:
        is_current = params.get("ledger_index") == "current"
        state = self.ledger.current if is_current else self.ledger.validated
        address = str(params.get("account"))
        account = state.accounts.get(address)
        if account is None:
            raise _Refused("actNotFound", "Account not found.")
        data = {
            "Account": address,
            "Balance": str(account.balance),
            "OwnerCount": 0,
            "Sequence": account.sequence,
        }
        return {"account_data": data, "validated": not is_current}

    def _submit(self, params: dict[str, Any], is_dropped: bool) -> dict[str, Any]:
        blob = params.get("tx_blob")
        try:
            if blob is None and "secret" in params:
                # As rippled does for its own operator.
                fields = dict(params.get("tx_json") or {})
                blob = self.ledger.signed(str(params["secret"]), fields)
            if is_dropped:
                return {"engine_result": "tesSUCCESS", "tx_blob": blob}
            result, transaction = self.ledger.submit(str(blob or ""))
        except (DecodeError, TypeError, ValueError) as error:
            raise _Refused("invalidTransaction", str(error)) from None
        return {"engine_result": result, "tx_blob": blob, "tx_json": transaction}

    def _transaction(self, params: dict[str, Any]) -> dict[str, Any]:
        found = self.ledger.find(str(params.get("transaction")).upper())
        if found is None:
            low, high = params.get("min_ledger"), params.get("max_ledger")
            more = {}
            if isinstance(low, int) and isinstance(high, int):
                if high < low or high - low > 1_000:
                    raise _Refused("excessiveLgrRange", "Ledger range exceeds 1000.")
                has_all = self.ledger.first <= low and high <= self.ledger.number
                more = {"searched_all": has_all}
            raise _Refused("txnNotFound", "Transaction not found.", **more)
        entry, is_validated = found
        shown = {**entry.transaction, "validated": is_validated}
        return shown | ({"meta": entry.meta} if is_validated else {})

    def _account_transactions(self, params: dict[str, Any]) -> dict[str, Any]:
        ledger = self.ledger
        low = max(_number(params, "ledger_index_min", -1), ledger.first)
        high = _number(params, "ledger_index_max", -1)
        high = ledger.number if high < 0 else min(high, ledger.number)
        if high < low:
            raise _Refused("lgrIdxsInvalid", "Ledger indexes invalid.")
        entries = ledger.entries_of(str(params.get("account")), low, high)
        if not params.get("forward"):
            entries.reverse()
        start = _number(dict(params.get("marker") or {}), "seq", 0)
        size = min(_number(params, "limit", PAGE_MAX), self.page)
        result = {
            "account": params.get("account"),
            "ledger_index_min": low,
            "ledger_index_max": high,
            "limit": size,
            "transactions": [_shown(entry) for entry in entries[start : start + size]],
        }
        if start + size < len(entries):
            result["marker"] = {"ledger": low, "seq": start + size}
        return result

    def _ledger_accept(self, params: dict[str, Any]) -> dict[str, Any]:
        return {"ledger_current_index": self.ledger.close() + 1}


def serve_stand_in(address: str, close_every_ms: int, ready_file: Path | None) -> None:
    """Until a signal ends it. Raises ConfigError."""
    uvloop.run(_serve(StandIn(address, close_every_ms=close_every_ms), ready_file))


async def _serve(stand_in: StandIn, ready_file: Path | None) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        await stand_in.start()
        print(f"XRP Ledger stand-in on {stand_in.url}", flush=True)
        if ready_file is not None:
            part = ready_file.with_name(ready_file.name + ".part")
            told = {"http": stand_in.url.removeprefix("http://"), "pid": os.getpid()}
            part.write_text(json.dumps(told))
            part.rename(ready_file)
        await ended.wait()
    finally:
        await stand_in.stop()


def _number(params: dict[str, Any], name: str, default: int) -> int:
    found = params.get(name, default)
    if type(found) is not int:
        raise _Refused("invalidParams", f"Invalid field '{name}'.")
    return found


def _shown(entry: Entry) -> dict[str, Any]:
    return {"meta": entry.meta, "tx": entry.transaction, "validated": True}


def _hung_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.StreamResponse()
