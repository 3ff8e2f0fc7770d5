"""CCP, the protocol by which connectors tell each other routes: the bytes of its two requests.
Imports _core, ildcp, octets and errors.

No RFC says what they are; the reference are `ilp-protocol-ccp` (JavaScript) and Interledger.rs.
Both requests are Prepares of amount 0 with the condition of all peer protocols, answered by a
Fulfill without data. Decoding promises bounded work for whatever a peer sends: at most one packet's
worth of bytes, read once. What the routes mean is not looked at here.
"""

import enum
from collections.abc import Sequence
from typing import NamedTuple

from fastilp._core.packet import Fulfill, Prepare
from fastilp.control.ildcp import CONDITION, FULFILLMENT
from fastilp.control.octets import Reader, var_octets, var_uint
from fastilp.errors import DecodeError

CONTROL = "peer.route.control"
UPDATE = "peer.route.update"
ANSWER = Fulfill(fulfillment=FULFILLMENT)

TABLE_ID_SIZE = 16
AUTH_SIZE = 32
NO_TABLE = bytes(TABLE_ID_SIZE)

_FEATURES_MAX = 64
_OPTIONAL, _TRANSITIVE, _PARTIAL, _UTF8 = 0x80, 0x40, 0x20, 0x10


class Mode(enum.IntEnum):
    IDLE = 0
    SYNC = 1


class RouteControl(NamedTuple):
    """Asks the receiver for its routes, from an epoch of a table on, or to be left alone."""

    mode: Mode
    table_id: bytes = NO_TABLE
    epoch: int = 0
    features: tuple[str, ...] = ()


class Prop(NamedTuple):
    """An attribute of a route."""

    id: int
    value: bytes
    is_optional: bool = False
    is_transitive: bool = True
    is_partial: bool = False
    is_utf8: bool = False


class Route(NamedTuple):
    """A prefix, the connectors on the way to it, nearest first, and what vouches for it."""

    prefix: str
    path: tuple[str, ...]
    auth: bytes
    props: tuple[Prop, ...] = ()


class RouteUpdate(NamedTuple):
    """What has changed in the sender's table after `from_epoch`, up to and with `to_epoch`."""

    table_id: bytes
    current_epoch: int
    from_epoch: int
    to_epoch: int
    hold_down_ms: int
    speaker: str
    new_routes: Sequence[Route] = ()
    withdrawn: Sequence[str] = ()


def prepare(destination: str, data: bytes, expires_at_ms: int) -> Prepare:
    """The packet of either request."""
    return Prepare(
        amount=0,
        expires_at=expires_at_ms,
        execution_condition=CONDITION,
        destination=destination,
        data=data,
    )


# --- Route control --------------------------------------------------------------------------------


def encode_control(control: RouteControl) -> bytes:
    features = b"".join(var_octets(feature.encode()) for feature in control.features)
    return (
        bytes([control.mode])
        + control.table_id
        + control.epoch.to_bytes(4)
        + var_uint(len(control.features))
        + features
    )


def decode_control(data: bytes) -> RouteControl:
    """Raises DecodeError."""
    reader = Reader(data)
    mode = reader.uint(1)
    if mode not in (Mode.IDLE, Mode.SYNC):
        raise DecodeError(f"mode {mode} is neither 0, idle, nor 1, sync")
    table_id, epoch, count = reader.octets(TABLE_ID_SIZE), reader.uint(4), reader.var_uint()
    if count > _FEATURES_MAX:
        raise DecodeError(f"{count} features, where at most {_FEATURES_MAX} are right")
    return RouteControl(Mode(mode), table_id, epoch, tuple(reader.text() for _ in range(count)))


# --- Route update ---------------------------------------------------------------------------------


def encode_update(update: RouteUpdate) -> bytes:
    routes = [encode_route(route) for route in update.new_routes]
    return join_update(update, routes, [encode_prefix(prefix) for prefix in update.withdrawn])


def join_update(update: RouteUpdate, routes: list[bytes], withdrawn: list[bytes]) -> bytes:
    """The head of `update`, and routes and prefixes that were encoded before."""
    head = b"".join(
        (
            update.table_id,
            update.current_epoch.to_bytes(4),
            update.from_epoch.to_bytes(4),
            update.to_epoch.to_bytes(4),
            update.hold_down_ms.to_bytes(4),
            var_octets(update.speaker.encode()),
            var_uint(len(routes)),
        )
    )
    return b"".join((head, *routes, var_uint(len(withdrawn)), *withdrawn))


def encode_prefix(prefix: str) -> bytes:
    return var_octets(prefix.encode())


def encode_route(route: Route) -> bytes:
    return encode_parts(encode_prefix(route.prefix), route.path, route.auth, route.props)


def encode_parts(
    prefix: bytes, path: tuple[str, ...], auth: bytes, props: tuple[Prop, ...]
) -> bytes:
    return b"".join(
        (
            prefix,
            var_uint(len(path)),
            *[var_octets(address.encode()) for address in path],
            auth,
            var_uint(len(props)),
            *map(_encode_prop, props),
        )
    )


def _encode_prop(prop: Prop) -> bytes:
    meta = (
        _OPTIONAL * prop.is_optional
        | _TRANSITIVE * prop.is_transitive
        | _PARTIAL * prop.is_partial
        | _UTF8 * prop.is_utf8
    )
    return bytes([meta]) + prop.id.to_bytes(2) + var_octets(prop.value)


def decode_update(data: bytes) -> RouteUpdate:
    """Raises DecodeError."""
    reader = Reader(data)
    table_id = reader.octets(TABLE_ID_SIZE)
    current, first, last, hold_down_ms = (reader.uint(4) for _ in range(4))
    speaker = reader.text()
    # A count is no size: what is not there ends the reading.
    routes = [_decode_route(reader) for _ in range(_count(reader))]
    withdrawn = [reader.text() for _ in range(_count(reader))]
    return RouteUpdate(table_id, current, first, last, hold_down_ms, speaker, routes, withdrawn)


def _decode_route(reader: Reader) -> Route:
    prefix = reader.text()
    path = tuple([reader.text() for _ in range(_count(reader))])
    auth = reader.octets(AUTH_SIZE)
    count = _count(reader)
    return Route(prefix, path, auth, tuple([_decode_prop(reader) for _ in range(count)]))


def _decode_prop(reader: Reader) -> Prop:
    meta, number = reader.uint(1), reader.uint(2)
    return Prop(
        number,
        reader.var_octets(),
        bool(meta & _OPTIONAL),
        bool(meta & _TRANSITIVE),
        bool(meta & _PARTIAL),
        bool(meta & _UTF8),
    )


def _count(reader: Reader) -> int:
    """How many items follow; each has at least one byte."""
    count = reader.var_uint()
    if count > reader.left():
        raise DecodeError(f"{count} items in {reader.left()} bytes")
    return count
