"""Several tables as one source of sequences: each file is a sequence, and its folder may be its label."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl

from gatewright.data.frame import Frame
from gatewright.data.number_format import PLAIN, Notation
from gatewright.data.readers import read_frame
from gatewright.data.text_sources import TextFiles
from gatewright.errors import DataError, shorten

#: Columns that the rows of several files get: the name of their file, and of its folder.
FILE, FOLDER = "file", "folder"


@dataclass(frozen=True)
class TableFiles(TextFiles):
    """Several tables as one source, ordered by their paths; a directory stands for all tables below it."""

    endings: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")

    def names(self) -> tuple[str, ...]:
        """Return the name of each file: its path below the directory that was named.

        Raises:
            DataError: as `files`, or if two files have one name.
        """
        names = tuple(self._below(file).as_posix() for file in self.files())
        for number, name in enumerate(names):
            if name in names[:number]:
                raise DataError("source", "files of different names", f"{shorten(name)} twice")
        return names

    def frame(self, notation: Notation = PLAIN, folders: bool = False) -> Frame:
        """Return the rows of all files, with the column `FILE`.

        Args:
            notation: how numbers are written in text.
            folders: whether there is to be a column `FOLDER`, too.

        Raises:
            DataError: if a file cannot be read, has other columns than the first one, or is in no folder.
        """
        frames, names = [read_frame(file, notation) for file in self.files()], self.names()
        first = frames[0].cells
        for name, frame in zip(names, frames, strict=True):
            odd = sorted(set(frame.cells.columns) ^ set(first.columns))
            if odd:
                raise DataError(name, f"the columns of {names[0]}", f"{shorten(odd[0])} in one of them only")
            for own in (FILE, *([FOLDER] if folders else [])):
                if own in frame.cells.columns:
                    raise DataError(name, f"no column {own!r}, which says where a row comes from", shorten(own))
        added = []
        for file, name, frame in zip(self.files(), names, frames, strict=True):
            columns = {FILE: name, **({FOLDER: self._folder(file)} if folders else {})}
            literals = [pl.lit(value, pl.String).alias(column) for column, value in columns.items()]
            added.append(frame.cells.select(first.columns).with_columns(literals))
        try:
            cells = pl.concat(added, how="vertical_relaxed")
        except pl.exceptions.PolarsError:
            raise DataError("source", "columns of the same types in all files", "others") from None
        lines = np.concatenate([frame.lines for frame in frames])
        ends = np.cumsum([len(frame.lines) for frame in frames])
        return replace(frames[0], cells=cells, lines=lines, files=tuple(zip(names, ends.tolist(), strict=True)))

    def _below(self, file: Path) -> Path:
        roots = [path for path in self.paths if path.is_dir() and path in file.parents]
        return file.relative_to(roots[0]) if roots else Path(file.name)

    def _folder(self, file: Path) -> str:
        below = self._below(file)
        roots = [path for path in self.paths if path.is_dir() and path in file.parents]
        if roots and len(below.parts) == 1:
            raise DataError(str(file), f"a folder below {roots[0]}, which names the label of its files", "none")
        return file.resolve().parent.name
