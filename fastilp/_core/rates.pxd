# Exact exchange rates between the assets of the switch, as a matrix of reduced ratios.

from libc.stdint cimport uint32_t, uint64_t

from fastilp._core.counter cimport ratio_t

cdef enum:
    RATE_OK = 0
    RATE_MISSING = 1
    RATE_OVERFLOW = 2


cdef class RateTable:
    cdef ratio_t* _ratios           # [from * capacity + to]; numerator 0 = no rate
    cdef uint32_t _capacity
    cdef list _assets               # (code, scale, spread of the account or None)
    cdef dict _index
    cdef dict _rates                # code -> Fraction
    cdef object _spread
    cdef dict _pair_spreads         # (code in, code out) -> Fraction

    # floor(amount x rate); RATE_OVERFLOW when that is above 2**64 - 1.
    cdef int convert(
        self, uint32_t asset_in, uint32_t asset_out, uint64_t amount, uint64_t* converted
    ) noexcept nogil
    # floor(maximum / rate), at most 2**64 - 1: what could be converted to no more than `maximum`.
    cdef uint64_t convertible(
        self, uint32_t asset_in, uint32_t asset_out, uint64_t maximum
    ) noexcept nogil

    # `spread`: Fraction, of accounts that have one of their own.
    cdef uint32_t asset(self, str code, int scale, object spread) except? 0xFFFF_FFFF
    cdef _grow(self)
    cdef _fill(self, uint32_t asset_in, uint32_t asset_out, object exact)
    cdef _ratio(
        self, tuple asset_in, tuple asset_out, dict rates, object spread, dict pair_spreads
    )
