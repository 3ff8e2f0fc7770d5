"""Nodes of fastilp in a network, each a process: addresses from parents, routes over every
transport, fail-over, what commands say, and a peer that means no good."""

import asyncio
import json
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp.control import ccp, ildcp
from tests.cli.command import fastilp
from tests.interop.node import ADMIN_TOKEN, Account, Node, account, running
from tests.interop.payments import wait_until
from tests.peers import BtpPeer, Packet


def linked(name: str, relation: str, to: Node | None = None, **more: Any) -> Account:
    """An account over BTP; whoever is given a node dials it, where its own account is `back`."""
    back = more.pop("back", "")
    if to is not None:
        url = f"btp+ws://127.0.0.1:{to.port}/accounts/{back}/ilp/btp"
        more |= {"ilp_over_btp_url": url, "ilp_over_btp_outgoing_token": f"{back}_in"}
    return account(name, routing_relation=relation, round_trip_time=20, **more)


def node(
    directory: Path, name: str, *accounts: Account, inherit: bool = False, **more: Any
) -> Node:
    loop = account("loop", endpoint="loopback")
    everybody = [loop, account("payer"), *accounts]
    return Node(directory / name, f"test.{name}", everybody, inherit=inherit, **more)


def pay(sender: Node, destination: str, amount: int = 10) -> str:
    """From the node's payer; the code of a Reject, or nothing."""
    prepare = Prepare(
        amount=amount,
        expires_at=int(time.time() * 1_000) + 20_000,
        execution_condition=ildcp.CONDITION,
        destination=destination,
    )
    request = urllib.request.Request(
        sender.ilp_url("payer"),
        data=bytes(prepare),
        headers={"Authorization": "Bearer payer_in", "Content-Type": "application/octet-stream"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = decode(response.read())
    return answer.code if isinstance(answer, Reject) else ""


def address(of: Node) -> Any:
    return of.get("/")["ilp_address"]


def hop(of: Node, prefix: str) -> Any:
    return of.get("/routes").get(prefix)


def test_addresses_and_routes_down_a_tree(tmp_path: Path) -> None:
    top = node(tmp_path, "top", linked("mid", "Child"), linked("far", "Peer"))
    far = node(tmp_path, "far", linked("top", "Peer", top, back="far"))
    mid = node(
        tmp_path,
        "mid",
        linked("up", "Parent", top, back="mid"),
        linked("low", "Child"),
        inherit=True,
    )
    low = node(tmp_path, "low", linked("up", "Parent", mid, back="low"), inherit=True)
    with running(top, far, mid, low):
        wait_until(lambda: address(mid), "test.top.mid")
        # It asked before its parent knew: it asks again when the parent has another name.
        wait_until(lambda: address(low), "test.top.mid.low")
        wait_until(lambda: hop(far, "test.top"), "top")
        wait_until(lambda: hop(low, "test.far"), "up")
        assert pay(low, "test.far.loop") == ""
        assert pay(far, "test.top.mid.low.loop") == ""
        assert far.balances()["top"] == 0 and far.balances()["loop"] == 10
        # After a restart it has its address before anybody could tell it.
        assert top.stop() == 0 and mid.stop() == 0
        mid.start()
        assert address(mid) == "test.top.mid"
        assert mid.get("/accounts/payer")["ilp_address"] == "test.top.mid.payer"
        top.start()
        wait_until(lambda: hop(low, "test.far"), "up")
        assert pay(low, "test.far.loop") == ""


def test_a_parent_that_comes_over_the_api(tmp_path: Path) -> None:
    top = node(tmp_path, "top", linked("kid", "Child"))
    kid = node(tmp_path, "kid", inherit=True)
    with running(top, kid):
        body = json.dumps(linked("up", "Parent", top, back="kid")).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{kid.port}/accounts",
            data=body,
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10):
            wait_until(lambda: address(kid), "test.top.kid")
        assert pay(kid, "test.top.loop") == ""
        assert pay(top, "test.top.kid.loop") == ""
        request = urllib.request.Request(
            f"http://127.0.0.1:{kid.port}/accounts/up",
            method="DELETE",
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
        )
        with urllib.request.urlopen(request, timeout=30):
            assert hop(kid, "") is None
        assert pay(kid, "test.top.loop") == "F02"


def test_a_table_of_many_updates(tmp_path: Path) -> None:
    """As fast as the answers come, not one by one with the heartbeats."""
    routes = {f"test.far{number:04}.some.node": "kid" for number in range(4_000)}
    kid = account("kid", routing_relation="Child", endpoint="loopback")
    far = node(tmp_path, "far", linked("near", "Peer"), kid, routes=routes)
    near = node(tmp_path, "near", linked("far", "Peer", far, back="near"))
    with running(far, near):
        wait_until(lambda: near.get("/routes/neighbours")["far"]["learned"], 4_001)
        assert "fastilp_routes_learned 4001.0" in metrics(near)
        assert pay(near, "test.far3999.some.node") == ""


@pytest.mark.parametrize("transport", ["http", "batch"])
def test_neighbours_over_other_transports(tmp_path: Path, transport: str) -> None:
    one = node(tmp_path, "one", listen={"batch": "127.0.0.1:0"})
    other = node(tmp_path, "other", listen={"batch": "127.0.0.1:0"})
    with running(one, other):
        for here, there, name, back in ((one, other, "other", "one"), (other, one, "one", "other")):
            fields = account(name, routing_relation="Peer", round_trip_time=20)
            if transport == "http":
                fields["ilp_over_http_url"] = there.ilp_url(back)
                fields["ilp_over_http_outgoing_token"] = f"{back}_in"
            elif here is one:
                fields["ilp_over_batch_incoming_token"] = "batch"
            else:
                where = json.loads(batch_address(one))
                fields["ilp_over_batch_url"] = f"ilp+tcp://{back}@{where}"
                fields["ilp_over_batch_outgoing_token"] = "batch"
            create(here, fields)
        wait_until(lambda: hop(one, "test.other"), "other")
        wait_until(lambda: hop(other, "test.one"), "one")
        assert pay(one, "test.other.loop") == ""


def batch_address(of: Node) -> str:
    """Where it listens for the batch protocol, as its log says."""
    for line in of.running().output:
        if '"message":"ready"' in line:
            return json.dumps(json.loads(line)["batch"])
    raise AssertionError("it did not say where it listens")


def create(at: Node, fields: Account) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{at.port}/accounts",
        data=json.dumps(fields).encode(),
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200


def test_another_way_while_one_is_down(tmp_path: Path) -> None:
    """Two ways to one place; the better one is killed, and comes back."""
    far = node(tmp_path, "far", linked("left", "Peer"), linked("right", "Peer"))
    near = node(tmp_path, "near", linked("left", "Peer"), linked("right", "Peer"))
    ways = [
        node(
            tmp_path,
            name,
            linked("far", "Peer", far, back=name),
            linked("near", "Peer", near, back=name, send_all_routes=True),
        )
        for name in ("left", "right")
    ]
    with running(far, near, *ways):
        wait_until(lambda: candidates(near, "test.far"), ["left", "right"])
        assert pay(near, "test.far.loop") == ""
        assert near.balances()["left"] == 10
        ways[0].kill()
        wait_until(lambda: near.accounts()["left"]["links"]["btp"], False)
        assert pay(near, "test.far.loop") == ""
        assert near.balances()["right"] == 10
        wait_until(lambda: candidates(near, "test.far"), ["right"])
        ways[0].start()
        wait_until(lambda: candidates(near, "test.far"), ["left", "right"])


def test_what_a_peer_that_is_gone_is_answered_for(tmp_path: Path) -> None:
    """As docs/operations.md says: a route that it announced goes with it, its own address stays."""
    near = node(tmp_path, "near", linked("far", "Peer"))
    far = node(tmp_path, "far", linked("near", "Peer", near, back="far"))
    with running(near, far):
        wait_until(lambda: hop(near, "test.far"), "far")
        assert pay(near, "test.far.loop") == ""
        own = near.get("/accounts/far")["ilp_address"]
        far.kill()
        wait_until(lambda: hop(near, "test.far"), None)
        assert pay(near, "test.far.loop") == "F02"
        assert pay(near, f"{own}.somebody") == "T01"
        assert sum(near.balances().values()) == 0


def metrics(of: Node) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{of.port}/metrics", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return str(response.read().decode())


def test_the_guide_for_two_operators(tmp_path: Path) -> None:
    """What docs/routing.md tells them to type, typed."""
    guide = (Path(__file__).parents[1] / "docs" / "routing.md").read_text()
    blocks = re.findall(r"```\n(fastilp accounts create .*?)```", guide, re.DOTALL)
    assert len(blocks) == 2
    first = node(tmp_path, "node_a", admin_auth_token="admin-a")
    second = node(tmp_path, "node_b", admin_auth_token="admin-b")
    with running(first, second):
        for block in blocks:
            # What is not so on one machine: names of hosts, and certificates.
            text = block.replace("a.example.com:7770", f"127.0.0.1:{first.port}")
            words = text.replace("btp+wss", "btp+ws").replace("\\\n", " ").split()
            at = first if "admin-a" in words else second
            done = fastilp(*words[1:], "--node", f"http://127.0.0.1:{at.port}")
            assert done.status == 0, done.stderr
        wait_until(lambda: candidates(first, "test.node_b", "admin-a"), ["node_b"])
        wait_until(lambda: candidates(second, "test.node_a", "admin-b"), ["node_a"])
        assert pay(first, "test.node_b.loop") == ""


def candidates(of: Node, prefix: str, token: str = ADMIN_TOKEN) -> list[str]:
    table = fastilp("routes", "table", "--node", f"http://127.0.0.1:{of.port}", "--auth", token)
    routes = {route["prefix"]: route for route in json.loads(table.stdout)["routes"]}
    return [each["next_hop"] for each in routes.get(prefix, {"candidates": []})["candidates"]]


def test_what_commands_say(tmp_path: Path) -> None:
    one = node(tmp_path, "one", linked("other", "Peer"))
    other = node(tmp_path, "other", linked("one", "Peer", one, back="other"))
    with running(one, other):
        wait_until(lambda: hop(one, "test.other"), "other")
        wait_until(lambda: caught_up(one, "other"), True)
        common = ("--node", f"http://127.0.0.1:{one.port}", "--auth", ADMIN_TOKEN, "--table")

        def said(*words: str) -> str:
            done = fastilp("routes", *words, *common)
            assert done.status == 0, done.stderr
            return done.stdout

        assert "test.other      other" in said("table")
        assert said("lookup", "test.other.loop").splitlines()[0] == "test.other.loop -> other"
        assert "nowhere" in said("lookup", "test.nobody")
        assert "other    Peer" in said("neighbours")
        assert "test.one" in said("told", "other")
        assert fastilp("routes", "told", "nobody", *common).status == 1


def caught_up(at: Node, name: str) -> bool:
    """Whether a neighbour has been told everything."""
    session = at.get("/routes/neighbours")[name]
    return bool(session["sent_epoch"] == session["current_epoch"] > 0)


# --- A peer that means no good --------------------------------------------------------------------


class Mallory(BtpPeer):
    """Sends requests of CCP as fast as it likes."""

    def __init__(self) -> None:
        super().__init__(lambda packet: bytes(Fulfill(fulfillment=bytes(32))))
        self.number = 0

    def request(self, destination: str, data: bytes) -> "asyncio.Future[Packet]":
        # No money, so no books.
        self.books.sent.clear()
        return self.start(0, destination, ildcp.CONDITION, data=data)

    async def say(self, destination: str, data: bytes) -> str:
        return (await self.request(destination, data)).code

    def update(self, *routes: ccp.Route, first: int = 0, last: int = 0) -> bytes:
        self.number += 1
        table = self.number.to_bytes(16) if last == 0 else b"m" * 16
        update = ccp.RouteUpdate(table, last, first, last, 30_000, "test.mallory", routes)
        return ccp.encode_update(update)


def route(prefix: str) -> ccp.Route:
    return ccp.Route(prefix, (prefix[:1_023],), bytes(32))


async def attack(mallory: Mallory, at: Node, seconds: float) -> dict[str, int]:
    """Everything at once, again and again. How it was answered."""
    codes: dict[str, int] = {}

    def answered(future: "asyncio.Future[Packet]") -> None:
        if not future.cancelled() and future.exception() is None:
            code = future.result().code
            codes[code] = codes.get(code, 0) + 1

    end = time.monotonic() + seconds
    prefixes = (f"test.m{number}" for number in range(10_000_000))
    epoch = 0
    # Made before, or they could not come fast enough.
    same = [
        mallory.update(*(route(f"test.s{number}.{n}") for n in range(300))) for number in range(9)
    ]
    while time.monotonic() < end:
        fresh = [route(next(prefixes)) for _ in range(300)]
        epoch += 1
        requests = [
            (ccp.UPDATE, mallory.update(*fresh, first=epoch - 1, last=epoch)),
            (ccp.UPDATE, mallory.update(route(at.address), route(""), route("test"))),
            (ccp.UPDATE, mallory.update(route("test." + "x" * 14_000))),
            (ccp.UPDATE, mallory.update(first=5, last=4)),
            (ccp.UPDATE, b"nonsense"),
            *((ccp.UPDATE, data) for data in same * 3),
            (ccp.CONTROL, ccp.encode_control(ccp.RouteControl(ccp.Mode.SYNC))),
        ]
        for destination, data in requests:
            mallory.request(destination, data).add_done_callback(answered)
        await asyncio.sleep(0.002)
    await asyncio.sleep(2.0)
    return codes


def test_hostile_peer(tmp_path: Path) -> None:
    """Refused with the right codes, counted, bounded; and everybody else pays as before."""
    victim = node(
        tmp_path, "victim", linked("mallory", "Peer", routes_max=5_000), linked("bob", "Peer")
    )
    bob = node(tmp_path, "bob", linked("victim", "Peer", victim, back="bob"))

    async def scene() -> None:
        mallory = Mallory()
        await mallory.connect(victim.port, "mallory", "mallory_in")
        assert await mallory.say(ccp.UPDATE, b"nonsense") == "F01"
        assert await mallory.say(ccp.CONTROL, b"\x07") == "F01"
        good = mallory.update(route("test.mallory"), first=0, last=1)
        assert await mallory.say(ccp.UPDATE, good) == ""
        before_mib = victim.resident_mib()
        attacking = asyncio.create_task(attack(mallory, victim, seconds=6.0))
        paid = 0
        while not attacking.done():
            assert await asyncio.to_thread(pay, victim, "test.bob.loop") == ""
            paid += 1
        codes = await attacking
        assert {"F01", "T05"} <= set(codes) <= {"", "F01", "T03", "T05", "R00"}, codes
        neighbours = await asyncio.to_thread(victim.get, "/routes/neighbours")
        seen = neighbours["mallory"]
        assert seen["learned"] <= 5_000
        assert {"own_prefix", "too_short", "flood", "malformed"} <= set(seen["refused"])
        assert victim.resident_mib() < before_mib + 100
        assert paid > 100, paid
        assert neighbours["bob"]["learned"] == 1
        await mallory.close()

    with running(victim, bob):
        wait_until(lambda: hop(victim, "test.bob"), "bob")
        asyncio.run(scene())
        wait_until(lambda: victim.get("/routes/neighbours")["mallory"]["learned"], 0)
        assert pay(victim, "test.bob.loop") == ""
        assert set(victim.get("/routes")) >= {"test.bob"}
        told = victim.get("/routes/told/bob")["routes"]
        assert {route["prefix"] for route in told if route["announced"]} == {"test.victim"}
