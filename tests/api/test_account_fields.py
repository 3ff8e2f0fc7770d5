"""Every field of an account as Interledger.rs has it; a test per row of its inventory, by id."""

import uuid
from typing import Any

import pytest

from tests.api.client import Answer, Api

U64_MAX = 2**64 - 1
I64_MAX = 2**63 - 1
# In the order in which Interledger.rs shows them.
FIELDS = [
    "id", "username", "ilp_address", "asset_code", "asset_scale", "max_packet_amount",
    "min_balance", "ilp_over_http_url", "ilp_over_http_incoming_token",
    "ilp_over_http_outgoing_token", "ilp_over_btp_url", "ilp_over_btp_incoming_token",
    "ilp_over_btp_outgoing_token", "settle_threshold", "settle_to", "routing_relation",
    "round_trip_time", "packets_per_minute_limit", "amount_per_minute_limit",
    "settlement_engine_url",
]  # fmt: skip
BASE = {"asset_code": "ABC", "asset_scale": 9}


def post(api: Api, **fields: Any) -> Answer:
    return api.call("POST", "/accounts", fields)


def refused(api: Api, field: str, value: Any) -> None:
    """The field, and only that, is named."""
    answer = post(api, **{"username": "refused", **BASE, field: value})
    assert (answer.status, answer.problem()["invalid-params"]) == (400, [{"name": field}]), value
    assert api.get("/accounts/refused").status == 404


def test_unknown_fields_are_ignored_and_numbers_may_be_strings(api: Api) -> None:
    found = api.create("strings", asset_scale="9", min_balance="-1000", prepaid_balance="7")
    assert (found["asset_scale"], found["min_balance"]) == (9, -1000)
    assert "prepaid_balance" not in found


def test_acc_01_username(api: Api) -> None:
    # NFKC: a full-width letter is the letter.
    assert api.create("\uff42ob_1")["username"] == "bob_1"
    assert api.get("/accounts/bob_1").status == 200
    assert api.create("\u00e9lodie", ilp_address="example.elodie")["username"] == "\u00e9lodie"
    assert api.get("/accounts/%C3%A9lodie").status == 200
    # Changed on purpose: two names that Interledger.rs calls equal cannot both be there.
    answer = post(api, username="BOB_1", **BASE)
    assert (answer.status, answer.problem()["detail"]) == (409, "account `bob_1` already exists")
    for wrong in ("a", "a" * 33, "a b", "a-b", "", 5, True, ["ab"]):
        refused(api, "username", wrong)
    missing = post(api, **BASE).problem()
    assert missing["invalid-params"] == [{"name": "username", "type": "missing"}]


def test_acc_02_ilp_address(api: Api) -> None:
    assert api.create("addr_1")["ilp_address"] == "example.node.addr_1"
    assert api.create("addr_2", ilp_address="g.other")["ilp_address"] == "g.other"
    for wrong in ("", "nonsense", "g", "g..a", "g.a b", 7):
        refused(api, "ilp_address", wrong)
    # One address, one account.
    assert post(api, username="addr_3", ilp_address="g.other", **BASE).status == 409
    # A name that no address can hold needs an address.
    assert post(api, username="\u00e9ric", **BASE).status == 400


def test_acc_03_asset_code(api: Api) -> None:
    assert api.create("code_1", asset_code="xyz")["asset_code"] == "XYZ"
    for wrong in ("", " ", 5, "x" * 33, "a\nb", "\u0149" * 16):
        refused(api, "asset_code", wrong)
    missing = post(api, username="code_2", asset_scale=9).problem()
    assert missing["invalid-params"] == [{"name": "asset_code", "type": "missing"}]


def test_acc_04_asset_scale(api: Api) -> None:
    assert api.create("scale_1", asset_scale=0)["asset_scale"] == 0
    assert api.create("scale_2", asset_code="S255", asset_scale="255")["asset_scale"] == 255
    for wrong in (256, -1, "", "x", 1.5, True, 2**64):
        refused(api, "asset_scale", wrong)


def test_acc_05_max_packet_amount(api: Api) -> None:
    assert api.create("packet_1")["max_packet_amount"] == U64_MAX
    assert api.create("packet_2", max_packet_amount=str(U64_MAX))["max_packet_amount"] == U64_MAX
    assert api.create("packet_3", max_packet_amount=0)["max_packet_amount"] == 0
    for wrong in (2**64, -1, "1e99", "NaN", 0.5):
        refused(api, "max_packet_amount", wrong)


def test_acc_06_min_balance(api: Api) -> None:
    assert api.create("floor_1")["min_balance"] is None
    assert api.create("floor_2", min_balance=-(2**63))["min_balance"] == -(2**63)
    for wrong in (2**63, -(2**63) - 1, "-", {}):
        refused(api, "min_balance", wrong)


def test_acc_07_ilp_over_http_url(api: Api) -> None:
    url = "http://localhost:8770/accounts/node_a/ilp"
    assert api.create("http_1", ilp_over_http_url=url)["ilp_over_http_url"] == url
    for wrong in ("", "ftp://a/b", "http://", "localhost:7770", 5):
        refused(api, "ilp_over_http_url", wrong)


@pytest.mark.parametrize(
    "field",
    ["ilp_over_http_incoming_token", "ilp_over_http_outgoing_token",
     "ilp_over_btp_outgoing_token", "ilp_over_btp_incoming_token"],
    ids=["acc_08", "acc_09", "acc_11_outgoing", "acc_11_incoming"],
)  # fmt: skip
def test_acc_tokens(api: Api, field: str) -> None:
    username = f"tok_{field[9:25]}"
    found = api.create(username, **{field: "user:secret-1"})
    assert found[field] == "SECRET"
    if field == "ilp_over_http_incoming_token":
        # It is the account's API password, too.
        assert api.get(f"/accounts/{username}", token="user:secret-1").status == 200
        assert api.get(f"/accounts/{username}", token="user:secret-2").status == 401
    for wrong in ("", "with space", "\u00e9", "line\n", 5):
        refused(api, field, wrong)


def test_acc_10_ilp_over_btp_url(api: Api) -> None:
    for number, scheme in enumerate(("ws", "wss", "btp+ws", "btp+wss")):
        url = f"{scheme}://127.0.0.1:1/x"
        assert api.create(f"btp_{number}", ilp_over_btp_url=url)["ilp_over_btp_url"] == url
    links = api.get("/accounts/btp_0/status").json()["links"]
    assert links == {"btp": False}
    refused(api, "ilp_over_btp_url", "http://127.0.0.1:1/x")


def test_acc_12_settle_threshold(api: Api) -> None:
    # Alone it has no effect, and is no error.
    assert api.create("settle_1", settle_threshold="-5")["settle_threshold"] == -5
    refused(api, "settle_threshold", 2**63)


def test_acc_13_settle_to(api: Api) -> None:
    found = api.create("settle_2", settle_threshold=0, settle_to=-1000000)
    assert (found["settle_threshold"], found["settle_to"]) == (0, -1000000)
    refused(api, "settle_to", 2**63)
    # The holder's own form takes no negative ones.
    answer = api.call("PUT", "/accounts/settle_2/settings", {"settle_to": -1})
    assert answer.problem()["invalid-params"] == [{"name": "settle_to"}]
    answer = api.call("PUT", "/accounts/settle_2/settings", {"settle_to": str(I64_MAX)})
    assert answer.json()["settle_to"] == I64_MAX


def test_acc_14_routing_relation(api: Api) -> None:
    assert api.create("relation_0")["routing_relation"] == "NonRoutingAccount"
    for number, text in enumerate(("peer", "CHILD", "nonroutingaccount", "Parent")):
        found = api.create(f"relation_{number + 1}", routing_relation=text)
        assert found["routing_relation"].lower() == text.lower()
    assert api.get("/routes").json()[""] == "relation_4"
    # A second Parent: Interledger.rs says 500.
    assert post(api, username="relation_5", routing_relation="Parent", **BASE).status == 409
    refused(api, "routing_relation", "Uncle")
    # Gone, it can come again, which Interledger.rs does not allow.
    assert api.call("DELETE", "/accounts/relation_4").status == 200
    assert "" not in api.get("/routes").json()
    api.create("relation_4", routing_relation="Parent")
    assert api.call("DELETE", "/accounts/relation_4").status == 200


def test_acc_15_round_trip_time(api: Api) -> None:
    assert api.create("rtt_1")["round_trip_time"] == 500
    assert api.create("rtt_2", round_trip_time="30000")["round_trip_time"] == 30_000
    # Changed on purpose: more than a packet is ever held makes no sense.
    refused(api, "round_trip_time", 30_001)


def test_acc_16_packets_per_minute_limit(api: Api) -> None:
    found = api.create("ppm_1", packets_per_minute_limit=str(2**32 - 1))
    assert found["packets_per_minute_limit"] == 2**32 - 1
    refused(api, "packets_per_minute_limit", 2**32)


def test_acc_17_amount_per_minute_limit(api: Api) -> None:
    assert (
        api.create("apm_1", amount_per_minute_limit=U64_MAX)["amount_per_minute_limit"] == U64_MAX
    )
    refused(api, "amount_per_minute_limit", U64_MAX + 1)


def test_acc_18_settlement_engine_url(api: Api) -> None:
    url = "http://127.0.0.1:3000"
    assert api.create("engine_1", settlement_engine_url=url)["settlement_engine_url"] == url
    # Interledger.rs drops one that it cannot read without a word.
    refused(api, "settlement_engine_url", "not a url")


def test_acc_19_response_form(api: Api) -> None:
    answer = api.call("POST", "/accounts", {"username": "form", **BASE})
    found = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert list(found)[: len(FIELDS)] == FIELDS
    assert uuid.UUID(found["id"]).version == 4
    for name in FIELDS:
        if name.endswith("_token"):
            assert found[name] == "SECRET"
    for name in ("min_balance", "settle_threshold", "ilp_over_http_url", "settlement_engine_url"):
        assert found[name] is None
    # Compact, in the order of the fields.
    assert (
        answer.body.startswith(b'{"id":"') and b'","username":"form","ilp_address"' in answer.body
    )
    assert api.get("/accounts/form").body == answer.body
