"""Programs that pay and are paid through a whole node, as a process of its own, over each transport
that an account can be dialled by."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from fastilp import stream
from fastilp.errors import PaymentError, UsageError
from fastilp.stream import Details, NetworkUplink, Progress, Reason, Server, State
from tests.node_process import NodeProcess

ACCOUNTS = """
[[accounts]]
username = "alice"
asset_code = "ABC"
asset_scale = 9
ilp_over_http_incoming_token = "alice-token"
ilp_over_btp_incoming_token = "alice-token"
ilp_over_batch_incoming_token = "alice-token"
min_balance = -1000000000
[[accounts]]
username = "bob"
asset_code = "ABC"
asset_scale = 6
ilp_over_btp_incoming_token = "bob-token"
[[accounts]]
username = "carol"
asset_code = "ABC"
asset_scale = 6
ilp_over_batch_incoming_token = "carol-token"
"""
LISTEN = 'batch = "127.0.0.1:0"'
AMOUNT = 10_000_000


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    directory: Path = tmp_path_factory.mktemp("programs") / "node"
    with NodeProcess(directory, ACCOUNTS, listen=LISTEN) as running:
        yield running


def url(node: NodeProcess, username: str, kind: str) -> str:
    if kind == "btp":
        return f"btp+ws://{username}:{username}-token@{node.http}/accounts/{username}/ilp/btp"
    if kind == "batch":
        return f"ilp+tcp://{username}:{username}-token@{node.batch}"
    known = f":{username}-token@" if kind == "http, token" else ""
    return f"http://{known}{node.http}/accounts/{username}/ilp"


def on(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


class Moved:
    """What the node's books say that a block moved: everything arrived, in thousandths."""

    def __init__(self, node: NodeProcess, amount: int, to: str = "bob") -> None:
        self._node, self._amount, self._to = node, amount, to

    def __enter__(self) -> None:
        self._before = self._node.balances()

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            after = self._node.balances()
            moved = {name: after[name] - self._before[name] for name in ("alice", self._to)}
            assert moved == {"alice": -self._amount, self._to: self._amount // 1_000}


@pytest.mark.parametrize(("to", "receives"), [("bob", "btp"), ("carol", "batch")])
@pytest.mark.parametrize("pays", ["btp", "batch", "http", "http, token"])
def test_pays_and_is_paid(node: NodeProcess, pays: str, to: str, receives: str) -> None:
    token = "alice-token" if pays == "http" else None

    async def scenario() -> None:
        async with (
            stream.open_uplink(url(node, "alice", pays), token) as alice,
            stream.listen(url(node, to, receives)) as server,
        ):
            assert (alice.address, alice.asset_code, alice.asset_scale) == (
                "example.node.alice",
                "ABC",
                9,
            )
            destination, secret = server.credentials()
            async with stream.connect(alice, destination, secret) as connection:
                outcome = await connection.send(AMOUNT)
                assert outcome.state is State.COMPLETED
                assert (outcome.sent_amount, outcome.delivered_amount) == (AMOUNT, AMOUNT // 1_000)
                assert connection.destination_asset == ("ABC", 6)
                assert connection.delivered_amount == server.received_amount == AMOUNT // 1_000

    with Moved(node, AMOUNT, to):
        on(scenario)


def test_money_and_data_as_they_come(node: NodeProcess) -> None:
    text = b"what this is for" * 10_000

    async def receive(server: Server) -> tuple[int, bytes]:
        async for connection in server:
            data = b""
            while piece := await connection.read():
                data += piece
            return sum([amount async for amount in connection]), data
        raise AssertionError("the server ended")

    async def scenario() -> None:
        async with stream.listen(url(node, "bob", "btp")) as server:
            receiving = asyncio.ensure_future(receive(server))
            async with stream.connect(url(node, "alice", "btp"), *server.credentials()) as bob:
                await bob.send(AMOUNT // 2, data=text[:70_000])
                await bob.send(data=text[70_000:])
                await bob.send(AMOUNT // 2)
            assert await receiving == (AMOUNT // 1_000, text)

    with Moved(node, AMOUNT):
        on(scenario)


def test_connections_side_by_side(node: NodeProcess) -> None:
    async def pay(alice: NetworkUplink, server: Server, amount: int) -> None:
        async with stream.connect(alice, *server.credentials()) as connection:
            sendings = [connection.send(amount) for _ in range(3)]
            assert [(await one).delivered_amount for one in sendings] == [amount // 1_000] * 3

    async def scenario() -> None:
        async with (
            stream.open_uplink(url(node, "alice", "btp")) as alice,
            stream.listen(url(node, "bob", "btp")) as server,
        ):
            await asyncio.gather(*(pay(alice, server, 1_000 * n) for n in range(1, 11)))
            seen = {}
            async for connection in server:
                seen[connection.destination] = connection.received_amount
                if len(seen) == 10:
                    break
            assert sorted(seen.values()) == [3 * n for n in range(1, 11)]

    with Moved(node, 3_000 * 55):
        on(scenario)


def test_progress(node: NodeProcess) -> None:
    async def scenario() -> None:
        async with (
            stream.listen(url(node, "bob", "btp")) as server,
            stream.connect(url(node, "alice", "btp"), *server.credentials()) as bob,
        ):
            seen: list[Progress] = []
            sending = bob.send(delivery_amount=500)
            async for progress in sending:
                seen.append(progress)
            assert seen[0].state in (State.PROBING, State.SENDING)
            assert seen[-1] == await sending == sending.progress
            assert (seen[-1].delivered_amount, seen[-1].sent_amount) == (500, 500_000)
            assert seen[-1].rate == Fraction(1, 1_000)

    with Moved(node, 500_000):
        on(scenario)


def test_cancelling(node: NodeProcess) -> None:
    async def scenario() -> None:
        async with (
            stream.listen(url(node, "bob", "btp")) as server,
            stream.connect(url(node, "alice", "btp"), *server.credentials()) as bob,
        ):
            waits = bob.send(AMOUNT)
            waits.cancel()
            with pytest.raises(stream.PaymentFailed) as failed:
                await waits
            assert failed.value.outcome.state is State.CANCELLED
            assert failed.value.outcome.sent_amount == server.received_amount == 0
            assert (await bob.send(1_000)).delivered_amount == 1

    with Moved(node, 1_000):
        on(scenario)


def test_an_exception_cancels(node: NodeProcess) -> None:
    async def scenario() -> None:
        async with stream.listen(url(node, "bob", "btp")) as server:
            with pytest.raises(ZeroDivisionError):
                async with stream.connect(
                    url(node, "alice", "btp"), *server.credentials()
                ) as connection:
                    sending = connection.send(AMOUNT)
                    raise ZeroDivisionError
            assert sending.task.done()
            with pytest.raises(UsageError, match="closed"):
                connection.send(1)

    with Moved(node, 0):
        on(scenario)


def test_failures_say_what_was_paid(node: NodeProcess) -> None:
    async def scenario() -> None:
        async with (
            stream.listen(url(node, "bob", "btp")) as server,
            stream.open_uplink(url(node, "alice", "btp")) as alice,
        ):
            destination, secret = server.credentials()
            async with stream.connect(
                alice, destination, secret, rate=Fraction(1, 500), slippage=Decimal("0.1")
            ) as connection:
                with pytest.raises(stream.PaymentFailed, match="delivers 0.001 for 1") as failed:
                    await connection.send(AMOUNT)
                assert failed.value.outcome.reason is Reason.RATE_TOO_LOW
                assert failed.value.outcome.sent_amount == 0
            async with stream.connect(alice, "example.nowhere", secret) as connection:
                with pytest.raises(stream.PaymentFailed, match="F02"):
                    await connection.send(1)
            async with stream.connect(alice, destination, bytes(32)) as connection:
                with pytest.raises(stream.PaymentFailed) as failed:
                    await connection.send(AMOUNT)
                assert failed.value.outcome.reason is Reason.REJECTED

    with Moved(node, 0):
        on(scenario)


def test_what_cannot_be(node: NodeProcess) -> None:
    async def scenario() -> None:
        details = Details("test.me", 9, "ABC")
        with pytest.raises(UsageError, match="an uplink is"):
            async with stream.open_uplink("ftp://localhost"):
                pass
        with pytest.raises(PaymentError, match="cannot be reached: .*refused"):
            wrong = url(node, "alice", "btp").replace("alice-token", "wrong")
            async with stream.open_uplink(wrong):
                pass
        with pytest.raises(PaymentError, match="which address and asset"):
            async with stream.open_uplink(url(node, "alice", "http"), "wrong"):
                pass
        async with stream.open_uplink(url(node, "alice", "http"), details=details) as uplink:
            assert (uplink.address, uplink.asset_scale) == ("test.me", 9)
            with pytest.raises(UsageError, match="over HTTP we only send"):
                async with stream.listen(uplink):
                    pass
            async with stream.connect(uplink, "test.bob", bytes(32)) as connection:
                for terms in ({}, {"amount": -1}, {"amount": 1, "delivery_amount": 1}):
                    with pytest.raises(UsageError):
                        connection.send(**terms)

    on(scenario)
