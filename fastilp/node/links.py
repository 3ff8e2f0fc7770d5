"""The links of one account: which transports it has, and which of them its packets leave by.

Imports transports, endpoints, _core and types. Each account has one way out: its endpoint, else
its HTTP URL, else the batch protocol, else BTP (both dialled by us or by the peer), else none, and
then Prepares to it are answered T01. A peer that cannot be reached is never a reason not to start.
A change touches only the links that it is about, and a link that goes answers first what is in
flight on it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from fastilp._core.books import Account
from fastilp._core.link import Link
from fastilp._core.switch import Switch
from fastilp.endpoints.loopback import Loopback
from fastilp.endpoints.stream.uplink import AccountUplink
from fastilp.transports.auth import TokenTable
from fastilp.transports.batch import BatchPort
from fastilp.transports.batch_client import BatchDialler
from fastilp.transports.btp import BtpPort
from fastilp.transports.btp_client import BtpDialler
from fastilp.transports.http_client import HttpSender
from fastilp.transports.http_pool import HttpPools, HttpSenderLimits
from fastilp.transports.http_port import HttpPort
from fastilp.transports.pump import Pump
from fastilp.transports.socket_port import SocketPort
from fastilp.types import AccountDetails, EndpointKind

_log = structlog.get_logger("fastilp.links")

_RETIRE_POLL_SECONDS = 0.05
# By then every Prepare that the link carried has expired.
_RETIRE_SECONDS = 40.0

LinkEvent = Callable[[str, str, bool], None]
"""Username, kind of link, whether it is up now."""


def _no_event(username: str, kind: str, up: bool) -> None: ...


@dataclass
class Shared:
    """What the links of all accounts have in common."""

    pump: Pump
    http_tokens: TokenTable[HttpPort]
    btp_tokens: TokenTable[BtpPort]
    batch_tokens: TokenTable[BatchPort]
    on_link: LinkEvent = _no_event
    sending: HttpSenderLimits = HttpSenderLimits()
    http_pools: HttpPools = field(init=False)
    started: bool = False
    """Peers are dialled from the node's start on."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.http_pools = HttpPools(self.pump)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class AccountLinks:
    """Made once per account; `start` dials, `update` changes, `close` hangs up."""

    def __init__(self, shared: Shared, account: Account, details: AccountDetails) -> None:
        self._shared = shared
        self._switch: Switch = shared.pump.switch
        self._account = account
        self._details = details
        self._links: dict[str, Link] = {}
        self._ports: dict[str, HttpPort | SocketPort] = {}
        self._diallers: dict[str, BatchDialler | BtpDialler] = {}
        self._sender: HttpSender | None = None
        self._is_shut = False
        self._egress: Link | None = None
        self._uplink: AccountUplink | None = None
        self._open_endpoint()
        self._open_http_in()
        self._open_http_out()
        self._open_batch()
        self._open_btp()
        self._choose_egress()

    def start(self) -> None:
        for dialler in self._diallers.values():
            dialler.start()

    def update(self, new: AccountDetails) -> None:
        """Take over the new details; nothing that is in flight is lost."""
        old, self._details = self._details, new
        if old.endpoint is not new.endpoint:
            self._drop("loopback")
            self._open_endpoint()
        if old.ilp_over_http_incoming_token != new.ilp_over_http_incoming_token:
            self._update_http_in()
        out = ("ilp_over_http_url", "ilp_over_http_outgoing_token")
        if any(getattr(old, name) != getattr(new, name) for name in out):
            self._retire_sender()
            self._open_http_out()
        self._update_socket("batch", old)
        self._update_socket("btp", old)
        self._choose_egress()

    def shut(self) -> None:
        """The account's tokens open nothing any more. Connections stay: answers to what is in
        flight come by them, or by those that are dialled anew."""
        if self._is_shut:
            return
        self._is_shut = True
        for table in (self._shared.http_tokens, self._shared.btp_tokens, self._shared.batch_tokens):
            table.remove(self._account.name)

    def reopen(self) -> None:
        """Take back `shut`."""
        self._is_shut = False
        for kind in ("http-in", "batch", "btp"):
            self._put_token(kind)

    async def close(self) -> None:
        """Hang up for good."""
        self.shut()
        diallers, self._diallers = self._diallers, {}
        for dialler in diallers.values():
            await dialler.close()
        self.reject_waiting()
        for port in self._ports.values():
            port.close()
        for link in self._links.values():
            link.close()
        if self._uplink is not None:
            self._uplink.close()

    def reject_waiting(self) -> None:
        """Send no more over HTTP, and reject what waits for an answer from there."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    @property
    def http_port(self) -> HttpPort | None:
        """Where the account's packets come in over HTTP."""
        port = self._ports.get("http-in")
        return port if isinstance(port, HttpPort) else None

    def uplink(self, address: str) -> AccountUplink:
        """The way out for payments of the account's own, made when it is needed first."""
        if self._uplink is None:
            pump = self._shared.pump
            account, wake = self._account, pump.wake
            self._uplink = AccountUplink(self._switch, account, wake, address, pump.now_ms)
            # Nothing goes to the account by it.
            self._choose_egress()
        self._uplink.address = address
        return self._uplink

    def states(self) -> dict[str, bool]:
        """Which links are up, by kind."""
        return {kind: bool(link.up) for kind, link in self._links.items()}

    def awaited(self) -> list[str]:
        """Links that are not up, and cannot be until the peer comes: we have no URL to dial."""
        return [
            kind
            for kind, link in self._links.items()
            if kind in ("batch", "btp") and kind not in self._diallers and not link.up
        ]

    @property
    def is_reachable(self) -> bool:
        """Whether the account's way out is up."""
        return self._egress is not None and bool(self._egress.up)

    # --- Opening --------------------------------------------------------------------------------

    def _open(self, kind: str, *, local: bool = False) -> Link:
        link = self._switch.open_link(
            self._account,
            kind=kind if kind in ("batch", "btp") else "message",
            name=f"{self._account.name}/{kind}",
            local=local,
        )
        self._links[kind] = link
        return link

    def _open_endpoint(self) -> None:
        if self._details.endpoint is EndpointKind.LOOPBACK:
            link = self._open("loopback", local=True)
            Loopback(link, lambda: self._switch.address, self._shared.pump.wake)

    def _open_http_in(self) -> None:
        if self._details.ilp_over_http_incoming_token:
            self._ports["http-in"] = HttpPort(self._open("http-in"), self._shared.pump)
            self._put_token("http-in")

    def _open_http_out(self) -> None:
        details = self._details
        if details.ilp_over_http_url:
            self._sender = HttpSender(
                self._open("http-out"),
                self._shared.pump,
                details.ilp_over_http_url,
                details.ilp_over_http_outgoing_token or "",
                limits=self._shared.sending,
                pools=self._shared.http_pools,
            )

    def _open_batch(self) -> None:
        details = self._details
        if details.ilp_over_batch_incoming_token or details.ilp_over_batch_url:
            port = BatchPort(self._open("batch"), self._shared.pump, self._on_change)
            self._ports["batch"] = port
            self._put_token("batch")
            self._dial("batch")

    def _open_btp(self) -> None:
        details = self._details
        if details.ilp_over_btp_incoming_token or details.ilp_over_btp_url:
            port = BtpPort(self._open("btp"), self._shared.pump, self._on_change)
            self._ports["btp"] = port
            self._put_token("btp")
            self._dial("btp")

    def _put_token(self, kind: str) -> None:
        """What the peer comes with, where there is a link for it."""
        shared, details, name = self._shared, self._details, self._account.name
        port = self._ports.get(kind)
        if isinstance(port, HttpPort) and details.ilp_over_http_incoming_token:
            shared.http_tokens.put_digest(name, details.ilp_over_http_incoming_token, port)
        elif isinstance(port, BatchPort) and details.ilp_over_batch_incoming_token:
            shared.batch_tokens.put_digest(name, details.ilp_over_batch_incoming_token, port)
        elif isinstance(port, BtpPort) and details.ilp_over_btp_incoming_token:
            shared.btp_tokens.put_digest(name, details.ilp_over_btp_incoming_token, port)

    def _dial(self, kind: str) -> None:
        """Where we come to the peer."""
        details, port = self._details, self._ports.get(kind)
        dialler: BatchDialler | BtpDialler
        if isinstance(port, BatchPort) and details.ilp_over_batch_url:
            token = details.ilp_over_batch_outgoing_token
            dialler = BatchDialler(port, details.ilp_over_batch_url, token)
        elif isinstance(port, BtpPort) and details.ilp_over_btp_url:
            token = details.ilp_over_btp_outgoing_token
            dialler = BtpDialler(port, details.ilp_over_btp_url, token)
        else:
            return
        self._diallers[kind] = dialler
        if self._shared.started:
            dialler.start()

    def _choose_egress(self) -> None:
        # Without a choice of ours the first link would be it, and http-in cannot send Prepares.
        for kind in ("loopback", "http-out", "batch", "btp"):
            if kind in self._links:
                self._egress = self._links[kind]
                self._switch.set_egress(self._account, self._egress)
                return
        self._egress = None
        self._switch.set_egress(self._account, None)

    def _on_change(self, port: SocketPort) -> None:
        event = f"{port.link.kind} link {'up' if port.up else 'down'}"
        _log.info(event, account=self._account.name)
        self._shared.on_link(self._account.name, port.link.kind, port.up)

    # --- Changing -------------------------------------------------------------------------------

    def _update_http_in(self) -> None:
        """The requests that wait keep their port, whatever the token is now."""
        if not self._details.ilp_over_http_incoming_token:
            self._shared.http_tokens.remove(self._account.name)
            self._drop("http-in")
        elif "http-in" in self._ports:
            self._put_token("http-in")
        else:
            self._open_http_in()

    def _update_socket(self, kind: str, old: AccountDetails) -> None:
        names = [f"ilp_over_{kind}_{each}" for each in ("url", "incoming_token", "outgoing_token")]
        before = [getattr(old, name) for name in names]
        url, digest, _ = now = [getattr(self._details, name) for name in names]
        if before == now:
            return
        tokens: TokenTable[BatchPort] | TokenTable[BtpPort] = (
            self._shared.batch_tokens if kind == "batch" else self._shared.btp_tokens
        )
        if not digest or before[1] != digest:
            tokens.remove(self._account.name)
        if not url and not digest:
            self._drop(kind)
            return
        self._stop_dialling(kind)
        port = self._ports.get(kind)
        if not isinstance(port, BatchPort | BtpPort):
            self._open_batch() if kind == "batch" else self._open_btp()
            return
        # The link stays, and with it what is in flight; whoever logged in with what was changed
        # has to come again.
        port.disconnect("the account was changed")
        self._put_token(kind)
        self._dial(kind)

    def _stop_dialling(self, kind: str) -> None:
        dialler = self._diallers.pop(kind, None)
        if dialler is not None:
            self._shared.spawn(dialler.close())

    def _retire_sender(self) -> None:
        sender, self._sender = self._sender, None
        link = self._links.pop("http-out", None)
        if sender is not None and link is not None:
            self._shared.spawn(_retire(lambda: _sends(link), [sender.close, link.close]))

    def _drop(self, kind: str) -> None:
        """The link takes nothing new, and is closed when what is in flight has been answered."""
        link, port = self._links.pop(kind, None), self._ports.pop(kind, None)
        dialler = self._diallers.pop(kind, None)
        if link is None:
            return
        ends = [port.close if port is not None else link.close]
        if dialler is not None:
            ends.insert(0, lambda: self._shared.spawn(dialler.close()))
        if isinstance(port, HttpPort):
            self._shared.spawn(_retire(lambda: port.waiting > 0, ends))
        else:
            # Which of the holder's packets came in by this link, nobody knows.
            self._shared.spawn(_retire(lambda: _sends(link) or self._is_waited_for(), ends))

    def _is_waited_for(self) -> bool:
        return any(self._switch.in_flight_of(self._account))


async def _retire(is_needed: Callable[[], bool], ends: list[Callable[[], None]]) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + _RETIRE_SECONDS
    # First the turn in which the switch learns of the other way out.
    await asyncio.sleep(_RETIRE_POLL_SECONDS)
    while loop.time() < end and is_needed():
        await asyncio.sleep(_RETIRE_POLL_SECONDS)
    for close in ends:
        close()


def _sends(link: Link) -> bool:
    return link.in_flight > 0 or link.egress_size > 0
