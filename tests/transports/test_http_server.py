"""The HTTP listener over raw sockets: who is let in, what is answered, in which order."""

import asyncio
import json

import pytest

from fastilp.transports.http_messages import HttpLimits, HttpRequest, HttpResponse
from tests import ilp_bytes
from tests.transports.harness import (
    FULFILLMENT,
    Client,
    Response,
    hub,
    on_uvloop,
    post,
    prepare,
    until,
)


def problem_of(response: Response) -> dict[str, object]:
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, object] = json.loads(response.body)
    assert problem["status"] == response.status
    assert problem["detail"]
    return problem


@on_uvloop
async def test_a_prepare_is_fulfilled() -> None:
    async with hub() as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        client = await node.connect()
        response = await client.ask(post(prepare(amount=5, data=b"hello")))
        assert response.status == 200
        assert response.packet.fulfillment == FULFILLMENT
        assert response.packet.data == b"hello"
        assert "connection" not in response.headers
        assert node.switch.balance(node.account("alice")) == -5
        assert node.switch.balance(node.account("bob")) == 5


@on_uvloop
async def test_a_reject_is_200_too() -> None:
    async with hub() as node:
        node.http("alice", "alice-token")
        client = await node.connect()
        response = await client.ask(post(prepare(to="g.elsewhere")))
        assert response.status == 200
        assert (response.packet.code, response.packet.triggered_by) == ("F02", "g.hub")


@pytest.mark.parametrize(
    "path, token",
    [
        ("/accounts/alice/ilp", "Bearer alice-token"),
        ("/accounts/alice/ilp", "bearer alice-token"),
        ("/accounts/alice/ilp", "alice-token"),
        ("/accounts/%61lice/ilp", "Bearer alice-token"),
        ("/accounts/alice/ilp?x=y", "Bearer alice-token"),
        ("http://hub/accounts/alice/ilp", "Bearer alice-token"),
        ("/ilp", "Bearer alice-token"),
        ("/", "alice-token"),
    ],
)
@on_uvloop
async def test_ways_to_say_who_one_is(path: str, token: str) -> None:
    async with hub() as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        node.http("carol", "carol-token")
        client = await node.connect()
        response = await client.ask(post(prepare(amount=3), path, token))
        assert response.packet.type == ilp_bytes.FULFILL
        assert node.switch.balance(node.account("alice")) == -3


@pytest.mark.parametrize(
    "path, token",
    [
        ("/accounts/alice/ilp", None),
        ("/accounts/alice/ilp", ""),
        ("/accounts/alice/ilp", "Bearer "),
        ("/accounts/alice/ilp", "Bearer wrong"),
        ("/accounts/alice/ilp", "Bearer carol-token"),
        ("/accounts/alice/ilp", "Basic YWxpY2U6YWxpY2UtdG9rZW4="),
        ("/accounts/nobody/ilp", "Bearer alice-token"),
        ("/accounts/nobody/ilp", None),
        ("/ilp", "Bearer wrong"),
        ("/", None),
    ],
)
@on_uvloop
async def test_strangers_are_told_nothing(path: str, token: str | None) -> None:
    """A wrong token and an unknown account look the same."""
    async with hub() as node:
        node.http("alice", "alice-token")
        node.http("carol", "carol-token")
        client = await node.connect()
        response = await client.ask(post(prepare(), path, token))
        assert response.status == 401
        assert response.headers["www-authenticate"] == "Bearer"
        reference = await client.ask(post(prepare(), "/accounts/alice/ilp", "Bearer guess"))
        assert problem_of(response) == problem_of(reference)
        assert node.switch.in_flight() == 0


@on_uvloop
async def test_a_changed_token_counts_on_open_connections() -> None:
    async with hub() as node:
        node.receiver("bob")
        port = node.http("alice", "alice-token")
        client = await node.connect()
        assert (await client.ask(post(prepare()))).status == 200
        node.http_tokens.put("alice", "new-token", port)
        assert (await client.ask(post(prepare()))).status == 401
        assert (await client.ask(post(prepare(), token="Bearer new-token"))).status == 200
        node.http_tokens.remove("alice")
        assert (await client.ask(post(prepare(), token="Bearer new-token"))).status == 401


@pytest.mark.parametrize(
    "content_type, status",
    [
        ("application/octet-stream", 200),
        ("application/ilp+octet-stream", 200),
        ("Application/Octet-Stream; charset=binary", 200),
        (None, 200),
        ("application/json", 415),
        ("text/plain", 415),
    ],
)
@on_uvloop
async def test_content_types(content_type: str | None, status: int) -> None:
    async with hub() as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        client = await node.connect()
        response = await client.ask(post(prepare(), content_type=content_type))
        assert response.status == status
        if status == 415:
            assert "application/octet-stream" in str(problem_of(response)["detail"])
        # The connection goes on.
        assert (await client.ask(post(prepare()))).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"\x0c",
        b"\x0c\x01\x00",
        prepare()[:-1],
        bytes(1_000),
        ilp_bytes.fulfill(FULFILLMENT),
        ilp_bytes.reject("F00", "g.x"),
        prepare(data=bytes(32_769)),
        prepare(to="not an address"),
    ],
    ids="empty text short length cut zeros fulfill reject long-data no-address".split(),
)
@on_uvloop
async def test_what_is_no_prepare_is_400_with_a_reject(body: bytes) -> None:
    async with hub() as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        client = await node.connect()
        response = await client.ask(post(body))
        assert response.status == 400
        assert (response.packet.code, response.packet.triggered_by) == ("F01", "g.hub")
        assert (await client.ask(post(prepare()))).status == 200


@on_uvloop
async def test_a_reject_like_ours_from_far_away_is_200() -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: ilp_bytes.reject("F01", "g.far", "not a valid ILPv4 Prepare")
        node.http("alice", "alice-token")
        client = await node.connect()
        response = await client.ask(post(prepare()))
        assert (response.status, response.packet.triggered_by) == (200, "g.far")


@on_uvloop
async def test_health_checks_and_methods() -> None:
    async with hub() as node:
        node.http("alice", "alice-token")
        client = await node.connect()
        for path in ("/accounts/alice/ilp", "/accounts/nobody/ilp", "/ilp", "/"):
            response = await client.ask(f"GET {path} HTTP/1.1\r\nHost: hub\r\n\r\n".encode())
            assert (response.status, response.body) == (200, b"OK")
            head = f"HEAD {path} HTTP/1.1\r\nHost: hub\r\n\r\n".encode()
            response = await client.ask(head, head=True)
            assert (response.status, response.headers["content-length"]) == (200, "2")
        for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
            request = f"{method} /accounts/alice/ilp HTTP/1.1\r\nHost: hub\r\n\r\n"
            response = await client.ask(request.encode())
            assert (response.status, response.headers["allow"]) == (405, "GET, HEAD, POST")


@on_uvloop
async def test_other_paths_are_the_fallbacks() -> None:
    seen: list[HttpRequest] = []

    def fallback(request: HttpRequest) -> HttpResponse | None:
        seen.append(request)
        if request.target == "/broken":
            raise RuntimeError("broken")
        if request.target == "/page":
            return HttpResponse(201, b"{}", headers={"X-Test": "yes"})
        return None

    async with hub(fallback=fallback) as node:
        client = await node.connect()
        body = b'{"a": 1}'
        request = (
            b"PUT /page HTTP/1.1\r\nHost: hub\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 8\r\n\r\n"
        )
        response = await client.ask(request + body)
        assert (response.status, response.body, response.headers["x-test"]) == (201, b"{}", "yes")
        assert (seen[0].method, seen[0].target, seen[0].body) == ("PUT", "/page", body)
        assert seen[0].headers["x-a"] == "1, 2"
        response = await client.ask(b"GET /nothing HTTP/1.1\r\nHost: hub\r\n\r\n")
        assert response.status == 404
        assert "/nothing" in str(problem_of(response)["detail"])
        response = await client.ask(b"GET /broken HTTP/1.1\r\nHost: hub\r\n\r\n")
        assert response.status == 500
        assert problem_of(response)
        response = await client.ask(b"GET /accounts/alice/ilp/btp HTTP/1.1\r\nHost: hub\r\n\r\n")
        assert response.status == 426


@on_uvloop
async def test_byte_at_a_time() -> None:
    async with hub() as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        client = await node.connect()
        for byte in post(prepare(data=b"slow")):
            client.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.response()).packet.data == b"slow"
        # Every place to cut a request in two.
        request = post(prepare(data=b"cut"))
        for at in range(1, len(request)):
            client.write(request[:at])
            await asyncio.sleep(0)
            client.write(request[at:])
            assert (await client.response()).packet.data == b"cut"


@on_uvloop
async def test_pipelined_requests_are_answered_in_order() -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        node.http("alice", "alice-token")
        client = await node.connect()
        client.write(b"".join(post(prepare(data=b"%d" % i)) for i in range(5)))
        client.write(b"GET /ilp HTTP/1.1\r\nHost: hub\r\n\r\n")
        await until(lambda: len(bob.held) == 5)
        # Answered in the other direction.
        for request_id, packet in reversed(bob.held):
            data = ilp_bytes.decode(packet).data
            bob.give(request_id, ilp_bytes.fulfill(FULFILLMENT, data))
            await asyncio.sleep(0.002)
        for i in range(5):
            assert (await client.response()).packet.data == b"%d" % i
        assert (await client.response()).body == b"OK"


@on_uvloop
async def test_many_pipelined_requests_pause_reading_and_go_on() -> None:
    async with hub(http=HttpLimits(requests_in_flight_max=4)) as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        node.http("alice", "alice-token")
        client = await node.connect()
        count = 3_000
        sent = asyncio.ensure_future(send_all(client, post(prepare(data=bytes(1_000))), count))
        done = 0
        while done < count:
            await until(lambda: bool(bob.held))
            assert len(bob.held) < 600, "one read of the socket and four more"
            done += len(bob.held)
            taken = len(bob.held)
            bob.release()
            for _ in range(taken):
                assert (await client.response()).packet.type == ilp_bytes.FULFILL
        await sent


async def send_all(client: Client, request: bytes, count: int) -> None:
    for _ in range(count):
        client.write(request)
        await client.writer.drain()


@on_uvloop
async def test_half_close_still_gets_its_answers() -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        node.http("alice", "alice-token")
        client = await node.connect()
        client.write(post(prepare()) + post(prepare())[:50])
        client.writer.write_eof()
        await until(lambda: len(bob.held) == 1)
        await asyncio.sleep(0.01)
        bob.release()
        response = await client.response()
        assert response.packet.type == ilp_bytes.FULFILL
        assert response.headers["connection"] == "close"
        assert await client.is_closed()


@on_uvloop
async def test_connection_close_and_http_1_0() -> None:
    async with hub() as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        client = await node.connect()
        response = await client.ask(post(prepare(), more="Connection: close\r\n") + b"trailing")
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await client.is_closed()
        client = await node.connect()
        response = await client.ask(b"GET /ilp HTTP/1.0\r\n\r\n")
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await client.is_closed()


@on_uvloop
async def test_expect_100_continue() -> None:
    async with hub() as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        packet = prepare()
        request = post(packet, more="Expect: 100-continue\r\n")
        head = request[: -len(packet)]
        client = await node.connect()
        assert (await client.ask(head)).status == 100
        assert (await client.ask(packet)).status == 200
        # Behind a request that is not answered yet, it waits its turn.
        client.write(post(prepare()) + head)
        assert (await client.response()).status == 200
        assert (await client.response()).status == 100
        assert (await client.ask(packet)).status == 200
        # Refused without the body.
        stranger = head.replace(b"alice-token", b"other-token")
        assert (await client.ask(stranger)).status == 401
        assert await client.is_closed()
        client = await node.connect()
        response = await client.ask(head.replace(b"100-continue", b"something"))
        assert response.status == 417


@on_uvloop
async def test_an_answer_whose_client_has_gone_is_counted() -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        node.http("alice", "alice-token")
        client = await node.connect()
        client.write(post(prepare(amount=4)))
        await until(lambda: len(bob.held) == 1)
        client.reset()
        await until(lambda: node.listener.connection_count() == 0)
        bob.release()
        await until(lambda: node.switch.statuses()["undeliverable"] == 1)
        # A Fulfill whose upstream has gone stands.
        assert node.switch.balance(node.account("bob")) == 4
        await node.is_alive()


@on_uvloop
async def test_a_closed_port_answers_what_waits() -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        port = node.http("alice", "alice-token")
        client = await node.connect()
        client.write(post(prepare()))
        await until(lambda: len(bob.held) == 1)
        port.close()
        assert (await client.response()).status == 503
        assert (await client.ask(post(prepare()))).status == 503
        node.http_tokens.remove("alice")
        assert (await client.ask(post(prepare()))).status == 401


@on_uvloop
async def test_a_prepare_to_an_account_that_only_asks_is_rejected() -> None:
    async with hub() as node:
        node.http("alice", "alice-token")
        port = node.http("carol", "carol-token")
        node.switch.set_egress(node.account("carol"), port.link)
        client = await node.connect()
        response = await client.ask(post(prepare(to="g.hub.carol")))
        assert response.packet.code == "T01"


@on_uvloop
async def test_drain_lets_answers_out() -> None:
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: None
        node.http("alice", "alice-token")
        idle = await node.connect()
        client = await node.connect()
        client.write(post(prepare()))
        await until(lambda: len(bob.held) == 1)
        draining = asyncio.ensure_future(node.listener.drain(5.0))
        assert await idle.is_closed()
        with pytest.raises(ConnectionRefusedError):
            await node.connect()
        assert not draining.done()
        bob.release()
        response = await client.response()
        assert response.packet.type == ilp_bytes.FULFILL
        assert response.headers["connection"] == "close"
        await draining
        assert node.listener.connection_count() == 0
