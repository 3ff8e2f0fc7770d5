"""Accounts of the node while it runs: made, changed and closed without a restart.

Imports _core, storage, errors and types. What is written goes through `Ledger.transact` in the same
call that changes the switch, so whoever waits for the ticket knows that the change lasts. An
account keeps its id, and so its balance, until it is closed; closing waits for what is in flight
and moves a balance to `written_off` behind a tombstone.
"""

import asyncio
import bisect
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from fastilp._core.account_settings import checked
from fastilp._core.books import Account
from fastilp._core.switch import Switch
from fastilp.control.entries import Entry, Unwired, Wiring
from fastilp.control.records import (
    core_settings,
    details_of_record,
    is_plain,
    new_core_settings,
    record_of,
)
from fastilp.control.routing import Routing, check_routable
from fastilp.control.vault import Vault
from fastilp.errors import ConfigError, ConflictError, UsageError
from fastilp.storage.kinds import ACCOUNTS, TOMBSTONES, AccountRecord, Tombstone
from fastilp.storage.ledger import Ledger
from fastilp.types import AccountDetails, Relation

# Ledger.transact takes at most 500 records, and 64 bits of money in one adjustment.
_RECORDS_PER_CALL = 500
_ADJUSTMENT_MAX = 2**64 - 1
_NAMES_AT_ONCE = 100
_CLOSE_POLL_SECONDS = 0.01
# Every Prepare has expired, and its row is gone, this long after the longest hold.
_CLOSE_SECONDS = 40.0

API = "api"
CONFIG = "config"
OPEN = "open"
"""Nobody's decision: somebody came with a secret (`listen.open_btp`)."""

Puts = list[tuple[bytes, bytes]]
Also = Callable[[Account, AccountDetails], Puts]
"""More records for the transaction that an account's change is in."""


def _nothing(account: Account, details: AccountDetails) -> Puts:
    return []


class Accounts:
    """All accounts of a switch by username."""

    def __init__(
        self, switch: Switch, routing: Routing | None = None, vault: Vault | None = None
    ) -> None:
        self.switch = switch
        self.routing = routing or Routing(switch)
        self.vault = vault or Vault.temporary()
        self.wiring: Wiring = Unwired()
        self.on_closing: list[Callable[[Account], Puts]] = []
        """Who else names accounts: records that do so no more."""
        self.on_closed: list[Callable[[Account], None]] = []
        """The same who: forget this one. Its end is on its way to the disk."""
        self._entries: dict[str, Entry] = {}
        # In order, for lists; and by what two names must not have in common.
        self._names: list[str] = []
        # What the store had of the settings' accounts.
        self._of_config: list[AccountRecord] = []
        self._folded: dict[str, str] = {}
        # They may come back, if the disk refuses.
        self._closing: dict[str, Entry] = {}

    # --- At the start ---------------------------------------------------------------------------

    def restore(self) -> int:
        """Open every account that the API set last. Returns how many there are."""
        store = self.switch.ledger.store
        if store is None:
            return 0
        for key, value, fields in ACCOUNTS.raw(store):
            origin = fields.get("origin", API)
            if origin == CONFIG:
                self._of_config.append(ACCOUNTS.unpack(key, value))
            elif is_plain(fields):
                self._restore_plain(value, fields)
            else:
                record = ACCOUNTS.unpack(key, value)
                details = details_of_record(record, self.vault)
                account = self._open(details, record.account_id)
                self._entries[details.username] = Entry(account, details, origin)
        self._names = sorted(self._entries)
        self._folded = {name.casefold(): name for name in self._names}
        return len(self._names)

    def _restore_plain(self, value: bytes, fields: dict[str, Any]) -> None:
        """Most accounts of a large node: in a few microseconds."""
        username = fields["username"]
        account = self.switch.add_account(
            username,
            asset_code=fields["asset_code"],
            asset_scale=fields["asset_scale"],
            account_id=fields["account_id"],
        )
        self.routing.set_address(fields["ilp_address"], account)
        self._entries[username] = Entry(account, value, API)
        self.wiring.open_later(account, fields.get("ilp_over_http_incoming_token"))

    def closed_usernames(self) -> set[str]:
        """Whose accounts were closed over the API; the settings' file must not bring them back."""
        store = self.switch.ledger.store
        return set() if store is None else {stone.username for stone in TOMBSTONES.items(store)}

    def add(self, details: AccountDetails) -> Account:
        """Open an account of the settings, and route its address to it. Raises ConfigError that
        names it."""
        record = self._record(details.username)
        try:
            self._check_new(details)
            account = self._open(details, record.account_id if record else None)
        except (UsageError, ConflictError) as error:
            raise ConfigError(str(error), key=f"accounts.{details.username}") from None
        self._enter(account, details, CONFIG)
        return account

    def save(self) -> None:
        """Keep the records of all accounts of the settings, so that a balance is explained even
        when its account has left them."""
        store = self.switch.ledger.store
        if store is None:
            return
        puts = []
        for entry in self._entries.values():
            if entry.origin == CONFIG:
                kept = self._record(entry.details.username)
                # Sealing draws a nonce, so equal records differ in bytes.
                if kept is None or not self._says(kept, entry):
                    puts.append(self._put(entry.account, entry.details, CONFIG))
        for start in range(0, len(puts), _RECORDS_PER_CALL):
            self.switch.ledger.transact(puts=puts[start : start + _RECORDS_PER_CALL])

    def left_over(self) -> Iterator[tuple[AccountRecord, int]]:
        """Accounts that are in the books and not opened, with their balance if that is not zero."""
        for record in self._of_config:
            counters = self.switch.ledger.counters(record.account_id)
            if record.username in self._entries or counters is None:
                continue
            balance = counters["credits_posted"] - counters["debits_posted"]
            if balance != 0:
                yield record, balance

    # --- While it runs --------------------------------------------------------------------------

    def create(
        self, details: AccountDetails, *, origin: str = API, also: Also = _nothing
    ) -> tuple[Account, int]:
        """The account is open when this returns, and lasts once the ticket is committed. Raises
        UsageError, ConflictError, and then there is no account."""
        self._check_new(details)
        self._check_address(details)
        self.wiring.check(details)
        record = self._record(details.username)
        account_id = record.account_id if record else None
        if account_id is None and origin != CONFIG:
            account_id = uuid.uuid4().bytes
        account = self._open(details, account_id)
        try:
            puts = [self._put(account, details, origin), *also(account, details)]
            ticket = self.switch.ledger.transact(puts=puts)
        except BaseException:
            self._forget(account, details)
            raise
        self._enter(account, details, origin)
        self.wiring.open(account, details)
        return account, ticket

    def update(
        self, username: str, new: AccountDetails, *, origin: str = API, also: Also = _nothing
    ) -> int:
        """Change a live account; limits change without resetting buckets. Returns the ticket.
        Raises KeyError, UsageError, ConflictError, and then nothing has changed."""
        entry = self._live(username)
        account, old = entry.account, entry.details
        self._check_owner(new, account)
        self._check_address(new)
        self._check_settings(new)
        self.wiring.check(new)
        other_asset = (old.asset_code, old.asset_scale) != (new.asset_code, new.asset_scale)
        if other_asset:
            self._check_untouched(account)
        puts = [self._put(account, new, origin), *also(account, new)]
        ticket = self.switch.ledger.transact(puts=puts)
        if other_asset:
            self._change_asset(account, new)
        self.switch.set_account(account, **core_settings(new))
        if old.ilp_address != new.ilp_address:
            self.routing.remove_address(old.ilp_address)
            self.routing.set_address(new.ilp_address, account)
        self._route_parent(account, new)
        entry.details, entry.origin = new, origin
        self.wiring.update(account, old, new)
        return ticket

    def check_readdress(self, address: str) -> None:
        """Raises UsageError, ConflictError if an account could not be below this address."""
        moves = dict(self._moves(address))
        for username, new in moves.items():
            check_routable(new.ilp_address)
            owner = self.routing.owner_of(new.ilp_address)
            if owner is not None and owner.name not in moves:
                raise ConflictError(f"{username} cannot be {new.ilp_address}: {owner.name} is")

    def _moves(self, address: str) -> Iterator[tuple[str, AccountDetails]]:
        below = f"{self.switch.address}."
        for entry in self.entries():
            old = entry.details
            if old.ilp_address.startswith(below):
                new = f"{address}.{old.ilp_address[len(below) :]}"
                yield old.username, replace(old, ilp_address=new)

    def readdress(self, address: str) -> None:
        """The node has another address: accounts below the old one get one below the new one, and
        keep their names. What the settings say of them stays; a record says what they have now.
        Raises like `check_readdress`, and then nothing has changed; StorageError, and then only the
        records have not."""
        self.check_readdress(address)
        moved = [(self._entries[username], new) for username, new in self._moves(address)]
        self.switch.address = address
        # One may get what another one has now.
        for entry, _ in moved:
            if not entry.closing:
                self.routing.remove_address(entry.details.ilp_address)
        for entry, new in moved:
            entry.details = new
            if not entry.closing:
                self.routing.set_address(new.ilp_address, entry.account)
        if self.switch.ledger.store is not None:
            puts = [self._put(entry.account, new, entry.origin) for entry, new in moved]
            for start in range(0, len(puts), _RECORDS_PER_CALL):
                self.switch.ledger.transact(puts=puts[start : start + _RECORDS_PER_CALL])

    async def close(self, username: str, *, also: Also = _nothing) -> int:
        """Take no more packets, let what is in flight end, then close for good: the balance goes to
        `written_off`, the name is free again. Returns the ticket. Raises KeyError, ConflictError,
        StorageError, and then the account is open as it was; a crash before the ticket is committed
        leaves it so, too."""

        def end(account: Account, details: AccountDetails) -> int:
            ledger = self.switch.ledger
            balance = self.switch.balance(account)
            puts = [TOMBSTONES.put(_tombstone(account, balance)), *also(account, details)]
            for records_without in self.on_closing:
                puts += records_without(account)
            deletes = [] if ledger.store is None else [ACCOUNTS.key(username)]
            ticket = ledger.transact(_write_off(account, balance), puts, deletes)
            for forget in self.on_closed:
                forget(account)
            return ticket

        return await self._close(username, end)

    async def suspend(self, username: str) -> None:
        """Close an account that has left the settings: its record and its balance stay. Raises like
        `close`."""
        await self._close(username, lambda account, details: 0)

    async def forget(self, username: str) -> None:
        """Close an account for good that has never moved money: nothing of it stays. Raises like
        `close`."""

        def end(account: Account, details: AccountDetails) -> int:
            if self.switch.ledger.store is None:
                return 0
            return self.switch.ledger.transact(deletes=[ACCOUNTS.key(username)])

        self._check_untouched(self._live(username).account)
        await self._close(username, end)

    async def _close(self, username: str, end: Callable[[Account, AccountDetails], int]) -> int:
        """`end` writes what remains of it, and returns the ticket."""
        entry = self._live(username)
        try:
            await self._quiesce(entry)
            ticket = end(entry.account, entry.details)
        except Exception:
            self._reopen(entry)
            raise
        await self._take_out(entry)
        return ticket

    # --- Looking at them ------------------------------------------------------------------------

    def details(self, username: str) -> AccountDetails | None:
        entry = self._entries.get(username)
        return None if entry is None else entry.details

    def find(self, username: str) -> Entry | None:
        return self._entries.get(username)

    def after(self, username: str) -> Iterator[Entry]:
        """Those whose usernames come after that one, in order. Accounts may come and go while
        somebody takes them one by one."""
        start = bisect.bisect_right(self._names, username)
        while names := self._names[start : start + _NAMES_AT_ONCE]:
            for name in names:
                entry = self._entries.get(name)
                if entry is not None:
                    yield entry
            start = bisect.bisect_right(self._names, names[-1])

    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[Account, AccountDetails]]:
        for entry in list(self._entries.values()):
            yield entry.account, entry.details

    # --- What must not be -----------------------------------------------------------------------

    def _live(self, username: str) -> Entry:
        entry = self._entries[username]
        if entry.closing:
            raise ConflictError(f"account `{username}` is being closed")
        return entry

    def _check_new(self, details: AccountDetails) -> None:
        other = self._folded.get(details.username.casefold())
        if other is not None:
            raise ConflictError(f"account `{other}` already exists")
        self._check_owner(details, None)

    def _check_address(self, details: AccountDetails) -> None:
        check_routable(details.ilp_address)
        if details.ilp_address == self.switch.address:
            raise UsageError(f"{details.ilp_address} is the node's own address; give another")

    def _check_settings(self, details: AccountDetails) -> None:
        """What the switch would refuse."""
        checked(details.username, core_settings(details))
        self.switch.check_asset(details.asset_code, details.asset_scale, details.spread)

    def _check_owner(self, details: AccountDetails, account: Account | None) -> None:
        """Addresses and the place of the parent belong to one account each."""
        owner = self.routing.owner_of(details.ilp_address)
        parent = self.routing.parent
        for closing in self._closing.values():
            if closing.details.ilp_address == details.ilp_address:
                owner = closing.account
            if closing.details.routing_relation is Relation.PARENT:
                parent = closing.account
        if owner is not None and owner is not account:
            raise ConflictError(f"{details.ilp_address} is the address of account `{owner.name}`")
        if details.routing_relation is Relation.PARENT and parent not in (None, account):
            name = parent.name if parent else ""
            raise ConflictError(f"account `{name}` is the Parent already; there is one at most")

    def _check_untouched(self, account: Account) -> None:
        if any(self.switch.counters(account).values()) or any(self.switch.in_flight_of(account)):
            raise ConflictError(
                f"account `{account.name}` has moved money in {account.asset_code} with scale"
                f" {account.asset_scale}: that cannot change; take another username"
            )

    # --- Steps ----------------------------------------------------------------------------------

    def _open(self, details: AccountDetails, account_id: bytes | None) -> Account:
        account = self.switch.add_account(
            details.username,
            asset_code=details.asset_code,
            asset_scale=details.asset_scale,
            account_id=account_id,
            **new_core_settings(details),
        )
        try:
            self.routing.set_address(details.ilp_address, account)
        except UsageError:
            self._forget(account, details)
            raise
        self._route_parent(account, details)
        return account

    def _route_parent(self, account: Account, details: AccountDetails) -> None:
        if details.routing_relation is Relation.PARENT:
            self.routing.set_parent(account)
        elif self.routing.parent is account:
            self.routing.set_parent(None)

    def _forget(self, account: Account, details: AccountDetails) -> None:
        self.switch.close_account(account)
        self._unroute(account, details)
        self.switch.remove_account(account)

    def _unroute(self, account: Account, details: AccountDetails) -> None:
        if self.routing.owner_of(details.ilp_address) is account:
            self.routing.remove_address(details.ilp_address)
        if self.routing.parent is account:
            self.routing.set_parent(None)

    def _enter(self, account: Account, details: AccountDetails, origin: str) -> None:
        self._entries[details.username] = Entry(account, details, origin)
        bisect.insort(self._names, details.username)
        self._folded[details.username.casefold()] = details.username

    def _change_asset(self, account: Account, new: AccountDetails) -> None:
        """The same account, id and index with another asset. Nothing of it is in flight."""
        self.wiring.shut(new.username)
        self.switch.close_account(account)
        self.switch.remove_account(account)
        self.switch.add_account(
            new.username,
            asset_code=new.asset_code,
            asset_scale=new.asset_scale,
            account_id=account.id,
        )

    async def _quiesce(self, entry: Entry) -> None:
        """Nothing comes in or goes out any more, and all that did is answered and on the disk."""
        entry.closing = True
        self._closing[entry.account.name] = entry
        self.switch.close_account(entry.account)
        self._unroute(entry.account, entry.details)
        self.wiring.shut(entry.account.name)
        loop = asyncio.get_running_loop()
        end = loop.time() + _CLOSE_SECONDS
        while any(self.switch.in_flight_of(entry.account)) and loop.time() < end:
            await asyncio.sleep(_CLOSE_POLL_SECONDS)
        if any(self.switch.in_flight_of(entry.account)):
            raise ConflictError(f"packets of account `{entry.account.name}` are in flight still")
        ledger = self.switch.ledger
        if isinstance(ledger, Ledger):
            # A Fulfill leaves in the turn after its commit.
            await ledger.committed(ledger.ticket)
            await asyncio.sleep(_CLOSE_POLL_SECONDS)

    def _reopen(self, entry: Entry) -> None:
        """It cannot be closed: as if nothing had happened."""
        account, details = entry.account, entry.details
        del self._closing[account.name]
        entry.closing = False
        self.switch.reopen_account(account)
        self.routing.set_address(details.ilp_address, account)
        self._route_parent(account, details)
        self.wiring.reopen(account, details)

    async def _take_out(self, entry: Entry) -> None:
        username = entry.account.name
        del self._closing[username]
        del self._entries[username]
        del self._folded[username.casefold()]
        del self._names[bisect.bisect_left(self._names, username)]
        self.switch.remove_account(entry.account)
        await self.wiring.close(username)

    # --- Records --------------------------------------------------------------------------------

    def _record(self, username: str) -> AccountRecord | None:
        store = self.switch.ledger.store
        return None if store is None else ACCOUNTS.get(store, username)

    def _put(self, account: Account, details: AccountDetails, origin: str) -> tuple[bytes, bytes]:
        return ACCOUNTS.put(record_of(account.id, details, origin, self.vault))

    def _says(self, record: AccountRecord, entry: Entry) -> bool:
        return (
            record.account_id == entry.account.id
            and record.origin == entry.origin
            and details_of_record(record, self.vault) == entry.details
        )


def _tombstone(account: Account, balance: int) -> Tombstone:
    return Tombstone(
        account_id=account.id,
        username=account.name,
        asset_code=account.asset_code,
        asset_scale=account.asset_scale,
        written_off=balance,
        closed_at_ms=time.time_ns() // 1_000_000,
    )


def _write_off(account: Account, balance: int) -> Iterable[tuple[bytes, str, int]]:
    """Adjustments that bring the balance to zero."""
    sign = -1 if balance > 0 else 1
    left = abs(balance)
    while left:
        part = min(left, _ADJUSTMENT_MAX)
        yield account.id, "written_off", sign * part
        left -= part
