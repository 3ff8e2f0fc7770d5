"""Payments of the node, in both directions: SPSP and STREAM put together with the accounts that pay
and are paid. Imports config, control, endpoints, storage, transports, _core, errors and types.

A payment leaves by a link of its account inside this process, so limits, rates and books take it
for what the account's holder might have sent. The payment's record is told of money before the
switch gets it.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Protocol

import structlog

from fastilp._core.books import Account
from fastilp._core.switch import Switch
from fastilp.config.models import PaymentsConfig
from fastilp.control.api.context import Paying
from fastilp.control.entries import Entry
from fastilp.control.notifications import Notifications
from fastilp.control.paying import Books, Delivered, Order
from fastilp.control.payments import Payments
from fastilp.endpoints.spsp import SpspClient
from fastilp.endpoints.stream.progress import Progress, State
from fastilp.endpoints.stream.receiver import StreamReceiver
from fastilp.endpoints.stream.sender import Payment
from fastilp.endpoints.stream.uplink import AccountUplink
from fastilp.errors import PaymentError, UsageError
from fastilp.storage.ledger import Ledger
from fastilp.transports.pump import Pump
from fastilp.types import AccountDetails

_log = structlog.get_logger("fastilp.node")


class Uplinks(Protocol):
    """The wiring: the ways out of accounts for their own payments."""

    def uplink(self, entry: Entry) -> AccountUplink: ...


class NodePaying:
    """All of it. `seed`: the node's secret, out of which the receiver's come."""

    def __init__(
        self, config: PaymentsConfig, ledger: Ledger, pump: Pump, seed: bytes, uplinks: Uplinks
    ) -> None:
        """Raises ConfigError."""
        switch = pump.switch
        self.notifications = Notifications()
        self.receiver = StreamReceiver(
            switch, seed, pump.now_ms, pump.wake, self.notifications.received
        )
        self._client = SpspClient(config.ca_file)
        payer = _StreamPayer(switch, self._client, uplinks)
        self.payments = Payments(ledger, payer, pump.now_ms, config.kept_days)
        self.for_api = Paying(
            self.payments, self.receiver, self.notifications, config.default_spsp_account
        )

    def restore(self) -> None:
        """Before anybody can ask for payments."""
        interrupted = self.payments.restore()
        if interrupted:
            text = "payments were interrupted; `fastilp payments resume` pays what is left of one"
            _log.warning(text, count=interrupted)

    async def close(self, timeout_seconds: float) -> None:
        await self.payments.close(timeout_seconds)
        await self._client.close()

    def account_updated(self, account: Account, old: AccountDetails, new: AccountDetails) -> None:
        if old.ilp_over_http_incoming_token != new.ilp_over_http_incoming_token:
            # Whoever listens had a token that is no good any more.
            self.notifications.end(account.id)

    def account_shut(self, username: str) -> None:
        self.payments.cancel_all(username)

    def account_closed(self, account: Account) -> None:
        self.notifications.end(account.id)


class _StreamPayer:
    """`control.paying.Payer`."""

    def __init__(self, switch: Switch, client: SpspClient, uplinks: Uplinks) -> None:
        self._switch = switch
        self._client = client
        self._uplinks = uplinks

    async def open(self, entry: Entry, order: Order, books: Books) -> "_StreamPayment":
        found = await self._client.query(order.receiver)
        uplink = self._uplinks.uplink(entry)

        def note(progress: Progress) -> None:
            books.note(progress.sent_amount, progress.in_flight_amount)

        try:
            payment = Payment(
                uplink,
                found.destination,
                found.shared_secret,
                source_amount=order.source_amount,
                delivery_amount=order.delivery_amount,
                slippage=order.slippage,
                rate=self._rate_from(entry.account),
                on_progress=note,
                may_leave=books.may_leave,
            )
        except UsageError as error:
            raise PaymentError(str(error)) from None
        return _StreamPayment(payment, uplink.address, found.destination)

    def _rate_from(self, account: Account) -> Callable[[str, int], Fraction | None]:
        def rate(asset_code: str, asset_scale: int) -> Fraction | None:
            """What the node itself would give, before spreads; None where it knows no rate."""
            scales = Fraction(10) ** (asset_scale - account.asset_scale)
            if asset_code == account.asset_code:
                return scales
            rates = self._switch.rates()
            if asset_code not in rates or account.asset_code not in rates:
                return None
            return rates[account.asset_code] / rates[asset_code] * scales

        return rate


class _StreamPayment:
    """`control.paying.Sender`."""

    def __init__(self, payment: Payment, from_address: str, to_address: str) -> None:
        self.from_address = from_address
        self.to_address = to_address
        self._payment = payment

    async def run(self) -> bool:
        outcome = await self._payment.run()
        if outcome.state is State.FAILED:
            raise PaymentError(outcome.error or "the receiver did not take it")
        return outcome.state is State.COMPLETED

    def cancel(self) -> None:
        self._payment.cancel()

    def delivered(self) -> Delivered:
        found = self._payment.progress()
        return Delivered(
            found.delivered_amount, found.destination_asset_code, found.destination_asset_scale
        )
