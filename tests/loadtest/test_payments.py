"""Loads of payments: two nodes, real payments, and books that say what the tool counted."""

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from fastilp.loadtest.run import Timing, run_target
from fastilp.loadtest.suite import load_scenarios
from fastilp.loadtest.targets import TARGETS, target
from fastilp.loadtest.task import Load, WireTransport

TIMING = Timing(warm_up=0.1, measure=0.5)


@pytest.mark.parametrize("transport", get_args(WireTransport))
def test_payments(transport: WireTransport) -> None:
    """Ten packets each, two payments at a time."""
    load = Load(transport=transport, payment=1_000, packet_max=100, window=2, durability="process")
    result = run_target(target("fastilp"), load, TIMING)
    [totals] = result["totals"]
    assert totals["sent"] == totals["fulfilled"] >= result["exchanges"] > 0
    assert (totals["rejected"], totals["timed_out"], result["codes"]) == (0, 0, {})
    amount = 1_000 * totals["fulfilled"]
    packets = 10 * totals["fulfilled"]
    assert result["received"]["amount"] == amount
    assert result["received"]["fulfilled"] == packets
    sides = {"alice": -amount, "receivers_node": amount, "payers_node": -amount, "bob": amount}
    assert result["books"] == sides
    assert result["packets_per_second"] > 0
    assert result["receiver_cpu_us_per_packet"] > 0 and result["payer_cpu_us_per_packet"] > 0
    [flow] = result["flows"]
    assert 0 < flow["measured"] <= totals["fulfilled"]


@pytest.mark.parametrize(
    ("choices", "why"),
    [
        ({"packet_max": 5}, "nothing without"),
        ({"payment": 5, "transport": "embedded"}, "needs two nodes"),
        ({"payment": 5, "accounts": 4, "amount": 3}, "`accounts`, `amount`: not for loads"),
        ({"payment": 5, "window": None, "rate": 3.0}, "`rate`"),
        ({"payment": 0}, "greater than or equal to 1"),
    ],
)
def test_what_payments_do_not_go_with(choices: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Load.model_validate({"transport": "http", "window": 1, **choices})


@pytest.mark.parametrize("name", sorted({*TARGETS} - {"fastilp"}))
def test_others_are_measured_without(name: str) -> None:
    load = Load(transport="http", payment=5, window=1)
    assert target(name).refuses(load) == f"{name} is measured without payments"


def test_the_scenarios_of_interledger_rs(checkout: Any) -> None:
    """benches/multiple_payments.rs: one packet of 100 units, or a hundred of them."""
    points = load_scenarios(sorted((checkout / "bench" / "scenarios").glob("payments-*-packet*")))
    loads = {(p.load.transport, p.load.payment, p.load.packet_max, p.load.window) for p in points}
    assert loads == {(t, units, 100, 1) for t in ("http", "btp") for units in (100, 10_000)}
    assert len(points) == 4
