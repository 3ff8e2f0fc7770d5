"""Records of payments: ids in the order of time, pages of a list, newest first."""

import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core.store import Store
from fastilp.errors import UsageError
from fastilp.storage.kinds import TABLES, TableRecord
from fastilp.storage.payments import (
    PAYMENTS,
    PAYMENTS_OF,
    PaymentName,
    PaymentRecord,
    beginning_of,
    canonical_id,
    name_in_list,
    new_payment_id,
)

ALICE, BOB = b"A" * 16, b"B" * 16


def record(payment_id: str, account_id: bytes = ALICE) -> PaymentRecord:
    return PaymentRecord(
        payment_id=payment_id,
        account_id=account_id,
        username="alice",
        receiver="$bob.example",
        created_at_ms=1,
        changed_at_ms=2,
        state="running",
        source_asset_code="ABC",
        source_asset_scale=9,
        source_amount=2**64 - 1,
    )


@given(st.integers(0, 2**48 - 1))
def test_an_id_is_a_uuid_of_its_time(now_ms: int) -> None:
    found = uuid.UUID(new_payment_id(now_ms))
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == now_ms
    assert canonical_id(str(found).upper()) == str(found)


@given(st.lists(st.integers(0, 2**48 - 1), unique=True))
def test_lists_go_backwards_in_time(times: list[int]) -> None:
    ids = [new_payment_id(now_ms) for now_ms in sorted(times)]
    assert ids == sorted(ids)
    names = [name_in_list(ALICE, each) for each in ids]
    assert names == sorted(names, reverse=True)


@pytest.mark.parametrize("text", ["", "x", "0" * 31, "0" * 33, "-" * 36])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(UsageError):
        canonical_id(text)


def test_a_record_comes_back(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    wanted = record(new_payment_id(5))
    store.write(1, puts=[PAYMENTS.put(wanted)])
    assert PAYMENTS.get(store, wanted.payment_id) == wanted
    store.close()


@pytest.mark.parametrize("is_folded", [False, True])
def test_pages_are_the_whole_list(tmp_path: Path, is_folded: bool) -> None:
    store = Store(str(tmp_path))
    ids = {ALICE: [new_payment_id(each) for each in range(23)], BOB: [new_payment_id(7)]}
    store.write(1, puts=[TABLES.put(TableRecord(name="z", entries="{}"))])
    ticket = 1
    for account_id, of_account in ids.items():
        for payment_id in of_account:
            ticket += 1
            name = PaymentName(name=name_in_list(account_id, payment_id), payment_id=payment_id)
            store.write(ticket, puts=[PAYMENTS_OF.put(name)])
    if is_folded:
        store.close()
        store = Store(str(tmp_path))
    # Some are gone again, and not folded yet.
    for payment_id in ids[ALICE][5:15]:
        ticket += 1
        store.write(ticket, deletes=[PAYMENTS_OF.key(name_in_list(ALICE, payment_id))])
    left = [*ids[ALICE][:5], *ids[ALICE][15:]]
    for size in (1, 4, 13, 100):
        seen: list[str] = []
        after = ""
        while True:
            page = list(PAYMENTS_OF.page(store, beginning_of(ALICE), after, size))
            seen += [each.payment_id for each in page]
            if len(page) < size:
                break
            after = page[-1].name
        assert seen == left[::-1]
    assert [each.payment_id for each in PAYMENTS_OF.page(store, beginning_of(BOB), "", 9)] == ids[
        BOB
    ]
    assert list(PAYMENTS_OF.page(store, beginning_of(BOB), "", 0)) == []
    store.close()
