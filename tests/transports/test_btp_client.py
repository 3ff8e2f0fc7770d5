"""The BTP dialler against our own listener and against peers that misbehave."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import picows
import pytest

from fastilp.errors import UsageError
from fastilp.transports.btp import BtpLimits
from fastilp.transports.btp_client import BtpDialler, parse_btp_url
from fastilp.transports.dialler import BackOff
from tests import ilp_bytes
from tests.ilp_bytes import BTP_ERROR, BTP_MESSAGE, BTP_RESPONSE, btp_frame, btp_ilp
from tests.transports.harness import (
    FULFILLMENT,
    Hub,
    hub,
    on_uvloop,
    prepare,
    until,
)


@pytest.mark.parametrize(
    "url, token, parsed",
    [
        ("btp+ws://:secret@h:7768", None, ("ws://h:7768/", "", "secret")),
        ("btp+wss://alice:secret@h/a/ilp/btp", None, ("wss://h/a/ilp/btp", "alice", "secret")),
        ("ws://h/p?q=1", "given", ("ws://h/p?q=1", "", "given")),
        ("btp+ws://alice:secret@h", "given", ("ws://h/", "alice", "given")),
        ("btp+ws://al%20ice:se%40cret@[::1]:80", None, ("ws://[::1]:80/", "al ice", "se@cret")),
        ("wss://h", None, ("wss://h/", "", "")),
    ],
)
def test_urls(url: str, token: str | None, parsed: tuple[str, str, str]) -> None:
    assert parse_btp_url(url, token) == parsed


@pytest.mark.parametrize("url", ["http://h", "btp+ws://", "", "h:7768", "ws://h:99999", "ws://h:x"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(UsageError):
        parse_btp_url(url, None)


@contextlib.asynccontextmanager
async def dialler(
    node: Hub, name: str, url: str, token: str | None = None, limits: BtpLimits | None = None
) -> AsyncIterator[BtpDialler]:
    """A dialler of `name`'s account at `node`; started, and closed in the end."""
    port = node.btp_tokens.find(name, "unused") or node.btp(name, "unused")
    made = BtpDialler(port, url, token, limits=limits)
    made.start()
    try:
        yield made
    finally:
        await made.close()


@on_uvloop
async def test_two_nodes() -> None:
    async with hub() as near, hub() as far:
        alice = near.receiver("alice")
        far.receiver("bob")
        far.btp("near", "secret")
        near.btp("far", "unused")
        near.switch.set_route("g.hub.bob", near.account("far"))
        url = f"btp+ws://:secret@127.0.0.1:{far.listener.port}/accounts/near/ilp/btp"
        async with dialler(near, "far", url):
            port = near.btp_tokens.find("far", "unused")
            assert port is not None
            await until(lambda: port.up)
            for request_id in range(100):
                alice.send(request_id, prepare(amount=2, data=bytes(request_id * 10)))
            await until(lambda: len(alice.seen) == 100)
            assert {packet.fulfillment for packet in alice.seen} == {FULFILLMENT}
            assert near.switch.balance(near.account("far")) == 200
            assert far.switch.balance(far.account("near")) == -200
        await until(lambda: not port.up)


@pytest.mark.parametrize("path", ["/", "/accounts/near/ilp/btp"])
@pytest.mark.parametrize("username", ["", "near"])
@on_uvloop
async def test_paths_and_usernames(path: str, username: str) -> None:
    async with hub() as near, hub() as far:
        port = far.btp("near", "secret")
        url = f"btp+ws://{username}:secret@127.0.0.1:{far.listener.port}{path}"
        async with dialler(near, "far", url):
            await until(lambda: port.up)


@on_uvloop
async def test_a_refused_token_is_told_and_tried_again() -> None:
    async with hub() as near, hub() as far:
        url = f"ws://127.0.0.1:{far.listener.port}/accounts/near/ilp/btp"
        async with dialler(near, "far", url, "secret") as made:
            await until(lambda: made.attempts >= 2)
            assert "F00 NotAcceptedError authentication failed" in made.last_error
            port = far.btp("near", "secret")
            await until(lambda: port.up)
            await until(lambda: made.last_error == "")


@on_uvloop
async def test_comes_back_after_every_kind_of_loss() -> None:
    async with hub() as near, hub() as far:
        port = far.btp("near", "secret")
        url = f"ws://127.0.0.1:{far.listener.port}/"
        async with dialler(near, "far", url, "secret") as made:
            for attempt in range(1, 4):
                await until(lambda: port.up)
                assert made.attempts >= attempt
                port.disconnect()
                await until(lambda: not port.up)
            await until(lambda: port.up)


@on_uvloop
async def test_nobody_listens_then_somebody_does() -> None:
    async with hub() as near, hub() as far:
        free = far.listener.port
        far.listener.stop_accepting()
        async with dialler(near, "far", f"ws://127.0.0.1:{free}/", "secret") as made:
            await until(lambda: made.attempts >= 3)
            assert made.last_error
            port = far.btp("near", "secret")
            await far.listener.start("127.0.0.1", free)
            await until(lambda: port.up)


def test_back_off_doubles_up_to_its_maximum_and_starts_anew() -> None:
    waits = BackOff()
    seen = [waits.next(0.0) for _ in range(12)]
    for number, wait in enumerate(seen):
        full = min(0.1 * 2**number, 30.0)
        assert full / 2 <= wait <= full
    assert waits.next(9.9) >= 15.0
    assert waits.next(10.0) <= 0.1


@on_uvloop
async def test_one_connection_when_both_dial() -> None:
    async with hub() as near, hub() as far:
        near_port, far_port = near.btp("far", "near-secret"), far.btp("near", "far-secret")
        near_url = f"btp+ws://far:near-secret@127.0.0.1:{near.listener.port}/"
        far_url = f"btp+ws://near:far-secret@127.0.0.1:{far.listener.port}/"
        dials = BtpDialler(near_port, far_url), BtpDialler(far_port, near_url)
        for made in dials:
            made.start()
        await until(lambda: near_port.up and far_port.up)
        await asyncio.sleep(1.0)
        attempts = [made.attempts for made in dials]
        await asyncio.sleep(1.0)
        assert [made.attempts for made in dials] == attempts, "they keep replacing each other"
        assert near_port.up and far_port.up
        for made in dials:
            await made.close()


Talk = Callable[[picows.WSTransport, bytes], None]


class Peer(picows.WSListener):
    """A server of our own making: `talk` gets each binary message."""

    def __init__(self, talk: Talk, peers: set[picows.WSListener]) -> None:
        self.talk = talk
        self.peers = peers

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.peers.add(self)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self.peers.discard(self)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.BINARY:
            self.talk(transport, frame.get_payload_as_bytes())


async def with_peer(talk: Talk, test: Callable[[str], Awaitable[None]]) -> None:
    peers: set[picows.WSListener] = set()
    server = await picows.ws_create_server(lambda request: Peer(talk, peers), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        await test(f"btp+ws://:secret@127.0.0.1:{port}/")
    finally:
        server.close()
        await until(lambda: not peers)


@on_uvloop
async def test_what_we_send_first() -> None:
    """`auth` is the primary entry, `auth_token` comes with it (RFC 23); JavaScript servers
    check."""
    seen: list[bytes] = []

    def talk(transport: picows.WSTransport, message: bytes) -> None:
        seen.append(message)

    async def test(url: str) -> None:
        async with hub() as node, dialler(node, "peer", url):
            await until(lambda: bool(seen))
        frame = ilp_bytes.btp_decode(seen[0])
        assert frame.type == BTP_MESSAGE
        assert list(frame.entries.items()) == [("auth", b""), ("auth_token", b"secret")]

    await with_peer(talk, test)


@on_uvloop
async def test_packets_before_the_response_wait_for_it() -> None:
    auth: list[tuple[picows.WSTransport, int]] = []
    answers: list[ilp_bytes.Frame] = []

    def talk(transport: picows.WSTransport, message: bytes) -> None:
        frame = ilp_bytes.btp_decode(message)
        if "auth" in frame.entries:
            auth.append((transport, frame.request_id))
            for request_id in range(3):
                early = btp_ilp(BTP_MESSAGE, request_id, prepare())
                transport.send(picows.WSMsgType.BINARY, early)
        else:
            answers.append(frame)

    async def test(url: str) -> None:
        async with hub() as node:
            bob = node.receiver("bob")
            async with dialler(node, "peer", url):
                await until(lambda: bool(auth))
                await asyncio.sleep(0.05)
                assert bob.seen == []
                transport, request_id = auth[0]
                response = btp_frame(BTP_RESPONSE, request_id, [])
                transport.send(picows.WSMsgType.BINARY, response)
                await until(lambda: len(answers) == 3)
                assert [frame.request_id for frame in answers] == [0, 1, 2]
                transport.send_ping(b"are you there")

    await with_peer(talk, test)


@on_uvloop
async def test_a_peer_that_never_answers_auth() -> None:
    def flood(transport: picows.WSTransport, message: bytes) -> None:
        for request_id in range(300):
            early = btp_ilp(BTP_MESSAGE, request_id, prepare())
            transport.send(picows.WSMsgType.BINARY, early)

    def silent(transport: picows.WSTransport, message: bytes) -> None:
        pass

    for talk, reason in ((flood, "no Response to auth"), (silent, "during auth")):

        async def test(url: str, reason: str = reason) -> None:
            limits = BtpLimits(auth_seconds=0.2)
            async with hub() as node, dialler(node, "peer", url, limits=limits) as made:
                bob = node.receiver("bob")
                await until(lambda: made.attempts >= 2)
                assert reason in made.last_error
                assert bob.seen == []

        await with_peer(talk, test)


@on_uvloop
async def test_what_comes_before_the_response_is_bounded_in_bytes() -> None:
    def flood(transport: picows.WSTransport, message: bytes) -> None:
        for request_id in range(3):
            early = btp_ilp(BTP_MESSAGE, request_id, prepare(data=bytes(30_000)))
            transport.send(picows.WSMsgType.BINARY, early)

    async def test(url: str) -> None:
        limits = BtpLimits(early_size_max=50_000)
        async with hub() as node, dialler(node, "peer", url, limits=limits) as made:
            await until(lambda: "no Response to auth" in made.last_error)
            # The peer's side of that connection ends, too.
            await asyncio.sleep(0.05)

    await with_peer(flood, test)


@on_uvloop
async def test_an_error_frame_that_is_not_about_auth_is_ignored() -> None:
    def talk(transport: picows.WSTransport, message: bytes) -> None:
        request_id = ilp_bytes.btp_decode(message).request_id
        other = btp_frame(BTP_ERROR, request_id ^ 1, [])
        transport.send(picows.WSMsgType.BINARY, other)
        transport.send(picows.WSMsgType.BINARY, b"garbage")
        transport.send(picows.WSMsgType.BINARY, btp_frame(BTP_RESPONSE, request_id, []))

    async def test(url: str) -> None:
        async with hub() as node, dialler(node, "peer", url):
            port = node.btp_tokens.find("peer", "unused")
            assert port is not None
            await until(lambda: port.up)

    await with_peer(talk, test)
