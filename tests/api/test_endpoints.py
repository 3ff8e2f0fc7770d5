"""Every endpoint as Interledger.rs has it; a test per row of its inventory, by id.

Those of payments and settlement have files of their own.
"""

import json
import socket
from typing import Any

import pytest

from tests import ilp_bytes
from tests.api.client import Api
from tests.node_process import ADMIN_TOKEN, NodeProcess

BASE = {"asset_code": "ABC", "asset_scale": 9}


def test_api_01_root(api: Api) -> None:
    answer = api.get("/", token=None)
    assert answer.status == 200
    assert list(answer.json()) == ["status", "ilp_address", "version"]
    assert answer.body.startswith(b'{"status":"Ready","ilp_address":"example.node","version":"')


def test_api_02_create_account(api: Api) -> None:
    # As `ilp-cli` does it: a slash at the end, all values as strings.
    body = {"username": "created", "asset_code": "ABC", "asset_scale": "9"}
    answer = api.call("POST", "/accounts/", body)
    assert (answer.status, answer.json()["username"]) == (200, "created")
    # Interledger.rs says 500.
    again = api.call("POST", "/accounts", body)
    assert (again.status, again.problem()["title"]) == (409, "Provided resource already exists")
    assert again.problem()["detail"] == "account `created` already exists"
    assert api.call("POST", "/accounts", body, token="wrong").status == 401
    wrong = api.call("POST", "/accounts", {**body, "username": "other", "routing_relation": "x"})
    assert wrong.status == 400
    assert api.get("/accounts/other").status == 404


def test_api_03_list_accounts(api: Api) -> None:
    for number in range(7):
        api.create(f"list_{number}", asset_code="LST" if number % 2 else "ABC")
    names = [each["username"] for each in api.get("/accounts").json()]
    assert names == sorted(names) and {"list_0", "list_6"} <= set(names)
    assert api.get("/accounts?limit=100").headers["x-total-count"] == str(len(names))
    # Page by page it is the same list.
    paged, path = [], "/accounts?limit=2"
    while path:
        answer = api.get(path)
        paged += [each["username"] for each in answer.json()]
        link = answer.headers.get("link", "")
        path = link.partition("<")[2].partition(">")[0]
    assert paged == names
    found = api.get("/accounts?asset_code=lst&limit=2").json()
    assert [each["username"] for each in found] == ["list_1", "list_3"]
    found = api.get("/accounts?username_prefix=list_&after=list_4").json()
    assert [each["username"] for each in found] == ["list_5", "list_6"]
    assert api.get("/accounts?routing_relation=child").json() == []
    for wrong in ("limit=0", "limit=1001", "limit=x", "routing_relation=x"):
        assert api.get(f"/accounts?{wrong}").status == 400
    assert api.get("/accounts", token="wrong").status == 401


def test_api_04_get_account(api: Api) -> None:
    found = api.create("shown", ilp_over_http_incoming_token="shown-token")
    assert api.get("/accounts/shown").json() == found
    assert api.get("/accounts/shown/", token="shown-token").json() == found
    assert api.get("/accounts/shown", token="other").status == 401


def test_api_05_update_account(api: Api) -> None:
    before = api.create(
        "updated",
        min_balance=-5,
        ilp_over_http_incoming_token="updated-token",
        ilp_over_http_url="http://127.0.0.1:1/",
    )
    body: dict[str, Any] = {"username": "updated", **BASE, "max_packet_amount": "77"}
    answer = api.call("PUT", "/accounts/updated", body)
    # Interledger.rs keeps what was left out, and shows null.
    assert answer.json() == {
        **before,
        "max_packet_amount": 77,
        "min_balance": None,
        "ilp_over_http_url": None,
    }
    assert api.get("/accounts/updated").json() == answer.json()
    assert api.get("/accounts/updated", token="updated-token").status == 401
    # Nothing has moved, so even the asset may change.
    answer = api.call("PUT", "/accounts/updated", {**body, "asset_code": "XYZ", "asset_scale": 2})
    assert (answer.json()["asset_code"], answer.json()["asset_scale"]) == ("XYZ", 2)
    assert api.get("/accounts/updated/balance").json()["asset_code"] == "XYZ"
    for name in ("username", "asset_code", "asset_scale"):
        less = {key: value for key, value in body.items() if key != name}
        missing = api.call("PUT", "/accounts/updated", less).problem()["invalid-params"]
        assert missing == [{"name": name, "type": "missing"}]
    other = api.call("PUT", "/accounts/updated", {**body, "username": "renamed"})
    assert (other.status, other.problem()["invalid-params"]) == (400, [{"name": "username"}])
    assert api.call("PUT", "/accounts/nobody", {**body, "username": "nobody"}).status == 404


def test_api_06_delete_account(api: Api) -> None:
    found = api.create("deleted", ilp_over_http_incoming_token="deleted-token")
    api.call("PUT", "/routes/static/example.far", b"deleted")
    answer = api.call("DELETE", "/accounts/deleted")
    assert (answer.status, answer.json()) == (200, found)
    assert api.get("/accounts/deleted").status == 404
    routes = api.get("/routes").json()
    assert "example.far" not in routes and "example.node.deleted" not in routes
    assert api.call("DELETE", "/accounts/deleted").status == 404
    # The name is free again, and the account another one.
    assert api.create("deleted")["id"] != found["id"]


def test_api_07_balance(node: NodeProcess, api: Api) -> None:
    api.create("payer", ilp_over_http_incoming_token="payer-token")
    api.create("payee", endpoint="loopback")
    assert api.get("/accounts/payer/balance").body == b'{"asset_code":"ABC","balance":0.0}'
    preimage = b"x" * 32
    packet = ilp_bytes.prepare(
        500,
        "example.node.payee",
        ilp_bytes.condition_of(preimage),
        ilp_bytes.now_ms() + 20_000,
        preimage,
    )
    assert node.send("payer", packet)[0] == ilp_bytes.FULFILL
    answer = api.get("/accounts/payer/balance", token="payer-token")
    assert answer.body == b'{"asset_code":"ABC","balance":-5e-7}'
    assert api.get("/accounts/payee/balance").body == b'{"asset_code":"ABC","balance":5e-7}'
    # The short way and the framework's say the same.
    for path in ("/accounts/payer/balance", "/accounts/payer/balance/"):
        short, long = api.get(path), api.get(f"{path}?")
        assert (short.status, short.headers, short.body) == (long.status, long.headers, long.body)
    assert api.get("/accounts/payer/balance", token="wrong").status == 401
    assert api.get("/accounts/nobody/balance").status == 404
    assert api.call("PUT", "/accounts/payer/balance").status == 405


def test_api_08_settings(api: Api) -> None:
    before = api.create("settings", min_balance=-5, ilp_over_http_incoming_token="settings-1")
    change = {
        "ilp_over_http_url": "http://127.0.0.1:1/",
        "ilp_over_http_incoming_token": "settings-2",
        "ilp_over_btp_url": "ws://127.0.0.1:1/",
        "settle_threshold": "7",
        # What is not among them is ignored, null is nothing.
        "min_balance": -999,
        "settle_to": None,
    }
    answer = api.call("PUT", "/accounts/settings/settings", change, token="settings-1")
    assert answer.json() == {
        **before,
        "ilp_over_http_url": "http://127.0.0.1:1/",
        "ilp_over_btp_url": "ws://127.0.0.1:1/",
        "settle_threshold": 7,
    }
    assert api.call("PUT", "/accounts/settings/settings", {}, token="settings-1").status == 401
    assert api.call("PUT", "/accounts/settings/settings", {}, token="settings-2").status == 200
    assert api.call("PUT", "/accounts/settings/settings", {}).json() == answer.json()
    # Interledger.rs forgets to dial it.
    assert api.get("/accounts/settings/status").json()["links"]["btp"] is False


def test_api_14_api_15_rates(api: Api) -> None:
    answer = api.call("PUT", "/rates", {"abc": "1.0", "XYZ": 0.25, "BIG": 100000000000000000})
    assert answer.body == b'{"ABC":1.0,"BIG":1e17,"XYZ":0.25}'
    assert api.get("/rates", token=None).body == answer.body
    # All or nothing.
    for wrong in ({"ABC": 0}, {"ABC": "-1"}, {"ABC": "x"}, {"ABC": True}, {"": 1}, {"ABC": "NaN"}):
        assert api.call("PUT", "/rates", {"XYZ": 9, **wrong}).status == 400
    assert api.call("PUT", "/rates", {"ABC": 1}, token="wrong").status == 401
    assert api.get("/rates").body == answer.body
    assert api.call("PUT", "/rates", {}).body == b"{}"
    assert api.get("/rates").body == b"{}"


def test_api_16_api_17_static_routes(api: Api) -> None:
    api.create("hop_1")
    api.create("hop_2")
    wanted = {"example.far": "hop_1", "": "hop_2", "example.node.hop_1": "hop_2"}
    answer = api.call("PUT", "/routes/static", wanted)
    assert (answer.status, answer.json()) == (200, wanted)
    routes = api.get("/routes", token=None).json()
    assert {prefix: routes[prefix] for prefix in wanted} == wanted
    unknown = api.call("PUT", "/routes/static", {"example.far": "nobody"})
    assert (unknown.status, unknown.problem()["title"]) == (404, "Account Not Found")
    for wrong in ({"a b": "hop_1"}, {"example.x": 5}, ["hop_1"]):
        assert api.call("PUT", "/routes/static", wrong).status == 400
    assert api.get("/routes").json() == routes
    # Interledger.rs fails on an empty map.
    assert api.call("PUT", "/routes/static", {}).body == b"{}"
    routes = api.get("/routes").json()
    assert "" not in routes and routes["example.node.hop_1"] == "hop_1"


def test_api_18_one_static_route(api: Api) -> None:
    api.create("hop_3")
    # No content type, as `ilp-cli` sends it.
    answer = api.call("PUT", "/routes/static/example.b", "\uff48op_3".encode())
    assert (answer.status, answer.body) == (200, b"hop_3")
    assert api.get("/routes").json()["example.b"] == "hop_3"
    assert api.call("PUT", "/routes/static/example.b", b"nobody").status == 404
    assert api.call("PUT", "/routes/static/a%20b", b"hop_3").status == 400
    assert api.call("PUT", "/routes/static/example.c", b"hop_3", token="x").status == 401


def test_api_19_settlement_engines(api: Api) -> None:
    answer = api.call("PUT", "/settlement/engines", {"eth": "http://127.0.0.1:3000"})
    assert answer.json() == {"ETH": "http://127.0.0.1:3000"}
    answer = api.call("PUT", "/settlement/engines", {"XRP": "http://127.0.0.1:3001"})
    assert answer.json() == {"XRP": "http://127.0.0.1:3001"}
    assert api.get("/settlement/engines").json() == {
        "ETH": "http://127.0.0.1:3000",
        "XRP": "http://127.0.0.1:3001",
    }
    assert api.call("PUT", "/settlement/engines", {"ETH": "nonsense"}).status == 400


def test_api_20_ilp_over_http(node: NodeProcess, api: Api) -> None:
    api.create("sender", ilp_over_http_incoming_token="sender-token")
    packet = ilp_bytes.prepare(0, "example.nowhere", bytes(32), ilp_bytes.now_ms() + 20_000, b"")
    answer = node.send("sender", packet)
    assert answer[0] == ilp_bytes.REJECT and b"F02" in answer
    assert node.status_of("/accounts/sender/ilp", "wrong") == 200  # GET: OK, as peers ask first
    refused = api.call("POST", "/accounts/sender/ilp", packet, token="wrong")
    assert refused.status == 401
    garbage = api.call("POST", "/accounts/sender/ilp", b"no packet", token="sender-token")
    assert garbage.status == 400


def test_api_21_btp(node: NodeProcess, api: Api) -> None:
    api.create("dialler", ilp_over_btp_incoming_token="dialler-token")
    host, port = node.http.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(
            b"GET /accounts/dialler/ilp/btp HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert connection.recv(12) == b"HTTP/1.1 101"


@pytest.mark.parametrize(
    "directive", [b"interledger=debug", b"info", b"interledger=trace,hyper=warn", b"off", b"info "]
)
def test_api_24_tracing_level(api: Api, directive: bytes) -> None:
    answer = api.call("PUT", "/tracing-level", directive)
    wanted = b"Logging level changed to: " + directive.strip()
    assert (answer.status, answer.body) == (200, wanted)
    for wrong in (b"", b"loud", b"a=b=c", b"=info", b"\xff", b"info," * 30 + b"info"):
        assert api.call("PUT", "/tracing-level", wrong).status == 400
    assert api.call("PUT", "/tracing-level", directive, token=None).status == 401


def test_health(api: Api) -> None:
    answer = api.get("/health", token=None)
    assert (answer.status, answer.json()) == (200, {"live": True, "ready": True, "reasons": []})


def test_openapi_document_and_page(api: Api) -> None:
    document = api.get("/openapi.json", token=None).json()
    assert document["openapi"].startswith("3.")
    assert "/accounts/{username}/settings" in document["paths"]
    page = api.get("/docs", token=None)
    assert page.headers["content-type"].startswith("text/html")
    # Nothing from other hosts, and nothing that runs.
    assert b"://" not in page.body.replace(b"http://127.0.0.1", b"") and b"<script" not in page.body


def test_status_is_for_the_admin(api: Api) -> None:
    found = api.get("/status").json()
    assert {"ilp_address", "in_flight", "statuses", "accounts"} <= set(found)
    assert api.get("/status", token="wrong").status == 401


def test_head_is_get_without_the_body(api: Api) -> None:
    answer = api.call("HEAD", "/accounts?limit=1")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 100
    assert api.call("HEAD", "/status").status == 200


def test_admin_token_is_compared_as_a_bearer_token(api: Api) -> None:
    for header in (f"bearer {ADMIN_TOKEN}", f"Bearer  {ADMIN_TOKEN}"):
        assert api.call("GET", "/accounts", headers={"Authorization": header}).status == 200
    for header in (ADMIN_TOKEN, f"Basic {ADMIN_TOKEN}", f"Bearer {ADMIN_TOKEN}x", "Bearer \xff"):
        assert api.call("GET", "/accounts", headers={"Authorization": header}).status == 401


def test_json_is_compact(api: Api) -> None:
    body = api.get("/status").body
    assert json.loads(body) and b": " not in body
