"""Bad input on every endpoint: refused with 4xx, named, and the node goes on as if nothing came."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.client import Api

# Method, path, a body that is right.
BODIES: list[tuple[str, str, Any]] = [
    ("POST", "/accounts", {"username": "bad_new", "asset_code": "ABC", "asset_scale": 9}),
    ("PUT", "/accounts/bad", {"username": "bad", "asset_code": "ABC", "asset_scale": 9}),
    ("PUT", "/accounts/bad/settings", {"settle_threshold": 1}),
    ("PUT", "/rates", {"ABC": 1}),
    ("PUT", "/routes/static", {"example.x": "bad"}),
    ("PUT", "/settlement/engines", {"ABC": "http://127.0.0.1:3000"}),
]
RAW = [("PUT", "/routes/static/example.x"), ("PUT", "/tracing-level")]
NO_JSON = [
    b"", b"{", b"\xff\xfe", b"\x00", b'{"a":1}{"b":2}', b"[" * 50_000, b'{"a":' * 20_000,
    b'{"a":' + b"9" * 60_000 + b"}", b"nul", b'{"a":1,}', b'\xef\xbb\xbf{"a":1}', b'"text"', b"[]",
    b"7", b"true",
]  # fmt: skip
NUMBERS = [2**63, 2**64, -(2**63) - 1, -(2**200), 10**400, 0.5, 1e308, True, "", " ", "x", "0x10",
           "1e400", "-0.1", [], {}, [[]], "9" * 5_000, "\u0000", "\ud800"]  # fmt: skip
TEXTS = [7, -1, True, [], {}, "\u0000", "\ud800", "a\nb", "x" * 3_000, "\u202e", "%00", "../.."]
NUMBER_FIELDS = [
    "asset_scale", "max_packet_amount", "min_balance", "settle_threshold", "settle_to",
    "round_trip_time", "packets_per_minute_limit", "amount_per_minute_limit", "max_balance",
    "max_in_flight_amount", "in_flight_in_max", "in_flight_out_max",
]  # fmt: skip
TEXT_FIELDS = [
    "username", "ilp_address", "ilp_over_http_url", "ilp_over_http_incoming_token",
    "ilp_over_http_outgoing_token", "ilp_over_btp_url", "ilp_over_btp_incoming_token",
    "ilp_over_btp_outgoing_token", "routing_relation", "settlement_engine_url",
    "ilp_over_batch_url", "endpoint",
]  # fmt: skip


@pytest.fixture(autouse=True)
def unharmed(api: Api) -> Iterator[None]:
    """Each test leaves the node and its one account as they were."""
    if api.get("/accounts/bad").status == 404:
        api.create("bad", ilp_over_http_incoming_token="bad-token")
    before = api.get("/accounts").body
    yield
    assert api.get("/accounts").body == before
    assert api.get("/health").json()["ready"] is True


@pytest.mark.parametrize(("method", "path", "body"), BODIES, ids=lambda value: str(value)[:24])
def test_no_json(api: Api, method: str, path: str, body: Any) -> None:
    headers = {"Content-Type": "application/json"}
    for wrong in NO_JSON:
        answer = api.call(method, path, wrong, headers=headers)
        assert answer.status == 400, wrong[:40]
        assert answer.problem()["type"].startswith("https://errors.interledger.org/http-api/json-")


@pytest.mark.parametrize("field", NUMBER_FIELDS)
def test_numbers(api: Api, field: str) -> None:
    for wrong in NUMBERS:
        for method, path, body in BODIES[:3]:
            if path.endswith("settings") and not field.startswith("settle_"):
                continue
            answer = api.call(method, path, {**body, field: wrong})
            # Some fields have room for some of these; none may be half taken.
            if answer.status == 200:
                assert isinstance(answer.json()[field], int) and wrong in (2**63, True, 2**64 - 1)
                api.call("DELETE" if method == "POST" else method, path_of(path, body), body)
                continue
            assert answer.status == 400, (field, wrong)
            assert answer.problem()["invalid-params"] in ([{"name": field}], []), (field, wrong)


def path_of(path: str, body: dict[str, Any]) -> str:
    return f"/accounts/{body['username']}" if path == "/accounts" else path


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_texts(api: Api, field: str) -> None:
    for wrong in TEXTS:
        answer = api.call("POST", "/accounts", {**BODIES[0][2], field: wrong})
        if answer.status == 200:
            # A long token, or a URL of printable text, is nothing bad.
            assert isinstance(wrong, str) and field.endswith(("_token", "_url"))
            assert api.call("DELETE", "/accounts/bad_new").status == 200
            continue
        assert answer.status == 400, (field, wrong)


def test_unknown_fields_and_deep_values(api: Api) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = {"more": deep}
    # Unknown fields are ignored, whatever they hold.
    answer = api.call("PUT", "/accounts/bad/settings", {"unknown": deep, "other": 2**200})
    assert answer.status == 200
    assert api.call("PUT", "/rates", {"ABC": deep}).status == 400


def test_raw_bodies(api: Api) -> None:
    for method, path in RAW:
        for wrong in (b"", b"\xff", b"\x00", b"x" * 60_000, b"../..", b"a\r\nb"):
            assert api.call(method, path, wrong).status in (400, 404), (path, wrong[:20])


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
