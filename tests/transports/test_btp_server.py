"""The BTP listener over raw WebSockets: hello, packets, everything else a peer may send."""

import asyncio
import struct

import pytest

from fastilp._core import codec_btp
from fastilp.transports.btp import BtpLimits
from tests import ilp_bytes
from tests.ilp_bytes import BTP_ERROR, BTP_MESSAGE, BTP_RESPONSE, btp_frame, btp_ilp
from tests.transports.harness import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FULFILLMENT,
    PING,
    PONG,
    TEXT,
    Client,
    Hub,
    auth_message,
    hub,
    on_uvloop,
    post,
    prepare,
    until,
)

BTP_TRANSFER = 7


async def peer(node: Hub, name: str = "alice") -> Client:
    """A connection that has said hello."""
    if node.btp_tokens.find(name, f"{name}-token") is None:
        node.btp(name, f"{name}-token")
    client = await node.connect()
    await client.upgrade(f"/accounts/{name}/ilp/btp")
    await client.auth(f"{name}-token")
    return client


async def closing_code(client: Client) -> int:
    """The code of the Close frame that comes next, data frames skipped."""
    while True:
        opcode, payload = await client.receive()
        if opcode == CLOSE:
            return int(struct.unpack(">H", payload[:2])[0]) if payload else 0


@pytest.mark.parametrize(
    "path, username, token",
    [
        ("/accounts/alice/ilp/btp", None, "alice-token"),
        ("/accounts/alice/ilp/btp", "", "alice-token"),
        ("/accounts/alice/ilp/btp", "somebody", "alice-token"),
        ("/", None, "alice-token"),
        ("/", "", "alice-token"),
        ("/", "alice", "alice-token"),
        ("/", "alice", "shared"),
    ],
)
@on_uvloop
async def test_hello(path: str, username: str | None, token: str) -> None:
    async with hub() as node:
        node.receiver("bob")
        port = node.btp("alice", token)
        node.btp("carol", "shared")
        client = await node.connect()
        await client.upgrade(path)
        await client.auth(token, 77, username)
        assert port.up and port.link.up
        client.send(BINARY, btp_ilp(BTP_MESSAGE, 5, prepare(amount=9, data=b"hi")))
        answer = await client.btp()
        assert (answer.type, answer.request_id) == (BTP_RESPONSE, 5)
        assert ilp_bytes.decode(answer.entries["ilp"]).data == b"hi"
        assert node.switch.balance(node.account("alice")) == -9


@pytest.mark.parametrize(
    "path, message",
    [
        ("/accounts/alice/ilp/btp", auth_message("wrong")),
        ("/accounts/alice/ilp/btp", auth_message("")),
        ("/accounts/alice/ilp/btp", auth_message("carol-token")),
        ("/accounts/nobody/ilp/btp", auth_message("alice-token")),
        ("/", auth_message("wrong")),
        ("/", auth_message("alice-token", username="carol")),
        ("/", auth_message("shared")),
        ("/accounts/alice/ilp/btp", btp_frame(BTP_MESSAGE, 1, [("auth", 0, b"")])),
        ("/accounts/alice/ilp/btp", btp_ilp(BTP_MESSAGE, 1, prepare())),
        (
            "/accounts/alice/ilp/btp",
            btp_frame(BTP_RESPONSE, 1, [("auth_token", 1, b"alice-token")]),
        ),
    ],
    ids=(
        "wrong-token no-token others-token no-account root-wrong others-username shared-token "
        "no-auth-token prepare-first response-first"
    ).split(),
)
@on_uvloop
async def test_strangers_get_an_error_and_are_closed(path: str, message: bytes) -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        port = node.btp("alice", "alice-token")
        node.btp("carol", "carol-token")
        node.btp("dora", "shared")
        node.btp("eve", "shared")
        client = await node.connect()
        await client.upgrade(path)
        client.send(BINARY, message)
        client.send(BINARY, btp_ilp(BTP_MESSAGE, 2, prepare()))
        error = await client.btp()
        assert (error.type, error.request_id) == (BTP_ERROR, 1)
        assert (error.entries["code"], error.entries["name"]) == (b"F00", b"NotAcceptedError")
        assert await closing_code(client) == 1000
        assert await client.is_closed()
        assert not port.up
        assert bob.seen == []
        await node.is_alive()


@on_uvloop
async def test_hello_may_follow_pings_and_text_and_packets_may_follow_at_once() -> None:
    """Interledger.rs does not wait for the Response to its auth Message."""
    async with hub() as node:
        node.receiver("bob")
        node.btp("alice", "alice-token")
        client = await node.connect()
        request = client.upgrade_request("/accounts/alice/ilp/btp")
        frames = client.frame(PING, b"first") + client.frame(TEXT, b"hello?")
        frames += client.frame(BINARY, auth_message("alice-token", 3))
        for request_id in range(10, 15):
            frames += client.frame(BINARY, btp_ilp(BTP_RESPONSE, request_id, prepare()))
        # All of it in one piece, before the upgrade is answered.
        response = await client.ask(request + frames)
        assert response.status == 101
        assert await client.receive() == (PONG, b"first")
        assert await client.btp() == ilp_bytes.Frame(BTP_RESPONSE, 3, {})
        for request_id in range(10, 15):
            answer = await client.btp()
            assert (answer.type, answer.request_id) == (BTP_RESPONSE, request_id)
            assert ilp_bytes.decode(answer.entries["ilp"]).fulfillment == FULFILLMENT


@on_uvloop
async def test_byte_at_a_time() -> None:
    async with hub() as node:
        node.receiver("bob")
        node.btp("alice", "alice-token")
        client = await node.connect()
        everything = client.upgrade_request("/") + client.frame(BINARY, auth_message("alice-token"))
        everything += client.frame(BINARY, btp_ilp(BTP_MESSAGE, 2, prepare(data=bytes(300))))
        for byte in everything:
            client.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.response()).status == 101
        assert (await client.btp()).request_id == 1
        assert ilp_bytes.decode((await client.btp()).entries["ilp"]).fulfillment == FULFILLMENT


@on_uvloop
async def test_both_directions_and_both_frame_types() -> None:
    async with hub() as node:
        alice, bob = await peer(node, "alice"), await peer(node, "bob")
        alice.send(BINARY, btp_ilp(BTP_MESSAGE, 1, prepare(amount=2)))
        forwarded = await bob.btp()
        assert forwarded.type == BTP_MESSAGE
        packet = ilp_bytes.decode(forwarded.entries["ilp"])
        assert (packet.amount, packet.destination) == (2, "g.hub.bob")
        # As Interledger.rs does it: the answer in a Message frame.
        fulfill = ilp_bytes.fulfill(FULFILLMENT)
        bob.send(BINARY, btp_ilp(BTP_MESSAGE, forwarded.request_id, fulfill))
        answer = await alice.btp()
        assert (answer.type, answer.request_id) == (BTP_RESPONSE, 1)
        # And the other way round, by the letter.
        bob.send(BINARY, btp_ilp(BTP_MESSAGE, 1, prepare(to="g.hub.alice", amount=2)))
        forwarded = await alice.btp()
        alice.send(BINARY, btp_ilp(BTP_RESPONSE, forwarded.request_id, fulfill))
        assert ilp_bytes.decode((await bob.btp()).entries["ilp"]).fulfillment == FULFILLMENT
        assert node.switch.balance(node.account("alice")) == 0


@on_uvloop
async def test_what_is_no_packet() -> None:
    async with hub() as node:
        node.receiver("bob")
        client = await peer(node)
        custom = [("balance", 2, b"{}"), ("note", 1, b"hello")]
        client.send(BINARY, btp_frame(BTP_MESSAGE, 11, custom))
        assert await client.btp() == ilp_bytes.Frame(BTP_RESPONSE, 11, {})
        client.send(BINARY, codec_btp.encode(BTP_TRANSFER, 12, [], amount=5))
        error = await client.btp()
        assert (error.type, error.request_id, error.entries["code"]) == (BTP_ERROR, 12, b"F00")
        # Silence: unreadable, unmatched, an Error to nothing.
        client.send(BINARY, b"")
        client.send(BINARY, b"\x06garbage")
        client.send(BINARY, btp_frame(BTP_RESPONSE, 99, []))
        client.send(BINARY, btp_ilp(BTP_RESPONSE, 98, ilp_bytes.fulfill(FULFILLMENT)))
        client.send(BINARY, error_to(97, "F00"))
        client.send(TEXT, b"text")
        # A Message that is none of ILP's packets, and one too large, get a Reject.
        client.send(BINARY, btp_ilp(BTP_MESSAGE, 13, b"\x63\x00"))
        answer = await client.btp()
        assert (answer.type, answer.request_id) == (BTP_RESPONSE, 13)
        assert ilp_bytes.decode(answer.entries["ilp"]).code == "F01"
        client.send(BINARY, btp_ilp(BTP_MESSAGE, 14, b"\x0c" + bytes(65_600)))
        answer = await client.btp()
        assert (answer.request_id, ilp_bytes.decode(answer.entries["ilp"]).code) == (14, "F01")
        client.send(BINARY, btp_ilp(BTP_MESSAGE, 15, prepare()))
        assert (await client.btp()).request_id == 15


def error_to(request_id: int, code: str) -> bytes:
    return codec_btp.encode(
        BTP_ERROR,
        request_id,
        [],
        code=code,
        name="SomeError",
        triggered_at="20261122153000.000Z",
        data=b"no such thing",
    )


@pytest.mark.parametrize("code, expected", [("F00", "F00"), ("T00", "T00"), ("F03", "F00")])
@on_uvloop
async def test_an_error_to_a_prepare_is_a_reject_at_once(code: str, expected: str) -> None:
    async with hub() as node:
        alice, bob = await peer(node, "alice"), await peer(node, "bob")
        alice.send(BINARY, btp_ilp(BTP_MESSAGE, 1, prepare()))
        bob.send(BINARY, error_to((await bob.btp()).request_id, code))
        reject = ilp_bytes.decode((await alice.btp()).entries["ilp"])
        assert (reject.code, reject.triggered_by) == (expected, "g.hub")
        assert "no such thing" in reject.message
        assert node.switch.in_flight() == 0


@on_uvloop
async def test_a_response_without_a_packet_is_a_reject_at_once() -> None:
    async with hub() as node:
        alice, bob = await peer(node, "alice"), await peer(node, "bob")
        for size in (None, 0, 65_600):
            entries = [] if size is None else [("ilp", 0, b"\x0d" * size)]
            alice.send(BINARY, btp_ilp(BTP_MESSAGE, 1, prepare()))
            request_id = (await bob.btp()).request_id
            bob.send(BINARY, btp_frame(BTP_RESPONSE, request_id, entries))
            assert ilp_bytes.decode((await alice.btp()).entries["ilp"]).code == "T01"
        assert node.switch.in_flight() == 0


@on_uvloop
async def test_hello_again() -> None:
    async with hub() as node:
        node.receiver("bob")
        client = await peer(node)
        client.send(BINARY, auth_message("alice-token", 21))
        assert await client.btp() == ilp_bytes.Frame(BTP_RESPONSE, 21, {})
        client.send(BINARY, btp_ilp(BTP_MESSAGE, 22, prepare()))
        assert (await client.btp()).request_id == 22
        client.send(BINARY, auth_message("wrong", 23))
        assert (await client.btp()).type == BTP_ERROR
        assert await closing_code(client) == 1000
        assert await client.is_closed()


@on_uvloop
async def test_a_newer_connection_replaces_the_older() -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        first = await peer(node)
        first.send(BINARY, btp_ilp(BTP_MESSAGE, 1, prepare(amount=3)))
        await until(lambda: len(bob.held) == 1)
        second = await peer(node)
        assert await closing_code(first) == 1000
        assert await first.is_closed()
        # What was in flight is answered on the new one.
        bob.release()
        answer = await second.btp()
        assert answer.request_id == 1
        assert ilp_bytes.decode(answer.entries["ilp"]).fulfillment == FULFILLMENT
        assert node.btp_tokens.find("alice", "alice-token").up  # type: ignore[union-attr]


@on_uvloop
async def test_a_link_is_down_without_a_connection_and_up_again() -> None:
    changes: list[bool] = []
    async with hub() as node:
        node.http("carol", "carol-token")
        port = node.btp("alice", "alice-token")
        port.on_change = lambda port: changes.append(port.up)
        asker = await node.connect()
        request = post(prepare(to="g.hub.alice"), "/ilp", "carol-token")
        assert (await asker.ask(request)).packet.code == "T01"
        client = await peer(node)
        asker.write(post(prepare(to="g.hub.alice"), "/ilp", "carol-token"))
        forwarded = await client.btp()
        await client.close()
        await until(lambda: not port.up)
        assert node.switch.in_flight() == 1
        # The answer counts on any later connection of the link.
        client = await peer(node)
        fulfill = ilp_bytes.fulfill(FULFILLMENT)
        client.send(BINARY, btp_ilp(BTP_RESPONSE, forwarded.request_id, fulfill))
        assert (await asker.response()).packet.fulfillment == FULFILLMENT
        port.disconnect()
        assert await closing_code(client) == 1000
        await until(lambda: not port.up)
        assert changes == [True, False, True, False]


@on_uvloop
async def test_messages_in_parts() -> None:
    async with hub() as node:
        node.receiver("bob")
        client = await peer(node)
        message = btp_ilp(BTP_MESSAGE, 31, prepare(data=b"parts"))
        client.send(BINARY, message[:10], fin=False)
        client.send(PING, b"between")
        client.send(CONTINUATION, message[10:20], fin=False)
        client.send(CONTINUATION, b"", fin=False)
        client.send(CONTINUATION, message[20:])
        assert await client.receive() == (PONG, b"between")
        assert ilp_bytes.decode((await client.btp()).entries["ilp"]).data == b"parts"
        client.send(TEXT, b"te", fin=False)
        client.send(CONTINUATION, b"xt")
        client.send(BINARY, btp_ilp(BTP_MESSAGE, 32, prepare()))
        assert (await client.btp()).request_id == 32


@pytest.mark.parametrize("hello", [True, False])
@pytest.mark.parametrize(
    "frames, code",
    [
        ([(BINARY, bytes(70_000), True)], 1009),
        ([(BINARY, bytes(40_000), False), (CONTINUATION, bytes(40_000), True)], 1009),
        ([(TEXT, b"a" * 40_000, False), (CONTINUATION, b"a" * 40_000, False)], 1009),
        ([(CONTINUATION, b"x", True)], 1002),
        ([(BINARY, b"x", False), (BINARY, b"x", True)], 1002),
        ([(BINARY | 0x40, b"x", True)], 1002),
        ([(3, b"x", True)], 1002),
        ([(PING, bytes(126), True)], 1002),
        ([(PING, b"x", False)], 1002),
        ([(CLOSE, b"x", True)], 1002),
    ],
)
@on_uvloop
async def test_broken_websockets_are_closed(
    hello: bool, frames: list[tuple[int, bytes, bool]], code: int
) -> None:
    async with hub() as node:
        node.receiver("bob")
        client = await peer(node)
        if not hello:
            client = await node.connect()
            await client.upgrade()
        for opcode, payload, fin in frames:
            client.send(opcode, payload, fin)
        assert await closing_code(client) == code
        await node.is_alive()


@on_uvloop
async def test_unmasked_frames_are_refused() -> None:
    async with hub() as node:
        client = await node.connect()
        await client.upgrade()
        client.write(client.frame(BINARY, auth_message("alice-token"), masked=False))
        assert await closing_code(client) == 1002


@on_uvloop
async def test_an_orderly_close_is_answered() -> None:
    async with hub() as node:
        client = await peer(node)
        client.send(CLOSE, struct.pack(">H", 1000))
        assert await closing_code(client) == 1000
        assert await client.is_closed()
        await until(lambda: node.listener.connection_count() == 0)


@pytest.mark.parametrize(
    "change, status",
    [
        ((b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 7"), 426),
        ((b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Kay: "), 400),
        ((b"/accounts/alice/ilp/btp", b"/somewhere"), 404),
    ],
)
@on_uvloop
async def test_upgrades_that_fail(change: tuple[bytes, bytes], status: int) -> None:
    async with hub() as node:
        client = await node.connect()
        request = client.upgrade_request("/accounts/alice/ilp/btp").replace(*change)
        assert (await client.ask(request)).status == status
        await until(lambda: node.listener.connection_count() == 0)


@on_uvloop
async def test_an_upgrade_waits_for_earlier_answers() -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        node.http("alice", "alice-token")
        node.btp("carol", "carol-token")
        client = await node.connect()
        client.write(post(prepare()) + client.upgrade_request("/"))
        client.write(client.frame(BINARY, auth_message("carol-token")))
        await until(lambda: len(bob.held) == 1)
        await asyncio.sleep(0.01)
        bob.release()
        assert (await client.response()).packet.fulfillment == FULFILLMENT
        assert (await client.response()).status == 101
        assert (await client.btp()).request_id == 1


@on_uvloop
async def test_nobody_waits_for_a_hello_for_ever() -> None:
    async with hub(btp=BtpLimits(auth_seconds=0.1)) as node:
        client = await node.connect()
        await client.upgrade()
        client.send(PING, b"")
        assert await closing_code(client) == 1000
        assert await client.is_closed()


@on_uvloop
async def test_pings_and_silence() -> None:
    async with hub(btp=BtpLimits(ping_seconds=0.1)) as node:
        node.receiver("bob")
        client = await peer(node)
        for _ in range(3):
            assert (await client.receive())[0] == PING
            # Interledger.rs answers with an empty Pong, whatever the Ping held.
            client.send(PONG, b"")
        client.send(BINARY, btp_ilp(BTP_MESSAGE, 1, prepare()))
        assert (await client.btp()).request_id == 1
        # No Pong any more.
        while await client.reader.read(100):
            pass
        await until(lambda: node.listener.connection_count() == 0)


@on_uvloop
async def test_empty_fragments_take_no_memory() -> None:
    async with hub() as node:
        node.btp("alice", "alice-token")
        client = await node.connect()
        await client.upgrade("/accounts/alice/ilp/btp")
        message = auth_message("alice-token")
        client.send(BINARY, message[:5], fin=False)
        client.write(client.frame(CONTINUATION, b"", fin=False) * 20_000)
        client.send(PING, b"done")
        assert await client.receive() == (PONG, b"done")
        [session] = node.listener._sessions
        assert len(session.get_buffer(-1)) > 0
        client.send(CONTINUATION, message[5:])
        assert (await client.btp()).type == BTP_RESPONSE
