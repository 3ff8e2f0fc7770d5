"""Async shells around the data plane: sockets in, bytes out. They may import _core, errors and
types, never control or endpoints. They decide nothing about packets: they read, feed, write what
the switch hands out, and turn what a socket does into the ILP answer that the protocol asks for."""
