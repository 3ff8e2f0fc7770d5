"""The links of one account: which transports it has, and which of them its packets leave by.

Imports transports, endpoints, _core and types. Each account has one way out: its endpoint, else
its HTTP URL, else the batch protocol, else BTP (both dialled by us or by the peer), else none, and
then Prepares to it are answered T01. A peer that cannot be reached is never a reason not to start.
"""

import structlog

from fastilp._core.books import Account
from fastilp._core.link import Link
from fastilp._core.switch import Switch
from fastilp.endpoints.loopback import Loopback
from fastilp.errors import ConfigError, UsageError
from fastilp.transports.auth import TokenTable
from fastilp.transports.batch import BatchPort
from fastilp.transports.batch_client import BatchDialler
from fastilp.transports.btp import BtpPort
from fastilp.transports.btp_client import BtpDialler
from fastilp.transports.http_client import HttpSender
from fastilp.transports.http_port import HttpPort
from fastilp.transports.pump import Pump
from fastilp.transports.socket_port import SocketPort
from fastilp.types import AccountDetails, EndpointKind

_log = structlog.get_logger("fastilp.links")


class AccountLinks:
    """Made once per account; `start` dials, `close` hangs up."""

    def __init__(
        self,
        pump: Pump,
        account: Account,
        details: AccountDetails,
        http_tokens: TokenTable[HttpPort],
        btp_tokens: TokenTable[BtpPort],
        batch_tokens: TokenTable[BatchPort],
    ) -> None:
        self._pump = pump
        self._switch: Switch = pump.switch
        self._account = account
        self._details = details
        self._links: dict[str, Link] = {}
        self._http_tokens = http_tokens
        self._btp_tokens = btp_tokens
        self._batch_tokens = batch_tokens
        self._ports: list[HttpPort | SocketPort] = []
        self._diallers: list[BatchDialler | BtpDialler] = []
        self._sender: HttpSender | None = None
        try:
            self._open_endpoint()
            self._open_http()
            self._open_batch()
            self._open_btp()
        except UsageError as error:
            raise ConfigError(str(error), key=f"accounts.{details.username}") from None
        self._choose_egress()

    def start(self) -> None:
        for dialler in self._diallers:
            dialler.start()

    async def close(self) -> None:
        """Hang up for good: the account's tokens open nothing any more."""
        username = self._details.username
        self._http_tokens.remove(username)
        self._btp_tokens.remove(username)
        self._batch_tokens.remove(username)
        for dialler in self._diallers:
            await dialler.close()
        self.reject_waiting()
        for port in self._ports:
            port.close()

    def reject_waiting(self) -> None:
        """Send no more over HTTP, and reject what waits for an answer from there."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def states(self) -> dict[str, bool]:
        """Which links are up, by kind."""
        return {kind: link.up for kind, link in self._links.items()}

    def _open(self, kind: str, *, local: bool = False) -> Link:
        link = self._switch.open_link(
            self._account,
            kind=kind if kind in ("batch", "btp") else "message",
            name=f"{self._details.username}/{kind}",
            local=local,
        )
        self._links[kind] = link
        return link

    def _open_endpoint(self) -> None:
        if self._details.endpoint is EndpointKind.LOOPBACK:
            link = self._open("loopback", local=True)
            Loopback(link, self._switch.address, self._pump.wake)

    def _open_http(self) -> None:
        details = self._details
        if details.ilp_over_http_incoming_token:
            port = HttpPort(self._open("http-in"), self._pump)
            self._ports.append(port)
            self._http_tokens.put(details.username, details.ilp_over_http_incoming_token, port)
        if details.ilp_over_http_url:
            self._sender = HttpSender(
                self._open("http-out"),
                self._pump,
                details.ilp_over_http_url,
                details.ilp_over_http_outgoing_token or "",
            )

    def _open_batch(self) -> None:
        details = self._details
        if not details.ilp_over_batch_incoming_token and not details.ilp_over_batch_url:
            return
        port = BatchPort(self._open("batch"), self._pump, self._on_change)
        self._ports.append(port)
        if details.ilp_over_batch_incoming_token:
            self._batch_tokens.put(details.username, details.ilp_over_batch_incoming_token, port)
        if details.ilp_over_batch_url:
            url, token = details.ilp_over_batch_url, details.ilp_over_batch_outgoing_token
            self._diallers.append(BatchDialler(port, url, token))

    def _open_btp(self) -> None:
        details = self._details
        if not details.ilp_over_btp_incoming_token and not details.ilp_over_btp_url:
            return
        port = BtpPort(self._open("btp"), self._pump, self._on_change)
        self._ports.append(port)
        if details.ilp_over_btp_incoming_token:
            self._btp_tokens.put(details.username, details.ilp_over_btp_incoming_token, port)
        if details.ilp_over_btp_url:
            url, token = details.ilp_over_btp_url, details.ilp_over_btp_outgoing_token
            self._diallers.append(BtpDialler(port, url, token))

    def _choose_egress(self) -> None:
        # Without a choice of ours the first link would be it, and http-in cannot send Prepares.
        for kind in ("loopback", "http-out", "batch", "btp"):
            if kind in self._links:
                self._switch.set_egress(self._account, self._links[kind])
                return
        self._switch.set_egress(self._account, None)

    def _on_change(self, port: SocketPort) -> None:
        event = f"{port.link.kind} link {'up' if port.up else 'down'}"
        _log.info(event, account=self._details.username)
