/* Flows: when a Prepare is due, on which connection it leaves, and how it ended. */

#include "load_engine.h"

#include <stdlib.h>
#include <string.h>

/* Connections looked at before a turn gives up on finding one that takes more. */
enum { TRIES = 8 };

LoadFlow *load_flow_new(LoadEngine *engine)
{
    LoadFlow **grown = realloc(engine->flows, (engine->flow_count + 1) * sizeof *grown);
    LoadFlow *flow;

    if (grown == NULL)
        return NULL;
    engine->flows = grown;
    flow = calloc(1, sizeof *flow);
    if (flow == NULL)
        return NULL;
    flow->index = engine->flow_count;
    load_histogram_clear(&flow->histogram);
    engine->flows[engine->flow_count++] = flow;
    return flow;
}

void load_flow_free(LoadFlow *flow)
{
    for (uint32_t i = 0; i < flow->head_count; i++)
        free(flow->heads[i].bytes);
    free(flow->heads);
    free(flow->connections);
    free(flow->ring);
    free(flow->template.packet);
    free(flow);
}

static void ring_put(LoadFlow *flow, uint32_t index)
{
    uint32_t place = flow->ring_start + flow->ring_count;

    flow->ring[place < flow->ring_size ? place : place - flow->ring_size] = index;
    flow->ring_count++;
}

static uint32_t ring_take(LoadFlow *flow)
{
    uint32_t index = flow->ring[flow->ring_start];

    flow->ring_start = flow->ring_start + 1 == flow->ring_size ? 0 : flow->ring_start + 1;
    flow->ring_count--;
    return index;
}

int load_flow_start(LoadEngine *engine, LoadFlow *flow)
{
    uint32_t depth = 0;

    for (uint32_t i = 0; i < flow->connection_count; i++)
        depth += engine->connections[flow->connections[i]]->depth;
    if (depth != 0) {
        flow->ring = malloc(depth * sizeof *flow->ring);
        if (flow->ring == NULL)
            return -1;
        flow->ring_size = depth;
        /* Every connection gets its first request before any gets its second. */
        for (uint32_t level = 0; level < depth; level++)
            for (uint32_t i = 0; i < flow->connection_count; i++)
                if (level < engine->connections[flow->connections[i]]->depth)
                    ring_put(flow, flow->connections[i]);
    }
    return 0;
}

static LoadConnection *usable_connection(LoadEngine *engine, LoadFlow *flow)
{
    LoadConnection *connection;

    for (uint32_t tries = 0; tries < TRIES && flow->ring_size != 0; tries++) {
        if (flow->ring_count == 0)
            return NULL;
        connection = engine->connections[ring_take(flow)];
        if (!connection->closed)
            return connection;
        /* A closed connection's places are gone for good. */
    }
    for (uint32_t tries = 0; tries < TRIES && flow->ring_size == 0; tries++) {
        connection = engine->connections[
            flow->connections[load_random(engine, flow->connection_count)]];
        if (!connection->closed
            && connection->out_end - connection->out_start < LOAD_OUT_BYTES_MAX)
            return connection;
    }
    return NULL;
}

static uint32_t slot_take(LoadEngine *engine, LoadFlow *flow, uint64_t due_ns)
{
    uint32_t index = engine->free_slot;
    LoadSlot *slot = &engine->slots[index];

    engine->free_slot = slot->next_free;
    if (index >= engine->used_slots_end)
        engine->used_slots_end = index + 1;
    slot->due_ns = due_ns;
    slot->sent_ns = engine->now_ns;
    slot->used = true;
    slot->flow = flow->index;
    flow->in_flight++;
    flow->counts.sent++;
    return slot->generation << engine->slot_bits | index;
}

/* The slot of an id that still waits, or NULL. */
static LoadSlot *slot_of(LoadEngine *engine, uint32_t id)
{
    LoadSlot *slot = &engine->slots[id & ((1u << engine->slot_bits) - 1)];

    return slot->used && slot->generation == id >> engine->slot_bits ? slot : NULL;
}

static void slot_release(LoadEngine *engine, LoadSlot *slot)
{
    engine->flows[slot->flow]->in_flight--;
    slot->used = false;
    slot->generation = (slot->generation + 1) & (UINT32_MAX >> engine->slot_bits);
    slot->next_free = engine->free_slot;
    engine->free_slot = (uint32_t)(slot - engine->slots);
}

static bool send_one(LoadEngine *engine, LoadFlow *flow, uint64_t due_ns)
{
    LoadConnection *connection;
    const uint8_t *packet = flow->template.packet;
    size_t size = flow->template.packet_size;
    uint32_t id;

    if (engine->free_slot == LOAD_NONE)
        return false;
    connection = usable_connection(engine, flow);
    if (connection == NULL)
        return false;
    id = slot_take(engine, flow, due_ns);
    load_template_patch(engine, &flow->template);
    switch (connection->transport) {
    case LOAD_BATCH:
        load_batch_write(engine, connection, id, packet, size);
        break;
    case LOAD_BTP:
        load_btp_write(engine, connection, LOAD_BTP_MESSAGE, id, packet, size);
        break;
    case LOAD_HTTP:
        load_http_request(engine, connection,
            &flow->heads[load_random(engine, flow->head_count)], id, packet, size);
    }
    return true;
}

uint64_t load_flow_due_ns(const LoadFlow *flow)
{
    if (flow->window != 0)
        return UINT64_MAX;
    return flow->start_ns + (uint64_t)((double)flow->due_count * flow->interval_ns);
}

void load_flow_send_due(LoadEngine *engine, LoadFlow *flow)
{
    load_template_expiry(engine, &flow->template);
    if (flow->window != 0) {
        while (flow->in_flight < flow->window)
            if (!send_one(engine, flow, engine->now_ns))
                return;
        return;
    }
    if (flow->start_ns == 0)
        flow->start_ns = engine->now_ns;
    /* What could not leave when it was due keeps its time: its wait is part of its latency. */
    while (load_flow_due_ns(flow) <= engine->now_ns) {
        if (!send_one(engine, flow, load_flow_due_ns(flow)))
            return;
        flow->due_count++;
    }
}

void load_slot_answered(LoadEngine *engine, uint32_t id, const uint8_t *packet, size_t size)
{
    LoadSlot *slot = slot_of(engine, id);
    LoadFlow *flow;

    if (slot == NULL) {
        engine->received.unmatched++;
        return;
    }
    flow = engine->flows[slot->flow];
    load_histogram_record(&flow->histogram, engine->now_ns - slot->due_ns);
    if (load_is_fulfilled(engine, packet, size)) {
        flow->counts.fulfilled++;
    } else {
        flow->counts.rejected++;
        if (size != 0 && packet[0] == LOAD_FULFILL)
            flow->counts.wrong++;
        load_count_reject(engine, packet, size);
    }
    slot_release(engine, slot);
}

void load_slot_lost(LoadEngine *engine, uint32_t id)
{
    LoadSlot *slot = slot_of(engine, id);

    if (slot == NULL)
        return;
    engine->flows[slot->flow]->counts.lost++;
    slot_release(engine, slot);
}

void load_flow_freed(LoadEngine *engine, LoadConnection *connection)
{
    ring_put(engine->flows[connection->flow], connection->index);
}

/* Prepares that nobody answered in time. The request keeps its place in the order of an HTTP
 * connection, because its answer may still come. */
void load_slots_sweep(LoadEngine *engine)
{
    for (uint32_t i = 0; i < engine->used_slots_end; i++) {
        LoadSlot *slot = &engine->slots[i];
        if (slot->used && engine->now_ns - slot->sent_ns > engine->timeout_ns) {
            engine->flows[slot->flow]->counts.timed_out++;
            slot_release(engine, slot);
        }
    }
    engine->next_sweep_ns = engine->now_ns + LOAD_TIMEOUT_SWEEP_NS;
}
