"""Calls with an `Idempotency-Key` happen once, also across threads, restarts and different keys."""

import threading
from pathlib import Path

from tests.api.client import Answer, Api
from tests.node_process import NodeProcess

BASE = {"asset_code": "ABC", "asset_scale": 9}


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def test_the_same_call_is_carried_out_once(api: Api) -> None:
    body = {"username": "once", **BASE}
    first = api.call("POST", "/accounts", body, headers=keyed("k-1"))
    again = api.call("POST", "/accounts", body, headers=keyed("k-1"))
    assert first.status == again.status == 200
    assert first.body == again.body
    assert again.headers["content-type"] == "application/json"
    # Another key is another call.
    assert api.call("POST", "/accounts", body, headers=keyed("k-2")).status == 409
    # Other input under the same key is refused, whatever differs.
    for method, path, sent in [
        ("POST", "/accounts", {**body, "username": "twice"}),
        ("PUT", "/accounts/once", body),
        ("DELETE", "/accounts/once", None),
        ("PUT", "/rates", {"ABC": 1}),
    ]:
        answer = api.call(method, path, sent, headers=keyed("k-1"))
        assert answer.status == 409
        assert answer.problem()["title"] == "Provided idempotency key is tied to other input"
    assert api.get("/accounts/twice").status == 404


def test_closing_an_account_again_says_the_same(api: Api) -> None:
    api.create("closed")
    first = api.call("DELETE", "/accounts/closed", headers=keyed("k-3"))
    again = api.call("DELETE", "/accounts/closed", headers=keyed("k-3"))
    assert first.status == again.status == 200 and first.body == again.body
    assert api.call("DELETE", "/accounts/closed").status == 404


def test_a_refused_call_may_be_tried_again(api: Api) -> None:
    assert api.call("PUT", "/routes/static/example.q", b"later", headers=keyed("k-4")).status == 404
    api.create("later")
    answer = api.call("PUT", "/routes/static/example.q", b"later", headers=keyed("k-4"))
    assert (answer.status, answer.body) == (200, b"later")


def test_keys_belong_to_who_calls(api: Api) -> None:
    api.create("holder", ilp_over_http_incoming_token="holder-token")
    change = {"settle_to": 5}
    path = "/accounts/holder/settings"
    assert api.call("PUT", path, change, headers=keyed("k-5")).status == 200
    other = api.call("PUT", path, {"settle_to": 6}, token="holder-token", headers=keyed("k-5"))
    assert (other.status, other.json()["settle_to"]) == (200, 6)
    for wrong in ("", "x" * 256):
        assert api.call("PUT", path, change, headers=keyed(wrong)).status == 400
    # A key opens nothing.
    assert api.call("PUT", path, change, token="wrong", headers=keyed("k-5")).status == 401


def test_two_at_the_same_time_are_one(node: NodeProcess) -> None:
    answers: list[Answer] = []

    def call() -> None:
        client = Api(node)
        body = {"username": "race", **BASE}
        answers.append(client.call("POST", "/accounts", body, headers=keyed("k-6")))
        client.close()

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1


def test_answers_outlive_the_node(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "node", "") as node:
        api = Api(node)
        body = {"username": "kept", **BASE}
        first = api.call("POST", "/accounts", body, headers=keyed("k-7"))
        api.close()
        node.kill()
        node.start()
        api = Api(node)
        assert api.call("POST", "/accounts", body, headers=keyed("k-7")) == first
        api.close()
