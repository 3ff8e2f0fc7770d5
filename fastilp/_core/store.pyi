from collections.abc import Iterator
from typing import final

@final
class Store:
    """LMDB environment with one writer thread. Errors: `StorageError` for everything the disk or the
    directory refuses (locked by another node, written by a newer version, not a directory, ...)."""

    def __init__(
        self,
        path: str,
        *,
        sync: bool = True,
        map_size: int = ...,
        preallocate: int = ...,
        read_only: bool = False,
    ) -> None: ...
    path: str
    node_id: bytes
    incarnation: int
    committed_ticket: int
    def rows(self) -> list[bytes]:
        """Every account's record (128 bytes each) as of the last commit: rows folded, journal replayed."""
    def get(self, key: bytes) -> bytes | None:
        """A control record; queued writes are seen."""
    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Control records whose key starts with `prefix`, in key order; queued writes are seen."""
    def fileno(self) -> int:
        """An eventfd, readable after a commit that the loop waited for (see declare_asleep)."""
    def wait(self, ticket: int, timeout: float = 30.0) -> bool:
        """Block (without the GIL) until `ticket` is committed; False after `timeout` seconds."""
    def stats(self) -> dict[str, int | str]:
        """Commits, rows, folds, failures, journal and map bytes, last commit in microseconds, LMDB version."""
    def backup(self, path: str) -> None:
        """A consistent copy of the environment into the empty directory `path` (mdb_env_copy2)."""
    def close(self) -> None:
        """Commit what is queued, fold, join the writer, release the lock. Idempotent."""

def lmdb_version() -> tuple[int, int, int]: ...
