"""Counters and gauges in Prometheus' text format, read when somebody asks.

Imports _core, accounts and alerts; prometheus-client only collects: nothing is counted here, and no
packet pays for it. Cardinality is bounded: no label has an account's name; assets and relations are
at most 23 kinds and `other` (Switch.set_class). The names of Interledger.rs come along where
packets are counted by kind, with `_duration` in nanoseconds, sum and count, without quantiles.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from fastilp._core.books import Account
from fastilp._core.switch import Switch
from fastilp.control.accounts import Accounts
from fastilp.control.alerts import Alerts
from fastilp.control.neighbours import Neighbours
from fastilp.types import VERSION, Relation

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_CLASSES_MAX = 24
_OTHER = ("other", "other")
_STORE_COUNTERS = ("commits", "rows", "failures", "reopens", "folds")
_NS_PER_MS = 1_000_000

Numbers = Callable[[], Iterable[tuple[str, str, float]]]
"""(name, help, value) of more gauges, asked at each scrape."""


class Classes:
    """Kinds of accounts that are counted apart: asset code and relation, first come."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self.names: list[tuple[str, str]] = [_OTHER]

    def assign(self, account: Account, relation: Relation) -> None:
        kind = account.asset_code, relation.value
        if kind not in self.names and len(self.names) < _CLASSES_MAX:
            self.names.append(kind)
        number = self.names.index(kind) if kind in self.names else 0
        self._switch.set_class(account, number)


class Metrics:
    """`text()` is what a scrape gets, `pieces()` the same bit by bit. `classes` is None where
    packets are not counted by kind."""

    def __init__(
        self,
        switch: Switch,
        accounts: Accounts,
        alerts: Alerts,
        classes: Classes | None = None,
        more: Numbers | None = None,
    ) -> None:
        self._switch = switch
        self._accounts = accounts
        self._alerts = alerts
        self._classes = classes
        self._more = more
        self.neighbours: Neighbours | None = None
        """Whose routes are counted, once there is a network."""
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def text(self) -> bytes:
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The same, each piece the work of a millisecond or less."""
        yield generate_latest(self._registry)
        if self._classes is not None:
            yield from _by_kind(self._switch, self._classes.names)

    def describe(self) -> list[Metric]:
        """Asked by prometheus-client, which would else collect once for the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._node()
        yield from self._packets()
        yield from self._store()
        if self.neighbours is not None:
            yield from _routes(self.neighbours)
        if self._more is not None:
            for name, text, value in self._more():
                yield GaugeMetricFamily(f"fastilp_{name}", text, value=value)

    def _node(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("fastilp_info", "Version and own address.", labels=["version"])
        info.add_metric([VERSION], 1)
        yield info
        switch = self._switch
        yield GaugeMetricFamily("fastilp_accounts", "Open accounts.", value=len(self._accounts))
        yield GaugeMetricFamily(
            "fastilp_in_flight", "Prepares that wait for an answer.", value=switch.in_flight()
        )
        yield GaugeMetricFamily(
            "fastilp_waiting_for_commit", "Fulfills that wait for their commit.",
            value=switch.waiting(),
        )  # fmt: skip
        active = GaugeMetricFamily("fastilp_alerts_active", "Alerts that are not over.")
        active.add_metric([], self._alerts.active())
        yield active
        raised = CounterMetricFamily("fastilp_alerts", "Alerts by kind.", labels=["kind"])
        for kind, count in self._alerts.raised.items():
            raised.add_metric([kind], count)
        yield raised

    def _packets(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "fastilp_packets", "Packets by outcome (docs/data-path.md).", labels=["outcome"]
        )
        for outcome, count in self._switch.statuses().items():
            family.add_metric([outcome], count)
        yield family

    def _store(self) -> Iterator[Metric]:
        store = self._switch.ledger.store
        if store is None:
            return
        stats = store.stats()
        healthy = 1 if stats["health"] == "healthy" else 0
        yield GaugeMetricFamily("fastilp_store_healthy", "Commits work.", value=healthy)
        for name in _STORE_COUNTERS:
            yield CounterMetricFamily(
                f"fastilp_store_{name}", f"Of the store: {name}.", value=float(stats[name])
            )
        for name in ("last_commit", "slowest_commit"):
            yield GaugeMetricFamily(
                f"fastilp_store_{name}_seconds", f"Of the store: {name}.",
                value=float(stats[f"{name}_us"]) / 1e6,
            )  # fmt: skip
        for name in ("used_size", "room_size"):
            yield GaugeMetricFamily(
                f"fastilp_store_{name.removesuffix('_size')}_bytes", f"Of the store: {name}.",
                value=float(stats[name]),
            )  # fmt: skip


def _routes(neighbours: Neighbours) -> Iterator[Metric]:
    """No label names a neighbour: the API does (`GET /routes/neighbours`)."""
    sessions = neighbours.sessions()
    learned = sum(len(session.near.learned) for session in sessions)
    up = sum(session.is_up for session in sessions)
    yield GaugeMetricFamily("fastilp_routes_learned", "Routes of neighbours.", value=learned)
    yield GaugeMetricFamily("fastilp_neighbours", "Accounts with routes.", value=len(sessions))
    yield GaugeMetricFamily("fastilp_neighbours_up", "Those that are there.", value=up)
    refused = CounterMetricFamily(
        "fastilp_routes_refused", "Routes and requests that were not taken.", labels=["reason"]
    )
    for reason, count in neighbours.refused().items():
        refused.add_metric([reason], count)
    yield refused


def _by_kind(switch: Switch, names: list[tuple[str, str]]) -> Iterator[bytes]:
    """Interledger.rs' names: no `_total`, so for Prometheus they have no type. Written by hand, as
    there are up to 24 * 24 kinds of each."""
    incoming, outgoing = switch.observed()
    sent = [_labels("from", *name) for name in names]
    taken = [_labels("to", *name) for name in names]
    rows_in = [(sent[i], numbers) for i, numbers in incoming.items()]
    rows_out = [(f"{sent[i]},{taken[j]}", numbers) for (i, j), numbers in outgoing.items()]
    for side, rows in (("incoming", rows_in), ("outgoing", rows_out)):
        for kind in ("prepare", "fulfill", "reject"):
            name = f"requests_{side}_{kind}"
            lines = [f"{name}{{{labels}}} {numbers[kind]}" for labels, numbers in rows]
            yield _family(name, f"{kind} packets, {side}.", "untyped", lines)
        name = f"requests_{side}_duration"
        lines = [
            f"{name}_sum{{{labels}}} {numbers['duration_ms'] * _NS_PER_MS}\n"
            f"{name}_count{{{labels}}} {numbers['answered']}"
            for labels, numbers in rows
        ]
        yield _family(name, "From Prepare to answer, ns.", "summary", lines)


def _labels(side: str, asset_code: str, relation: str) -> str:
    code = asset_code.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return f'{side}_asset_code="{code}",{side}_routing_relation="{relation}"'


def _family(name: str, text: str, kind: str, lines: list[str]) -> bytes:
    head = (f"# HELP {name} {text}", f"# TYPE {name} {kind}")
    return "\n".join((*head, *lines, "")).encode()
