"""Runs the checks against one engine, or a pair of peers. Imports the neighbours.

Accounts have fresh names, so that the suite can be run again and again against the same engines.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from fastilp.engines.conformance.calls import Calls, CheckError, expect
from fastilp.engines.conformance.checks import API, MONEY, Check, Trial
from fastilp.engines.conformance.connector import Seen, StandIn
from fastilp.engines.quantity import Quantity
from fastilp.errors import ConfigError


@dataclass
class Options:
    engine: str
    peer: str | None
    connector: str
    """host:port that the engines call."""
    unit: Quantity
    """A payment that the ledger can carry: one is made per check, eight in one of them."""
    wait_s: float
    token: str | None = None
    quiet_s: float = 2.0
    """How long a payment that must not come is waited for."""


@dataclass
class Result:
    name: str
    sentence: str
    fault: str = ""


@dataclass
class Report:
    results: list[Result] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return sum(bool(result.fault) for result in self.results)


async def run(options: Options, tell: Callable[[Result], None]) -> Report:
    """`tell` hears of each check as it ends. Raises ConfigError if the stand-in cannot listen, or
    nothing can be asked at a URL."""
    stand_in = StandIn(options.connector)
    try:
        await stand_in.start()
    except OSError as error:
        raise ConfigError(f"cannot listen on {options.connector}: {error.strerror}") from None
    headers = {} if options.token is None else {"Authorization": f"Bearer {options.token}"}
    report = Report(remarks=stand_in.remarks)
    try:
        async with aiohttp.ClientSession(headers=headers) as session:
            for url in (options.engine, *([] if options.peer is None else [options.peer])):
                await _reach(url, session)
            trial = _trial(options, stand_in, session)
            for check in API:
                await _try(check, trial, report, tell)
            if options.peer is not None:
                await _introduce(trial, Calls(options.peer, session), report, tell)
                _remark_on_silence(options, stand_in, report)
    finally:
        await stand_in.stop()
    return report


async def _reach(url: str, session: aiohttp.ClientSession) -> None:
    """One sentence, and not one for each check. What it answers to this is not judged."""
    try:
        async with session.get(url):
            pass
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise ConfigError(f"{url}: must be a URL like http://127.0.0.1:3000") from None
    except aiohttp.ClientConnectorError as error:
        raise ConfigError(f"no engine answers at {url}: {error.strerror or error}") from None
    except (aiohttp.ClientError, TimeoutError):
        return


def _remark_on_silence(options: Options, stand_in: StandIn, report: Report) -> None:
    """The likeliest reason why nothing arrives is no fault of the engines'."""
    if report.failed and not any(account.calls for account in stand_in.accounts.values()):
        report.remarks.append(
            f"no engine has told {options.connector} of a payment: is that the address of the"
            " connector that they were started with?"
        )


def _trial(options: Options, stand_in: StandIn, session: aiohttp.ClientSession) -> Trial:
    account, payee = (f"conformance-{uuid.uuid4()}" for _ in range(2))
    stand_in.accounts[account] = Seen(other_account=payee, other_engine=options.peer or "")
    stand_in.accounts[payee] = Seen(other_account=account, other_engine=options.engine)
    return Trial(
        Calls(options.engine, session),
        account,
        stand_in,
        options.unit,
        options.wait_s,
        options.quiet_s,
        payee,
    )


async def _introduce(
    trial: Trial, peer: Calls, report: Report, tell: Callable[[Result], None]
) -> None:
    """The peer has an account too, and money can move. At the end both are gone."""

    async def gets_to_know_its_peer(trial: Trial) -> None:
        """The peer's engine takes its account, and both get to know each other"""
        expect(await peer.create(trial.payee), 201, what="POST /accounts at the peer")

    async def lets_go(trial: Trial) -> None:
        """Both accounts are deleted at the end"""
        expect(await trial.engine.delete(trial.account), 204, what="DELETE")
        expect(await peer.delete(trial.payee), 204, what="DELETE at the peer")

    for check in (gets_to_know_its_peer, *MONEY, lets_go):
        await _try(check, trial, report, tell)


async def _try(check: Check, trial: Trial, report: Report, tell: Callable[[Result], None]) -> None:
    name = getattr(check, "__name__", "check")
    result = Result(name, " ".join((check.__doc__ or "").split()))
    try:
        await check(trial)
    except CheckError as error:
        result.fault = str(error)
    report.results.append(result)
    tell(result)
