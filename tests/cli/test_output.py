"""What commands about a running node print, and how they fail."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer import Context
from typer.main import get_command

from fastilp.cli.main import application
from tests.cli.command import Done, fastilp
from tests.cli.recorder import Recorder

ACCOUNT = {
    "id": "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
    "username": "alice",
    "ilp_address": "example.node.alice",
    "asset_code": "ABC",
    "asset_scale": 9,
    "min_balance": -1000,
    "ilp_over_http_url": None,
    "ilp_over_btp_url": "btp+ws://peer.example/btp",
    "routing_relation": "Peer",
}
BALANCE = b'{"asset_code":"ABC","balance":-5e-7}'
NOT_FOUND = "https://errors.interledger.org/http-api/accounts/account-not-found"


def ask(answer: Any, *arguments: str, status: int = 200) -> Done:
    """The command, of a node that answers every call with this."""
    with Recorder(default=(status, answer)) as recorder:
        return fastilp(*arguments, "--node", recorder.url)


def test_a_list_of_payments_shows_what_is_uncertain() -> None:
    payment = {
        "id": "0193b5a0-7c1e-7000-8000-000000000001",
        "created_at": "2026-01-02T03:04:05.678Z",
        "state": "interrupted",
        "sent_amount": "1500",
        "uncertain_amount": "20",
        "source_asset_code": "ABC",
        "source_asset_scale": 2,
        "delivered_amount": "7",
        "destination_asset_code": None,
        "destination_asset_scale": None,
        "receiver": "$bob.example",
    }
    sure = {**payment, "uncertain_amount": "0"}
    done = ask([payment, sure], "payments", "list", "alice", "--table")
    uncertain, certain = done.stdout.splitlines()[1:]
    assert " 15.00 + up to 0.20 ABC " in uncertain and " 15.00 ABC " in certain


def test_a_pipe_gets_the_body_as_it_came() -> None:
    for more in ((), ("--json",)):
        assert ask(BALANCE, "accounts", "balance", "alice", *more).stdout == f"{BALANCE.decode()}\n"


def test_quiet_prints_nothing() -> None:
    assert ask(BALANCE, "accounts", "balance", "alice", "-q").stdout == ""
    assert ask(BALANCE, "--quiet", "accounts", "balance", "alice").stdout == ""


def test_tables() -> None:
    shown = ask(BALANCE, "accounts", "balance", "alice", "--table").stdout
    # The very digits, not a float's.
    assert shown.split() == ["asset_code", "ABC", "balance", "-5e-7"]
    shown = ask([ACCOUNT], "accounts", "list", "--table").stdout
    assert shown.splitlines()[1].split() == [
        "alice", "ABC/9", "Peer", "example.node.alice", "-1000", "btp+ws://peer.example/btp",
    ]  # fmt: skip
    shown = ask(ACCOUNT, "accounts", "info", "alice", "--table").stdout
    assert "ilp_over_http_url" not in shown and "asset_scale" in shown
    shown = ask({"XYZ": 2.01, "ABC": "1.0"}, "rates", "list", "--table").stdout
    assert [line.split() for line in shown.splitlines()] == [
        ["asset", "value"], ["ABC", "1.0"], ["XYZ", "2.01"],
    ]  # fmt: skip
    assert '""' in ask({"": "bob"}, "routes", "list", "--table").stdout
    assert "no accounts yet" in ask([], "accounts", "list", "--table").stdout
    assert "no prefix yet" in ask({}, "routes", "list", "--table").stdout


def test_tables_do_not_let_a_node_write_to_the_terminal() -> None:
    shown = ask({"a\x1b[2J": "b\n"}, "routes", "list", "--table").stdout
    assert "\x1b" not in shown and "a\\x1b[2J" in shown and shown.count("\n") == 2


def on_a_terminal(*arguments: str) -> tuple[str, str]:
    """What the command wrote to its terminal, and to standard error."""
    leader, follower = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "fastilp", *arguments],
        stdin=subprocess.DEVNULL, stdout=follower, stderr=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    os.close(follower)
    shown = os.read(leader, 10_000).decode()
    os.close(leader)
    assert done.returncode == 0, done.stderr
    return shown, done.stderr.decode()


def test_a_terminal_gets_a_table() -> None:
    with Recorder({"/accounts": (200, [ACCOUNT])}) as recorder:
        shown, _ = on_a_terminal("--node", recorder.url, "accounts", "list")
    assert shown.split()[:3] == ["account", "asset", "relation"]


def test_status_without_a_token_says_on_a_terminal_how_to_see_more() -> None:
    ready = b'{"status":"Ready"}'
    with Recorder(default=(200, ready)) as recorder:
        shown, said = on_a_terminal("status", "--node", recorder.url)
        assert shown.encode().strip() == ready
        assert "--auth" in said and "--config" in said and said.count("\n") == 1
    assert ask(ready, "status").stderr == ""


def problem(status: int, detail: str, **more: Any) -> dict[str, Any]:
    return {"type": "about:blank", "title": "T", "status": status, "detail": detail, **more}


FAULTS: list[tuple[tuple[str, ...], int, Any, list[str]]] = [
    (("accounts", "list"), 401, problem(401, "no"), ["401", "no;", "give --auth"]),
    (("accounts", "list", "--auth", "x"), 401, b"", ["401", "neither the node's"]),
    (
        ("accounts", "info", "bob"), 404, problem(404, "`bob` was not found", type=NOT_FOUND),
        ["`bob` was not found", "`fastilp accounts list`"],
    ),
    (("drain",), 404, problem(404, "nothing at /drain"), ["does not offer that"]),
    (("pay", "a1", "--amount", "1", "--to", "$x"), 405, b"", ["405", "does not offer that"]),
    (
        ("accounts", "create", "bob", "--asset-code", "A", "--asset-scale", "1"), 409,
        problem(409, "account `bob` already exists"), ["already exists", "`update`"],
    ),
    (("settlements", "show", "x"), 404, problem(404, "no x"), ["`fastilp settlements list`"]),
    (("rates", "list"), 500, b"<b>oops</b>\n\x1b[2J", ["<b>oops</b>", "log says more"]),
    (("rates", "list"), 503, b"", ["does not commit", "fastilp health"]),
    (("rates", "list"), 302, b"", ["302"]),
    (
        ("rates", "set-all", "--pair", "ABC", "x"), 400,
        {"title": "JSON Data Error", "invalid-params": [{"name": "ABC", "type": "missing"}]},
        ["JSON Data Error, ABC missing"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "status", "body", "expected"), FAULTS)
def test_refusals_say_what_to_do(
    arguments: tuple[str, ...], status: int, body: Any, expected: list[str]
) -> None:
    done = ask(body, *arguments, status=status)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1 and "\x1b" not in done.stderr
    for text in expected:
        assert text in done.stderr


def test_what_a_crash_left_uncertain_is_said() -> None:
    """A payment that is complete, with less than was ordered."""
    receipt = {"sent_amount": 60, "delivered_amount": 60}
    payment = {
        "username": "bob", "id": "1", "state": "completed", "source_asset_code": "ABC",
        "source_asset_scale": 2, "source_amount": 100, "delivery_amount": None,
        "sent_amount": 60, "uncertain_amount": 40, "receipt": receipt,
    }  # fmt: skip
    done = ask(payment, "payments", "resume", "bob", "1", status=202)
    assert (done.status, json.loads(done.stdout)) == (0, receipt)
    assert done.stderr.startswith("fastilp: up to 0.40 ABC of it were in flight")
    assert ask(payment, "payments", "resume", "bob", "1", "-q", status=202).stderr == ""


def test_no_node() -> None:
    done = fastilp("accounts", "list", "--node", "http://127.0.0.1:1")
    assert "no node answers at http://127.0.0.1:1" in done.stderr and "--node" in done.stderr
    for url in ("ftp://x", "http://", "http://x:99999", "http://a b"):
        assert "--url must be" in fastilp("rates", "list", "--node", url).stderr
    done = fastilp("accounts", "list", "--node", "http://127.0.0.1:1", "--auth", "a\nb")
    assert done.status == 1 and "cannot be sent" in done.stderr


def test_an_answer_that_is_no_json() -> None:
    done = ask(b"hello", "rates", "list", "--table")
    assert done.status == 1 and "no JSON" in done.stderr
    # A pipe gets it all the same: ilp-cli does not look into it either.
    assert ask(b"hello", "rates", "list").stdout == "hello\n"


def test_health() -> None:
    ready = {"live": True, "ready": True, "reasons": []}
    assert ask(ready, "health").status == 0
    assert ask(ready, "health", "--quiet").stdout == ""
    done = ask({**ready, "ready": False, "reasons": ["the disk is slow"]}, "health", status=503)
    assert (done.status, done.stdout) == (1, "") and "the disk is slow" in done.stderr
    assert "not the health" in ask([], "health").stderr
    assert "404" in ask(b"", "health", status=404).stderr


def test_a_pair_has_two_halves() -> None:
    done = fastilp("rates", "set-all", "--node", "http://x:1", "--pair", "ABC")
    assert done.status == 1 and "two values" in done.stderr


def test_config_says_where_the_node_is(tmp_path: Path) -> None:
    with Recorder({"/accounts": (200, [])}) as recorder:
        address = recorder.url.removeprefix("http://")
        path = tmp_path / "node.toml"
        path.write_text(f'[node]\nadmin_auth_token = "s3"\n[listen]\nhttp = "{address}"\n')
        # Variables are of some other node.
        variables = {"ILP_CLI_NODE_URL": "http://127.0.0.1:1", "ILP_CLI_API_AUTH": "other"}
        done = fastilp("accounts", "list", "-c", str(path), environment=variables)
        assert (done.status, json.loads(done.stdout)) == (0, [])
        fastilp("accounts", "list", "-c", str(path), "--auth", "s4")
    tokens = [call.headers["authorization"] for call in recorder.calls]
    assert tokens == ["Bearer s3", "Bearer s4"]


def test_cli_16_incomplete_commands_print_the_help() -> None:
    for words in ((), ("accounts",), ("payments",), ("rates",), ("testnet",)):
        done = fastilp(*words)
        assert "Usage: fastilp" in done.stdout + done.stderr
        assert "Commands" in done.stdout + done.stderr


def commands(words: tuple[str, ...], command: Any) -> list[tuple[str, ...]]:
    """All commands below this one, groups of them included."""
    found = [words] if words else []
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        _, each, _ = command.resolve_command(Context(command), [name])
        found += commands((*words, name), each)
    return found


COMMANDS = commands((), get_command(application()))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_help_has_an_example(words: tuple[str, ...]) -> None:
    shown = fastilp(*words, "--help").stdout
    assert "Example" in shown and f"fastilp {' '.join(words)}" in shown


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("fastilp ac", "accounts"),
        ("fastilp accounts cr", "create"),
        ("fastilp rates se", "set-all"),
    ],
)
def test_shell_completion(typed: str, expected: str) -> None:
    words = typed.split()
    variables = {
        "_FASTILP_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": typed,
    }
    assert fastilp(environment=variables).stdout.split() == [expected]


def test_shell_completion_is_for_the_shell_that_asks() -> None:
    # The second command keeps bash from making way for the first.
    script = f"{sys.executable} -m fastilp --show-completion; exit $?"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert "COMPREPLY" in done.stdout and "fastilp" in done.stdout


def a_route(prefix: str, *hops: str) -> dict[str, Any]:
    candidates = [{"next_hop": hop, "source": "announced", "usable": True} for hop in hops]
    return {"prefix": prefix, "next_hop": hops[0], "why": "so", "candidates": candidates}


def test_a_table_of_routes_is_in_order() -> None:
    routes = [a_route("test.z", "kid"), a_route("", "up"), a_route("test.a", "kid", "bob")]
    shown = ask({"routes": routes}, "routes", "table", "--table").stdout
    assert [line.split()[0] for line in shown.splitlines()[1:]] == ['""', "test.a", "bob", "test.z"]


def test_a_lookup_names_others_only() -> None:
    found = {"address": "test.a.x", **a_route("test.a", "kid", "kid", "bob", "kid")}
    shown = ask(found, "routes", "lookup", "test.a.x", "--table").stdout
    assert shown.splitlines()[2] == "if its link is down: bob"
    found = {"address": "test.a.x", **a_route("test.a", "kid", "kid")}
    assert "if its link" not in ask(found, "routes", "lookup", "test.a.x", "--table").stdout
