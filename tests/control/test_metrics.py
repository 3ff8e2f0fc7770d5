"""Metrics: what a scrape says, that it says it in Prometheus' format, and how large it gets."""

from prometheus_client.parser import text_string_to_metric_families

from fastilp._core.packet import Fulfill
from fastilp._core.status import table
from fastilp.control.alerts import NEAR_LIMIT, Alerts
from fastilp.control.metrics import Classes, Metrics
from fastilp.types import Relation
from tests.small_switch import ADDRESS, SmallSwitch, details

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: bytes) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def pay(node: SmallSwitch) -> None:
    node.links["alice"].receive([(1, bytes(node.prepare(f"{ADDRESS}.paul", 5)))])
    node.turn()
    [(request_id, _)] = node.links["paul"].take()
    node.now_ms += 20
    node.links["paul"].receive([(request_id, bytes(Fulfill(fulfillment=bytes(32))))])
    node.turn()
    assert len(node.links["alice"].take()) == 1


def test_every_outcome_has_a_counter() -> None:
    node = SmallSwitch()
    pay(node)
    found = samples(Metrics(node.switch, node.accounts, Alerts()).text())
    for number, name, *_ in table():
        if number:
            assert ("fastilp_packets_total", (("outcome", name),)) in found
    assert found["fastilp_packets_total", (("outcome", "fulfilled"),)] == 1
    assert found["fastilp_accounts", ()] == 4
    assert found["fastilp_in_flight", ()] == 0
    assert not [name for name, _ in found if name.startswith("requests_")]


def test_names_of_interledger_rs() -> None:
    node = SmallSwitch()
    classes = Classes(node.switch)
    for account, each in node.accounts:
        classes.assign(account, each.routing_relation)
    node.switch.observe(True)
    pay(node)
    assert node.refusal("alice", node.prepare(f"{ADDRESS}.alice", 5))[0] == "F02"
    found = samples(Metrics(node.switch, node.accounts, Alerts(), classes).text())
    child = (("from_asset_code", "ABC"), ("from_routing_relation", "Child"))
    both = (*child, ("to_asset_code", "ABC"), ("to_routing_relation", "Peer"))
    kinds = ("prepare", "fulfill", "reject")
    assert [found[f"requests_incoming_{kind}", child] for kind in kinds] == [2, 1, 1]
    assert [found[f"requests_outgoing_{kind}", both] for kind in kinds] == [1, 1, 0]
    assert found["requests_outgoing_duration_sum", both] == 20_000_000
    assert found["requests_outgoing_duration_count", both] == 1


def test_alerts_and_more_numbers() -> None:
    node = SmallSwitch()
    alerts = Alerts()
    alerts.set(NEAR_LIMIT, "near", "alice")
    metrics = Metrics(
        node.switch, node.accounts, alerts, more=lambda: [("rate_failures", "Failures.", 3)]
    )
    found = samples(metrics.text())
    assert found["fastilp_alerts_total", (("kind", NEAR_LIMIT),)] == 1
    assert found["fastilp_alerts_active", ()] == 1
    assert found["fastilp_rate_failures", ()] == 3


def test_scrape_stays_small() -> None:
    """10,000 accounts, and more kinds of them than are counted apart, all of which have paid."""
    node = SmallSwitch()
    node.switch.observe(True)
    classes = Classes(node.switch)
    relations = [each for each in Relation if each is not Relation.PARENT]
    links = []
    for number in range(10_000):
        one = details(
            f"account{number}", asset_code=f"A{number % 40}",
            routing_relation=relations[number % 3],
        )  # fmt: skip
        account = node.accounts.add(one)
        classes.assign(account, one.routing_relation)
        if number < 200:
            links.append(node.switch.open_link(account))
    node.switch.set_rates({f"A{number}": 1 for number in range(40)})
    assert len(classes.names) == 24
    for sender in links:
        sender.receive(
            [
                (i, bytes(node.prepare(f"{ADDRESS}.account{i}", 5)))
                for i in range(120)
            ]
        )  # fmt: skip
        node.switch.process(node.now_ms)
    text = Metrics(node.switch, node.accounts, Alerts(), classes).text()
    found = samples(text)
    assert len({key for key in found if key[0] == "requests_outgoing_prepare"}) == 24 * 24
    assert len(text) < 1_000_000
    assert b"account1" not in text
