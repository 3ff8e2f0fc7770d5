/* Journal records: writing one per commit, folding them into the rows and records databases, and
 * replay.
 *
 * A record, all numbers little-endian:
 *   u16 format, u16 zero, u32 rows, u32 controls, u32 zero, u64 first ticket, u64 ticket
 *   rows x 128 bytes, each starting with its account's id
 *   controls x { u32 key size, u32 value size or ffffffff for a delete, key, value }
 *
 * Its key is the ticket, big-endian, so that LMDB's order is the order of tickets. Rows are
 * absolute and the newest wins; controls are applied in order. Records are deleted oldest first
 * and in the same transaction that applies their controls, so what a crash leaves is always a
 * suffix that replays to the same state. */

#include "store_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void store_number_put(uint8_t *at, uint64_t number, int size)
{
    for (int i = 0; i < size; i++)
        at[i] = (uint8_t)(number >> (8 * i));
}

uint64_t store_number_get(const uint8_t *at, int size)
{
    uint64_t number = 0;

    for (int i = size - 1; i >= 0; i--)
        number = number << 8 | at[i];
    return number;
}

static void ticket_key(uint8_t *key, uint64_t ticket)
{
    for (int i = 0; i < 8; i++)
        key[i] = (uint8_t)(ticket >> (56 - 8 * i));
}

/* Eight bytes, as LMDB orders them. */
static uint64_t big_endian(const uint8_t *bytes)
{
    uint64_t number = 0;

    for (int i = 0; i < 8; i++)
        number = number << 8 | bytes[i];
    return number;
}

static uint64_t key_ticket(const MDB_val *key)
{
    return key->mv_size == 8 ? big_endian(key->mv_data) : 0;
}

size_t store_record_size(const StoreBatch *batch)
{
    return STORE_JOURNAL_HEADER_BYTES + (size_t)batch->row_count * STORE_ROW_BYTES
        + batch->control_size;
}

static void record_write(uint8_t *at, const StoreBatch *batch)
{
    size_t rows_size = (size_t)batch->row_count * STORE_ROW_BYTES;

    memset(at, 0, STORE_JOURNAL_HEADER_BYTES);
    store_number_put(at, STORE_JOURNAL_FORMAT, 2);
    store_number_put(at + 4, batch->row_count, 4);
    store_number_put(at + 8, batch->control_count, 4);
    store_number_put(at + 16, batch->first_ticket, 8);
    store_number_put(at + 24, batch->ticket, 8);
    at += STORE_JOURNAL_HEADER_BYTES;
    if (rows_size)
        memcpy(at, batch->rows, rows_size);
    if (batch->control_size)
        memcpy(at + rows_size, batch->controls, batch->control_size);
}

int store_record_put(StoreState *s, MDB_txn *txn, const StoreBatch *batch)
{
    uint8_t key_bytes[8];
    MDB_val key = {sizeof key_bytes, key_bytes};
    MDB_val value = {store_record_size(batch), NULL};
    int rc;

    ticket_key(key_bytes, batch->ticket);
    rc = mdb_put(txn, s->journal, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (rc == MDB_KEYEXIST)
        /* Its commit was reported as failed and had reached the disk: write it again. */
        rc = mdb_put(txn, s->journal, &key, &value, MDB_RESERVE);
    if (rc == 0)
        record_write(value.mv_data, batch);
    return rc;
}

int store_record_read(const MDB_val *value, StoreRecord *record, uint32_t *found_format)
{
    const uint8_t *at = value->mv_data;
    size_t rows_size;

    if (value->mv_size < STORE_JOURNAL_HEADER_BYTES)
        return STORE_ERROR_DAMAGED;
    *found_format = (uint32_t)store_number_get(at, 2);
    if (*found_format != STORE_JOURNAL_FORMAT)
        return STORE_ERROR_FORMAT;
    record->row_count = (uint32_t)store_number_get(at + 4, 4);
    record->control_count = (uint32_t)store_number_get(at + 8, 4);
    record->first_ticket = store_number_get(at + 16, 8);
    record->ticket = store_number_get(at + 24, 8);
    rows_size = (size_t)record->row_count * STORE_ROW_BYTES;
    if (value->mv_size - STORE_JOURNAL_HEADER_BYTES < rows_size)
        return STORE_ERROR_DAMAGED;
    record->rows = at + STORE_JOURNAL_HEADER_BYTES;
    record->controls = record->rows + rows_size;
    record->control_size = value->mv_size - STORE_JOURNAL_HEADER_BYTES - rows_size;
    return STORE_OK;
}

/* Step to the next control. 1: got one, 0: the end, or STORE_ERROR_DAMAGED. */
int store_control_next(const uint8_t **at, const uint8_t *end, StoreControl *control)
{
    size_t left = (size_t)(end - *at), key_size, value_size;

    if (left == 0)
        return 0;
    if (left < STORE_CONTROL_HEADER_BYTES)
        return STORE_ERROR_DAMAGED;
    key_size = store_number_get(*at, 4);
    value_size = store_number_get(*at + 4, 4);
    control->deleted = value_size == STORE_CONTROL_DELETED;
    if (control->deleted)
        value_size = 0;
    left -= STORE_CONTROL_HEADER_BYTES;
    if (key_size > left || value_size > left - key_size)
        return STORE_ERROR_DAMAGED;
    control->key.mv_size = key_size;
    control->key.mv_data = (void *)(*at + STORE_CONTROL_HEADER_BYTES);
    control->value.mv_size = value_size;
    control->value.mv_data = (void *)(*at + STORE_CONTROL_HEADER_BYTES + key_size);
    *at += STORE_CONTROL_HEADER_BYTES + key_size + value_size;
    return 1;
}

/* --- What the writer keeps of the rows it has journaled --------------------------------------- */

static void newest_reserve(StoreState *s, uint32_t index)
{
    size_t rows = s->newest_capacity, known = s->newest_capacity;

    if (index < s->newest_capacity)
        return;
    s->newest = store_grown(s->newest, &rows, (size_t)index + 1, STORE_ROW_BYTES);
    s->newest_known = store_grown(s->newest_known, &known, (size_t)index + 1, 1);
    s->newest_capacity = (uint32_t)rows;
}

/* The row index that is `place` behind the oldest. */
static uint32_t dirty_at(const StoreState *s, uint32_t place)
{
    return s->dirty[(s->dirty_head + place) % s->dirty_capacity];
}

static void dirty_push(StoreState *s, uint32_t index)
{
    size_t capacity = 0;
    uint32_t *ring, i;

    if (s->dirty_count == s->dirty_capacity) {
        ring = store_grown(NULL, &capacity, (size_t)s->dirty_count + 1, sizeof *ring);
        for (i = 0; i < s->dirty_count; i++)
            ring[i] = dirty_at(s, i);
        free(s->dirty);
        s->dirty = ring;
        s->dirty_head = 0;
        s->dirty_capacity = (uint32_t)capacity;
    }
    s->dirty[(s->dirty_head + s->dirty_count++) % s->dirty_capacity] = index;
}

static void prefetch_newest(const StoreState *s, uint32_t index)
{
    if (index >= s->newest_capacity)
        return;
    __builtin_prefetch(&s->newest_known[index], 1);
    __builtin_prefetch(s->newest + (size_t)index * STORE_ROW_BYTES, 1);
    __builtin_prefetch(s->newest + (size_t)index * STORE_ROW_BYTES + STORE_ROW_BYTES / 2, 1);
}

/* The batch is on the disk: its rows are the newest copies, and are to be folded. */
void store_remember(StoreState *s, const StoreBatch *batch)
{
    uint32_t i, index;

    for (i = 0; i < batch->row_count; i++) {
        if (i + STORE_PREFETCH_AHEAD < batch->row_count)
            prefetch_newest(s, batch->indexes[i + STORE_PREFETCH_AHEAD]);
        index = batch->indexes[i];
        newest_reserve(s, index);
        memcpy(s->newest + (size_t)index * STORE_ROW_BYTES,
               batch->rows + (size_t)i * STORE_ROW_BYTES, STORE_ROW_BYTES);
        if (s->newest_known[index] != 2)
            dirty_push(s, index);
        s->newest_known[index] = 2;
    }
}

/* --- Folding ---------------------------------------------------------------------------------- */

/* After a commit only the journal's bounds count, a round under way or not; in idle time the
 * writer's loop folds whatever there is. */
int store_fold_wanted(const StoreState *s)
{
    return s->stats.journal_records > STORE_JOURNAL_RECORDS_MAX
        || s->stats.journal_bytes > STORE_JOURNAL_BYTES_MAX;
}

static int fold_rows(StoreState *s, MDB_txn *txn, uint32_t count)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    uint32_t i;
    int rc = mdb_cursor_open(txn, s->rows, &cursor);

    if (rc)
        return rc;
    for (i = 0; i < count && rc == 0; i++) {
        if (i + STORE_PREFETCH_AHEAD < count)
            prefetch_newest(s, dirty_at(s, i + STORE_PREFETCH_AHEAD));
        key.mv_data = value.mv_data = s->newest + (size_t)dirty_at(s, i) * STORE_ROW_BYTES;
        key.mv_size = STORE_ID_BYTES;
        value.mv_size = STORE_ROW_BYTES;
        rc = mdb_cursor_put(cursor, &key, &value, 0);
    }
    mdb_cursor_close(cursor);
    return rc;
}

typedef struct {
    uint64_t key;               /* the first bytes of the id, as LMDB compares them */
    uint32_t index;
} FoldOrder;

static int fold_order_compare(const void *left, const void *right)
{
    uint64_t a = ((const FoldOrder *)left)->key, b = ((const FoldOrder *)right)->key;

    return (a > b) - (a < b);
}

/* A slice in the order of keys shares its pages; at random each row costs a page. Without memory
 * for it any order is right. */
static void fold_sort(StoreState *s, uint32_t count)
{
    FoldOrder *order = malloc(((size_t)count + 1) * sizeof *order);
    uint32_t i;

    if (order == NULL)
        return;
    for (i = 0; i < count; i++) {
        if (i + STORE_PREFETCH_AHEAD < count)
            prefetch_newest(s, dirty_at(s, i + STORE_PREFETCH_AHEAD));
        order[i].index = dirty_at(s, i);
        order[i].key = big_endian(s->newest + (size_t)order[i].index * STORE_ROW_BYTES);
    }
    qsort(order, count, sizeof *order, fold_order_compare);
    for (i = 0; i < count; i++)
        s->dirty[(s->dirty_head + i) % s->dirty_capacity] = order[i].index;
    free(order);
}

static int fold_control(StoreState *s, MDB_txn *txn, StoreControl *control)
{
    int rc;

    if (control->deleted) {
        rc = mdb_del(txn, s->records, &control->key, NULL);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    return mdb_put(txn, s->records, &control->key, &control->value, 0);
}

static int fold_controls(StoreState *s, MDB_txn *txn, const StoreRecord *record)
{
    const uint8_t *at = record->controls;
    StoreControl control;
    int rc;

    while ((rc = store_control_next(&at, record->controls + record->control_size, &control)) == 1) {
        rc = fold_control(s, txn, &control);
        if (rc)
            return rc;
    }
    return rc;
}

/* Replay only: while running, rows come from the newest copies in memory. */
static int replay_rows(StoreState *s, MDB_txn *txn, const StoreRecord *record)
{
    uint32_t i;
    int rc;

    for (i = 0; i < record->row_count; i++) {
        uint8_t *row = (uint8_t *)record->rows + (size_t)i * STORE_ROW_BYTES;
        MDB_val key = {STORE_ID_BYTES, row};
        MDB_val value = {STORE_ROW_BYTES, row};

        rc = mdb_put(txn, s->rows, &key, &value, 0);
        if (rc)
            return rc;
    }
    return 0;
}

/* One transaction's worth of consuming records from the oldest end of the journal. */
typedef struct {
    uint64_t ticket_max;        /* go no further than this */
    uint64_t weight_max;        /* rows and controls to apply at most, give or take one record */
    int with_rows;
    uint64_t records, bytes, weight, last_ticket;   /* what was done */
    int more;                   /* records up to `ticket_max` are left */
    int empty;                  /* the journal is */
    uint8_t *copy;
    size_t copy_size;
} Consumption;

/* LMDB may move a value when the same transaction writes, so what is still needed of the record is
 * copied first: most have rows alone, which nobody needs but a replay. */
static void consume_copy(Consumption *c, StoreRecord *record)
{
    size_t rows_size = c->with_rows ? (size_t)record->row_count * STORE_ROW_BYTES : 0;

    c->copy = store_grown(c->copy, &c->copy_size, rows_size + record->control_size + 1, 1);
    memcpy(c->copy, record->rows, rows_size);
    memcpy(c->copy + rows_size, record->controls, record->control_size);
    record->rows = c->copy;
    record->controls = c->copy + rows_size;
}

static int consume_record(StoreState *s, MDB_cursor *cursor, const MDB_val *value, Consumption *c)
{
    MDB_txn *txn = mdb_cursor_txn(cursor);
    size_t size = value->mv_size;
    StoreRecord record;
    int rc = store_record_read(value, &record, &s->found_format);

    if (rc == 0) {
        consume_copy(c, &record);
        rc = mdb_cursor_del(cursor, 0);
    }
    if (rc == 0 && c->with_rows)
        rc = replay_rows(s, txn, &record);
    if (rc == 0)
        rc = fold_controls(s, txn, &record);
    if (rc == 0) {
        c->records++;
        c->bytes += size;
        c->weight += record.control_count + (c->with_rows ? record.row_count : 0);
        c->last_ticket = record.ticket;
    }
    return rc;
}

/* Apply and delete records from the oldest on. */
static int consume(StoreState *s, MDB_txn *txn, Consumption *c)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, s->journal, &cursor);

    if (rc)
        return rc;
    while (rc == 0) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        c->more = rc == 0 && key_ticket(&key) <= c->ticket_max;
        if (!c->more || c->records >= STORE_DELETE_SLICE || c->weight >= c->weight_max)
            break;
        rc = consume_record(s, cursor, &value, c);
    }
    mdb_cursor_close(cursor);
    c->empty = rc == MDB_NOTFOUND;
    return c->empty ? 0 : rc;
}

/* An empty journal sets the counts right: a commit that was reported as failed may have deleted
 * records. */
static void consumed(StoreState *s, const Consumption *c)
{
    uint64_t records = STORE_GET(s->stats.journal_records);
    uint64_t bytes = STORE_GET(s->stats.journal_bytes);

    records = c->empty || records < c->records ? 0 : records - c->records;
    bytes = c->empty || bytes < c->bytes ? 0 : bytes - c->bytes;
    STORE_SET(s->stats.journal_records, records);
    STORE_SET(s->stats.journal_bytes, bytes);
    if (c->records)
        __atomic_store_n(&s->folded, c->last_ticket, __ATOMIC_RELEASE);
}

static void rows_folded(StoreState *s, uint32_t count)
{
    uint32_t i;

    for (i = 0; i < count; i++) {
        s->newest_known[s->dirty[s->dirty_head]] = 1;
        s->dirty_head = (s->dirty_head + 1) % s->dirty_capacity;
    }
    s->dirty_count -= count;
    s->fold_rows_left -= count;
    STORE_ADD(s->stats.fold_rows, count);
}

static int fold_begin(StoreState *s, MDB_txn **txn)
{
    if (s->fold_ticket == 0) {
        s->fold_ticket = store_committed(s);
        s->fold_rows_left = s->dirty_count;
        fold_sort(s, s->dirty_count);
    }
    return mdb_txn_begin(s->env, NULL, 0, txn);
}

/* One commit of a fold round. A round takes what is dirty when it starts, then deletes the
 * records up to the ticket that was the last one at that moment: every row of theirs is folded
 * by then. */
int store_fold_slice(StoreState *s)
{
    Consumption c = {.weight_max = STORE_FOLD_SLICE};
    uint32_t count;
    MDB_txn *txn;
    int rc = fold_begin(s, &txn);

    if (rc)
        return rc;
    c.ticket_max = s->fold_ticket;
    count = s->fold_rows_left < STORE_FOLD_SLICE ? s->fold_rows_left : STORE_FOLD_SLICE;
    rc = count ? fold_rows(s, txn, count) : consume(s, txn, &c);
    free(c.copy);
    if (rc)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);
    if (rc)
        return rc;
    STORE_ADD(s->stats.folds, 1);
    rows_folded(s, count);
    if (count)
        return 0;
    consumed(s, &c);
    if (!c.more) {
        __atomic_store_n(&s->folded, s->fold_ticket, __ATOMIC_RELEASE);
        s->fold_ticket = 0;
    }
    return 0;
}

static int replay_slice(StoreState *s, Consumption *c)
{
    MDB_txn *txn;
    int rc = store_make_room(s, 0);

    if (rc == 0)
        rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc)
        return rc;
    rc = consume(s, txn, c);
    if (rc)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);
    return rc;
}

/* Start-up: apply whatever a crash left, in slices, until the journal is empty. */
int store_replay(StoreState *s)
{
    Consumption c;
    int rc;

    do {
        c = (Consumption){.ticket_max = UINT64_MAX, .weight_max = 64 * STORE_FOLD_SLICE,
                          .with_rows = 1};
        rc = replay_slice(s, &c);
        free(c.copy);
        if (rc == MDB_MAP_FULL) {
            rc = store_grow(s);
            c.more = 1;
        }
    } while (rc == 0 && c.more);
    return rc;
}

/* After reopening or a failed sync: the record under way also carries the newest copy of every row
 * of this run, whatever of the earlier ones the disk may have kept. */
int store_gather_all(StoreState *s)
{
    StoreBatch *batch = s->committing;
    uint8_t *seen = calloc((size_t)s->newest_capacity + 1, 1);
    uint32_t index;

    if (seen == NULL)
        return ENOMEM;
    for (uint32_t i = 0; i < batch->row_count; i++)
        if (batch->indexes[i] < s->newest_capacity)
            seen[batch->indexes[i]] = 1;
    store_batch_reserve(batch, batch->row_count + s->newest_capacity, 0);
    for (index = 0; index < s->newest_capacity; index++) {
        if (!s->newest_known[index] || seen[index])
            continue;
        batch->indexes[batch->row_count] = index;
        memcpy(batch->rows + (size_t)batch->row_count++ * STORE_ROW_BYTES,
               s->newest + (size_t)index * STORE_ROW_BYTES, STORE_ROW_BYTES);
    }
    free(seen);
    return 0;
}
