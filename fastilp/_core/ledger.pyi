from collections.abc import Iterable
from typing import Self

from typing_extensions import disjoint_base

from fastilp._core.books import Books
from fastilp._core.store import Store

@disjoint_base
class Ledger(Books):
    """Accounts' counters in memory, made to last by a `Store` (docs/ledger.md)."""

    store: Store | None
    committed_ticket: int
    node_id: bytes
    incarnation: int

    @classmethod
    def open(
        cls,
        path: str,
        *,
        durability: str = "commit",
        map_size: int = ...,
        preallocate: int = ...,
    ) -> Self:
        """Open or create the LMDB directory `path`. `durability`: "commit" or "process". Raises
        StorageError."""
    @classmethod
    def memory(cls, manual_commit: bool = False) -> Self:
        """Keeps nothing. `manual_commit`: tickets are committed by `release`, for tests."""
    def release(self, ticket: int | None = None) -> None:
        """Commit up to `ticket` (default: all) of a memory ledger with manual_commit."""
    def transact(
        self,
        adjustments: Iterable[tuple[bytes, str, int]] = (),
        puts: Iterable[tuple[bytes, bytes]] = (),
        deletes: Iterable[bytes] = (),
        expect: Iterable[tuple[bytes, bytes | None]] = (),
    ) -> int:
        """All or nothing: move money between accounts and internal accounts, write and delete
        control records, if every `expect` (key, value or None for absent) holds. Returns the ticket
        to wait for.

        An adjustment (account_id, kind, amount) with amount > 0 credits the account and debits the
        asset's internal account `kind`; amount < 0 the other way round. With kind "settlement" a
        credit first pays a negative clearing balance, the rest becomes prepaid; kind "refund" takes
        back a debit of "settlement", so nothing becomes prepaid. Raises UsageError (unknown
        account, more than 500 records), ConflictError (an `expect` does not hold)."""
    def crash_report(self) -> list[dict[str, object]]:
        """What the last run left open, one entry per account with anything to say: account_id, name
        (if known), asset_code, asset_scale, in_flight_out (sent to this next hop and unanswered: it
        may have delivered), in_flight_out_bound (after an unclean end: max_in_flight_amount, which
        bounds that), in_flight_in (reserved for this sender and given back), not_relayed
        (fulfilled, and the sender may not have seen it). Empty after a clean shutdown."""
    def forget_crash_report(self) -> int:
        """Somebody has read it: it is gone at the next start. Returns the ticket."""
    def close(self) -> None:
        """Commit what changed and close the store. Idempotent."""

def account_id_of(name: str) -> bytes:
    """The default account id: 16 bytes that follow from the name."""
