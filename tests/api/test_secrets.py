"""`SECRET` stands for tokens that are not shown, and is never one; what nobody named stays."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.client import Answer, Api
from tests.node_process import NodeProcess

BASE = {"asset_code": "ABC", "asset_scale": 9}
TOKENS = [
    f"ilp_over_{transport}_{way}_token"
    for transport in ("http", "btp", "batch")
    for way in ("incoming", "outgoing")
]


def refusal(answer: Answer) -> tuple[str, list[str]]:
    assert answer.status == 400, answer
    problem = answer.problem()
    return problem["detail"], [each["name"] for each in problem["invalid-params"]]


def shown(api: Api, username: str) -> dict[str, Any]:
    found = api.get(f"/accounts/{username}").json()
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("token", TOKENS)
def test_a_new_account_cannot_have_it(api: Api, token: str) -> None:
    answer = api.call("POST", "/accounts", {"username": "newcomer", **BASE, token: "SECRET"})
    detail, names = refusal(answer)
    assert names == [token] and "give the token itself, or leave it out" in detail
    assert api.get("/accounts/newcomer").status == 404


def test_what_is_shown_can_be_sent_back(api: Api) -> None:
    """The tokens stay what they are, and nobody comes in as SECRET."""
    tokens = {token: f"{token}-1" for token in TOKENS}
    api.create("copied", **tokens)
    copy = shown(api, "copied")
    answer = api.call("PUT", "/accounts/copied", {**copy, "min_balance": -5})
    assert (answer.status, answer.json()) == (200, {**copy, "min_balance": -5})
    for method, path in (("PATCH", "/accounts/copied"), ("PUT", "/accounts/copied/settings")):
        assert api.call(method, path, dict.fromkeys(TOKENS, "SECRET")).json() == answer.json()
    token = tokens["ilp_over_http_incoming_token"]
    assert api.get("/accounts/copied", token="SECRET").status == 401
    assert api.get("/accounts/copied", token=token).status == 200
    # Without a word about it, PUT unsets it.
    assert api.call("PUT", "/accounts/copied", {"username": "copied", **BASE}).status == 200
    assert api.get("/accounts/copied", token=token).status == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/accounts/bare"), ("PATCH", "/accounts/bare"), ("PUT", "/accounts/bare/settings")],
)
def test_there_may_be_nothing_to_keep(api: Api, method: str, path: str) -> None:
    if api.get("/accounts/bare").status == 404:
        api.create("bare", ilp_over_http_incoming_token="bare-token", min_balance=-1)
    before = shown(api, "bare")
    body = before if path.endswith("bare") else dict.fromkeys(TOKENS, "SECRET")
    detail, names = refusal(api.call(method, path, body))
    # All of them at once.
    assert sorted(names) == sorted({*TOKENS} - {"ilp_over_http_incoming_token"})
    assert "there is none: leave it out" in detail
    assert shown(api, "bare") == before
    assert api.get("/accounts/bare", token="SECRET").status == 401
    assert api.get("/accounts/bare", token="bare-token").status == 200
    # Nobody is created by it either.
    assert api.call("PUT", "/accounts/nobody", {**before, "username": "nobody"}).status == 404


def test_tokens_that_stay_outlive_the_node(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "node", "") as node:
        api = Api(node)
        api.create("kept", ilp_over_http_incoming_token="in-1", ilp_over_http_outgoing_token="out")
        assert api.call("PATCH", "/accounts/kept", {"max_balance": 7}).status == 200
        api.close()
        node.kill()
        node.start()
        api = Api(node)
        assert api.get("/accounts/kept", token="in-1").json()["max_balance"] == 7
        # There is something to keep.
        body = {"ilp_over_http_outgoing_token": "SECRET"}
        assert api.call("PATCH", "/accounts/kept", body).status == 200
        api.close()


@pytest.mark.parametrize(
    "lines",
    [
        "[node]\nadmin_auth_token = 'SECRET'",
        "[alerts]\nurl = 'http://127.0.0.1:1/'\ntoken = 'SECRET'",
        "[[accounts]]\nusername = 'al'\nasset_code = 'ABC'\nasset_scale = 9\n"
        "ilp_over_btp_outgoing_token = 'SECRET'",
    ],
    ids=["admin", "webhook", "account"],
)
def test_the_settings_cannot_have_it(tmp_path: Path, lines: str) -> None:
    config = tmp_path / "node.toml"
    config.write_text(f"{lines}\n")
    command = [sys.executable, "-m", "fastilp", "run", "--check", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "token]" in done.stderr and "give the token itself, or leave it out" in done.stderr


# --- One field at a time --------------------------------------------------------------------------


def test_only_what_is_named_changes(api: Api) -> None:
    fields = {
        "min_balance": -100, "max_balance": 100, "spread": "0.1", "round_trip_time": 7,
        "allowed_destinations": ["g.a"], "routing_relation": "Child",
        "ilp_over_http_incoming_token": "patch-token",
    }  # fmt: skip
    before = api.create("patch", **fields)
    answer = api.call("PATCH", "/accounts/patch", {"min_balance": "-2000"})
    assert (answer.status, answer.json()) == (200, {**before, "min_balance": -2000})
    assert shown(api, "patch") == answer.json()
    # The holder's token is there still, and does not open this call.
    denied = api.call("PATCH", "/accounts/patch", {"min_balance": 0}, token="patch-token")
    assert denied.status == 401
    # Null is the default, whatever that is.
    nulls = dict.fromkeys(("min_balance", "spread", "round_trip_time", "routing_relation"))
    after = api.call("PATCH", "/accounts/patch/", {**nulls, "id": before["id"]}).json()
    assert after == {
        **before, "min_balance": None, "spread": None, "round_trip_time": 500,
        "routing_relation": "NonRoutingAccount",
    }  # fmt: skip
    assert api.call("PATCH", "/accounts/patch", {}).json() == after
    moved = api.call("PATCH", "/accounts/patch", {"ilp_address": "example.node.other"}).json()
    assert moved["ilp_address"] == "example.node.other"
    back = api.call("PATCH", "/accounts/patch", {"ilp_address": None, "username": "patch"})
    assert back.json() == after


@pytest.mark.parametrize(
    ("body", "name", "words"),
    [
        ({"min_balance": 101}, "min_balance", "must not be above max_balance"),
        ({"min_balance": "x"}, "min_balance", "must be a whole number"),
        ({"min_balnce": -5}, "min_balnce", "did you mean min_balance?"),
        ({"username": "other"}, "username", "must be `strict`"),
        ({"asset_code": None}, "asset_code", "every account has one"),
        ({"endpoint": "loopback", "ilp_over_http_url": "http://a/"}, "endpoint", "or the URL"),
    ],
    ids=["together", "value", "unknown", "username", "null", "endpoint"],
)
def test_the_checks_of_a_whole_account(api: Api, body: Any, name: str, words: str) -> None:
    if api.get("/accounts/strict").status == 404:
        api.create("strict", max_balance=100)
    before = shown(api, "strict")
    detail, names = refusal(
        api.call("PATCH", "/accounts/strict", {"max_in_flight_amount": 1} | body)
    )
    assert names == [name] and words in detail
    assert shown(api, "strict") == before


def test_a_change_is_made_once(api: Api) -> None:
    api.create("once_only")
    assert api.call("PATCH", "/accounts/nobody_at_all", {"min_balance": 1}).status == 404
    key = {"Idempotency-Key": "patch-1"}
    path = "/accounts/once_only"
    first = api.call("PATCH", path, {"min_balance": -1}, headers=key)
    assert api.call("PATCH", path, {"min_balance": -2}).status == 200
    assert api.call("PATCH", path, {"min_balance": -1}, headers=key) == first
    assert shown(api, "once_only")["min_balance"] == -2
    assert api.call("PATCH", path, {"min_balance": -3}, headers=key).status == 409
    assert api.call("DELETE", path).status == 200
    assert api.call("PATCH", path, {"min_balance": -1}, headers=key) == first


# --- What is ignored is said ----------------------------------------------------------------------


def test_the_log_names_ignored_fields(node: NodeProcess, api: Api) -> None:
    body = {"min_balnce": "hidden-value", "x" * 500: 1, "id": "anything", "\n\ud800": 1}
    api.create("typo", **body, more=1, most=1)
    assert api.call("PUT", "/accounts/typo/settings", {"min_balance": -5}).status == 200
    events = [event for event in node.events() if "of a request" in event["message"]]
    said = {event.get("field"): event.get("reason") for event in events}
    assert said["min_balnce"] == "did you mean min_balance?"
    assert said["min_balance"] == "only the admin can change it: PATCH /accounts/<username>"
    assert "id" not in said and max(map(len, filter(None, said))) <= 41
    assert len(events) <= 5 and "hidden-value" not in json.dumps(events)


def test_refusals_name_the_place(api: Api) -> None:
    detail, names = refusal(api.call("PUT", "/routes/static/bad..addr", b"bob"))
    assert names == ["prefix"] and detail.startswith("prefix: must be an ILP address")
