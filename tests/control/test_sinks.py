"""Records that leave the node: to a webhook that is a real server on loopback, and to files."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fastilp._core.packet import Fulfill
from fastilp.control import sinks
from fastilp.control.packet_records import PacketRecords
from fastilp.control.sinks import JsonLines, Sink, Webhook
from tests.small_switch import ADDRESS, SmallSwitch


class Receiver:
    """A webhook: `statuses` are answered in turn, then 204."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.batches: list[list[dict[str, Any]]] = []
        self.tokens: list[str] = []
        self.url = ""

    async def __aenter__(self) -> "Receiver":
        application = web.Application(client_max_size=1 << 24)
        application.router.add_post("/hook", self.handle)
        self.runner = web.AppRunner(application)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        host, port = self.runner.addresses[0]
        self.url = f"http://{host}:{port}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()

    async def handle(self, request: web.Request) -> web.Response:
        status = self.statuses.pop(0) if self.statuses else 204
        if status // 100 == 2:
            self.batches.append(await request.json())
            self.tokens.append(request.headers.get("Authorization", ""))
        return web.Response(status=status)

    async def got(self, count: int) -> list[dict[str, Any]]:
        while sum(map(len, self.batches)) < count:
            await asyncio.sleep(0.005)
        return [record for batch in self.batches for record in batch]


@pytest.fixture(autouse=True)
def _short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_PAUSE_SECONDS", 0.001)


def run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def test_webhook_gets_batches() -> None:
    async def work() -> None:
        async with Receiver() as receiver:
            sink = Sink("test", Webhook(receiver.url, "sesame"))
            for number in range(2_500):
                sink.put({"number": number})
            sink.start()
            records = await receiver.got(2_500)
            assert [record["number"] for record in records] == list(range(2_500))
            assert [len(batch) for batch in receiver.batches] == [1_000, 1_000, 500]
            assert set(receiver.tokens) == {"Bearer sesame"}
            await sink.close()
            assert (sink.written, sink.dropped) == (2_500, 0)

    run(work())


def test_failures_are_tried_again_then_dropped() -> None:
    async def work() -> None:
        async with Receiver(500, 302, 204, 503, 503, 503) as receiver:
            sink = Sink("test", Webhook(receiver.url))
            sink.start()
            sink.put({"number": 1})
            await receiver.got(1)
            sink.put({"number": 2})
            while not sink.dropped:
                await asyncio.sleep(0.005)
            sink.put({"number": 3})
            assert [record["number"] for record in await receiver.got(2)] == [1, 3]
            await sink.close()
            assert (sink.written, sink.dropped) == (2, 1)

    run(work())


def test_full_queue_drops_and_counts() -> None:
    async def work() -> None:
        sink = Sink("test", Webhook("http://127.0.0.1:1/"), queue_max=3)
        for number in range(5):
            sink.put({"number": number})
        assert sink.dropped == 2
        await sink.close()
        assert (sink.written, sink.dropped) == (0, 5)

    run(work())


def test_file_of_json_lines_may_be_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"

    async def work() -> None:
        sink = Sink("test", JsonLines(str(path)))
        sink.start()
        for number in (1, 2):
            sink.put({"number": number, "text": "\u20ac"})
            while sink.written < number:
                await asyncio.sleep(0.005)
            if number == 1:
                path.rename(tmp_path / "old.jsonl")
        sink.put({"number": 3})
        await sink.close()

    run(work())
    assert json.loads((tmp_path / "old.jsonl").read_text()) == {"number": 1, "text": "\u20ac"}
    lines = path.read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [2, 3]


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    async def work() -> None:
        sink = Sink("test", JsonLines(str(tmp_path / "none" / "records.jsonl")))
        sink.put({"number": 1})
        await sink.close()
        assert (sink.written, sink.dropped) == (0, 1)

    run(work())


def test_record_of_a_packet(tmp_path: Path) -> None:
    path = tmp_path / "packets.jsonl"

    async def work() -> None:
        node = SmallSwitch()
        node.switch.observe(False, True)
        records = PacketRecords(node.switch, Sink("packets", JsonLines(str(path))))
        records.start()
        node.links["alice"].receive([(1, bytes(node.prepare(f"{ADDRESS}.bob.x", 5)))])
        node.turn()
        [(request_id, _)] = node.links["bob"].take()
        fulfill = Fulfill(fulfillment=bytes(32))
        node.links["bob"].receive([(request_id, bytes(fulfill))])
        node.turn()
        await records.close()
        assert (records.sink.written, records.dropped) == (1, 0)

    run(work())
    assert json.loads(path.read_text()) == {
        "prevHopAccount": "alice",
        "prevHopAssetCode": "ABC",
        "prevHopAssetScale": 9,
        "prevHopAmount": "5",
        "nextHopAccount": "bob",
        "nextHopAssetCode": "ABC",
        "nextHopAssetScale": 9,
        "nextHopAmount": "5",
        "destinationIlpAddress": f"{ADDRESS}.bob.x",
        "fulfillment": "A" * 43 + "=",
        "timestamp": "2023-11-14T22:13:20.000Z",
    }
