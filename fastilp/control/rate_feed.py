"""The exchange rates that the switch uses, kept up to date from a source.

Imports _core, rate_sources and errors. The rates of the settings and of the API hold for the assets
that the source does not name. Promises that rates are exact, that a failed poll changes nothing
until `failures_max` in a row have failed, and that from then on the assets of the source have no
rate: their packets are refused (T00) rather than priced by guesswork.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction

from fastilp._core.switch import Switch
from fastilp.control.rate_sources import FileSource, Quotes, RateError, RateSource
from fastilp.control.tracing import Tracing
from fastilp.errors import UsageError

_log = logging.getLogger("fastilp.rates")

_FILE_LOOK_SECONDS = 1.0


class RateFeed:
    """`manual` says what was set by hand, now; `start` in the running loop."""

    def __init__(
        self,
        switch: Switch,
        source: RateSource,
        manual: Callable[[], Mapping[str, Decimal]],
        *,
        poll_seconds: float = 60.0,
        failures_max: int = 5,
        tracing: Tracing | None = None,
    ) -> None:
        self._switch = switch
        self._source = source
        self._manual = manual
        self._poll_seconds = poll_seconds
        self._failures_max = failures_max
        self._tracing = tracing or Tracing()
        self._task: asyncio.Task[None] | None = None
        self._quotes: Quotes = {}
        self.failures = 0
        """In a row."""
        self.error = ""
        """Why the last poll failed; empty if it did not."""
        self.polls = 0
        self.refused: tuple[str, ...] = ()
        """Assets whose exact rates do not fit 128 bits with another one of ours."""

    @property
    def stale(self) -> bool:
        """Whether the source's assets have no rate."""
        return self.failures > self._failures_max

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._source.close()

    async def poll(self) -> None:
        """Ask once, and use what was said."""
        self.polls += 1
        try:
            with self._tracing.span("rates poll"):
                quotes = await self._source.quotes()
        except RateError as error:
            self._on_failure(error)
            return
        if self.error:
            _log.info("rates are up to date again")
        self.failures, self.error = 0, ""
        self._quotes = quotes
        self.renew()

    def renew(self) -> None:
        """Rates set by hand are others: those of the source stay on top of them."""
        by_hand = {code: Fraction(rate) for code, rate in self._manual().items()}
        if self.stale:
            self._use({code: by_hand[code] for code in by_hand.keys() - self._quotes.keys()})
        else:
            self._use({**by_hand, **self._quotes})

    def _on_failure(self, error: RateError) -> None:
        self.failures += 1
        self.error = str(error)
        _log.warning(
            "rates could not be fetched", extra={"failures": self.failures, "reason": self.error}
        )
        if self.failures == self._failures_max + 1:
            _log.error("rates are too old: packets that need one are answered T00")
            self.renew()

    def _use(self, rates: Quotes) -> None:
        try:
            self._switch.set_rates(dict(rates))
            self.refused = ()
        except UsageError:
            fitting = self._switch.fitting_rates(dict(rates))
            self._switch.set_rates(dict(fitting))
            refused = tuple(sorted(rates.keys() - fitting.keys()))
            if refused != self.refused:
                _log.error("rates do not fit 128 bits, so there is none", extra={"assets": refused})
            self.refused = refused

    async def _run(self) -> None:
        while True:
            version = self._source.version() if isinstance(self._source, FileSource) else None
            await self.poll()
            await self._rest(version)

    async def _rest(self, version: object) -> None:
        """A file is looked at often, and read when it has changed; a bad one also in between."""
        if not isinstance(self._source, FileSource):
            await asyncio.sleep(self._poll_seconds)
            return
        loop = asyncio.get_running_loop()
        again_at = loop.time() + self._poll_seconds
        while self._source.version() == version and not (self.error and loop.time() >= again_at):
            await asyncio.sleep(min(_FILE_LOOK_SECONDS, self._poll_seconds))
