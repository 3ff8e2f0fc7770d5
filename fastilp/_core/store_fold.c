/* Folding: what the writer keeps of the journal in memory, and how it gets from there into the
 * databases `rows` and `records`. A round takes what there is when it starts: the rows that are
 * newer in the journal, then its control records in order. Its last transaction also moves the
 * journal's tail behind all that it folded. Until then a crash leaves the old tail, and a replay
 * from there applies again what was folded already, which changes nothing. */

#include "store_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* In `pending`, in front of the controls of one record. */
typedef struct {
    uint64_t ticket;
    uint64_t size;
    uint64_t count;
} PendingControls;

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

static void remember_rows(StoreState *s, const StoreBatch *batch)
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

/* Room at the end of `pending`: what is folded at its front is given up once it is half of it. */
static void pending_reserve(StoreState *s, size_t size)
{
    size_t used = s->pending_end - s->pending_start;

    if (s->pending_start && s->pending_start >= used) {
        memmove(s->pending, s->pending + s->pending_start, used);
        s->pending_start = 0;
        s->pending_end = used;
    }
    s->pending = store_grown(s->pending, &s->pending_capacity, s->pending_end + size, 1);
}

static void remember_controls(StoreState *s, const StoreBatch *batch)
{
    PendingControls head = {batch->ticket, batch->control_size, batch->control_count};

    if (batch->control_count == 0)
        return;
    pending_reserve(s, sizeof head + batch->control_size);
    memcpy(s->pending + s->pending_end, &head, sizeof head);
    memcpy(s->pending + s->pending_end + sizeof head, batch->controls, batch->control_size);
    s->pending_end += sizeof head + batch->control_size;
}

/* The batch is in the journal: its rows are the newest copies, and all of it is to be folded. */
void store_remember(StoreState *s, const StoreBatch *batch)
{
    remember_rows(s, batch);
    remember_controls(s, batch);
}

/* Step to the controls of the next record that are to be folded; NULL: there are no more. */
static const uint8_t *pending_next(const StoreState *s, size_t *at, PendingControls *head)
{
    const uint8_t *controls;

    if (*at == s->pending_end)
        return NULL;
    memcpy(head, s->pending + *at, sizeof *head);
    controls = s->pending + *at + sizeof *head;
    *at += sizeof *head + head->size;
    return controls;
}

/* --- Folding ---------------------------------------------------------------------------------- */

/* After a commit only the journal's bounds count, a round under way or not; in idle time the
 * writer's loop folds whatever there is. Few rows are folded in no time, before the file must
 * grow. */
int store_fold_wanted(const StoreState *s)
{
    return s->stats.journal_records > STORE_JOURNAL_RECORDS_MAX
        || s->stats.journal_bytes > STORE_JOURNAL_BYTES_MAX
        || store_log_room(&s->log) < s->log.size / 2;
}

/* How many rows one commit folds. While the journal grows a round has to end before the file is
 * full, so it folds twice the share of its rows that the newest record took of the room. */
static uint32_t slice_rows(const StoreState *s)
{
    uint64_t room = store_log_room(&s->log) + 1, rows;

    if (s->log.size < STORE_LOG_BYTES_MAX && !s->log.refused && !s->log.keeps_size)
        room += STORE_LOG_BYTES_MAX - s->log.size;
    rows = 2 * (uint64_t)s->round.rows_left * s->log.last_bytes / room;
    if (rows < STORE_FOLD_SLICE)
        rows = STORE_FOLD_SLICE;
    return rows > STORE_FOLD_SLICE_MAX ? STORE_FOLD_SLICE_MAX : (uint32_t)rows;
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

/* Eight bytes, as LMDB orders them. */
static uint64_t big_endian(const uint8_t *bytes)
{
    uint64_t number = 0;

    for (int i = 0; i < 8; i++)
        number = number << 8 | bytes[i];
    return number;
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

int store_fold_control(StoreState *s, MDB_txn *txn, StoreControl *control)
{
    int rc;

    if (control->deleted) {
        rc = mdb_del(txn, s->records, &control->key, NULL);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    return mdb_put(txn, s->records, &control->key, &control->value, 0);
}

/* What one transaction folds. */
typedef struct {
    uint32_t rows, rows_max;
    uint64_t weight;            /* rows and controls */
    size_t pending_start;       /* controls are folded up to here */
    uint64_t ticket;            /* whose were the last */
    int ends;                   /* with it the round does */
} FoldSlice;

static int fold_controls_of(StoreState *s, MDB_txn *txn, const uint8_t *at, size_t size)
{
    const uint8_t *end = at + size;
    StoreControl control;
    int rc;

    while ((rc = store_control_next(&at, end, &control)) == 1) {
        rc = store_fold_control(s, txn, &control);
        if (rc)
            return rc;
    }
    return rc;
}

/* The round's controls, as far as the slice has room for them. */
static int fold_controls(StoreState *s, MDB_txn *txn, FoldSlice *slice)
{
    PendingControls head;
    const uint8_t *controls;
    size_t at = s->pending_start;
    int rc = 0;

    while (slice->weight < slice->rows_max) {
        controls = pending_next(s, &at, &head);
        slice->ends = controls == NULL || head.ticket > s->round.ticket;
        if (slice->ends)
            break;
        rc = fold_controls_of(s, txn, controls, head.size);
        if (rc)
            break;
        slice->weight += head.count;
        slice->pending_start = at;
        slice->ticket = head.ticket;
    }
    return rc;
}

static int fold_in(StoreState *s, MDB_txn *txn, FoldSlice *slice)
{
    int rc = slice->rows ? fold_rows(s, txn, slice->rows) : 0;

    if (rc == 0 && slice->rows == s->round.rows_left)
        rc = fold_controls(s, txn, slice);
    if (rc == 0 && slice->ends)
        rc = store_meta_put_tail(s, txn, &s->round.tail);
    return rc;
}

static void rows_folded(StoreState *s, uint32_t count)
{
    uint32_t i;

    for (i = 0; i < count; i++) {
        s->newest_known[s->dirty[s->dirty_head]] = 1;
        s->dirty_head = (s->dirty_head + 1) % s->dirty_capacity;
    }
    s->dirty_count -= count;
    s->round.rows_left -= count;
    STORE_ADD(s->stats.fold_rows, count);
}

static void round_ended(StoreState *s)
{
    s->log.tail = s->round.tail;
    STORE_SET(s->stats.journal_records, s->log.sequence - s->log.tail.sequence);
    STORE_SUB(s->stats.journal_bytes, s->round.bytes);
    __atomic_store_n(&s->folded, s->round.ticket, __ATOMIC_RELEASE);
    s->round.ticket = 0;
}

static void slice_folded(StoreState *s, const FoldSlice *slice)
{
    STORE_ADD(s->stats.folds, 1);
    rows_folded(s, slice->rows);
    if (slice->ticket)
        __atomic_store_n(&s->folded, slice->ticket, __ATOMIC_RELEASE);
    s->pending_start = slice->pending_start;
    if (s->pending_start == s->pending_end)
        s->pending_start = s->pending_end = 0;
    if (slice->ends)
        round_ended(s);
}

static void round_begin(StoreState *s)
{
    s->round.ticket = store_committed(s);
    s->round.rows_left = s->dirty_count;
    s->round.tail = (StoreTail){s->log.tail.id, s->log.head, s->log.sequence};
    s->round.bytes = STORE_GET(s->stats.journal_bytes);
    fold_sort(s, s->dirty_count);
}

/* One commit of a round, which begins one if none is under way. */
int store_fold_slice(StoreState *s)
{
    FoldSlice slice = {.pending_start = s->pending_start};
    MDB_txn *txn;
    int rc;

    if (s->round.ticket == 0)
        round_begin(s);
    slice.rows_max = slice_rows(s);
    slice.rows = s->round.rows_left < slice.rows_max ? s->round.rows_left : slice.rows_max;
    slice.weight = slice.rows;
    rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc)
        return rc;
    rc = fold_in(s, txn, &slice);
    if (rc)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);
    if (rc == 0)
        slice_folded(s, &slice);
    return rc;
}

/* --- When the disk may have lost something ---------------------------------------------------- */

static int gather_rows(StoreState *s, StoreBatch *batch)
{
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

/* Controls that are not folded go before the batch's own, in their order. */
static void gather_controls(StoreState *s, StoreBatch *batch)
{
    PendingControls head;
    const uint8_t *controls;
    size_t at = s->pending_start, size = 0;

    while (pending_next(s, &at, &head))
        size += head.size;
    store_batch_reserve(batch, 0, batch->control_size + size);
    memmove(batch->controls + size, batch->controls, batch->control_size);
    batch->control_size += size;
    at = s->pending_start;
    size = 0;
    while ((controls = pending_next(s, &at, &head)) != NULL) {
        memcpy(batch->controls + size, controls, head.size);
        size += head.size;
        batch->control_count += (uint32_t)head.count;
    }
    pthread_mutex_lock(&s->mutex);
    s->queued_control_size += size;
    pthread_mutex_unlock(&s->mutex);
}

/* After reopening or a failed sync: the record under way also carries the newest copy of every row
 * of this run and the controls that are not folded, whatever of the earlier records the disk may
 * have kept. */
int store_gather_all(StoreState *s)
{
    StoreBatch *batch = s->committing;
    int rc = batch->complete ? 0 : gather_rows(s, batch);

    if (rc == 0 && !batch->complete && s->pending_end)
        gather_controls(s, batch);
    batch->complete = rc == 0;
    return rc;
}
