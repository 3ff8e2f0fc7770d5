"""The report: one HTML file with everything in it, from a document of results.

Imports plots, the table's words and the derived figures. No script, no font, no address of another
host: it opens anywhere and prints.
"""

from collections.abc import Iterable
from html import escape

from fastilp.loadtest.derived import Finding, findings
from fastilp.loadtest.plots import Axis, Format, Series, bars, lines
from fastilp.loadtest.summary import LATENCIES, Document, Entry
from fastilp.loadtest.table import (
    INTERRUPTED,
    codes,
    headline,
    latency_of,
    markdown_table,
    microseconds,
    title_of,
)

_COLOURS = (
    "#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#dc2626", "#0891b2", "#65a30d",
)  # fmt: skip
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
.dim { color: var(--dim); } .wide { overflow-x: auto; } .miss { color: #dc2626; }
svg { width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: currentColor; }
.grid { stroke: var(--line); } polyline { fill: none; stroke-width: 2; }
.legend span { margin-right: 1.2rem; white-space: nowrap; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
""" + "".join(
    f".c{n}{{fill:{c}}}.l{n}{{stroke:{c}}}circle.l{n}{{fill:{c}}}.b{n}{{background:{c}}}\n"
    for n, c in enumerate(_COLOURS)
)
# Keys of a load whose growth is drawn.
_GROWTH = ("accounts", "routes")
_MEMORY_SECONDS_MIN = 60
# Of colours.
_ORDER = ("fastilp", "nginx", "ilp-connector", "interledger-rs", "direct", "url")


def render(document: Document) -> str:
    entries = document["entries"]
    steady = [entry for entry in entries if _grows(entry, entries) is None]
    parts = [
        f"<p>{escape(headline(document))}</p>",
        _how(document),
        _findings(findings(document)),
        _section("All figures", _table(entries)),
        _section("CPU time of the connector per exchange", _cpu_bars(steady)),
        _section("Throughput", _throughput_bars(steady)),
        _section("Latency", "".join(_curves(steady))),
        _section("CPU per exchange as accounts and routes grow", _growth(entries)),
        _section("Memory over time", _memory(entries)),
        _left_out(document),
    ]
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>fastilp load test</title><style>{_STYLE}</style>"
        f"<h1>fastilp load test</h1>{''.join(parts)}</html>\n"
    )


def figures(document: Document) -> str:
    """What a README shows of it, in Markdown: comparisons, and the loads that do not grow."""
    found = findings(document)
    rows = "".join(f"| {each.what} | {each.shown} | {each.bound} |\n" for each in found)
    compared = f"| | measured | wanted |\n|---|--:|--:|\n{rows}\n" if found else ""
    entries = document["entries"]
    steady = [entry for entry in entries if _grows(entry, entries) is None]
    return f"\n{headline(document)}\n\n{compared}{markdown_table(steady)}\n"


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}" if content else ""


def _how(document: Document) -> str:
    counts = {len(entry["runs"]) for entry in document["entries"]} or {0}
    runs = max(counts)
    text = (
        f"Medians of {runs} interleaved run{'' if runs == 1 else 's'}. The connector has one core,"
        " senders and receivers have another. CPU is that of all the connector's processes and"
        " threads; an exchange is a Prepare and its answer. Latency of a closed loop is from when a"
        " Prepare was sent, of an open loop from when it was due."
    )
    cut = f'<p class="miss">{escape(INTERRUPTED)}</p>' if document.get("interrupted") else ""
    return f'{cut}<p class="dim">{escape(text)}</p>'


def _findings(found: list[Finding]) -> str:
    if not found:
        return ""
    rows = "".join(
        f'<tr><td>{escape(each.what)}</td><td class="{"" if each.holds else "miss"}">'
        f"{escape(each.shown)}</td><td>{escape(each.bound)}</td></tr>"
        for each in found
    )
    head = "<tr><th>what</th><th>measured</th><th>wanted</th></tr>"
    return _section("In comparison", f"<table>{head}{rows}</table>")


def _table(entries: list[Entry]) -> str:
    names = ("target", "exchanges/s", "CPU µs each", *LATENCIES, "memory", "tool busy", "rejects")
    head = "".join(f"<th>{escape(name)}</th>" for name in ("scenario", *names))
    rows = "".join(_table_row(entry) for entry in entries)
    return f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _table_row(entry: Entry) -> str:
    median = entry["median"]
    flow = median["flows"][0]
    cpu = median["cpu_us_per_exchange"]
    cells = [
        title_of(entry),
        entry["target"],
        f"{median['throughput']:,.0f}",
        "–" if cpu is None else f"{cpu:.2f}",
        *(latency_of(flow, name) for name in LATENCIES),
        "–" if median["rss_bytes"] is None else f"{median['rss_bytes'] / 2**20:,.0f} MiB",
        f"{median['tool_cpu_share']:.0%}",
        codes(entry["codes"]),
    ]
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _colours(entries: Iterable[Entry]) -> dict[str, int]:
    """A target has the same colour in every plot."""
    targets = sorted({entry["target"] for entry in entries}, key=_ORDER.index)
    return {target: number for number, target in enumerate(targets)}


def _name(entry: Entry) -> str:
    return f"{title_of(entry)}: {entry['target']}"


def _bars(entries: list[Entry], figure: str, shown: Format) -> str:
    """A plot for each kind of load: others' bars would leave nothing of the fastest's."""
    colours = _colours(entries)
    plots = []
    for kind in dict.fromkeys(_kind(entry) for entry in entries):
        values = [
            (_name(entry), entry["median"][figure], colours[entry["target"]])
            for entry in entries
            if _kind(entry) == kind and entry["median"][figure] is not None
        ]
        plots.append(bars(values, shown))
    return "".join(plots)


def _kind(entry: Entry) -> tuple[str, int]:
    """The transport; a payment is as many packets as it has."""
    return str(entry["load"].get("transport", "batch")), int(entry["load"].get("payment") or 0)


def _cpu_bars(entries: list[Entry]) -> str:
    return _bars(entries, "cpu_us_per_exchange", lambda value: f"{value:.2f} µs")


def _throughput_bars(entries: list[Entry]) -> str:
    # An open loop gets the throughput that it asks for, and direct has no connector.
    chosen = [e for e in entries if "rate" not in e["load"] and e["target"] != "direct"]
    return _bars(chosen, "throughput", lambda value: f"{value:,.0f} /s")


def _curves(entries: list[Entry]) -> Iterable[str]:
    """One plot for each scenario: latency over the share of exchanges that took longer."""
    across = Axis("percentile", _percentile, logarithmic=True)
    up = Axis("latency", microseconds, logarithmic=True)
    colours = _colours(entries)
    for scenario in dict.fromkeys(entry["scenario"] for entry in entries):
        chosen = [entry for entry in entries if entry["scenario"] == scenario]
        series = [
            Series(
                entry["target"] + (f", {flow['name']}" if number or _has_flood(entry) else ""),
                [(1 / (1 - share), value) for share, value in flow["curve"] if value > 0],
                colours[entry["target"]] + number * len(colours),
            )
            for entry in chosen
            for number, flow in enumerate(entry["median"]["flows"])
        ]
        yield f"<h3>{escape(chosen[0]['title'])}</h3>{lines(series, across, up)}"


def _has_flood(entry: Entry) -> bool:
    return len(entry["median"]["flows"]) > 1


def _percentile(value: float) -> str:
    return f"{100 * (1 - 1 / value):.6g} %" if value > 1 else "0 %"


def _grows(entry: Entry, entries: list[Entry]) -> str | None:
    """The key of the load in which this scenario's points differ."""
    same = [each for each in entries if each["scenario"] == entry["scenario"]]
    for key in _GROWTH:
        if len({each["load"].get(key) for each in same}) > 1:
            return key
    return None


def _growth(entries: list[Entry]) -> str:
    plots = []
    for scenario in dict.fromkeys(entry["scenario"] for entry in entries):
        chosen = [entry for entry in entries if entry["scenario"] == scenario]
        key = _grows(chosen[0], entries)
        if key is None:
            continue
        series = [
            Series(
                target,
                sorted(
                    (float(entry["load"].get(key, 2)), entry["median"]["cpu_us_per_exchange"])
                    for entry in chosen
                    if entry["target"] == target
                    and entry["median"]["cpu_us_per_exchange"] is not None
                ),
                _ORDER.index(target),
            )
            for target in sorted({entry["target"] for entry in chosen})
        ]
        across = Axis(key, lambda value: f"{value:,.0f}", logarithmic=True)
        title = chosen[0]["title"].rpartition(",")[0] or chosen[0]["title"]
        plots.append(
            f"<h3>{escape(title)}</h3>"
            + lines(series, across, Axis("CPU µs per exchange", lambda value: f"{value:g}"))
        )
    return "".join(plots)


def _memory(entries: list[Entry]) -> str:
    """Of runs that are long enough for it to mean something."""
    series = [
        Series(
            _name(entry),
            [(float(second), size / 2**20) for second, size in enumerate(entry["runs"][0]["rss"])],
            number,
        )
        for number, entry in enumerate(entries)
        if len(entry["runs"][0]["rss"]) >= _MEMORY_SECONDS_MIN and entry["target"] != "direct"
    ]
    across = Axis("seconds", lambda value: f"{value:g}")
    return lines(series, across, Axis("MiB", lambda value: f"{value:g}"))


def _left_out(document: Document) -> str:
    items = "".join(
        f"<li>{escape(each['target'])}, {escape(each['scenario'])}: {escape(each['reason'])}</li>"
        for each in document["left_out"]
    )
    return _section("Left out", f"<ul>{items}</ul>" if items else "")
