"""Before the first money: which rate, which asset, how large a packet. Imports conversation, path.

Volleys of packets that nobody can fulfil, of amounts far apart: the receiver rejects them and says
what it got. The whole amount comes first, so that most payments need one round trip. Receivers tell
their asset when they are told an address; an empty one makes JavaScript's tell it without sending
anything to us, and Interledger.rs wants one that is not empty, on a packet that JavaScript's does
not take: the one with another segment before the token.
"""

from collections.abc import Iterable

from fastilp._core.packet import is_valid_address
from fastilp._core.stream_frames import (
    ConnectionAssetDetails,
    ConnectionMaxData,
    ConnectionMaxStreamId,
    ConnectionNewAddress,
    Frame,
    Packet,
)
from fastilp.endpoints.stream.conversation import Answer, Conversation, Sent
from fastilp.endpoints.stream.path import Path
from fastilp.endpoints.stream.verdicts import Verdict, verdict_of

# Receivers shall open no streams and send no data: we are the client, stream 1 is ours.
LIMITS: tuple[Frame, ...] = (ConnectionMaxStreamId(1), ConnectionMaxData(0))

_AMOUNTS_UNKNOWN = (10**12, 10**9, 10**6, 10**3, 1)
_APART = 1_000
_VOLLEY_MAX = 5
_ROUNDS_MAX = 10
# A rate known to so many units is known well enough.
_DELIVERED_ENOUGH = 10**6
_ROUND_MS = 1_000
_ROUND_MAX_MS = 5_000
_LAGGARDS_MIN_MS = 100
_RETRY_MIN_MS = 50
_RETRY_MAX_MS = 1_000
_HOPELESS = {Verdict.FINAL, Verdict.NO_ROUTE, Verdict.REFUSED, Verdict.TOO_LITTLE}


class Probe:
    """`amount`: the source amount, None if it is not known. Ask `packets` until `is_done`."""

    def __init__(
        self, conversation: Conversation, path: Path, amount: int | None, address: str
    ) -> None:
        self.is_done = False
        self.refusal: Answer | None = None
        """Set with `is_done` where no packet came through and none will."""
        self.last: Answer | None = None
        self.of_largest: Answer | None = None
        """The refusal of the largest amount."""
        self._largest_refused = 0
        """The last refusal on the way."""
        self.heard = False
        """The receiver answered."""
        self._conversation = conversation
        self._path = path
        self._amount = amount
        self._address = address
        self._round = 0
        self._failures = 0
        self._waiting: set[int] = set()
        self._answers: list[tuple[int, Answer]] = []
        self._ends_ms = 0
        self._next_ms = 0
        self._best = 0
        self._delivered = 0
        self._no_liquidity: int | None = None
        self._asked_asset = False

    def packets(self, now_ms: int) -> list[Sent]:
        """What leaves now."""
        if self._waiting and now_ms >= self._ends_ms:
            self._end_round(now_ms)
        if self.is_done or self._waiting or now_ms < self._next_ms:
            return []
        frames: list[Frame] = list(LIMITS)
        if self._round == 0:
            frames.append(ConnectionNewAddress(""))
        sent = [self._prepare(amount, frames, now_ms) for amount in self._amounts()]
        if self._round > 0 and self._path.asset is None and not self._asked_asset:
            sent += self._asset_request(now_ms)
        self._waiting = {one.sequence for one in sent}
        self._answers = []
        self._ends_ms = now_ms + min(_ROUND_MS << self._failures, _ROUND_MAX_MS)
        return sent

    def deadline_ms(self) -> int | None:
        if self.is_done:
            return None
        return self._ends_ms if self._waiting else self._next_ms

    def answered(self, sent: Sent, answer: Answer, now_ms: int) -> None:
        """Also of a packet of an earlier round, or after the end."""
        if answer.packet is not None:
            self._learn(sent, answer.packet, now_ms)
        elif answer.code:
            self._refused(sent, answer)
        if sent.sequence not in self._waiting:
            return
        self._waiting.discard(sent.sequence)
        self._answers.append((sent.amount, answer))
        if answer.packet is not None:
            # The others are on their way, or lost.
            laggards_ms = max(_LAGGARDS_MIN_MS, 4 * (self._path.round_trip_ms or 0))
            self._ends_ms = min(self._ends_ms, now_ms + laggards_ms)
        if not self._waiting or (self._is_enough() and self._path.asset is not None):
            self._end_round(now_ms)

    def _prepare(
        self, amount: int, frames: Iterable[Frame], now_ms: int, destination: str = ""
    ) -> Sent:
        return self._conversation.prepare(
            amount,
            0,
            frames,
            now_ms,
            now_ms + self._path.hold_ms,
            fulfillable=False,
            destination=destination,
        )

    def _asset_request(self, now_ms: int) -> list[Sent]:
        self._asked_asset = True
        base, _, token = self._conversation.destination.rpartition(".")
        destination = f"{base}._.{token}"
        if not is_valid_address(destination):
            return []
        frames = [*LIMITS, ConnectionNewAddress(self._address)]
        return [self._prepare(0, frames, now_ms, destination)]

    def _amounts(self) -> list[int]:
        """Largest first."""
        size = self._path.size
        if self.heard:
            return [self._wanted()]
        if self._amount == 0:
            return [0]
        if self._amount is None:
            start = [min(amount, size.maximum) for amount in _AMOUNTS_UNKNOWN]
        else:
            largest = min(self._amount, size.maximum)
            start = [largest // _APART**power for power in range(_VOLLEY_MAX - 1)] + [1]
        return sorted({max(amount, 1) for amount in start}, reverse=True)

    def _wanted(self) -> int:
        """The amount that would tell most."""
        wanted = self._path.size.maximum
        if self._amount is not None:
            wanted = min(wanted, self._amount)
        elif self._delivered:
            # Enough for the digits that we want to know.
            wanted = min(wanted, max(2 * _DELIVERED_ENOUGH * self._best // self._delivered, 1))
        else:
            wanted = min(wanted, max(self._best, 1) * _APART)
        if self._no_liquidity is not None and wanted >= self._no_liquidity:
            wanted = (self._best + self._no_liquidity) // 2
        return max(wanted, 1)

    def _is_enough(self) -> bool:
        if not self.heard:
            return False
        if self._amount == 0:
            return True
        size = self._path.size
        wanted = self._wanted()
        if size.is_bounded and not size.is_settled and wanted >= size.maximum:
            return False
        return self._best >= wanted or self._delivered >= _DELIVERED_ENOUGH

    def _learn(self, sent: Sent, packet: Packet, now_ms: int) -> None:
        self.heard = True
        self._path.answered(sent.sent_ms, now_ms)
        for frame in packet.frames:
            if isinstance(frame, ConnectionAssetDetails) and self._path.asset is None:
                self._path.asset = frame
        if sent.amount:
            self._path.rate.observe(sent.amount, packet.amount)
            self._path.size.took(sent.amount)
        if sent.amount > self._best:
            self._best, self._delivered = sent.amount, packet.amount

    def _refused(self, sent: Sent, answer: Answer) -> None:
        self.last = answer
        if sent.amount >= self._largest_refused:
            self._largest_refused, self.of_largest = sent.amount, answer
        verdict = verdict_of(answer.code)
        if verdict is Verdict.SMALLER:
            self._path.size.refuse(sent.amount, answer.data)
        elif verdict is Verdict.LESS_IN_FLIGHT and sent.amount > self._best:
            known = self._no_liquidity
            self._no_liquidity = sent.amount if known is None else min(known, sent.amount)
        elif verdict is Verdict.LATER_EXPIRY:
            self._path.expired_early(sent.expires_at_ms - sent.sent_ms)

    def _end_round(self, now_ms: int) -> None:
        self._waiting = set()
        self._round += 1
        if self.heard:
            asks = self._path.asset is None and not self._asked_asset
            self.is_done = self._round >= _ROUNDS_MAX or (self._is_enough() and not asks)
            if self.is_done and self._no_liquidity is not None:
                self._path.congestion.start_with(self._best)
            return
        self._end_round_in_vain(now_ms)

    def _end_round_in_vain(self, now_ms: int) -> None:
        # What became of the largest packet says most.
        answers = [answer for _, answer in sorted(self._answers, key=_amount, reverse=True)]
        verdicts = {verdict_of(answer.code) for answer in answers}
        if verdicts and verdicts <= _HOPELESS | {Verdict.SMALLER}:
            # The first round asks in one way, the second in another; then there is no other.
            too_large = self._path.size.refused <= 1
            final = [one for one in answers if verdict_of(one.code) in _HOPELESS or too_large]
            if final and self._round > 1:
                self.refusal, self.is_done = final[0], True
            return
        self._next_ms = now_ms + min(_RETRY_MIN_MS << self._failures, _RETRY_MAX_MS)
        self._failures = min(self._failures + 1, 10)


def _amount(answer: tuple[int, Answer]) -> int:
    return answer[0]
