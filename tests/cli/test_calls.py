"""Our commands send what ilp-cli sends."""

import json

import pytest

from fastilp.cli.account_fields import FIELDS, REQUIRED, SETTINGS
from fastilp.types import AccountDetails
from tests.cli.command import fastilp
from tests.cli.ilp_cli import CALLS, PAYMENT, Call
from tests.cli.recorder import Recorder

ACCOUNT_THERE = {
    "http_endpoint": "https://far.example/ilp",
    "passkey": "b0i3q9tbvfgek",
    "btp_endpoint": "btp+wss://far.example/ilp/btp",
    "asset_scale": 9,
    "node": "far.example",
    "asset_code": "XRP",
    "username": "user_g31tuju4",
    "payment_pointer": "$far.example/accounts/user_g31tuju4/spsp",
}


def flags_of(call: Call, url: str) -> tuple[str, ...]:
    return ("--node", url) if call.token is None else ("--node", url, "--auth", call.token)


@pytest.mark.parametrize("call", [*CALLS, PAYMENT], ids=lambda call: call.row)
@pytest.mark.parametrize("before", [True, False], ids=["flags-before", "flags-behind"])
def test_sends(call: Call, before: bool) -> None:
    with Recorder() as recorder:
        node = flags_of(call, recorder.url)
        words = (*node, *call.arguments) if before else (*call.arguments, *node)
        if call.row == "CLI-13":
            # With a token it shows more; ilp-cli has no token there, whatever the variables say.
            done = fastilp(*words, environment={"ILP_CLI_API_AUTH": "admin"})
        else:
            done = fastilp(*words)
    assert (done.status, done.stderr) == (0, "")
    [sent] = recorder.calls
    assert (sent.method, sent.target) == (call.method, call.target)
    wanted = f"Bearer {call.token}" if call.token is not None else None
    # What needs no token may get none; ilp-cli knows no flag for it there.
    assert sent.headers.get("authorization") == wanted
    if call.fields is not None:
        assert sent.headers["content-type"] == "application/json"
        assert json.loads(sent.body) == call.fields
    else:
        assert "content-type" not in sent.headers
        assert sent.body == call.body()
    if call.body():
        assert sent.headers["content-length"] == str(len(sent.body))


def test_variables_stand_in_for_flags() -> None:
    with Recorder() as recorder:
        variables = {"ILP_CLI_NODE_URL": recorder.url, "ILP_CLI_API_AUTH": "secret"}
        assert fastilp("accounts", "list", environment=variables).status == 0
        variables["ILP_CLI_NODE_URL"] = "http://127.0.0.1:1"
        node = ("--node", recorder.url)
        assert fastilp(*node, "accounts", "list", environment=variables).status == 0
        assert fastilp("accounts", "list", *node, environment=variables).status == 0
        assert fastilp("rates", "list", environment=variables).status == 1
    assert [call.headers["authorization"] for call in recorder.calls] == ["Bearer secret"] * 3


def test_names_are_one_segment_of_the_path() -> None:
    with Recorder() as recorder:
        for name in ("a/b", "ä b", "..?x#y"):
            fastilp("accounts", "info", name, "--node", f"{recorder.url}/proxy/", "--auth", "x")
    assert [call.target for call in recorder.calls] == [
        "/proxy/accounts/a%2Fb",
        "/proxy/accounts/%C3%A4%20b",
        "/proxy/accounts/..%3Fx%23y",
    ]


def test_every_field_of_an_account_has_a_flag() -> None:
    details = {*AccountDetails.__dataclass_fields__} - {"username"}
    assert details <= {*FIELDS}
    assert {*REQUIRED} | {*SETTINGS} <= {*FIELDS}


def test_required_fields() -> None:
    done = fastilp("accounts", "create", "alice", "--asset-code", "ABC", "--node", "http://x:1")
    assert done.status == 2 and "--asset-scale" in done.stderr


def test_pages_and_filters() -> None:
    with Recorder() as recorder:
        words = ("accounts", "list", "--node", recorder.url, "--limit", "5", "--after", "b&c")
        fastilp(*words, "--routing-relation", "Child", "--username-prefix", "x")
    assert recorder.calls[0].target == (
        "/accounts?limit=5&after=b%26c&routing_relation=Child&username_prefix=x"
    )


def test_lists_of_ours() -> None:
    with Recorder() as recorder:
        words = ("accounts", "create", "al", "--asset-code", "A", "--asset-scale", "1")
        more = ("--allowed-destinations", "g.a,g.b", "--circuit-breaker", "true")
        assert fastilp(*words, *more, "--node", recorder.url).status == 0
    body = json.loads(recorder.calls[0].body)
    assert body["allowed_destinations"] == ["g.a", "g.b"] and body["circuit_breaker"] == "true"


def test_cli_15_testnet_setup() -> None:
    """With a provider of ours: the one that ilp-cli asks is gone."""
    answers = {"/api/accounts/xrp": (200, ACCOUNT_THERE)}
    with Recorder(answers) as provider, Recorder() as node:
        words = ("testnet", "setup", "XRP", "--provider", f"{provider.url}/api/accounts")
        at_node = ("--node", node.url, "--auth", "admin")
        assert fastilp(*words, *at_node).status == 0
        shown = fastilp(*words, *at_node, "--return-testnet-credential")
    assert shown.stdout == "user_g31tuju4:b0i3q9tbvfgek\n"
    assert "authorization" not in provider.calls[0].headers
    first, second = node.calls
    assert first == second and (first.method, first.target) == ("POST", "/accounts/")
    assert json.loads(first.body) == {
        "ilp_over_http_url": "https://far.example/ilp",
        "ilp_over_http_outgoing_token": "user_g31tuju4:b0i3q9tbvfgek",
        "ilp_over_btp_url": "btp+wss://far.example/ilp/btp",
        "ilp_over_btp_outgoing_token": "user_g31tuju4:b0i3q9tbvfgek",
        "asset_scale": "9",
        "asset_code": "XRP",
        "username": "xpring_xrp",
        "routing_relation": "Parent",
        "settle_threshold": "1000",
        "settle_to": "0",
    }


def test_testnet_provider_that_answers_something_else() -> None:
    with Recorder() as provider:
        words = ("testnet", "setup", "eth", "--provider", provider.url, "--auth", "admin")
        done = fastilp(*words, "--node", "http://127.0.0.1:1")
    assert done.status == 1 and "has no username, passkey" in done.stderr
