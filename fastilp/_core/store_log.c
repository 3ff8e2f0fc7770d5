/* The journal's file: a ring of blocks beside the environment, to which each commit appends one
 * record with one write. It is filled with zeros ahead of use, so that an append changes nothing
 * of the file but those blocks, and one wait for the disk is all that a commit takes.
 *
 * Block 0, all numbers little-endian:
 *   "fastilpJ", u32 format, u32 zero, 16 bytes node id, u64 journal id, 20 zeros,
 *   u32 checksum of the 60 bytes before
 *
 * A record, at a multiple of 4096, the last block filled up with zeros:
 *   "ILPR", u32 format, u64 journal id, u64 sequence, u64 last sequence known to be on the disk,
 *   u64 attempt, u64 size of the body, u64 zero, u32 checksum of the body,
 *   u32 checksum of the 60 bytes before, body (store_record.c)
 *
 * The record that follows another lies behind it or, where it did not fit, at the start. A write
 * that failed may have left a whole record at one of these places and its repetition another at the
 * other one: the higher attempt is the one that counts. Checksums are CRC-32C. */

#define _GNU_SOURCE

#include "store_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { CHECKED_BYTES = STORE_LOG_HEADER_BYTES - 4, ZEROS_BYTES = STORE_LOG_STEP };

static const uint8_t FILE_MAGIC[8] = "fastilpJ", RECORD_MAGIC[4] = "ILPR";

static uint64_t rounded_up(uint64_t number, uint64_t step)
{
    return (number + step - 1) / step * step;
}

/* --- Headers ---------------------------------------------------------------------------------- */

static void header_seal(uint8_t *at)
{
    store_number_put(at + CHECKED_BYTES, store_crc(at, CHECKED_BYTES), 4);
}

static int header_sealed(const uint8_t *at)
{
    return store_number_get(at + CHECKED_BYTES, 4) == store_crc(at, CHECKED_BYTES);
}

static void header_write(uint8_t *at, const StoreLogHeader *header)
{
    memset(at, 0, STORE_LOG_HEADER_BYTES);
    memcpy(at, RECORD_MAGIC, sizeof RECORD_MAGIC);
    store_number_put(at + 4, STORE_FORMAT, 4);
    store_number_put(at + 8, header->id, 8);
    store_number_put(at + 16, header->sequence, 8);
    store_number_put(at + 24, header->synced, 8);
    store_number_put(at + 32, header->attempt, 8);
    store_number_put(at + 40, header->size, 8);
    store_number_put(at + 56, header->body_checksum, 4);
    header_seal(at);
}

/* 1 if a record's header is here, be its body whole or not. */
int store_log_header_read(const uint8_t *at, StoreLogHeader *header)
{
    if (memcmp(at, RECORD_MAGIC, sizeof RECORD_MAGIC) != 0 || !header_sealed(at))
        return 0;
    header->format = (uint32_t)store_number_get(at + 4, 4);
    header->id = store_number_get(at + 8, 8);
    header->sequence = store_number_get(at + 16, 8);
    header->synced = store_number_get(at + 24, 8);
    header->attempt = store_number_get(at + 32, 8);
    header->size = store_number_get(at + 40, 8);
    header->body_checksum = (uint32_t)store_number_get(at + 56, 4);
    return 1;
}

/* Whether the file with this first block is the one that `meta` speaks of. */
int store_log_identity_check(StoreState *s, const uint8_t *block, uint64_t id)
{
    if (memcmp(block, FILE_MAGIC, sizeof FILE_MAGIC) != 0 || !header_sealed(block))
        return STORE_ERROR_DAMAGED;
    s->found_format = (uint32_t)store_number_get(block + 8, 4);
    if (s->found_format != STORE_FORMAT)
        return STORE_ERROR_FORMAT;
    if (memcmp(block + 16, s->node_id, sizeof s->node_id) != 0
        || store_number_get(block + 32, 8) != id)
        return STORE_ERROR_OTHER_JOURNAL;
    return STORE_OK;
}

/* --- The file --------------------------------------------------------------------------------- */

/* A descriptor, or -1 with errno. */
int store_log_open_file(const StoreState *s, int flags)
{
    size_t size = strlen(s->path) + sizeof "/journal";
    char *path = malloc(size);
    int fd;

    if (path == NULL)
        return -1;
    (void)snprintf(path, size, "%s/journal", s->path);
    fd = open(path, flags | O_CLOEXEC, 0600);
    free(path);
    return fd;
}

static int write_whole(int fd, const uint8_t *data, size_t size, uint64_t at)
{
    ssize_t done;

    while (size) {
        done = pwrite(fd, data, size, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done ? errno : EIO;
        data += done;
        size -= (size_t)done;
        at += (uint64_t)done;
    }
    return 0;
}

/* After a sync that failed the kernel may take pages for clean that never reached the disk, and the
 * next sync would succeed without them: no sync is believed before all of the file was written once
 * more, as it can be read. The writer alone writes, so nothing changes meanwhile. */
int store_write_again(int fd, uint64_t end)
{
    uint8_t pages[STORE_MAP_SIZE_STEP];
    uint64_t at = 0;
    ssize_t size = 1;
    int rc = 0;

    while (rc == 0 && size && at < end) {
        size = pread(fd, pages, sizeof pages, (off_t)at);
        if (size < 0)
            return errno;
        rc = write_whole(fd, pages, (size_t)size, at);
        at += (uint64_t)size;
    }
    return rc;
}

/* The blocks are asked for first, so that a disk without room refuses all of them or none. */
static int take_blocks(int fd, uint64_t from, uint64_t to)
{
    int rc;

    do {
        rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from)) ? errno : 0;
    } while (rc == EINTR);
    return rc == EOPNOTSUPP || rc == ENOSYS || rc == EINVAL ? 0 : rc;
}

static int grow_to(StoreLog *log, uint64_t end)
{
    static uint8_t zeros[ZEROS_BYTES];
    int rc = take_blocks(log->fd, log->size, end);

    while (rc == 0 && log->size < end) {
        uint64_t size = end - log->size < sizeof zeros ? end - log->size : sizeof zeros;

        rc = write_whole(log->fd, zeros, size, log->size);
        if (rc == 0)
            log->size += size;
    }
    return rc;
}

static int identity_write(StoreState *s)
{
    uint8_t block[STORE_BLOCK_BYTES] = {0};

    memcpy(block, FILE_MAGIC, sizeof FILE_MAGIC);
    store_number_put(block + 8, STORE_FORMAT, 4);
    memcpy(block + 16, s->node_id, sizeof s->node_id);
    store_number_put(block + 32, s->log.tail.id, 8);
    header_seal(block);
    return write_whole(s->log.fd, block, sizeof block, 0);
}

/* So that the file's name outlives a power cut. */
static int directory_sync(const StoreState *s)
{
    int fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

    if (fd < 0)
        return errno;
    rc = fsync(fd) ? errno : 0;
    close(fd);
    return rc == EINVAL ? 0 : rc;
}

static int size_settle(StoreLog *log)
{
    struct stat status;
    int rc = 0;

    if (fstat(log->fd, &status))
        return errno;
    log->size = (uint64_t)status.st_size / STORE_BLOCK_BYTES * STORE_BLOCK_BYTES;
    if (log->size > STORE_LOG_BYTES_MAX) {
        rc = ftruncate(log->fd, STORE_LOG_BYTES_MAX) ? errno : 0;
        log->size = STORE_LOG_BYTES_MAX;
    }
    return rc || log->size >= STORE_LOG_BYTES_MIN ? rc : grow_to(log, STORE_LOG_BYTES_MIN);
}

/* Synced appends go past the page cache, which takes a quarter less of the time, unless the file
 * system does not do that (tmpfs of older kernels). */
static void append_open(StoreState *s)
{
    StoreLog *log = &s->log;

    log->append_fd = s->sync ? store_log_open_file(s, O_RDWR | O_DSYNC | O_DIRECT) : -1;
    if (log->append_fd < 0)
        log->append_fd = log->fd;
}

/* A journal of its own for this run, so that nothing that lies in the file from earlier ones is
 * taken for it. What those had is in the environment by now; `meta` says so until it is told of the
 * new journal. */
int store_log_open(StoreState *s)
{
    StoreLog *log = &s->log;
    int rc;

    log->fd = store_log_open_file(s, O_RDWR | O_CREAT | (s->sync ? O_DSYNC : 0));
    if (log->fd < 0)
        return errno;
    if (getrandom(&log->tail.id, sizeof log->tail.id, 0) != (ssize_t)sizeof log->tail.id)
        return errno;
    log->tail.at = log->head = STORE_LOG_START;
    log->tail.sequence = log->sequence = 1;
    rc = size_settle(log);
    append_open(s);
    if (rc == 0)
        rc = identity_write(s);
    if (rc == 0 && fdatasync(log->fd))
        rc = errno;
    return rc ? rc : directory_sync(s);
}

void store_log_close(StoreState *s)
{
    if (s->log.append_fd >= 0 && s->log.append_fd != s->log.fd)
        close(s->log.append_fd);
    if (s->log.fd >= 0)
        close(s->log.fd);
    s->log.fd = s->log.append_fd = -1;
    free(s->log.buffer);
    s->log.buffer = NULL;
    s->log.buffer_size = 0;
}

/* --- Appending -------------------------------------------------------------------------------- */

uint64_t store_log_bytes(const StoreBatch *batch)
{
    return rounded_up(STORE_LOG_HEADER_BYTES + store_record_size(batch), STORE_BLOCK_BYTES);
}

/* The journal runs on behind its tail, or has come round and ends before it. */
static int has_come_round(const StoreLog *log)
{
    return !store_log_empty(log) && log->head <= log->tail.at;
}

/* Bytes that are free, at the end and at the start together. */
uint64_t store_log_room(const StoreLog *log)
{
    if (store_log_empty(log))
        return log->size - STORE_LOG_START;
    if (has_come_round(log))
        return log->tail.at - log->head;
    return log->size - log->head + log->tail.at - STORE_LOG_START;
}

/* Where the next record goes; 0: nowhere. */
static uint64_t place(const StoreLog *log, uint64_t size)
{
    uint64_t start_end = store_log_empty(log) ? log->size : log->tail.at;

    if (has_come_round(log))
        return log->head + size <= log->tail.at ? log->head : 0;
    if (!store_log_empty(log) && log->head + size <= log->size)
        return log->head;
    return STORE_LOG_START + size <= start_end ? STORE_LOG_START : 0;
}

static int is_space(int rc)
{
    return rc == ENOSPC || rc == EDQUOT || rc == EFBIG;
}

/* Make the file larger, within its bound, or ask for folding. An empty journal has nothing to fold,
 * so its file grows to what the record needs. */
static int extend(StoreLog *log, uint64_t size)
{
    uint64_t from = store_log_empty(log) ? STORE_LOG_START : log->head;
    uint64_t end = rounded_up(from + size, STORE_LOG_STEP);
    int rc;

    if (!store_log_empty(log) && (has_come_round(log) || end > STORE_LOG_BYTES_MAX))
        return STORE_ERROR_FULL;
    rc = grow_to(log, end);
    return is_space(rc) && !store_log_empty(log) ? STORE_ERROR_FULL : rc;
}

/* At the start of a page, as a write past the page cache wants it. */
static void buffer_reserve(StoreLog *log, uint64_t size)
{
    if (size <= log->buffer_size)
        return;
    free(log->buffer);
    log->buffer_size = (size_t)rounded_up(2 * size, STORE_BLOCK_BYTES);
    log->buffer = aligned_alloc(STORE_BLOCK_BYTES, log->buffer_size);
    if (log->buffer == NULL) {
        fputs("fastilp: no memory for a journal record\n", stderr);
        abort();
    }
}

static const uint8_t *record_in_blocks(StoreState *s, const StoreBatch *batch, uint64_t size)
{
    StoreLog *log = &s->log;
    size_t body_size = store_record_size(batch), used = STORE_LOG_HEADER_BYTES + body_size;
    StoreLogHeader header = {.id = log->tail.id, .sequence = log->sequence, .synced = log->synced,
                             .attempt = ++log->attempt, .size = body_size};

    buffer_reserve(log, size);
    store_record_write(log->buffer + STORE_LOG_HEADER_BYTES, batch);
    header.body_checksum = store_crc(log->buffer + STORE_LOG_HEADER_BYTES, body_size);
    header_write(log->buffer, &header);
    memset(log->buffer + used, 0, size - used);
    return log->buffer;
}

/* What opens a file for such writes may still refuse them. */
static int write_blocks(StoreLog *log, const uint8_t *blocks, size_t size, uint64_t at)
{
    int rc = write_whole(log->append_fd, blocks, size, at);

    if (rc != EINVAL || log->append_fd == log->fd)
        return rc;
    close(log->append_fd);
    log->append_fd = log->fd;
    return write_whole(log->fd, blocks, size, at);
}

/* One record, which is on the disk (durability "commit") or with the kernel when this returns 0.
 * STORE_ERROR_FULL: something has to be folded first. */
int store_log_append(StoreState *s, const StoreBatch *batch)
{
    StoreLog *log = &s->log;
    uint64_t size = store_log_bytes(batch), at;
    int rc;

    while ((at = place(log, size)) == 0) {
        rc = extend(log, size);
        if (rc)
            return rc;
    }
    rc = write_blocks(log, record_in_blocks(s, batch, size), size, at);
    if (rc)
        return rc;
    if (store_log_empty(log))
        log->tail.at = at;
    if (s->sync)
        log->synced = log->sequence;
    log->sequence++;
    log->head = at + size;
    log->last_bytes = size;
    return 0;
}

/* The last of a disk is for LMDB's file, into which all must be folded: it never gives it back. */
static int is_scarce(const StoreState *s)
{
    struct statvfs status;

    return fstatvfs(s->log.fd, &status) == 0
        && (uint64_t)status.f_bavail * status.f_frsize < STORE_LOG_STEP + 2 * s->preallocate;
}

/* Between commits: many rows take long to fold, so the file becomes larger before it is full.
 * Where the disk has little left, folding goes faster instead; where it refuses, new money must
 * stop as it does when LMDB's file cannot grow. */
void store_log_ahead(StoreState *s)
{
    StoreLog *log = &s->log;
    int is_wanted = log->size < STORE_LOG_BYTES_MAX && s->dirty_count > 4 * STORE_FOLD_SLICE
        && store_log_room(log) < log->size / 2;

    log->keeps_size = is_wanted && is_scarce(s);
    log->refused = is_wanted && !log->keeps_size && grow_to(log, log->size + STORE_LOG_STEP) != 0;
    if (log->refused)
        __atomic_store_n(&s->no_space, 1, __ATOMIC_RELEASE);
}

/* Durability "process": what was appended so far reaches the disk. */
int store_log_sync(StoreState *s)
{
    StoreLog *log = &s->log;
    int rc = s->sync_failed ? store_write_again(log->fd, log->size) : 0;

    if (rc == 0 && fdatasync(log->fd))
        rc = errno;
    if (rc == 0)
        log->synced = log->sequence - 1;
    return rc;
}
