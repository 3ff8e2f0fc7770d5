"""STREAM packets and frames as Python values (RFC 29, section 5). Imports nothing of fastilp.

The fields of a frame are in the order of the wire, which the codec (stream.pyx) relies on. Amounts,
ids and offsets are integers from 0 to 2**64 - 1, codes and scales from 0 to 255, texts `str`.
"""

from enum import IntEnum
from typing import NamedTuple


class ErrorCode(IntEnum):
    """Why a stream or a connection was closed (RFC 29, section 5.4)."""

    NO_ERROR = 1
    INTERNAL_ERROR = 2
    ENDPOINT_BUSY = 3
    FLOW_CONTROL_ERROR = 4
    STREAM_ID_ERROR = 5
    STREAM_STATE_ERROR = 6
    FRAME_FORMAT_ERROR = 7
    PROTOCOL_VIOLATION = 8
    APPLICATION_ERROR = 9


class ConnectionClose(NamedTuple):
    error_code: int
    message: str


class ConnectionNewAddress(NamedTuple):
    source_address: str


class ConnectionMaxData(NamedTuple):
    offset_max: int


class ConnectionDataBlocked(NamedTuple):
    offset_max: int


class ConnectionMaxStreamId(NamedTuple):
    stream_id_max: int


class ConnectionStreamIdBlocked(NamedTuple):
    stream_id_max: int


class ConnectionAssetDetails(NamedTuple):
    asset_code: str
    asset_scale: int


class StreamClose(NamedTuple):
    stream_id: int
    error_code: int
    message: str


class StreamMoney(NamedTuple):
    stream_id: int
    shares: int


class StreamMaxMoney(NamedTuple):
    """`receive_max` above 2**64 - 1 reads as 2**64 - 1 (RFC 29, section 5.1.4)."""

    stream_id: int
    receive_max: int
    total_received: int


class StreamMoneyBlocked(NamedTuple):
    """`send_max` above 2**64 - 1 reads as 2**64 - 1 (RFC 29, section 5.1.4)."""

    stream_id: int
    send_max: int
    total_sent: int


class StreamData(NamedTuple):
    stream_id: int
    offset: int
    data: bytes


class StreamMaxData(NamedTuple):
    stream_id: int
    offset_max: int


class StreamDataBlocked(NamedTuple):
    stream_id: int
    offset_max: int


class StreamReceipt(NamedTuple):
    stream_id: int
    receipt: bytes


Frame = (
    ConnectionClose
    | ConnectionNewAddress
    | ConnectionMaxData
    | ConnectionDataBlocked
    | ConnectionMaxStreamId
    | ConnectionStreamIdBlocked
    | ConnectionAssetDetails
    | StreamClose
    | StreamMoney
    | StreamMaxMoney
    | StreamMoneyBlocked
    | StreamData
    | StreamMaxData
    | StreamDataBlocked
    | StreamReceipt
)


class Packet(NamedTuple):
    """What one ILP packet carries, decrypted. `amount` of a Prepare: the least that its receiver
    shall get; of an answer: what it got. `packet_type` is that of the ILP packet (12 to 14)."""

    packet_type: int
    sequence: int
    amount: int
    frames: tuple[Frame, ...]
