"""Atomic writes: a file is replaced completely or not at all, even if the power fails."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gatewright.errors import RunError, unusable
from gatewright.files import lock


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that a reader finds the old content or the new, never a part, even after a crash.

    The bytes go to ``.<name>.<random>.partial`` in the same folder, to the disk, and then take the file's place.
    If several processes write at once, the last one to finish wins.  A write removes what killed writers left.

    Raises:
        OSError: if the file cannot be written; the old content is still there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_bytes(Path(folder) / "note.txt", b"whole")
    ...     [file.read_bytes() for file in Path(folder).iterdir()]
    [b'whole']
    """
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of another one at the end, unless an error ends it.

    As `write_bytes` writes it: what a killed process leaves is a partial file, which the next write removes.

    Raises:
        OSError: if the file cannot be written; the old content is still there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "note.txt") as file:
    ...         _ = file.write(b"first, "), file.write(b"second")
    ...     (Path(folder) / "note.txt").read_bytes()
    b'first, second'
    """
    path = Path(path)
    _remove_abandoned(path)
    file, partial = _new(path)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name != "nt":  # while it is open it is locked, so that no other writer removes it
                partial.replace(path)
        if os.name == "nt":  # Windows does not rename an open file
            partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _new(path: Path) -> tuple[BinaryIO, Path]:
    """Return a new partial file, locked, and its path."""
    while True:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
        file = partial.open("xb")
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                lock.try_lock(file.fileno())
            if partial.exists():
                return file, partial
        except BaseException:
            file.close()
            partial.unlink(missing_ok=True)
            raise
        file.close()  # another writer removed it before it was locked


def _remove_abandoned(path: Path) -> None:
    """Remove partial files of writers that were killed: no process has them locked."""
    begin = f".{path.name}."
    try:
        entries = [entry for entry in path.parent.iterdir() if entry.name.startswith(begin)]
    except OSError:
        return  # the write itself raises the error
    for partial in entries:
        if partial.suffix == ".partial":
            with contextlib.suppress(OSError), partial.open("r+b") as file:
                if lock.try_lock(file.fileno()):
                    partial.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder durable."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder, and makes new names durable by itself
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write a file into an error that names it.

    Raises:
        RunError: if the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise unusable(RunError, path, error, writing=True) from None
