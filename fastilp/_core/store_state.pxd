# The store's engine (store_state.h) as store.pyx sees it. Not for other modules: they would need
# LMDB's header to compile.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastilp._core.lmdb cimport MDB_dbi, MDB_txn, MDB_val

cdef extern from "store_state.h" nogil:
    enum:
        STORE_OK
        STORE_ERROR_CLOSED
        STORE_ERROR_CONTROLS_FULL
        STORE_ERROR_FORMAT
        STORE_ERROR_DAMAGED
        STORE_ERROR_GAVE_UP
        STORE_ERROR_FOREIGN
        STORE_ERROR_NO_JOURNAL
        STORE_ERROR_OTHER_JOURNAL
        STORE_FORMAT
        STORE_HEALTH_HEALTHY
        STORE_HEALTH_FAILING
        STORE_HEALTH_NO_SPACE
        STORE_HEALTH_CLOSED
        STORE_ROW_BYTES
        STORE_ID_BYTES
        STORE_CONTROL_HEADER_BYTES
        STORE_QUEUED_CONTROL_BYTES_MAX
    ctypedef struct StoreStats:
        uint64_t commits
        uint64_t rows
        uint64_t controls
        uint64_t folds
        uint64_t fold_rows
        uint64_t failures
        uint64_t reopens
        uint64_t grows
        uint64_t journal_records
        uint64_t journal_bytes
        uint64_t last_commit_us
        uint64_t slowest_commit_us
        uint64_t map_size
        uint64_t used_size
        uint64_t room_size
    ctypedef struct StoreRecord:
        uint64_t ticket
        uint32_t row_count
        const uint8_t* rows
        const uint8_t* controls
        size_t control_size
    ctypedef struct StoreControl:
        MDB_val key
        MDB_val value
        int deleted
    ctypedef struct StoreLeftovers:
        size_t count
    # The state, as far as store.pyx looks into it.
    ctypedef struct Engine "StoreState":
        MDB_dbi rows
        MDB_dbi records
        uint8_t* node_id
        uint64_t incarnation
        uint32_t found_format
        int was_clean
        int read_only
        int eventfd

    Engine* store_new(
        const char* path, int sync, int read_only, uint64_t map_size, uint64_t preallocate)
    int store_open(Engine* s)
    int store_start(Engine* s)
    int store_stop(Engine* s)
    void store_poison(Engine* s)
    void store_free(Engine* s)
    void store_stats_copy(const Engine* s, StoreStats* copy)
    int store_backup(Engine* s, const char* path)
    int store_ask_room(Engine* s)
    int store_read_begin(Engine* s, MDB_txn** txn)
    void store_read_end(Engine* s, MDB_txn* txn)
    void store_queue_submit(
        Engine* s, const uint8_t* rows, const uint32_t* indexes, uint32_t count,
        uint64_t ticket)
    int store_queue_submit_records(
        Engine* s, const uint8_t* rows, const uint32_t* indexes, uint32_t count,
        uint64_t ticket, const uint8_t* controls, size_t control_size, uint32_t control_count)
    void store_declare_asleep(Engine* s, uint64_t ticket)
    void store_declare_awake(Engine* s)
    int store_wait(Engine* s, uint64_t ticket, double timeout_seconds)
    uint64_t store_committed(const Engine* s)
    uint64_t store_folded(const Engine* s)
    int store_health(const Engine* s)
    int store_read_whole(Engine* s, MDB_txn** txn, StoreLeftovers* left)
    int store_leftovers_next(Engine* s, StoreLeftovers* left, StoreRecord* record)
    void store_leftovers_free(StoreLeftovers* left)
    int store_control_next(const uint8_t** at, const uint8_t* end, StoreControl* control)
    void store_number_put(uint8_t* at, uint64_t number, int size)
