"""Amounts of engines and units of accounts: exact, whatever the scales are."""

import random
from fractions import Fraction

import pytest

from fastilp.control.quantities import Quantity, QuantityError, parse_quantity, whole_units


@pytest.mark.parametrize(
    ("amount", "local", "remote", "units", "left"),
    [(905, 9, 11, 9, (5, 11)), (8053, 9, 12, 8, (53, 12)), (1, 9, 6, 1000, (0, 9))],
)
def test_eng_09_leftovers(
    amount: int, local: int, remote: int, units: int, left: tuple[int, int]
) -> None:
    """Vectors of Interledger.rs (`scale_with_precision_loss`)."""
    found, rest = whole_units(Quantity(amount, remote), Quantity(0, local), local)
    assert (found, rest) == (units, Quantity(*left))


def test_ten_thousand_conversions_lose_nothing() -> None:
    choice = random.Random(1)
    for scale in (0, 2, 9, 18, 255):
        leftover, credited, given = Quantity(0, scale), 0, Fraction(0)
        for _ in range(2_000):
            quantity = Quantity(choice.randrange(10 ** choice.randrange(60)), choice.randrange(256))
            units, leftover = whole_units(quantity, leftover, scale)
            credited += units
            given += Fraction(quantity.amount, 10**quantity.scale)
            assert Fraction(leftover.amount, 10**leftover.scale) < Fraction(1, 10**scale)
        kept = Fraction(leftover.amount, 10**leftover.scale)
        assert Fraction(credited, 10**scale) + kept == given


def test_the_widest_gap() -> None:
    units, rest = whole_units(Quantity(1, 0), Quantity(0, 255), 255)
    assert (units, rest) == (10**255, Quantity(0, 255))
    units, rest = whole_units(Quantity(10**255 - 1, 255), Quantity(1, 255), 0)
    assert (units, rest) == (1, Quantity(0, 0))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 60_000,
        b"[]",
        b"{}",
        b'{"amount":1,"scale":0}',
        b'{"amount":"-1","scale":0}',
        b'{"amount":"+1","scale":0}',
        b'{"amount":"1.0","scale":0}',
        b'{"amount":"1e9","scale":0}',
        b'{"amount":" 1","scale":0}',
        '{"amount":"٣","scale":0}'.encode(),
        b'{"amount":"","scale":0}',
        b'{"amount":"1"}',
        b'{"amount":"1","scale":256}',
        b'{"amount":"1","scale":-1}',
        b'{"amount":"1","scale":true}',
        b'{"amount":"1","scale":"9"}',
        b'{"amount":"1","scale":1.0}',
        b'{"amount":"' + b"9" * 513 + b'","scale":0}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_quantity(body: bytes) -> None:
    with pytest.raises(QuantityError):
        parse_quantity(body)


def test_what_is_one() -> None:
    assert parse_quantity(b'{"amount":"007","scale":255,"more":[]}') == Quantity(7, 255)
    assert parse_quantity(b'{"amount":"0","scale":0}') == Quantity(0, 0)
    assert Quantity(10**60, 18).json() == b'{"amount": "%d", "scale": 18}' % 10**60
