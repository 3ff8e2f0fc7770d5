"""A payment as a machine: answers and a time go in, packets come out. Imports _core and neighbours.

No clock, no socket, no event loop (sender.py has them): `take(now_ms)` gives what leaves now,
`answered` takes what came back, `deadline_ms` says when to come again. Promises:

- no packet leaves that may be fulfilled for less than the minimum rate, rounding aside, and the
  payment as a whole keeps to it (rate.py, Bounds);
- `sent` and `delivered` count what was fulfilled, never what was not;
- it ends: in success, at a refusal that is final, or when nothing went through for `patience_ms`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import NamedTuple

from fastilp._core.stream_frames import (
    ConnectionClose,
    ErrorCode,
    Frame,
    StreamMoney,
    StreamMoneyBlocked,
)
from fastilp.endpoints.stream.conversation import Answer, Conversation, Sent
from fastilp.endpoints.stream.goal import Goal
from fastilp.endpoints.stream.outbox import STREAM_ID, Outbox
from fastilp.endpoints.stream.path import Path
from fastilp.endpoints.stream.probe import Probe
from fastilp.endpoints.stream.progress import Progress, Reason, State
from fastilp.endpoints.stream.rate import Bounds, ceil_of
from fastilp.endpoints.stream.refusals import Failure, Refusals
from fastilp.endpoints.stream.remarks import Remarks
from fastilp.endpoints.stream.sizing import AMOUNT_MAX
from fastilp.endpoints.stream.splitting import next_amount
from fastilp.endpoints.stream.verdicts import Verdict, told, verdict_of
from fastilp.errors import UsageError

ExpectedRate = Fraction | Callable[[str, int], Fraction | None] | None
"""Destination units for a source unit: fixed, or by the receiver's asset code and scale; None:
whatever the path gives at the start."""

# For the answer to the last words of a connection.
_CLOSE_MS = 1_000
# Between questions to a receiver that takes nothing for now.
_ASK_MS = 250
_WORDS_IN_FLIGHT = 8
# Packets that leave at once: 2 ms of work, or so.
_TURN_PACKETS_MAX = 64
# A timeout that comes so long before the expiry is a hop's that had no time left.
_EARLY_MS = 1_000


@dataclass(frozen=True)
class Terms:
    """What the payer wants. Amounts in the smallest units; exactly one of the two."""

    source_amount: int | None = None
    delivery_amount: int | None = None
    slippage: Decimal = Decimal("0.015")
    rate: ExpectedRate = None
    data: bytes = b""
    closes: bool = True
    """Say good-bye to the receiver."""
    patience_ms: int = 30_000
    """So long nothing may go through; twice as long while hops have no liquidity."""

    def check(self) -> None:
        """Raises UsageError."""
        Goal(self.source_amount, self.delivery_amount)
        if not 0 <= self.slippage < 1:
            raise UsageError(f"slippage is at least 0 and below 1, not {self.slippage}")
        if isinstance(self.rate, Fraction) and self.rate <= 0:
            raise UsageError(f"a rate is above 0, not {self.rate}")


class _Kind(Enum):
    PROBE = "probe"
    MONEY = "money"
    CLOSE = "close"


class _Flight(NamedTuple):
    sent: Sent
    kind: _Kind
    delivery: int
    """What it delivers if the rate stays."""


class PaymentMachine:
    """One payment over a connection and a path, which others may have used before it."""

    def __init__(
        self, terms: Terms, conversation: Conversation, path: Path, address: str, now_ms: int
    ) -> None:
        terms.check()
        self.state = State.PROBING
        self.has_more = False
        """`take` has more to give at this moment; others first."""
        self._terms = terms
        self._conversation = conversation
        self._path = path
        self._goal = Goal(terms.source_amount, terms.delivery_amount)
        self._outbox = Outbox(conversation.data_next)
        self._outbox.add(terms.data)
        conversation.data_next += len(terms.data)
        self._remarks = Remarks(self._outbox)
        self._refusals = Refusals(terms.patience_ms, now_ms)
        self._bounds: Bounds | None = None
        self._probe: Probe | None = None
        self._flights: dict[int, _Flight] = {}
        self._result = State.COMPLETED
        self._failure: Failure = (Reason.NONE, "")
        self._fulfilled = 0
        self._rejected = 0
        self._is_dust = False
        self._asks_at_ms = 0
        self._close_by_ms: int | None = None
        self._now_ms = now_ms
        if terms.source_amount is not None:
            path.congestion.allow(terms.source_amount)
        is_known = path.asset is not None and bool(path.rate.lower)
        if is_known or terms.source_amount == 0:
            self._quote()
        else:
            self._probe = Probe(conversation, path, terms.source_amount, address)

    # --- What the shell asks --------------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        return self.state.is_final

    def take(self, now_ms: int) -> list[Sent]:
        """Packets that leave now; each is answered exactly once."""
        self._now_ms = now_ms
        self.has_more = False
        self._step(now_ms)
        if self.state is State.PROBING and self._probe is not None:
            return [self._fly(one, _Kind.PROBE) for one in self._probe.packets(now_ms)]
        if self.state is State.SENDING:
            found = self._take_money(now_ms)
            self.has_more = len(found) == _TURN_PACKETS_MAX
            if self.state is State.SENDING:
                return found + self._take_words(now_ms)
        # What is left may just have turned out to be too little.
        if self.state is State.ENDING and not self._money_in_flight():
            return self._take_close(now_ms)
        return []

    def answered(self, sequence: int, octets: bytes, now_ms: int) -> None:
        """The answer to a packet of ours, whatever state we are in."""
        flight = self._flights.pop(sequence, None)
        if flight is None:
            return
        self._now_ms = now_ms
        answer = self._conversation.read(flight.sent, octets)
        if answer.packet is not None:
            self._path.answered(flight.sent.sent_ms, now_ms)
            self._remarks.heed(answer.packet)
        if flight.kind is _Kind.MONEY:
            self._answered_money(flight, answer, now_ms)
        elif flight.kind is _Kind.PROBE and self._probe is not None:
            self._probe.answered(flight.sent, answer, now_ms)
        elif flight.kind is _Kind.CLOSE:
            self._close_by_ms = now_ms
        self._step(now_ms)

    def deadline_ms(self) -> int | None:
        """When to ask `take` again if no answer comes before."""
        if self.has_more:
            return self._now_ms
        if self.state is State.PROBING and self._probe is not None:
            due = [self._probe.deadline_ms(), self._refusals.deadline_ms]
        elif self.state is State.SENDING:
            asks_ms = self._asks_at_ms if self._wants_to_ask() else None
            due = [self._path.congestion.wake_ms(self._now_ms), asks_ms, self._refusals.deadline_ms]
        else:
            due = [self._close_by_ms]
        return min((one for one in due if one is not None), default=None)

    def cancel(self) -> None:
        """Send no more; what is in flight is waited for."""
        if self.state in (State.PROBING, State.SENDING):
            self._end(State.CANCELLED)

    def progress(self) -> Progress:
        goal, asset, rate = self._goal, self._path.asset, self._path.rate
        size, last = self._path.size, self._refusals.last
        return Progress(
            state=self.state,
            source_amount=self._cost(),
            delivery_amount=goal.delivery_amount,
            sent_amount=goal.sent,
            in_flight_amount=goal.in_flight,
            delivered_amount=goal.delivered,
            destination_asset_code=asset.asset_code if asset else None,
            destination_asset_scale=asset.asset_scale if asset else None,
            rate=rate.lower,
            minimum_rate=self._bounds.minimum if self._bounds else None,
            packet_amount_max=size.maximum if size.is_bounded else None,
            packets_fulfilled=self._fulfilled,
            packets_rejected=self._rejected,
            packets_in_flight=len(self._flights),
            sequence_next=self._conversation.sequence_next,
            waiting_for=told(last) if last is not None else "",
            receipt=self._remarks.receipt,
            reason=self._failure[0],
            error=self._failure[1],
        )

    # --- States ---------------------------------------------------------------------------------

    def _step(self, now_ms: int) -> None:
        if self.state is State.PROBING and self._probe is not None:
            self._step_probing(self._probe, now_ms)
        if self.state is State.SENDING:
            self._step_sending(now_ms)
        if self.state is State.ENDING and not self._money_in_flight():
            silent = not self._terms.closes or self._path.round_trip_ms is None
            over = self._close_by_ms is not None and now_ms >= self._close_by_ms
            if silent or over:
                self._finish()

    def _step_probing(self, probe: Probe, now_ms: int) -> None:
        self._refusals.last = probe.last
        timed_out = self._refusals.timed_out(now_ms)
        if probe.refusal is not None:
            self._fail(self._refusals.at_the_start(probe.refusal))
        elif self._remarks.closed:
            self._fail((Reason.CLOSED_BY_RECEIVER, self._remarks.closed))
        elif probe.is_done:
            self._refusals.progressed(now_ms)
            self._quote()
        elif timed_out is not None:
            self._fail(timed_out)

    def _step_sending(self, now_ms: int) -> None:
        timed_out = self._refusals.timed_out(now_ms)
        if (self._goal.is_reached or self._is_dust) and self._outbox.is_empty:
            self._end(State.COMPLETED)
        elif self._remarks.closed:
            self._fail((Reason.CLOSED_BY_RECEIVER, self._remarks.closed))
        elif self._conversation.is_used_up:
            self._fail((Reason.USED_UP, "the connection has sent all packets that it may"))
        elif timed_out is not None:
            full = self._receiver_takes() == 0 and not self._goal.is_reached
            text = f"the receiver takes no more than {self._remarks.receive_max} units"
            self._fail((Reason.RECEIVER_FULL, text) if full else timed_out)

    def _quote(self) -> None:
        """Whether to pay at all, and for how little."""
        goal, rate = self._goal, self._path.rate
        if not (goal.source_amount or goal.delivery_amount):
            self.state = State.SENDING
            return
        if not rate.lower:
            self._fail(self._nothing_arrives())
            return
        minimum = self._expected(rate.lower) * (1 - Fraction(self._terms.slippage))
        self._bounds = Bounds(rate, minimum)
        if self._bounds.is_too_low:
            text = f"the path delivers {float(rate.lower):.6g} for 1, {float(minimum):.6g} or more"
            self._fail((Reason.RATE_TOO_LOW, f"{text} were asked for"))
            return
        if goal.delivery_amount is not None:
            # A unit more than asked for may be lost to rounding.
            most = ceil_of((goal.delivery_amount + 1) / minimum)
            goal.source_amount = min(most, AMOUNT_MAX)
            self._path.congestion.allow(goal.source_amount)
        self.state = State.SENDING

    def _nothing_arrives(self) -> Failure:
        last = self._probe.of_largest if self._probe is not None else None
        if last is not None and verdict_of(last.code) is not Verdict.SMALLER:
            return Reason.REJECTED, f"nothing gets through: {told(last)}"
        tried = self._goal.source_amount or self._path.size.passed
        return Reason.AMOUNT_TOO_SMALL, f"of {tried} units nothing would arrive"

    def _expected(self, probed: Fraction) -> Fraction:
        expected, asset = self._terms.rate, self._path.asset
        if callable(expected):
            expected = expected(asset.asset_code, asset.asset_scale) if asset else None
        return expected or probed

    def _end(self, result: State) -> None:
        self._result = result
        self.state = State.ENDING

    def _finish(self) -> None:
        if self._result is State.FAILED and self._goal.is_reached and self._outbox.is_empty:
            # What was in flight when we gave up made it.
            self._result, self._failure = State.COMPLETED, (Reason.NONE, "")
        self.state = self._result

    def _fail(self, failure: Failure) -> None:
        self._failure = failure
        self._end(State.FAILED)

    # --- Sending --------------------------------------------------------------------------------

    def _take_money(self, now_ms: int) -> list[Sent]:
        found: list[Sent] = []
        while len(found) < _TURN_PACKETS_MAX:
            amounts = self._next_amounts(now_ms)
            if amounts is None:
                break
            amount, asked = amounts
            delivery = max(asked, self._path.rate.expected(amount))
            frames = (StreamMoney(STREAM_ID, 1), *self._outbox.next())
            found.append(self._send(amount, asked, delivery, frames, now_ms))
        return found

    def _next_amounts(self, now_ms: int) -> tuple[int, int] | None:
        goal, path, bounds = self._goal, self._path, self._bounds
        unsent = goal.unsent(path.rate)
        if bounds is None or unsent == 0 or self._conversation.is_used_up:
            return None
        largest = min(path.size.maximum, self._receiver_takes(), bounds.most())
        room = path.congestion.room(now_ms, goal.in_flight, len(self._flights))
        if largest == 0 or room == 0:
            return None
        window = path.congestion.window
        amounts = next_amount(unsent, largest, room, window, path.rate, bounds)
        if amounts is None and goal.in_flight == 0:
            self._give_up_rest(unsent, largest)
        return amounts

    def _give_up_rest(self, unsent: int, largest: int) -> None:
        """Nothing is in flight, and no packet would deliver its share of what is left."""
        if self._path.rate.expected(unsent) == 0 and self._goal.sent:
            self._is_dust = True
            return
        text = f"packets of at most {min(unsent, largest)} lose too much to rounding"
        self._fail((Reason.AMOUNT_TOO_SMALL, text))

    def _receiver_takes(self) -> int:
        """In source units."""
        room = self._remarks.room(self._conversation.delivered)
        if room is None:
            return AMOUNT_MAX
        room -= self._goal.in_flight_delivery
        if room <= 0:
            return 0
        return min(self._path.rate.needed(room) or 0, AMOUNT_MAX)

    def _wants_to_ask(self) -> bool:
        return self._outbox.waits or self._receiver_takes() == 0

    def _take_words(self, now_ms: int) -> list[Sent]:
        """Packets without money: data that is left, and questions to a receiver that is full."""
        found = []
        if not self._goal.unsent(self._path.rate) and not self._outbox.is_blocked:
            while self._outbox.waits and len(self._flights) < _WORDS_IN_FLIGHT:
                found.append(self._send(0, 0, 0, self._outbox.next(), now_ms))
        if not self._wants_to_ask() or now_ms < self._asks_at_ms or found:
            return found
        frames: list[Frame] = list(self._outbox.next()) if self._outbox.is_blocked else []
        if self._receiver_takes() == 0:
            sent = min(self._conversation.delivered, AMOUNT_MAX)
            frames.append(StreamMoneyBlocked(STREAM_ID, AMOUNT_MAX, sent))
        if frames:
            self._asks_at_ms = now_ms + _ASK_MS
            found.append(self._send(0, 0, 0, tuple(frames), now_ms))
        return found

    def _take_close(self, now_ms: int) -> list[Sent]:
        if self._close_by_ms is not None or self.state is not State.ENDING:
            return []
        self._close_by_ms = now_ms + _CLOSE_MS
        expires_at_ms = now_ms + self._path.hold_ms
        words = ConnectionClose(ErrorCode.NO_ERROR, "")
        close = self._conversation.prepare(0, 0, [words], now_ms, expires_at_ms, fulfillable=False)
        return [self._fly(close, _Kind.CLOSE)]

    def _send(
        self, amount: int, asked: int, delivery: int, frames: tuple[Frame, ...], now_ms: int
    ) -> Sent:
        expires_at_ms = now_ms + self._path.hold_ms
        sent = self._conversation.prepare(amount, asked, frames, now_ms, expires_at_ms)
        self._goal.took_off(amount, delivery)
        if self._bounds is not None:
            self._bounds.sent(amount, asked)
        self._path.congestion.sent(now_ms)
        return self._fly(sent, _Kind.MONEY, delivery)

    def _fly(self, sent: Sent, kind: _Kind, delivery: int = 0) -> Sent:
        self._flights[sent.sequence] = _Flight(sent, kind, delivery)
        return sent

    def _money_in_flight(self) -> bool:
        return any(flight.kind is _Kind.MONEY for flight in self._flights.values())

    # --- Answers --------------------------------------------------------------------------------

    def _answered_money(self, flight: _Flight, answer: Answer, now_ms: int) -> None:
        sent = flight.sent
        if answer.packet is not None:
            self._outbox.arrived(sent.frames)
        else:
            self._outbox.lost(sent.frames)
        if not answer.code:
            self._fulfilled_money(flight, answer, now_ms)
            return
        self._rejected += 1
        self._goal.came_back(sent.amount, flight.delivery)
        if self._bounds is not None:
            self._bounds.refused(sent.amount, sent.minimum)
        if answer.packet is not None:
            failure = self._refused_by_receiver(sent, answer, answer.packet.amount, now_ms)
        else:
            following = self._conversation.sequence_next
            failure = self._refusals.by_hop(answer, sent.sequence, following)
            self._refused_by_hop(sent, answer, now_ms)
        if failure is not None and self.state is State.SENDING:
            self._fail(failure)

    def _fulfilled_money(self, flight: _Flight, answer: Answer, now_ms: int) -> None:
        """Without an authentic answer, or with one that claims less, the minimum counts: no
        receiver fulfils for less."""
        sent, claimed = flight.sent, answer.packet.amount if answer.packet else 0
        delivered = max(claimed, sent.minimum)
        self._fulfilled += 1
        self._goal.arrived(sent.amount, flight.delivery, delivered)
        self._conversation.delivered += delivered
        if sent.amount or self._outbox.carried(sent.frames):
            self._refusals.progressed(now_ms)
        self._path.congestion.fulfilled(sent.amount, now_ms)
        if sent.amount:
            self._path.size.took(sent.amount)
            self._path.rate.observe(sent.amount, delivered)
        if self._bounds is not None:
            self._bounds.fulfilled(sent.minimum, delivered)

    def _refused_by_receiver(
        self, sent: Sent, answer: Answer, arrived: int, now_ms: int
    ) -> Failure | None:
        path = self._path
        if sent.amount:
            path.size.took(sent.amount)
            path.rate.observe(sent.amount, arrived)
        following = self._conversation.sequence_next
        path.congestion.busy(sent.sequence, following, now_ms)
        if arrived < sent.minimum:
            path.rate.rounded(sent.amount, arrived)
            return self._refusals.low_rate(answer, arrived, sent.minimum, now_ms)
        if self._receiver_takes() == 0 or sent.amount == 0:
            # It has said why.
            self._refusals.last = answer
            return None
        return self._refusals.by_receiver(answer, sent.sequence, following)

    def _refused_by_hop(self, sent: Sent, answer: Answer, now_ms: int) -> None:
        congestion, following = self._path.congestion, self._conversation.sequence_next
        verdict = verdict_of(answer.code)
        early = now_ms < sent.expires_at_ms - _EARLY_MS
        if verdict is Verdict.TOO_LITTLE:
            self._path.rate.rounded(sent.amount, 0)
        if verdict is Verdict.SMALLER and self._path.size.refuse(sent.amount, answer.data):
            return
        if verdict is Verdict.LESS_IN_FLIGHT:
            congestion.no_liquidity(sent.sequence, following, now_ms)
        elif verdict is Verdict.SLOWER:
            congestion.too_fast(sent.sequence, following, now_ms)
        elif verdict is Verdict.LATER_EXPIRY or (verdict is Verdict.LOST and early):
            self._path.expired_early(sent.expires_at_ms - sent.sent_ms)
            congestion.busy(sent.sequence, following, now_ms)
        elif verdict is not Verdict.LOST or self._refusals.nothing_since(sent.sent_ms):
            # A packet that got lost among others that did not says nothing about the path.
            congestion.busy(sent.sequence, following, now_ms)

    def _cost(self) -> int | None:
        goal = self._goal
        if goal.delivery_amount is None or self.state is State.PROBING:
            return goal.source_amount
        if self.state is State.COMPLETED:
            return goal.sent
        return goal.sent + goal.in_flight + goal.unsent(self._path.rate)
