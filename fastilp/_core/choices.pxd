# Next hops of a prefix that has more than one: which come in which order, or share the traffic.

from libc.stdint cimport uint32_t

cdef enum:
    ROUTE_CHOICES_MAX = 8
    # In a target of the forwarding table: the rest of it is the index of a group.
    ROUTE_GROUP = 0x8000_0000
    # Groups at a time; a prefix beyond that has its best next hop only.
    ROUTE_GROUPS_MAX = 65_536


cdef struct RouteGroup:
    uint32_t count
    uint32_t shared             # the first ones, that share by weight; 0 = the first one takes all
    uint32_t weight             # of all that share, together
    uint32_t uses               # prefixes that have it
    uint32_t[ROUTE_CHOICES_MAX] accounts
    uint32_t[ROUTE_CHOICES_MAX] weights


cdef class RouteChoices:
    cdef RouteGroup* groups
    cdef uint32_t _capacity
    cdef uint32_t _count
    cdef list _free                 # indexes of groups that nobody uses
    cdef dict _indexes              # (accounts, weights) -> index

    # The target for these accounts, one more use of it. Raises MemoryError.
    cdef uint32_t take(self, tuple accounts, tuple weights) except? 0
    # One use less, if the target is a group.
    cdef int give_back(self, uint32_t target) except -1
    cdef int _room(self) except -1


cdef inline bint is_group(uint32_t target) noexcept nogil:
    """FORWARDING_NONE has the bit too."""
    return target & ROUTE_GROUP != 0 and target != <uint32_t>-1
