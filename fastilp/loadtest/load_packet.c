/* ILP packets (RFC 27): Prepares by patching a template, and what must be read of the others. */

#include "load_engine.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* The expiry of what is sent in this millisecond, 17 digits (RFC 27, section "ILP Prepare"). */
void load_expiry_update(LoadEngine *engine)
{
    struct timespec wall;
    struct tm utc;
    uint64_t ms;
    time_t seconds;
    char digits[64];

    clock_gettime(CLOCK_REALTIME, &wall);
    ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000 + engine->expires_in_ms;
    if (ms == engine->expiry_ms)
        return;
    engine->expiry_ms = ms;
    seconds = (time_t)(ms / 1000);
    gmtime_r(&seconds, &utc);
    snprintf(digits, sizeof digits, "%04d%02d%02d%02d%02d%02d%03d", utc.tm_year + 1900,
        utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(ms % 1000));
    memcpy(engine->expiry, digits, LOAD_EXPIRY_DIGITS);
}

void load_template_expiry(LoadEngine *engine, LoadTemplate *template)
{
    memcpy(template->packet + template->expiry_offset, engine->expiry, LOAD_EXPIRY_DIGITS);
}

void load_template_patch(LoadEngine *engine, LoadTemplate *template)
{
    uint8_t *bytes = template->packet;
    uint64_t counter;

    if (template->number_digits != 0) {
        uint32_t number = load_random(engine, template->number_count);
        uint32_t place = template->number_offset + template->number_digits;
        for (uint32_t digit = 0; digit < template->number_digits; digit++) {
            bytes[--place] = (uint8_t)('0' + number % 10);
            number /= 10;
        }
    }
    if (template->counter_offset != 0) {
        counter = ++engine->counter;
        memcpy(bytes + template->counter_offset, &counter, sizeof counter);
    }
}

size_t load_oer_length(const uint8_t *bytes, size_t size, size_t *length)
{
    size_t count, value = 0;

    if (size == 0)
        return 0;
    if (bytes[0] < 0x80) {
        *length = bytes[0];
        return 1;
    }
    count = bytes[0] & 0x7f;
    if (count == 0 || count > 4 || size < 1 + count)
        return 0;
    for (size_t i = 1; i <= count; i++)
        value = value << 8 | bytes[i];
    *length = value;
    return 1 + count;
}

/* Where the fields of a packet begin; 0 if it is no packet. */
static size_t body_offset(const uint8_t *packet, size_t size)
{
    size_t length, prefix;

    if (size < 2)
        return 0;
    prefix = load_oer_length(packet + 1, size - 1, &length);
    if (prefix == 0 || length > size - 1 - prefix)
        return 0;
    return 1 + prefix;
}

const uint8_t *load_answer(
    LoadEngine *engine, const uint8_t *packet, size_t size, size_t *answer_size)
{
    size_t body = body_offset(packet, size);
    uint64_t amount = 0;

    if (body == 0 || packet[0] != LOAD_PREPARE || size < body + 8) {
        engine->received.malformed++;
        return NULL;
    }
    for (size_t i = 0; i < 8; i++)
        amount = amount << 8 | packet[body + i];
    engine->received.prepares++;
    if (engine->reject_share != 0 && load_random(engine, UINT32_MAX) < engine->reject_share) {
        engine->received.rejected++;
        *answer_size = engine->reject_size;
        return engine->reject;
    }
    engine->received.fulfilled++;
    engine->received.amount += amount;
    *answer_size = engine->fulfill_size;
    return engine->fulfill;
}

bool load_is_fulfilled(const LoadEngine *engine, const uint8_t *packet, size_t size)
{
    size_t body;

    if (size == 0 || packet[0] != LOAD_FULFILL)
        return false;
    body = body_offset(packet, size);
    return body != 0 && size >= body + sizeof engine->fulfillment
        && memcmp(packet + body, engine->fulfillment, sizeof engine->fulfillment) == 0;
}

/* By its code; "WRG": a wrong Fulfill, "BAD": neither Fulfill nor Reject. */
void load_count_reject(LoadEngine *engine, const uint8_t *packet, size_t size)
{
    const uint8_t *code = (const uint8_t *)"BAD";
    size_t body = body_offset(packet, size);
    uint32_t i = 0;

    if (body != 0 && packet[0] == LOAD_FULFILL)
        code = (const uint8_t *)"WRG";
    if (body != 0 && packet[0] == LOAD_REJECT && size >= body + 3)
        code = packet + body;
    while (i < engine->code_count && memcmp(engine->codes[i].code, code, 3) != 0)
        i++;
    if (i == LOAD_REJECT_CODES_MAX)
        i--;
    else if (i == engine->code_count)
        memcpy(engine->codes[engine->code_count++].code, code, 3);
    engine->codes[i].count++;
}
