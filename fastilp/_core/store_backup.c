/* A copy of all that is committed, in an environment of its own that needs no journal: what one
 * snapshot holds, record by record in the order of keys, and over it what the journal has beyond.
 * It reads what it copies and nothing else, so it may be done beside a node that runs, by another
 * process. */

#include "store_state.h"

#include <errno.h>
#include <string.h>

/* Pairs to a commit of the copy. */
enum { COPY_SLICE = 16384 };

/* From one database of the snapshot to the same one of the copy. */
typedef struct {
    StoreState *copy;
    MDB_dbi dbi;
    MDB_cursor *source;
    int more;
} Stream;

static int stream_slice(Stream *stream, MDB_txn *txn)
{
    MDB_val key, value;
    int rc = 0;

    for (int i = 0; i < COPY_SLICE && rc == 0; i++) {
        rc = mdb_cursor_get(stream->source, &key, &value, MDB_NEXT);
        stream->more = rc == 0;
        if (rc == 0)
            rc = mdb_put(txn, stream->dbi, &key, &value, MDB_APPEND);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int copy_database(MDB_txn *from, MDB_dbi from_dbi, StoreState *copy, MDB_dbi to_dbi)
{
    Stream stream = {copy, to_dbi, NULL, 1};
    MDB_txn *txn;
    int rc = mdb_cursor_open(from, from_dbi, &stream.source);

    while (rc == 0 && stream.more) {
        rc = mdb_txn_begin(copy->env, NULL, 0, &txn);
        if (rc)
            break;
        rc = stream_slice(&stream, txn);
        if (rc)
            mdb_txn_abort(txn);
        else
            rc = mdb_txn_commit(txn);
    }
    if (stream.source)
        mdb_cursor_close(stream.source);
    return rc;
}

static int copy_snapshot(StoreState *s, MDB_txn *txn, StoreState *copy)
{
    int rc = copy_database(txn, s->meta, copy, copy->meta);

    if (rc == 0)
        rc = copy_database(txn, s->rows, copy, copy->rows);
    return rc ? rc : copy_database(txn, s->records, copy, copy->records);
}

/* Pages that fill up half when keys come in between them, and the journal's rows. A map is address
 * space, the file has what is used. */
static uint64_t copy_map_size(const StoreState *s, const StoreLeftovers *left)
{
    return 4 * (STORE_GET(s->stats.used_size) + left->size) + (1u << 24);
}

/* As in a new directory, but for what `meta` will hold. */
static int copy_create(StoreState *copy)
{
    int rc = store_env_open(copy, MDB_NOLOCK);

    if (rc == 0)
        rc = store_in_transaction(copy, store_meta_create_databases);
    if (rc == 0)
        store_measure(copy);
    return rc;
}

static int copy_to(StoreState *s, MDB_txn *txn, StoreLeftovers *left, const char *path)
{
    StoreState *copy = store_new(path, 0, 0, copy_map_size(s, left), 0);
    int rc;

    if (copy == NULL)
        return ENOMEM;
    rc = copy_create(copy);
    if (rc == 0)
        rc = copy_snapshot(s, txn, copy);
    if (rc == 0)
        rc = store_replay_all(copy, left);
    if (rc == 0)
        rc = mdb_env_sync(copy->env, 1);
    if (rc < 0)
        s->found_format = copy->found_format;
    if (copy->env)
        store_env_close(copy);
    store_free(copy);
    return rc;
}

/* The snapshot is kept without holding the lock, or everybody would wait behind a writer that
 * waits for it; `copying` keeps the map in its place. */
int store_backup(StoreState *s, const char *path)
{
    StoreLeftovers left;
    MDB_txn *txn;
    int rc = store_read_whole(s, &txn, &left);

    if (rc)
        return rc;
    __atomic_add_fetch(&s->copying, 1, __ATOMIC_ACQ_REL);
    pthread_rwlock_unlock(&s->env_lock);
    rc = copy_to(s, txn, &left, path);
    store_leftovers_free(&left);
    mdb_txn_abort(txn);
    __atomic_sub_fetch(&s->copying, 1, __ATOMIC_ACQ_REL);
    return rc;
}
