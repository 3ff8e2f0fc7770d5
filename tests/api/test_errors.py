"""Every kind of refusal as Interledger.rs has it; a test per row of its inventory, by id. What is
changed on purpose is in docs/interledger-rs.md."""

import datetime
import http.client
import re
from typing import Any

import pytest

from tests.api.client import Answer, Api
from tests.node_process import ADMIN_TOKEN, NodeProcess

BASE = {"asset_code": "ABC", "asset_scale": 9}
JSON = {"Content-Type": "application/json"}
TYPES = "https://errors.interledger.org/http-api"


def titled(answer: Answer, status: int, title: str) -> dict[str, Any]:
    found = answer.problem()
    assert (answer.status, found["type"], found["title"]) == (status, "about:blank", title)
    # RFC 3339, local time with its offset.
    moment = datetime.datetime.fromisoformat(found["datetime"])
    assert moment.tzinfo is not None
    assert re.fullmatch(r"[-0-9]{10}T[:0-9]{8}(\.\d+)?[-+]\d\d:\d\d", found["datetime"])
    return found


def test_err_01_titles(api: Api) -> None:
    api.create("errors")
    titled(api.call("POST", "/accounts", b"{}"), 400, "Bad Request")
    titled(api.get("/accounts", token="wrong"), 401, "Unauthorized")
    titled(api.get("/nothing"), 404, "Not Found")
    refused = api.call("POST", "/accounts/errors")
    titled(refused, 405, "Method Not Allowed")
    assert refused.headers["allow"] == "DELETE, GET, HEAD, PATCH, PUT"
    exists = api.call("POST", "/accounts", {"username": "errors", **BASE})
    titled(exists, 409, "Provided resource already exists")
    keyed = {"Idempotency-Key": "err-01"}
    assert api.call("PUT", "/rates", {"ABC": 1}, headers=keyed).status == 200
    tied = api.call("PUT", "/rates", {"ABC": 2}, headers=keyed)
    titled(tied, 409, "Provided idempotency key is tied to other input")


def test_err_02_account_not_found(api: Api) -> None:
    body = {"username": "nobody", **BASE}
    for method, path, sent in [
        ("GET", "/accounts/nobody", None),
        ("GET", "/accounts/nobody/balance", None),
        ("DELETE", "/accounts/nobody", None),
        ("PUT", "/accounts/nobody", body),
        ("PUT", "/accounts/nobody/settings", {}),
        ("PUT", "/routes/static/example.x", b"nobody"),
    ]:
        found = api.call(method, path, sent).problem()
        assert found["type"] == f"{TYPES}/accounts/account-not-found"
        assert (found["status"], found["title"]) == (404, "Account Not Found")
        assert found["detail"] == "account `nobody` was not found"


def test_err_04_invalid_packet(api: Api) -> None:
    # Changed on purpose: the body is a Reject, for peers that read it.
    api.create("packets", ilp_over_http_incoming_token="packets-token")
    answer = api.call("POST", "/accounts/packets/ilp", b"\x0d\x00", token="packets-token")
    assert (answer.status, answer.headers["content-type"]) == (400, "application/octet-stream")
    assert answer.body[0] == 14 and b"F01" in answer.body


@pytest.mark.parametrize(
    ("body", "kind", "title", "invalid"),
    [
        (b'{"username":}', "json-syntax", "JSON Syntax Error", []),
        (b"\xff\xfe{}", "json-syntax", "JSON Syntax Error", []),
        (b'{"username": NaN}', "json-syntax", "JSON Syntax Error", []),
        (b"[" * 100_00 + b"]" * 100_00, "json-syntax", "JSON Syntax Error", []),
        (b'{"username": "al', "json-syntax", "JSON Syntax Error", []),
        (b'{"username": "alice"', "json-eof", "JSON Unexpected EOF", []),
        (b"", "json-eof", "JSON Unexpected EOF", []),
        (b"[]", "json-data", "JSON Data Error", []),
        (b"null", "json-data", "JSON Data Error", []),
        (b'{"username":"ab"}', "json-data", "JSON Data Error",
         [{"name": "asset_code", "type": "missing"}]),
        (b'{"username":"ab","asset_code":"A","asset_scale":-1}', "json-data", "JSON Data Error",
         [{"name": "asset_scale"}]),
    ],
)  # fmt: skip
def test_err_05_json(
    api: Api, body: bytes, kind: str, title: str, invalid: list[dict[str, str]]
) -> None:
    answer = api.call("POST", "/accounts", body, headers=JSON)
    found = answer.problem()
    assert (answer.status, found["type"], found["title"]) == (400, f"{TYPES}/{kind}", title)
    assert found["invalid-params"] == invalid
    assert "datetime" not in found


def test_err_06_unauthorized(api: Api) -> None:
    api.create("alice", ilp_over_http_incoming_token="alice-token")
    api.create("tokenless")
    wrong = api.get("/accounts/alice/balance", token="wrong")
    found = titled(wrong, 401, "Unauthorized")
    assert found["detail"] == "account `alice` is not authorized for this action"
    assert wrong.headers["www-authenticate"] == "Bearer"
    found = titled(api.call("PUT", "/rates", {}, token="alice-token"), 401, "Unauthorized")
    assert found["detail"] == "invalid admin auth token provided"
    found = titled(api.call("POST", "/accounts", {}, token="alice-token"), 401, "Unauthorized")
    assert "detail" not in found
    # A stranger does not learn which accounts there are: 401 comes before 404.
    for method in ("GET", "PUT", "DELETE"):
        for name in ("alice", "nobody"):
            assert api.call(method, f"/accounts/{name}", token="wrong").status == 401
    # An account without a token is nobody's.
    assert api.get("/accounts/tokenless", token="").status in (400, 401)
    assert api.get("/accounts/tokenless", token="None").status == 401


def test_err_07_short_authorization(api: Api) -> None:
    api.create("short", ilp_over_http_incoming_token="short-token")
    for header in ("Bearer", "x"):
        answer = api.call("GET", "/accounts/short", headers={"Authorization": header})
        titled(answer, 400, "Bad Request")


def test_err_08_not_405_but_what_it_is(node: NodeProcess, api: Api) -> None:
    assert api.get("/unknown", token=None).status == 404
    assert api.get("/accounts", token=None).status == 401
    assert api.get("/accounts/alice", token=None).status == 401
    assert api.call("POST", "/accounts", {"username": "x" * 70_000}, token="x").status == 413


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ('Application/JSON; charset="UTF-8"', 200),
        ("application/json; charset=latin-1", 400),
        ("text/plain", 400),
        ("application/x-www-form-urlencoded", 400),
        (None, 400),
    ],
)
def test_content_type_of_json(api: Api, content_type: str | None, status: int) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert api.call("PUT", "/rates", b'{"ABC":1}', headers=headers).status == status


def test_100_mb_are_refused_before_they_are_sent(node: NodeProcess) -> None:
    for token in ("wrong", ADMIN_TOKEN):
        connection = http.client.HTTPConnection(node.http, timeout=30)
        connection.putrequest("PUT", "/routes/static")
        connection.putheader("Authorization", f"Bearer {token}")
        connection.putheader("Content-Length", str(100 * 1024 * 1024))
        connection.endheaders()
        connection.send(b"{" * 1024)
        assert connection.getresponse().status == 413
        connection.close()


def test_large_tables_are_for_the_admin(api: Api) -> None:
    api.create("table_hop")
    table = {f"example.{number:06}": "table_hop" for number in range(20_000)}
    assert api.call("PUT", "/routes/static", table, token="wrong").status in (401, 413)
    assert api.call("PUT", "/routes/static", table).json() == table
    assert len(api.get("/routes").json()) >= 20_000
    assert api.call("PUT", "/routes/static", {}).status == 200
