"""Next hops of prefixes that have more than one. Prefixes with the same ones share a group, so that
a table of any size has few. Imports nothing of the core: accounts are indexes here, and the switch
decides which of them is up."""

cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, realloc


@cython.final
cdef class RouteChoices:
    def __cinit__(self):
        self._free = []
        self._indexes = {}

    def __dealloc__(self):
        free(self.groups)

    def __len__(self):
        return len(self._indexes)

    cdef uint32_t take(self, tuple accounts, tuple weights) except? 0:
        cdef uint32_t index, i
        cdef RouteGroup* group
        if len(accounts) == 1:
            return accounts[0]
        accounts = accounts[:ROUTE_CHOICES_MAX]
        found = self._indexes.get((accounts, weights))
        if found is not None:
            index = found
            self.groups[index].uses += 1
            return index | ROUTE_GROUP
        if self._free:
            index = self._free.pop()
        elif self._count < ROUTE_GROUPS_MAX:
            self._room()
            index = self._count
            self._count += 1
        else:
            return accounts[0]
        group = &self.groups[index]
        group.count, group.shared, group.uses, group.weight = len(accounts), 0, 1, 0
        for i in range(group.count):
            group.accounts[i] = accounts[i]
            group.weights[i] = 0
        for i in range(<uint32_t>min(len(weights), len(accounts))):
            group.weights[i] = weights[i]
            group.weight += group.weights[i]
            group.shared += 1
        self._indexes[accounts, weights] = index
        return index | ROUTE_GROUP

    cdef int give_back(self, uint32_t target) except -1:
        cdef RouteGroup* group
        cdef uint32_t index = target & ~<uint32_t>ROUTE_GROUP
        if not is_group(target):
            return 0
        group = &self.groups[index]
        group.uses -= 1
        if group.uses == 0:
            accounts = tuple([group.accounts[i] for i in range(group.count)])
            weights = tuple([group.weights[i] for i in range(group.shared)])
            del self._indexes[accounts, weights]
            self._free.append(index)
        return 0

    cdef int _room(self) except -1:
        cdef uint32_t capacity = max(self._capacity * 2, <uint32_t>16)
        cdef void* grown
        if self._count < self._capacity:
            return 0
        grown = realloc(self.groups, capacity * sizeof(RouteGroup))
        if grown == NULL:
            raise MemoryError()
        self.groups = <RouteGroup*>grown
        self._capacity = capacity
        return 0
