"""Files that a process reads again and again, such as a search of options: read and parsed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from gatewright.data.text_sources import TextFiles

T = TypeVar("T")

_KEPT: ContextVar[dict[Hashable, Any] | None] = ContextVar("kept sources", default=None)


@contextmanager
def sources_kept() -> Iterator[None]:
    """Keep what `read_once` reads until the end of the block."""
    if _KEPT.get() is not None:
        yield
        return
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def _file(path: Path) -> Hashable:
    status = path.stat()
    return str(path.absolute()), status.st_ino, status.st_mtime_ns, status.st_size


def read_once(source: object, how: Hashable, read: Callable[[], T]) -> T:
    """Return what a function reads from a file; within `sources_kept`, what it read before of the same file.

    Args:
        source: the path of the file, or several files; anything else is read each time.
        how: everything else that the result depends on.
        read: reads the source.
    """
    kept = _KEPT.get()
    if kept is None or not isinstance(source, (str, Path, TextFiles)):
        return read()
    try:
        files = source.files() if isinstance(source, TextFiles) else (Path(source),)
        key = (*map(_file, files), how)
    except (OSError, ValueError):
        return read()  # which says what is wrong
    if key not in kept:
        kept[key] = read()
    found: T = kept[key]
    return found
