"""Results for people: a table on the console, and the same in Markdown for a README.

Imports nothing of ours but the document's shape (summary).
"""

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from fastilp.loadtest.summary import LATENCIES, Document, Entry

START_MARK = "<!-- figures: written by `make bench` -->"
END_MARK = "<!-- end of figures -->"
INTERRUPTED = "Interrupted: not all runs were made, or not to their end."
_COLUMNS = (
    "scenario",
    "target",
    "exchanges/s",
    "CPU µs each",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "rejects",
)
# Scenario, target, exchanges/s, CPU, p50, p99.
_MARKDOWN_COLUMNS = (0, 1, 2, 3, 4, 6)


def console_table(entries: Iterable[Entry]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, name in enumerate(_COLUMNS):
        text = number < 2 or name == "rejects"
        table.add_column(name, justify="left" if text else "right", no_wrap=True)
    for entry in entries:
        for row in _rows(entry):
            table.add_row(*row)
    return table


def markdown_table(entries: Iterable[Entry]) -> str:
    lines = [
        "| " + " | ".join(_COLUMNS[column] for column in _MARKDOWN_COLUMNS) + " |",
        "|" + "|".join("---" if column < 2 else "--:" for column in _MARKDOWN_COLUMNS) + "|",
    ]
    for entry in entries:
        # The first flow is the measured one; a flood behind it is no figure of its own.
        row = _rows(entry)[0]
        lines.append("| " + " | ".join(row[column] for column in _MARKDOWN_COLUMNS) + " |")
    return "\n".join(lines)


def headline(document: Document) -> str:
    machine = document["machine"]
    commit = f", commit {document['commit']}" if document["commit"] else ""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Linux"
        f" {machine['kernel']}, Python {machine['python']}; {document['date'][:10]}{commit}."
    )


def _rows(entry: Entry) -> list[list[str]]:
    """One for each flow; the figures of the whole run stand in the first."""
    median = entry["median"]
    rows = []
    for index, flow in enumerate(median["flows"]):
        latency = [latency_of(flow, name) for name in LATENCIES]
        cpu = median["cpu_us_per_exchange"]
        name = title_of(entry)
        rows.append(
            [
                name if index == 0 else f"  {flow['name']}",
                entry["target"],
                f"{flow['throughput']:,.0f}",
                f"{cpu:.2f}" if cpu is not None and index == 0 else "–",
                *latency,
                codes(entry["codes"]) if index == 0 else "",
            ]
        )
    return rows


def title_of(entry: Entry) -> str:
    """What it is called where its figures stand."""
    title: str = entry["title"] or entry["scenario"]
    return f"{title} (interrupted)" if entry.get("interrupted") else title


def latency_of(flow: dict[str, Any], name: str) -> str:
    """A percentile of a flow; a flow without an exchange has none."""
    return microseconds(flow["latency_us"][name]) if flow["throughput"] else "–"


def codes(counts: dict[str, int]) -> str:
    return " ".join(f"{code}:{count:,}" for code, count in sorted(counts.items()))


def microseconds(value: float) -> str:
    """With the unit that fits: 87 µs, 4.1 ms, 2.50 s."""
    if value < 1_000:
        return f"{value:.0f} µs"
    if value < 1_000_000:
        return f"{value / 1_000:.1f} ms"
    return f"{value / 1_000_000:.2f} s"


def replace_figures(text: str, figures: str) -> str:
    """`text` with what stands between the marks exchanged."""
    before, start, rest = text.partition(START_MARK)
    _, end, after = rest.partition(END_MARK)
    if not start or not end:
        raise ValueError(f"there is no {START_MARK} … {END_MARK} to write between")
    return f"{before}{start}\n{figures}\n{end}{after}"
