"""The store: an LMDB environment, a journal beside it, and a writer thread that never takes the
GIL (docs/ledger.md).

This is the Python face and the readers; queue, journal and writer are plain C (store_state.h).
It may import the standard library and fastilp.errors. It promises that reads see queued writes,
that one process has a directory open once, and that everything the disk refuses is a
StorageError that names the directory.
"""

import os
import warnings
import weakref

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stddef cimport size_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastilp._core.lmdb cimport (
    MDB_FIRST, MDB_NEXT, MDB_NOTFOUND, MDB_SET_RANGE, MDB_cursor, MDB_cursor_op, MDB_dbi, MDB_txn,
    MDB_val, mdb_cursor_close, mdb_cursor_get, mdb_cursor_open, mdb_get, mdb_strerror, mdb_version,
)
from fastilp._core.store_state cimport (
    Engine, STORE_CONTROL_HEADER_BYTES, STORE_ERROR_CLOSED, STORE_ERROR_CONTROLS_FULL,
    STORE_ERROR_DAMAGED, STORE_ERROR_FOREIGN, STORE_ERROR_FORMAT, STORE_ERROR_GAVE_UP,
    STORE_ERROR_NO_JOURNAL, STORE_ERROR_OTHER_JOURNAL, STORE_FORMAT, STORE_HEALTH_CLOSED,
    STORE_HEALTH_FAILING, STORE_HEALTH_HEALTHY, STORE_HEALTH_NO_SPACE, STORE_ID_BYTES,
    STORE_QUEUED_CONTROL_BYTES_MAX, STORE_ROW_BYTES, StoreControl, StoreLeftovers, StoreRecord,
    StoreStats, store_ask_room, store_backup, store_committed, store_control_next,
    store_declare_asleep, store_declare_awake, store_folded, store_free, store_health,
    store_leftovers_free, store_leftovers_next, store_new, store_number_put, store_open,
    store_poison, store_queue_submit, store_queue_submit_records, store_read_begin, store_read_end,
    store_read_whole, store_start, store_stats_copy, store_stop, store_wait,
)

from fastilp._core.directory import lock_directory, make_directory, make_empty_directory, sync_copy
from fastilp.errors import StorageError, UsageError

# Puts and deletes of one call, together: one journal record must stay small.
_RECORDS_PER_CALL_MAX = 500
# LMDB's own limit in a default build (mdb_env_get_maxkeysize).
_KEY_SIZE_MAX = 511
_HEALTH_NAMES = ("healthy", "failing", "no_space", "closed")

_identities = set()             # directories that this process has open: LMDB allows each once
_stores = weakref.WeakSet()     # to be poisoned in a forked child

# store.pxd, which others cimport without LMDB's header, repeats what the engine's header says.
if [STORE_ROW_SIZE, STORE_HEALTHY, STORE_FAILING, STORE_NO_SPACE, STORE_CLOSED] != [
    STORE_ROW_BYTES, STORE_HEALTH_HEALTHY, STORE_HEALTH_FAILING, STORE_HEALTH_NO_SPACE,
    STORE_HEALTH_CLOSED,
]:
    raise ImportError("store.pxd and store_state.h differ")


def lmdb_version():
    cdef int major, minor, patch
    mdb_version(&major, &minor, &patch)
    return major, minor, patch


def _check_version():
    version = lmdb_version()
    text = ".".join(map(str, version))
    if version >= (1, 0, 0):
        raise StorageError(
            f"LMDB {text} has another file format; build fastilp with LMDB 0.9 "
            "(FASTILP_LMDB=bundled)")
    if (0, 9, 26) <= version <= (0, 9, 31):
        warnings.warn(
            f"LMDB {text} can break its locks when a second process (a backup) closes the store; "
            "use 0.9.32 or newer (FASTILP_LMDB=bundled)", RuntimeWarning, stacklevel=3)


def _poison_after_fork():
    cdef Store store
    for store in list(_stores):
        _poison(store)
    _identities.clear()


os.register_at_fork(after_in_child=_poison_after_fork)


cdef inline Engine* _engine(Store store) noexcept nogil:
    return <Engine*>store.state


cdef str _reason(int rc):
    return mdb_strerror(rc).decode("ascii", "replace")


_TEXTS = {
    STORE_ERROR_CLOSED:
        "cannot {doing}, the store is closed, read-only, or came through a fork",
    STORE_ERROR_CONTROLS_FULL:
        "cannot {doing}, {bytes_max} bytes of control records already wait for the disk; "
        "try again when commits work",
    STORE_ERROR_FORMAT:
        "written in format {found}, this fastilp reads format {format}; "
        "use the fastilp that wrote it, or a newer one",
    STORE_ERROR_DAMAGED:
        "cannot {doing}, a record is damaged; restore a backup",
    STORE_ERROR_NO_JOURNAL:
        "cannot {doing}, the file journal is missing and the last commits are in it; "
        "put it back beside data.mdb, or restore a backup",
    STORE_ERROR_OTHER_JOURNAL:
        "cannot {doing}, the file journal is not the one that belongs to data.mdb; "
        "put that one back, or restore a backup",
    STORE_ERROR_FOREIGN:
        "holds an LMDB environment that is not fastilp's; use another directory",
    STORE_ERROR_GAVE_UP:
        "closed although commits fail; what was submitted after ticket {ticket} is lost",
}


cdef object _failure(Store store, int rc, str doing):
    """The StorageError for an outcome of the engine."""
    text = _TEXTS.get(rc, "cannot {doing}: {reason}").format(
        doing=doing, reason=_reason(rc), bytes_max=STORE_QUEUED_CONTROL_BYTES_MAX,
        found=_engine(store).found_format, format=STORE_FORMAT,
        ticket=store_committed(_engine(store)))
    return StorageError(f"{store.path}: {text}")


cdef bytes _bytes(const MDB_val* value):
    return PyBytes_FromStringAndSize(<const char*>value.mv_data, <Py_ssize_t>value.mv_size)


cdef MDB_val _val(bytes data):
    cdef MDB_val value
    value.mv_data = PyBytes_AS_STRING(data)
    value.mv_size = <size_t>PyBytes_GET_SIZE(data)
    return value


cdef class _Controls:
    """Puts and deletes packed as a journal record holds them."""

    cdef uint8_t* data
    cdef size_t size
    cdef uint32_t count

    def __cinit__(self, list puts, list deletes):
        cdef uint8_t* at
        self._check(puts, deletes)
        self.data = <uint8_t*>malloc(self.size + 1)
        if self.data is NULL:
            raise MemoryError
        at = self.data
        for key, value in puts:
            at = self._pack(at, key, value)
        for key in deletes:
            at = self._pack(at, key, None)

    def __dealloc__(self):
        free(self.data)

    cdef int _check(self, list puts, list deletes) except -1:
        if len(puts) + len(deletes) > _RECORDS_PER_CALL_MAX:
            raise UsageError(
                f"{len(puts) + len(deletes)} control records in one call, "
                f"at most {_RECORDS_PER_CALL_MAX}")
        self.size = 0
        self.count = <uint32_t>(len(puts) + len(deletes))
        for key, value in puts:
            self.size += STORE_CONTROL_HEADER_BYTES + _key_size(key) + <size_t>len(<bytes?>value)
        for key in deletes:
            self.size += STORE_CONTROL_HEADER_BYTES + _key_size(key)
        if self.size > STORE_QUEUED_CONTROL_BYTES_MAX:
            raise UsageError(
                f"control records of {self.size} bytes in one call, "
                f"at most {STORE_QUEUED_CONTROL_BYTES_MAX}")
        return 0

    cdef uint8_t* _pack(self, uint8_t* at, bytes key, bytes value):
        cdef size_t key_size = <size_t>len(key)
        cdef size_t value_size = 0 if value is None else <size_t>len(value)
        store_number_put(at, key_size, 4)
        store_number_put(at + 4, 0xFFFFFFFF if value is None else value_size, 4)
        at += STORE_CONTROL_HEADER_BYTES
        memcpy(at, PyBytes_AS_STRING(key), key_size)
        if value is not None:
            memcpy(at + key_size, PyBytes_AS_STRING(value), value_size)
        return at + key_size + value_size


cdef size_t _key_size(bytes key) except 0:
    if key is None or not 0 < len(key) <= _KEY_SIZE_MAX:
        raise UsageError(f"the key of a control record has 1 to {_KEY_SIZE_MAX} bytes, not {key!r}")
    return <size_t>len(key)


cdef class _Snapshot:
    """What is committed: a transaction, and the journal's records that are to be applied over what
    it reads. Ended by `end`, at the latest when it is dropped."""

    cdef Store store
    cdef MDB_txn* txn
    cdef StoreLeftovers left

    def __cinit__(self, Store store, bint with_journal):
        cdef Engine* engine = _engine(store)
        cdef int rc
        self.store = store
        with nogil:
            if with_journal:
                rc = store_read_whole(engine, &self.txn, &self.left)
            else:
                rc = store_read_begin(engine, &self.txn)
        if rc:
            self.txn = NULL
            raise _failure(store, rc, "read")

    def __dealloc__(self):
        self.end()

    cdef void end(self) noexcept:
        if self.txn is not NULL:
            store_leftovers_free(&self.left)
            store_read_end(_engine(self.store), self.txn)
            self.txn = NULL

    cdef bint next(self, StoreRecord* record) except -1:
        cdef int rc = store_leftovers_next(_engine(self.store), &self.left, record)
        if rc < 0:
            raise _failure(self.store, rc, "read the journal")
        return rc == 1

    cdef dict rows(self):
        """Account id -> row, the newest of each."""
        cdef StoreRecord record
        cdef const char* row
        cdef uint32_t i
        cdef dict found = self.pairs(_engine(self.store).rows)
        while self.next(&record):
            for i in range(record.row_count):
                row = <const char*>record.rows + <size_t>i * STORE_ROW_SIZE
                found[row[:STORE_ID_BYTES]] = row[:STORE_ROW_SIZE]
        return found

    cdef dict pairs(self, MDB_dbi dbi, bytes prefix=b"", bytes after=b"", Py_ssize_t count=-1):
        """What a database has under keys that start with `prefix` and are behind `after`. At most
        `count` of them, all if that is negative."""
        cdef bytes first = max(prefix, after)
        cdef MDB_val key = _val(first), value
        cdef dict found = {}
        cdef _Cursor cursor = _Cursor(self.store)
        cursor.open(self.txn, dbi)
        if first:
            cursor.step = MDB_SET_RANGE
        while (count < 0 or len(found) < count) and cursor.next(&key, &value):
            name = _bytes(&key)
            if not name.startswith(prefix):
                break
            if name != after:
                found[name] = _bytes(&value)
        return found

    cdef object record(self, bytes key):
        """A control record as it is folded, or None."""
        cdef MDB_val wanted = _val(key), value
        cdef int rc = mdb_get(self.txn, _engine(self.store).records, &wanted, &value)
        if rc == MDB_NOTFOUND:
            return None
        if rc:
            raise _failure(self.store, rc, "read")
        return _bytes(&value)

    cdef dict controls(self):
        """What the journal says about control records: key -> value, None for a delete. Only
        read-only stores ask for it; a store that writes has it in its overlay."""
        cdef StoreRecord record
        cdef StoreControl control
        cdef const uint8_t* at
        cdef dict found = {}
        while self.next(&record):
            at = record.controls
            while store_control_next(&at, record.controls + record.control_size, &control) == 1:
                found[_bytes(&control.key)] = None if control.deleted else _bytes(&control.value)
        return found


cdef class _Cursor:
    """A cursor that closes itself; must be dropped before its transaction ends."""

    cdef Store store
    cdef MDB_cursor* cursor
    cdef MDB_cursor_op step

    def __cinit__(self, Store store):
        self.store = store
        self.step = MDB_FIRST

    def __dealloc__(self):
        self.close()

    cdef void close(self) noexcept:
        if self.cursor is not NULL:
            mdb_cursor_close(self.cursor)
            self.cursor = NULL

    cdef int open(self, MDB_txn* txn, MDB_dbi dbi) except -1:
        cdef int rc = mdb_cursor_open(txn, dbi, &self.cursor)
        if rc:
            raise _failure(self.store, rc, "read")
        return 0

    cdef bint next(self, MDB_val* key, MDB_val* value) except -1:
        """The next pair; the first one, or the first from `key` on when step is MDB_SET_RANGE."""
        cdef int rc = mdb_cursor_get(self.cursor, key, value, self.step)
        self.step = MDB_NEXT
        if rc == MDB_NOTFOUND:
            self.close()
            return False
        if rc:
            raise _failure(self.store, rc, "read")
        return True


cdef int _claim(Store store, bint read_only) except -1:
    make_directory(store.path, exists=read_only)
    status = os.stat(store.path)
    identity = (status.st_dev, status.st_ino)
    if identity in _identities:
        raise StorageError(
            f"{store.path}: this process has it open already, and LMDB allows that once; "
            "close the first one")
    if not read_only:
        store._lock_fd = lock_directory(store.path)
    store._identity = identity
    _identities.add(identity)
    return 0


cdef int _open(
    Store store, bint sync, bint read_only, uint64_t map_size, uint64_t preallocate
) except -1:
    cdef bytes path = os.fsencode(store.path)
    cdef const char* path_chars = path
    cdef Engine* engine
    cdef int rc
    store.state = <StoreState*>store_new(path_chars, sync, read_only, map_size, preallocate)
    if store.state is NULL:
        raise StorageError(f"{store.path}: no memory or no descriptors for the store")
    with nogil:
        rc = store_open(_engine(store))
        if rc == 0 and not read_only:
            rc = store_start(_engine(store))
    if rc:
        raise _failure(store, rc, "open it")
    engine = _engine(store)
    store.node_id = PyBytes_FromStringAndSize(<const char*>engine.node_id, 16)
    store.incarnation = engine.incarnation
    store.was_clean = engine.was_clean != 0
    return 0


cdef int _release(Store store) except -1:
    """Let go of the directory; safe at any stage of opening or closing."""
    cdef int rc = 0
    if store.state is not NULL:
        with nogil:
            rc = store_stop(_engine(store))
    if store._lock_fd >= 0:
        os.close(store._lock_fd)
        store._lock_fd = -1
    if store._identity is not None:
        _identities.discard(store._identity)
        store._identity = None
    if rc:
        raise _failure(store, rc, "close it")
    return 0


cdef void _poison(Store store):
    store_poison(_engine(store))
    if store._lock_fd >= 0:
        os.close(store._lock_fd)
        store._lock_fd = -1
    store._identity = None


cdef void _prune(Store store):
    """Forget what `records` holds by now. The overlay is in the order of tickets: newer writes
    of a key are put at its end."""
    cdef uint64_t folded = store_folded(_engine(store))
    cdef list done = []
    for key, (ticket, _) in store._overlay.items():
        if ticket > folded:
            break
        done.append(key)
    for key in done:
        del store._overlay[key]


@cython.final
cdef class Store:
    # The docstring of the class and of its methods are in store.pyi.

    def __cinit__(self):
        self._lock_fd = -1

    def __init__(
        self, str path, *, bint sync=True, uint64_t map_size=1 << 30, uint64_t preallocate=16 << 20,
        bint read_only=False,
    ):
        if self.state is not NULL:
            raise UsageError(f"{self.path}: the store is already open")
        _check_version()
        self.path = path
        self._overlay = {}
        self.node_id = b""
        try:
            _claim(self, read_only)
            _open(self, sync, read_only, map_size, preallocate)
        except BaseException:
            _release(self)
            raise
        _stores.add(self)

    def __dealloc__(self):
        if self.state is not NULL:
            with nogil:
                store_stop(_engine(self))
                store_free(_engine(self))
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
        _identities.discard(self._identity)

    def close(self):
        _release(self)

    # --- Writing ---------------------------------------------------------------------------------

    cdef void submit(
        self, const uint8_t* rows, const uint32_t* row_indexes, uint32_t count, uint64_t ticket
    ) noexcept nogil:
        store_queue_submit(_engine(self), rows, row_indexes, count, ticket)

    cdef int submit_records(
        self, const uint8_t* rows, const uint32_t* row_indexes, uint32_t count, uint64_t ticket,
        list puts, list deletes,
    ) except -1:
        cdef _Controls controls = _Controls(puts, deletes)
        cdef int rc
        with nogil:
            rc = store_queue_submit_records(
                _engine(self), rows, row_indexes, count, ticket,
                controls.data, controls.size, controls.count)
        if rc:
            raise _failure(self, rc, "write")
        _prune(self)
        for key, value in puts:
            self._overlay.pop(key, None)
            self._overlay[key] = (ticket, value)
        for key in deletes:
            self._overlay.pop(key, None)
            self._overlay[key] = (ticket, None)
        return 0

    def write(self, uint64_t ticket, rows=(), puts=(), deletes=()):
        cdef list pairs = list(rows)
        cdef bytes packed = b"".join([row for _, row in pairs])
        cdef uint32_t* indexes
        if any(len(row) != STORE_ROW_SIZE for _, row in pairs):
            raise UsageError(f"a row has {STORE_ROW_SIZE} bytes")
        indexes = <uint32_t*>malloc((len(pairs) + 1) * sizeof(uint32_t))
        if indexes is NULL:
            raise MemoryError
        try:
            for position, (index, _) in enumerate(pairs):
                indexes[<size_t>position] = index
            self.submit_records(
                <const uint8_t*>PyBytes_AS_STRING(packed), indexes, <uint32_t>len(pairs), ticket,
                list(puts), list(deletes))
        finally:
            free(indexes)

    # --- Commits ---------------------------------------------------------------------------------

    cdef uint64_t committed(self) noexcept nogil:
        return store_committed(_engine(self))

    cdef int health(self) noexcept nogil:
        return store_health(_engine(self))

    cdef void declare_asleep(self, uint64_t ticket) noexcept nogil:
        store_declare_asleep(_engine(self), ticket)

    cdef void declare_awake(self) noexcept nogil:
        store_declare_awake(_engine(self))

    @property
    def committed_ticket(self):
        return store_committed(_engine(self))

    def asleep(self, uint64_t ticket):
        store_declare_asleep(_engine(self), ticket)

    def awake(self):
        store_declare_awake(_engine(self))

    def fileno(self):
        return _engine(self).eventfd

    def wait(self, uint64_t ticket, double timeout=30.0):
        cdef double left = timeout, slice
        cdef int done = 0
        # In slices, so that Ctrl-C is noticed.
        while True:
            slice = min(max(left, 0.0), 0.25)
            with nogil:
                done = store_wait(_engine(self), ticket, slice)
            left -= slice
            if done or left <= 0.0 or self.health() == STORE_CLOSED:
                return done != 0
            PyErr_CheckSignals()

    # --- Reading ---------------------------------------------------------------------------------

    def rows(self):
        cdef _Snapshot snapshot = _Snapshot(self, True)
        try:
            return list(snapshot.rows().values())
        finally:
            snapshot.end()

    def get(self, bytes key not None):
        # The overlay is asked before the transaction begins: what is folded in between is found in
        # both.
        if key in self._overlay:
            return self._overlay[key][1]
        _key_size(key)
        cdef _Snapshot snapshot = _Snapshot(self, _engine(self).read_only)
        try:
            newer = snapshot.controls()
            return newer[key] if key in newer else snapshot.record(key)
        finally:
            snapshot.end()

    def items(self, bytes prefix not None=b"", bytes after not None=b"", Py_ssize_t limit=-1):
        cdef dict newer, found
        cdef Py_ssize_t count
        cdef _Snapshot snapshot
        _prune(self)
        newer = {key: value for key, (_, value) in self._overlay.items()}
        snapshot = _Snapshot(self, _engine(self).read_only)
        try:
            newer.update(snapshot.controls())
            # As many as may have been deleted since are looked at in vain.
            count = -1 if limit < 0 else limit + len(newer)
            found = snapshot.pairs(_engine(self).records, prefix, after, count)
        finally:
            snapshot.end()
        for key, value in newer.items():
            if key.startswith(prefix) and key > after:
                found[key] = value
        rest = sorted((key, value) for key, value in found.items() if value is not None)
        return iter(rest if limit < 0 else rest[:limit])

    # --- The whole -------------------------------------------------------------------------------

    def stats(self):
        cdef StoreStats stats
        store_stats_copy(_engine(self), &stats)
        return {
            "health": _HEALTH_NAMES[store_health(_engine(self))],
            "commits": stats.commits, "rows": stats.rows, "controls": stats.controls,
            "folds": stats.folds, "fold_rows": stats.fold_rows, "failures": stats.failures,
            "reopens": stats.reopens, "grows": stats.grows,
            "journal_records": stats.journal_records, "journal_bytes": stats.journal_bytes,
            "last_commit_us": stats.last_commit_us, "slowest_commit_us": stats.slowest_commit_us,
            "map_size": stats.map_size, "used_size": stats.used_size, "room_size": stats.room_size,
            "lmdb_version": ".".join(map(str, lmdb_version())),
        }

    def backup(self, str path not None):
        cdef bytes target = os.fsencode(path)
        cdef const char* target_chars = target
        cdef int rc = 0
        make_empty_directory(path)
        with nogil:
            if not _engine(self).read_only:
                rc = store_ask_room(_engine(self))
            if rc == 0:
                rc = store_backup(_engine(self), target_chars)
        if rc:
            raise _failure(self, rc, f"copy it to {path}")
        sync_copy(path)
