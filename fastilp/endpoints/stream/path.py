"""What a sender knows of the way to a receiver; payments of one connection share it. Imports rate,
sizing and congestion."""

from dataclasses import dataclass, field

from fastilp._core.stream_frames import ConnectionAssetDetails
from fastilp.endpoints.stream.congestion import Congestion
from fastilp.endpoints.stream.rate import RateEstimate
from fastilp.endpoints.stream.sizing import AMOUNT_MAX, PacketSize

# How long money may be held for a packet: short, since a lost one blocks its amount for so long,
# and longer where a path needs it (each hop takes a second or so for itself).
_HOLD_MIN_MS = 8_000
_HOLD_MAX_MS = 30_000
_ROUND_TRIPS = 12


@dataclass
class Path:
    rate: RateEstimate = field(default_factory=RateEstimate)
    size: PacketSize = field(default_factory=PacketSize)
    congestion: Congestion = field(default_factory=lambda: Congestion(AMOUNT_MAX))
    asset: ConnectionAssetDetails | None = None
    """Of the receiver."""
    round_trip_ms: int | None = None
    hold_ms: int = _HOLD_MIN_MS

    def answered(self, sent_ms: int, now_ms: int) -> None:
        """By the receiver."""
        taken_ms = max(now_ms - sent_ms, 0)
        known_ms = self.round_trip_ms
        self.round_trip_ms = taken_ms if known_ms is None else (7 * known_ms + taken_ms) // 8
        self.hold_ms = min(max(self.hold_ms, _ROUND_TRIPS * taken_ms), _HOLD_MAX_MS)

    def expired_early(self, held_ms: int) -> None:
        """A hop had no time left for a packet that was to be held so long."""
        self.hold_ms = max(self.hold_ms, min(2 * held_ms, _HOLD_MAX_MS))
