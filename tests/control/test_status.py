"""The status API, asked as the listener asks it."""

import json
from typing import Any

import pytest

from fastilp.control.status import Answer, StatusApi, json_number
from tests.small_switch import ADDRESS, SmallSwitch, details

ADMIN = "Bearer admin"


@pytest.fixture
def node() -> SmallSwitch:
    small = SmallSwitch()
    carol = details(
        "carol", asset_scale=2, ilp_over_http_incoming_token="carol-token", min_balance=-1
    )
    account = small.accounts.add(carol)
    small.switch.ledger.transact([(account.id, "settlement", 1234)])
    return small


def api(node: SmallSwitch, token: str | None = "admin") -> StatusApi:
    return StatusApi(node.switch, node.accounts, token, lambda username: {"btp": True})


def ask(
    node: SmallSwitch, path: str, authorization: str = ADMIN, method: str = "GET"
) -> tuple[int, Any, Answer]:
    answer = api(node).answer(method, path, authorization)
    assert answer is not None
    return answer.status, json.loads(answer.body), answer


def test_root_needs_no_token(node: SmallSwitch) -> None:
    status, body, _ = ask(node, "/", "")
    assert (status, body["status"], body["ilp_address"]) == (200, "Ready", ADDRESS)
    assert body["version"]


def test_accounts(node: SmallSwitch) -> None:
    for path in ("/accounts", "/accounts/", "/accounts?x=1"):
        status, body, _ = ask(node, path)
        assert status == 200
        assert [account["username"] for account in body] == ["alice", "bob", "paul", "dad", "carol"]
    carol = body[-1]
    assert carol["min_balance"] == -1
    assert carol["max_balance"] is None
    assert carol["ilp_over_http_incoming_token"] == carol["ilp_over_btp_outgoing_token"] == "SECRET"
    assert list(carol)[:4] == ["id", "username", "ilp_address", "asset_code"]
    assert b"carol-token" not in ask(node, "/accounts")[2].body
    assert ask(node, "/accounts/carol")[1] == carol


def test_balance(node: SmallSwitch) -> None:
    for authorization in (ADMIN, "bearer carol-token"):
        _, _, answer = ask(node, "/accounts/carol/balance", authorization)
        assert answer.body == b'{"asset_code":"ABC","balance":12.34}'


def test_status(node: SmallSwitch) -> None:
    _, body, _ = ask(node, "/status")
    carol = body["accounts"][-1]
    assert (carol["balance"], carol["links"]) == ("1234", {"btp": True})
    assert body["in_flight"] == 0


REFUSALS = [
    ("/accounts", "", 401),
    ("/accounts", "admin", 401),
    ("/accounts", "Bearer wrong", 401),
    ("/accounts", "Bearer carol-token", 401),
    ("/status", "Bearer carol-token", 401),
    ("/accounts/carol/balance", "", 401),
    ("/accounts/carol/balance", "Bearer wrong", 401),
    ("/accounts/alice/balance", "Bearer carol-token", 401),
    ("/accounts/alice/balance", "Bearer ", 401),
    ("/accounts/nobody/balance", "Bearer carol-token", 401),
    ("/accounts/nobody/balance", ADMIN, 404),
    ("/accounts/carol", "Bearer \udcff", 401),
]


@pytest.mark.parametrize(("path", "authorization", "wanted"), REFUSALS)
def test_refusals(node: SmallSwitch, path: str, authorization: str, wanted: int) -> None:
    status, body, answer = ask(node, path, authorization)
    assert (status, body["status"]) == (wanted, wanted)
    assert answer.content_type == "application/problem+json"
    assert body["title"] and body["detail"] and body["type"]
    assert (("WWW-Authenticate", "Bearer") in answer.headers) == (wanted == 401)


def test_method_and_unknown_paths(node: SmallSwitch) -> None:
    status, _, answer = ask(node, "/accounts", method="DELETE")
    assert (status, answer.headers) == (405, (("Allow", "GET, HEAD"),))
    for path in ("//[", "//[x]:y", "http://[", "//status"):
        assert api(node).answer("GET", path, ADMIN) is None
    for path in ("/nothing", "/accounts/a/b", "/accounts/carol/balance/x"):
        assert api(node).answer("GET", path, ADMIN) is None


def test_without_an_admin_token_nobody_is_admin(node: SmallSwitch) -> None:
    for authorization in ("", "Bearer ", "Bearer None"):
        answer = api(node, None).answer("GET", "/accounts", authorization)
        assert answer is not None and answer.status == 401


# What Rust prints for these (ryu).
NUMBERS = [
    (0, 9, "0.0"),
    (-500, 9, "-5e-7"),
    (5, 16, "5e-16"),
    (5, 4, "0.0005"),
    (1, 5, "0.00001"),
    (1, 6, "1e-6"),
    (15, 7, "1.5e-6"),
    (1234, 2, "12.34"),
    (-1234, 0, "-1234.0"),
    (10**15, 0, "1000000000000000.0"),
    (10**16, 0, "1e16"),
    (12 * 10**20, 0, "1.2e21"),
    (1, 255, "1e-255"),
]


@pytest.mark.parametrize(("amount", "scale", "text"), NUMBERS)
def test_numbers_as_interledger_rs_prints_them(amount: int, scale: int, text: str) -> None:
    assert json_number(amount, scale) == text
    assert json.loads(text) == pytest.approx(amount * 10.0**-scale)
