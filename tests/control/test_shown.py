"""Numbers as the API shows them."""

import json
from decimal import Decimal

import pytest

from fastilp.control.api.shown import json_number, rates_json

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


def test_rates_keep_their_digits() -> None:
    rates = {"B": Decimal("0.1234567890123456789012"), "A": Decimal(7), "C": Decimal("1E-7")}
    assert rates_json(rates) == b'{"A":7.0,"B":0.1234567890123456789012,"C":1e-7}'
