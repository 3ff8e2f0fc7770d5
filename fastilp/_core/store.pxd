# The only place that opens LMDB: the environment, reads, the journal, and the writer thread (no
# GIL). See docs/ledger.md. The Python face is in store.pyi, the engine behind it in store_state.h.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    # One account's record, as the ledger packs it: 16 bytes of account id, then seven counters of
    # 16 little-endian bytes: debits pending, debits posted, credits pending, credits posted,
    # prepaid pending, prepaid posted, debits relayed (posted debits whose Fulfill has left).
    STORE_ROW_SIZE = 128

cdef enum StoreHealth:
    STORE_HEALTHY = 0
    STORE_FAILING = 1           # the last commit failed and is being tried again
    STORE_NO_SPACE = 2          # the file could not be preallocated ahead: new money must stop
    STORE_CLOSED = 3            # closed, or inherited through a fork


cdef extern from *:
    """
    typedef struct StoreState StoreState;
    """
    ctypedef struct StoreState:         # opaque to others; defined in store_state.h
        pass


cdef class Store:
    cdef StoreState* state
    cdef dict _overlay          # key -> (ticket, value or None): controls that are not folded yet
    cdef int _lock_fd
    cdef tuple _identity        # device and inode of the directory, while it is open
    cdef readonly str path
    cdef readonly bytes node_id
    cdef readonly uint64_t incarnation
    cdef readonly bint was_clean
    cdef object __weakref__

    # Copy `count` packed rows (STORE_ROW_SIZE bytes each; row_indexes[i] is the dense index of row
    # i's account, a newer copy replaces a queued one) into the writer's queue under `ticket`, which
    # must be greater than every earlier one. Never blocks on the disk, never raises.
    cdef void submit(
        self, const uint8_t* rows, const uint32_t* row_indexes, uint32_t count, uint64_t ticket
    ) noexcept nogil
    # The same with control records, all in the one journal record: puts [(key, value)], deletes
    # [key].
    cdef int submit_records(
        self, const uint8_t* rows, const uint32_t* row_indexes, uint32_t count, uint64_t ticket,
        list puts, list deletes,
    ) except -1
    # Highest ticket that is on disk (acquire).
    cdef uint64_t committed(self) noexcept nogil
    cdef int health(self) noexcept nogil
    # The loop is about to sleep: write the eventfd at the next commit (or at once if `ticket` is
    # committed).
    cdef void declare_asleep(self, uint64_t ticket) noexcept nogil
    # The loop runs again: no more wake-ups; one that was written is taken out of the eventfd.
    cdef void declare_awake(self) noexcept nogil
