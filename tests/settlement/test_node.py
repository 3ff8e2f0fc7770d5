"""Settlement of nodes as processes, over real sockets: two of them with an engine each, the
listener for engines, the API and the command line; and a node that is killed in between.
"""

import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastilp._core.packet import Prepare, decode
from tests.api.client import Api
from tests.cli.command import fastilp
from tests.helpers import until, wait_until
from tests.node_process import ADMIN_TOKEN, NodeProcess
from tests.settlement.rfc38_engine import PAY_AND_DROP, EngineThread, Rfc38Engine

CONDITION = bytes.fromhex("66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925")
LISTEN = 'settlement = "127.0.0.1:0"'
KILLS = 6


@pytest.fixture
def engine() -> Iterator[Rfc38Engine]:
    with EngineThread() as engine:
        yield engine


def accounts(engine_url: str, more: str = "") -> str:
    """alice pays, and `loop` fulfills: it is the account that is settled with."""
    return f"""
[[accounts]]
username = "alice"
asset_code = "ABC"
asset_scale = 9
ilp_over_http_incoming_token = "alice-token"
[[accounts]]
username = "loop"
asset_code = "ABC"
asset_scale = 9
endpoint = "loopback"
settle_threshold = 500
settle_to = 0
settlement_engine_url = "{engine_url}"
{more}
"""


def pay(node: NodeProcess, amount: int) -> None:
    prepare = Prepare(
        amount=amount,
        expires_at=round(time.time() * 1_000) + 20_000,
        execution_condition=CONDITION,
        destination="example.node.loop",
        data=b"",
    )
    decode(node.send("alice", bytes(prepare)))


def account_id(node: NodeProcess, username: str) -> str:
    found: str = node.get(f"/accounts/{username}")["id"]
    return found


def call(
    node: NodeProcess, path: str, body: bytes, key: str | None = None, token: str | None = None
) -> tuple[int, bytes]:
    """As an engine does."""
    request = urllib.request.Request(
        f"http://{node.ready()['settlement']}{path}", data=body, method="POST"
    )
    request.add_header("Content-Type", "application/json")
    if key is not None:
        request.add_header("Idempotency-Key", key)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_ws_24_threshold_and_credit(tmp_path: Path, engine: Rfc38Engine) -> None:
    with NodeProcess(tmp_path / "node", accounts(engine.url), listen=LISTEN) as node:
        pay(node, 499)
        assert node.balances() == {"alice": -499, "loop": 499} and not engine.paid
        pay(node, 1)
        until(lambda: engine.total_paid() == 500, node.log)
        assert node.balances() == {"alice": -500, "loop": 0}
        identifier = account_id(node, "loop")
        assert engine.accounts == {identifier}
        path = f"/accounts/{identifier}/settlements"
        for _ in range(2):
            status, body = call(node, path, b'{"amount":"1000","scale":12}', "0x01")
            assert (status, json.loads(body)) == (201, {"amount": "1000", "scale": 12})
        assert node.balances() == {"alice": -500, "loop": 1}
        assert call(node, path, b'{"amount":"1001","scale":12}', "0x01")[0] == 409
        assert call(node, path, b'{"amount":"1","scale":12}')[0] == 400
        # Nothing else is served there.
        assert call(node, "/accounts", b"{}")[0] == 404
        assert call(node, "/accounts/alice/ilp", b"")[0] in (401, 404)
        node.signal(15)
        assert node.wait() == 0
        node.check_books()


def test_bal_04_time_based_settlement(tmp_path: Path, engine: Rfc38Engine) -> None:
    """501 are due at once, 499 a second after they were earned."""
    more = "[settlement]\nsettle_every = 1\n"
    with NodeProcess(tmp_path / "node", accounts(engine.url, more), listen=LISTEN) as node:
        pay(node, 501)
        until(lambda: engine.total_paid() == 501, node.log)
        earned_at = time.time()
        pay(node, 499)
        assert node.balances()["loop"] == 499
        until(lambda: engine.total_paid() == 1_000, node.log)
        assert time.time() - earned_at >= 1.0
        wait_until(lambda: [each["state"] for each in node.get("/settlements")], ["sent"] * 2)
        assert [each["reason"] for each in node.get("/settlements")] == ["every", "threshold"]
        assert node.balances() == {"alice": -1_000, "loop": 0}


def test_tokens(tmp_path: Path, engine: Rfc38Engine) -> None:
    more = f"""
[settlement]
incoming_token = "sesame"
outgoing_tokens = {{ "{engine.url}" = "open" }}
"""
    with NodeProcess(tmp_path / "node", accounts(engine.url, more), listen=LISTEN) as node:
        path = f"/accounts/{account_id(node, 'loop')}/settlements"
        for token, status in ((None, 401), ("wrong", 401), ("sesame", 201)):
            assert call(node, path, b'{"amount":"1","scale":9}', "key", token)[0] == status
        pay(node, 600)
        until(lambda: engine.total_paid() == 600, node.log)
        assert {call.authorization for call in engine.calls} == {"Bearer open"}


def test_api_and_command_line(tmp_path: Path, engine: Rfc38Engine) -> None:
    with NodeProcess(tmp_path / "node", accounts(engine.url), listen=LISTEN) as node:
        api = Api(node)
        here = ("--node", f"http://{node.http}", "--auth", ADMIN_TOKEN)
        done = fastilp("settlements", "settle", "loop", *here)
        assert done.status == 1 and "nothing is to be settled" in done.stderr
        assert "give an amount to pay ahead" in done.stderr and "`update`" not in done.stderr
        engine.answers.append(400)
        begun = json.loads(fastilp("settlements", "settle", "loop", "--amount", "30", *here).stdout)
        assert (begun["state"], begun["amount"], begun["reason"]) == ("pending", "30", "manual")
        assert begun["next_try_at"] == begun["created_at"]
        shown = ("settlements", "show", begun["id"], *here)
        wait_until(lambda: json.loads(fastilp(*shown).stdout)["state"], "refused")
        [alert] = node.get("/alerts")
        assert alert["kind"] == "settlement_failing"
        found = json.loads(fastilp("settlements", "list", "--open", *here).stdout)
        assert [each["id"] for each in found] == [begun["id"]]
        table = fastilp("settlements", "list", "--table", *here).stdout
        assert begun["id"] in table and "refused" in table
        assert fastilp("settlements", "resolve", begun["id"], *here).status == 2
        retried = fastilp("settlements", "retry", begun["id"], *here)
        assert json.loads(retried.stdout)["state"] == "pending"
        until(lambda: engine.total_paid() == 30, node.log)
        wait_until(lambda: json.loads(fastilp(*shown).stdout)["state"], "sent")
        assert fastilp("settlements", "retry", begun["id"], *here).status == 1
        assert node.balances()["loop"] == -30
        text = node.request("/metrics", ADMIN_TOKEN).decode()
        assert "fastilp_settlements_sent 1.0" in text and "fastilp_settlement_tries 2.0" in text
        assert node.status_of("/settlements", "wrong") == 401
        assert node.status_of("/settlements/nothing", ADMIN_TOKEN) == 404
        assert node.status_of("/settlements?after=nothing", ADMIN_TOKEN) == 400
        assert node.status_of("/settlements?account=nobody", ADMIN_TOKEN) == 404
        api.close()


def test_resolve_and_pages(tmp_path: Path, engine: Rfc38Engine) -> None:
    with NodeProcess(tmp_path / "node", accounts(engine.url), listen=LISTEN) as node:
        here = ("--node", f"http://{node.http}", "--auth", ADMIN_TOKEN)
        begun: list[dict[str, Any]] = []
        for amount in (1, 2, 3):
            engine.answers.append(422)
            text = fastilp("settlements", "settle", "loop", "--amount", str(amount), *here).stdout
            begun.append(json.loads(text))
            shown = ("settlements", "show", begun[-1]["id"], *here)
            wait_until(lambda shown=shown: json.loads(fastilp(*shown).stdout)["state"], "refused")
        resolve = ("settlements", "resolve", begun[0]["id"], *here)
        done = json.loads(fastilp(*resolve, "--paid", "--external-id", "0xabc").stdout)
        assert (done["state"], done["external_id"]) == ("paid", "0xabc")
        done = json.loads(
            fastilp("settlements", "resolve", begun[1]["id"], *here, "--refunded").stdout
        )
        assert done["state"] == "refunded" and node.balances()["loop"] == -4
        limits = ("--limit", "2", "--account", "loop")
        page = json.loads(fastilp("settlements", "list", *limits, *here).stdout)
        assert [each["amount"] for each in page] == ["3", "2"]
        older = fastilp("settlements", "list", *limits, "--after", page[-1]["id"], *here).stdout
        assert [each["amount"] for each in json.loads(older)] == ["1"]


def test_api_19_engines_that_are_named_later(tmp_path: Path, engine: Rfc38Engine) -> None:
    config = accounts("").replace('settlement_engine_url = ""\n', "")
    with NodeProcess(tmp_path / "node", config, listen=LISTEN) as node:
        pay(node, 700)
        assert node.balances()["loop"] == 700
        named = ("--pair", "ABC", engine.url, "--node", f"http://{node.http}")
        fastilp("settlement-engines", "set-all", *named, "--auth", ADMIN_TOKEN)
        until(lambda: engine.total_paid() == 700, node.log)
        until(lambda: len(engine.accounts) == 2, node.log)
        assert node.balances()["loop"] == 0


def test_a_killed_node_pays_once(tmp_path: Path, engine: Rfc38Engine) -> None:
    choice = random.Random(1)
    node = NodeProcess(tmp_path / "node", accounts(engine.url), listen=LISTEN)
    fulfilled = 0
    with node:
        for number in range(KILLS):
            if number % 4 == 0:
                engine.answers.append(PAY_AND_DROP)
            for _ in range(choice.randrange(1, 4)):
                pay(node, 300)
                fulfilled += 300
            time.sleep(choice.random() * 0.05)
            node.kill()
            node.start()
        until(lambda: not node.get("/settlements?open=true"), node.log)
        balance = node.balances()["loop"]
        assert balance + engine.total_paid() == fulfilled and 0 <= balance < 500
        found = node.get("/settlements?limit=1000")
        assert sum(int(each["amount"]) for each in found) == engine.total_paid()
        assert {each["id"] for each in found} == set(engine.paid)
        node.signal(15)
        assert node.wait() == 0
        node.check_books()


# --- Two nodes ------------------------------------------------------------------------------------


def peer(name: str, port_token: str, url: str, engine_url: str) -> str:
    return f"""
[[accounts]]
username = "{name}"
asset_code = "ABC"
asset_scale = 9
ilp_address = "example.{name}"
routing_relation = "Peer"
ilp_over_btp_incoming_token = "{port_token}"
{url}
settlement_engine_url = "{engine_url}"
settle_threshold = 500
settle_to = 0
"""


def test_svc_06_messages_between_the_engines_of_two_nodes(tmp_path: Path) -> None:
    with EngineThread() as engine_a, EngineThread() as engine_b:
        engine_b.reply = b"\0 the address of B"
        a = NodeProcess(
            tmp_path / "a", peer("bob", "secret", "", engine_a.url), "example.alice", LISTEN
        )
        with a:
            url = f'ilp_over_btp_url = "btp+ws://{a.http}/accounts/bob/ilp/btp"\n'
            url += 'ilp_over_btp_outgoing_token = "secret"'
            b = NodeProcess(
                tmp_path / "b", peer("alice", "other", url, engine_b.url), "example.bob", LISTEN
            )
            with b:
                path = f"/accounts/{account_id(a, 'bob')}/messages"
                answers: list[tuple[int, bytes]] = []

                def is_answered() -> bool:
                    answers.append(call(a, path, b"where do I pay?"))
                    return answers[-1][0] == 201

                until(is_answered, a.log)
                assert answers[-1][1] == engine_b.reply
                [message] = [each for each in engine_b.calls if each.path.endswith("/messages")]
                assert message.body == b"where do I pay?"
                assert message.path == f"/accounts/{account_id(b, 'alice')}/messages"
                engine_b.reply = 500
                status, body = call(a, path, b"and now?")
                assert (status, json.loads(body)["code"]) == (502, "T00")
                assert a.balances() == {"bob": 0} and b.balances() == {"alice": 0}
