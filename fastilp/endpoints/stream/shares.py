"""How the amount of a packet is shared out among the streams that it carries money for (RFC 29,
section 5.3.10). Imports the frames only; promises that the parts add up to the amount."""

from collections.abc import Iterable

from fastilp._core.stream_frames import StreamMoney


def split(amount: int, frames: Iterable[StreamMoney]) -> dict[int, int]:
    """Stream id -> part, in the order of ids: floor(amount * shares / all shares), and what is left
    over goes to the lowest id. Empty if there are no shares."""
    shares: dict[int, int] = {}
    for frame in frames:
        shares[frame.stream_id] = shares.get(frame.stream_id, 0) + frame.shares
    total = sum(shares.values())
    if total == 0:
        return {}
    parts = {stream_id: amount * shares[stream_id] // total for stream_id in sorted(shares)}
    lowest = next(stream_id for stream_id in parts if shares[stream_id])
    parts[lowest] += amount - sum(parts.values())
    return parts
