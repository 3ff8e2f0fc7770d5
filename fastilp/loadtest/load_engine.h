/* The load generator's engine in plain C: what engine.pyx drives, without the GIL.
 *
 * One thread, one epoll, every sender and every receiver of a run. It may include Linux headers
 * and nothing of Python. Sockets come connected and greeted (fastilp/loadtest/greeting.py); from
 * then on a packet costs no allocation. It promises that every Prepare it sent ends as exactly one
 * of fulfilled, rejected, timed out and lost.
 *
 *   load_engine.c   turns of the loop: what is due is sent, what has arrived is read
 *   load_flow.c     flows: how much to send, on which connection, where to
 *   load_packet.c   Prepares out of a template; answers to and from packets
 *   load_io.c       connections: reading, writing, accepting, closing
 *   load_batch.c  load_btp.c  load_http.c   the framing of each transport
 * */

#ifndef FASTILP_LOAD_ENGINE_H
#define FASTILP_LOAD_ENGINE_H

/* accept4 and ppoll; so this header comes first. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "load_histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    /* What one recv takes at most, and the largest leftover of a connection before it. */
    LOAD_READ_BYTES = 256 * 1024,
    LOAD_REST_BYTES_MAX = 128 * 1024,
    LOAD_PACKET_BYTES_MAX = 40000,
    /* Packet, framing, head of an HTTP request. */
    LOAD_FRAME_BYTES_MAX = LOAD_PACKET_BYTES_MAX + 2048,
    LOAD_EVENTS = 1024,
    LOAD_REJECT_CODES_MAX = 64,
    /* A connection that does not take what it is sent gets no more Prepares above this. */
    LOAD_OUT_BYTES_MAX = 1024 * 1024,
    /* An HTTP connection that ends is dialled again; this many times in a row without an answer
     * and it stays closed. */
    LOAD_REDIALS_MAX = 8,
    LOAD_TIMEOUT_SWEEP_NS = 100 * 1000 * 1000,
    LOAD_EXPIRY_DIGITS = 17,
    /* ILPv4 packet types (RFC 27). */
    LOAD_PREPARE = 12,
    LOAD_FULFILL = 13,
    LOAD_REJECT = 14,
};

#define LOAD_NONE UINT32_MAX

/* BTP's packet types (RFC 23). */
typedef enum {
    LOAD_BTP_RESPONSE = 1,
    LOAD_BTP_ERROR = 2,
    LOAD_BTP_MESSAGE = 6,
} LoadBtpType;

typedef enum {
    LOAD_BATCH = 1,
    LOAD_BTP,
    LOAD_HTTP,
} LoadTransport;

typedef enum {
    LOAD_PEER,         /* batch and BTP: both sides send */
    LOAD_HTTP_CLIENT,  /* sends requests */
    LOAD_HTTP_SERVER,  /* answers requests */
    LOAD_HTTP_LISTENER,
} LoadRole;

/* How Prepares ended, or what else was seen; one set of these per flow. */
typedef struct {
    uint64_t sent;
    uint64_t fulfilled;
    uint64_t rejected;
    uint64_t timed_out;
    uint64_t lost;
    /* Fulfills whose preimage is not that of the condition; they count as rejected, code "WRG". */
    uint64_t wrong;
} LoadCounts;

/* What the receivers saw and did, and what befell connections. */
typedef struct {
    uint64_t prepares;
    uint64_t fulfilled;
    uint64_t rejected;
    uint64_t amount;
    uint64_t accepted;
    uint64_t closed;
    uint64_t malformed;
    /* Answers to nothing that waits: late ones, or ones that were never asked for. */
    uint64_t unmatched;
} LoadReceived;

typedef struct {
    uint64_t due_ns;
    uint64_t sent_ns;
    uint32_t generation;
    uint32_t next_free;
    uint32_t flow;
    bool used;
} LoadSlot;

typedef struct {
    /* A whole Prepare; what changes is patched at these offsets before each copy. */
    uint8_t *packet;
    uint32_t packet_size;
    uint32_t expiry_offset;
    /* Digits of the destination's number, zero-padded; 0 digits: always the same destination. */
    uint32_t number_offset;
    uint32_t number_digits;
    uint32_t number_count;
    /* Eight bytes of the data that count up, or 0: peers drop what looks like a repetition. */
    uint32_t counter_offset;
} LoadTemplate;

/* The bytes around a packet in a request: one head per sending account. */
typedef struct {
    uint8_t *bytes;
    uint32_t size;
} LoadHead;

typedef struct {
    uint32_t index;
    /* Closed loop: this many in flight. Open loop: 0, and one every `interval_ns`. */
    uint32_t window;
    double interval_ns;
    uint64_t start_ns;
    uint64_t due_count;
    uint32_t in_flight;
    uint64_t amount;
    LoadTemplate template;
    LoadHead *heads;
    uint32_t head_count;
    /* Connections by their index in the engine; HTTP ones have a place in the ring for every
     * request that they may still take. */
    uint32_t *connections;
    uint32_t connection_count;
    uint32_t *ring;
    uint32_t ring_size;
    uint32_t ring_start;
    uint32_t ring_count;
    LoadCounts counts;
    LoadHistogram histogram;
} LoadFlow;

typedef struct {
    int fd;
    LoadTransport transport;
    LoadRole role;
    uint32_t index;
    /* LOAD_NONE: a receiver, which a stall stops. */
    uint32_t flow;
    /* A WebSocket client masks its frames. */
    bool masks;
    bool closed;
    bool is_dirty;
    bool waits_for_room;
    uint8_t *rest;
    uint32_t rest_size;
    uint32_t rest_capacity;
    uint8_t *out;
    uint32_t out_start;
    uint32_t out_end;
    uint32_t out_capacity;
    /* HTTP client: slots in the order of their requests. */
    uint32_t *waiting;
    uint32_t waiting_start;
    uint32_t waiting_count;
    uint32_t depth;
    uint32_t redials;
    /* The next of the connections that ended and may be used again. */
    uint32_t next_spare;
    /* Where a lost HTTP connection is dialled again. */
    struct sockaddr_storage peer;
    socklen_t peer_size;
} LoadConnection;

typedef struct {
    uint8_t code[3];
    uint64_t count;
} LoadRejectCode;

typedef struct {
    int epoll_fd;
    LoadConnection **connections;
    uint32_t connection_count;
    uint32_t connection_capacity;
    uint32_t spare;
    uint32_t *dirty;
    uint32_t dirty_count;
    uint32_t dirty_capacity;
    LoadFlow **flows;
    uint32_t flow_count;
    LoadSlot *slots;
    uint32_t slot_bits;
    uint32_t free_slot;
    uint32_t used_slots_end;
    uint64_t next_sweep_ns;
    bool sends;
    /* Of the current turn. */
    uint64_t now_ns;
    uint64_t expiry_ms;
    uint8_t expiry[LOAD_EXPIRY_DIGITS + 1];
    /* How long a Prepare may live, and when it counts as timed out. */
    uint32_t expires_in_ms;
    uint64_t timeout_ns;
    /* What receivers answer: whole packets, and the share of Rejects in 2^32. */
    uint8_t *fulfill;
    uint32_t fulfill_size;
    uint8_t *reject;
    uint32_t reject_size;
    uint64_t reject_share;
    uint8_t fulfillment[32];
    /* Receivers sleep for stall_ns in every stall_period_ns. */
    uint64_t stall_ns;
    uint64_t stall_period_ns;
    uint64_t random;
    uint64_t counter;
    LoadReceived received;
    LoadRejectCode codes[LOAD_REJECT_CODES_MAX];
    uint32_t code_count;
    uint8_t *read_buffer;
} LoadEngine;

/* load_engine.c */
LoadEngine *load_engine_new(uint32_t slot_bits, uint64_t seed);
void load_engine_free(LoadEngine *engine);
/* Turns until `seconds` have passed, or until nothing is in flight if it does not send. */
void load_engine_run(LoadEngine *engine, double seconds);
void load_engine_clear(LoadEngine *engine);
uint64_t load_now_ns(void);
/* xorshift64*, uniform below `count`. */
uint32_t load_random(LoadEngine *engine, uint32_t count);

/* load_flow.c */
LoadFlow *load_flow_new(LoadEngine *engine);
void load_flow_free(LoadFlow *flow);
/* To be called when all its connections are there. Returns 0, or -1 without memory. */
int load_flow_start(LoadEngine *engine, LoadFlow *flow);
void load_flow_send_due(LoadEngine *engine, LoadFlow *flow);
/* When the next Prepare is due; UINT64_MAX in a closed loop. */
uint64_t load_flow_due_ns(const LoadFlow *flow);
void load_slot_answered(LoadEngine *engine, uint32_t id, const uint8_t *packet, size_t size);
void load_slot_lost(LoadEngine *engine, uint32_t id);
/* An HTTP connection may take another request. */
void load_flow_freed(LoadEngine *engine, LoadConnection *connection);
void load_slots_sweep(LoadEngine *engine);

/* load_packet.c */
void load_template_patch(LoadEngine *engine, LoadTemplate *template);
void load_template_expiry(LoadEngine *engine, LoadTemplate *template);
void load_expiry_update(LoadEngine *engine);
/* Reads a Prepare and chooses the answer; NULL if it is no Prepare. */
const uint8_t *load_answer(
    LoadEngine *engine, const uint8_t *packet, size_t size, size_t *answer_size);
/* True if the packet fulfils what this engine sends. */
bool load_is_fulfilled(const LoadEngine *engine, const uint8_t *packet, size_t size);
void load_count_reject(LoadEngine *engine, const uint8_t *packet, size_t size);
/* Size of an OER length prefix at `bytes`, and the length in `length`; 0 if it is malformed. */
size_t load_oer_length(const uint8_t *bytes, size_t size, size_t *length);

/* load_io.c */
LoadConnection *load_connection_new(
    LoadEngine *engine, int fd, LoadTransport transport, LoadRole role);
void load_connection_free(LoadConnection *connection);
void load_connection_event(LoadEngine *engine, LoadConnection *connection, uint32_t events);
void load_connection_close(LoadEngine *engine, LoadConnection *connection);
/* Room for `size` bytes at the end of the output; load_connection_wrote says how many were used. */
uint8_t *load_connection_room(LoadEngine *engine, LoadConnection *connection, uint32_t size);
void load_connection_wrote(LoadEngine *engine, LoadConnection *connection, uint32_t size);
void load_flush(LoadEngine *engine);

/* Framing: parse what is whole and return how many bytes that was, or -1 if it is malformed. */
ptrdiff_t load_batch_read(LoadEngine *e, LoadConnection *c, const uint8_t *bytes, size_t size);
void load_batch_write(
    LoadEngine *e, LoadConnection *c, uint32_t id, const uint8_t *packet, size_t size);
ptrdiff_t load_btp_read(LoadEngine *e, LoadConnection *c, uint8_t *bytes, size_t size);
void load_btp_write(LoadEngine *e, LoadConnection *c, LoadBtpType type, uint32_t id,
    const uint8_t *packet, size_t size);
ptrdiff_t load_http_read(LoadEngine *e, LoadConnection *c, const uint8_t *bytes, size_t size);
void load_http_request(LoadEngine *e, LoadConnection *c, const LoadHead *head, uint32_t id,
    const uint8_t *packet, size_t size);

#endif
