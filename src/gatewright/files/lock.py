"""Locks that the system lets go of when their process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

#: The byte that Windows locks; what is before it can still be read.
_FAR = 1 << 30
#: What a file system says that knows no locks.
_UNKNOWN = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


class LockedError(Exception):
    """A lock that another process holds.

    Attributes:
        holder: what that process wrote into the file: its number, or "" if it has not yet.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


def try_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; return False if another process, or another opening of it, has it.

    Raises:
        OSError: if the file system knows no locks.
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
    """Hold a lock by the name of a file, which stays there.

    Where the file system knows no locks, nothing is held.

    Raises:
        LockedError: if another process has it.
        OSError: if the file cannot be made.

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


def _number(data: bytes) -> str:
    text = data.decode("ascii", "replace").strip()
    return text if text.isdecimal() else ""
