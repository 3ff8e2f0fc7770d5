/* The store's engine in plain C: what store.pyx drives and what its own thread runs.
 *
 * It may include LMDB, pthreads and Linux headers, and nothing of Python: no function here needs
 * the GIL. It promises that submitting never waits for the disk, that what was published as
 * committed is on the disk, and that one thread, the writer, owns every write transaction
 * (docs/ledger.md).
 *
 *   store_queue.c    the queue that submitters copy into, and who waits for or wakes on a commit
 *   store_record.c   what a journal record looks like
 *   store_log.c      the journal's file: its room, appending to it
 *   store_crc.c      the checksum of what is in that file
 *   store_fold.c     folding what the journal has into rows and records
 *   store_replay.c   reading the file from its tail on; replay at start-up
 *   store_meta.c     the database `meta`: formats, identity, where the journal begins
 *   store_env.c      the environment: opening, room in map and file, reopening after a panic
 *   store_backup.c   copying what is committed
 *   store_writer.c   the writer thread: its loop, commits, retries
 * */

#ifndef FASTILP_STORE_STATE_H
#define FASTILP_STORE_STATE_H

#include <lmdb.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* One account's record; equals STORE_ROW_SIZE of store.pxd. Its first bytes are the
     * account's id. */
    STORE_ROW_BYTES = 128,
    STORE_ID_BYTES = 16,
    /* Format of the environment and of the journal's file. In format 1 the journal was a database
     * of the environment; a journal record was what it is now. */
    STORE_FORMAT = 2,
    STORE_FORMAT_DATABASE = 1,
    STORE_RECORD_HEADER_BYTES = 32,
    /* In the file a record begins with this much, at a multiple of a block; blocks are written
     * whole, so none that holds an older record is written again. The first one is the file's. */
    STORE_LOG_HEADER_BYTES = 64,
    STORE_BLOCK_BYTES = 4096,
    STORE_LOG_START = STORE_BLOCK_BYTES,
    /* The file has so much from the start. It grows in steps that delay a commit by 1 to 2 ms, and
     * beyond its bound only for a record that is larger. */
    STORE_LOG_BYTES_MIN = 4 * 1024 * 1024,
    STORE_LOG_STEP = 1024 * 1024,
    STORE_LOG_BYTES_MAX = 64 * 1024 * 1024,
    /* A control's key size and value size in a journal record; this value size means: delete. */
    STORE_CONTROL_HEADER_BYTES = 8,
    /* Rows or controls that one fold commit takes: it delays the next record by about 1 ms, not
     * more. When the file is filling up it is more, at most the second number. */
    STORE_FOLD_SLICE = 256,
    STORE_FOLD_SLICE_MAX = 16384,
    /* The journal is folded when it holds this much, or when nothing was submitted for this
     * long. */
    STORE_JOURNAL_RECORDS_MAX = 4096,
    /* A read that the writer overtakes is begun again so many times. */
    STORE_READ_TRIES = 1000,
    STORE_JOURNAL_BYTES_MAX = 16 * 1024 * 1024,
    STORE_FOLD_IDLE_MS = 50,
    /* Control bytes that wait for a commit; more are refused, rows are bounded by the accounts. */
    STORE_QUEUED_CONTROL_BYTES_MAX = 64 * 1024 * 1024,
    /* Pauses between tries of a failing commit. */
    STORE_RETRY_MS_MIN = 10,
    STORE_RETRY_MS_MAX = 1000,
    /* How long close() keeps trying a commit that fails. */
    STORE_CLOSE_TRY_MS = 5000,
    /* The time slice that the writer asks the scheduler for: the least that Linux grants. */
    STORE_WRITER_SLICE_US = 100,
    /* Durability "process" syncs, and a full disk is looked at again, this often. */
    STORE_TICK_MS = 1000,
    /* LMDB's table of readers is swept of dead processes this often. */
    STORE_READER_CHECK_MS = 60000,
    /* Rows of many accounts lie anywhere in memory: they are asked for so many rows before use. */
    STORE_PREFETCH_AHEAD = 8,
    /* The map's size is a multiple of this: whole pages on every architecture. */
    STORE_MAP_SIZE_STEP = 64 * 1024,
};

#define STORE_CONTROL_DELETED UINT32_MAX

_Static_assert(STORE_ROW_BYTES == STORE_ID_BYTES + 7 * 16, "an id and seven counters");

/* The numbers of StoreHealth in store.pxd; store.pyx compares them when it is imported. */
enum {
    STORE_HEALTH_HEALTHY = 0,
    STORE_HEALTH_FAILING = 1,
    STORE_HEALTH_NO_SPACE = 2,
    STORE_HEALTH_CLOSED = 3,
};

/* Outcomes of store_* calls beside errno's and LMDB's, which they also return. */
enum {
    STORE_OK = 0,
    STORE_ERROR_CLOSED = -1,
    STORE_ERROR_CONTROLS_FULL = -2,
    STORE_ERROR_FORMAT = -3,    /* a newer version wrote it; `found_format` says which */
    STORE_ERROR_DAMAGED = -4,   /* a record that was committed cannot be read */
    STORE_ERROR_GAVE_UP = -5,   /* close(): commits still fail */
    STORE_ERROR_FOREIGN = -6,   /* an LMDB environment that fastilp did not make */
    STORE_ERROR_NO_JOURNAL = -7,        /* the journal's file is not there */
    STORE_ERROR_OTHER_JOURNAL = -8,     /* it is, and belongs to another store or another time */
    STORE_ERROR_FULL = -9,      /* inside: the file has no room before something is folded */
    STORE_ERROR_AGAIN = -10,    /* inside: the writer went on too far while we read */
};

/* One journal record while it gathers. Buffers are kept and only grow. */
typedef struct {
    uint64_t first_ticket;
    uint64_t ticket;
    uint32_t epoch;             /* which of `positions` are of this batch */
    uint32_t row_count;
    uint32_t row_capacity;
    uint32_t control_count;
    uint8_t *rows;
    uint32_t *indexes;
    uint8_t *controls;
    size_t control_size;
    size_t control_capacity;
    int complete;               /* it carries every known row, and controls that are not folded */
} StoreBatch;

typedef struct {
    uint32_t epoch;
    uint32_t position;
} StorePosition;

/* Where the unfolded part of a journal begins, as `meta` has it. */
typedef struct {
    uint64_t id;                /* of this run's journal, random */
    uint64_t at;
    uint64_t sequence;          /* of the first record there */
} StoreTail;

/* The journal's file, the writer's own. It is a ring from STORE_LOG_START to `size`: a record that
 * does not fit before the end lies at the start. */
typedef struct {
    int fd;
    int append_fd;              /* the same file for appends, or `fd` again */
    StoreTail tail;             /* as last committed in `meta` */
    uint64_t head;              /* behind the newest record */
    uint64_t sequence;          /* of the next record; the tail's: the journal is empty */
    uint64_t synced;            /* the last one that is known to be on the disk */
    uint64_t attempt;           /* counts writes, be they successful or not */
    uint64_t size;
    uint64_t last_bytes;        /* what the newest record took */
    int keeps_size;             /* it ought to grow, and the disk has little left */
    int refused;                /* the same, and the disk refused */
    uint8_t *buffer;
    size_t buffer_size;
} StoreLog;

/* A fold round under way. */
typedef struct {
    uint64_t ticket;            /* it ends when all is folded up to here; 0: there is none */
    uint32_t rows_left;
    StoreTail tail;             /* where the journal begins when it has ended */
    uint64_t bytes;             /* of the journal, that it makes free */
} StoreRound;

typedef struct {
    /* Written by the writer, read by anyone: only through __atomic. */
    uint64_t commits, rows, controls, folds, fold_rows, failures, reopens, grows;
    uint64_t journal_records, journal_bytes, last_commit_us, slowest_commit_us;
    uint64_t map_size, used_size, room_size;
} StoreStats;

typedef struct StoreState StoreState;
struct StoreState {
    /* Settings, fixed when it opens. */
    char *path;
    int sync;
    int read_only;
    uint64_t map_size_min;
    uint64_t preallocate;

    /* The environment. `env_lock`: readers of it hold it shared; resizing and reopening
     * exclusively. */
    MDB_env *env;
    MDB_dbi meta, rows, records;
    MDB_dbi journal;            /* of format 1, else 0 */
    pthread_rwlock_t env_lock;
    int copying;                /* backups under way; only through __atomic */
    uint64_t page_size;
    uint64_t file_reserved;     /* the file's blocks are ours up to here */

    /* What `meta` said, and who we are. */
    uint8_t node_id[16];
    uint64_t incarnation;
    uint32_t found_format;
    int was_clean;

    /* The queue: everything down to `waiters` under `mutex`. */
    pthread_mutex_t mutex;
    pthread_cond_t work;        /* the writer waits here */
    pthread_cond_t committed_changed;
    StoreBatch *gathering;
    StorePosition *positions;
    uint32_t position_capacity;
    uint32_t epoch;
    uint64_t queued_control_size;   /* gathering and committing */
    uint64_t last_submit_ms;
    int stopping;
    int grow_asked;
    int waiters;

    /* Shared without the mutex: only through __atomic. */
    uint64_t committed;
    uint64_t folded;            /* controls up to this ticket are in `records` */
    int asleep;
    int signalled;
    int failing;
    int no_space;
    int closed;
    StoreStats stats;

    /* The writer's own. */
    StoreBatch batches[2];
    StoreBatch *committing;
    uint8_t *newest;            /* newest journaled copy of each row index */
    uint8_t *newest_known;      /* 1: `newest` holds one; 2: it is also not folded yet */
    uint32_t newest_capacity;
    uint32_t *dirty;            /* ring of row indexes that are not folded, oldest first */
    uint32_t dirty_capacity, dirty_head, dirty_count;
    uint8_t *pending;           /* controls of journal records that are not folded, oldest first */
    size_t pending_capacity, pending_start, pending_end;
    StoreRound round;
    StoreLog log;
    int rewrite_all;            /* the disk may have lost rows: the next record carries all known */
    uint64_t next_tick_ms, next_reader_check_ms, fold_pause_until_ms;
    int unsynced;
    int sync_failed;            /* the next sync alone would prove nothing */
    int gave_up;
    int poisoned;               /* inherited through a fork */
    int eventfd;
    int thread_started;
    pthread_t thread;
};

/* store_env.c */
StoreState *store_new(const char *path, int sync, int read_only, uint64_t map_size,
                      uint64_t preallocate);
int store_env_open(StoreState *s, unsigned int flags);
int store_open(StoreState *s);
int store_in_transaction(StoreState *s, int (*step)(StoreState *, MDB_txn *));
int store_in_any_map(StoreState *s, int (*step)(StoreState *, MDB_txn *));
void store_env_close(StoreState *s);
int store_reopen(StoreState *s);
int store_grow(StoreState *s);
int store_make_room(StoreState *s, uint64_t bytes);
void store_preallocate(StoreState *s);
void store_measure(StoreState *s);
int store_read_begin(StoreState *s, MDB_txn **txn);
void store_read_end(StoreState *s, MDB_txn *txn);
int store_sync(StoreState *s);
void store_free(StoreState *s);

/* store_meta.c */
int store_meta_first(StoreState *s, MDB_txn *txn);
int store_meta_create_databases(StoreState *s, MDB_txn *txn);
int store_meta_again(StoreState *s, MDB_txn *txn);
int store_meta_format(StoreState *s, MDB_txn *txn, uint32_t *format);
int store_meta_tail(StoreState *s, MDB_txn *txn, StoreTail *tail);
int store_meta_put_tail(StoreState *s, MDB_txn *txn, const StoreTail *tail);
int store_meta_no_journal(StoreState *s, MDB_txn *txn);
int store_meta_begin_journal(StoreState *s, MDB_txn *txn);
int store_mark_clean(StoreState *s);

/* store_backup.c */
int store_backup(StoreState *s, const char *path);

/* store_queue.c */
void store_queue_submit(StoreState *s, const uint8_t *rows, const uint32_t *indexes,
                        uint32_t count, uint64_t ticket);
int store_queue_submit_records(StoreState *s, const uint8_t *rows, const uint32_t *indexes,
                               uint32_t count, uint64_t ticket, const uint8_t *controls,
                               size_t control_size, uint32_t control_count);
void store_batch_reserve(StoreBatch *batch, uint32_t row_count, size_t control_size);
int store_queue_swap(StoreState *s);
void store_queue_done(StoreState *s);
void store_publish(StoreState *s, uint64_t ticket);
void store_declare_asleep(StoreState *s, uint64_t ticket);
void store_declare_awake(StoreState *s);
int store_wait(StoreState *s, uint64_t ticket, double timeout_seconds);
void *store_grown(void *old, size_t *capacity, size_t wanted, size_t item_size);
uint64_t store_now_ms(void);
uint64_t store_now_us(void);

static inline uint64_t store_committed(const StoreState *s)
{
    return __atomic_load_n(&s->committed, __ATOMIC_ACQUIRE);
}

static inline uint64_t store_folded(const StoreState *s)
{
    return __atomic_load_n(&s->folded, __ATOMIC_ACQUIRE);
}

static inline int store_health(const StoreState *s)
{
    if (__atomic_load_n(&s->closed, __ATOMIC_ACQUIRE))
        return STORE_HEALTH_CLOSED;
    if (__atomic_load_n(&s->failing, __ATOMIC_ACQUIRE))
        return STORE_HEALTH_FAILING;
    return __atomic_load_n(&s->no_space, __ATOMIC_ACQUIRE) ? STORE_HEALTH_NO_SPACE
                                                           : STORE_HEALTH_HEALTHY;
}

/* store_record.c */
typedef struct {
    uint64_t first_ticket, ticket;
    uint32_t row_count, control_count;
    const uint8_t *rows;
    const uint8_t *controls;
    size_t control_size;
} StoreRecord;

typedef struct {
    MDB_val key, value;
    int deleted;
} StoreControl;

uint64_t store_number_get(const uint8_t *at, int size);
void store_number_put(uint8_t *at, uint64_t number, int size);
size_t store_record_size(const StoreBatch *batch);
void store_record_write(uint8_t *at, const StoreBatch *batch);
int store_record_read(const MDB_val *value, StoreRecord *record, uint32_t *found_format);
int store_control_next(const uint8_t **at, const uint8_t *end, StoreControl *control);

/* store_crc.c */
uint32_t store_crc(const uint8_t *at, size_t size);

/* store_log.c */
typedef struct {
    uint64_t id, sequence, synced, attempt, size;
    uint32_t format;
    uint32_t body_checksum;
} StoreLogHeader;

int store_log_open_file(const StoreState *s, int flags);
int store_log_open(StoreState *s);
void store_log_close(StoreState *s);
int store_log_append(StoreState *s, const StoreBatch *batch);
void store_log_ahead(StoreState *s);
int store_log_sync(StoreState *s);
uint64_t store_log_room(const StoreLog *log);
uint64_t store_log_bytes(const StoreBatch *batch);
int store_log_header_read(const uint8_t *at, StoreLogHeader *header);
int store_log_identity_check(StoreState *s, const uint8_t *block, uint64_t id);
int store_write_again(int fd, uint64_t end);

static inline int store_log_empty(const StoreLog *log)
{
    return log->sequence == log->tail.sequence;
}

/* store_fold.c */
void store_remember(StoreState *s, const StoreBatch *batch);
int store_gather_all(StoreState *s);
int store_fold_wanted(const StoreState *s);
int store_fold_slice(StoreState *s);
int store_fold_control(StoreState *s, MDB_txn *txn, StoreControl *control);

/* store_replay.c */
/* The records of a journal, as they were read at one moment. */
typedef struct {
    uint8_t *data;
    size_t size;
    MDB_val *records;
    size_t capacity, count, next;
    uint64_t sequence;          /* of the record that comes after these */
    uint64_t at;                /* where it would be */
} StoreLeftovers;

int store_leftovers_load(StoreState *s, MDB_txn *txn, StoreLeftovers *left);
int store_leftovers_next(StoreState *s, StoreLeftovers *left, StoreRecord *record);
void store_leftovers_free(StoreLeftovers *left);
int store_read_whole(StoreState *s, MDB_txn **txn, StoreLeftovers *left);
int store_replay_all(StoreState *s, StoreLeftovers *left);
int store_replay(StoreState *s);

/* store_writer.c */
int store_start(StoreState *s);
int store_stop(StoreState *s);
void store_poison(StoreState *s);
void store_stats_copy(const StoreState *s, StoreStats *copy);
int store_ask_room(StoreState *s);

#define STORE_ADD(field, amount) __atomic_add_fetch(&(field), (amount), __ATOMIC_RELAXED)
#define STORE_SUB(field, amount) __atomic_sub_fetch(&(field), (amount), __ATOMIC_RELAXED)
#define STORE_SET(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)
#define STORE_GET(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)

#endif
