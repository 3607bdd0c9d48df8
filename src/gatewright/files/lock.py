"""File locks that the system releases when their process ends, also if it is killed."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

#: The byte that Windows locks; the bytes before it can still be read.
_FAR = 1 << 30
#: Error numbers of a file system without locks.
_UNKNOWN = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)
#: Seconds between two tries to get a lock that another process holds.
RETRY = 0.02


class LockedError(Exception):
    """A lock that another process holds.

    Attributes:
        holder: the process ID that the other process wrote into the file, or "" if it has not yet.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


def try_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; return False if another process or descriptor holds the lock.

    Raises:
        OSError: if the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock on a file by name; the file is created if needed and not removed.

    On a file system without locks this does nothing.

    Raises:
        LockedError: if another process holds it.
        OSError: if the file cannot be created.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, held(Path(folder) / "lock"):
    ...     with held(Path(folder) / "lock"):  # doctest: +ELLIPSIS
    ...         pass
    Traceback (most recent call last):
    gatewright.files.lock.LockedError: ...
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o666)
    try:
        try:
            free = try_lock(descriptor)
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
            free = True
        os.lseek(descriptor, 0, os.SEEK_SET)
        if not free:
            raise LockedError(_number(os.read(descriptor, 20)))
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def waited_for(path: Path) -> Iterator[None]:
    """Hold a lock on a file by name as `held` does, after any other process that holds it.

    Raises:
        OSError: if the file cannot be created.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, waited_for(Path(folder) / "lock"):
    ...     (Path(folder) / "lock").exists()
    True
    """
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(held(path))
                break
            except LockedError:
                time.sleep(RETRY)
        yield


def _number(data: bytes) -> str:
    text = data.decode("ascii", "replace").strip()
    return text if text.isdecimal() else ""
