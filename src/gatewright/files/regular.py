"""Open regular files only: a named pipe or a device in their place would be waited for."""

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
    """Something that is no regular file: a directory, a named pipe, a socket or a device."""

    @property
    def plain(self) -> str:
        """What is said of it."""
        return f"it is {self.strerror}, not a file"


def open_file(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file to read its bytes; never wait for a writer.

    Raises:
        IrregularFileError: if it is something else.
        OSError: if it cannot be opened.

    >>> open_file(os.curdir)
    Traceback (most recent call last):
    gatewright.files.regular.IrregularFileError: [Errno 22] a directory: '.'
    """
    require(path)  # to open a device may have effects
    # It may have been replaced since.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def require(path: str | os.PathLike[str]) -> None:
    """Raise if something is no regular file, without opening it.

    Raises:
        IrregularFileError: says what it is.
        OSError: if it is not there, or may not be looked at.
    """
    try:
        mode = Path(path).stat().st_mode
    except ValueError:  # a name that no file has, with a zero byte in it
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path)) from None
    _check(mode, path)


def _check(mode: int, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something other than a file")
        raise IrregularFileError(errno.EINVAL, kind, os.fspath(path))
