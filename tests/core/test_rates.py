"""Conversion of amounts: exact, floor, and what does not convert.

The vectors are those of Interledger.rs (`exchange_rates_service.rs`), which calculates in doubles
and takes the spread between equal assets too. Ours are exact and take no spread where the asset
code is the same, so its same-asset spread vectors are asked between two assets of equal worth. Left
out: spreads below 0 and of 1 or more, and a rate of 1.8e308, which cannot be set here (see the
tests of bad rates and spreads).
"""

import random
import struct
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core.rates import RateTable
from fastilp.errors import UsageError
from tests.core.conftest import MakeHub
from tests.reference.hub import Hub
from tests.reference.kits import COMPILED
from tests.reference.lockstep import Kit
from tests.reference.packets import Prepare

U64_MAX = 2**64 - 1

# amount, spread, rate in, rate out, scale in, scale out -> amount out, or the code of the Reject
VECTORS: list[tuple[int, str, str, str, int, int, int | str]] = [
    (200, "0", "1", "2", 1, 1, 100),
    (1_000_000, "0", "3", "2", 1, 1, 1_500_000),
    (100, "0.01", "1", "2", 1, 1, 49),
    (4, "0.01", "1", "2", 1, 1, 1),
    (159_000_000_000, "0", "0.000009", "1", 3, 0, 1_431),
    (50, "0.11", "1", "1", 1, 1, 44),
    (1, "0", "1", "2", 1, 1, "R01"),
    (1, "0", "1", "1", 2, 1, "R01"),
    (10, "0", "1", "1", 128, 127, 1),
    (U64_MAX, "0", "1", "1", 0, 1, "F08"),
    (U64_MAX, "0", "2", "1", 1, 1, "F08"),
    # Ours: zero needs nothing, and nothing is lost above 2^53.
    (0, "0.5", "0.001", "1", 9, 0, 0),
    (U64_MAX, "0", "1", "1", 4, 4, U64_MAX),
    (2**53 + 1, "0", "1", "1", 9, 9, 2**53 + 1),
    (2**63 + 1, "0", "3", "3", 0, 0, 2**63 + 1),
    (U64_MAX, "0", "1", "10", 0, 1, U64_MAX),
    (U64_MAX, "0.5", "2", "1", 0, 0, U64_MAX),
    (3, "1/3", "1", "1", 0, 0, 2),
    (U64_MAX, "0", "1", "1.000000000000000001", 0, 0, U64_MAX - 19),
    *[(i, "0", "0.00000025", "0.25", 0, 6, i) for i in range(1, 100)],
]  # fmt: skip


def desk(kit: Kit, spread: str, rate_in: str, rate_out: str, scale_in: int, scale_out: int) -> Hub:
    hub = Hub(
        kit,
        alice={"asset_code": "ABC", "asset_scale": scale_in},
        bob={"asset_code": "XYZ", "asset_scale": scale_out},
    )
    hub.switch.set_rate("ABC", Fraction(rate_in))
    hub.switch.set_rate("XYZ", Fraction(rate_out))
    hub.switch.set_spread(Fraction(spread))
    return hub


def converted(hub: Hub, amount: int) -> int | str:
    hub.send(amount=amount)
    hub.run()
    for _, packet in hub.take(hub.b):
        assert isinstance(packet, Prepare)
        return packet.amount
    [(_, packet)] = hub.take(hub.a)
    code: bytes = packet.code
    return code.decode()


@pytest.mark.parametrize(
    ("amount", "spread", "rate_in", "rate_out", "scale_in", "scale_out", "expected"), VECTORS
)
def test_vectors(
    kit: Kit,
    amount: int,
    spread: str,
    rate_in: str,
    rate_out: str,
    scale_in: int,
    scale_out: int,
    expected: int | str,
) -> None:
    assert converted(desk(kit, spread, rate_in, rate_out, scale_in, scale_out), amount) == expected


@pytest.mark.parametrize(
    ("rate_in", "spread", "scale_out"),
    [("10", "0", 0), ("1.5", "0", 0), ("3", "1/7", 5), ("1", "0", 19), ("1234.5678", "0.002", 3)],
)
def test_maximum_of_f08_is_inclusive(kit: Kit, rate_in: str, spread: str, scale_out: int) -> None:
    """The data of the Reject: what came, and the largest amount that would have passed."""
    hub = desk(kit, spread, rate_in, "1", 0, scale_out)
    hub.send(amount=U64_MAX)
    hub.run()
    [(_, packet)] = hub.take(hub.a)
    received, maximum = struct.unpack(">QQ", packet.data)
    rate = Fraction(rate_in) * (1 - Fraction(spread)) * 10**scale_out
    assert (received, maximum) == (U64_MAX, U64_MAX * rate.denominator // rate.numerator)
    assert converted(hub, maximum) == maximum * rate.numerator // rate.denominator
    assert converted(hub, maximum + 1) == "F08"


def test_same_asset_needs_no_rate_and_takes_no_spread(make_hub: MakeHub) -> None:
    hub = make_hub(bob={"asset_scale": 12})
    hub.switch.set_spread("0.5")
    assert converted(hub, 7) == 7_000
    hub.switch.set_rate("USD", 17)
    assert converted(hub, 7) == 7_000


def test_rate_of_one_asset_only(make_hub: MakeHub) -> None:
    hub = make_hub(bob={"asset_code": "EUR"})
    assert converted(hub, 7) == "T00"
    hub.switch.set_rate("USD", 1)
    assert converted(hub, 7) == "T00"
    assert converted(hub, 0) == 0
    hub.switch.set_rate("EUR", 1)
    assert converted(hub, 7) == 7


def test_new_rate_leaves_what_is_in_flight(make_hub: MakeHub) -> None:
    hub = make_hub(bob={"asset_code": "EUR"})
    hub.switch.set_rate("USD", 1)
    hub.switch.set_rate("EUR", 2)
    sent_id = hub.forwarded(amount=100)
    hub.switch.set_rate("EUR", 4)
    hub.answer(sent_id)
    hub.run()
    assert hub.balances() == (-100, 50)
    hub.check_sums()


@pytest.mark.parametrize("rate", [0, -1, "0", "-0.5", Fraction(-1, 3)])
def test_bad_rates(hub: Hub, rate: Any) -> None:
    with pytest.raises(UsageError):
        hub.switch.set_rate("EUR", rate)


@pytest.mark.parametrize("spread", ["-0.01", 1, 2, "1.5"])
def test_bad_spreads(hub: Hub, spread: Any) -> None:
    with pytest.raises(UsageError):
        hub.switch.set_spread(spread)


# --- the compiled table by itself ---------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, "abc", None, Decimal("NaN"), Decimal("Infinity"), ""])
def test_inexact_and_unreadable_rates(rate: Any) -> None:
    table = RateTable()
    with pytest.raises(UsageError):
        table.set_rate("EUR", rate)
    assert table.rates() == {}


def test_pair_beyond_128_bits_is_refused_and_changes_nothing() -> None:
    """Never approximated: the message names the digits, and the old rates still hold."""
    table = RateTable()
    usd, eur = table.add_asset("USD", 9), table.add_asset("EUR", 2)
    table.set_rate("USD", 1)
    table.set_rate("EUR", "1.1")
    before = table.apply(usd, eur, 10**12)
    for rate in (Decimal(1).scaleb(-50), 2**128, Fraction(1, 3**90)):
        with pytest.raises(UsageError, match="digits"):
            table.set_rate("EUR", rate)
    with pytest.raises(UsageError, match="digits"):
        table.add_asset("USD", 60)
    assert table.rates() == {"USD": 1, "EUR": Fraction("1.1")}
    assert table.apply(usd, eur, 10**12) == before == 90_909


def test_account_whose_asset_cannot_be_converted_is_refused() -> None:
    hub = Hub(COMPILED)
    with pytest.raises(UsageError, match="digits"):
        hub.add("far", asset_scale=9 + 39)
    assert [account.name for account in hub.switch.accounts()] == ["alice", "bob"]


def test_set_rates_replaces_all() -> None:
    table = RateTable()
    usd, eur = table.add_asset("USD", 0), table.add_asset("EUR", 0)
    table.set_rates({"USD": 1, "EUR": 2})
    assert table.apply(usd, eur, 10) == 5
    table.set_rates({"USD": 1})
    assert table.apply(usd, eur, 10) is None
    with pytest.raises(UsageError):
        table.set_rates({"USD": 1, "EUR": 0})
    assert table.rates() == {"USD": 1}


NUMBERS = st.one_of(
    st.integers(1, 2**20), st.integers(1, 2**63), st.integers(2**60, 2**64), st.integers(1, 2**126)
)
AMOUNTS = st.one_of(
    st.integers(0, 1_000), st.integers(0, U64_MAX), st.integers(U64_MAX - 5, U64_MAX)
)


@given(NUMBERS, NUMBERS, st.integers(0, 3), st.integers(0, 3), AMOUNTS)
def test_against_fractions(
    numerator: int, denominator: int, scale_in: int, scale_out: int, amount: int
) -> None:
    table = RateTable()
    abc, xyz = table.add_asset("ABC", scale_in), table.add_asset("XYZ", scale_out)
    table.set_rate("XYZ", 1)
    rate = Fraction(numerator, denominator)
    exact = rate * Fraction(10) ** (scale_out - scale_in)
    both = (exact, 1 / exact, rate, 1 / rate)
    if any(part.numerator >> 128 or part.denominator >> 128 for part in both):
        with pytest.raises(UsageError):
            table.set_rate("ABC", rate)
        return
    table.set_rate("ABC", rate)
    expected = amount * exact.numerator // exact.denominator
    if expected > U64_MAX:
        with pytest.raises(OverflowError):
            table.apply(abc, xyz, amount)
    else:
        assert table.apply(abc, xyz, amount) == expected


def test_many_assets() -> None:
    """The table of pairs grows; every pair stays right."""
    dice = random.Random(11)
    table = RateTable()
    rates = {f"A{n}": Fraction(dice.randrange(1, 1000), dice.randrange(1, 1000)) for n in range(40)}
    index = {code: table.add_asset(code, 3) for code in rates}
    table.set_rates(dict(rates))
    for code_in, rate_in in rates.items():
        for code_out, rate_out in rates.items():
            expected = 10**9 * rate_in / rate_out
            assert table.apply(index[code_in], index[code_out], 10**9) == int(expected)
