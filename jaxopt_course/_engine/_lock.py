"""One process at a time in a folder, by a lock that the system releases when its holder dies.

The lock is `flock` on a file in the folder, which says who holds it. It holds between processes and
between the threads of one, on network file systems also between machines.
"""

import contextlib
import datetime
import errno
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks: see `_lock`.
    fcntl = None  # pyrefly: ignore[bad-assignment]

_NAME = "lock"
_PROBE_BYTES = 4096
"""Written to see whether the disk takes anything: one block of most file systems."""


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A block in which no other process has a folder, which can be written to.

    The folder, and those above it, are made if they are not there; those that are empty after the
    block are removed again.

    Args:
        folder: The folder.

    Yields:
        Its absolute path.

    Raises:
        BlockingIOError: At once, if another process, or another thread of this one, has the folder;
            the message says who and since when.
        OSError: If the folder cannot be made or written to; the message names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent, locked(f"{parent}/results") as folder:
        ...     print(folder.name, [path.name for path in folder.iterdir()])
        results ['lock']
    """
    folder = Path(folder).absolute()
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        file = _acquire(folder)
    except BlockingIOError:
        raise
    except OSError as error:
        _remove_empty(missing)
        raise unwritable(folder, error) from error
    try:
        try:
            _write_holder(file)
            _probe(folder)
        except OSError as error:
            raise unwritable(folder, error) from error
        yield folder
    finally:
        # Removed before the lock is released: `_acquire` of another process sees that it has gone.
        with contextlib.suppress(OSError):
            (folder / _NAME).unlink()
        os.close(file)
        _remove_empty(missing)


def unwritable(folder: Path, error: OSError) -> OSError:
    """An error of the same kind that names the folder and says what to do."""
    reason = error.strerror or str(error)
    remedy = "make it writable, or give another folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        remedy = "make room and give the same call again, which goes on from what is stored"
    # OSError makes the subclass that belongs to the errno.
    return OSError(error.errno, f"{folder} cannot be written to ({reason}): {remedy}")


def _acquire(folder: Path) -> int:
    """Return the descriptor of the folder's lock file, locked."""
    for _ in range(100):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            if os.path.lexists(folder / _NAME) or not os.access(folder, os.W_OK):
                raise
            continue  # The holder before has just removed the folder.
        try:
            _lock(file, folder)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.stat(folder / _NAME)):
                    return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # The holder before has just removed the file that is locked here.
    raise FileNotFoundError(errno.ENOENT, f"{_NAME} is removed again and again")


def _lock(file: int, folder: Path) -> None:
    """Lock an open file, or raise BlockingIOError; warn where the system has no locks."""
    unsupported: str | None = "this system has no flock"
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unsupported = None
        except BlockingIOError as error:
            raise BlockingIOError(
                error.errno,
                f"{folder} is in use by {_holder(file)}: wait until that has ended, or give "
                "another folder",
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
                raise
            unsupported = error.strerror
    if unsupported is not None:
        warnings.warn(
            f"{folder} cannot be locked ({unsupported}): see to it that no other process works "
            "in it",
            stacklevel=2,
        )


def _write_holder(file: int) -> None:
    now = datetime.datetime.now(datetime.UTC).isoformat(" ", "seconds")
    text = f"process {os.getpid()} on {socket.gethostname()} since {now}"
    os.ftruncate(file, 0)
    os.pwrite(file, text.encode(), 0)
    os.fsync(file)


def _holder(file: int) -> str:
    # The file is empty for the moment between another's locking it and writing into it.
    return os.pread(file, 1000, 0).decode(errors="replace") or "another process"


def _probe(folder: Path) -> None:
    """Raise OSError, now rather than after the work, if nothing can be written."""
    path = folder / f"{_NAME}.tmp"
    try:
        with open(path, "wb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, the deepest first, up to one with something in it."""
    with contextlib.suppress(OSError):
        for path in folders:
            path.rmdir()
