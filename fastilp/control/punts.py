"""What the switch hands up: Prepares to our own address and to `peer.`, which only control can
answer, and those that are marked for a `Service`.

Owner of `Switch.control`; the pump calls `flush` when something waits there, and answers to our
own requests come out of it too. Imports _core, the peer protocols, services and types. Promises one
answer to each punt: a Fulfill, a Reject, or the Prepare that goes on in its place
(docs/data-path.md); at once, unless a service or a route update takes its time. Nothing that a peer
sends makes it raise.
"""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable

from fastilp._core.books import Account
from fastilp._core.link import Link
from fastilp._core.packet import Fulfill, Prepare, Reject
from fastilp._core.switch import Switch
from fastilp.control import ccp, echo, ildcp
from fastilp.control.neighbours import Neighbours
from fastilp.control.requests import Requests
from fastilp.control.services import Answer, Services
from fastilp.errors import DecodeError
from fastilp.types import AccountDetails, Relation

SETTLE = "peer.settle"
_PREPARE = 12


class Punts:
    """`details` finds an account's record by its name; `wake` asks for a turn of the pump."""

    def __init__(
        self,
        switch: Switch,
        details: Callable[[str], AccountDetails | None],
        wake: Callable[[], None],
        services: Services | None = None,
        requests: Requests | None = None,
    ) -> None:
        self._switch = switch
        self.requests = requests or Requests(switch, wake)
        self.neighbours: Neighbours | None = None
        """Who answers route control and route updates; without them nobody does."""
        self.settle: Callable[[Account, Prepare], Awaitable[Answer]] | None = None
        """Who answers `peer.settle`, likewise."""
        self._details = details
        self._wake = wake
        self.services = services or Services(switch)
        self._thinking: set[asyncio.Future[Answer]] = set()
        switch.control.owner = self
        # Up: from now on the switch hands up, instead of refusing.
        switch.control.up = True

    def flush(self, link: Link) -> None:
        """Take what waits on the control link and answer it."""
        answers = []
        for request_id, packet in link.take():
            if packet[0] != _PREPARE:
                self.requests.answered(request_id, packet)
                continue
            answer = self.answer(self._switch.punt_account(request_id), packet, request_id)
            if isawaitable(answer):
                self._answer_later(link, request_id, answer)
            elif answer is not None:
                answers.append((request_id, bytes(answer)))
        if answers:
            link.receive(answers)
            self._wake()

    def reply(self, request_id: int, answer: Answer) -> None:
        """The answer to a punt that was not answered at once."""
        self._switch.control.receive([(request_id, bytes(answer))])
        self._wake()

    def _answer_later(self, link: Link, request_id: int, answer: Awaitable[Answer]) -> None:
        """One that has expired meanwhile is an answer to nothing."""

        def answered(task: asyncio.Future[Answer]) -> None:
            self._thinking.discard(task)
            if not task.cancelled():
                link.receive([(request_id, bytes(task.result()))])
                self._wake()

        task = asyncio.ensure_future(answer)
        self._thinking.add(task)
        task.add_done_callback(answered)

    def answer(
        self, account: Account, packet: bytes, request_id: int
    ) -> Answer | Awaitable[Answer] | None:
        """What control says to one punted Prepare of an account. None: `reply` follows."""
        try:
            prepare = Prepare.decode(packet)
        except DecodeError as error:
            return self._reject("F01", str(error))
        if prepare.destination == self._switch.address:
            return self._answer_own_address(prepare)
        if not prepare.destination.startswith("peer.") and prepare.destination != "peer":
            return self.services.handle(account, prepare)
        if prepare.amount != 0:
            return self._reject("F03", f"{prepare.destination} takes no money; send amount 0")
        if prepare.destination == ildcp.DESTINATION:
            return self._answer_ildcp(account, prepare)
        if prepare.destination in (ccp.CONTROL, ccp.UPDATE) and self.neighbours is not None:
            if prepare.execution_condition != ildcp.CONDITION:
                return self._wrong_condition(prepare)
            return self.neighbours.handle(request_id, account, prepare)
        if prepare.destination == SETTLE and self.settle is not None:
            return self.settle(account, prepare)
        return self._reject("F01", f"there is no {prepare.destination} here")

    def _answer_own_address(self, prepare: Prepare) -> Answer:
        if not echo.is_echo(prepare):
            return self._reject("F02", "nothing receives at the connector's own address")
        try:
            return echo.reply(prepare, self._switch.address)
        except echo.EchoError as error:
            return self._reject("F01", str(error))

    def _answer_ildcp(self, account: Account, prepare: Prepare) -> Answer:
        if prepare.execution_condition != ildcp.CONDITION:
            return self._wrong_condition(prepare)
        details = self._details(account.name)
        if details is None or not self._is_assigned(details):
            return self._reject("F00", f"we assign no address to account {account.name}")
        data = ildcp.response_data(details.ilp_address, account.asset_scale, account.asset_code)
        return Fulfill(fulfillment=ildcp.FULFILLMENT, data=data)

    def _is_assigned(self, details: AccountDetails) -> bool:
        """RFC 31: a parent tells its children. A peer gets an answer if it was given an address."""
        if details.routing_relation in (Relation.CHILD, Relation.NON_ROUTING_ACCOUNT):
            return True
        return details.ilp_address != f"{self._switch.address}.{details.username}"

    def _wrong_condition(self, prepare: Prepare) -> Reject:
        where = prepare.destination
        return self._reject("F01", f"the condition of {where} is SHA-256 of 32 zero bytes")

    def _reject(self, code: str, message: str) -> Reject:
        return Reject(code=code, triggered_by=self._switch.address, message=message)
