"""From results to documents, tables, reports and comparisons; and the scenarios of `make bench`."""

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fastilp.errors import UsageError
from fastilp.loadtest.derived import findings
from fastilp.loadtest.engine import Histogram
from fastilp.loadtest.plots import Axis, Series, bars, lines
from fastilp.loadtest.report import figures, render
from fastilp.loadtest.suite import load_scenarios
from fastilp.loadtest.summary import document, entry
from fastilp.loadtest.table import END_MARK, START_MARK, microseconds, replace_figures
from fastilp.loadtest.worker import CURVE

VOID = {"meta", "circle", "polyline", "rect", "line"}


def result(cpu: float, p99_us: float = 900.0, **load: Any) -> dict[str, Any]:
    histogram = Histogram()
    for value in range(1, 1001):
        histogram.record(int(value * p99_us))
    curve = [(share, value / 1000) for share, value in histogram.summary(CURVE)["quantiles"]]
    latency = {name: p99_us for name in ("p50", "p90", "p99", "p99.9", "max", "min", "mean")}
    return {
        "version": "1",
        "load": load,
        "seconds": 1.0,
        "throughput": 1e6 / cpu,
        "flow_throughput": [1e6 / cpu],
        "cpu_us_per_exchange": cpu,
        "cpu_share": 1.0,
        "tool_cpu_share": 0.5,
        "codes": {"F99": 3},
        "interrupted": False,
        "flows": [{"name": "measured", "latency_us": latency, "curve": curve}],
        "rss": [50 << 20] * 80,
    }


def made(*parts: tuple[str, str, list[dict[str, Any]]]) -> dict[str, Any]:
    entries = [entry(name, name.capitalize(), target, runs) for name, target, runs in parts]
    reason = {"scenario": "x", "target": "y", "reason": "<not> here"}
    return document(entries, [reason])


class Checker(HTMLParser):
    """Every element that is opened is closed, and nothing is fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href", "xlink:href"} & {name for name, _ in attrs}
        assert tag not in ("script", "link", "img", "iframe")
        self.elements.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_medians_are_of_the_runs() -> None:
    found = entry("a", "A", "fastilp", [result(5.0), result(1.0, 100.0), result(3.0, 300.0)])
    assert found["median"]["cpu_us_per_exchange"] == 3.0
    assert found["median"]["flows"][0]["latency_us"]["p99"] == 300.0
    assert found["codes"] == {"F99": 9}


def test_a_target_without_an_exchange_has_no_latency() -> None:
    empty = result(3.0)
    empty.update(throughput=0.0, flow_throughput=[0.0], cpu_us_per_exchange=None)
    found = made(("http-1024", "fastilp", [result(3.0)]), ("http-1024", "ilp-connector", [empty]))
    assert "| Http-1024 | ilp-connector | 0 | – | – | – |" in figures(found)
    assert "<td>–</td>" in render(found)


def test_a_report_is_one_file_with_its_plots() -> None:
    found = made(
        ("http-64", "fastilp", [result(3.0, window=64)]),
        ("http-64", "nginx", [result(20.0, window=64)]),
        ("growth-accounts", "fastilp", [result(3.0, window=64)]),
        ("growth-accounts", "fastilp", [result(3.3, window=64, accounts=10_000)]),
    )
    text = render(found)
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    # CPU and throughput as bars, latencies, growth, memory.
    assert checker.elements.count("svg") == 5
    assert "://" not in text and "url(" not in text
    assert "&lt;not&gt; here" in text and "10,000" in text
    assert found["machine"]["cpu"] in text and found["date"][:10] in text


def test_what_is_compared() -> None:
    found = made(
        ("batch-1024", "fastilp", [result(2.5)]),
        ("batch-1024-process", "fastilp", [result(2.0)]),
        ("btp-64", "fastilp", [result(8.5)]),
        ("btp-64", "ilp-connector", [result(255.0)]),
        ("http-64", "fastilp", [result(10.0)]),
        ("http-64", "nginx", [result(9.0)]),
        ("batch-rate-5000", "fastilp", [result(2.0, 2500.0)]),
        ("batch-rate-5000", "direct", [result(2.0, 100.0)]),
        ("growth-routes", "fastilp", [result(2.0, routes=10)]),
        ("growth-routes", "fastilp", [result(2.2, routes=1000)]),
        ("growth-routes", "fastilp", [{**result(9.0, routes=10**6), "throughput": 0.0}]),
        ("flood-one-link", "fastilp", [result(2.0, 400.0)]),
        ("flood-ten-links", "fastilp", [result(2.0, 100.0)]),
    )
    assert [(each.shown, each.holds) for each in findings(found)] == [
        ("2.50 µs", True),
        ("8.50 µs", False),
        ("10.00 of 9.00 µs", False),
        ("30.0x", True),
        ("0.80x", True),
        ("2.4 ms", False),
        ("1.10x", True),
        ("4.00x", True),
    ]


def test_the_figures_of_a_readme_stand_between_its_marks() -> None:
    found = made(("batch-64", "fastilp", [result(2.5)]))
    text = f"before\n{START_MARK}\nold\n{END_MARK}\nafter\n"
    written = replace_figures(text, figures(found))
    assert written.startswith("before\n") and written.endswith("\nafter\n")
    assert "old" not in written and "| Batch-64 | fastilp | 400,000 | 2.50 |" in written
    assert replace_figures(written, figures(found)) == written
    with pytest.raises(ValueError, match="to write between"):
        replace_figures("no marks", "")


def test_a_document_survives_json() -> None:
    found = made(("batch-64", "fastilp", [result(2.5)]))
    assert render(json.loads(json.dumps(found))) == render(copy.deepcopy(found))


@pytest.mark.parametrize(
    ("value", "shown"), [(87.4, "87 µs"), (4_120.0, "4.1 ms"), (2_500_000.0, "2.50 s")]
)
def test_microseconds(value: float, shown: str) -> None:
    assert microseconds(value) == shown


def test_plots_of_nothing_and_of_one_point() -> None:
    assert bars([], str) == lines([], Axis("", str), Axis("", str)) == ""
    assert "circle" in lines([Series("a", [(1.0, 0.0)])], Axis("", str, True), Axis("", str))


def coordinates(svg: str) -> list[float]:
    points = re.findall(r'points="([^"]+)"', svg)
    return [float(number) for part in points for number in re.split("[ ,]", part)]


def test_points_lie_inside_the_plot() -> None:
    series = [Series("a", [(1.0, 5.0), (1000.0, 70_000.0)])]
    for logarithmic in (False, True):
        drawn = lines(series, Axis("", str, True), Axis("", str, logarithmic))
        assert all(0 <= number <= 760 for number in coordinates(drawn))


def test_every_scenario_of_the_repository_is_sound(checkout: Path) -> None:
    points = load_scenarios([checkout / "bench" / "scenarios"])
    names = list(dict.fromkeys(point.scenario for point in points))
    assert names.index("batch-64") < names.index("batch-1024")
    for point in points:
        # Every one is for a target that takes it.
        assert point.make().refuses(point.load) is None, (point.scenario, point.target)
    sizes = [point.load.accounts for point in points if point.scenario == "growth-accounts"]
    assert sizes == [2, 100, 10000]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"title": "a", "load": {"window": 0}}',
        '{"title": "a", "load": {"rate": 5}, "b": 1}',
    ],
)
def test_a_scenario_that_is_wrong_says_where(tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong.json").write_text(text)
    with pytest.raises(UsageError, match="wrong.json: .*") as raised:
        load_scenarios([tmp_path])
    assert "\n" not in str(raised.value) and "pydantic" not in str(raised.value)
