"""The store's directory: made, locked, copied to. Plain Python, used a few times in a run.

It may import the standard library and fastilp.errors. Whatever the file system refuses becomes a
StorageError that names the path and says what to do.
"""

import errno
import fcntl
import os

from fastilp.errors import StorageError

# Of 126 readers, LMDB's default.
_LOCK_TABLE_SIZE = 8192


def make_directory(path: str, *, exists: bool) -> None:
    """Create `path`; with `exists` only look whether there is a store in it."""
    if os.path.exists(path) and not os.path.isdir(path):
        raise StorageError(f"{path}: is not a directory; a store is a directory of its own")
    if exists:
        if not os.path.exists(os.path.join(path, "data.mdb")):
            raise StorageError(f"{path}: there is no store in it")
        return
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot be created: {error.strerror}") from error


def make_empty_directory(path: str) -> None:
    make_directory(path, exists=False)
    try:
        names = os.listdir(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    if names:
        raise StorageError(f"{path}: is not empty; a copy goes into an empty directory")


def _reserve_lock_table(path: str) -> None:
    """LMDB maps its lock file and writes to it: a file with a hole on a full disk would end the
    process with SIGBUS. Called before LMDB has it open."""
    lock_fd = os.open(os.path.join(path, "lock.mdb"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(lock_fd, 0, _LOCK_TABLE_SIZE)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
    finally:
        os.close(lock_fd)


def lock_directory(path: str) -> int:
    """A descriptor that holds the directory until it is closed. The lock is on a file of its own:
    POSIX locks on LMDB's files would be lost if anybody in this process opened and closed them."""
    name = os.path.join(path, "LOCK")
    try:
        lock_fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{name}: cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock_fd, 0)
        os.pwrite(lock_fd, b"%d\n" % os.getpid(), 0)
        _reserve_lock_table(path)
    except BlockingIOError:
        holder = os.pread(lock_fd, 20, 0).decode("ascii", "replace").strip()
        os.close(lock_fd)
        raise StorageError(
            f"{path}: another node (process {holder or 'unknown'}) uses this data directory; "
            "stop it, or give this node a data_dir of its own"
        ) from None
    except OSError as error:
        os.close(lock_fd)
        raise StorageError(f"{name}: cannot be locked: {error.strerror}") from error
    return lock_fd


def sync_copy(path: str) -> None:
    """Put a finished copy on the disk: LMDB does not."""
    for name in (os.path.join(path, "data.mdb"), path):
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
