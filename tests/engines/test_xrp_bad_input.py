"""What peers and nodes may answer the XRP engine: nothing of it is money, and nothing ends it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from fastilp.engines import EngineError, NotNowError
from fastilp.engines.settings import load
from fastilp.engines.xrp import XrpSettings
from fastilp.engines.xrp.incoming import Incoming
from fastilp.engines.xrp.rpc import Rpc, RpcError
from fastilp.engines.xrp.stand_in import StandIn
from fastilp.errors import ConfigError
from tests.engines.world import until
from tests.engines.xrp_world import (
    ADDRESSES,
    NOWHERE,
    PAYER,
    SECRETS,
    chosen,
    connectors,
    engine,
    hosted,
    paid,
    pair,
    stand_in,
)

GOOD_ENTRY: dict[str, Any] = {
    "validated": True,
    "meta": {"TransactionResult": "tesSUCCESS", "delivered_amount": "7"},
    "tx": {
        "Account": ADDRESSES[0],
        "Destination": ADDRESSES[1],
        "DestinationTag": 1,
        "TransactionType": "Payment",
        "Amount": "1000",
        "hash": "AB" * 32,
        "ledger_index": 3,
    },
}


@pytest.mark.parametrize("secret", ["", "s", "secret", SECRETS[0][:-1], SECRETS[0] + "a", "é" * 29])
def test_secrets_that_are_none(secret: str) -> None:
    """The message does not show them: nearly right is a secret, too."""
    with pytest.raises(ConfigError, match="must be the secret of an XRP account") as raised:
        load(XrpSettings, None, {"xrp_secret": secret})
    assert "sp6JS" not in str(raised.value)


def test_settings_that_are_wrong() -> None:
    for wrong in ({"xrp_url": "ws://x"}, {"expiry_ledgers": 2}, {"max_fee": 9}, {"network_id": -1}):
        with pytest.raises(ValueError):
            XrpSettings.model_validate({"xrp_secret": SECRETS[0], **wrong})


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"xrpAddress": 1, "destinationTag": 2}',
        orjson.dumps({"xrpAddress": ADDRESSES[1]}),
        orjson.dumps({"xrpAddress": ADDRESSES[1], "destinationTag": "1"}),
        orjson.dumps({"xrpAddress": ADDRESSES[1], "destinationTag": True}),
        orjson.dumps({"xrpAddress": ADDRESSES[1], "destinationTag": -1}),
        orjson.dumps({"xrpAddress": ADDRESSES[1], "destinationTag": 2**32}),
        orjson.dumps({"xrpAddress": ADDRESSES[1][:-1] + "x", "destinationTag": 1}),
        orjson.dumps({"xrpAddress": ADDRESSES[0], "destinationTag": 1}),
        b"[" * 30_000,
    ],
)
async def test_a_peer_that_answers_wrongly_is_not_paid(tmp_path: Path, answer: bytes) -> None:
    async with connectors() as joined:
        settings = chosen(tmp_path / "one", joined.url, NOWHERE, 0)
        async with hosted(settings) as (host, _):

            async def told(account_id: str, message: bytes) -> bytes:
                assert orjson.loads(message) == {"type": "paymentDetails"}
                return answer

            host.engine.context.message = told  # type: ignore[method-assign]
            with pytest.raises(EngineError, match="answered wrongly|our own address") as raised:
                await engine(host).accounts.details(PAYER)
            assert not isinstance(raised.value, NotNowError)


@pytest.mark.asyncio
async def test_messages_that_mean_nothing(tmp_path: Path) -> None:
    async with connectors() as joined:
        settings = chosen(tmp_path / "one", joined.url, NOWHERE, 0)
        async with hosted(settings) as (_, calls):
            await calls.create(PAYER)
            for message in (b"", b"\xff", b"[]", b"{}", b'{"type": []}', b"[" * 30_000):
                assert (await calls.message(PAYER, message)).status == 400
            replies = [await calls.message(PAYER, b'{"type":"paymentDetails"}') for _ in range(2)]
            assert replies[0].status == 201 and replies[0] == replies[1]
            details = orjson.loads(replies[0].body)
            assert details["xrpAddress"] == ADDRESSES[0] and details["permanent"] is True
            assert 1 <= details["destinationTag"] < 2**32


@pytest.mark.asyncio
async def test_a_peer_whose_tags_do_not_last_is_asked_each_time(tmp_path: Path) -> None:
    """As those of `ilp-settlement-xrp`, which forgets them after five minutes."""
    async with stand_in(50) as found, pair(tmp_path, found.url) as both:
        tags = iter((11, 12, 13, 14, 15))

        async def told(account_id: str, message: bytes) -> bytes:
            answer = {"xrpAddress": ADDRESSES[1], "destinationTag": next(tags)}
            return orjson.dumps(answer)

        both.payer.engine.context.message = told  # type: ignore[method-assign]
        with both.payer._store.write() as change:
            change.delete(b"engine", f"peer/{PAYER}")
        for count in (1, 2):
            await both.settle(count)
            await until(lambda count=count: both.has_paid(count))
        entries = found.ledger.entries_of(ADDRESSES[1], 3, found.ledger.number)
        assert [each.transaction["DestinationTag"] for each in entries] == [11, 12]
        await until(lambda: engine(both.payee).incoming.strays == 2)
        assert paid(found.ledger) == [1, 2] and both.credits() == []


class Twisted(StandIn):
    """Answers with what `twist` makes of it."""

    twist: Callable[[str, dict[str, Any]], Any] = staticmethod(lambda method, result: result)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        answer = await super()._answer(request)
        assert isinstance(answer, web.Response) and isinstance(answer.body, bytes)
        method = orjson.loads(await request.read())["method"]
        twisted = type(self).twist(method, orjson.loads(answer.body))
        raw = twisted if isinstance(twisted, bytes) else orjson.dumps(twisted)
        return web.Response(body=raw, content_type="application/json")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"result": 1}',
        b'{"result": []}',
        b'{"result": {"state": {}}}',
        b'{"result": {"state": {"validated_ledger": {"seq": -1}}}}',
        b'{"result": {"state": {"validated_ledger": {"seq": "x", "reserve_base": 1}}}}',
        b'{"result": {"error": {"a": 1}}}',
        b'{"result": {"status": "error"}}',
        b"[" * 100_000,
    ],
)
async def test_a_node_that_answers_something_else(raw: bytes) -> None:
    class Other(Twisted):
        twist = staticmethod(lambda method, result: raw)

    node = Other("127.0.0.1:0")
    await node.start()
    rpc = Rpc(node.url)
    rpc.open()
    try:
        with pytest.raises(NotNowError):
            await rpc.ledger()
    finally:
        await rpc.close()
        await node.stop()


def changed(**fields: Any) -> dict[str, Any]:
    """GOOD_ENTRY with other fields; None: without it."""
    entry: dict[str, Any] = orjson.loads(orjson.dumps(GOOD_ENTRY))
    for part in (entry, entry["meta"], entry["tx"]):
        for name in fields.keys() & part.keys():
            part[name] = fields[name]
            if fields[name] is None:
                del part[name]
    return entry


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("entry", "outcome"),
    [
        (GOOD_ENTRY, "stray"),
        (changed(delivered_amount=None), "nothing"),
        (changed(delivered_amount="unavailable"), "nothing"),
        (changed(delivered_amount={"currency": "USD", "value": "7", "issuer": "r"}), "nothing"),
        (changed(delivered_amount=7), "nothing"),
        (changed(delivered_amount="-7"), "nothing"),
        (changed(delivered_amount="\u0667"), "nothing"),
        (changed(delivered_amount="0"), "nothing"),
        (changed(delivered_amount="1" * 60), "raised"),
        (changed(TransactionResult="tecPATH_DRY"), "nothing"),
        (changed(TransactionType="EscrowFinish"), "nothing"),
        (changed(Destination=ADDRESSES[2]), "nothing"),
        (changed(DestinationTag=None), "stray"),
        (changed(DestinationTag=2**32), "raised"),
        (changed(DestinationTag="x"), "raised"),
        (changed(validated=False), "raised"),
        (changed(validated=None), "raised"),
        (changed(tx=None), "raised"),
        (changed(meta=7), "raised"),
        (changed(hash=None), "raised"),
        (changed(ledger_index="x"), "raised"),
        (changed(Account=None), "raised"),
        ("x", "raised"),
    ],
)
async def test_entries_of_the_list(tmp_path: Path, entry: Any, outcome: str) -> None:
    """What is not surely XRP for us is nothing; what is no entry at all stops the cursor."""

    class Other(Twisted):
        @staticmethod
        def twist(method: str, answer: dict[str, Any]) -> dict[str, Any]:
            if method == "account_tx":
                answer["result"]["transactions"] = [entry]
            return answer

    node = Other("127.0.0.1:0")
    await node.start()
    settings = chosen(tmp_path / "one", NOWHERE, NOWHERE, 1, poll_frequency=3_600_000)
    try:
        async with hosted(settings) as (host, _):
            await until(lambda: host.problems())
            rpc = engine(host).rpc
            rpc._url = node.url
            incoming = Incoming(host.engine.context, rpc, ADDRESSES[1])
            await incoming.look()
            node.ledger.close()
            before = incoming.next_ledger()
            if outcome == "raised":
                with pytest.raises(NotNowError):
                    await incoming.look()
                assert incoming.next_ledger() == before
            else:
                await incoming.look()
                assert incoming.next_ledger() == before + 1
            assert incoming.strays == (outcome == "stray")
            assert engine(host)._parked() == 0
            assert host._credits.outbox.waiting_count == 0
    finally:
        await node.stop()


@pytest.mark.asyncio
async def test_what_a_node_says_to_a_submission_is_provisional(tmp_path: Path) -> None:
    """It says that all failed, and it did not; it says that all is well, and it is not."""

    class Other(Twisted):
        word = "temMALFORMED"

        @classmethod
        def twist(cls, method: str, answer: dict[str, Any]) -> dict[str, Any]:
            if method == "submit":
                answer["result"]["engine_result"] = cls.word
            return answer

    node = Other("127.0.0.1:0")
    for address in ADDRESSES[:2]:
        node.ledger.fund(address, 10**9)
    node.ledger.close()
    await node.start()
    try:
        async with pair(tmp_path, node.url) as both:
            await both.settle(5)
            await until(lambda: "temMALFORMED" in " ".join(both.payer.problems()))
            node.ledger.close()
            await until(lambda: both.credits() == [5] and both.has_paid(1))
            Other.word = "tesSUCCESS"
            await both.settle(6)
            await until(lambda: node.ledger._open)
            node.ledger.forget_open()
            await until(lambda: node.ledger._open)
            node.ledger.close()
            await until(lambda: both.credits() == [5, 6] and both.has_paid(2))
            assert paid(node.ledger) == [5, 6] and both.payer.problems() == []
    finally:
        await node.stop()


@pytest.mark.asyncio
async def test_errors_of_the_node_have_their_code() -> None:
    async with stand_in() as found:
        rpc = Rpc(found.url)
        rpc.open()
        try:
            with pytest.raises(RpcError) as raised:
                await rpc.call("account_info", account=ADDRESSES[2])
            assert raised.value.code == "actNotFound"
        finally:
            await rpc.close()
