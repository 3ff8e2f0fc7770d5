"""The engine's histogram against exact quantiles of the same values."""

import math

from hypothesis import given
from hypothesis import strategies as st

from fastilp.loadtest.engine import Histogram

SHARES = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)
VALUE_MAX = (1 << 40) - 1


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def exact(values: list[int], share: float) -> int:
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@given(st.lists(st.integers(0, VALUE_MAX), min_size=1, max_size=300))
def test_quantiles_are_off_by_less_than_a_thousandth(values: list[int]) -> None:
    found = filled(values).summary(SHARES)
    for share, value in found["quantiles"]:
        wanted = exact(values, share)
        assert wanted <= value <= wanted * (1 + 1 / 1024)
    assert (found["count"], found["min"], found["max"]) == (len(values), min(values), max(values))
    assert found["mean"] == sum(values) / len(values)


@given(st.integers(0, VALUE_MAX))
def test_a_value_is_counted_where_it_is_found(value: int) -> None:
    [(upper, count)] = filled([value]).filled()
    assert count == 1
    assert value <= upper <= value * (1 + 1 / 1024)


def test_small_values_are_exact() -> None:
    assert filled(list(range(2048))).filled() == [(value, 1) for value in range(2048)]


def test_what_is_too_large_counts_as_the_largest() -> None:
    found = filled([1 << 50]).summary((0.5,))
    assert found["max"] == 1 << 50
    assert found["quantiles"][0][1] == VALUE_MAX


def test_an_empty_one_says_nothing() -> None:
    found = Histogram().summary((0.5,))
    assert (found["count"], found["mean"], found["quantiles"]) == (0, 0.0, [(0.5, 0)])
