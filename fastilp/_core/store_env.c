/* The LMDB environment: opening it, room in its map and in its file, reopening it, reading.
 * Resizing and reopening take `env_lock` exclusively; whoever reads takes it shared. */

#define _GNU_SOURCE

#include "store_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Writers first: readers in a tight loop must not keep the map from growing. */
static void env_lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;

    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
}

/* A copy takes long and does not hold the lock, or it would hold up everybody behind a writer
 * that waits. */
static void lock_for_change(StoreState *s)
{
    struct timespec pause = {0, 1000000};

    pthread_rwlock_wrlock(&s->env_lock);
    while (__atomic_load_n(&s->copying, __ATOMIC_ACQUIRE)) {
        pthread_rwlock_unlock(&s->env_lock);
        nanosleep(&pause, NULL);
        pthread_rwlock_wrlock(&s->env_lock);
    }
}

StoreState *store_new(const char *path, int sync, int read_only, uint64_t map_size,
                      uint64_t preallocate)
{
    StoreState *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->path = strdup(path);
    s->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->path == NULL || s->eventfd < 0) {
        free(s->path);
        free(s);
        return NULL;
    }
    s->sync = sync;
    s->read_only = read_only;
    s->stopping = read_only;    /* nothing may be submitted */
    s->map_size_min = (map_size + STORE_MAP_SIZE_STEP - 1) / STORE_MAP_SIZE_STEP
        * STORE_MAP_SIZE_STEP;
    s->preallocate = preallocate;
    s->gathering = &s->batches[0];
    s->committing = &s->batches[1];
    s->epoch = 1;
    s->gathering->epoch = 1;
    s->log.fd = s->log.append_fd = -1;
    pthread_mutex_init(&s->mutex, NULL);
    env_lock_init(&s->env_lock);
    cond_init(&s->work);
    cond_init(&s->committed_changed);
    return s;
}

/* A forked child leaks it: the writer may have been in the middle of anything here. */
void store_free(StoreState *s)
{
    if (s->poisoned)
        return;
    for (int i = 0; i < 2; i++) {
        free(s->batches[i].rows);
        free(s->batches[i].indexes);
        free(s->batches[i].controls);
    }
    free(s->positions);
    free(s->newest);
    free(s->newest_known);
    free(s->dirty);
    free(s->pending);
    free(s->path);
    close(s->eventfd);
    free(s);
}

/* --- Opening ---------------------------------------------------------------------------------- */

int store_env_open(StoreState *s, unsigned int flags)
{
    int rc = mdb_env_create(&s->env);

    if (rc) {
        s->env = NULL;
        return rc;
    }
    flags |= MDB_NOTLS | MDB_NORDAHEAD;
    if (s->read_only)
        flags |= MDB_RDONLY;
    else if (!s->sync)
        flags |= MDB_NOSYNC;
    rc = mdb_env_set_maxdbs(s->env, 8);
    if (rc == 0 && !s->read_only)
        rc = mdb_env_set_mapsize(s->env, s->map_size_min);
    if (rc == 0)
        rc = mdb_env_open(s->env, s->path, flags, 0600);
    if (rc) {
        mdb_env_close(s->env);
        s->env = NULL;
    }
    return rc;
}

void store_env_close(StoreState *s)
{
    lock_for_change(s);
    if (s->env)
        mdb_env_close(s->env);
    s->env = NULL;
    pthread_rwlock_unlock(&s->env_lock);
}

int store_in_transaction(StoreState *s, int (*step)(StoreState *, MDB_txn *))
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, s->read_only ? MDB_RDONLY : 0, &txn);

    if (rc)
        return rc;
    rc = step(s, txn);
    if (rc)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);
    return rc;
}

/* The same, with a larger map if it is full. Not for when other threads read. */
int store_in_any_map(StoreState *s, int (*step)(StoreState *, MDB_txn *))
{
    int rc = store_in_transaction(s, step);

    while (rc == MDB_MAP_FULL) {
        rc = store_grow(s);
        if (rc == 0)
            rc = store_in_transaction(s, step);
    }
    return rc;
}

/* What an earlier run left in its journal goes into the environment before the file is taken for
 * the journal of this one. Each step is on the disk before the next begins, whatever the
 * durability. */
static int open_for_writing(StoreState *s)
{
    int rc;

    s->incarnation++;
    rc = store_replay(s);
    if (rc == 0)
        rc = mdb_env_sync(s->env, 1);
    if (rc == 0)
        rc = store_log_open(s);
    if (rc == 0)
        rc = store_in_any_map(s, store_meta_begin_journal);
    if (rc == 0)
        rc = mdb_env_sync(s->env, 1);
    if (rc == 0) {
        store_measure(s);
        store_preallocate(s);
    }
    return rc;
}

/* Open, check, raise the incarnation, replay. On failure the environment is closed again. */
int store_open(StoreState *s)
{
    int rc = store_env_open(s, 0);

    if (rc)
        return rc;
    (void)mdb_reader_check(s->env, NULL);
    store_measure(s);
    rc = store_in_any_map(s, store_meta_first);
    if (rc == 0 && !s->read_only)
        rc = open_for_writing(s);
    if (rc) {
        store_env_close(s);
        store_log_close(s);
    }
    return rc;
}

/* After MDB_PANIC the environment refuses everything until it is closed and opened. */
int store_reopen(StoreState *s)
{
    int rc;

    lock_for_change(s);
    if (s->env)
        mdb_env_close(s->env);
    s->env = NULL;
    rc = store_env_open(s, 0);
    if (rc == 0) {
        rc = store_in_transaction(s, store_meta_again);
        if (rc) {
            mdb_env_close(s->env);
            s->env = NULL;
        }
    }
    pthread_rwlock_unlock(&s->env_lock);
    if (rc == 0) {
        STORE_ADD(s->stats.reopens, 1);
        store_measure(s);
    }
    return rc;
}

/* Durability "process". A sync after one that failed is believed only when all was written again
 * (store_write_again). Some file systems also forget what was in the pages that they could not
 * write, so the next record carries every row. */
int store_sync(StoreState *s)
{
    mdb_filehandle_t fd;
    int rc = mdb_env_get_fd(s->env, &fd);

    store_measure(s);
    if (rc == 0 && s->sync_failed)
        rc = store_write_again(fd, STORE_GET(s->stats.used_size));
    if (rc == 0)
        rc = store_log_sync(s);
    if (rc == 0)
        rc = mdb_env_sync(s->env, 1);
    s->sync_failed = rc != 0;
    if (rc)
        s->rewrite_all = 1;
    return rc;
}

/* --- Room ------------------------------------------------------------------------------------- */

void store_measure(StoreState *s)
{
    MDB_envinfo info;
    MDB_stat stat;

    mdb_env_info(s->env, &info);
    if (s->page_size == 0) {
        mdb_env_stat(s->env, &stat);
        s->page_size = stat.ms_psize;
    }
    STORE_SET(s->stats.map_size, info.me_mapsize);
    STORE_SET(s->stats.used_size, (info.me_last_pgno + 1) * s->page_size);
}

/* Writer, outside transactions. Also remembered for a reopening. */
int store_grow(StoreState *s)
{
    uint64_t size = STORE_GET(s->stats.map_size) * 2;
    int rc;

    lock_for_change(s);
    rc = mdb_env_set_mapsize(s->env, size);
    pthread_rwlock_unlock(&s->env_lock);
    if (rc)
        return rc;
    s->map_size_min = size;
    STORE_ADD(s->stats.grows, 1);
    store_measure(s);
    return 0;
}

/* Keep a quarter of the map free beyond `bytes`: a commit that finds it full costs a second try. */
int store_make_room(StoreState *s, uint64_t bytes)
{
    int rc = 0;

    store_measure(s);
    while (rc == 0
           && STORE_GET(s->stats.used_size) + bytes > STORE_GET(s->stats.map_size) / 4 * 3)
        rc = store_grow(s);
    return rc;
}

static int reserve(StoreState *s, uint64_t end)
{
    mdb_filehandle_t fd;
    int rc = mdb_env_get_fd(s->env, &fd);

    if (rc || end <= s->file_reserved)
        return rc;
    do {
        rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)s->file_reserved,
                       (off_t)(end - s->file_reserved)) ? errno : 0;
    } while (rc == EINTR);
    if (rc == 0)
        s->file_reserved = end;
    return rc;
}

/* Blocks of LMDB's file are taken ahead of need, so that a full disk is noticed before a commit
 * fails on it. Half as much again is taken at a time. Where the file system cannot do it,
 * nothing is known: healthy. */
void store_preallocate(StoreState *s)
{
    uint64_t used = STORE_GET(s->stats.used_size);
    int rc = 0;

    if (s->preallocate == 0)
        return;
    if (used + s->preallocate > s->file_reserved) {
        rc = reserve(s, used + s->preallocate + s->preallocate / 2);
        if (rc == ENOSPC || rc == EDQUOT || rc == EFBIG)
            rc = reserve(s, used + s->preallocate);
    }
    STORE_SET(s->stats.room_size, s->file_reserved > used ? s->file_reserved - used : 0);
    if (rc == EOPNOTSUPP || rc == ENOSYS || rc == EINVAL)
        rc = 0;
    __atomic_store_n(&s->no_space, rc != 0 || s->log.refused, __ATOMIC_RELEASE);
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* Another process may have grown the file: a read-only environment follows. */
static int follow_size(StoreState *s)
{
    int rc;

    lock_for_change(s);
    rc = s->env ? mdb_env_set_mapsize(s->env, 0) : STORE_ERROR_CLOSED;
    pthread_rwlock_unlock(&s->env_lock);
    return rc;
}

int store_read_begin(StoreState *s, MDB_txn **txn)
{
    int rc;

    for (;;) {
        if (__atomic_load_n(&s->closed, __ATOMIC_ACQUIRE))
            return STORE_ERROR_CLOSED;
        pthread_rwlock_rdlock(&s->env_lock);
        rc = s->env ? mdb_txn_begin(s->env, NULL, MDB_RDONLY, txn) : STORE_ERROR_CLOSED;
        if (rc == 0)
            return 0;
        pthread_rwlock_unlock(&s->env_lock);
        if (rc == MDB_MAP_RESIZED && s->read_only)
            rc = follow_size(s);
        if (rc)
            return rc;
    }
}

void store_read_end(StoreState *s, MDB_txn *txn)
{
    mdb_txn_abort(txn);
    pthread_rwlock_unlock(&s->env_lock);
}
