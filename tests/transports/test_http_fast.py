"""The fast path of the listener over sockets: who parses what, in which order answers come, and
that nothing of it shows in the money."""

import asyncio
import random
from typing import Any

import pytest

from fastilp.transports import http_fast
from fastilp.transports.http_messages import HttpLimits
from tests import ilp_bytes
from tests.transports.harness import (
    FULFILLMENT,
    Hub,
    Receiver,
    hub,
    on_uvloop,
    post,
    prepare,
    until,
)

GET = b"GET /ilp HTTP/1.1\r\nHost: hub\r\n\r\n"
# Answered by the full parser, and its connection goes on.
ODD = b"GET /nothing HTTP/1.1\r\nHost: hub\r\n\r\n"


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What each connection gave to the full parser."""
    seen: list[bytes] = []
    adopt = http_fast.adopt

    def recording(transport: Any, protocol: Any, received: bytes) -> None:
        seen.append(received)
        adopt(transport, protocol, received)

    monkeypatch.setattr(http_fast, "adopt", recording)
    return seen


def is_balanced(node: Hub) -> bool:
    """What senders paid, receivers got; nothing is held."""
    counters = [node.switch.counters(account) for account in node.switch.accounts()]
    debits = sum(each["debits_posted"] for each in counters)
    credits = sum(each["credits_posted"] for each in counters)
    held = sum(each["debits_pending"] + each["credits_pending"] for each in counters)
    return debits == credits and held == 0


async def held(bob: Receiver, count: int) -> None:
    await until(lambda: len(bob.held) == count)


@on_uvloop
async def test_what_ilp_peers_send_never_leaves_the_fast_path(handed_over: list[bytes]) -> None:
    async with hub() as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        client = await node.connect()
        more = "Accept: application/octet-stream\r\nConnection: keep-alive\r\nUser-Agent: x\r\n"
        for path in ("/accounts/alice/ilp", "/ilp", "/"):
            for token in ("Bearer alice-token", "bearer alice-token", "alice-token"):
                for kind in ("application/octet-stream", "application/ilp+octet-stream", None):
                    request = post(prepare(amount=2), path, token, more, kind)
                    assert (await client.ask(request)).packet.type == ilp_bytes.FULFILL
        assert (await client.ask(GET)).body == b"OK"
        assert (await client.ask(post(b"no packet"))).status == 400
        assert (await client.ask(post(prepare(to="no address")))).status == 400
        assert handed_over == []
        assert node.switch.balance(node.account("bob")) == 54
        assert is_balanced(node)


@on_uvloop
async def test_the_rest_is_handed_over_once_and_for_all(handed_over: list[bytes]) -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        node.http("alice", "alice-token")
        client = await node.connect()
        rest = ODD + post(prepare(amount=4)) + post(prepare(amount=5))[:77]
        client.write(post(prepare(amount=1)) + post(prepare(amount=2)) + rest)
        await held(bob, 2)
        await asyncio.sleep(0.01)
        assert handed_over == [], "the answers before it are not out"
        bob.release()
        for _ in range(2):
            assert (await client.response()).packet.type == ilp_bytes.FULFILL
        assert (await client.response()).status == 404
        assert handed_over == [rest]
        client.write(post(prepare(amount=5))[77:])
        await held(bob, 2)
        bob.release()
        for _ in range(2):
            assert (await client.response()).packet.type == ilp_bytes.FULFILL
        # It stays there.
        client.write(ODD + GET)
        assert (await client.response()).status == 404
        assert (await client.response()).body == b"OK"
        assert len(handed_over) == 1
        assert node.switch.balance(node.account("bob")) == 12
        assert is_balanced(node)


@on_uvloop
async def test_both_parsers_serve_one_account_at_once() -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        node.http("alice", "alice-token")
        fast, slow = await node.connect(), await node.connect()
        await slow.ask(ODD)
        for i in range(20):
            fast.write(post(prepare(data=b"fast%d" % i)))
            slow.write(post(prepare(data=b"slow%d" % i)))
        await held(bob, 40)
        order = list(bob.held)
        random.Random(3).shuffle(order)
        for request_id, packet in order:
            data = ilp_bytes.decode(packet).data
            bob.give(request_id, ilp_bytes.fulfill(FULFILLMENT, data))
            await asyncio.sleep(0)
        for i in range(20):
            assert (await fast.response()).packet.data == b"fast%d" % i
            assert (await slow.response()).packet.data == b"slow%d" % i
        assert is_balanced(node)


@on_uvloop
async def test_answers_come_in_the_order_of_requests_whoever_sent_them() -> None:
    """Two accounts, refusals and health checks on one connection, answered in any order, cut in
    pieces of any size."""
    dice = random.Random(11)
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        node.http("alice", "alice-token")
        node.http("carol", "carol-token")
        client = await node.connect()
        expected: list[object] = []
        raw = b""
        for i in range(200):
            kind = dice.choice(("alice", "carol", "get", "bad", "unreachable"))
            expected.append(b"%d" % i if kind in ("alice", "carol") else kind)
            if kind in ("alice", "carol"):
                packet = prepare(data=b"%d" % i)
                raw += post(packet, f"/accounts/{kind}/ilp", f"Bearer {kind}-token")
            elif kind == "get":
                raw += GET
            else:
                raw += post(b"hello" if kind == "bad" else prepare(to="g.elsewhere"))
        payments = sum(isinstance(each, bytes) for each in expected)
        answering = asyncio.ensure_future(answer_all(bob, payments, dice))
        while raw:
            size = dice.choice((1, 7, 100, 1_000, 5_000))
            client.write(raw[:size])
            raw = raw[size:]
            await asyncio.sleep(0)
        for each in expected:
            response = await client.response()
            if isinstance(each, bytes):
                assert response.packet.data == each
            elif each == "get":
                assert response.body == b"OK"
            else:
                code = {"bad": "F01", "unreachable": "F02"}[str(each)]
                assert response.packet.code == code
                assert response.status == (400 if each == "bad" else 200)
        await answering
        assert node.switch.balance(node.account("bob")) == payments
        assert is_balanced(node)


async def answer_all(bob: Receiver, count: int, dice: random.Random) -> None:
    for _ in range(count):
        await until(lambda: bool(bob.held))
        request_id, packet = bob.held.pop(dice.randrange(len(bob.held)))
        bob.give(request_id, ilp_bytes.fulfill(FULFILLMENT, ilp_bytes.decode(packet).data))


@on_uvloop
async def test_every_cut_of_a_request_followed_by_another() -> None:
    async with hub() as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        client = await node.connect()
        pair = post(prepare(data=b"one")) + post(prepare(data=b"two"))
        for cut in range(1, len(pair)):
            client.write(pair[:cut])
            await asyncio.sleep(0)
            client.write(pair[cut:])
            assert (await client.response()).packet.data == b"one"
            assert (await client.response()).packet.data == b"two"
        assert node.switch.balance(node.account("bob")) == 2 * (len(pair) - 1)
        assert is_balanced(node)


@on_uvloop
async def test_large_bodies_in_one_pipeline() -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        node.http("alice", "alice-token")
        client = await node.connect()
        sizes = [32_768, 0, 1, 32_767, 127, 128, 255, 256] * 5
        sent = asyncio.ensure_future(write_all(client, sizes))
        for size in sizes:
            assert (await client.response()).packet.data == bytes(size)
        await sent
        assert [len(packet.data) for packet in bob.seen] == sizes
        assert is_balanced(node)


async def write_all(client: Any, sizes: list[int]) -> None:
    for size in sizes:
        client.write(post(prepare(data=bytes(size))))
        await client.writer.drain()


@on_uvloop
async def test_a_client_that_goes_while_others_wait() -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        node.http("alice", "alice-token")
        gone, stays = await node.connect(), await node.connect()
        gone.write(post(prepare(amount=1)) * 3)
        stays.write(post(prepare(amount=10)) * 3)
        await held(bob, 6)
        gone.reset()
        await until(lambda: node.listener.connection_count() == 1)
        bob.release()
        for _ in range(3):
            assert (await stays.response()).packet.type == ilp_bytes.FULFILL
        await until(lambda: node.switch.statuses()["undeliverable"] == 3)
        # A Fulfill whose upstream has gone stands.
        assert node.switch.balance(node.account("bob")) == 33
        assert is_balanced(node)
        # Its places are used again.
        stays.write(post(prepare(amount=100)) * 6)
        await held(bob, 6)
        bob.release()
        for _ in range(6):
            assert (await stays.response()).packet.type == ilp_bytes.FULFILL
        assert is_balanced(node)


@on_uvloop
async def test_a_closed_account_and_a_late_answer() -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        port = node.http("alice", "alice-token")
        client = await node.connect()
        client.write(post(prepare(amount=3)) * 2 + GET)
        await held(bob, 2)
        port.close()
        for _ in range(2):
            response = await client.response()
            assert response.status == 503
            assert response.headers["content-type"] == "application/problem+json"
        assert (await client.response()).body == b"OK"
        bob.release()
        await until(lambda: node.switch.statuses()["undeliverable"] == 2)
        assert is_balanced(node)
        await node.is_alive()


@on_uvloop
async def test_an_account_that_closes_between_head_and_body(handed_over: list[bytes]) -> None:
    """The request is answered, by the full parser, as if it had come after that."""
    async with hub() as node:
        bob = node.receiver("bob")
        ports = {name: node.http(name, f"{name}-token") for name in ("alice", "carol")}
        client, renamed = await node.connect(), await node.connect()
        request = post(prepare())
        other = post(prepare(), "/accounts/carol/ilp", "Bearer carol-token")
        client.write(request[:-10])
        renamed.write(other[:-10])
        await asyncio.sleep(0.05)
        ports["alice"].close()
        node.http_tokens.put("carol", "new-token", ports["carol"])
        client.write(request[-10:])
        renamed.write(other[-10:])
        assert (await client.response()).status == 503
        assert (await renamed.response()).status == 401
        assert handed_over == [request, other]
        assert bob.seen == []
        assert is_balanced(node)
        await node.is_alive()


@on_uvloop
async def test_a_drain_of_a_connection_that_is_about_to_leave() -> None:
    """It is told to end where it has gone to."""
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        node.http("alice", "alice-token")
        client = await node.connect()
        client.write(post(prepare()) + ODD)
        await held(bob, 1)
        await asyncio.sleep(0.02)
        draining = asyncio.ensure_future(node.listener.drain(30.0))
        await asyncio.sleep(0.02)
        bob.release()
        assert (await client.response()).packet.type == ilp_bytes.FULFILL
        assert (await client.response()).status == 404
        assert await client.is_closed()
        await draining


@on_uvloop
async def test_half_close_and_drain_announce_the_end_with_the_last_answer() -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        node.http("alice", "alice-token")
        half, drained = await node.connect(), await node.connect()
        for client in (half, drained):
            client.write(post(prepare()) * 2 + GET)
        await held(bob, 4)
        half.writer.write_eof()
        draining = asyncio.ensure_future(node.listener.drain(5.0))
        await asyncio.sleep(0.02)
        bob.release()
        for client in (half, drained):
            for _ in range(2):
                assert "connection" not in (await client.response()).headers
            last = await client.response()
            assert (last.body, last.headers["connection"]) == (b"OK", "close")
            assert await client.is_closed()
        await draining
        assert is_balanced(node)


@on_uvloop
async def test_time_outs_of_half_a_request(handed_over: list[bytes]) -> None:
    """Behind an answer that is not out yet it is refused when its turn comes."""
    async with hub(http=HttpLimits(request_seconds=0.2)) as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        node.http("alice", "alice-token")
        client = await node.connect()
        client.write(post(prepare()) + post(prepare())[:60])
        await held(bob, 1)
        await asyncio.sleep(0.5)
        bob.release()
        assert (await client.response()).packet.type == ilp_bytes.FULFILL
        assert (await client.response()).status == 408
        assert await client.is_closed()
        assert handed_over == [post(prepare())[:60]]
        assert len(bob.seen) == 1
        assert is_balanced(node)


@on_uvloop
async def test_limits_of_the_listener_hold_on_the_fast_path() -> None:
    limits = HttpLimits(header_size_max=200, body_size_max=1_000)
    async with hub(http=limits) as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        client = await node.connect()
        assert (await client.ask(post(prepare()))).status == 200
        assert (await client.ask(post(prepare(data=bytes(1_000))))).status == 413
        client = await node.connect()
        assert (await client.ask(post(prepare(), more="X: " + "y" * 200 + "\r\n"))).status == 431


@on_uvloop
async def test_mutated_requests_move_no_money_but_their_own() -> None:
    """Whatever a mutation makes of a request: each Prepare that reaches bob is one that was sent,
    whole, and the books are even."""
    dice = random.Random(5)
    async with hub() as node:
        bob = node.receiver("bob")
        node.http("alice", "alice-token")
        packet = prepare(data=b"m")
        whole = post(packet)
        for _ in range(400):
            mutated = bytearray(whole + whole)
            # Heads only: a changed packet is another packet, not another request.
            for _ in range(dice.randint(1, 4)):
                at = dice.randrange(len(whole) - len(packet))
                mutated[at] = dice.choice(b"\0\r\n\t :,0123456789/aZ\x80+-")
            client = await node.connect()
            client.write(bytes(mutated))
            client.writer.write_eof()
            await client.reader.read()
            await client.close()
        assert all(seen.data == b"m" for seen in bob.seen)
        assert len(bob.seen) <= 800
        assert node.switch.balance(node.account("bob")) == len(bob.seen)
        assert is_balanced(node)
        await node.is_alive()


@on_uvloop
async def test_tokens_on_the_fast_path(handed_over: list[bytes]) -> None:
    async with hub() as node:
        node.receiver("bob")
        alice = node.http("alice", "alice-token")
        node.http("carol", "carol-token")
        client = await node.connect()
        assert (await client.ask(post(prepare(amount=1)))).status == 200
        carol = post(prepare(amount=10), "/ilp", "carol-token")
        assert (await client.ask(carol)).status == 200
        assert handed_over == []
        # Another account's token, on a connection that was let in before.
        assert (await client.ask(post(prepare(), token="Bearer carol-token"))).status == 401
        assert len(handed_over) == 1
        # A token that is two accounts' now names nobody alone.
        client = await node.connect()
        assert (await client.ask(post(prepare(amount=100), "/ilp"))).status == 200
        node.http_tokens.put("carol", "alice-token", alice)
        assert (await client.ask(post(prepare(amount=100), "/ilp"))).status == 401
        assert node.switch.balance(node.account("alice")) == -101
        assert node.switch.balance(node.account("carol")) == -10
        assert is_balanced(node)
