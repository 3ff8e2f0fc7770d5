"""What peers and PayPal may answer the PayPal engine: nothing of it is money, and nothing ends it;
and what amounts look like."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from fastilp.engines import EngineError, NotNowError
from fastilp.engines.paypal.client import Client, PayPalError
from fastilp.engines.paypal.incoming import Incoming
from fastilp.engines.paypal.money import scale_of, text_of, units_of
from fastilp.engines.paypal.settings import PayPalSettings
from fastilp.errors import DecodeError
from tests.engines.paypal_stand_in import PayPalStandIn
from tests.engines.paypal_world import EMAILS, chosen, connectors, engine, hosted, pair, stand_in
from tests.engines.world import until
from tests.engines.xrp_world import NOWHERE, PAYER

NOTE = "ILP-" + "0" * 32


@given(st.integers(0, 10**15), st.sampled_from((0, 2)))
def test_amounts_come_back(units: int, scale: int) -> None:
    assert units_of(text_of(units, scale), scale) == units


@pytest.mark.parametrize(
    ("text", "units"),
    [("0.00", 0), ("1", 100), ("1.5", 150), ("1.50", 150), ("-0.01", -1), ("12.3400", 1_234)],
)
def test_amounts(text: str, units: int) -> None:
    assert units_of(text, 2) == units


@pytest.mark.parametrize(
    "text",
    ["", ".5", "1.", "1e3", "1,000.00", "+1", "0x1", "1.001", " 1", "\u0661", "1" * 60, 1, None],
)
def test_amounts_that_are_none(text: object) -> None:
    with pytest.raises(DecodeError):
        units_of(text, 2)


def test_currencies() -> None:
    assert [scale_of(each) for each in ("USD", "EUR", "JPY", "HUF")] == [2, 2, 0, 0]
    assert (text_of(5, 2), text_of(1_234, 2), text_of(7, 0)) == ("0.05", "12.34", "7")


@pytest.mark.parametrize(
    "wrong",
    [
        {"paypal_email": "x"},
        {"paypal_email": "a@b"},
        {"paypal_email": "a@" + "b" * 130 + ".org"},
        {"currency": "usd"},
        {"paypal_url": "ftp://x"},
        {"webhook_bind_address": "3080"},
        {"poll_frequency": 1},
    ],
)
def test_settings_that_are_wrong(wrong: dict[str, Any]) -> None:
    right = {"paypal_client_id": "a", "paypal_secret": "b", "paypal_email": EMAILS[0]}
    PayPalSettings.model_validate(right)
    with pytest.raises(ValueError):
        PayPalSettings.model_validate(right | wrong)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 30_000,
        orjson.dumps({"ppEmail": EMAILS[1], "tag": NOTE}),
        orjson.dumps({"ppEmail": EMAILS[1], "tag": NOTE, "currency": "EUR"}),
        orjson.dumps({"ppEmail": EMAILS[1], "tag": 7, "currency": "USD"}),
        orjson.dumps({"ppEmail": EMAILS[1], "tag": NOTE + "0", "currency": "USD"}),
        orjson.dumps({"ppEmail": "x", "tag": NOTE, "currency": "USD"}),
        orjson.dumps({"ppEmail": ["x"], "tag": NOTE, "currency": "USD"}),
        orjson.dumps({"ppEmail": EMAILS[0].upper(), "tag": NOTE, "currency": "USD"}),
    ],
)
async def test_a_peer_that_answers_wrongly_is_not_paid(tmp_path: Path, answer: bytes) -> None:
    async with connectors() as joined:
        settings = chosen(tmp_path / "one", joined.url, NOWHERE, 0)
        async with hosted(settings) as (host, calls):

            async def told(account_id: str, message: bytes) -> bytes:
                return answer

            host.engine.context.message = told  # type: ignore[method-assign]
            with pytest.raises(EngineError, match="answered wrongly|our own email") as raised:
                await engine(host).accounts.details(PAYER)
            assert not isinstance(raised.value, NotNowError)
            await calls.create(PAYER)
            for message in (b"", b"\xff", b"[]", b"{}", b'{"type": []}', b"[" * 30_000):
                assert (await calls.message(PAYER, message)).status == 400


class Twisted(PayPalStandIn):
    """Answers some calls with what a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.twist: Callable[[str, Any], Any] = lambda path, answer: answer

    async def _twisted(
        self, request: web.Request, answered: Callable[..., Any]
    ) -> web.StreamResponse:
        answer = await answered(request)
        assert isinstance(answer, web.Response) and isinstance(answer.body, bytes)
        found = self.twist(request.path, orjson.loads(answer.body))
        raw = found if isinstance(found, bytes) else orjson.dumps(found)
        return web.Response(body=raw, status=answer.status, content_type="application/json")

    async def _token(self, request: web.Request) -> Any:
        return await self._twisted(request, super()._token)

    async def _show(self, request: web.Request) -> Any:
        return await self._twisted(request, super()._show)

    async def _list(self, request: web.Request) -> Any:
        return await self._twisted(request, super()._list)

    async def _payout(self, request: web.Request) -> Any:
        return await self._twisted(request, super()._payout)


def twisted() -> Twisted:
    found = Twisted()
    for email in EMAILS:
        found.add(email)
    return found


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"access_token": 1, "expires_in": 1}',
        b'{"access_token": "x\\r\\ny", "expires_in": 1000}',
        b'{"access_token": "x", "expires_in": "1"}',
        b"[" * 100_000,
    ],
)
async def test_tokens_that_are_none(raw: bytes) -> None:
    node = twisted()
    node.twist = lambda path, answer: raw if path.endswith("token") else answer
    await node.start()
    client = Client(node.url, EMAILS[0], EMAILS[0][::-1])
    client.open()
    try:
        with pytest.raises(NotNowError):
            await client.get("/v1/payments/payouts/B1")
        assert client.trouble
    finally:
        await client.close()
        await node.stop()


@pytest.mark.asyncio
async def test_a_wrong_secret_is_told() -> None:
    async with stand_in() as found:
        client = Client(found.url, EMAILS[0], "wrong")
        client.open()
        try:
            with pytest.raises(PayPalError, match="401"):
                await client.get("/v1/payments/payouts/B1")
            assert "refuses with 401" in client.trouble and "wrong" not in client.trouble
        finally:
            await client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "change",
    [
        {"batch_header": None},
        {"batch_header": {"sender_batch_header": {"sender_batch_id": "another"}}},
        {"items": [7]},
        {"items": [{"transaction_status": "SUCCESS"}]},
        {
            "items": [
                {
                    "transaction_status": "SUCCESS",
                    "payout_item": {"amount": {"value": "4.00", "currency": "USD"}},
                }
            ]
        },
        {
            "items": [
                {
                    "transaction_status": "FAILED",
                    "payout_item": {"amount": {"value": "5.00", "currency": "EUR"}},
                }
            ]
        },
        {"items": [{"payout_item": {"amount": {"value": "5.001", "currency": "USD"}}}]},
        {"items": []},
        {"items": [{}, {}]},
        {"items": "x"},
    ],
)
async def test_another_payout_is_not_taken_for_ours(tmp_path: Path, change: dict[str, Any]) -> None:
    """Neither is it done then, nor made again."""
    node = twisted()
    node.twist = lambda path, answer: answer | change if "/payouts/" in path else answer
    await node.start()
    try:
        async with pair(tmp_path, node.url) as both:
            await both.settle(500)
            await until(lambda: node.calls["show"] > 3)
            assert not both.has_paid(1) and len(node.batches) == 1
            node.twist = lambda path, answer: answer
            await until(lambda: both.has_paid(1) and both.credits() == [500])
            assert len(node.batches) == 1
    finally:
        await node.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "details",
    [
        None,
        7,
        [7],
        [{"field": "SENDER_BATCH_ID"}],
        [{"field": "SENDER_BATCH_ID", "link": [7]}],
        [{"field": "SENDER_BATCH_ID", "link": [{"href": "https://x/v1/payments/payouts/../me"}]}],
        [{"field": "SENDER_BATCH_ID", "link": [{"href": 7}]}],
        [{"field": "ITEMS", "link": [{"href": "https://x/v1/payments/payouts/B1"}]}],
    ],
)
async def test_duplicates_that_name_no_batch(tmp_path: Path, details: Any) -> None:
    node = twisted()

    def twist(path: str, answer: Any) -> Any:
        if path.endswith("/payouts"):
            return answer | {"details": details} if "details" in answer else {"batch_header": {}}
        return answer

    node.twist = twist
    await node.start()
    try:
        async with pair(tmp_path, node.url) as both:
            await both.settle(500)
            await until(lambda: node.calls["payout"] > 3)
            assert not both.has_paid(1) and len(node.batches) == 1
            node.twist = lambda path, answer: answer
            await until(lambda: both.has_paid(1) and both.credits() == [500])
            assert len(node.batches) == 1
    finally:
        await node.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, "credited"),
        ({"transaction_id": None}, "raised"),
        ({"transaction_id": "x" * 300}, "raised"),
        ({"transaction_amount": {"value": "x", "currency_code": "USD"}}, "raised"),
        ({"transaction_amount": {"value": "0.001", "currency_code": "USD"}}, "raised"),
        ({"transaction_amount": {"value": 5, "currency_code": "USD"}}, "raised"),
        ({"transaction_amount": 7}, "nothing"),
        ({"transaction_amount": {"value": "0.00", "currency_code": "USD"}}, "nothing"),
        ({"transaction_amount": {"value": "1.00", "currency_code": 7}}, "nothing"),
        ({"transaction_status": None}, "nothing"),
        ({"transaction_note": 7}, "nothing"),
        ({"transaction_event_code": None}, "nothing"),
    ],
)
async def test_transactions(tmp_path: Path, change: dict[str, Any], outcome: str) -> None:
    node = twisted()
    await node.start()
    try:
        async with pair(tmp_path, node.url) as both:
            note = both.note()

            def twist(path: str, answer: Any) -> Any:
                if path.endswith("/transactions"):
                    for each in answer["transaction_details"]:
                        each["transaction_info"] |= change
                return answer

            node.twist = twist
            node.receive(EMAILS[1], 500, note)
            node.receive(EMAILS[1], 500, "thank you")
            seen = node.calls["list"]
            await until(lambda: node.calls["list"] > seen + 6)
            if outcome == "credited":
                await until(both.credits)
            if outcome == "raised":
                await until(both.payee.problems)
            assert both.credits() == ([500] if outcome == "credited" else [])
            assert bool(both.payee.problems()) == (outcome == "raised")
    finally:
        await node.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"transaction_details": 7},
        {"transaction_details": [], "total_pages": "x"},
        {"transaction_details": [], "total_pages": 10**9},
        {"transaction_details": [], "last_refreshed_datetime": "soon"},
        {"transaction_details": [], "last_refreshed_datetime": 7},
    ],
)
async def test_lists_that_are_none(tmp_path: Path, answer: dict[str, Any]) -> None:
    """The cursor stays where it was, and the end comes."""
    node = twisted()
    node.twist = lambda path, told: answer if path.endswith("/transactions") else told
    await node.start()
    settings = chosen(tmp_path / "one", NOWHERE, NOWHERE, 1, poll_frequency=3_600_000)
    try:
        async with hosted(settings) as (host, _):
            await until(lambda: host.problems())
            client = Client(node.url, EMAILS[1], EMAILS[1][::-1])
            client.open()
            try:
                with pytest.raises(NotNowError):
                    await Incoming(host.engine.context, client, "USD", 2).look()
            finally:
                await client.close()
            with host._store.read() as view:
                assert view.get(b"engine", "cursor") is None
    finally:
        await node.stop()
