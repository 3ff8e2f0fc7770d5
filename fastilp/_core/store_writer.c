/* The writer thread: takes what has gathered, makes one journal record of it, commits, publishes
 * the ticket; between commits it folds the journal. It is compiled, never takes the GIL and
 * blocks all signals. */

#define _GNU_SOURCE

#include "store_state.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { FAILING_COMMIT = 1, FAILING_FOLD = 2, FAILING_SYNC = 4 };

typedef enum { TURN_COMMIT, TURN_FOLD, TURN_TICK, TURN_ROOM, TURN_STOP } Turn;

static void set_failing(StoreState *s, int bit, int rc)
{
    if (rc) {
        STORE_ADD(s->stats.failures, 1);
        __atomic_fetch_or(&s->failing, bit, __ATOMIC_RELEASE);
    } else if (__atomic_load_n(&s->failing, __ATOMIC_RELAXED) & bit) {
        __atomic_fetch_and(&s->failing, ~bit, __ATOMIC_RELEASE);
    }
}

static void pause_ms(uint32_t ms)
{
    struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000L};

    nanosleep(&pause, NULL);
}

static int stopping(StoreState *s)
{
    int value;

    pthread_mutex_lock(&s->mutex);
    value = s->stopping;
    pthread_mutex_unlock(&s->mutex);
    return value;
}

/* --- Committing ------------------------------------------------------------------------------- */

/* An environment in panic is reopened. What was folded into it is on the disk, unless commits are
 * not synced: then the next record takes every known row along. */
static int mend(StoreState *s, int rc)
{
    if (rc != MDB_PANIC && s->env != NULL)
        return 0;
    rc = store_reopen(s);
    if (rc == 0)
        s->rewrite_all = s->rewrite_all || !s->sync;
    return rc;
}

static int fold_try(StoreState *s)
{
    int rc = s->env == NULL ? MDB_PANIC : store_make_room(s, 0);

    if (rc == 0)
        rc = store_fold_slice(s);
    while (rc == MDB_MAP_FULL) {
        rc = store_grow(s);
        if (rc == 0)
            rc = store_fold_slice(s);
    }
    return rc;
}

static int commit_try(StoreState *s)
{
    int rc = s->rewrite_all ? store_gather_all(s) : 0;

    if (rc)
        return rc;
    s->rewrite_all = 0;
    rc = store_log_append(s, s->committing);
    while (rc == STORE_ERROR_FULL) {
        rc = fold_try(s);
        if (rc == 0)
            rc = store_log_append(s, s->committing);
    }
    return rc;
}

static void commit_done(StoreState *s, uint64_t started_us)
{
    StoreBatch *batch = s->committing;
    uint64_t took_us = store_now_us() - started_us;

    STORE_ADD(s->stats.commits, 1);
    STORE_ADD(s->stats.rows, batch->row_count);
    STORE_ADD(s->stats.controls, batch->control_count);
    STORE_ADD(s->stats.journal_records, 1);
    STORE_ADD(s->stats.journal_bytes, store_log_bytes(batch));
    STORE_SET(s->stats.last_commit_us, took_us);
    if (took_us > STORE_GET(s->stats.slowest_commit_us))
        STORE_SET(s->stats.slowest_commit_us, took_us);
    s->unsynced = !s->sync;
    store_publish(s, batch->ticket);
    store_remember(s, batch);
    store_queue_done(s);
}

/* The record stays in memory and is tried until it is on the disk; close() waits a bounded time
 * for that. */
static void commit(StoreState *s)
{
    uint64_t started_us = store_now_us(), stop_at_ms = 0;
    uint32_t pause = STORE_RETRY_MS_MIN;
    int rc;

    while ((rc = commit_try(s)) != 0) {
        set_failing(s, FAILING_COMMIT, rc);
        if (stop_at_ms == 0 && stopping(s))
            stop_at_ms = store_now_ms() + STORE_CLOSE_TRY_MS;
        if (stop_at_ms && store_now_ms() >= stop_at_ms) {
            STORE_SET(s->gave_up, 1);
            return;
        }
        pause_ms(pause);
        pause = pause * 2 > STORE_RETRY_MS_MAX ? STORE_RETRY_MS_MAX : pause * 2;
        (void)mend(s, rc);
    }
    set_failing(s, FAILING_COMMIT, 0);
    commit_done(s, started_us);
}

/* --- Between commits -------------------------------------------------------------------------- */

/* A fold that fails loses nothing: the journal still has it. It is tried again after a pause. */
static int fold(StoreState *s)
{
    int rc = fold_try(s);

    set_failing(s, FAILING_FOLD, rc);
    if (rc) {
        s->fold_pause_until_ms = store_now_ms() + STORE_RETRY_MS_MAX;
        (void)mend(s, rc);
    } else {
        store_measure(s);
        store_preallocate(s);
    }
    return rc;
}

static int fold_pending(const StoreState *s)
{
    return s->round.ticket || s->dirty_count || STORE_GET(s->stats.journal_records);
}

static void tick(StoreState *s, uint64_t now_ms)
{
    int rc;

    s->next_tick_ms = now_ms + STORE_TICK_MS;
    if (s->env == NULL)
        return;
    if (s->unsynced) {
        rc = store_sync(s);
        set_failing(s, FAILING_SYNC, rc);
        s->unsynced = rc != 0;
    }
    if (__atomic_load_n(&s->no_space, __ATOMIC_RELAXED)) {
        store_log_ahead(s);
        store_preallocate(s);
    }
    if (now_ms >= s->next_reader_check_ms) {
        s->next_reader_check_ms = now_ms + STORE_READER_CHECK_MS;
        (void)mdb_reader_check(s->env, NULL);
    }
}

/* A backup keeps the map from growing while it runs: double it first if it is half full. */
static void room(StoreState *s)
{
    if (s->env && STORE_GET(s->stats.used_size) > STORE_GET(s->stats.map_size) / 2)
        (void)store_grow(s);
    pthread_mutex_lock(&s->mutex);
    s->grow_asked = 0;
    pthread_cond_broadcast(&s->committed_changed);
    pthread_mutex_unlock(&s->mutex);
}

int store_ask_room(StoreState *s)
{
    if (__atomic_load_n(&s->closed, __ATOMIC_ACQUIRE))
        return STORE_ERROR_CLOSED;
    pthread_mutex_lock(&s->mutex);
    s->grow_asked = 1;
    pthread_cond_signal(&s->work);
    while (s->grow_asked && !s->stopping)
        pthread_cond_wait(&s->committed_changed, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
    return 0;
}

/* --- The loop --------------------------------------------------------------------------------- */

static uint64_t fold_due_ms(const StoreState *s)
{
    uint64_t idle_at = s->last_submit_ms + STORE_FOLD_IDLE_MS;

    if (!fold_pending(s))
        return UINT64_MAX;
    return idle_at > s->fold_pause_until_ms ? idle_at : s->fold_pause_until_ms;
}

static void wait_until(StoreState *s, uint64_t until_ms)
{
    struct timespec until = {(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000L};

    (void)pthread_cond_timedwait(&s->work, &s->mutex, &until);
}

/* What is to be done next, in order of urgency. Called and left with the mutex held. */
static Turn next_turn(StoreState *s)
{
    for (;;) {
        uint64_t now_ms = store_now_ms(), fold_at_ms = fold_due_ms(s);

        if (store_queue_swap(s))
            return TURN_COMMIT;
        if (s->grow_asked)
            return TURN_ROOM;
        if (s->stopping)
            return TURN_STOP;
        if (now_ms >= s->next_tick_ms)
            return TURN_TICK;
        if (now_ms >= fold_at_ms)
            return TURN_FOLD;
        wait_until(s, fold_at_ms < s->next_tick_ms ? fold_at_ms : s->next_tick_ms);
    }
}

static void commit_turn(StoreState *s)
{
    commit(s);
    if (s->gave_up)
        return;
    store_log_ahead(s);
    if (store_fold_wanted(s) && store_now_ms() >= s->fold_pause_until_ms)
        (void)fold(s);
}

/* What is left at the end: fold all and say so. A failure leaves a journal for the next start to
 * replay. */
static void finish(StoreState *s)
{
    int rc = s->env == NULL ? MDB_PANIC : 0;

    while (rc == 0 && fold_pending(s))
        rc = fold(s);
    if (rc == 0)
        (void)store_mark_clean(s);
}

/* The kernel's struct sched_attr in its first form. Old C libraries do not declare it, and the
 * kernel's header cannot be included beside theirs. */
typedef struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
} SchedulingAttributes;

/* The writer runs shortly and often, between waits for the disk; a loop that computes on the same
 * processor would make it wait for a whole time slice after each. Linux 6.12 and newer let a thread
 * with a short slice in at once, and ask no privilege for it; older ones do as before. */
static void ask_short_slice(void)
{
    SchedulingAttributes attributes = {.size = sizeof attributes};

    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0
        || attributes.policy != SCHED_OTHER)
        return;
    attributes.runtime_ns = STORE_WRITER_SLICE_US * 1000u;
    (void)!syscall(SYS_sched_setattr, 0, &attributes, 0);
}

static void *writer(void *argument)
{
    StoreState *s = argument;
    Turn turn;

    ask_short_slice();
    do {
        pthread_mutex_lock(&s->mutex);
        turn = next_turn(s);
        pthread_mutex_unlock(&s->mutex);
        if (turn == TURN_COMMIT)
            commit_turn(s);
        else if (turn == TURN_FOLD)
            (void)fold(s);
        else if (turn == TURN_TICK)
            tick(s, store_now_ms());
        else if (turn == TURN_ROOM)
            room(s);
    } while (turn != TURN_STOP && !s->gave_up);
    if (!s->gave_up)
        finish(s);
    return NULL;
}

/* The new thread inherits a mask that blocks everything: signals are for the program's own
 * threads. */
int store_start(StoreState *s)
{
    sigset_t all, old;
    int rc;

    s->next_tick_ms = store_now_ms() + STORE_TICK_MS;
    s->next_reader_check_ms = store_now_ms() + STORE_READER_CHECK_MS;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&s->thread, NULL, writer, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    s->thread_started = rc == 0;
    if (rc == 0)
        (void)pthread_setname_np(s->thread, "fastilp-store");
    return rc;
}

/* Commit what is queued, fold, join, close. STORE_ERROR_GAVE_UP if commits still fail. */
int store_stop(StoreState *s)
{
    if (__atomic_load_n(&s->closed, __ATOMIC_ACQUIRE))
        return 0;
    if (s->thread_started) {
        pthread_mutex_lock(&s->mutex);
        s->stopping = 1;
        pthread_cond_signal(&s->work);
        pthread_cond_broadcast(&s->committed_changed);
        pthread_mutex_unlock(&s->mutex);
        pthread_join(s->thread, NULL);
        s->thread_started = 0;
    }
    __atomic_store_n(&s->closed, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&s->mutex);
    pthread_cond_broadcast(&s->committed_changed);
    pthread_mutex_unlock(&s->mutex);
    store_env_close(s);
    store_log_close(s);
    return s->gave_up ? STORE_ERROR_GAVE_UP : 0;
}

/* In a forked child: the thread is not here, and locks may be held by threads that are not here
 * either. */
void store_poison(StoreState *s)
{
    __atomic_store_n(&s->closed, 1, __ATOMIC_SEQ_CST);
    s->poisoned = 1;
    s->thread_started = 0;
    s->env = NULL;
}

/* They are copied as an array. */
_Static_assert(sizeof(StoreStats) == 15 * sizeof(uint64_t), "a number that is not a uint64_t");

void store_stats_copy(const StoreState *s, StoreStats *copy)
{
    const uint64_t *from = (const uint64_t *)&s->stats;
    uint64_t *to = (uint64_t *)copy;

    for (size_t i = 0; i < sizeof *copy / sizeof *to; i++)
        to[i] = STORE_GET(from[i]);
}
