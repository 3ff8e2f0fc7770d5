"""STREAM vectors as the codec's values: what stands in stream_packets.json, and in the file of the
same kind that interledger/rfcs has. Imports the frames."""

import base64
from typing import Any

from fastilp._core import stream_frames
from fastilp._core.stream_frames import Frame, Packet

_OCTETS = ("data", "receipt")


def frame_of(wire: list[Any]) -> Frame:
    """From a name and fields in the order of the wire."""
    name, *fields = wire
    values = [_field(field) for field in fields]
    frame_type = getattr(stream_frames, name)
    made: Frame = frame_type(
        *(
            int(value) if frame_type.__annotations__[field] is int else value
            for field, value in zip(frame_type._fields, values, strict=True)
        )
    )
    return made


def _field(field: Any) -> Any:
    return bytes.fromhex(field["hex"]) if isinstance(field, dict) else field


def packet_of(vector: dict[str, Any]) -> Packet:
    return Packet(
        vector["packet_type"],
        int(vector["sequence"]),
        int(vector["amount"]),
        tuple(frame_of(frame) for frame in vector["frames"]),
    )


def fields_of(packet: Packet) -> dict[str, Any]:
    """The other way: what a vector or npm says of this packet."""
    return {
        "packet_type": packet.packet_type,
        "sequence": str(packet.sequence),
        "amount": str(packet.amount),
        "frames": [_fields_of_frame(frame) for frame in packet.frames],
    }


# Fields of one octet; every other number is variable and a decimal string.
_SMALL = ("error_code", "asset_scale")


def _fields_of_frame(frame: Frame) -> list[Any]:
    shown: list[Any] = [type(frame).__name__]
    for name, value in frame._asdict().items():
        if isinstance(value, bytes):
            shown.append({"hex": value.hex()})
        elif isinstance(value, int) and name not in _SMALL:
            shown.append(str(value))
        else:
            shown.append(value)
    return shown


def rfcs_packet_of(vector: dict[str, Any]) -> Packet:
    """From the fields as interledger/rfcs names them: they stand in the order of the wire."""
    packet = vector["packet"]
    frames = []
    for frame in packet["frames"]:
        fields = [
            {"hex": base64.b64decode(value).hex()} if name in _OCTETS else value
            for name, value in frame.items()
            if name not in ("type", "name")
        ]
        frames.append(frame_of([frame["name"], *fields]))
    return Packet(
        packet["packetType"], int(packet["sequence"]), int(packet["amount"]), tuple(frames)
    )
