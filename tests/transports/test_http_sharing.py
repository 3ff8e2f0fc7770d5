"""Accounts at one host and port share its connections: one account's at a time, and nobody loses a
packet or waits behind another for it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from fastilp.transports.http_client import HttpSender
from fastilp.transports.http_pool import HttpPools, HttpSenderLimits, Origin
from tests import ilp_bytes
from tests.transports.harness import FULFILLMENT, Hub, Receiver, hub, on_uvloop, prepare, until
from tests.transports.test_http_client import (
    Holding,
    Serve,
    always,
    ok,
    read_request,
    server,
)

LIMITS = HttpSenderLimits(connections_max=2)


class Senders:
    """Accounts "bob0", "bob1" and so on at the end of one URL, and alice, who pays them."""

    def __init__(self, node: Hub, port: int, count: int, limits: HttpSenderLimits) -> None:
        self.alice: Receiver = node.receiver("alice")
        self.pools = HttpPools(node.pump)
        self.all: list[HttpSender] = []
        self._sent = 0
        for number in range(count):
            link = node.switch.open_link(node.account(f"bob{number}"), name="http-out")
            url = f"http://127.0.0.1:{port}/accounts/bob{number}/ilp"
            token = f"secret{number}"
            sender = HttpSender(link, node.pump, url, token, limits=limits, pools=self.pools)
            self.all.append(sender)

    @property
    def seen(self) -> list[ilp_bytes.Packet]:
        return self.alice.seen

    def pay(self, number: int, ms: int = 20_000) -> None:
        self.alice.send(self._sent, prepare(to=f"g.hub.bob{number}", ms=ms))
        self._sent += 1

    def codes(self) -> list[str]:
        return [packet.code for packet in self.seen]

    def close(self) -> None:
        for sender in self.all:
            sender.close()


@contextlib.asynccontextmanager
async def sharing(
    serve: Serve, count: int = 2, limits: HttpSenderLimits = LIMITS
) -> AsyncIterator[Senders]:
    async with hub() as node, server(serve) as port:
        senders = Senders(node, port, count, limits)
        try:
            yield senders
        finally:
            senders.close()


async def never() -> None:
    """In the place of `connect`: a server whose network drops what we say."""
    await asyncio.Event().wait()


@on_uvloop
async def test_one_connection_serves_one_account_after_the_other() -> None:
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await read_request(reader):
            asked.append(request[0])
            writer.write(ok())

    async with sharing(serve, count=3) as senders:
        for turn in range(6):
            senders.pay(turn % 3)
            await until(lambda turn=turn: len(senders.seen) == turn + 1)
        assert {packet.fulfillment for packet in senders.seen} == {FULFILLMENT}
        assert senders.all[0].connection_count() == 1
        # Each request has its own account's URL and token.
        for turn, head in enumerate(asked):
            assert f"POST /accounts/bob{turn % 3}/ilp " in head
            assert f"Bearer secret{turn % 3}\r\n" in head


@on_uvloop
async def test_nobody_is_pipelined_behind_another_account() -> None:
    """The server answers bob1 only."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await read_request(reader):
            if "/bob0/" in request[0]:
                await asyncio.Event().wait()
            writer.write(ok())

    limits = HttpSenderLimits(connections_max=1, pipeline_depth=8)
    async with sharing(serve, limits=limits) as senders:
        for _ in range(3):
            senders.pay(0)
        await until(lambda: senders.all[0].outlet.carrying == 1)
        for _ in range(5):
            senders.pay(1)
        await until(lambda: len(senders.seen) == 5)
        assert {packet.fulfillment for packet in senders.seen} == {FULFILLMENT}
        assert senders.all[0].connection_count() == 2


@on_uvloop
async def test_who_waits_takes_the_connection_that_another_account_needs_no_more() -> None:
    peer = Holding()
    async with sharing(peer.serve) as senders:
        senders.pay(0)
        await until(lambda: senders.all[0].outlet.carrying == 1)
        pool = senders.all[1]._pool
        pool.connect = never  # type: ignore[method-assign]
        senders.pay(1)
        await until(lambda: senders.all[1].outlet.queue_count == 1)
        peer.gate.set()
        await until(lambda: len(senders.seen) == 2)
        assert {packet.fulfillment for packet in senders.seen} == {FULFILLMENT}
        assert senders.all[0].connection_count() == 1


@on_uvloop
async def test_the_bound_is_each_accounts_own() -> None:
    peer = Holding()
    async with sharing(peer.serve) as senders:
        for _ in range(5):
            senders.pay(0)
            senders.pay(1)
        await until(lambda: peer.busy == 4)
        assert [sender.outlet.carrying for sender in senders.all] == [2, 2]
        peer.gate.set()
        await until(lambda: len(senders.seen) == 10)
        assert {packet.fulfillment for packet in senders.seen} == {FULFILLMENT}
        assert peer.most == 4
        assert [sender.outlet.carrying for sender in senders.all] == [0, 0]


@on_uvloop
async def test_an_account_that_goes_takes_nothing_of_the_others_along() -> None:
    peer = Holding()
    async with sharing(peer.serve) as senders:
        for _ in range(4):
            senders.pay(0)
            senders.pay(1)
        await until(lambda: senders.all[0].connection_count() == 4)
        senders.all[0].close()
        await until(lambda: len(senders.seen) == 4)
        assert senders.codes() == ["T01"] * 4
        peer.gate.set()
        await until(lambda: len(senders.seen) == 8)
        assert [packet.fulfillment for packet in senders.seen[4:]] == [FULFILLMENT] * 4
        # With the last one the connections go.
        pool = senders.all[1]._pool
        senders.all[1].close()
        await until(lambda: not pool.connections)


@on_uvloop
async def test_a_lost_connection_is_its_own_accounts_loss_only() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await read_request(reader):
            if "/bob0/" in request[0]:
                return
            writer.write(ok())

    async with sharing(serve) as senders:
        for _ in range(20):
            senders.pay(0)
            senders.pay(1)
        await until(lambda: len(senders.seen) == 40)
        assert senders.codes().count("T01") == 20
        assert senders.all[0].last_error == "connection lost before the answer"
        assert senders.all[1].last_error == ""


@on_uvloop
async def test_who_waits_opens_a_connection_when_the_others_are_lost() -> None:
    gate = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await read_request(reader):
            if "/bob0/" in request[0]:
                await gate.wait()
                return
            writer.write(ok())

    async with sharing(serve) as senders:
        senders.pay(0)
        await until(lambda: senders.all[0].outlet.carrying == 1)
        waiting = senders.all[1]
        # As if the connection that it opened had gone to somebody else.
        waiting.open_more = lambda: None  # type: ignore[method-assign]
        senders.pay(1)
        await until(lambda: waiting.outlet.queue_count == 1)
        del waiting.open_more  # type: ignore[method-assign]
        gate.set()
        await until(lambda: len(senders.seen) == 2)
        assert sorted(senders.codes()) == ["", "T01"]


@on_uvloop
async def test_connections_that_end_after_each_answer_are_opened_again() -> None:
    """With one connection at a time, and more Prepares waiting than that."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await read_request(reader):
            writer.write(ok(more="Connection: close\r\n"))

    async with sharing(serve, limits=HttpSenderLimits(connections_max=1)) as senders:
        for _ in range(10):
            senders.pay(0)
            senders.pay(1)
        await until(lambda: len(senders.seen) == 20)
        assert {packet.fulfillment for packet in senders.seen} == {FULFILLMENT}


@on_uvloop
async def test_what_expires_in_the_queue_is_forgotten() -> None:
    async with sharing(always(ok())) as senders:
        senders.all[0]._pool.connect = never  # type: ignore[method-assign]
        senders.pay(0, ms=1_000)
        await until(lambda: len(senders.seen) == 1)
        assert senders.codes() == ["R00"]
        await until(lambda: senders.all[0].outlet.queue_count == 0)


@on_uvloop
async def test_only_those_who_want_the_same_share() -> None:
    async with hub() as node:
        pools = HttpPools(node.pump)
        here = Origin(secure=False, host="h", port=80)
        first = pools.join(here, LIMITS)
        assert pools.join(Origin(secure=False, host="h", port=80), LIMITS) is first
        tls = ssl.create_default_context()
        others = [
            pools.join(Origin(secure=False, host="h", port=81), LIMITS),
            pools.join(Origin(secure=False, host="g", port=80), LIMITS),
            pools.join(here, HttpSenderLimits(pipeline_depth=2)),
            pools.join(Origin(secure=True, host="h", port=80), LIMITS),
            pools.join(Origin(secure=True, host="h", port=80, tls=tls), LIMITS),
        ]
        assert len({id(pool) for pool in (first, *others)}) == 6
        pools.leave(first)
        assert pools.join(here, LIMITS) is first
        for _ in range(2):
            pools.leave(first)
        assert pools.join(here, LIMITS) is not first


@on_uvloop
async def test_the_money_of_many_accounts_over_shared_connections() -> None:
    accounts, each = 20, 50
    async with hub() as near, hub() as far:
        far.receiver("alice")
        for number in range(accounts):
            far.http(f"bob{number}", f"secret{number}")
            # What goes to a bob's children goes to him here, and to alice there.
            far.switch.set_route(f"g.hub.bob{number}", far.account("alice"))
        senders = Senders(near, far.listener.port, accounts, LIMITS)
        for number in range(accounts * each):
            senders.pay(number % accounts)
        await until(lambda: len(senders.seen) == accounts * each)
        assert {packet.fulfillment for packet in senders.seen} == {FULFILLMENT}
        for number in range(accounts):
            name = f"bob{number}"
            assert near.switch.balance(near.account(name)) == each
            assert far.switch.balance(far.account(name)) == -each
        assert near.switch.balance(near.account("alice")) == -accounts * each
        assert far.switch.balance(far.account("alice")) == accounts * each
        assert near.switch.in_flight() == far.switch.in_flight() == 0
        assert senders.all[0].connection_count() <= accounts * LIMITS.connections_max
        senders.close()


@on_uvloop
async def test_one_who_asks_for_all_leaves_the_others_their_turn() -> None:
    """bob0 has far more to send than its connection takes, and bob1 cannot open one of its own."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            await asyncio.sleep(0.002)
            writer.write(ok())

    async with sharing(serve, limits=HttpSenderLimits(connections_max=1)) as senders:
        senders.pay(0)
        await until(lambda: len(senders.seen) == 1)
        senders.all[0]._pool.connect = never  # type: ignore[method-assign]
        for _ in range(100):
            senders.pay(0)
        senders.pay(1)
        await until(lambda: senders.all[1].outlet.carrying == 1)
        await until(lambda: senders.all[1].outlet.carrying == 0)
        assert len(senders.seen) < 20
        await until(lambda: len(senders.seen) == 102)
        assert {packet.fulfillment for packet in senders.seen} == {FULFILLMENT}


@on_uvloop
async def test_an_account_that_goes_while_its_connection_opens() -> None:
    """Others get what it has opened."""
    gate = asyncio.Event()
    async with sharing(always(ok())) as senders:
        pool = senders.all[0]._pool
        connect = pool.connect

        async def slow() -> None:
            await gate.wait()
            await connect()

        pool.connect = slow  # type: ignore[method-assign]
        senders.pay(0)
        await until(lambda: senders.all[0].outlet.queue_count == 1)
        senders.all[0].close()
        pool.connect = never  # type: ignore[method-assign]
        senders.pay(1)
        await until(lambda: senders.all[1].outlet.queue_count == 1)
        gate.set()
        await until(lambda: len(senders.seen) == 2)
        assert sorted(senders.codes()) == ["", "T01"]
