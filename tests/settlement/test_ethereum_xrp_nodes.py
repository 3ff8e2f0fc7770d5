"""Three nodes, two ledgers: a real Ethereum chain between the first two, the stand-in for the XRP
Ledger between the others, and rates in the middle (`eth_xrp_interoperable` of Interledger.rs)."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastilp.engines.host import Host
from fastilp.engines.xrp.stand_in import StandIn
from tests.engines.anvil import ADDRESSES, anvil
from tests.engines.ethereum_process import EngineProcess
from tests.engines.xrp_world import chosen, hosted, paid, stand_in
from tests.helpers import free_ports, until
from tests.interop.node import Node, account, running

pytestmark = pytest.mark.interop

ETH, XRP = ("ETH", 9), ("XRP", 6)
RATES = {"ETH": "1000", "XRP": "1"}
SECONDS = 60
_PAID_SECONDS = 60.0


@contextlib.contextmanager
def xrp_engines(directory: Path, *connectors: str) -> Iterator[tuple[StandIn, list[Host]]]:
    """The ledger, and an engine for each connector, on a loop of their own."""
    loop, stack = asyncio.new_event_loop(), contextlib.AsyncExitStack()
    thread = threading.Thread(target=loop.run_forever)

    async def begin() -> tuple[StandIn, list[Host]]:
        found, hosts = await stack.enter_async_context(stand_in(close_every_ms=100)), []
        for key, connector in enumerate(connectors):
            settings = chosen(directory / f"xrp_{key}", connector, found.url, key)
            host, _ = await stack.enter_async_context(hosted(settings))
            hosts.append(host)
        return found, hosts

    def wait(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(SECONDS)

    thread.start()
    try:
        yield wait(begin())
        wait(stack.aclose())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def peer(username: str, asset: tuple[str, int], port: int, name_there: str, **more: Any) -> Any:
    return account(
        username,
        asset,
        ilp_address=f"example.{username}",
        routing_relation="Peer",
        ilp_over_http_url=f"http://127.0.0.1:{port}/accounts/{name_there}/ilp",
        ilp_over_http_outgoing_token=f"{name_there}_in",
        **more,
    )


def nodes(directory: Path, ports: list[int], listeners: list[int]) -> list[Node]:
    accounts = {
        "alice": [
            account("alice", ETH),
            peer("bob", ETH, ports[1], "alice", settle_threshold=70_000, settle_to=10_000),
        ],
        "bob": [
            peer("alice", ETH, ports[0], "bob"),
            peer("charlie", XRP, ports[2], "bob", settle_threshold=70_000, settle_to=5_000),
        ],
        "charlie": [account("charlie", XRP), peer("bob", XRP, ports[1], "charlie")],
    }
    routes = {"alice": {"example.charlie": "bob"}}
    return [
        Node(
            directory / name,
            f"example.{name}",
            entries,
            routes=routes.get(name),
            rates=RATES,
            port=port,
            listen={"settlement": f"127.0.0.1:{listener}"},
            secret_seed=f"{port:064x}",
        )
        for (name, entries), port, listener in zip(accounts.items(), ports, listeners, strict=True)
    ]


def test_ex_04_eth_and_xrp(tmp_path: Path) -> None:
    """Global engines, set when the accounts are there already. 70000 from A to C, at a rate of one
    to one between the smallest units; each hop keeps what it settles down to."""
    ports, listeners, engine_ports = free_ports(3), free_ports(3), free_ports(2)
    a, b, c = nodes(tmp_path, ports, listeners)
    calls = [f"http://127.0.0.1:{port}" for port in listeners]
    with (
        anvil(tmp_path) as chain,
        xrp_engines(tmp_path, *calls[1:]) as (found, hosts),
        contextlib.ExitStack() as stack,
    ):
        engines = [
            EngineProcess(tmp_path / f"eth_{key}", engine_ports[key], calls[key], chain.url, key, 0)
            for key in (0, 1)
        ]
        for engine in engines:
            engine.launch()
            stack.callback(engine.end)
        with running(a, b, c):
            for engine in engines:
                until(engine.is_ready)
            urls = [f"http://{host.address}" for host in hosts]
            c.call("PUT", "/settlement/engines", {"XRP": urls[1]})
            b.call("PUT", "/settlement/engines", {"ETH": engines[1].url, "XRP": urls[0]})
            a.call("PUT", "/settlement/engines", {"ETH": engines[0].url})
            receiver = f"http://127.0.0.1:{c.port}/accounts/charlie/spsp"
            order = {"receiver": receiver, "source_amount": 70_000}
            sent = a.call("POST", "/accounts/alice/payments", order, "alice_in", _PAID_SECONDS)
            assert sent["delivered_amount"] == 70_000
            final = {
                "bob at a": 10_000,
                "alice at b": -10_000,
                "charlie at b": 5_000,
                "bob at c": -5_000,
                "charlie at c": 70_000,
            }
            until(lambda: books(a, b, c) == final, lambda: str(books(a, b, c)))
        (transaction,) = chain.payments(ADDRESSES[0])
        assert int(transaction["value"], 16) == 60_000 * 10**9
        assert paid(found.ledger) == [65_000]


def books(a: Node, b: Node, c: Node) -> dict[str, int]:
    pairs = (("bob", a, "a"), ("alice", b, "b"), ("charlie", b, "b"), ("bob", c, "c"))
    found = {f"{username} at {name}": node.balance(username) for username, node, name in pairs}
    return found | {"charlie at c": c.balance("charlie")}
