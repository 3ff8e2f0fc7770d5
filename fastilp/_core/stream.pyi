from collections.abc import Iterable

from fastilp._core.stream_frames import Frame, Packet

def decode_packet(plain: bytes) -> Packet:
    """What was decrypted. Frames of unknown types and what follows the last frame are skipped.
    Raises fastilp.DecodeError."""

def encode_packet(
    packet_type: int, sequence: int, amount: int, frames: Iterable[Frame], *, size: int = 0
) -> bytes:
    """Canonical bytes to encrypt, followed by zeros up to `size`. Raises fastilp.UsageError for
    values that fit in no field and for more than the data of an ILP packet holds."""
