"""Senders and receivers over each transport: against a real node, and with nothing between them.

Every run ends with the books: what was sent is what was answered, timed out or lost, and the node's
balances are what the tool counted.
"""

from typing import Any, get_args

import pytest

from fastilp.errors import FastILPError
from fastilp.loadtest.run import Timing, run_target
from fastilp.loadtest.targets import target
from fastilp.loadtest.task import Flood, Load, WireTransport

TIMING = Timing(warm_up=0.2, measure=1.0)
TRANSPORTS = get_args(WireTransport)


def run(name: str, **choices: Any) -> dict[str, Any]:
    """One run whose counts add up."""
    result = run_target(target(name), Load(**choices), TIMING)
    for counts in result["totals"]:
        ends = ("fulfilled", "rejected", "timed_out", "lost", "in_flight")
        assert counts["sent"] == sum(counts[end] for end in ends)
        assert counts["sent"] > 0
        assert (counts["in_flight"], counts["timed_out"], counts["lost"]) == (0, 0, 0)
    received = result["received"]
    assert (received["malformed"], received["unmatched"]) == (0, 0)
    assert received["prepares"] == received["fulfilled"] + received["rejected"]
    assert result["exchanges"] > 0
    return result


def total(result: dict[str, Any], name: str) -> int:
    return sum(counts[name] for counts in result["totals"])


def balances(result: dict[str, Any], side: str) -> int:
    books: dict[str, int] = result["books"]
    return sum(balance for name, balance in books.items() if name.startswith(side))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_directly(transport: WireTransport) -> None:
    result = run("direct", transport=transport, window=32)
    assert total(result, "fulfilled") == total(result, "sent") == result["received"]["fulfilled"]
    assert result["received"]["amount"] == 1000 * total(result, "sent")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_through_a_node(transport: WireTransport) -> None:
    result = run("fastilp", transport=transport, window=32, amount=7)
    assert total(result, "fulfilled") == total(result, "sent") == result["received"]["fulfilled"]
    assert balances(result, "sender") == -7 * total(result, "fulfilled")
    assert balances(result, "receiver") == result["received"]["amount"]
    assert balances(result, "receiver") + balances(result, "sender") == 0
    assert result["cpu_us_per_exchange"] > 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_mixed_answers(transport: WireTransport) -> None:
    result = run("fastilp", transport=transport, window=32, reject_share=0.5)
    received = result["received"]
    assert (total(result, "fulfilled"), total(result, "rejected")) == (
        received["fulfilled"],
        received["rejected"],
    )
    assert min(received["fulfilled"], received["rejected"]) > 0
    assert result["codes"] == {"F99": received["rejected"]}
    assert balances(result, "sender") == -1000 * received["fulfilled"]
    assert balances(result, "receiver") == received["amount"]


def test_rejects_of_the_node_are_counted_by_code() -> None:
    # The receivers' address is known, the expiry is too near: R02.
    result = run("fastilp", transport="btp", window=4, expires_in_ms=500)
    assert result["codes"] == {"R02": total(result, "rejected")}
    assert total(result, "fulfilled") == 0
    assert balances(result, "sender") == balances(result, "receiver") == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_many_accounts_and_routes(transport: WireTransport) -> None:
    load = {"accounts": 20, "routes": 1000, "payload": 8, "answer_payload": 0}
    result = run("fastilp", transport=transport, window=100, **load)
    paid = [-balance for name, balance in result["books"].items() if name.startswith("sender")]
    got = [balance for name, balance in result["books"].items() if name.startswith("receiver")]
    assert len(paid) == len(got) == 10
    # All of them took part.
    assert min(paid) > 0 and min(got) > 0
    assert sum(paid) == sum(got) == 1000 * total(result, "fulfilled")


def test_without_sockets() -> None:
    load = {"accounts": 20, "routes": 1000, "batch": 16}
    result = run("fastilp", transport="embedded", window=100, **load)
    paid = [-balance for name, balance in result["books"].items() if name.startswith("sender")]
    assert min(paid) > 0
    assert sum(paid) == balances(result, "receiver") == result["received"]["amount"]
    assert sum(paid) == 1000 * total(result, "fulfilled")
    assert 0 < result["writer_us_per_exchange"] < result["cpu_us_per_exchange"]


def test_another_asset() -> None:
    result = run("fastilp", transport="btp", window=32, rate_of_exchange="1.25", amount=1000)
    assert balances(result, "sender") == -1000 * total(result, "fulfilled")
    assert balances(result, "receiver") == 800 * total(result, "fulfilled")
    assert result["received"]["amount"] == 800 * result["received"]["fulfilled"]


def test_pipelined_requests() -> None:
    result = run("direct", transport="http", window=32, connections=4, depth=8)
    assert total(result, "fulfilled") == total(result, "sent")
    assert result["received"]["accepted"] == 4


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_open_loop_sends_at_its_rate(transport: WireTransport) -> None:
    result = run("direct", transport=transport, rate=2000)
    seconds = TIMING.warm_up + TIMING.measure
    # No Prepare is left out, however late the loop came to it; the run itself may end a bit late.
    assert total(result, "sent") >= 2000 * seconds - 1


def test_a_stalled_receiver_shows_in_an_open_loop() -> None:
    """Coordinated omission: while the receiver sleeps, Prepares go on being due, and those that
    were due then are late. A closed loop would have waited, and seen one slow exchange."""
    stall = {"stall_ms": 200, "stall_period_ms": 500}
    opened = run("direct", transport="batch", rate=1000, **stall)
    closed = run("direct", transport="batch", window=1, **stall)
    # Two fifths of the time is slept away: the slowest tenth waits at least 100 ms.
    assert opened["flows"][0]["latency_us"]["p90"] > 100_000
    assert closed["flows"][0]["latency_us"]["p90"] < 100_000
    assert closed["flows"][0]["latency_us"]["max"] > 100_000


def test_a_flood_beside_what_is_measured() -> None:
    flood = Flood(links=1, window=64)
    result = run("fastilp", transport="btp", rate=200, accounts=4, flood=flood)
    assert [flow["name"] for flow in result["flows"]] == ["measured", "flood"]
    assert -balances(result, "sender") == 1000 * total(result, "fulfilled")
    assert balances(result, "receiver") == result["received"]["amount"]


def test_a_target_that_goes_away_is_an_error() -> None:
    node = target("fastilp")
    beginning = True

    def kill(event: dict[str, Any]) -> None:
        nonlocal beginning
        if beginning:
            node.processes[0].popen.kill()
        beginning = False

    with pytest.raises(FastILPError, match="closed every connection"):
        run_target(node, Load(transport="btp", window=8), Timing(0.1, 20.0), kill)
