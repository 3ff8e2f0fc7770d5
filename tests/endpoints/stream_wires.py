"""Neighbours that cannot be trusted, or that have a bad day: kinds of Wire for a World."""

import random
from collections.abc import Callable

from fastilp._core.packet import Fulfill, Prepare, Reject
from fastilp._core.packet import decode as decode_any
from tests.endpoints.stream_world import Answer, Wire, World

Forward = Callable[[bytes, Answer], None]


def changed(packet: bytes, **fields: object) -> bytes:
    """The Prepare with other fields."""
    prepare = Prepare.decode(packet)
    kept: dict[str, object] = {
        "amount": prepare.amount,
        "expires_at": prepare.expires_at_ms,
        "execution_condition": prepare.execution_condition,
        "destination": prepare.destination,
        "data": prepare.data,
        **fields,
    }
    return bytes(Prepare(**kept))  # type: ignore[arg-type]


class Refuses(Wire):
    """Answers with `code` while `refuses(world, prepare)` says so."""

    def __init__(
        self, code: str, refuses: Callable[[World, Prepare], bool], data: bytes = b""
    ) -> None:
        super().__init__()
        self.refused = 0
        self._code = code
        self._refuses = refuses
        self._data = data

    def pass_on(self, world: World, packet: bytes, on: Forward, back: Answer) -> None:
        if not self._refuses(world, Prepare.decode(packet)):
            super().pass_on(world, packet, on, back)
            return
        self.refused += 1
        answer = Reject(code=self._code, triggered_by="test.evil", message="no", data=self._data)
        self.bring_back(world, back, bytes(answer))


class Loses(Wire):
    """Drops this share of packets, and of answers."""

    def __init__(self, share: float, seed: int, *, answers: float = 0.0) -> None:
        super().__init__()
        self.lost = 0
        self._share = share
        self._answers = answers
        self._random = random.Random(seed)

    def pass_on(self, world: World, packet: bytes, on: Forward, back: Answer) -> None:
        if self._random.random() < self._share:
            self.lost += 1
            return
        super().pass_on(world, packet, on, back)

    def bring_back(self, world: World, back: Answer, answer: bytes) -> None:
        if self._random.random() < self._answers:
            self.lost += 1
            return
        super().bring_back(world, back, answer)


class Skims(Wire):
    """Keeps a share of what passes once `starts` packets with money for real have passed."""

    def __init__(self, kept: Callable[[int], int], starts: int = 0) -> None:
        super().__init__()
        self.passed = 0
        self._kept = kept
        self._starts = starts

    def pass_on(self, world: World, packet: bytes, on: Forward, back: Answer) -> None:
        self.passed += 1
        if self.passed > self._starts:
            amount = Prepare.decode(packet).amount
            packet = changed(packet, amount=amount - self._kept(amount))
        super().pass_on(world, packet, on, back)


class StopsFulfilling(Wire):
    """After so many Fulfills it keeps the others to itself, or breaks them."""

    def __init__(self, after: int, instead: bytes | None = None) -> None:
        super().__init__()
        self.fulfills = 0
        self._after = after
        self._instead = instead

    def bring_back(self, world: World, back: Answer, answer: bytes) -> None:
        found = decode_any(answer)
        if isinstance(found, Fulfill):
            self.fulfills += 1
            if self.fulfills > self._after:
                if self._instead is None:
                    return
                answer = bytes(Fulfill(fulfillment=self._instead, data=found.data))
        super().bring_back(world, back, answer)


class Delays(Wire):
    """Brings Fulfills back so late."""

    def __init__(self, delay_ms: int) -> None:
        super().__init__()
        self._delay_ms = delay_ms

    def bring_back(self, world: World, back: Answer, answer: bytes) -> None:
        found = decode_any(answer)
        late_ms = self._delay_ms if isinstance(found, Fulfill) else 0
        world.later(late_ms, lambda: super(Delays, self).bring_back(world, back, answer))


class Replays(Wire):
    """Sends each Prepare on twice, and answers each later one with the first answer first."""

    def __init__(self) -> None:
        super().__init__()
        self.first: bytes | None = None

    def pass_on(self, world: World, packet: bytes, on: Forward, back: Answer) -> None:
        super().pass_on(world, packet, on, back)
        world.later(5, lambda: on(packet, lambda answer: None))

    def bring_back(self, world: World, back: Answer, answer: bytes) -> None:
        if self.first is None and isinstance(decode_any(answer), Reject):
            self.first = answer
        super().bring_back(world, back, answer)


class AnswersWithTheFirst(Replays):
    """Rejects carry what the receiver said to the first packet."""

    def pass_on(self, world: World, packet: bytes, on: Forward, back: Answer) -> None:
        if self.first is not None:
            self.bring_back(world, back, self.first)
            return
        Wire.pass_on(self, world, packet, on, back)


class Limits(Wire):
    """F08 without data, as some connectors answer, or with it."""

    def __init__(self, maximum: int, *, says: bool) -> None:
        super().__init__()
        self.refused = 0
        self._maximum = maximum
        self._says = says

    def pass_on(self, world: World, packet: bytes, on: Forward, back: Answer) -> None:
        amount = Prepare.decode(packet).amount
        if amount <= self._maximum:
            super().pass_on(world, packet, on, back)
            return
        self.refused += 1
        data = amount.to_bytes(8) + self._maximum.to_bytes(8) if self._says else b""
        answer = Reject(code="F08", triggered_by="test.limit", message="too large", data=data)
        self.bring_back(world, back, bytes(answer))
