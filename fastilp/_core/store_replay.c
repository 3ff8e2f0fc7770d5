/* Reading the journal from its tail on: what a crash left, at start-up, and what a running writer
 * has not folded yet, for those who read beside it.
 *
 * A reader takes no lock. It has a snapshot of the environment, reads the file, and looks whether
 * the tail has meanwhile moved beyond what it read: only then can the writer have used blocks again
 * that it still wanted. A record that is not whole ends the journal, because a commit that did not
 * end may leave one. But if a later record says that this one was on the disk, it is damaged. */

#include "store_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void store_leftovers_free(StoreLeftovers *left)
{
    free(left->data);
    free(left->records);
    memset(left, 0, sizeof *left);
}

static void leftovers_add(StoreLeftovers *left, size_t size, uint8_t *data)
{
    left->records = store_grown(left->records, &left->capacity, left->count + 1,
                                sizeof *left->records);
    left->records[left->count++] = (MDB_val){size, data};
}

/* Step to the next record. 1: got one, 0: the end, or what is wrong with it. */
int store_leftovers_next(StoreState *s, StoreLeftovers *left, StoreRecord *record)
{
    int rc;

    if (left->next == left->count)
        return 0;
    rc = store_record_read(&left->records[left->next], record, &s->found_format);
    if (rc)
        return rc;
    left->next++;
    return 1;
}

/* --- The file --------------------------------------------------------------------------------- */

/* All of it, into `data`. A file that is being written has an end nevertheless. */
static int file_load(StoreState *s, StoreLeftovers *left)
{
    int fd = store_log_open_file(s, O_RDONLY), rc = 0;
    struct stat status;
    ssize_t done = 1;

    if (fd < 0)
        return errno == ENOENT ? STORE_ERROR_NO_JOURNAL : errno;
    if (fstat(fd, &status) == 0 && (left->data = malloc((size_t)status.st_size + 1)) == NULL)
        rc = ENOMEM;
    while (rc == 0 && done && left->size < (size_t)status.st_size) {
        done = pread(fd, left->data + left->size, (size_t)status.st_size - left->size,
                     (off_t)left->size);
        if (done < 0)
            rc = errno;
        else
            left->size += (size_t)done;
    }
    close(fd);
    return rc == 0 && left->size < STORE_LOG_START ? STORE_ERROR_DAMAGED : rc;
}

/* 1 if a whole record of this sequence lies here. */
static int record_at(const StoreLeftovers *left, uint64_t id, uint64_t at, StoreLogHeader *header)
{
    const uint8_t *body;

    if (at > left->size || left->size - at < STORE_LOG_HEADER_BYTES
        || !store_log_header_read(left->data + at, header))
        return 0;
    if (header->id != id || header->sequence != left->sequence
        || header->size > left->size - at - STORE_LOG_HEADER_BYTES)
        return 0;
    body = left->data + at + STORE_LOG_HEADER_BYTES;
    return store_crc(body, header->size) == header->body_checksum;
}

/* Where the next record lies, behind the one before or at the start; 0: nowhere. */
static uint64_t record_find(const StoreLeftovers *left, uint64_t id, StoreLogHeader *header)
{
    StoreLogHeader behind, first;
    int is_behind = record_at(left, id, left->at, &behind);
    int is_first = record_at(left, id, STORE_LOG_START, &first);

    if (is_first && (!is_behind || first.attempt > behind.attempt)) {
        *header = first;
        return STORE_LOG_START;
    }
    *header = behind;
    return is_behind ? left->at : 0;
}

static int walk(StoreState *s, StoreLeftovers *left, uint64_t id)
{
    StoreLogHeader header;
    uint64_t at;

    while ((at = record_find(left, id, &header)) != 0) {
        s->found_format = header.format;
        if (header.format != STORE_FORMAT)
            return STORE_ERROR_FORMAT;
        at += STORE_LOG_HEADER_BYTES;
        leftovers_add(left, header.size, left->data + at);
        left->at = (at + header.size + STORE_BLOCK_BYTES - 1) / STORE_BLOCK_BYTES
            * STORE_BLOCK_BYTES;
        left->sequence++;
    }
    return 0;
}

/* Whether anything in the file says that the record at which the walk ended was on the disk. */
static int was_written(const StoreLeftovers *left, uint64_t id)
{
    StoreLogHeader header;
    size_t at;

    for (at = STORE_LOG_START; at + STORE_LOG_HEADER_BYTES <= left->size; at += STORE_BLOCK_BYTES)
        if (store_log_header_read(left->data + at, &header) && header.id == id
            && header.sequence > left->sequence && header.synced >= left->sequence)
            return 1;
    return 0;
}

static int read_from(StoreState *s, StoreLeftovers *left, const StoreTail *tail)
{
    int rc;

    store_leftovers_free(left);
    left->at = tail->at;
    left->sequence = tail->sequence;
    rc = file_load(s, left);
    if (rc == 0)
        rc = store_log_identity_check(s, left->data, tail->id);
    return rc ? rc : walk(s, left, tail->id);
}

/* The writer appends while we read, so a later record alone proves nothing: what was not there at
 * first has to be there when the file is read once more. */
static int file_read(StoreState *s, StoreLeftovers *left, const StoreTail *tail)
{
    int rc = read_from(s, left, tail);
    uint64_t end = left->sequence;

    if (rc || !was_written(left, tail->id))
        return rc;
    rc = read_from(s, left, tail);
    return rc == 0 && left->sequence == end ? STORE_ERROR_DAMAGED : rc;
}

/* STORE_ERROR_AGAIN if the tail has moved beyond what was read, or the journal is another one. */
static int overtaken(StoreState *s, const StoreTail *tail, uint64_t sequence)
{
    StoreTail now;
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);

    if (rc)
        return rc == MDB_MAP_RESIZED ? STORE_ERROR_AGAIN : rc;
    rc = store_meta_tail(s, txn, &now);
    mdb_txn_abort(txn);
    if (rc == MDB_NOTFOUND || (rc == 0 && (now.id != tail->id || now.sequence > sequence)))
        return STORE_ERROR_AGAIN;
    return rc;
}

/* --- Format 1 --------------------------------------------------------------------------------- */

/* Into `data`, because LMDB's map may move before all is applied. */
static int values_copy(StoreLeftovers *left)
{
    size_t size = 0, i;
    uint8_t *at;

    for (i = 0; i < left->count; i++)
        size += left->records[i].mv_size;
    at = left->data = malloc(size + 1);
    if (at == NULL)
        return ENOMEM;
    for (i = 0; i < left->count; i++) {
        memcpy(at, left->records[i].mv_data, left->records[i].mv_size);
        left->records[i].mv_data = at;
        at += left->records[i].mv_size;
    }
    return 0;
}

/* The journal was a database: ticket, big-endian, and record. */
static int database_read(StoreState *s, MDB_txn *txn, StoreLeftovers *left)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = s->journal ? mdb_cursor_open(txn, s->journal, &cursor) : MDB_NOTFOUND;

    if (rc)
        return rc == MDB_NOTFOUND ? 0 : rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
        leftovers_add(left, value.mv_size, value.mv_data);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? values_copy(left) : rc;
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* What is committed and not folded in the snapshot of `txn`, or a little more. It is used within
 * that transaction. */
int store_leftovers_load(StoreState *s, MDB_txn *txn, StoreLeftovers *left)
{
    uint32_t format;
    StoreTail tail;
    int rc = store_meta_format(s, txn, &format), again;

    memset(left, 0, sizeof *left);
    if (rc)
        return rc;
    if (format == STORE_FORMAT_DATABASE)
        return database_read(s, txn, left);
    rc = store_meta_tail(s, txn, &tail);
    if (rc)
        return rc == MDB_NOTFOUND ? 0 : rc;
    rc = file_read(s, left, &tail);
    again = overtaken(s, &tail, left->sequence);
    return again ? again : rc;
}

/* A snapshot and what is to be applied to it. Ended by store_leftovers_free and store_read_end. */
int store_read_whole(StoreState *s, MDB_txn **txn, StoreLeftovers *left)
{
    int rc = STORE_ERROR_AGAIN;

    for (int try = 0; try < STORE_READ_TRIES && rc == STORE_ERROR_AGAIN; try++) {
        rc = store_read_begin(s, txn);
        if (rc)
            return rc;
        rc = store_leftovers_load(s, *txn, left);
        if (rc) {
            store_leftovers_free(left);
            store_read_end(s, *txn);
        }
    }
    return rc == STORE_ERROR_AGAIN ? EBUSY : rc;
}

/* --- Replay ----------------------------------------------------------------------------------- */

static int apply_rows(StoreState *s, MDB_txn *txn, const StoreRecord *record)
{
    uint32_t i;
    int rc = 0;

    for (i = 0; i < record->row_count && rc == 0; i++) {
        uint8_t *row = (uint8_t *)record->rows + (size_t)i * STORE_ROW_BYTES;
        MDB_val key = {STORE_ID_BYTES, row}, value = {STORE_ROW_BYTES, row};

        rc = mdb_put(txn, s->rows, &key, &value, 0);
    }
    return rc;
}

static int apply(StoreState *s, MDB_txn *txn, const StoreRecord *record)
{
    const uint8_t *at = record->controls;
    StoreControl control;
    int rc = apply_rows(s, txn, record);

    while (rc == 0
           && (rc = store_control_next(&at, record->controls + record->control_size,
                                       &control)) == 1)
        rc = store_fold_control(s, txn, &control);
    return rc;
}

/* One transaction's worth, the last one also says that the journal is done with. */
static int replay_in(StoreState *s, MDB_txn *txn, StoreLeftovers *left)
{
    uint64_t weight = 0;
    StoreRecord record;
    int rc = 1;

    while (weight < STORE_FOLD_SLICE_MAX && (rc = store_leftovers_next(s, left, &record)) == 1) {
        rc = apply(s, txn, &record);
        if (rc)
            return rc;
        weight += record.row_count + record.control_count;
    }
    if (rc < 0)
        return rc;
    return left->next == left->count ? store_meta_no_journal(s, txn) : 0;
}

static int replay_slice(StoreState *s, StoreLeftovers *left)
{
    size_t first = left->next;
    MDB_txn *txn;
    int rc = store_make_room(s, 0);

    if (rc == 0)
        rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc)
        return rc;
    rc = replay_in(s, txn, left);
    if (rc)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);
    if (rc == MDB_MAP_FULL) {
        left->next = first;
        rc = store_grow(s);
    }
    return rc;
}

/* All of it, and the journal is done with. */
int store_replay_all(StoreState *s, StoreLeftovers *left)
{
    int rc;

    do {
        rc = replay_slice(s, left);
    } while (rc == 0 && left->next < left->count);
    return rc;
}

/* Start-up: apply whatever a crash left. The tail stays where it is until all of it is, so being
 * interrupted is harmless. */
int store_replay(StoreState *s)
{
    StoreLeftovers left;
    MDB_txn *txn;
    int rc = store_read_whole(s, &txn, &left);

    if (rc)
        return rc;
    store_read_end(s, txn);
    rc = store_replay_all(s, &left);
    store_leftovers_free(&left);
    return rc;
}
