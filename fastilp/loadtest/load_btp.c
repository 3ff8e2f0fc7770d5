/* BTP 2.0 (RFC 23) in WebSocket frames (RFC 6455), after the auth message.
 *
 * One binary frame is one message. Whatever its BTP type, the ILP packet in it says what it is:
 * Interledger.rs sends Prepares in Responses. */

#include "load_engine.h"

#include <string.h>

enum {
    OPCODE_BINARY = 2,
    OPCODE_CLOSE = 8,
    OPCODE_PING = 9,
    OPCODE_PONG = 10,
    FIN = 0x80,
    MASKED = 0x80,
};

static void unmask(uint8_t *bytes, size_t size, const uint8_t *mask)
{
    uint64_t wide, word;
    uint32_t key;
    size_t i = 0;

    memcpy(&key, mask, sizeof key);
    wide = (uint64_t)key << 32 | key;
    for (; i + 8 <= size; i += 8) {
        memcpy(&word, bytes + i, 8);
        word ^= wide;
        memcpy(bytes + i, &word, 8);
    }
    for (; i < size; i++)
        bytes[i] ^= mask[i & 3];
}

/* The head of a frame, and of a mask where we are the client; returns where the payload goes. */
static uint8_t *put_frame_head(
    LoadEngine *engine, LoadConnection *connection, uint8_t *at, uint8_t opcode, size_t size)
{
    uint32_t mask;
    uint8_t masked = connection->masks ? MASKED : 0;

    *at++ = FIN | opcode;
    if (size < 126) {
        *at++ = masked | (uint8_t)size;
    } else {
        *at++ = masked | 126;
        *at++ = (uint8_t)(size >> 8);
        *at++ = (uint8_t)size;
    }
    if (masked) {
        mask = load_random(engine, UINT32_MAX);
        memcpy(at, &mask, sizeof mask);
        at += sizeof mask;
    }
    return at;
}

static uint8_t *put_length(uint8_t *at, size_t length)
{
    if (length < 0x80) {
        *at++ = (uint8_t)length;
    } else if (length < 0x100) {
        *at++ = 0x81;
        *at++ = (uint8_t)length;
    } else {
        *at++ = 0x82;
        *at++ = (uint8_t)(length >> 8);
        *at++ = (uint8_t)length;
    }
    return at;
}

static size_t length_size(size_t length)
{
    return length < 0x80 ? 1 : length < 0x100 ? 2 : 3;
}

static void finish_frame(
    LoadEngine *engine, LoadConnection *connection, uint8_t *start, uint8_t *payload, size_t size)
{
    if (connection->masks)
        unmask(payload, size, payload - 4);
    load_connection_wrote(engine, connection, (uint32_t)(payload + size - start));
}

void load_btp_write(LoadEngine *engine, LoadConnection *connection, LoadBtpType type, uint32_t id,
    const uint8_t *packet, size_t size)
{
    /* One sub-protocol: its name, its content type (0, octet stream), the packet. */
    static const uint8_t entry[] = {1, 1, 3, 'i', 'l', 'p', 0};
    size_t content = sizeof entry + length_size(size) + size;
    size_t payload_size = 5 + length_size(content) + content;
    uint8_t *start = load_connection_room(engine, connection, (uint32_t)payload_size + 16);
    uint8_t *payload, *at;

    if (start == NULL)
        return;
    payload = at = put_frame_head(engine, connection, start, OPCODE_BINARY, payload_size);
    *at++ = (uint8_t)type;
    for (int shift = 24; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(id >> shift);
    at = put_length(at, content);
    memcpy(at, entry, sizeof entry);
    at = put_length(at + sizeof entry, size);
    memcpy(at, packet, size);
    finish_frame(engine, connection, start, payload, payload_size);
}

static void pong(LoadEngine *engine, LoadConnection *connection, const uint8_t *data, size_t size)
{
    uint8_t *start = load_connection_room(engine, connection, (uint32_t)size + 16);
    uint8_t *payload;

    if (start == NULL)
        return;
    payload = put_frame_head(engine, connection, start, OPCODE_PONG, size);
    memcpy(payload, data, size);
    finish_frame(engine, connection, start, payload, size);
}

/* The content of the sub-protocol `ilp` of a message; NULL if it has none. */
static const uint8_t *find_packet(const uint8_t *at, size_t size, size_t *packet_size)
{
    size_t length, prefix, count = 0;

    prefix = load_oer_length(at, size, &length);
    if (prefix == 0 || length > size - prefix || length == 0)
        return NULL;
    at += prefix;
    size = length;
    /* The number of entries: a length, and that many bytes. */
    prefix = load_oer_length(at, size, &length);
    if (prefix == 0 || length > size - prefix || length > 4)
        return NULL;
    for (size_t i = 0; i < length; i++)
        count = count << 8 | at[prefix + i];
    at += prefix + length;
    size -= prefix + length;
    for (; count != 0; count--) {
        const uint8_t *name;
        size_t name_size;

        prefix = load_oer_length(at, size, &name_size);
        if (prefix == 0 || size - prefix < name_size + 1)
            return NULL;
        name = at + prefix;
        at += prefix + name_size + 1;
        size -= prefix + name_size + 1;
        prefix = load_oer_length(at, size, &length);
        if (prefix == 0 || length > size - prefix)
            return NULL;
        if (name_size == 3 && memcmp(name, "ilp", 3) == 0) {
            *packet_size = length;
            return at + prefix;
        }
        at += prefix + length;
        size -= prefix + length;
    }
    return NULL;
}

static void take(
    LoadEngine *engine, LoadConnection *connection, const uint8_t *message, size_t size)
{
    const uint8_t *packet, *answer;
    size_t packet_size = 0, answer_size;
    uint32_t id;

    if (size < 5) {
        engine->received.malformed++;
        return;
    }
    id = (uint32_t)message[1] << 24 | (uint32_t)message[2] << 16 | (uint32_t)message[3] << 8
        | message[4];
    packet = message[0] == LOAD_BTP_ERROR ? NULL : find_packet(message + 5, size - 5, &packet_size);
    if (packet != NULL && packet_size != 0 && packet[0] == LOAD_PREPARE) {
        answer = load_answer(engine, packet, packet_size, &answer_size);
        if (answer != NULL)
            load_btp_write(engine, connection, LOAD_BTP_RESPONSE, id, answer, answer_size);
        return;
    }
    /* A peer's Message without a packet asks for something else: its id is none of ours. */
    if (packet != NULL || message[0] != LOAD_BTP_MESSAGE)
        load_slot_answered(engine, id, packet, packet == NULL ? 0 : packet_size);
}

/* One frame: how many bytes it takes, 0 if more are needed, -1 if it is malformed. */
static ptrdiff_t read_frame(
    LoadEngine *engine, LoadConnection *connection, uint8_t *bytes, size_t size)
{
    size_t head = 2, length;
    uint8_t opcode;

    if (size < 2)
        return 0;
    opcode = bytes[0] & 0x0f;
    length = bytes[1] & 0x7f;
    if (length == 126) {
        head = 4;
        if (size < head)
            return 0;
        length = (size_t)bytes[2] << 8 | bytes[3];
    }
    /* Longer frames and fragments carry no packet that we could have asked for. */
    if (length == 127 || (bytes[0] & FIN) == 0)
        return -1;
    if (bytes[1] & MASKED)
        head += 4;
    if (size < head + length)
        return 0;
    if (bytes[1] & MASKED)
        unmask(bytes + head, length, bytes + head - 4);
    if (opcode == OPCODE_BINARY)
        take(engine, connection, bytes + head, length);
    else if (opcode == OPCODE_PING)
        pong(engine, connection, bytes + head, length);
    else if (opcode == OPCODE_CLOSE)
        return -1;
    return (ptrdiff_t)(head + length);
}

ptrdiff_t load_btp_read(LoadEngine *engine, LoadConnection *connection, uint8_t *bytes, size_t size)
{
    size_t start = 0;

    while (start < size) {
        ptrdiff_t taken = read_frame(engine, connection, bytes + start, size - start);
        if (taken < 0)
            return -1;
        if (taken == 0)
            break;
        start += (size_t)taken;
    }
    return (ptrdiff_t)start;
}
