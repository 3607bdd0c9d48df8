"""Opening of regular files only: a named pipe or a device could block for ever."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class IrregularFileError(OSError):
    """Something other than a regular file: a directory, a named pipe, a socket or a device."""

    @property
    def plain(self) -> str:
        """The message for a user."""
        return f"it is {self.strerror}, not a file"


def open_file(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading its bytes; never block on a pipe.

    Raises:
        IrregularFileError: if it is not a regular file.
        OSError: if it cannot be opened.

    >>> open_file(os.curdir)
    Traceback (most recent call last):
    gatewright.files.regular_file.IrregularFileError: [Errno 22] a directory: '.'
    """
    require(path)  # opening a device may have side effects
    # It may have been replaced since.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def require(path: str | os.PathLike[str]) -> None:
    """Raise unless the path is a regular file, without opening it.

    Raises:
        IrregularFileError: with what it is.
        OSError: if it does not exist, or its status cannot be read.
    """
    try:
        mode = Path(path).stat().st_mode
    except ValueError:  # a name with a zero byte, which no file can have
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path)) from None
    _check(mode, path)


def _check(mode: int, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something other than a file")
        raise IrregularFileError(errno.EINVAL, kind, os.fspath(path))
