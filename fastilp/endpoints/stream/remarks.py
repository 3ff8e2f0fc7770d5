"""What a receiver says beside how much it got. Imports _core, outbox and sizing.

Its limits, its receipts, its asset, and whether it hangs up: frames of authentic answers only.
"""

from fastilp._core.stream_frames import (
    ConnectionClose,
    Packet,
    StreamClose,
    StreamMaxMoney,
    StreamReceipt,
)
from fastilp.endpoints.stream.outbox import STREAM_ID, Outbox
from fastilp.endpoints.stream.sizing import AMOUNT_MAX


class Remarks:
    def __init__(self, outbox: Outbox) -> None:
        self.closed = ""
        """Why the receiver hung up, or nothing."""
        self.receipt = b""
        self._outbox = outbox
        self._receive_max: int | None = None
        self._received = 0
        self._receipt_total = -1

    def room(self, delivered: int) -> int | None:
        """What the receiver still takes of stream 1 when it has got so much; None: no limit. Some
        count what they got, others always say zero."""
        if self._receive_max is None or self._receive_max >= AMOUNT_MAX:
            return None
        return max(self._receive_max - max(self._received, delivered), 0)

    @property
    def receive_max(self) -> int | None:
        return self._receive_max

    def heed(self, packet: Packet) -> None:
        for frame in packet.frames:
            if isinstance(frame, StreamMaxMoney):
                self._heed_money(frame)
            elif isinstance(frame, StreamReceipt):
                self._heed_receipt(frame)
            elif isinstance(frame, ConnectionClose):
                self.closed = _closed("the connection", frame.error_code, frame.message)
            elif isinstance(frame, StreamClose) and frame.stream_id == STREAM_ID:
                self.closed = _closed("the stream", frame.error_code, frame.message)
            else:
                self._outbox.heed(frame)

    def _heed_money(self, frame: StreamMaxMoney) -> None:
        if frame.stream_id == STREAM_ID:
            self._receive_max = max(self._receive_max or 0, frame.receive_max)
            self._received = max(self._received, frame.total_received)

    def _heed_receipt(self, frame: StreamReceipt) -> None:
        """The one with the largest total: answers overtake each other."""
        total = int.from_bytes(frame.receipt[18:26])
        if frame.stream_id == STREAM_ID and total > self._receipt_total:
            self._receipt_total, self.receipt = total, frame.receipt


def _closed(what: str, code: int, message: str) -> str:
    text = "".join(char for char in message[:200] if char.isprintable())
    return f"the receiver closed {what} (code {code}{': ' + text if text else ''})"
