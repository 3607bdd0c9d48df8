"""Replace a file whole or not at all, also when the power fails."""

from __future__ import annotations

import os
from pathlib import Path


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that a reader, now or after a crash, finds the old content or the new, never a part.

    The bytes go to ``.<name>.partial`` in the same folder, to the disk, and then take the file's place.  One
    writer a path at a time.

    Raises:
        OSError: if the file cannot be written; the old content is still there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_bytes(Path(folder) / "note.txt", b"whole")
    ...     [file.read_bytes() for file in Path(folder).iterdir()]
    [b'whole']
    """
    path = Path(path)
    # One fixed name, so that what a killed writer left is overwritten and does not pile up.
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder durable."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders, and keeps its names durable by itself
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
