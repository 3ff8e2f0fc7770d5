"""`fastilp loadtest` as a command: what it prints, writes and refuses."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastilp.loadtest.cpu import tree
from fastilp.loadtest.task import Load
from tests.node_process import NodeProcess

SHORT = ("--duration", "0.5", "--warm-up", "0.1")


def ran(*arguments: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", "fastilp", "loadtest", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done


def fastilp(*arguments: str, status: int = 0) -> str:
    """What it printed; on standard error if it fails."""
    done = ran(*arguments, status=status)
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
    done = ran("bench", str(tmp_path), "--runs", "2", *SHORT, "--readme", str(readme))
    printed = done.stdout
    assert re.findall(r"^\d\d:\d\d:\d\d (.*)$", done.stderr, re.MULTILINE) == [
        "Batch on direct (1 of 2)", "Batch on direct (2 of 2)",
    ]  # fmt: skip
    assert "left out: nginx, batch-8: nginx does not speak batch" in printed
    assert "| Batch | direct |" in readme.read_text()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("run", "--target", "x"), "'x' is no target; there are: fastilp"),
        (
            ("run", "--window", "5", "--rate", "5"),
            "fastilp: give --window (closed loop) or --rate (open loop), not both",
        ),
        (
            ("run", "--transport", "tcp"),
            "--transport must be one of batch, btp, http, embedded, not 'tcp'",
        ),
        (("run", "--window", "0"), "--window must be at least 1, not 0"),
        (("run", "--window", "100000"), "--window must be at most 65,536, not 100,000"),
        (("run", "--rate", "0"), "--rate must be more than 0, not 0"),
        (("run", "--accounts", "1", "--depth", "0"), "1, not 0; --accounts must be at least 2"),
        (("run", "--payload", "7"), "--payload must be 0, or at least 8 bytes"),
        (("run", "--reject", "1.5"), "--reject must be at most 1, not 1.5"),
        (("run", "--fx", "0"), "--fx must be a decimal number above 0, such as 1.25"),
        (("run", "--durability", "no"), "--durability must be one of commit, process, not 'no'"),
        (("run", "--transport", "embedded", "--reject", "1"), "goes without --rate, --reject"),
        (("run", "--transport", "embedded", "--fx", "2"), "goes without --rate, --reject, --fx"),
        (("run", "--transport", "btp", "--depth", "2"), "--depth are for --transport http"),
        (
            ("run", "--target", "direct", "--fx", "2"),
            "direct is measured without routes and rates of exchange",
        ),
        (("run", "--url", "ftp://a", "--destination", "g.a"), "'ftp' is no scheme"),
        (("run", "--url", "http://a"), "--url needs --destination"),
        (("run", "--url", "http://a", "--target", "nginx"), "--target does not go with --url"),
        (
            ("run", "--url", "http://a", "--destination", "g.a", "--transport", "btp"),
            "--transport btp does not go with --url, which is http",
        ),
        (
            ("run", "--url", "http://a", "--destination", "g.a", "--token", "a\nb"),
            "the token must be printable ASCII",
        ),
        (
            ("compare", "--targets", "ilp-connector,bogus"),
            "--targets: 'bogus' is no target; there are: fastilp, ilp-connector",
        ),
        (("compare", "--targets", ","), "--targets: nothing is no target; there are: fastilp"),
        (
            ("bench", "bench/scenarios", "--targets", "a,b"),
            "--targets: 'a', 'b' are no targets; there are: fastilp",
        ),
        (("run", "--amount", "0"), "--amount must be at least 1, not 0"),
        (("run", "--token", "x"), "--token means nothing without --url"),
        (("run", "--listen", "7", "--pid", "1"), "--listen, --pid mean nothing without --url"),
        (
            ("run", "--url", "http://a", "--receiver-token", "x"),
            "--receiver-token means nothing without --receiver-url",
        ),
        (("run", "--json", "/nope/x"), "--json /nope/x cannot be written: there is no folder"),
        (("compare", "--html", "/"), "--html / cannot be written: it is a folder"),
        (("bench", "x", "--readme", "/dev/null"), "--readme /dev/null: there is no <!-- figures"),
        (("run", "--target", "nginx", "--transport", "btp"), "nginx does not speak btp"),
        (("report", "/nowhere", "--html", "/tmp/x"), "no results of loadtest"),
    ],
)
def test_what_it_refuses(arguments: tuple[str, ...], complaint: str) -> None:
    assert complaint in fastilp(*arguments, status=1)


@pytest.mark.parametrize(
    ("scenario", "complaint"),
    [
        ({"load": {"speed": 9}}, "speed is nothing that can be chosen; there are: transport"),
        ({"load": {}, "speed": 9}, "speed is nothing that can be chosen; there are: title, load"),
        (
            {"load": {"flood": {"speed": 9}}},
            "flood.speed is nothing that can be chosen; there are: links, window",
        ),
    ],
)
def test_a_key_that_nobody_knows(tmp_path: Path, scenario: object, complaint: str) -> None:
    file = tmp_path / "one.json"
    file.write_text(json.dumps({"title": "one", **scenario}))  # type: ignore[dict-item]
    assert complaint in fastilp("bench", str(file), status=1)


def test_the_document_names_the_keys_and_flags_that_there_are() -> None:
    document = Path(__file__).parents[2] / "docs" / "load-testing.md"
    said = document.read_text().partition("`load` has the flags of `run` as keys: ")[2]
    flags, _, more = said.partition("It has more that are no flags:")
    keys = set(re.findall(r"`([a-z_]+)`", flags))
    helped = fastilp("run", "--help")
    names = {"rate_of_exchange": "--fx", "reject_share": "--reject"}
    assert all(f" {names.get(key) or '--' + key.replace('_', '-')} " in helped for key in keys)
    more = more.partition("presses on")[0]
    others = {"answer_payload", "expires_in_ms", "batch", "stall_ms", "stall_period_ms", "flood"}
    assert keys | others == set(Load.model_fields)
    assert all(f"`{key}`" in more for key in others)


@pytest.mark.parametrize("name", ["run", "compare", "bench", "report"])
def test_help_has_an_example(name: str) -> None:
    shown = " ".join(fastilp(name, "--help").split())
    assert f"fastilp loadtest {name} " in shown


def test_figures_of_rejects_alone_are_a_failure(tmp_path: Path) -> None:
    loopback = '[[accounts]]\nusername = "loop"\nasset_code = "AAA"\nendpoint = "loopback"\n'
    accounts = (
        loopback + 'asset_scale = 9\n[[accounts]]\nusername = "alice"\nasset_code = "AAA"\n'
        'asset_scale = 9\nilp_over_http_incoming_token = "alice-token"\n'
    )
    with NodeProcess(tmp_path / "node", accounts) as node:
        there = ("run", "--url", f"http://{node.http}/accounts/alice/ilp", "--window", "4", *SHORT)
        sender = (*there, "--token", "alice-token")
        out = tmp_path / "out.json"
        said = fastilp(*sender, "--destination", "test.nobody", "--json", str(out), status=1)
        assert "nothing was fulfilled: http, 4 in flight on url: answers were" in said
        assert "F02 Unreachable (--destination leads nowhere)" in said
        assert json.loads(out.read_text())["entries"][0]["codes"].keys() == {"F02"}
        wrong = (*there, "--token", "wrong", "--destination", "example.node.loop")
        assert "401 (the connector does not take --token)" in fastilp(*wrong, status=1)
        demanded = (*sender, "--destination", "example.node.loop.reject.T04")
        assert "T04 Insufficient Liquidity" in fastilp(*demanded, status=1)
        assert "T04:" in fastilp(*demanded, "--reject", "1")
        # A loopback account finds the preimage in the data, where there is room for it.
        fulfilled = (*sender, "--destination", "example.node.loop")
        assert ":" not in fastilp(*fulfilled).splitlines()[1]
        said = fastilp(*fulfilled, "--payload", "8", status=1)
        assert "F05 Wrong Condition (the receiver does not know the preimage" in said


@pytest.mark.parametrize("transport", ["btp", "embedded"])
def test_ctrl_c_ends_a_run_with_what_there_is(tmp_path: Path, transport: str) -> None:
    target = "fastilp" if transport == "embedded" else "direct"
    command = ["run", "--target", target, "--transport", transport, "--duration", "200"]
    out, html = tmp_path / "out.json", tmp_path / "report.html"
    process = subprocess.Popen(
        [sys.executable, "-m", "fastilp", "loadtest", *command, "--warm-up", "0.1", "--runs", "3",
         "--json", str(out), "--html", str(html)],
        stdout=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts,
    )  # fmt: skip
    # Ctrl-C before the sockets are open would end it at once, and rightly so.
    wait_for_worker(process.pid)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=90)
    assert process.returncode == 0
    assert f"{transport}, 1,024 in flight (interrupted)" in printed and "Interrupted: " in printed
    found = json.loads(out.read_text())
    assert found["interrupted"] is found["entries"][0]["interrupted"] is True
    assert len(found["entries"][0]["runs"]) == 1
    assert "1,024 in flight (interrupted)" in html.read_text()
    assert "Interrupted: " in html.read_text()


def _heed_interrupts() -> None:
    # A shell that runs the tests in the background has switched them off.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for_worker(pid: int) -> None:
    """Until a process that sends and receives has had more of a processor than its start takes."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for child in tree([pid]) - {pid}:
            with contextlib.suppress(OSError):
                times = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                if int(times[11]) + int(times[12]) > 4 * os.sysconf("SC_CLK_TCK"):
                    return
        time.sleep(0.05)
    raise AssertionError("no worker was started")
