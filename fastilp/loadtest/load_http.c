/* ILP-over-HTTP/1.1 (RFC 35), both sides: requests and answers with Content-Length, in order. */

#include "load_engine.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char CONTENT_LENGTH[] = "content-length:";

/* The value of Content-Length in a head, -1 if there is none or it is no number. */
static ptrdiff_t content_length(const uint8_t *head, size_t size)
{
    const uint8_t *end = head + size;
    const uint8_t *line = memchr(head, '\n', size);
    ptrdiff_t value = 0;

    while (line != NULL) {
        line++;
        if ((size_t)(end - line) > sizeof CONTENT_LENGTH
            && strncasecmp((const char *)line, CONTENT_LENGTH, sizeof CONTENT_LENGTH - 1) == 0) {
            line += sizeof CONTENT_LENGTH - 1;
            while (line < end && *line == ' ')
                line++;
            if (line == end || *line < '0' || *line > '9')
                return -1;
            for (; line < end && *line >= '0' && *line <= '9'; line++) {
                value = value * 10 + (*line - '0');
                if (value > LOAD_PACKET_BYTES_MAX)
                    return -1;
            }
            return value;
        }
        line = memchr(line, '\n', (size_t)(end - line));
    }
    return -1;
}

/* Behind the empty line that ends a head; NULL if that has not come yet. */
static const uint8_t *head_end(const uint8_t *at, size_t size)
{
    const uint8_t *end = at + size;

    while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        if (end - at > 2 && at[1] == '\r' && at[2] == '\n')
            return at + 3;
        at++;
    }
    return NULL;
}

static void answer_request(
    LoadEngine *engine, LoadConnection *connection, const uint8_t *body, size_t size)
{
    size_t answer_size;
    const uint8_t *answer = load_answer(engine, body, size, &answer_size);
    uint8_t *at;
    int head;

    if (answer == NULL) {
        answer = (const uint8_t *)"";
        answer_size = 0;
    }
    at = load_connection_room(engine, connection, (uint32_t)answer_size + 160);
    if (at == NULL)
        return;
    head = snprintf((char *)at, 160,
        "HTTP/1.1 %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n",
        answer_size ? "200 OK" : "400 Bad Request", answer_size);
    memcpy(at + head, answer, answer_size);
    load_connection_wrote(engine, connection, (uint32_t)head + (uint32_t)answer_size);
}

static void take_answer(LoadEngine *engine, LoadConnection *connection, const uint8_t *status,
    const uint8_t *body, size_t size)
{
    uint32_t id;

    if (connection->waiting_count == 0) {
        engine->received.unmatched++;
        return;
    }
    id = connection->waiting[connection->waiting_start];
    connection->waiting_start = (connection->waiting_start + 1) % connection->depth;
    connection->waiting_count--;
    connection->redials = 0;
    /* ILP answers come with 200, and Interledger.rs' Rejects with 400: the packet decides. */
    if (size == 0 || (body[0] != LOAD_FULFILL && body[0] != LOAD_REJECT)) {
        /* Shown among the Rejects, by its status: three digits, as a code has. */
        uint8_t reject[] = {LOAD_REJECT, 3, status[0], status[1], status[2]};
        load_slot_answered(engine, id, reject, sizeof reject);
    } else {
        load_slot_answered(engine, id, body, size);
    }
    load_flow_freed(engine, connection);
}

ptrdiff_t load_http_read(LoadEngine *engine, LoadConnection *connection, const uint8_t *bytes,
    size_t size)
{
    size_t start = 0;

    while (size - start > 4) {
        const uint8_t *head = bytes + start;
        const uint8_t *body = head_end(head, size - start);
        ptrdiff_t length;
        size_t head_size;

        if (body == NULL)
            break;
        head_size = (size_t)(body - head);
        length = content_length(head, head_size);
        if (length < 0 && connection->role == LOAD_HTTP_SERVER)
            length = 0;
        if (length < 0 || head_size < sizeof "HTTP/1.1 200")
            return -1;
        if (size - start < head_size + (size_t)length)
            break;
        if (connection->role == LOAD_HTTP_SERVER)
            answer_request(engine, connection, body, (size_t)length);
        else
            take_answer(engine, connection, head + 9, body, (size_t)length);
        start += head_size + (size_t)length;
    }
    return (ptrdiff_t)start;
}

void load_http_request(LoadEngine *engine, LoadConnection *connection, const LoadHead *head,
    uint32_t id, const uint8_t *packet, size_t size)
{
    uint8_t *at = load_connection_room(engine, connection, head->size + (uint32_t)size);
    uint32_t place;

    if (at == NULL) {
        /* Without memory the connection was closed, and perhaps dialled again. */
        load_slot_lost(engine, id);
        if (!connection->closed)
            load_flow_freed(engine, connection);
        return;
    }
    place = (connection->waiting_start + connection->waiting_count) % connection->depth;
    connection->waiting[place] = id;
    connection->waiting_count++;
    memcpy(at, head->bytes, head->size);
    memcpy(at + head->size, packet, size);
    load_connection_wrote(engine, connection, head->size + (uint32_t)size);
}
