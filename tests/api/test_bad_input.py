"""Bad input on every endpoint of the served OpenAPI document: refused with 4xx, named, and the node
goes on as if nothing came."""

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.client import Api
from tests.node_process import ADMIN_TOKEN, NodeProcess

BAD = {
    "username": "bad",
    "asset_code": "ABC",
    "asset_scale": 9,
    "ilp_over_http_incoming_token": "bad-token",
}
# A body that is right, for each call of the document that takes one: a new call fails
# `test_every_call_is_here`.
JSON: dict[tuple[str, str], Any] = {
    ("POST", "/accounts"): {"username": "bad_new", "asset_code": "ABC", "asset_scale": 9},
    ("PUT", "/accounts/{username}"): BAD,
    ("PUT", "/accounts/{username}/settings"): {"settle_threshold": 1},
    ("PATCH", "/accounts/{username}"): {"settle_threshold": 1},
    ("PUT", "/rates"): {"ABC": 1},
    ("PUT", "/routes/static"): {"example.x": "bad"},
    ("PUT", "/settlement/engines"): {"ABC": "http://127.0.0.1:3000"},
}
SETTLEMENTS: dict[tuple[str, str], Any] = {
    ("POST", "/accounts/{username}/settle"): {"amount": 1},
    ("POST", "/settlements/{settlement_id}/retry"): {},
    ("POST", "/settlements/{settlement_id}/resolve"): {"state": "paid"},
}
RAW: dict[tuple[str, str], tuple[int, ...]] = {
    # With the statuses that may refuse it.
    ("PUT", "/routes/static/{prefix}"): (400, 404),
    ("PUT", "/tracing-level"): (400,),
    ("POST", "/accounts/{username}/ilp"): (400,),
}
# Of an account's holder; what is wrong with the receiver shows when it is asked, 500.
PAYMENT = ("POST", "/accounts/{username}/payments")
ORDER: dict[str, Any] = {"receiver": "$", "source_amount": 1}
# Whether packets are taken, and what becomes of an address, may be asked about any name.
ANY_NAME = {("GET", "/accounts/{username}/ilp"), ("GET", "/routes/lookup/{address}")}
TOO_LARGE = 100 * 1024 * 1024
NO_JSON = [
    b"", b"{", b"\xff\xfe", b"\x00", b'{"a":1}{"b":2}', b"[" * 50_000, b'{"a":' * 20_000,
    b'{"a":' + b"9" * 60_000 + b"}", b"nul", b'{"a":1,}', b'\xef\xbb\xbf{"a":1}', b'"text"', b"[]",
    b"7", b"true",
]  # fmt: skip
NUMBERS = [2**63, 2**64, -(2**63) - 1, -(2**200), 10**400, 0.5, 1e308, True, "", " ", "x", "0x10",
           "1e400", "-0.1", [], {}, [[]], "9" * 5_000, "\u0000", "\ud800"]  # fmt: skip
TEXTS = [7, -1, True, [], {}, "\u0000", "\ud800", "a\nb", "x" * 3_000, "\u202e", "%00", "../.."]
FLAGS = [2, -1, "maybe", "\ud800", [], {}, 2**63]
LISTS = [7, True, {}, "a b", [7], [[]], ["a b"], ["g..a"], ["\ud800"], ["g.a"] * 257]
WRONG = {
    "integer": NUMBERS, "number": NUMBERS, "string": TEXTS, "boolean": FLAGS, "array": LISTS,
}  # fmt: skip
NAMES = ["%ff", "%00", "..%2f..", "x" * 5_000, "%F0%9F%92%A9", "a%20b", "-1", "%2e%2e"]
QUERIES = ["%ff", "%00", "-1", "0", "99999999999999999999", "", "x" * 2_000]

Call = tuple[str, str]
"""Method and path of the document."""


@pytest.fixture
def calls(api: Api) -> dict[Call, dict[str, Any]]:
    """Every call, with what the document says about it."""
    paths = api.get("/openapi.json").json()["paths"]
    return {
        (method.upper(), path): operation
        for path, operations in paths.items()
        for method, operation in operations.items()
        if method != "parameters"
    }


@pytest.fixture(autouse=True)
def unharmed(api: Api) -> Iterator[None]:
    """Each test leaves the node and its one account as they were."""
    if api.get("/accounts/bad").status == 404:
        api.create(**BAD)
    before = api.get("/accounts").body
    yield
    assert api.get("/accounts").body == before
    assert api.get("/health").json()["ready"] is True


def filled(path: str, name: str = "") -> str:
    right = path.replace("{username}", name or "bad")
    return re.sub(r"{\w+}", lambda _: name or "example.x", right)


def token_of(call: Call) -> str:
    """Packets are the holder's business."""
    return "bad-token" if call[1].endswith("/ilp") else ADMIN_TOKEN


def test_every_call_is_here(calls: dict[Call, dict[str, Any]]) -> None:
    with_a_body = {call for call, operation in calls.items() if "requestBody" in operation}
    assert with_a_body == JSON.keys() | SETTLEMENTS.keys() | RAW.keys() | {PAYMENT}
    assert len(calls) >= 20


@pytest.mark.parametrize("call", [*JSON, *SETTLEMENTS], ids=" ".join)
def test_no_json(api: Api, call: Call) -> None:
    headers = {"Content-Type": "application/json"}
    for wrong in NO_JSON:
        answer = api.call(call[0], filled(call[1]), wrong, headers=headers)
        assert answer.status == 400, wrong[:40]
        assert answer.problem()["type"].startswith("https://errors.interledger.org/http-api/json-")


@pytest.mark.parametrize("call", list(JSON)[:4], ids=" ".join)
def test_every_field(api: Api, calls: dict[Call, dict[str, Any]], call: Call) -> None:
    schema = calls[call]["requestBody"]["content"]["application/json"]["schema"]
    for field, what in schema["properties"].items():
        kinds = what.get("anyOf", [what])
        for wrong in WRONG[kinds[0].get("type") or kinds[0]["anyOf"][0]["type"]]:
            check_field(api, call, field, wrong)


def check_field(api: Api, call: Call, field: str, wrong: Any) -> None:
    method, path = call
    answer = api.call(method, filled(path), {**JSON[call], field: wrong})
    if answer.status == 200:
        # Some fields have room for some of these, but none for half of one.
        shown = answer.json()[field]
        taken = "SECRET" if field.endswith("_token") else wrong
        assert not isinstance(wrong, bool) and shown in (taken, str(taken)), (field, wrong)
        undo = ("DELETE", "/accounts/bad_new") if method == "POST" else ("PUT", "/accounts/bad")
        assert api.call(*undo, BAD).status == 200
        return
    assert answer.status == 400, (field, wrong, answer)
    named = [each["name"].partition(".")[0] for each in answer.problem()["invalid-params"]]
    assert named in ([field], []), (field, wrong, answer)


@pytest.mark.parametrize("call", list(JSON)[4:], ids=" ".join)
def test_tables(api: Api, call: Call) -> None:
    [(key, value)] = JSON[call].items()
    # A rate may be any number above zero.
    values = [0, "0x1", -1] if call[1] == "/rates" else [7, 2**64]
    for wrong in (*TEXTS[1:], *values, 10**400):
        assert api.call(*filled_call(call), {key: wrong}).status == 400, wrong
    for wrong in ("a\nb", "\u0000", "\ud800", "x" * 3_000):
        assert api.call(*filled_call(call), {wrong: value}).status == 400, wrong


def test_orders_of_payments(api: Api) -> None:
    path, headers = filled(PAYMENT[1]), {"Content-Type": "application/json"}
    for wrong in NO_JSON:
        answer = api.call("POST", path, wrong, token="bad-token", headers=headers)
        # Large bodies are the admin's alone.
        assert answer.status in (400, 413), wrong[:40]
    wrongs = {
        "receiver": TEXTS,
        "source_amount": NUMBERS[1:],
        "delivery_amount": NUMBERS[1:],
        "slippage": [
            1,
            -1,
            10**400,
            "1e400",
            "1e-999999999",
            "x",
            True,
            [],
            {},
            "\ud800",
        ],
    }
    for field, values in wrongs.items():
        for wrong in values:
            order = {**ORDER, field: wrong}
            if field == "delivery_amount":
                del order["source_amount"]
            answer = api.call("POST", path, order, token="bad-token")
            assert answer.status == 400 or (answer.status == 500 and field == "receiver"), order
            assert "internal error" not in answer.problem()["detail"]
    assert api.get("/accounts/bad/payments").json() == []


def test_settlements(api: Api) -> None:
    settle, retry, resolve = (filled(path) for _, path in SETTLEMENTS)
    for wrong in NUMBERS:
        # Some are an amount, but nobody pays it.
        answer = api.call("POST", settle, {"amount": wrong})
        assert answer.status in (400, 409), wrong
    for wrong in TEXTS:
        assert api.call("POST", retry, {"engine_url": wrong}).status == 400, wrong
        assert api.call("POST", resolve, {"state": wrong}).status == 400, wrong
        body = {"state": "paid", "external_id": wrong}
        assert api.call("POST", resolve, body).status in (400, 404), wrong
    for flag in FLAGS:
        assert api.call("POST", resolve, {"state": "paid", "force": flag}).status == 400, flag
    assert api.get("/settlements").json() == []


def filled_call(call: Call) -> Call:
    return call[0], filled(call[1])


def test_unknown_fields_and_deep_values(api: Api) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = {"more": deep}
    # Unknown fields are ignored, whatever they hold.
    for (method, path), body in list(JSON.items())[1:3]:
        more = {**body, "unknown": deep, "other": 2**200, "": None}
        assert api.call(method, filled(path), more).status == 200
    # A table has no unknown fields.
    for call in list(JSON)[4:]:
        assert api.call(*filled_call(call), {"ABC": deep}).status == 400
    assert api.call("PUT", "/accounts/bad", BAD).status == 200


@pytest.mark.parametrize("call", RAW, ids=" ".join)
def test_raw_bodies(api: Api, call: Call) -> None:
    for wrong in (b"", b"\xff", b"\x00", b"x" * 60_000, b"../..", b"a\r\nb", b"[" * 10_000):
        answer = api.call(*filled_call(call), wrong, token=token_of(call))
        assert answer.status in RAW[call], wrong[:20]


def test_100_mb_everywhere(node: NodeProcess, calls: dict[Call, dict[str, Any]]) -> None:
    """Refused before they are sent, whoever sends them."""
    for method, path in calls:
        for token in (ADMIN_TOKEN, "bad-token", "wrong"):
            connection = http.client.HTTPConnection(node.http, timeout=30)
            connection.putrequest(method, filled(path))
            connection.putheader("Authorization", f"Bearer {token}")
            connection.putheader("Content-Length", str(TOO_LARGE))
            connection.endheaders()
            connection.send(b"{" * 1_024)
            assert connection.getresponse().status == 413, (method, path)
            connection.close()


def test_names_in_paths(api: Api, calls: dict[Call, dict[str, Any]]) -> None:
    for method, path in calls:
        body = (JSON | SETTLEMENTS).get((method, path), b"bad" if (method, path) in RAW else None)
        for name in NAMES if "{" in path else ():
            for token in (ADMIN_TOKEN, "wrong", None):
                answer = api.call(method, filled(path, name), body, token=token)
                fine = (200,) if (method, path) in ANY_NAME else ()
                assert answer.status in (400, 401, 404, 405, 426, *fine), (method, path, name)


def test_queries(api: Api, calls: dict[Call, dict[str, Any]]) -> None:
    for (method, path), operation in calls.items():
        if method != "GET" or path.endswith("/events"):
            continue
        named = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
        for name in (*named, "unknown"):
            for value in QUERIES:
                answer = api.get(f"{filled(path)}?{name}={value}")
                fine = (200, 426) if name == "unknown" else (200, 400)
                if (path, name) == ("/settlements", "account"):
                    fine = (200, 400, 404)
                if re.search("{(payment|settlement)_id}", path) or path == "/.well-known/pay":
                    # There is none.
                    fine = (404,)
                assert answer.status in fine, (path, name, value)


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/%ff", "/accounts/%00", "/accounts/..%2f..", "/accounts/" + "x" * 5_000,
        "/accounts/%F0%9F%92%A9/balance", "/accounts//balance", "/accounts/bad/nothing",
        "/routes/static/%ff", "/%2e%2e/etc/passwd", "//accounts", "/accounts?limit=%ff",
        "/accounts?limit=99999999999999999999", "/accounts?after=%ff&limit=1",
        "/accounts?routing_relation=%ff", "/accounts?limit=1&limit=x",
    ],
)  # fmt: skip
def test_paths_and_queries(api: Api, path: str) -> None:
    assert api.get(path).status in (200, 400, 404, 405)
    assert api.get(path, token=None).status in (400, 401, 404, 405)


def test_headers(api: Api) -> None:
    for header in ("Bearer \xff\xfe", "Bearer " + "x" * 10_000, "Bearer a, Bearer b", " ", "\t"):
        answer = api.call("GET", "/accounts", headers={"Authorization": header})
        assert answer.status == 401, header
    answer = api.call("GET", "/accounts", headers={"X": "y" * 20_000})
    assert answer.status == 431


def test_bodies_where_none_belongs(api: Api) -> None:
    assert api.call("GET", "/accounts/bad", b"x" * 1_000).status == 200
    assert api.call("DELETE", "/accounts/nobody", json.dumps({"a": 1}).encode()).status == 404
