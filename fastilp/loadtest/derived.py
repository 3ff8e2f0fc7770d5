"""What two or more results say together: ratios, and what a hop adds, beside what is wanted.

Imports the summary's shapes. A finding appears when the scenarios that it compares are there, by
the names of the files in bench/scenarios.
"""

from collections.abc import Iterator
from typing import NamedTuple

from fastilp.loadtest.summary import Document, Entry
from fastilp.loadtest.table import microseconds

_GROWTH_MAX = 1.20
_FAIRNESS_MAX = 5.0
_HOP_P99_US_MAX = 2_000.0
_PROCESS_SHARE_MIN = 0.8
_CPU_US_MAX = {"batch": 3.0, "btp": 8.0}
_RECEIVED_US_MAX = 60.0
_TIMES_FEWER_MIN = {"btp": 25.0, "http": 20.0}
# Windows that both sides of a comparison are measured with.
_WINDOW = 1024
# More than a commit of a slow disk holds up: what bounds the throughput then is the CPU.
_WINDOW_LARGE = 16_384


class Finding(NamedTuple):
    what: str
    shown: str
    bound: str
    holds: bool


def findings(document: Document) -> list[Finding]:
    found = Figures(document["entries"])
    parts = (_cpu, _received, _against_others, _durability, _hop, _growth, _fairness)
    return [finding for part in parts for finding in part(found)]


class Figures:
    """Entries by what was loaded; one without a single exchange says nothing."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = [entry for entry in entries if entry["median"]["throughput"]]

    def scenario(self, name: str, target: str = "fastilp") -> Entry | None:
        found = self.scenarios(name, target)
        return found[0] if found else None

    def scenarios(self, name: str, target: str = "fastilp") -> list[Entry]:
        return [e for e in self.entries if e["scenario"] == name and e["target"] == target]

    def cpu(self, name: str, target: str = "fastilp") -> float | None:
        entry = self.scenario(name, target)
        value = entry["median"]["cpu_us_per_exchange"] if entry else None
        return None if value is None else float(value)


def _p99(entry: Entry) -> float:
    return float(entry["median"]["flows"][0]["latency_us"]["p99"])


def _at_most(what: str, value: float, limit: float, shown: str, bound: str) -> Finding:
    return Finding(what, shown, f"≤ {bound}", value <= limit)


def _cpu(found: Figures) -> Iterator[Finding]:
    for transport, limit in _CPU_US_MAX.items():
        for window in (64, _WINDOW):
            value = found.cpu(f"{transport}-{window}")
            if value is not None:
                what = f"CPU per exchange, {transport}, durable, {window:,} in flight"
                yield _at_most(what, value, limit, f"{value:.2f} µs", f"{limit:g} µs")


def _received(found: Figures) -> Iterator[Finding]:
    """Where payments end: all that a node does for a packet, crypto included."""
    for transport in ("btp", "http"):
        entry = found.scenario(f"payments-{transport}-64")
        value = entry["median"]["receiver_cpu_us_per_packet"] if entry else None
        if value is not None:
            what = f"CPU per received packet of payments, {transport}, 64 payments at a time"
            shown, bound = f"{value:.1f} µs", f"{_RECEIVED_US_MAX:g} µs"
            yield _at_most(what, value, _RECEIVED_US_MAX, shown, bound)


def _against_others(found: Figures) -> Iterator[Finding]:
    for window in (64, _WINDOW):
        ours, nginx = found.cpu(f"http-{window}"), found.cpu(f"http-{window}", "nginx")
        if ours is not None and nginx is not None:
            what = f"CPU per exchange, HTTP, durable, {window:,} in flight, against nginx's"
            shown = f"{ours:.2f} of {nginx:.2f} µs"
            yield _at_most(what, ours, nginx, shown, "nginx's")
    for transport, times in _TIMES_FEWER_MIN.items():
        for window in (64, _WINDOW):
            name = f"{transport}-{window}"
            ours, theirs = found.cpu(name), found.cpu(name, "ilp-connector")
            if ours and theirs:
                what = f"ilp-connector's CPU over ours, {transport}, {window:,} in flight"
                ratio = theirs / ours
                yield Finding(what, f"{ratio:.1f}x", f"≥ {times:g}x", ratio >= times)


def _durability(found: Figures) -> Iterator[Finding]:
    for transport in ("batch", "btp", "http"):
        for window in (64, _WINDOW, _WINDOW_LARGE):
            durable = found.scenario(f"{transport}-{window}")
            process = found.scenario(f"{transport}-{window}-process")
            if durable and process:
                share = durable["median"]["throughput"] / process["median"]["throughput"]
                what = f"durable throughput over process, {transport}, {window:,} in flight"
                holds = share >= _PROCESS_SHARE_MIN
                yield Finding(what, f"{share:.2f}x", f"≥ {_PROCESS_SHARE_MIN:g}x", holds)


def _hop(found: Figures) -> Iterator[Finding]:
    through, direct = found.scenario("batch-rate-5000"), found.scenario("batch-rate-5000", "direct")
    if through and direct:
        added = _p99(through) - _p99(direct)
        yield _at_most(
            "p99 that the hop adds at 5,000 a second, batch, durable",
            added,
            _HOP_P99_US_MAX,
            microseconds(max(added, 0.0)),
            microseconds(_HOP_P99_US_MAX),
        )


def _growth(found: Figures) -> Iterator[Finding]:
    for scenario in dict.fromkeys(entry["scenario"] for entry in found.entries):
        for key in ("accounts", "routes"):
            points = sorted(
                (int(entry["load"][key]), float(entry["median"]["cpu_us_per_exchange"]))
                for entry in found.scenarios(scenario)
                if scenario.startswith("growth-")
                and key in entry["load"]
                and entry["median"]["cpu_us_per_exchange"] is not None
            )
            if len({size for size, _ in points}) < 2:
                continue
            ratio = points[-1][1] / points[0][1]
            what = f"{scenario}: CPU at {points[-1][0]:,} over {points[0][0]:,} {key}"
            yield _at_most(what, ratio, _GROWTH_MAX, f"{ratio:.2f}x", f"{_GROWTH_MAX:g}x")


def _fairness(found: Figures) -> Iterator[Finding]:
    one, spread = found.scenario("flood-one-link"), found.scenario("flood-ten-links")
    if one and spread:
        ratio = _p99(one) / _p99(spread)
        yield _at_most(
            "a victim's p99 under one flooding link, over the same load from 10 links",
            ratio,
            _FAIRNESS_MAX,
            f"{ratio:.2f}x",
            f"{_FAIRNESS_MAX:g}x",
        )
