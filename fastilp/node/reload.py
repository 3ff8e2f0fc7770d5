"""SIGHUP: the settings are read again, and what can change in a running node does. Imports config,
control, node.details and logs.

Accounts, routes and rates that the API has set stay as they are: the file seeds, the API wins. One
account that cannot be what the file says is logged, and keeps nobody else from changing.
"""

from collections.abc import Mapping

import structlog

from fastilp.config.models import AccountConfig, Settings
from fastilp.control.accounts import CONFIG, Accounts
from fastilp.control.tables import NodeTables
from fastilp.errors import ConfigError, ConflictError, StorageError, UsageError
from fastilp.logs import configure
from fastilp.node.details import details_of, rebased
from fastilp.node.report import log_lost_routes, log_overridden
from fastilp.types import AccountDetails

_log = structlog.get_logger("fastilp.node")

# Sections that a running node takes over.
_LIVE = ("accounts", "routes", "rates", "exchange_rate", "logging")


async def reload(
    accounts: Accounts, tables: NodeTables, before: Settings, settings: Settings
) -> None:
    wanted = {account.username: account for account in settings.accounts}
    for entry in accounts.entries():
        username = entry.account.name
        if entry.origin == CONFIG and username not in wanted and not entry.closing:
            await _suspend(accounts, username)
    overridden = _seed(accounts, wanted, settings.node.ilp_address)
    log_overridden(overridden)
    try:
        rating = settings.exchange_rate
        lost = tables.load(
            settings.routes,
            settings.rates,
            rating.spread,
            rating.spreads,
            settings.settlement.engines,
        )
        log_lost_routes(lost)
    except ConfigError as error:
        _log.error("routes or rates were not taken over", reason=str(error))
    if settings.logging != before.logging:
        configure(settings.logging.level, settings.logging.format)
    stays = [
        name
        for name in Settings.model_fields
        if name not in _LIVE and getattr(settings, name) != getattr(before, name)
    ]
    spreads = {"spread": before.exchange_rate.spread, "spreads": before.exchange_rate.spreads}
    if settings.exchange_rate.model_copy(update=spreads) != before.exchange_rate:
        # The provider: its spreads are taken over.
        stays.append("exchange_rate")
    if stays:
        _log.warning("these sections change with the next start only", sections=stays)
    _log.info("settings were read again", accounts=len(accounts))


async def _suspend(accounts: Accounts, username: str) -> None:
    try:
        await accounts.suspend(username)
    except KeyError:
        # Closed over the API while others were waited for.
        return
    except (ConflictError, StorageError) as error:
        _log.error("an account was not taken out", account=username, reason=str(error))
        return
    _log.info("an account has left the settings; its balance stays", account=username)


def _seed(accounts: Accounts, wanted: Mapping[str, AccountConfig], address: str) -> list[str]:
    """`address`: the node's in the settings. Returns the usernames about which the API has the last
    word."""
    overridden = []
    closed = accounts.closed_usernames()
    for username, account in wanted.items():
        details = details_of(account, accounts.vault)
        details = rebased(details, address, accounts.switch.address)
        entry = accounts.find(username)
        if entry is None and username in closed:
            overridden.append(username)
        elif entry is not None and entry.origin != CONFIG:
            if entry.details != details:
                overridden.append(username)
        elif entry is None or entry.details != details:
            _take_over(accounts, details, is_new=entry is None)
    return overridden


def _take_over(accounts: Accounts, details: AccountDetails, *, is_new: bool) -> None:
    try:
        if is_new:
            accounts.create(details, origin=CONFIG)
        else:
            accounts.update(details.username, details, origin=CONFIG)
    except (UsageError, ConflictError, StorageError) as error:
        _log.error("an account was not taken over", account=details.username, reason=str(error))
