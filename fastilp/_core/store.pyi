from collections.abc import Iterable, Iterator
from typing import final

@final
class Store:
    """LMDB environment and journal with one writer thread. Errors: `StorageError` for everything
    the disk or the directory refuses (locked by another node, written by a newer version, not a
    directory, ...)."""

    def __init__(
        self,
        path: str,
        *,
        sync: bool = True,
        map_size: int = ...,
        preallocate: int = ...,
        read_only: bool = False,
    ) -> None:
        """Open or create the directory `path`. `sync=False`: commits survive the death of the
        process, not that of the machine. `map_size` is where the map starts; it grows.
        `preallocate`: bytes of the file kept in hand. `read_only`: no lock, no writer; another
        process's running store may be read and copied."""
    path: str
    node_id: bytes
    incarnation: int
    was_clean: bool
    """The run before this one ended with close()."""
    committed_ticket: int
    """Tickets of this run; 0 before the first commit."""
    def rows(self) -> list[bytes]:
        """Every account's record (128 bytes each) as of the last commit: rows folded, journal
        replayed."""
    def get(self, key: bytes) -> bytes | None:
        """A control record; queued writes are seen."""
    def items(
        self, prefix: bytes = b"", after: bytes = b"", limit: int = -1
    ) -> Iterator[tuple[bytes, bytes]]:
        """Control records whose key starts with `prefix`, in key order; queued writes are seen.
        Only keys behind `after`, and the first `limit` of them."""
    def write(
        self,
        ticket: int,
        rows: Iterable[tuple[int, bytes]] = (),
        puts: Iterable[tuple[bytes, bytes]] = (),
        deletes: Iterable[bytes] = (),
    ) -> None:
        """Queue (row index, record) pairs and control records under `ticket`: what the ledger
        does from C, for tools and tests. At most 500 puts and deletes; keys have 1 to 511
        bytes."""
    def asleep(self, ticket: int) -> None:
        """Make `fileno()` readable at the next commit, or now if `ticket` is committed."""
    def awake(self) -> None:
        """Take that back, and empty `fileno()`. A wake-up that is being written at this moment may
        still land; the next call takes it out."""
    def fileno(self) -> int:
        """An eventfd, readable after a commit that the loop waited for (see asleep)."""
    def wait(self, ticket: int, timeout: float = 30.0) -> bool:
        """Block (without the GIL) until `ticket` is committed; False after `timeout` seconds."""
    def stats(self) -> dict[str, int | str]:
        """health (healthy, failing, no_space, closed), commits, rows, controls, folds,
        fold_rows, failures, reopens, grows, journal_records, journal_bytes, last_commit_us,
        slowest_commit_us, map_size, used_size, room_size, lmdb_version."""
    def backup(self, path: str) -> None:
        """Everything that is committed, as one state, into the empty directory `path`: an
        environment that needs no journal."""
    def close(self) -> None:
        """Commit what is queued, fold, join the writer, release the lock. Idempotent. Raises
        StorageError if commits still fail after five seconds."""

def lmdb_version() -> tuple[int, int, int]: ...
