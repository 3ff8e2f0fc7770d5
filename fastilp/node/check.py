"""`check`: everything that a start does short of listening, and nothing is changed by it. May
import what `composition` may.

A node is built on a copy of the ledger and ended again, so that what would keep it from starting is
said by what would refuse it: certificates, rules, accounts against the books, the seed, the routes.
"""

import asyncio
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from fastilp._core.store import Store
from fastilp.config.models import Settings
from fastilp.control.rate_sources import FileSource, RateError
from fastilp.errors import ConfigError, StorageError
from fastilp.node.composition import Node

_LEDGER = "data.mdb"


def check(settings: Settings) -> list[str]:
    """Raises what the start would raise. Returns what an operator should know and a node starts
    with."""
    notes = []
    data_dir = Path(settings.node.data_dir)
    with tempfile.TemporaryDirectory(prefix="fastilp-check-") as folder:
        copy = Path(folder) / "data"
        if (data_dir / _LEDGER).exists():
            notes += _copy(data_dir, copy)
        else:
            _check_writable(data_dir)
        if (data_dir / "secret_seed").exists():
            copy.mkdir(mode=0o700, exist_ok=True)
            _copy_seed(data_dir, copy)
        node = settings.node.model_copy(update={"data_dir": str(copy)})
        asyncio.run(_build(settings.model_copy(update={"node": node})))
    if settings.exchange_rate.file is not None:
        notes += asyncio.run(_rates(settings.exchange_rate.file))
    return notes


async def _build(settings: Settings) -> None:
    await Node(settings, listens=False).stop()


def _copy(data_dir: Path, copy: Path) -> list[str]:
    """Beside a node that runs the books are left alone."""
    holder = _holder(data_dir)
    if holder is not None:
        text = f"{data_dir} is in use by process {holder} and was not opened:"
        return [f"{text} whether the accounts fit its books was not looked at"]
    store = Store(str(data_dir), read_only=True)
    try:
        store.backup(str(copy))
    except StorageError as error:
        # No room for a copy is no reason not to start.
        shutil.rmtree(copy, ignore_errors=True)
        return [f"{error}; whether the accounts fit the books was not looked at"]
    finally:
        store.close()
    return []


def _holder(data_dir: Path) -> str | None:
    """Who has the directory locked, as the store locks it."""
    try:
        lock_fd = os.open(data_dir / "LOCK", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(lock_fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(lock_fd)
    return None


def _copy_seed(data_dir: Path, copy: Path) -> None:
    try:
        shutil.copy2(data_dir / "secret_seed", copy)
    except OSError as error:
        message = f"{data_dir / 'secret_seed'} cannot be read: {error.strerror}"
        raise ConfigError(message, key="node.secret_seed") from None


def _check_writable(data_dir: Path) -> None:
    """Whether a ledger could be made there."""
    there = data_dir
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise ConfigError(f"{str(there)!r} is no directory", key="node.data_dir")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{str(there)!r} cannot be written to", key="node.data_dir")


async def _rates(path: str) -> list[str]:
    try:
        await FileSource(path).quotes()
    except RateError as error:
        return [f"[exchange_rate.file]: {error}; until it can, packets that need a rate get T00"]
    return []
