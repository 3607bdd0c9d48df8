"""Files of an export, written together or refused together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from gatewright.errors import GatewrightError, reason
from gatewright.files import atomic


class Files(list[Path]):
    """Paths of the files that were written.

    Args:
        paths: the paths.
        note: what a person should know of them; "" for nothing.
    """

    def __init__(self, paths: Iterable[Path], note: str = "") -> None:
        super().__init__(paths)
        self.note = note


def written(folder: Path, contents: Mapping[str, str | bytes], *, overwrite: bool) -> list[Path]:
    """Write files into a directory, made if need be.

    Args:
        folder: the directory.
        contents: what is written, by file name; text as UTF-8.
        overwrite: whether files of these names may be replaced.

    Returns:
        Their paths.

    Raises:
        GatewrightError: if one is there and may not be replaced, or cannot be written.
    """
    require_writable(folder, tuple(contents), overwrite=overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            atomic.write_bytes(folder / name, content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        got = f"{folder}: {reason(error, writing=True)}"
        raise GatewrightError("--out", "a directory that can be written", got) from None
    return [folder / name for name in contents]


def require_writable(folder: Path, names: tuple[str, ...], *, overwrite: bool) -> None:
    """Require a directory without files of these names, unless they may be replaced.

    Raises:
        GatewrightError: names those that are there.
    """
    there = [name for name in names if (folder / name).exists()]
    if there and not overwrite:
        got = f"{folder}, which has {' and '.join(there)}"
        raise GatewrightError("--out", f"a directory without {' and '.join(names)}, or --force", got)
