"""A stand-in for PayPal's REST API, of tests only: business accounts, payouts, the list of
transactions, webhooks. Made from PayPal's public description; none of PayPal itself is in it.

Payouts are looked at when a test says so (`process`), or by themselves. Money is cents in integers;
each payout costs its sender a fee. It fails on command, and forgets batches as PayPal does.
"""

import base64
import datetime
import hashlib
import hmac
import itertools
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web

FEE = 25
FUNDS = 10_000_000
REMEMBERED = datetime.timedelta(days=30)
SIGNING_KEY = b"of the stand-in"
WEBHOOK_ID = "WH-STANDIN"


def cents(value: str) -> int:
    whole, _, rest = value.partition(".")
    return int(whole) * 100 + int(rest.ljust(2, "0"))


def value_of(amount: int) -> str:
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100}.{abs(amount) % 100:02}"


@dataclass
class Merchant:
    email: str
    balance: int = FUNDS
    transactions: list[dict[str, Any]] = field(default_factory=list)
    webhook_url: str = ""


@dataclass
class Batch:
    sender: Merchant
    name: str
    batch_id: str
    item: dict[str, Any]
    made: datetime.datetime
    status: str = "PENDING"
    item_status: str = ""
    transaction_id: str = ""


class PayPalStandIn:
    def __init__(self) -> None:
        self.merchants: dict[tuple[str, str], Merchant] = {}
        self.batches: dict[str, Batch] = {}
        self.fees = 0
        self.calls: Counter[str] = Counter()
        self.failures: deque[str] = deque()
        """What becomes of the next payouts that are asked for: `fail` and `limit` (500 and 429, it
        is not taken), `hang up` (nor is it), `lose` (it is taken and the answer is lost), `break`
        (it is taken and answered with 500), `withdraw` (the token ends)."""
        self.outcome = "SUCCESS"
        """What becomes of the payouts that are looked at."""
        self.is_automatic = True
        self.page = 500
        self.lag = datetime.timedelta(0)
        self.later = datetime.timedelta(0)
        """How much later than now it is."""
        self._tokens: dict[str, Merchant] = {}
        self._numbers = itertools.count(1)
        self._runner: web.AppRunner | None = None
        self.url = ""

    def add(self, email: str) -> Merchant:
        """Its client id is its email, the secret the same backwards."""
        merchant = Merchant(email)
        self.merchants[email, email[::-1]] = merchant
        return merchant

    def of(self, email: str) -> Merchant | None:
        return next((each for each in self.merchants.values() if each.email == email), None)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/oauth2/token", self._token)
        app.router.add_post("/v1/payments/payouts", self._payout)
        app.router.add_get("/v1/payments/payouts/{id}", self._show)
        app.router.add_get("/v1/reporting/transactions", self._list)
        app.router.add_post("/v1/notifications/verify-webhook-signature", self._verify)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        held = sum(each.balance for each in self.merchants.values())
        waiting = sum(
            cents(each.item["amount"]["value"]) + FEE
            for each in self.batches.values()
            if each.item_status in ("", "UNCLAIMED", "ONHOLD", "PENDING")
            and each.status != "DENIED"
        )
        assert held + waiting + self.fees == FUNDS * len(self.merchants)

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) + self.later

    def paid(self, email: str) -> list[int]:
        """Cents of the payouts to this email that succeeded."""
        return [
            cents(each.item["amount"]["value"])
            for each in self.batches.values()
            if each.item["receiver"] == email and each.item_status == "SUCCESS"
        ]

    def process(self) -> None:
        """All payouts that wait."""
        for batch in self.batches.values():
            if batch.item_status in ("", "UNCLAIMED", "ONHOLD", "PENDING"):
                self._process(batch)

    def receive(self, email: str, amount: int, note: str, **more: Any) -> str:
        """Somebody pays one of the merchants by hand. The id of the transaction."""
        merchant = self.of(email)
        assert merchant is not None
        payer = self.of("payer@example.org")
        assert payer is not None
        payer.balance -= amount
        merchant.balance += amount
        return self._list_at(merchant, amount, note, **more)

    async def tell(self, batch_id: str, signature: str | None = None) -> int:
        """A webhook about this batch. The status of the answer."""
        batch = self.batches[batch_id]
        resource = {"payout_batch_id": batch_id, "transaction_status": batch.item_status}
        event = {"event_type": "PAYMENT.PAYOUTS-ITEM.SUCCEEDED", "resource": resource}
        raw = orjson.dumps(event, option=orjson.OPT_INDENT_2)
        headers = {
            "PAYPAL-AUTH-ALGO": "SHA256withRSA",
            "PAYPAL-CERT-URL": "https://api.example.org/cert",
            "PAYPAL-TRANSMISSION-ID": str(next(self._numbers)),
            "PAYPAL-TRANSMISSION-TIME": self.now().isoformat(),
        }
        headers["PAYPAL-TRANSMISSION-SIG"] = signature or _signature(
            headers["PAYPAL-TRANSMISSION-ID"], raw
        )
        async with (
            aiohttp.ClientSession() as session,
            session.post(batch.sender.webhook_url, data=raw, headers=headers) as response,
        ):
            return response.status

    def _process(self, batch: Batch) -> None:
        amount = cents(batch.item["amount"]["value"])
        batch.status, batch.item_status = "SUCCESS", self.outcome
        batch.transaction_id = f"S{next(self._numbers):016}"
        if self.outcome == "DENIED":
            batch.status, batch.item_status = "DENIED", ""
        if self.outcome == "SUCCESS":
            receiver = self.of(batch.item["receiver"])
            assert receiver is not None
            receiver.balance += amount
            self.fees += FEE
            self._list_at(receiver, amount, batch.item["note"], transaction_event_code="T0001")
            self._list_at(batch.sender, -amount, batch.item["note"])
        elif self.outcome not in ("UNCLAIMED", "ONHOLD", "PENDING"):
            batch.sender.balance += amount + FEE

    def _list_at(self, merchant: Merchant, amount: int, note: str, **more: Any) -> str:
        name = f"T{next(self._numbers):016}"
        moment = self.now().strftime("%Y-%m-%dT%H:%M:%S+0000")
        info = {
            "transaction_id": name,
            "transaction_event_code": "T0000",
            "transaction_initiation_date": moment,
            "transaction_amount": {"currency_code": "USD", "value": value_of(amount)},
            "transaction_status": "S",
            "transaction_note": note,
        }
        merchant.transactions.append(info | more)
        return name

    async def _token(self, request: web.Request) -> web.Response:
        self.calls["token"] += 1
        try:
            login = request.headers.get("Authorization", "").removeprefix("Basic ")
            client_id, _, secret = base64.b64decode(login).decode().partition(":")
            merchant = self.merchants[client_id, secret]
        except (ValueError, KeyError):
            return _refused(401, "invalid_client")
        token = f"token-{next(self._numbers)}"
        self._tokens[token] = merchant
        return _json({"access_token": token, "token_type": "Bearer", "expires_in": 32_400})

    def _merchant(self, request: web.Request) -> Merchant | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return self._tokens.get(token)

    async def _payout(self, request: web.Request) -> web.StreamResponse:
        self.calls["payout"] += 1
        failure = self.failures.popleft() if self.failures else ""
        if failure == "withdraw":
            self._tokens.clear()
        merchant = self._merchant(request)
        if merchant is None:
            return _refused(401, "invalid_token")
        if failure in ("fail", "limit"):
            return _refused(500 if failure == "fail" else 429, "on command")
        if failure == "hang up":
            return _hung_up(request)
        answer = self._taken(merchant, orjson.loads(await request.read()))
        if failure == "break":
            return _refused(503, "on command")
        return _hung_up(request) if failure == "lose" else answer

    def _taken(self, merchant: Merchant, body: dict[str, Any]) -> web.Response:
        name = body["sender_batch_header"]["sender_batch_id"]
        (item,) = body["items"]
        for batch in self.batches.values():
            is_remembered = batch.made + REMEMBERED > self.now()
            if batch.sender is merchant and batch.name == name and is_remembered:
                return self._duplicate(batch)
        amount = cents(item["amount"]["value"])
        if merchant.balance < amount + FEE:
            return _refused(422, "INSUFFICIENT_FUNDS")
        merchant.balance -= amount + FEE
        batch_id = f"B{next(self._numbers):012}"
        self.batches[batch_id] = Batch(merchant, name, batch_id, item, self.now())
        header = {"payout_batch_id": batch_id, "batch_status": "PENDING"}
        return _json({"batch_header": header}, 201)

    def _duplicate(self, batch: Batch) -> web.Response:
        link = {
            "href": f"https://api.example.org/v1/payments/payouts/{batch.batch_id}",
            "rel": "self",
            "method": "GET",
        }
        detail = {
            "field": "SENDER_BATCH_ID",
            "location": "body",
            "issue": "Batch with given sender_batch_id already exists",
            "link": [link],
        }
        return _json({"name": "USER_BUSINESS_ERROR", "details": [detail]}, 400)

    async def _show(self, request: web.Request) -> web.Response:
        self.calls["show"] += 1
        merchant, batch = self._merchant(request), self.batches.get(request.match_info["id"])
        if merchant is None:
            return _refused(401, "invalid_token")
        if batch is None or batch.sender is not merchant:
            return _refused(404, "RESOURCE_NOT_FOUND")
        if self.is_automatic and not batch.item_status and batch.status != "DENIED":
            self._process(batch)
        header = {
            "payout_batch_id": batch.batch_id,
            "batch_status": batch.status,
            "sender_batch_header": {"sender_batch_id": batch.name},
        }
        shown: dict[str, Any] = {"batch_header": header}
        if batch.item_status:
            item = {
                "transaction_id": batch.transaction_id,
                "transaction_status": batch.item_status,
                "payout_item": batch.item,
            }
            shown["items"] = [item]
        return _json(shown)

    async def _list(self, request: web.Request) -> web.Response:
        self.calls["list"] += 1
        merchant = self._merchant(request)
        if merchant is None:
            return _refused(401, "invalid_token")
        start, end = (
            datetime.datetime.fromisoformat(request.query[name])
            for name in ("start_date", "end_date")
        )
        if end - start > datetime.timedelta(days=31):
            return _refused(400, "INVALID_REQUEST")
        # Nothing is listed before its time; the seconds that `end` lacks are not left out.
        whole = self.now() - self.lag
        until = min(end + datetime.timedelta(seconds=1) + self.later, whole)
        known = [
            {"transaction_info": each}
            for each in merchant.transactions
            if start <= datetime.datetime.fromisoformat(each["transaction_initiation_date"]) < until
        ]
        page = int(request.query["page"])
        first = (page - 1) * self.page
        return _json(
            {
                "transaction_details": known[first : first + self.page],
                "last_refreshed_datetime": whole.isoformat(),
                "total_pages": max(1, -(-len(known) // self.page)),
            }
        )

    async def _verify(self, request: web.Request) -> web.Response:
        self.calls["verify"] += 1
        if self._merchant(request) is None:
            return _refused(401, "invalid_token")
        raw = await request.read()
        body = orjson.loads(raw)
        # The event as it came in the call, byte for byte.
        event = raw[raw.index(b'"webhook_event":') + len(b'"webhook_event":') : -1]
        wanted = _signature(body["transmission_id"], event)
        is_right = hmac.compare_digest(wanted, body["transmission_sig"])
        is_right = is_right and body["webhook_id"] == WEBHOOK_ID
        return _json({"verification_status": "SUCCESS" if is_right else "FAILURE"})


def _signature(transmission_id: str, raw: bytes) -> str:
    digest = hmac.new(SIGNING_KEY, transmission_id.encode() + raw, hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _json(answer: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(answer), status=status, content_type="application/json")


def _refused(status: int, name: str) -> web.Response:
    return _json({"name": name, "message": "The stand-in refuses."}, status)


def _hung_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.StreamResponse()
