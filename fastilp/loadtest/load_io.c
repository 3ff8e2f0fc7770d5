/* Connections: non-blocking sockets in one epoll, with room for what is read in part and for what
 * could not be written yet. */

#include "load_engine.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void watch(LoadEngine *engine, LoadConnection *connection, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u32 = connection->index};

    epoll_ctl(engine->epoll_fd, operation, connection->fd, &event);
}

static bool grow(LoadEngine *engine)
{
    uint32_t capacity = engine->connection_capacity ? engine->connection_capacity * 2 : 64;
    LoadConnection **connections = realloc(engine->connections, capacity * sizeof *connections);
    uint32_t *dirty;

    if (connections == NULL)
        return false;
    engine->connections = connections;
    dirty = realloc(engine->dirty, capacity * sizeof *dirty);
    if (dirty == NULL)
        return false;
    engine->dirty = dirty;
    engine->connection_capacity = capacity;
    return true;
}

/* A connection that ended, with its buffers, or a new one at the end of the table. */
static LoadConnection *blank(LoadEngine *engine)
{
    LoadConnection *connection;

    if (engine->spare != LOAD_NONE) {
        connection = engine->connections[engine->spare];
        engine->spare = connection->next_spare;
        connection->closed = connection->waits_for_room = false;
        return connection;
    }
    if (engine->connection_count == engine->connection_capacity && !grow(engine))
        return NULL;
    connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return NULL;
    connection->index = engine->connection_count;
    engine->connections[engine->connection_count++] = connection;
    return connection;
}

LoadConnection *load_connection_new(
    LoadEngine *engine, int fd, LoadTransport transport, LoadRole role)
{
    LoadConnection *connection = blank(engine);
    int yes = 1;

    if (connection == NULL)
        return NULL;
    connection->fd = fd;
    connection->transport = transport;
    connection->role = role;
    connection->flow = LOAD_NONE;
    connection->peer_size = sizeof connection->peer;
    if (getpeername(fd, (struct sockaddr *)&connection->peer, &connection->peer_size) != 0)
        connection->peer_size = 0;
    /* Not on Unix sockets, which have nothing to delay. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    watch(engine, connection, EPOLL_CTL_ADD, EPOLLIN);
    return connection;
}

void load_connection_free(LoadConnection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    free(connection->rest);
    free(connection->out);
    free(connection->waiting);
    free(connection);
}

/* A sender's HTTP connection is dialled again: servers may end one whenever they like. */
static bool dial_again(LoadEngine *engine, LoadConnection *connection)
{
    int fd, yes = 1;

    if (connection->role != LOAD_HTTP_CLIENT || connection->redials == LOAD_REDIALS_MAX
        || connection->peer_size == 0)
        return false;
    connection->redials++;
    fd = socket(connection->peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, (struct sockaddr *)&connection->peer, connection->peer_size) != 0
        && errno != EINPROGRESS) {
        close(fd);
        return false;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    connection->fd = fd;
    connection->waits_for_room = false;
    watch(engine, connection, EPOLL_CTL_ADD, EPOLLIN);
    return true;
}

void load_connection_close(LoadEngine *engine, LoadConnection *connection)
{
    uint32_t lost = connection->waiting_count;

    close(connection->fd);
    connection->fd = -1;
    connection->out_start = connection->out_end = connection->rest_size = 0;
    engine->received.closed++;
    for (; connection->waiting_count != 0; connection->waiting_count--) {
        load_slot_lost(engine, connection->waiting[connection->waiting_start]);
        connection->waiting_start = (connection->waiting_start + 1) % connection->depth;
    }
    if (!dial_again(engine, connection)) {
        connection->closed = true;
        if (connection->role == LOAD_HTTP_SERVER) {
            connection->next_spare = engine->spare;
            engine->spare = connection->index;
        }
        return;
    }
    for (; lost != 0; lost--)
        load_flow_freed(engine, connection);
}

uint8_t *load_connection_room(LoadEngine *engine, LoadConnection *connection, uint32_t size)
{
    uint32_t waiting = connection->out_end - connection->out_start;

    if (connection->closed)
        return NULL;
    if (connection->out_end + size > connection->out_capacity && connection->out_start != 0) {
        memmove(connection->out, connection->out + connection->out_start, waiting);
        connection->out_start = 0;
        connection->out_end = waiting;
    }
    if (connection->out_end + size > connection->out_capacity) {
        uint32_t capacity = connection->out_capacity ? connection->out_capacity : 2048;
        uint8_t *grown;
        while (capacity < connection->out_end + size)
            capacity *= 2;
        /* Answers have no bound of their own: the peer's window bounds what it asks for. */
        grown = realloc(connection->out, capacity);
        if (grown == NULL) {
            load_connection_close(engine, connection);
            return NULL;
        }
        connection->out = grown;
        connection->out_capacity = capacity;
    }
    return connection->out + connection->out_end;
}

void load_connection_wrote(LoadEngine *engine, LoadConnection *connection, uint32_t size)
{
    connection->out_end += size;
    if (!connection->is_dirty) {
        connection->is_dirty = true;
        engine->dirty[engine->dirty_count++] = connection->index;
    }
}

static void flush_one(LoadEngine *engine, LoadConnection *connection)
{
    bool waits;

    while (connection->out_start < connection->out_end) {
        ssize_t sent = send(connection->fd, connection->out + connection->out_start,
            connection->out_end - connection->out_start, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN && errno != ENOTCONN) {
            load_connection_close(engine, connection);
            return;
        }
        if (sent < 0)
            break;
        connection->out_start += (uint32_t)sent;
    }
    waits = connection->out_start < connection->out_end;
    if (!waits)
        connection->out_start = connection->out_end = 0;
    if (waits != connection->waits_for_room) {
        connection->waits_for_room = waits;
        watch(engine, connection, EPOLL_CTL_MOD, waits ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

/* One write per connection and turn. */
void load_flush(LoadEngine *engine)
{
    for (uint32_t i = 0; i < engine->dirty_count; i++) {
        LoadConnection *connection = engine->connections[engine->dirty[i]];
        connection->is_dirty = false;
        if (!connection->closed && !connection->waits_for_room)
            flush_one(engine, connection);
    }
    engine->dirty_count = 0;
}

static void accept_all(LoadEngine *engine, LoadConnection *listener)
{
    for (;;) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (load_connection_new(engine, fd, LOAD_HTTP, LOAD_HTTP_SERVER) == NULL) {
            close(fd);
            return;
        }
        engine->received.accepted++;
    }
}

/* Keep what is not whole yet. */
static bool keep_rest(LoadConnection *connection, const uint8_t *bytes, size_t size)
{
    if (size > LOAD_REST_BYTES_MAX)
        return false;
    if (size > connection->rest_capacity) {
        uint8_t *grown = realloc(connection->rest, size);
        if (grown == NULL)
            return false;
        connection->rest = grown;
        connection->rest_capacity = (uint32_t)size;
    }
    if (size != 0)
        memcpy(connection->rest, bytes, size);
    connection->rest_size = (uint32_t)size;
    return true;
}

static ptrdiff_t parse(LoadEngine *engine, LoadConnection *connection, uint8_t *bytes, size_t size)
{
    switch (connection->transport) {
    case LOAD_BATCH:
        return load_batch_read(engine, connection, bytes, size);
    case LOAD_BTP:
        return load_btp_read(engine, connection, bytes, size);
    default:
        return load_http_read(engine, connection, bytes, size);
    }
}

static void read_some(LoadEngine *engine, LoadConnection *connection)
{
    uint8_t *buffer = engine->read_buffer;
    ptrdiff_t taken;
    ssize_t got;
    size_t size = connection->rest_size;

    if (size != 0)
        memcpy(buffer, connection->rest, size);
    got = recv(connection->fd, buffer + size, LOAD_READ_BYTES, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        load_connection_close(engine, connection);
        return;
    }
    engine->now_ns = load_now_ns();
    size += (size_t)got;
    taken = parse(engine, connection, buffer, size);
    if (taken < 0)
        engine->received.malformed++;
    if (connection->closed)
        return;
    if (taken < 0 || !keep_rest(connection, buffer + taken, size - (size_t)taken))
        load_connection_close(engine, connection);
}

void load_connection_event(LoadEngine *engine, LoadConnection *connection, uint32_t events)
{
    if (connection->closed)
        return;
    if (connection->role == LOAD_HTTP_LISTENER) {
        accept_all(engine, connection);
        return;
    }
    if (events & EPOLLOUT)
        flush_one(engine, connection);
    if (!connection->closed && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_some(engine, connection);
}
