"""Credits that settlement engines report: money that a peer has paid on a ledger. Imports _core,
storage, errors and quantities.

A credit, what is left of it below a unit, and the kept answer to the engine are one transaction,
so an engine may report the same as often as it likes.
"""

from fastilp._core.books import Account
from fastilp._core.ledger import Ledger
from fastilp.control.accounts import Puts
from fastilp.control.quantities import Quantity, QuantityError, whole_units
from fastilp.storage.outbox import LEFTOVERS, Leftover, leftover_name

# What one adjustment of the ledger takes: at scale 18, more than there is of anything.
_UNITS_MAX = 2**100 - 1


class Credits:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.count = 0
        """Since the start."""

    def leftover(self, account: Account) -> Quantity:
        store = self._ledger.store
        record = None
        if store is not None:
            record = LEFTOVERS.get(store, leftover_name(account.id, account.asset_code))
        if record is None:
            return Quantity(0, account.asset_scale)
        return Quantity(record.amount, record.scale)

    def credit(self, account: Account, quantity: Quantity, also: Puts) -> int:
        """First it pays what the holder owes, the rest is prepaid. Returns the ticket; `also` is
        written with it. Raises QuantityError for more than an account can be credited at once,
        StorageError; then nothing has changed."""
        before = self.leftover(account)
        units, rest = whole_units(quantity, before, account.asset_scale)
        if units > _UNITS_MAX:
            raise QuantityError(
                f"amount is more than {_UNITS_MAX} units of scale {account.asset_scale}"
            )
        puts, deletes = list(also), []
        if rest.amount:
            record = Leftover(
                account_id=account.id,
                asset_code=account.asset_code,
                amount=rest.amount,
                scale=rest.scale,
            )
            puts.append(LEFTOVERS.put(record))
        elif before.amount:
            deletes.append(LEFTOVERS.key(leftover_name(account.id, account.asset_code)))
        moves = [(account.id, "settlement", units)] if units else []
        ticket = self._ledger.transact(moves, puts, deletes)
        self.count += 1
        return ticket
