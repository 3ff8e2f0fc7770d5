# cython: language_level=3
"""What a user of the shipped .pxd writes: a loop over packets that makes no Python object per
packet."""

from libc.stdint cimport uint8_t, uint64_t

from fastilp._core.packet cimport PrepareFields, prepare_parse


def total(list packets):
    """Sum of the amounts of those packets that are valid Prepares."""
    cdef PrepareFields fields
    cdef uint64_t amount = 0
    cdef bytes packet
    for packet in packets:
        if prepare_parse(<const uint8_t*><const char*>packet, len(packet), &fields) == 0:
            amount += fields.amount
    return amount
