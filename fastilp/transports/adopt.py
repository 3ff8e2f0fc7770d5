"""The hand-over of an open connection from one protocol to another. Imports nothing of the package.

One listener serves several protocols, and which one a connection wants shows in its first request.
Whoever read that gives away the transport and every byte that it has read and not answered.
"""

import asyncio


def adopt(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol | asyncio.BufferedProtocol,
    received: bytes,
) -> None:
    """Make `protocol` the other end of this connection, as if it had accepted it and `received` had
    just come in."""
    # uvloop chooses between data_received and get_buffer when reading starts, so it must start
    # anew.
    transport.pause_reading()
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if transport.is_closing():
        return
    # Before the bytes, as the protocol may want a pause because of them.
    transport.resume_reading()
    if isinstance(protocol, asyncio.BufferedProtocol):
        _fill(transport, protocol, memoryview(received))
    elif received:
        protocol.data_received(received)


def _fill(
    transport: asyncio.Transport, protocol: asyncio.BufferedProtocol, rest: memoryview
) -> None:
    while rest and not transport.is_closing():
        buffer = memoryview(protocol.get_buffer(-1))
        size = min(len(buffer), len(rest))
        buffer[:size] = rest[:size]
        # Room that is on loan cannot grow.
        buffer.release()
        rest = rest[size:]
        protocol.buffer_updated(size)
