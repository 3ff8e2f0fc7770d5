"""The HTTP sender's pool: pipelining, answers that only the full parser reads, and what is lost
with a connection."""

import asyncio

import pytest

from fastilp.errors import UsageError
from fastilp.transports.http_pool import HttpSenderLimits
from tests import ilp_bytes
from tests.transports.harness import FULFILLMENT, hub, on_uvloop, prepare, until
from tests.transports.test_http_client import (
    FULFILL,
    Serve,
    always,
    ok,
    read_request,
    sender_to,
    sending,
)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
    len(FULFILL),
    FULFILL,
)
DEEP = HttpSenderLimits(connections_max=1, pipeline_depth=8)


def in_batches(batches: list[int], count: int) -> Serve:
    """A server that waits for `count` requests before it answers them all in one write."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            for _ in range(count):
                if await read_request(reader) is None:
                    return
            batches.append(count)
            writer.write(ok() * count)

    return serve


@on_uvloop
async def test_requests_are_pipelined_to_the_depth() -> None:
    batches: list[int] = []
    async with sending(in_batches(batches, 8), DEEP) as (alice, sender):
        for request_id in range(64):
            alice.send(request_id, prepare())
        await until(lambda: len(alice.seen) == 64)
        assert {packet.fulfillment for packet in alice.seen} == {FULFILLMENT}
        assert batches == [8] * 8
        assert sender.connection_count() == 1


@on_uvloop
async def test_one_at_a_time_is_the_default() -> None:
    most = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        while await read_request(reader):
            await asyncio.sleep(0.001)
            # What has come meanwhile lies in the stream's buffer.
            most = max(most, len(reader._buffer))  # type: ignore[attr-defined]
            writer.write(ok())

    async with sending(serve, HttpSenderLimits(connections_max=2)) as (alice, _):
        for request_id in range(50):
            alice.send(request_id, prepare())
        await until(lambda: len(alice.seen) == 50)
        assert most == 0


@on_uvloop
async def test_pipelined_answers_belong_to_their_requests() -> None:
    """The answer says what the request's data were, in pieces and in both shapes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 0
        while request := await read_request(reader):
            count += 1
            data = ilp_bytes.decode(request[1]).data
            body = ilp_bytes.fulfill(FULFILLMENT, data)
            answer = ok(body)
            if count > 20:
                answer = (
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
                )
            writer.write(answer[:30])
            await asyncio.sleep(0)
            writer.write(answer[30:])

    async with sending(serve, DEEP) as (alice, sender):
        wanted = {}
        for request_id in range(60):
            wanted[request_id] = b"%d" % request_id
            alice.send(request_id, prepare(data=wanted[request_id]))
        await until(lambda: len(alice.seen) == 60)
        assert [packet.data for packet in alice.seen] == list(wanted.values())
        assert sender.connection_count() == 1


@on_uvloop
async def test_all_that_was_written_is_lost_with_the_connection_and_nothing_is_sent_twice() -> None:
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(8):
            request = await read_request(reader)
            if request is None:
                return
            requests.append(request[1])
        writer.write(ok() * 3)

    async with sending(serve, DEEP) as (alice, sender):
        for request_id in range(8):
            alice.send(request_id, prepare(data=b"%d" % request_id))
        await until(lambda: len(alice.seen) == 8)
        types = [packet.type for packet in alice.seen]
        assert types == [ilp_bytes.FULFILL] * 3 + [ilp_bytes.REJECT] * 5
        assert {packet.code for packet in alice.seen[3:]} == {"T01"}
        assert len(requests) == len(set(requests)) == 8
        await until(lambda: sender.connection_count() == 0)
        assert sender.last_error == "connection lost before the answer"


@pytest.mark.parametrize("answers", [ok() + ok(), CHUNKED + CHUNKED, CHUNKED + ok()])
@on_uvloop
async def test_more_answers_than_requests(answers: bytes) -> None:
    async with sending(always(answers)) as (alice, _):
        for request_id in range(3):
            alice.send(request_id, prepare())
            await until(lambda count=request_id + 1: len(alice.seen) == count)
        assert {packet.code for packet in alice.seen} == {"T01"}


@on_uvloop
async def test_an_answer_that_nobody_asked_for() -> None:
    written = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        while await read_request(reader):
            writer.write(ok())
            await asyncio.sleep(0.02)
            writer.write(ok())
            written += 1

    async with sending(serve) as (alice, sender):
        alice.send(0, prepare())
        await until(lambda: len(alice.seen) == 1 and written == 1)
        assert alice.seen[0].fulfillment == FULFILLMENT
        await until(lambda: sender.connection_count() == 0)


@on_uvloop
async def test_the_money_of_a_thousand_pipelined_packets() -> None:
    async with hub() as near, hub() as far:
        far.receiver("bob")
        far.http("near", "secret")
        limits = HttpSenderLimits(connections_max=3, pipeline_depth=16)
        url = f"http://127.0.0.1:{far.listener.port}/accounts/near/ilp"
        alice, sender = sender_to(near, url, limits=limits)
        for request_id in range(1_000):
            to = "g.hub.bob" if request_id % 3 else "g.hub.bob.elsewhere-too"
            alice.send(request_id, prepare(amount=7, to=to, data=bytes(request_id)))
        await until(lambda: len(alice.seen) == 1_000)
        fulfilled = sum(packet.type == ilp_bytes.FULFILL for packet in alice.seen)
        assert near.switch.balance(near.account("bob")) == 7 * fulfilled
        assert near.switch.balance(near.account("alice")) == -7 * fulfilled
        assert far.switch.balance(far.account("near")) == -7 * fulfilled
        assert far.switch.balance(far.account("bob")) == 7 * fulfilled
        assert near.switch.in_flight() == far.switch.in_flight() == 0
        assert sender.connection_count() <= 3
        sender.close()


@on_uvloop
async def test_a_depth_that_is_none() -> None:
    async with hub() as node:
        for depth in (0, 257):
            with pytest.raises(UsageError):
                sender_to(node, "http://h/", limits=HttpSenderLimits(pipeline_depth=depth))
