"""Typed control records: round trips, versions, damage."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core.store import Store
from fastilp.errors import StorageError, UsageError
from fastilp.storage.kinds import ACCOUNTS, TABLES, AccountRecord, TableRecord
from fastilp.storage.records import Kind

ALICE = AccountRecord(
    account_id=bytes(range(16)),
    username="alice",
    ilp_address="example.node.alice",
    asset_code="USD",
    asset_scale=9,
    routing_relation="Child",
    round_trip_time=500,
    max_packet_amount=2**64 - 1,
    min_balance=-(10**30),
    ilp_over_http_incoming_token=b"\0sealed",
)


def test_a_record_comes_back() -> None:
    key, value = ACCOUNTS.put(ALICE)
    assert key == b"account/alice"
    assert value[0] == ACCOUNTS.version == 3
    assert ACCOUNTS.unpack(key, value) == ALICE
    assert msgpack.unpackb(value[1:], ext_hook=lambda code, data: data)["asset_scale"] == 9


@dataclasses.dataclass(frozen=True)
class Anything:
    name: str
    value: int | str | bytes | bool | None


ANYTHING: Kind[Anything] = Kind("anything", Anything, lambda record: record.name)


@given(
    st.builds(
        Anything,
        name=st.text(max_size=20),
        value=st.integers() | st.text() | st.binary() | st.booleans() | st.none(),
    )
)
def test_every_value_comes_back(record: Anything) -> None:
    found = ANYTHING.unpack(*ANYTHING.put(record))
    assert found == record and type(found.value) is type(record.value)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_refused(value: bytes) -> None:
    try:
        record = ANYTHING.unpack(b"anything/x", value)
    except StorageError:
        return
    assert isinstance(record, Anything)


def test_a_newer_version_is_refused() -> None:
    key, value = ACCOUNTS.put(ALICE)
    with pytest.raises(StorageError, match="has version 4, this fastilp reads account records up"):
        ACCOUNTS.unpack(key, b"\4" + value[1:])


def test_an_older_version_is_raised_step_by_step() -> None:
    @dataclasses.dataclass(frozen=True)
    class Newest:
        title: str
        amount: int

    kind: Kind[Newest] = Kind(
        "thing",
        Newest,
        lambda record: record.title,
        upgrades=(
            lambda fields: {**fields, "amount": 7},
            lambda fields: {"title": fields["name"], "amount": fields["amount"] * 10},
        ),
    )
    assert kind.version == 3
    first = b"\1" + msgpack.packb({"name": "a"})
    second = b"\2" + msgpack.packb({"name": "a", "amount": 2})
    assert kind.unpack(b"thing/a", first) == Newest("a", 70)
    assert kind.unpack(b"thing/a", second) == Newest("a", 20)
    assert kind.unpack(*kind.put(Newest("a", 1))) == Newest("a", 1)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0\x80",
        b"\1",
        b"\1\xc1",
        b"\1" + msgpack.packb([1]),
        b"\1" + msgpack.packb({"name": "g"}),
        b"\1" + msgpack.packb({"name": "g", "entries": "{}", "more": 1}),
        b"\1" + msgpack.packb({"name": "g", "entries": msgpack.ExtType(9, b"")}),
        b"\1" + msgpack.packb({"name": "g", "entries": "{}"}) + b"more",
    ],
)
def test_what_is_no_record_is_refused(value: bytes) -> None:
    with pytest.raises(StorageError, match=r"record b'table/g' is"):
        TABLES.unpack(b"table/g", value)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "data"))
    yield store
    store.close()


def test_long_names_have_keys_of_their_own(store: Store) -> None:
    longest = TableRecord(name="g." + "a" * 1021, entries="{}")
    other = TableRecord(name="g." + "a" * 1020 + "b", entries="{}")
    store.write(1, puts=[TABLES.put(longest), TABLES.put(other)])
    assert TABLES.get(store, longest.name) == longest
    assert TABLES.get(store, other.name) == other


def test_only_plain_values_are_taken() -> None:
    with pytest.raises(UsageError, match="not list"):
        ANYTHING.put(Anything("a", []))  # type: ignore[arg-type]


def test_records_of_a_store(store: Store) -> None:
    tables = [TableRecord(name=name, entries="{}") for name in ("", "g.b", "g.a")]
    bob = dataclasses.replace(ALICE, username="bob")
    puts = [ACCOUNTS.put(ALICE), ACCOUNTS.put(bob), *map(TABLES.put, tables)]
    store.write(1, puts=puts)
    assert ACCOUNTS.get(store, "bob") == bob
    assert ACCOUNTS.get(store, "carol") is None
    assert list(ACCOUNTS.items(store)) == [ALICE, bob]
    assert [table.name for table in TABLES.items(store)] == ["", "g.a", "g.b"]
    store.write(2, deletes=[ACCOUNTS.key("alice")])
    assert list(ACCOUNTS.items(store)) == [bob]


def test_an_account_of_version_1_has_no_batch_protocol() -> None:
    """As the release before wrote it."""
    fields = {
        name: value
        for name, value in dataclasses.asdict(ALICE).items()
        if not name.startswith("ilp_over_batch_") and name not in ("min_balance", "origin")
    }
    first = b"\1" + msgpack.packb(fields)
    read = ACCOUNTS.unpack(b"account/alice", first)
    assert read == dataclasses.replace(ALICE, min_balance=None, origin="config")
    assert read.ilp_over_batch_url is None


def test_defaults_are_left_out() -> None:
    _, value = ACCOUNTS.put(ALICE)
    assert b"ilp_over_btp_url" not in value and b"round_trip_time" not in value
    assert len(value) < 250
