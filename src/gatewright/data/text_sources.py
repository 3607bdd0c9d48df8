"""Texts as sources: one in memory, several in memory, several files and directories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gatewright.data.source_files import TEXTS, is_run, require_file
from gatewright.errors import DataError


@dataclass(frozen=True)
class Text:
    """A text as a source; a plain `str` is the path of one.

    Attributes:
        content: the text.
    """

    content: str


@dataclass(frozen=True)
class Texts:
    """Several texts as one source, in order.

    Attributes:
        contents: the texts.
    """

    contents: tuple[str, ...]


@dataclass(frozen=True)
class TextFiles:
    """Several files of texts as one source, ordered by their paths; a directory stands for all texts below it.

    Attributes:
        paths: files and directories.
    """

    #: Endings of the names of the files that a directory stands for.
    endings: ClassVar[tuple[str, ...]] = TEXTS

    paths: tuple[Path, ...]

    def names(self) -> tuple[str, ...]:
        """Return names of the files that make a difference: none for texts."""
        return ()

    def files(self) -> tuple[Path, ...]:
        """Return the files, ordered by path.  In a directory, hidden files and hidden directories are left out.

        Raises:
            DataError: if a path is not there, a file comes twice, or a directory has no such file.
        """
        files: dict[Path, Path] = {}
        for path in self.paths:
            for file in _files_below(path, self.endings) if path.is_dir() else (path,):
                require_file(file)
                if files.setdefault(file.resolve(), file) is not file:
                    raise DataError("source", "each file once", f"{file} twice")
        return tuple(sorted(files.values(), key=lambda file: file.parts))


def _files_below(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Return the files below a directory whose names have one of the endings."""
    if is_run(folder):
        require_file(folder)  # which says that it is a run
    shown = _shown_below(folder)
    files = [path for path in shown if path.name.lower().endswith(endings)]
    if not files:
        suffixes = sorted({path.suffix for path in shown})
        got = f"files that end in {', '.join(map(repr, suffixes[:5]))}; name them" if shown else "none"
        raise DataError(str(folder), f"a directory with files that end in {_listed(endings)}", got)
    return files


def _listed(endings: tuple[str, ...]) -> str:
    return f"{', '.join(endings[:-1])} or {endings[-1]}"


def has_texts(folder: Path) -> bool:
    """Say whether there is a text in a directory or in one below it."""
    return any(map(_is_text, _shown_below(folder)))


def _is_text(path: Path) -> bool:
    return path.name.lower().endswith(TEXTS)


def _shown_below(folder: Path) -> list[Path]:
    below = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in below if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
