/* The queue between those who submit and the writer: one batch gathers while the other is
 * committed. Nothing here touches the disk; the mutex is held for copying only. */

#include "store_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t store_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

uint64_t store_now_ms(void)
{
    return store_now_us() / 1000u;
}

/* Money that cannot be written down must not move: without memory for the queue the process
 * ends, and the journal tells the next one what was open. */
void *store_grown(void *old, size_t *capacity, size_t wanted, size_t item_size)
{
    size_t next = *capacity ? *capacity : 64;
    void *grown;

    if (wanted <= *capacity)
        return old;
    while (next < wanted)
        next *= 2;
    grown = realloc(old, next * item_size);
    if (grown == NULL) {
        fputs("fastilp: no memory for the store's queue\n", stderr);
        abort();
    }
    memset((uint8_t *)grown + *capacity * item_size, 0, (next - *capacity) * item_size);
    *capacity = next;
    return grown;
}

void store_batch_reserve(StoreBatch *batch, uint32_t row_count, size_t control_size)
{
    size_t rows = batch->row_capacity, indexes = batch->row_capacity;

    batch->rows = store_grown(batch->rows, &rows, row_count, STORE_ROW_BYTES);
    batch->indexes = store_grown(batch->indexes, &indexes, row_count, sizeof *batch->indexes);
    batch->row_capacity = (uint32_t)rows;
    batch->controls = store_grown(batch->controls, &batch->control_capacity, control_size, 1);
}

static void positions_reserve(StoreState *s, uint32_t index)
{
    size_t capacity = s->position_capacity;

    if (index < s->position_capacity)
        return;
    s->positions = store_grown(s->positions, &capacity, (size_t)index + 1, sizeof *s->positions);
    s->position_capacity = (uint32_t)capacity;
}

/* The newest copy of a row takes the place of one that still waits: rows are absolute counters. */
static void batch_add_row(StoreState *s, StoreBatch *batch, const uint8_t *row, uint32_t index)
{
    StorePosition *position;

    positions_reserve(s, index);
    position = &s->positions[index];
    if (position->epoch != batch->epoch) {
        position->epoch = batch->epoch;
        position->position = batch->row_count++;
        batch->indexes[position->position] = index;
    }
    memcpy(batch->rows + (size_t)position->position * STORE_ROW_BYTES, row, STORE_ROW_BYTES);
}

static void batch_add(StoreState *s, const uint8_t *rows, const uint32_t *indexes, uint32_t count,
                      uint64_t ticket)
{
    StoreBatch *batch = s->gathering;
    uint32_t i;

    if (batch->ticket == 0)
        batch->first_ticket = ticket;
    batch->ticket = ticket;
    store_batch_reserve(batch, batch->row_count + count, 0);
    for (i = 0; i < count; i++) {
        if (i + STORE_PREFETCH_AHEAD < count
            && indexes[i + STORE_PREFETCH_AHEAD] < s->position_capacity)
            __builtin_prefetch(&s->positions[indexes[i + STORE_PREFETCH_AHEAD]], 1);
        batch_add_row(s, batch, rows + (size_t)i * STORE_ROW_BYTES, indexes[i]);
    }
    s->last_submit_ms = store_now_ms();
}

/* The writer is woken behind the lock: it runs at once, and within it would meet the lock, sleep
 * again, and begin its commit when the loop has nothing left to do. */
void store_queue_submit(StoreState *s, const uint8_t *rows, const uint32_t *indexes,
                        uint32_t count, uint64_t ticket)
{
    if (__atomic_load_n(&s->closed, __ATOMIC_ACQUIRE))
        return;
    pthread_mutex_lock(&s->mutex);
    if (!s->stopping)
        batch_add(s, rows, indexes, count, ticket);
    pthread_mutex_unlock(&s->mutex);
    pthread_cond_signal(&s->work);
}

int store_queue_submit_records(StoreState *s, const uint8_t *rows, const uint32_t *indexes,
                               uint32_t count, uint64_t ticket, const uint8_t *controls,
                               size_t control_size, uint32_t control_count)
{
    StoreBatch *batch;
    int outcome = STORE_OK;

    if (__atomic_load_n(&s->closed, __ATOMIC_ACQUIRE))
        return STORE_ERROR_CLOSED;
    pthread_mutex_lock(&s->mutex);
    if (s->stopping) {
        outcome = STORE_ERROR_CLOSED;
    } else if (s->queued_control_size + control_size > STORE_QUEUED_CONTROL_BYTES_MAX) {
        outcome = STORE_ERROR_CONTROLS_FULL;
    } else {
        batch_add(s, rows, indexes, count, ticket);
        batch = s->gathering;
        store_batch_reserve(batch, 0, batch->control_size + control_size);
        if (control_size)
            memcpy(batch->controls + batch->control_size, controls, control_size);
        batch->control_size += control_size;
        batch->control_count += control_count;
        s->queued_control_size += control_size;
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->mutex);
    return outcome;
}

static void batch_clear(StoreState *s, StoreBatch *batch)
{
    batch->first_ticket = batch->ticket = 0;
    batch->row_count = batch->control_count = 0;
    batch->control_size = 0;
    batch->complete = 0;
    /* Epoch 0 is that of fresh positions; after 2^32 batches old positions must not look
     * current. */
    if (++s->epoch == 0) {
        memset(s->positions, 0, s->position_capacity * sizeof *s->positions);
        s->epoch = 1;
    }
    batch->epoch = s->epoch;
}

/* Writer, under the mutex: take what has gathered. 1 if there was anything. */
int store_queue_swap(StoreState *s)
{
    StoreBatch *full = s->gathering;

    if (full->ticket == 0)
        return 0;
    batch_clear(s, s->committing);
    s->gathering = s->committing;
    s->committing = full;
    return 1;
}

/* Writer: the batch it took is on the disk. */
void store_queue_done(StoreState *s)
{
    pthread_mutex_lock(&s->mutex);
    s->queued_control_size -= s->committing->control_size;
    pthread_mutex_unlock(&s->mutex);
    s->committing->ticket = 0;
}

static void signal_loop(StoreState *s)
{
    uint64_t one = 1;

    /* Noted before it is written: the write may wake the loop and lose the processor to it, and a
     * loop that finds nothing noted would leave the wake-up unread and run in circles. The counter
     * cannot overflow: declare_awake empties it, and one wake-up is written per declaration. */
    __atomic_store_n(&s->signalled, 1, __ATOMIC_SEQ_CST);
    (void)!write(s->eventfd, &one, sizeof one);
}

/* `committed` and `asleep` are each written before the other is read, in one total order, on
 * both sides: either the writer sees the loop asleep or the loop sees the commit. No wake-up is
 * lost. */
void store_publish(StoreState *s, uint64_t ticket)
{
    __atomic_store_n(&s->committed, ticket, __ATOMIC_SEQ_CST);
    if (__atomic_exchange_n(&s->asleep, 0, __ATOMIC_SEQ_CST))
        signal_loop(s);
    pthread_mutex_lock(&s->mutex);
    if (s->waiters)
        pthread_cond_broadcast(&s->committed_changed);
    pthread_mutex_unlock(&s->mutex);
}

void store_declare_asleep(StoreState *s, uint64_t ticket)
{
    if (__atomic_load_n(&s->closed, __ATOMIC_ACQUIRE))
        return;
    __atomic_store_n(&s->asleep, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&s->committed, __ATOMIC_SEQ_CST) < ticket)
        return;
    if (__atomic_exchange_n(&s->asleep, 0, __ATOMIC_SEQ_CST))
        signal_loop(s);
}

void store_declare_awake(StoreState *s)
{
    uint64_t count;

    if (__atomic_load_n(&s->closed, __ATOMIC_ACQUIRE))
        return;
    __atomic_store_n(&s->asleep, 0, __ATOMIC_SEQ_CST);
    /* Noted and not yet written: it is still to be read. */
    if (__atomic_exchange_n(&s->signalled, 0, __ATOMIC_SEQ_CST)
        && read(s->eventfd, &count, sizeof count) < 0)
        __atomic_store_n(&s->signalled, 1, __ATOMIC_SEQ_CST);
}

/* 1 when the ticket is committed, 0 after the timeout or when the store closes without it. */
int store_wait(StoreState *s, uint64_t ticket, double timeout_seconds)
{
    struct timespec until;
    int waited = 0;

    if (store_committed(s) >= ticket || store_health(s) == 3)
        return store_committed(s) >= ticket;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)timeout_seconds;
    until.tv_nsec += (long)((timeout_seconds - (double)(time_t)timeout_seconds) * 1e9);
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec += 1;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&s->mutex);
    s->waiters++;
    while (store_committed(s) < ticket && !STORE_GET(s->gave_up) && store_health(s) != 3
           && waited == 0)
        waited = pthread_cond_timedwait(&s->committed_changed, &s->mutex, &until);
    s->waiters--;
    pthread_mutex_unlock(&s->mutex);
    return store_committed(s) >= ticket;
}
