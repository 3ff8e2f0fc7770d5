/* The loop: read what has arrived, send what is due, write once per connection. */

#include "load_engine.h"

#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* Without anything due the loop looks at its clock this often. */
static const uint64_t IDLE_NS = 10 * 1000 * 1000;

uint64_t load_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint32_t load_random(LoadEngine *engine, uint32_t count)
{
    uint64_t x = engine->random;

    if (count == 1)
        return 0;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    engine->random = x;
    return (uint32_t)(((x * 0x2545f4914f6cdd1du >> 32) * (uint64_t)count) >> 32);
}

static bool slots_new(LoadEngine *engine)
{
    uint32_t count = 1u << engine->slot_bits;

    engine->slots = calloc(count, sizeof *engine->slots);
    if (engine->slots == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++)
        engine->slots[i].next_free = i + 1 == count ? LOAD_NONE : i + 1;
    return true;
}

LoadEngine *load_engine_new(uint32_t slot_bits, uint64_t seed)
{
    LoadEngine *engine = calloc(1, sizeof *engine);

    if (engine == NULL)
        return NULL;
    engine->slot_bits = slot_bits;
    engine->spare = LOAD_NONE;
    engine->sends = true;
    engine->random = seed | 1;
    engine->expires_in_ms = 30000;
    engine->timeout_ns = UINT64_MAX;
    engine->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    engine->read_buffer = malloc(LOAD_READ_BYTES + LOAD_REST_BYTES_MAX);
    if (engine->epoll_fd < 0 || engine->read_buffer == NULL || !slots_new(engine)) {
        load_engine_free(engine);
        return NULL;
    }
    return engine;
}

void load_engine_free(LoadEngine *engine)
{
    for (uint32_t i = 0; i < engine->connection_count; i++)
        load_connection_free(engine->connections[i]);
    for (uint32_t i = 0; i < engine->flow_count; i++)
        load_flow_free(engine->flows[i]);
    if (engine->epoll_fd >= 0)
        close(engine->epoll_fd);
    free(engine->connections);
    free(engine->dirty);
    free(engine->flows);
    free(engine->slots);
    free(engine->read_buffer);
    free(engine->fulfill);
    free(engine->reject);
    free(engine);
}

/* Forget what was measured so far; what was counted stays. */
void load_engine_clear(LoadEngine *engine)
{
    for (uint32_t i = 0; i < engine->flow_count; i++)
        load_histogram_clear(&engine->flows[i]->histogram);
}

static bool receivers_sleep(const LoadEngine *engine)
{
    return engine->stall_ns != 0 && engine->now_ns % engine->stall_period_ns < engine->stall_ns;
}

static void send_due(LoadEngine *engine)
{
    engine->now_ns = load_now_ns();
    load_expiry_update(engine);
    if (engine->now_ns >= engine->next_sweep_ns)
        load_slots_sweep(engine);
    for (uint32_t i = 0; i < engine->flow_count && engine->sends; i++)
        load_flow_send_due(engine, engine->flows[i]);
    load_flush(engine);
}

/* Nanoseconds that a wait may take. */
static uint64_t patience(const LoadEngine *engine, uint64_t end_ns)
{
    uint64_t now = load_now_ns();
    uint64_t until = now + IDLE_NS < end_ns ? now + IDLE_NS : end_ns;

    for (uint32_t i = 0; i < engine->flow_count && engine->sends; i++) {
        uint64_t due = load_flow_due_ns(engine->flows[i]);
        /* One that is late already waits for an answer or for room, not for the clock. */
        if (due > engine->now_ns && due < until)
            until = due;
    }
    return until > now ? until - now : 0;
}

static void wait_and_read(LoadEngine *engine, uint64_t end_ns)
{
    struct epoll_event events[LOAD_EVENTS];
    int count = epoll_wait(engine->epoll_fd, events, LOAD_EVENTS, 0);

    if (count == 0) {
        /* epoll_wait counts in milliseconds; what is due in an open loop is due sooner. */
        struct pollfd waiting = {.fd = engine->epoll_fd, .events = POLLIN};
        uint64_t wait_ns = patience(engine, end_ns);
        struct timespec limit = {0, (long)wait_ns};
        if (ppoll(&waiting, 1, &limit, NULL) <= 0)
            return;
        count = epoll_wait(engine->epoll_fd, events, LOAD_EVENTS, 0);
    }
    for (int i = 0; i < count; i++) {
        LoadConnection *connection = engine->connections[events[i].data.u32];
        if (connection->flow == LOAD_NONE && receivers_sleep(engine))
            continue;
        load_connection_event(engine, connection, events[i].events);
    }
}

static bool is_idle(const LoadEngine *engine)
{
    uint64_t in_flight = 0;

    for (uint32_t i = 0; i < engine->flow_count; i++)
        in_flight += engine->flows[i]->in_flight;
    return in_flight == 0;
}

void load_engine_run(LoadEngine *engine, double seconds)
{
    uint64_t end_ns = load_now_ns() + (uint64_t)(seconds * 1e9);

    /* The kernel rounds a wait up by 50 us unless told otherwise. */
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    do {
        send_due(engine);
        if (!engine->sends && is_idle(engine))
            return;
        wait_and_read(engine, end_ns);
        load_flush(engine);
    } while (load_now_ns() < end_ns);
}
