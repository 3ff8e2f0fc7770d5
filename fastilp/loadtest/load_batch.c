/* The batch protocol after its hello: MessagePack arrays [request id, packet] back to back, and nil
 * as a keep-alive. */

#include "load_engine.h"

#include <string.h>

static uint64_t big_endian(const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* An unsigned integer: how many bytes it takes, 0 if more are needed, -1 if it is none. */
static ptrdiff_t read_uint(const uint8_t *bytes, size_t size, uint64_t *value)
{
    size_t width;

    if (size == 0)
        return 0;
    if (bytes[0] < 0x80) {
        *value = bytes[0];
        return 1;
    }
    if (bytes[0] < 0xcc || bytes[0] > 0xcf)
        return -1;
    width = (size_t)1 << (bytes[0] - 0xcc);
    if (size < 1 + width)
        return 0;
    *value = big_endian(bytes + 1, width);
    return (ptrdiff_t)(1 + width);
}

/* The head of a binary, in the same manner. */
static ptrdiff_t read_bin(const uint8_t *bytes, size_t size, uint64_t *length)
{
    size_t width;

    if (size == 0)
        return 0;
    if (bytes[0] < 0xc4 || bytes[0] > 0xc6)
        return -1;
    width = (size_t)1 << (bytes[0] - 0xc4);
    if (size < 1 + width)
        return 0;
    *length = big_endian(bytes + 1, width);
    return (ptrdiff_t)(1 + width);
}

static void take(
    LoadEngine *engine, LoadConnection *connection, uint64_t id, const uint8_t *packet, size_t size)
{
    const uint8_t *answer;
    size_t answer_size;

    if (size != 0 && packet[0] == LOAD_PREPARE) {
        answer = load_answer(engine, packet, size, &answer_size);
        if (answer != NULL)
            load_batch_write(engine, connection, (uint32_t)id, answer, answer_size);
        return;
    }
    load_slot_answered(engine, (uint32_t)id, packet, size);
}

ptrdiff_t load_batch_read(LoadEngine *engine, LoadConnection *connection, const uint8_t *bytes,
    size_t size)
{
    size_t start = 0;

    while (start < size) {
        const uint8_t *at = bytes + start;
        size_t left = size - start;
        uint64_t id, length;
        ptrdiff_t id_size, bin_size;

        if (at[0] == 0xc0) {
            start++;
            continue;
        }
        if (at[0] != 0x92)
            return -1;
        id_size = read_uint(at + 1, left - 1, &id);
        if (id_size < 0 || (id_size > 0 && id > UINT32_MAX))
            return -1;
        if (id_size == 0)
            break;
        bin_size = read_bin(at + 1 + id_size, left - 1 - (size_t)id_size, &length);
        if (bin_size < 0 || (bin_size > 0 && length > LOAD_REST_BYTES_MAX / 2))
            return -1;
        if (bin_size == 0 || left < 1 + (size_t)id_size + (size_t)bin_size + length)
            break;
        take(engine, connection, id, at + 1 + id_size + bin_size, length);
        start += 1 + (size_t)id_size + (size_t)bin_size + length;
    }
    return (ptrdiff_t)start;
}

static uint8_t *put_uint(uint8_t *at, uint32_t value)
{
    uint32_t width = value < 0x80 ? 0 : value < 0x100 ? 1 : value < 0x10000 ? 2 : 4;

    if (width == 0) {
        *at++ = (uint8_t)value;
        return at;
    }
    *at++ = width == 1 ? 0xcc : width == 2 ? 0xcd : 0xce;
    for (uint32_t shift = width * 8; shift != 0; shift -= 8)
        *at++ = (uint8_t)(value >> (shift - 8));
    return at;
}

void load_batch_write(LoadEngine *engine, LoadConnection *connection, uint32_t id,
    const uint8_t *packet, size_t size)
{
    uint8_t *start = load_connection_room(engine, connection, (uint32_t)size + 16);
    uint8_t *at = start;

    if (start == NULL)
        return;
    *at++ = 0x92;
    at = put_uint(at, id);
    if (size < 0x100) {
        *at++ = 0xc4;
    } else {
        *at++ = 0xc5;
        *at++ = (uint8_t)(size >> 8);
    }
    *at++ = (uint8_t)size;
    memcpy(at, packet, size);
    load_connection_wrote(engine, connection, (uint32_t)(at + size - start));
}
