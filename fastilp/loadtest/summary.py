"""Results of many runs as one document: medians, the machine, the date, the commit.

Imports nothing of ours but the version. The document is what `--json` writes, and what tables and
reports are made from.
"""

import datetime
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastilp.types import VERSION

FORMAT = 1
Document = dict[str, Any]
Entry = dict[str, Any]

_MEDIANS = (
    "throughput", "cpu_us_per_exchange", "cpu_share", "tool_cpu_share",
    # Of loads of payments.
    "packets_per_second", "payer_cpu_us_per_packet", "receiver_cpu_us_per_packet",
)  # fmt: skip
LATENCIES = ("p50", "p90", "p99", "p99.9", "max")


def document(
    entries: list[Entry], left_out: list[dict[str, str]], *, interrupted: bool = False
) -> Document:
    return {
        "format": FORMAT,
        "fastilp": VERSION,
        "date": datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat(),
        "commit": commit(),
        "machine": machine(),
        "entries": entries,
        "left_out": left_out,
        "interrupted": interrupted,
    }


def entry(scenario: str, title: str, target: str, runs: Sequence[dict[str, Any]]) -> Entry:
    """All runs of one load on one target, and their medians."""
    first = runs[0]
    flows = [
        {
            "name": flow["name"],
            "latency_us": {
                name: statistics.median(run["flows"][index]["latency_us"][name] for run in runs)
                for name in LATENCIES
            },
            "throughput": statistics.median(run["flow_throughput"][index] for run in runs),
            "curve": _median_curve([run["flows"][index]["curve"] for run in runs]),
        }
        for index, flow in enumerate(first["flows"])
    ]
    median = {name: _median([run.get(name) for run in runs]) for name in _MEDIANS}
    return {
        "scenario": scenario,
        "title": title,
        "target": target,
        "version": first.get("version", ""),
        "load": first["load"],
        "runs": list(runs),
        "median": {**median, "flows": flows, "rss_bytes": _median(_last_rss(runs))},
        "codes": _sum_codes(runs),
        "interrupted": any(run["interrupted"] for run in runs),
    }


def commit() -> str:
    """Of the checkout that this package lies in, with + if it was changed; empty outside of one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return ""
    try:
        found = _git(folder, "rev-parse", "--short=10", "HEAD")
        return found + ("+" if _git(folder, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def machine() -> dict[str, Any]:
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "system": _system(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def save(found: Document, path: Path) -> None:
    path.write_text(json.dumps(found, indent=1) + "\n")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _median_curve(curves: list[list[list[float]]]) -> list[list[float]]:
    """Curves have their shares in common."""
    return [
        [points[0][0], statistics.median(point[1] for point in points)]
        for points in zip(*curves, strict=True)
    ]


def _last_rss(runs: Sequence[dict[str, Any]]) -> list[float | None]:
    return [run["rss"][-1] if run["rss"] and run["rss"][-1] else None for run in runs]


def _sum_codes(runs: Sequence[dict[str, Any]]) -> dict[str, int]:
    codes: dict[str, int] = {}
    for run in runs:
        for code, count in run["codes"].items():
            codes[code] = codes.get(code, 0) + count
    return codes
