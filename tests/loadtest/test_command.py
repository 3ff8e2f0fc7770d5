"""`fastilp loadtest` as a command: what it prints, writes and refuses."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastilp.loadtest.cpu import tree

SHORT = ("--duration", "0.5", "--warm-up", "0.1")


def fastilp(*arguments: str, status: int = 0) -> str:
    """What it printed; on standard error if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "fastilp", "loadtest", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr if status else done.stdout


def test_a_run_prints_a_table_and_writes_json_and_html(tmp_path: Path) -> None:
    json_file, html = tmp_path / "out.json", tmp_path / "report.html"
    printed = fastilp(
        "run", "--target", "direct", "--transport", "btp", "--window", "16", *SHORT,
        "--json", str(json_file), "--html", str(html),
    )  # fmt: skip
    assert "btp, 16 in flight" in printed and "direct" in printed
    [entry] = json.loads(json_file.read_text())["entries"]
    assert entry["load"] == {"transport": "btp", "window": 16}
    assert entry["runs"][0]["totals"][0]["fulfilled"] > 0
    assert html.read_text().startswith("<!doctype html>")
    again = tmp_path / "again.html"
    fastilp("report", str(json_file), "--html", str(again))
    assert again.read_text() == html.read_text()


def test_bench_runs_scenarios_and_writes_the_readme(tmp_path: Path) -> None:
    scenario = {
        "title": "Batch",
        "load": {"transport": "batch", "window": 8},
        "targets": ["direct", "nginx"],
    }
    (tmp_path / "batch-8.json").write_text(json.dumps(scenario))
    readme = tmp_path / "README.md"
    readme.write_text(
        "# a\n<!-- figures: written by `make bench` -->\n<!-- end of figures -->\nz\n"
    )
    printed = fastilp("bench", str(tmp_path), "--runs", "2", *SHORT, "--readme", str(readme))
    assert "left out: nginx, batch-8: nginx does not speak batch" in printed
    assert "| Batch | direct |" in readme.read_text()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("run", "--target", "x"), "'x' is no target; there are: fastilp"),
        (("run", "--window", "5", "--rate", "5"), "a window (closed loop) or a rate (open loop)"),
        (("run", "--transport", "tcp"), "transport: Input should be 'batch', 'btp', 'http' or"),
        (("run", "--url", "ftp://a", "--destination", "g.a"), "'ftp' is no scheme"),
        (("run", "--url", "http://a"), "--url needs --destination"),
        (("run", "--target", "nginx", "--transport", "btp"), "nginx does not speak btp"),
        (("report", "/nowhere", "--html", "/tmp/x"), "no results of loadtest"),
    ],
)
def test_what_it_refuses(arguments: tuple[str, ...], complaint: str) -> None:
    assert complaint in fastilp(*arguments, status=1)


@pytest.mark.parametrize("name", ["run", "compare", "bench", "report"])
def test_help_has_an_example(name: str) -> None:
    shown = " ".join(fastilp(name, "--help").split())
    assert f"fastilp loadtest {name} " in shown


def test_ctrl_c_ends_a_run_with_what_there_is() -> None:
    command = ["run", "--target", "direct", "--transport", "btp", "--duration", "200"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fastilp", "loadtest", *command, "--warm-up", "0.1"],
        stdout=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts,
    )  # fmt: skip
    # Ctrl-C before the sockets are open would end it at once, and rightly so.
    wait_for_worker(process.pid)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "btp, 1,024 in flight" in printed


def _heed_interrupts() -> None:
    # A shell that runs the tests in the background has switched them off.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for_worker(pid: int) -> None:
    """Until the process that sends and receives has begun: it has an epoll."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for child in tree([pid]) - {pid}:
            with contextlib.suppress(OSError):
                links = [os.readlink(link) for link in Path(f"/proc/{child}/fd").iterdir()]
                if any("eventpoll" in link for link in links):
                    time.sleep(0.5)
                    return
        time.sleep(0.05)
    raise AssertionError("no worker was started")
