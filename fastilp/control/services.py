"""Rules of the operator's in Python: what becomes of the packets that are marked for them.

A `Service` sees every Prepare of the accounts and prefixes that it was added for, and of no others:
the switch keeps the rest on its own path. It rejects, or returns the Prepare that is to go on,
after the sender's limits were asked and before the route is looked up (docs/policies.md). Imports
_core and errors. Promises that a rule that fails refuses its packet (T00) and nothing else.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable
from inspect import isawaitable
from typing import NamedTuple

from fastilp._core.books import Account
from fastilp._core.packet import Fulfill, Prepare, Reject
from fastilp._core.switch import Switch
from fastilp.errors import UsageError

Answer = Fulfill | Reject | Prepare

_log = logging.getLogger("fastilp.services")

# A rule that fails does so for packet after packet: one line tells it.
_FAILURE_LOG_SECONDS = 10.0


class Service(ABC):
    """One rule. `address` is the node's own, once the service was added."""

    address = ""

    @abstractmethod
    def handle(self, account: Account, prepare: Prepare) -> Answer | Awaitable[Answer]:
        """What becomes of a Prepare that `account` sent: a Reject, or the Prepare that goes on in
        its place, with the same amount. A Fulfill is for amount 0 only: money never rides on it.
        May be a coroutine; the Prepare then waits, until it expires."""

    def reject(self, code: str, message: str) -> Reject:
        return Reject(code=code, triggered_by=self.address, message=message)


class _Rule(NamedTuple):
    service: Service
    accounts: frozenset[str]
    prefixes: tuple[str, ...]

    def covers(self, username: str, destination: str) -> bool:
        return username in self.accounts or any(
            not prefix or destination == prefix or destination.startswith(f"{prefix}.")
            for prefix in self.prefixes
        )


class Services:
    """The rules of a node, in the order they were added: a Prepare passes all that cover it."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._rules: list[_Rule] = []
        self._failed_at: float | None = None
        self.failures = 0
        """How often a rule raised."""

    def add(
        self, service: Service, *, accounts: Iterable[str] = (), prefixes: Iterable[str] = ()
    ) -> list[str]:
        """Mark the accounts (by name) and prefixes for a service. Returns the accounts that are not
        there: they will be marked when they are opened. Raises UsageError for a prefix that is
        none; then nothing has changed."""
        rule = _Rule(service, frozenset(accounts), tuple(dict.fromkeys(prefixes)))
        marked: list[str] = []
        try:
            for prefix in rule.prefixes:
                self._switch.set_punt_prefix(prefix, True)
                marked.append(prefix)
        except ValueError:
            self._unmark(marked)
            raise
        service.address = self._switch.address
        self._rules.append(rule)
        return [name for name in rule.accounts if not self.account_added(name)]

    def readdress(self, address: str) -> None:
        """The node has another address."""
        for rule in self._rules:
            rule.service.address = address

    def remove(self, service: Service) -> None:
        """What no other service covers goes its own way again."""
        gone = [rule for rule in self._rules if rule.service is service]
        self._rules = [rule for rule in self._rules if rule.service is not service]
        for rule in gone:
            self._unmark(rule.prefixes)
            for name in rule.accounts:
                self.account_added(name)

    def account_added(self, name: str) -> bool:
        """Mark an account that was opened, or opened again, as the rules say. False: there is none;
        it will be told of when it is opened."""
        covered = any(name in rule.accounts for rule in self._rules)
        try:
            self._switch.set_punt(self._switch.account(name), covered)
        except KeyError:
            return False
        return True

    def handle(self, account: Account, prepare: Prepare) -> Answer | Awaitable[Answer]:
        """What the rules say to a Prepare; it goes on where none covers it any more."""
        rules = [rule for rule in self._rules if rule.covers(account.name, prepare.destination)]
        return self._pass(account, prepare, rules)

    def _pass(
        self, account: Account, prepare: Prepare, rules: list[_Rule]
    ) -> Answer | Awaitable[Answer]:
        for number, rule in enumerate(rules):
            try:
                answer = rule.service.handle(account, prepare)
                if isawaitable(answer):
                    return self._resume(account, prepare, answer, rules[number:])
                _check(answer, prepare)
            except Exception:
                return self._failed(rule.service)
            if not isinstance(answer, Prepare):
                return answer
            prepare = answer
        return prepare

    async def _resume(
        self, account: Account, prepare: Prepare, waiting: Awaitable[Answer], rules: list[_Rule]
    ) -> Answer:
        """The rest of a pass whose first rule takes its time."""
        try:
            answer = await waiting
            _check(answer, prepare)
        except Exception:
            return self._failed(rules[0].service)
        if not isinstance(answer, Prepare):
            return answer
        passed = self._pass(account, answer, rules[1:])
        return await passed if isawaitable(passed) else passed

    def _failed(self, service: Service) -> Reject:
        """Called where an exception is being handled."""
        self.failures += 1
        now = time.monotonic()
        if self._failed_at is None or now - self._failed_at >= _FAILURE_LOG_SECONDS:
            self._failed_at = now
            _log.exception("a service failed", extra={"service": type(service).__name__})
        return Reject(
            code="T00", triggered_by=self._switch.address, message="a rule of this node failed"
        )

    def _unmark(self, prefixes: Iterable[str]) -> None:
        for prefix in prefixes:
            if not any(prefix in rule.prefixes for rule in self._rules):
                self._switch.set_punt_prefix(prefix, False)


def _check(answer: object, prepare: Prepare) -> None:
    if isinstance(answer, Prepare) and answer.amount == prepare.amount:
        return
    if isinstance(answer, Fulfill) and prepare.amount or not isinstance(answer, Reject | Fulfill):
        raise UsageError(
            f"a service must return a Reject, or a Prepare of amount {prepare.amount}, not {answer}"
        )
