"""Quantities: what is taken off the wire, and conversions that lose nothing."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp.engines.quantity import AMOUNT_DIGITS_MAX, Quantity
from fastilp.errors import DecodeError

quantities = st.builds(Quantity, st.integers(0, 10**80), st.integers(0, 255))


def value(quantity: Quantity) -> Fraction:
    return Fraction(quantity.amount, 10**quantity.scale)


# RFC 38's rows ENG-09: amount, its scale, ours; what is whole, what is left.
@pytest.mark.parametrize(
    ("amount", "scale", "own", "whole", "rest"),
    [(905, 11, 9, 9, 5), (8053, 12, 9, 8, 53), (1, 6, 9, 1000, 0), (7, 9, 9, 7, 0)],
)
def test_scale_with_precision_loss(
    amount: int, scale: int, own: int, whole: int, rest: int
) -> None:
    assert Quantity(amount, scale).split(own) == (Quantity(whole, own), Quantity(rest, scale))


@given(quantities, st.integers(0, 255))
def test_a_split_loses_nothing(quantity: Quantity, scale: int) -> None:
    whole, rest = quantity.split(scale)
    assert value(whole) + value(rest) == value(quantity)
    assert whole.scale == scale and value(rest) < Fraction(1, 10**scale)


@given(quantities, quantities)
def test_a_sum_loses_nothing(one: Quantity, other: Quantity) -> None:
    assert value(one + other) == value(one) + value(other)


@given(quantities)
def test_json_and_back(quantity: Quantity) -> None:
    assert Quantity.of_json(quantity.to_json()) == quantity


BAD: list[Any] = [
    None, [], "100", 100, {}, {"amount": "1"}, {"scale": 1}, {"amount": 1, "scale": 1},
    {"amount": "-1", "scale": 1}, {"amount": "1.0", "scale": 1}, {"amount": "", "scale": 1},
    {"amount": "\u0661", "scale": 1}, {"amount": "1\n", "scale": 1}, {"amount": "1", "scale": -1},
    {"amount": "1", "scale": 256}, {"amount": "1", "scale": True}, {"amount": "1", "scale": "1"},
    {"amount": "1", "scale": 1.0}, {"amount": "1" * (AMOUNT_DIGITS_MAX + 1), "scale": 1},
]  # fmt: skip


@pytest.mark.parametrize("given_value", BAD)
def test_what_is_no_quantity_is_refused(given_value: Any) -> None:
    with pytest.raises(DecodeError, match="must be"):
        Quantity.of_json(given_value)
