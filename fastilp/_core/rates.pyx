"""Conversion between assets: integers only, floor, and that in one place.

`rate` of an asset is the value of one standard unit; the ratio of a pair is rate_in / rate_out x (1
- spread) x 10^(scale_out - scale_in), reduced, numerator and denominator below 2^128. The spread is
that of the sender's account if it has one, else that of the pair, else the node's. A pair that does
not fit is refused when it is set, never approximated. May import counter."""

from decimal import Decimal
from fractions import Fraction

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastilp._core.counter cimport counter_from_int, counter_is_zero, ratio_apply, ratio_t

from fastilp.errors import UsageError

# Numerator and denominator have 128 bits, 38 digits; nothing longer can come to anything.
_DIGITS_MAX = 80
# Assets that the matrix has room for, 32 bytes for each pair. An account with a spread of its own
# counts as another asset.
_ASSETS_MAX = 1_024


def _fraction(value, what):
    if isinstance(value, float):
        raise UsageError(f"{what} must be exact: a string, Decimal or Fraction, not a float")
    try:
        exact = Decimal(value) if isinstance(value, str) and "/" not in value else value
        # An exponent in the thousands would be worked out digit by digit.
        if isinstance(exact, Decimal) and abs(exact.adjusted()) > _DIGITS_MAX:
            raise UsageError(f"{what} has more than {_DIGITS_MAX} digits")
        return Fraction(exact)
    except UsageError:
        raise
    except (TypeError, ValueError, ArithmeticError):
        raise UsageError(f"{what} {value!r} is not a number") from None


def spread_of(spread):
    """The exact Fraction. UsageError: not a number from 0 to below 1."""
    value = _fraction(spread, "spread")
    if not 0 <= value < 1:
        raise UsageError(f"spread must be at least 0 and below 1, not {spread}")
    return value


@cython.final
cdef class RateTable:
    def __init__(self):
        self._assets = []
        self._index = {}
        self._rates = {}
        self._spread = Fraction(0)
        self._pair_spreads = {}

    def __dealloc__(self):
        free(self._ratios)

    def set_rate(self, asset_code: str, rate):
        """Value of one standard unit. UsageError: not a positive number, or a pair beyond 128
        bits."""
        value = _fraction(rate, f"rate of {asset_code}")
        if value <= 0:
            raise UsageError(f"rate of {asset_code} must be positive, not {rate}")
        self._refill({**self._rates, asset_code: value}, self._spread, self._pair_spreads)

    def set_rates(self, rates):
        """Replace all rates at once; assets that are not named lose theirs."""
        table = RateTable()
        for code, rate in rates.items():
            table.set_rate(code, rate)
        self._refill(table._rates, self._spread, self._pair_spreads)

    def set_spread(self, spread):
        """Taken from every conversion between different asset codes."""
        self._refill(self._rates, spread_of(spread), self._pair_spreads)

    def set_pair_spreads(self, spreads):
        """(code in, code out) -> spread that is taken instead; replaces those there were."""
        exact = {pair: spread_of(spread) for pair, spread in spreads.items()}
        self._refill(self._rates, self._spread, exact)

    def fitting(self, rates):
        """Those of the rates that fit together, tried in order of their codes."""
        kept = {}
        for code in sorted(rates):
            tried = {**kept, code: _fraction(rates[code], f"rate of {code}")}
            try:
                for one in self._assets:
                    if one[0] != code:
                        continue
                    for other in self._assets:
                        self._ratio(one, other, tried, self._spread, self._pair_spreads)
                        self._ratio(other, one, tried, self._spread, self._pair_spreads)
            except UsageError:
                continue
            kept = tried
        return kept

    def rates(self):
        """Asset code -> Fraction."""
        return dict(self._rates)

    def add_asset(self, code: str, scale: int, spread=None):
        """Number of the asset, made if it is new; `spread` is that of an account."""
        return self.asset(code, scale, None if spread is None else spread_of(spread))

    def assets(self):
        """(code, scale, spread of the account or None) by number."""
        return list(self._assets)

    def apply(self, asset_in: int, asset_out: int, amount: int):
        """floor(amount x rate), None without a rate. OverflowError above 2**64 - 1."""
        cdef uint64_t converted = 0
        cdef int result = self.convert(asset_in, asset_out, amount, &converted)
        if result == RATE_OVERFLOW:
            raise OverflowError("converted amount is above 2**64 - 1")
        return converted if result == RATE_OK else None

    def _refill(self, rates, spread, pair_spreads):
        cdef uint32_t i, j
        # Every pair is computed before one is changed: a refused rate changes nothing.
        ratios = [
            [self._ratio(asset_in, asset_out, rates, spread, pair_spreads)
             for asset_out in self._assets]
            for asset_in in self._assets
        ]
        self._rates, self._spread, self._pair_spreads = rates, spread, pair_spreads
        for i in range(len(self._assets)):
            for j in range(len(self._assets)):
                self._fill(i, j, ratios[i][j])

    cdef uint32_t asset(self, str code, int scale, object spread) except? 0xFFFF_FFFF:
        cdef uint32_t index, other
        key = (code, scale, spread)
        if key in self._index:
            return self._index[key]
        index = len(self._assets)
        if index == _ASSETS_MAX:
            raise UsageError(
                f"{code}/{scale}: there are {_ASSETS_MAX} assets already (an account with a spread "
                "of its own counts as one)"
            )
        known = [*self._assets, key]
        there = [self._to(key, each) for each in known]
        back = [self._to(each, key) for each in known]
        if index == self._capacity:
            self._grow()
        self._assets.append(key)
        self._index[key] = index
        for other in range(index + 1):
            self._fill(index, other, there[other])
            self._fill(other, index, back[other])
        return index

    def _to(self, asset_in, asset_out):
        return self._ratio(asset_in, asset_out, self._rates, self._spread, self._pair_spreads)

    cdef _grow(self):
        cdef uint32_t capacity = self._capacity * 2 if self._capacity else 8
        cdef uint32_t i, j
        cdef ratio_t* ratios = <ratio_t*>calloc(<size_t>capacity * capacity, sizeof(ratio_t))
        if ratios == NULL:
            raise MemoryError()
        for i in range(self._capacity):
            for j in range(self._capacity):
                ratios[i * capacity + j] = self._ratios[i * self._capacity + j]
        free(self._ratios)
        self._ratios = ratios
        self._capacity = capacity

    cdef _fill(self, uint32_t asset_in, uint32_t asset_out, object exact):
        cdef ratio_t* ratio = &self._ratios[asset_in * self._capacity + asset_out]
        memset(ratio, 0, sizeof(ratio_t))
        if exact is not None:
            counter_from_int(&ratio.numerator, exact.numerator)
            counter_from_int(&ratio.denominator, exact.denominator)

    cdef _ratio(
        self, tuple asset_in, tuple asset_out, dict rates, object spread, dict pair_spreads
    ):
        """The pair's exact ratio, None where a rate is missing."""
        code_in, scale_in, own_spread = asset_in
        code_out, scale_out, _ = asset_out
        exact = Fraction(1)
        if code_in != code_out:
            if code_in not in rates or code_out not in rates:
                return None
            if own_spread is not None:
                spread = own_spread
            elif pair_spreads:
                spread = pair_spreads.get((code_in, code_out), spread)
            exact = rates[code_in] / rates[code_out] * (1 - spread)
        exact *= Fraction(10) ** (scale_out - scale_in)
        for part, name in ((exact.numerator, "numerator"), (exact.denominator, "denominator")):
            if part.bit_length() > 128:
                raise UsageError(
                    f"rate {code_in}/{scale_in} to {code_out}/{scale_out}: the {name} of the exact "
                    f"ratio has {part.bit_length() * 30_103 // 100_000 + 1} digits, at most 38 are "
                    "possible; "
                    "give a rate with fewer digits"
                )
        return exact

    cdef int convert(
        self, uint32_t asset_in, uint32_t asset_out, uint64_t amount, uint64_t* converted
    ) noexcept nogil:
        cdef ratio_t* ratio = &self._ratios[asset_in * self._capacity + asset_out]
        if asset_in == asset_out or amount == 0:
            converted[0] = amount
            return RATE_OK
        if counter_is_zero(&ratio.numerator):
            return RATE_MISSING
        return RATE_OVERFLOW if ratio_apply(amount, ratio, converted) else RATE_OK

    cdef uint64_t convertible(
        self, uint32_t asset_in, uint32_t asset_out, uint64_t maximum
    ) noexcept nogil:
        cdef ratio_t* ratio = &self._ratios[asset_in * self._capacity + asset_out]
        cdef ratio_t inverse
        cdef uint64_t amount = <uint64_t>-1
        inverse.numerator = ratio.denominator
        inverse.denominator = ratio.numerator
        ratio_apply(maximum, &inverse, &amount)
        return amount
