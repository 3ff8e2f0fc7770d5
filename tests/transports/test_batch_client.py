"""The batch dialler against our own listener and against peers that misbehave."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from fastilp.errors import UsageError
from fastilp.transports.batch import BatchLimits
from fastilp.transports.batch_client import BatchAddress, BatchDialler, parse_batch_url
from tests.transports.batch_harness import BatchClient, BatchHub, batch_hub, dialler
from tests.transports.harness import FULFILLMENT, on_uvloop, prepare, until

WELCOME = {"ilp": 1, "in_flight_max": 10}


@pytest.mark.parametrize(
    "url, token, parsed, shown",
    [
        ("ilp+tcp://h", None, ("ilp+tcp", "h", 7767, "", "", ""), "ilp+tcp://h:7767"),
        (
            "ilp+tls://alice:secret@h:1/",
            None,
            ("ilp+tls", "h", 1, "", "alice", "secret"),
            "ilp+tls://h:1",
        ),
        (
            "ilp+tcp://al%20ice:se%40cret@[::1]:80",
            "given",
            ("ilp+tcp", "::1", 80, "", "al ice", "given"),
            "ilp+tcp://[::1]:80",
        ),
        (
            "ilp+unix:///run/f.sock",
            "given",
            ("ilp+unix", "", 7767, "/run/f.sock", "", "given"),
            "ilp+unix:///run/f.sock",
        ),
        (
            "ilp+unix://alice:secret@/run/f.sock",
            None,
            ("ilp+unix", "", 7767, "/run/f.sock", "alice", "secret"),
            "ilp+unix:///run/f.sock",
        ),
    ],
)
def test_urls(url: str, token: str | None, parsed: tuple[Any, ...], shown: str) -> None:
    address = parse_batch_url(url, token)
    assert address == BatchAddress(*parsed)
    assert str(address) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:7767",
        "tcp://h",
        "ilp+tcp://",
        "ilp+tcp://h:99999",
        "ilp+tcp://h:0",
        "ilp+tcp://h:x",
        "ilp+tcp://h/path",
        "ilp+tcp://h?query",
        "ilp+unix://",
        "ilp+unix:///",
        "ilp+unix://h/path",
        "ilp+unix://a:secret@h:1/path",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_batch_url(url)
    assert "secret" not in str(caught.value)


@on_uvloop
async def test_two_nodes() -> None:
    async with batch_hub() as near, batch_hub() as far:
        await pay_through(near, far, f"ilp+tcp://near:secret@127.0.0.1:{far.listener.port}")


@on_uvloop
async def test_two_nodes_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "far.sock"
    async with batch_hub() as near, batch_hub(path=path) as far:
        await pay_through(near, far, f"ilp+unix://near:secret@{path}")


async def pay_through(near: BatchHub, far: BatchHub, url: str) -> None:
    alice = near.hub.receiver("alice")
    far.hub.receiver("bob")
    far.batch("near", "secret")
    port = near.batch("far", "unused")
    near.switch.set_route("g.hub.bob", near.hub.account("far"))
    async with dialler(near, "far", url):
        await until(lambda: port.up)
        for request_id in range(300):
            alice.send(request_id, prepare(amount=2, data=bytes(request_id * 10)))
        await until(lambda: len(alice.seen) == 300)
        assert {packet.fulfillment for packet in alice.seen} == {FULFILLMENT}
        assert near.switch.balance(near.hub.account("far")) == 600
        assert far.switch.balance(far.hub.account("near")) == -600
    await until(lambda: not port.up)


@on_uvloop
async def test_a_refused_token_is_told_and_tried_again() -> None:
    async with batch_hub() as near, batch_hub() as far:
        url = f"ilp+tcp://near@127.0.0.1:{far.listener.port}"
        async with dialler(near, "far", url, "secret") as made:
            await until(lambda: made.attempts >= 2)
            assert made.last_error == "peer refused: authentication failed"
            port = far.batch("near", "secret")
            await until(lambda: port.up)
            await until(lambda: made.last_error == "")


@on_uvloop
async def test_comes_back_and_says_why_it_was_gone() -> None:
    async with batch_hub() as near, batch_hub() as far:
        port = far.batch("near", "secret")
        url = f"ilp+tcp://127.0.0.1:{far.listener.port}"
        async with dialler(near, "far", url, "secret") as made:
            for _ in range(3):
                await until(lambda: port.up)
                port.disconnect("because")
                await until(lambda: not port.up)
                await until(lambda: made.last_error == "peer: because")
            await until(lambda: port.up)


@on_uvloop
async def test_nobody_listens_then_somebody_does() -> None:
    async with batch_hub() as near, batch_hub() as far:
        free = far.listener.port
        far.listener.stop_accepting()
        async with dialler(near, "far", f"ilp+tcp://127.0.0.1:{free}", "secret") as made:
            await until(lambda: made.attempts >= 3)
            assert made.last_error
            port = far.batch("near", "secret")
            await far.listener.start("127.0.0.1", free)
            await until(lambda: port.up)


@contextlib.asynccontextmanager
async def peer(serve: Callable[[BatchClient], Awaitable[None]]) -> AsyncIterator[str]:
    """A peer of our making that listens; the URL for it."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = BatchClient(reader, writer)
        with contextlib.suppress(EOFError, ConnectionResetError):
            await serve(client)
        await client.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"ilp+tcp://us:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize(
    "answer, reason",
    [
        (msgpack.packb({"error": "closed on sundays"}), "peer refused: closed on sundays"),
        (msgpack.packb({"ilp": 2}), '"ilp": 1'),
        (msgpack.packb([1, b"x"]), "not a map"),
        (b"\xc1", "not MessagePack"),
        (b"", "closed the connection during the hello"),
        (msgpack.packb("x" * 5_000)[:4_500], "too long"),
    ],
)
@on_uvloop
async def test_answers_that_are_no_welcome(answer: bytes, reason: str) -> None:
    async def serve(client: BatchClient) -> None:
        hello = await client.value()
        assert hello == {"ilp": 1, "account": "us", "token": "secret"}
        client.write(answer)
        if answer:
            assert await client.is_closed() or True

    async with batch_hub() as node, peer(serve) as url, dialler(node, "peer", url) as made:
        await until(lambda: reason in made.last_error)


@on_uvloop
async def test_a_peer_that_never_answers_the_hello() -> None:
    async def serve(client: BatchClient) -> None:
        await client.value()
        await client.last_words()

    limits = BatchLimits(hello_seconds=0.1)
    async with batch_hub() as node, peer(serve) as url:
        async with dialler(node, "peer", url, limits=limits) as made:
            await until(lambda: made.last_error == "no hello in time")


@on_uvloop
async def test_packets_right_behind_the_welcome() -> None:
    answers: list[Any] = []

    async def serve(client: BatchClient) -> None:
        await client.value()
        client.write(msgpack.packb(WELCOME) + msgpack.packb([1, prepare()]) * 3)
        while True:
            answers.append(await client.value())

    async with batch_hub() as node, peer(serve) as url:
        node.hub.receiver("bob")
        async with dialler(node, "peer", url):
            await until(lambda: len(answers) == 3)
        await until(lambda: answers[-1] == {"error": "the dialler is closed"})


@on_uvloop
async def test_one_connection_when_both_dial() -> None:
    async with batch_hub() as near, batch_hub() as far:
        near_port, far_port = near.batch("far", "near-secret"), far.batch("near", "far-secret")
        near_url = f"ilp+tcp://far:near-secret@127.0.0.1:{near.listener.port}"
        far_url = f"ilp+tcp://near:far-secret@127.0.0.1:{far.listener.port}"
        dials = BatchDialler(near_port, far_url), BatchDialler(far_port, near_url)
        for made in dials:
            made.start()
        await until(lambda: near_port.up and far_port.up)
        alice = near.hub.receiver("alice")
        far.hub.receiver("bob")
        near.switch.set_route("g.hub.bob", near.hub.account("far"))
        # The two may have met half way and replaced each other; one stays.
        request_id = 0
        while not any(packet.fulfillment for packet in alice.seen):
            request_id += 1
            alice.send(request_id, prepare())
            await asyncio.sleep(0.05)
        for made in dials:
            await made.close()
