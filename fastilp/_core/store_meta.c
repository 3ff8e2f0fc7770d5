/* The database `meta`: formats, who the node is, how the last run ended, and where the unfolded
 * part of the journal begins. Its numbers are little-endian, like all of ours.
 *
 *   format       u32
 *   node_id      16 random bytes, made once
 *   incarnation  u64, raised at each opening
 *   clean        u8, 1 after an orderly close
 *   journal      u64 id, u64 offset, u64 sequence; absent: the environment has everything, and the
 *                journal's file, be there one or not, says nothing */

#include "store_state.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum { TAIL_BYTES = 24 };

static int meta_get(StoreState *s, MDB_txn *txn, const char *name, void *into, size_t size)
{
    MDB_val key = {strlen(name), (void *)name}, value;
    int rc = mdb_get(txn, s->meta, &key, &value);

    if (rc)
        return rc;
    if (value.mv_size != size)
        return STORE_ERROR_DAMAGED;
    memcpy(into, value.mv_data, size);
    return 0;
}

static int meta_put(StoreState *s, MDB_txn *txn, const char *name, const void *from, size_t size)
{
    MDB_val key = {strlen(name), (void *)name}, value = {size, (void *)from};

    return mdb_put(txn, s->meta, &key, &value, 0);
}

/* An environment that has databases, but none of ours, is somebody else's. */
static int meta_open(StoreState *s, MDB_txn *txn, unsigned int create)
{
    MDB_dbi main_dbi;
    MDB_stat stat;
    int rc = mdb_dbi_open(txn, "meta", 0, &s->meta);

    if (rc != MDB_NOTFOUND)
        return rc;
    rc = mdb_dbi_open(txn, NULL, 0, &main_dbi);
    if (rc == 0)
        rc = mdb_stat(txn, main_dbi, &stat);
    if (rc == 0 && (stat.ms_entries || !create))
        return STORE_ERROR_FOREIGN;
    return rc ? rc : mdb_dbi_open(txn, "meta", create, &s->meta);
}

static int databases_open(StoreState *s, MDB_txn *txn, unsigned int create)
{
    int rc = mdb_dbi_open(txn, "rows", create, &s->rows);

    if (rc == 0)
        rc = mdb_dbi_open(txn, "records", create, &s->records);
    if (rc)
        return rc;
    rc = mdb_dbi_open(txn, "journal", 0, &s->journal);
    if (rc == MDB_NOTFOUND)
        s->journal = 0;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int store_meta_format(StoreState *s, MDB_txn *txn, uint32_t *format)
{
    uint8_t bytes[4];
    int rc = meta_get(s, txn, "format", bytes, sizeof bytes);

    if (rc)
        return rc;
    *format = s->found_format = (uint32_t)store_number_get(bytes, 4);
    return *format == STORE_FORMAT || *format == STORE_FORMAT_DATABASE ? 0 : STORE_ERROR_FORMAT;
}

static int format_put(StoreState *s, MDB_txn *txn)
{
    uint8_t format[4];

    store_number_put(format, STORE_FORMAT, 4);
    return meta_put(s, txn, "format", format, sizeof format);
}

static int meta_read(StoreState *s, MDB_txn *txn)
{
    uint8_t incarnation[8], clean[1];
    uint32_t format;
    int rc = store_meta_format(s, txn, &format);

    if (rc)
        return rc;
    rc = meta_get(s, txn, "node_id", s->node_id, sizeof s->node_id);
    if (rc == 0)
        rc = meta_get(s, txn, "incarnation", incarnation, sizeof incarnation);
    if (rc == 0)
        rc = meta_get(s, txn, "clean", clean, sizeof clean);
    if (rc)
        return rc == MDB_NOTFOUND ? STORE_ERROR_DAMAGED : rc;
    s->incarnation = store_number_get(incarnation, 8);
    s->was_clean = clean[0];
    return 0;
}

static int meta_create(StoreState *s, MDB_txn *txn)
{
    int rc;

    if (getrandom(s->node_id, sizeof s->node_id, 0) != (ssize_t)sizeof s->node_id)
        return errno;
    s->incarnation = 0;
    s->was_clean = 1;
    rc = format_put(s, txn);
    return rc ? rc : meta_put(s, txn, "node_id", s->node_id, sizeof s->node_id);
}

static int meta_raise(StoreState *s, MDB_txn *txn)
{
    uint8_t incarnation[8], clean[1] = {0};
    int rc;

    store_number_put(incarnation, s->incarnation + 1, 8);
    rc = meta_put(s, txn, "incarnation", incarnation, sizeof incarnation);
    return rc ? rc : meta_put(s, txn, "clean", clean, sizeof clean);
}

/* First transaction of a run. Nothing is written unless the format is ours. */
int store_meta_first(StoreState *s, MDB_txn *txn)
{
    int rc = meta_open(s, txn, s->read_only ? 0 : MDB_CREATE);

    if (rc)
        return rc;
    rc = meta_read(s, txn);
    if (rc == MDB_NOTFOUND)
        rc = s->read_only ? STORE_ERROR_FOREIGN : meta_create(s, txn);
    if (rc == 0)
        rc = databases_open(s, txn, s->read_only ? 0 : MDB_CREATE);
    return rc || s->read_only ? rc : meta_raise(s, txn);
}

int store_meta_create_databases(StoreState *s, MDB_txn *txn)
{
    int rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &s->meta);

    return rc ? rc : databases_open(s, txn, MDB_CREATE);
}

int store_meta_again(StoreState *s, MDB_txn *txn)
{
    int rc = mdb_dbi_open(txn, "meta", 0, &s->meta);

    return rc ? rc : databases_open(s, txn, 0);
}

/* --- The journal ------------------------------------------------------------------------------ */

/* MDB_NOTFOUND: there is nothing in the file that the environment has not. */
int store_meta_tail(StoreState *s, MDB_txn *txn, StoreTail *tail)
{
    uint8_t bytes[TAIL_BYTES];
    int rc = meta_get(s, txn, "journal", bytes, sizeof bytes);

    if (rc)
        return rc;
    tail->id = store_number_get(bytes, 8);
    tail->at = store_number_get(bytes + 8, 8);
    tail->sequence = store_number_get(bytes + 16, 8);
    return 0;
}

int store_meta_put_tail(StoreState *s, MDB_txn *txn, const StoreTail *tail)
{
    uint8_t bytes[TAIL_BYTES];

    store_number_put(bytes, tail->id, 8);
    store_number_put(bytes + 8, tail->at, 8);
    store_number_put(bytes + 16, tail->sequence, 8);
    return meta_put(s, txn, "journal", bytes, sizeof bytes);
}

int store_meta_begin_journal(StoreState *s, MDB_txn *txn)
{
    return store_meta_put_tail(s, txn, &s->log.tail);
}

/* All that the journal has is in this transaction or before it. */
int store_meta_no_journal(StoreState *s, MDB_txn *txn)
{
    MDB_val key = {strlen("journal"), (void *)"journal"};
    int rc = mdb_del(txn, s->meta, &key, NULL);

    if (rc == 0 || rc == MDB_NOTFOUND)
        rc = mdb_dbi_open(txn, "journal", 0, &s->journal);
    if (rc == 0)
        rc = mdb_drop(txn, s->journal, 1);
    s->journal = 0;
    return rc && rc != MDB_NOTFOUND ? rc : format_put(s, txn);
}

static int clean_put(StoreState *s, MDB_txn *txn)
{
    uint8_t clean[1] = {1};
    int rc = store_meta_no_journal(s, txn);

    return rc ? rc : meta_put(s, txn, "clean", clean, sizeof clean);
}

/* Everything is folded and nothing will come. */
int store_mark_clean(StoreState *s)
{
    int rc = store_in_transaction(s, clean_put);

    return rc || s->sync ? rc : store_sync(s);
}
