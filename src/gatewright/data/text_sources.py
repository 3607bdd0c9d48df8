"""Texts as sources: one in memory, several in memory, several files and directories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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

    paths: tuple[Path, ...]

    def files(self) -> tuple[Path, ...]:
        """Return the files, ordered by path.  In a directory, hidden files and hidden directories are left out.

        Raises:
            DataError: if a path is not there, a file comes twice, or a directory has no text.
        """
        files: dict[Path, Path] = {}
        for path in self.paths:
            for file in _texts_below(path) if path.is_dir() else (path,):
                require_file(file)
                if files.setdefault(file.resolve(), file) is not file:
                    raise DataError("source", "each file once", f"{file} twice")
        return tuple(sorted(files.values(), key=lambda file: file.parts))


def _texts_below(folder: Path) -> list[Path]:
    """Return the texts of a directory: files named .txt or .txt.gz."""
    if is_run(folder):
        require_file(folder)  # which says that it is a run
    shown = _shown_below(folder)
    texts = [path for path in shown if _is_text(path)]
    if not texts:
        suffixes = sorted({path.suffix for path in shown})
        got = f"files that end in {', '.join(map(repr, suffixes[:5]))}; name them" if shown else "none"
        raise DataError(str(folder), "a directory with files that end in .txt or .txt.gz", got)
    return texts


def has_texts(folder: Path) -> bool:
    """Say whether there is a text in a directory or in one below it."""
    return any(map(_is_text, _shown_below(folder)))


def _is_text(path: Path) -> bool:
    return path.name.lower().endswith(TEXTS)


def _shown_below(folder: Path) -> list[Path]:
    below = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in below if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
