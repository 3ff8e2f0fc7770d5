"""The node's own address from its parent, by IL-DCP (RFC 31). Imports accounts, neighbours and
requests.

Asked when the parent's link comes up, when the parent calls itself something else, and now and
then; an answer with another address gives the node and all that is below it another one. A node
whose settings name its address keeps that, and asks nobody.
"""

import logging
from collections.abc import Callable

from fastilp._core.packet import Fulfill, Reject
from fastilp._core.switch import Switch
from fastilp.control import ildcp
from fastilp.control.accounts import Accounts
from fastilp.control.neighbour import Neighbour
from fastilp.control.neighbours import Neighbours
from fastilp.control.requests import EXPIRY_MS, Requests
from fastilp.errors import ConflictError, DecodeError, StorageError, UsageError
from fastilp.types import Relation

_log = logging.getLogger("fastilp.routing")

# A parent that has another address does not tell.
_REPEAT_MS = 60_000
# And one that calls itself something else is asked at once, but not for every name.
_SPACING_MS = 1_000
_RETRY_MS = 1_000
_RETRY_MAX_MS = 30_000
_LOCAL = ("peer", "self")


class Inheritance:
    """`is_wanted`: False where the settings name the node's address."""

    def __init__(
        self,
        switch: Switch,
        accounts: Accounts,
        neighbours: Neighbours,
        requests: Requests,
        now_ms: Callable[[], int],
        *,
        is_wanted: bool = True,
        on_address: Callable[[str], None] = lambda address: None,
    ) -> None:
        """`on_address`: told of each new address."""
        self._switch = switch
        self._accounts = accounts
        self._neighbours = neighbours
        self._requests = requests
        self._now_ms = now_ms
        self._is_wanted = is_wanted
        self._on_address = on_address
        self._parent: str | None = None
        self._is_asking = False
        self._ask_ms: int | None = None
        self._asked_ms = 0
        self._failures = 0
        self._generation = 0
        neighbours.on_speaker = self._on_speaker

    # --- When to ask ----------------------------------------------------------------------------

    def link(self, username: str, is_up: bool) -> None:
        """An account's way out has come up or gone down."""
        details = self._accounts.details(username)
        if not self._is_wanted or details is None:
            return
        if details.routing_relation is Relation.PARENT and is_up:
            self._parent = username
            self._generation += 1
            self._is_asking, self._failures = False, 0
            self._ask_ms = self._now_ms()
        elif username == self._parent:
            self._parent, self._ask_ms = None, None

    def _on_speaker(self, near: Neighbour) -> None:
        if near.username == self._parent:
            self._ask_ms = max(self._now_ms(), self._asked_ms + _SPACING_MS)

    def next_ms(self) -> int | None:
        return None if self._is_asking else self._ask_ms

    def tick(self) -> None:
        """Ask, if it is time."""
        due_ms = self.next_ms()
        if due_ms is None or due_ms > self._now_ms() or self._parent is None:
            return
        entry = self._accounts.find(self._parent)
        if entry is None or entry.closing:
            self._parent, self._ask_ms = None, None
            return
        self._is_asking = True
        self._asked_ms = self._now_ms()
        generation = self._generation

        def answered(answer: Fulfill | Reject) -> None:
            if generation == self._generation:
                self._answered(answer)

        request = ildcp.request(self._now_ms() + EXPIRY_MS)
        self._requests.send(entry.account, request, answered)

    # --- What comes back ------------------------------------------------------------------------

    def _answered(self, answer: Fulfill | Reject) -> None:
        self._is_asking = False
        problem = self._problem(answer)
        if problem:
            self._failures += 1
            wait_ms = min(_RETRY_MS * 2 ** min(self._failures, 10), _RETRY_MAX_MS)
            if self._failures == 1:
                _log.warning(f"the parent gives no address: {problem}")
        else:
            self._failures = 0
            wait_ms = _REPEAT_MS
        self._ask_ms = self._now_ms() + wait_ms

    def _problem(self, answer: Fulfill | Reject) -> str:
        """What is wrong with the answer; nothing: its address was taken over."""
        if isinstance(answer, Reject):
            return f"{answer.code} {answer.message}"
        try:
            config = ildcp.parse_response(answer.data)
        except DecodeError as error:
            return str(error)
        if config.address.split(".")[0] in _LOCAL:
            return f"{config.address} never leaves a host"
        if config.address == self._switch.address:
            return ""
        try:
            self._accounts.check_readdress(config.address)
        except (UsageError, ConflictError) as error:
            return str(error)
        self._take(config)
        return ""

    def _take(self, config: ildcp.Config) -> None:
        entry = self._accounts.find(self._parent or "")
        if entry is not None:
            account = entry.account
            ours = account.asset_code, account.asset_scale
            if ours != (config.asset_code, config.asset_scale):
                _log.warning(
                    "the parent counts in another asset than this node",
                    extra={"account": account.name, "theirs": config[1:], "ours": ours},
                )
        before = self._switch.address
        self._neighbours.readdress(config.address)
        for take in (self._accounts.readdress, self._on_address):
            try:
                take(config.address)
            except StorageError as error:
                reason = str(error)
                _log.error("the next start does not know the new address", extra={"reason": reason})
        _log.info(
            "the parent has given an address",
            extra={"ilp_address": config.address, "before": before},
        )
