"""What an operator sees of an engine and does to it: `/admin` of its API, and the commands."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from fastilp.engines import EngineSettings, Quantity, holdings
from fastilp.engines.conformance.calls import Calls, Reply
from fastilp.engines.conformance.connector import Seen
from fastilp.engines.context import OwnChange, Records
from fastilp.engines.host import Host
from fastilp.engines.parking import credit_parked, park, parked_count
from tests.cli.command import Done, fastilp
from tests.engines.world import ACCOUNT, ListEngine, connector, fresh, running, settings, until

pytestmark = pytest.mark.asyncio
ONE = {"amount": "100", "scale": 9}


def parking() -> type[ListEngine]:
    class Parking(fresh()):  # type: ignore[misc]
        parks = True

        def ledger_id(self, records: Records, key: str) -> str | None:
            return f"id-of-{key}" if records.get(f"paid/{key}") is not None else None

        def remarks(self) -> dict[str, str]:
            return {"held": "nobody knows why"}

    return Parking


async def asked(calls: Calls, path: str, status: int = 200) -> Any:
    reply = await calls.call("GET", f"/admin/{path}")
    assert reply.status == status, reply.body
    return orjson.loads(reply.body)


def nobody(tmp_path: Path, **more: Any) -> EngineSettings:
    """No connector is there, so that credits wait."""
    return settings(tmp_path, connector_url="http://127.0.0.1:1", **more)


async def credit(calls: Calls, key: str, account_id: Any) -> Reply:
    body = orjson.dumps({"account": account_id})
    return await calls.call("POST", f"/admin/parked/{key}/credit", body)


def keep(host: Host, *payments: tuple[str, str, int]) -> None:
    with host.engine.context.change() as change:
        for owner, key, units in payments:
            park(change, owner, key, units, sender="r")


async def paged(calls: Calls, what: str, query: str) -> list[str]:
    """Keys, over all pages."""
    found, after = [], ""
    while True:
        page = await asked(calls, f"{what}?{query}&after={after}")
        found += [each["key"] for each in page[what]]
        after = page["next"]
        if after is None:
            return found


async def test_payments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdings, "SLICE", 2)
    kind = parking()
    async with running(kind, settings(tmp_path)) as (host, calls):
        for account_id in (ACCOUNT, "bob"):
            await calls.create(account_id)
        for number in range(5):
            await calls.settle((ACCOUNT, "bob")[number % 2], ONE, f"key-{number}")
        await until(lambda: len(kind.paid) == 5 and not host._payments.outbox.waiting())
        kind.fail_send = 10**6
        await calls.settle("bob", ONE, "held")
        await calls.settle("bob", {"amount": "1", "scale": 30}, "fine")
        await until(lambda: kind.calls["send"] > 7)
        every = ["key-4", "key-3", "key-2", "key-1", "key-0", "held", "fine"]
        for limit in (1, 2, 3, 100):
            assert await paged(calls, "payments", f"limit={limit}") == every
            theirs = await paged(calls, "payments", f"limit={limit}&account={ACCOUNT}")
            assert theirs == ["key-4", "key-2", "key-0"]
            assert await paged(calls, "payments", f"limit={limit}&open=true") == ["held"]
        shown = await asked(calls, "payments/key-3")
        assert shown.pop("created_at") <= shown.pop("done_at")
        assert shown == {
            "key": "key-3", "account": "bob", "amount": "100", "scale": 9,
            "units": str(100 * 10**9), "units_scale": 18, "state": "done", "tries": 0,
            "error": None, "ledger_id": "id-of-key-3",
        }  # fmt: skip
        held = await asked(calls, "payments/held")
        assert (held["state"], held["error"]) == ("waiting", "on command")
        assert held["tries"] > 0 and held["done_at"] is None
        assert (await asked(calls, "payments/fine"))["units"] == "0"
        assert "payment held: nobody knows why" in host.problems()
        await asked(calls, "payments/nothing", 404)


async def test_a_page_looks_at_so_many_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdings, "SLICE", 2)
    monkeypatch.setattr(holdings, "SLICES_MAX", 1)
    kind = fresh()
    async with running(kind, settings(tmp_path)) as (_, calls):
        await calls.create(ACCOUNT)
        for number in range(6):
            await calls.settle(ACCOUNT, ONE, f"key-{number}")
        page = await asked(calls, "payments?account=bob")
        assert page == {"payments": [], "next": "key-4"}
        assert await paged(calls, "payments", "account=bob") == []


async def test_a_parked_payment_is_credited_once(tmp_path: Path) -> None:
    """However often it is said, at the same time, after a restart, and when its owner is known."""
    async with connector() as stand_in:
        stand_in.accounts["bob"] = Seen()
        chosen = settings(tmp_path, connector_url=stand_in.url)
        async with running(parking(), chosen) as (host, calls):
            for account_id in (ACCOUNT, "bob"):
                await calls.create(account_id)
            keep(host, ("0xaa", "one", 2**200), ("0xaa", "two", 7), ("0xbb", "three", 5))
            stand_in.failures.extend(["fail", "lose", "hang up"])
            replies = await asyncio.gather(*(credit(calls, "one", ACCOUNT) for _ in range(5)))
            assert [reply.status for reply in replies] == [200] * 5
            await until(lambda: "one" in stand_in.accounts[ACCOUNT].credits)
            assert (await credit(calls, "one", "bob")).status == 409
            assert [each["key"] for each in (await asked(calls, "parked"))["parked"]] == [
                "two",
                "three",
            ]
            keep(host, ("0xaa", "one", 2**200))
        async with running(parking(), chosen) as (host, calls):
            await until(lambda: host._credits.outbox.waiting_count == 0)
            again = orjson.loads((await credit(calls, "one", ACCOUNT)).body)
            assert again == {
                "key": "one", "account": ACCOUNT, "amount": str(2**200), "scale": 18,
                "state": "done",
            }  # fmt: skip
            with host.engine.context.change() as change:
                assert parked_count(change) == 2
                credit_parked(change, "bob", "0xaa", 18)
            assert (await credit(calls, "two", ACCOUNT)).status == 409
            assert (await credit(calls, "two", "bob")).status == 200
            await until(lambda: "two" in stand_in.accounts["bob"].credits)
        units = {n: s.credits for n, s in stand_in.accounts.items()}
        assert {key: each.amount for key, each in units[ACCOUNT].items()} == {"one": 2**200}
        assert {key: each.amount for key, each in units["bob"].items()} == {"two": 7}
        assert stand_in.remarks == []


async def test_a_crash_in_the_middle_credits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(parking(), nobody(tmp_path)) as (host, calls):
        await calls.create(ACCOUNT)
        keep(host, ("0xaa", "one", 7))

        def broken(*_: Any) -> bool:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            # The last thing that is written: the credit is in the transaction already.
            patched.setattr(OwnChange, "delete", broken)
            assert (await credit(calls, "one", ACCOUNT)).status == 500
        with host.engine.context.read() as records:
            assert not records.is_credited("one") and parked_count(records) == 1
        assert (await credit(calls, "one", ACCOUNT)).status == 200
        with host.engine.context.read() as records:
            assert records.credited_to("one") == ACCOUNT and parked_count(records) == 0


async def test_what_is_refused(tmp_path: Path) -> None:
    async with running(parking(), nobody(tmp_path)) as (host, calls):
        await calls.create(ACCOUNT)
        keep(host, ("0xaa", "one", 7))
        for key, account_id, status in [
            ("none", ACCOUNT, 404),
            ("one", "nobody", 404),
            ("one", "", 400),
            ("one", 7, 400),
            ("x" * 600, ACCOUNT, 400),
            ("%00", ACCOUNT, 400),
            ("%ed%a0%80", ACCOUNT, 404),
        ]:
            reply = await credit(calls, key, account_id)
            assert reply.status == status, (key, account_id, reply.body)
            assert orjson.loads(reply.body)["detail"]
        for body in (b"", b"[]", b"{", b'{"account":"alice","amount":"9"}'):
            assert (await calls.call("POST", "/admin/parked/one/credit", body)).status == 400
        for query in ("limit=0", "limit=1001", "limit=x", "after=%00", "after=" + "x" * 501, "a=b"):
            for what in ("payments", "parked", "accounts"):
                await asked(calls, f"{what}?{query}", 400)
        await asked(calls, "payments?open=yes", 400)
        with host.engine.context.read() as records:
            assert parked_count(records) == 1 and not records.is_credited("one")


async def test_an_engine_that_parks_nothing_says_so(tmp_path: Path) -> None:
    async with running(fresh(), settings(tmp_path)) as (_, calls):
        await calls.create(ACCOUNT)
        assert b"parks no payments" in (await credit(calls, "one", ACCOUNT)).body
        await asked(calls, "parked", 404)
        await asked(calls, "payments")


async def test_the_token_is_for_operators_too(tmp_path: Path) -> None:
    async with running(parking(), nobody(tmp_path, incoming_token="sesame")) as (_, calls):
        for what in ("accounts", "payments", "payments/one", "parked"):
            await asked(calls, what, 401)
        assert (await credit(calls, "one", ACCOUNT)).status == 401


async def test_accounts(tmp_path: Path) -> None:
    async with running(fresh(), settings(tmp_path)) as (_, calls):
        for name in ("a", "b", "c"):
            await calls.create(name)
        await calls.settle("b", {"amount": "11", "scale": 19})
        page = await asked(calls, "accounts?limit=2")
        assert [each["id"] for each in page["accounts"]] == ["a", "b"]
        assert page["accounts"][1] == {
            "id": "b", "state": "ready", "error": None, "peer": {},
            "leftover": {"amount": "1", "scale": 19},
        }  # fmt: skip
        page = await asked(calls, f"accounts?limit=2&after={page['next']}")
        assert [each["id"] for each in page["accounts"]] == ["c"] and page["next"] is None


async def test_commands(tmp_path: Path) -> None:
    kind = parking()
    async with running(kind, nobody(tmp_path, incoming_token="sesame")) as (host, calls):
        file = tmp_path / "engine.toml"
        file.write_text(
            f'settlement_api_bind_address = "{host.address}"\nincoming_token = "sesame"\n'
            'private_key = "of the engine itself"\n'
        )

        async def typed(*words: str, config: bool = True) -> Done:
            where = ("--config", str(file)) if config else ("--engine", f"http://{host.address}")
            return await asyncio.to_thread(fastilp, "engine", *words, *where)

        headers = {"Authorization": "Bearer sesame"}
        await calls.call("POST", "/accounts", b'{"id":"alice"}', headers)
        keep(host, ("tag-7", "one", 1_500_000_000_000_000_000))
        listed = await typed("parked", "list", "--table")
        assert "tag-7  1.500000000000000000  sender r" in listed.stdout
        done = await typed("parked", "credit", "one", "--account", "alice")
        assert '"account":"alice","amount":"1500000000000000000"' in done.stdout
        assert "nothing is parked" in (await typed("parked", "list", "--table")).stdout
        assert "alice" in (await typed("accounts", "--table")).stdout
        refused = await typed("parked", "credit", "none", "--account", "alice")
        assert refused.status != 0 and "there is no parked payment none" in refused.stderr
        host.settle("alice", Quantity(5, 18), "paid")
        await until(lambda: kind.paid)
        listed = await typed("payments", "list", "--table", "--limit", "1")
        assert "id-of-paid" in listed.stdout
        shown = await typed("payments", "show", "paid", "--json")
        assert '"key":"paid","account":"alice","amount":"5","scale":18' in shown.stdout
        unknown = await typed("payments", "list", config=False)
        assert "give --token" in unknown.stderr
