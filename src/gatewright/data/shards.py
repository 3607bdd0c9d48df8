"""Parquet files that are one table, as Spark, Dask and DuckDB write it: its rows in any order, over any files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

import numpy as np
import polars as pl

from gatewright.data.frame import Frame
from gatewright.data.readers import read_frame
from gatewright.data.source_files import PARQUET, require_shards
from gatewright.data.text_sources import TextFiles
from gatewright.errors import DataError, shorten

#: The value of a partition without one, in the name of its directory.
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Shards(TextFiles):
    """Parquet files as one table; a directory stands for all of them below it.

    Names that begin with ``.`` or ``_`` are those of notes that the writer keeps.  A directory named
    ``column=value`` is a column of the rows below it.  The order of the files and of their rows says nothing.
    """

    endings: ClassVar[tuple[str, ...]] = (PARQUET,)

    def files(self) -> tuple[Path, ...]:
        """Return the files, ordered by path.

        Raises:
            DataError: as of texts; if a file is no Parquet file, or a directory is still being written.
        """
        for path in self.paths:
            if path.is_dir():
                require_shards(path)
            elif not path.name.lower().endswith(PARQUET):
                got = f"{path.name} among {len(self.paths)} files"
                raise DataError("source", "one table, or several .parquet files of one", got)
        files = tuple(file for file in super().files() if not self._is_note(file))
        if not files:
            raise DataError(str(self.paths[0]), f"a directory with {PARQUET} files", "notes of the writer alone")
        return files

    def names(self) -> tuple[str, ...]:
        """Return the values that the directories of each file give its rows."""
        return tuple("/".join(f"{name}={value}" for name, value in self._partition(file)) for file in self.files())

    def frame(self) -> Frame:
        """Return the rows of all files.

        Raises:
            DataError: if a file cannot be read, or has other columns or types than the first; if none has rows.
        """
        files, names = self.files(), self._titles()
        frames = [_frame(file) for file in files]
        first = frames[0].schema
        for name, cells in zip(names, frames, strict=True):
            odd = sorted(set(cells.columns) ^ set(first.names()))
            if odd:
                raise DataError(name, f"the columns of {names[0]}", f"{shorten(odd[0])} in one of them only")
            for column in first.names():
                if cells.schema[column] != first[column]:
                    expected = f"the types of {names[0]}, {first[column]} in column {shorten(column)}"
                    raise DataError(name, expected, str(cells.schema[column]))
        added = self._partition_columns(files, names, frames)
        cells = pl.concat([each.select(first.names()) for each in frames], rechunk=False).with_columns(added)
        ends = np.cumsum([len(each) for each in frames])
        if not ends[-1]:
            raise DataError("source", "files with rows", f"{len(files)} without any")
        lines = np.concatenate([np.arange(1, len(each) + 1) for each in frames])
        return Frame(cells, lines, "row", files=tuple(zip(names, ends.tolist(), strict=True)), in_order=False)

    def _partition_columns(
        self, files: Sequence[Path], names: Sequence[str], frames: Sequence[pl.DataFrame]
    ) -> list[pl.Series]:
        """Return the columns that the names of directories give: whole numbers where all values are, else text."""
        partitions = [dict(self._partition(file)) for file in files]
        columns = list(partitions[0])
        for name, partition in zip(names, partitions, strict=True):
            if list(partition) != columns:
                got = ", ".join(partition) or "none"
                raise DataError(name, f"directories for the columns {', '.join(columns) or '(none)'}", got)
        added = []
        for column in columns:
            if column in frames[0].columns:
                raise DataError(names[0], f"no column {shorten(column)}: its directory names one", "one")
            values = [None if each[column] == _NO_VALUE else unquote(each[column]) for each in partitions]
            rows = pl.Series(column, values, pl.String)
            numbers = rows.cast(pl.Int64, strict=False)
            if numbers.cast(pl.String).equals(rows):  # 007 is a name, and another one than 7
                rows = numbers
            added.append(rows.gather(np.repeat(np.arange(len(files)), [len(each) for each in frames])))
        return added

    def _titles(self) -> list[str]:
        """Return the path of each file below its directory, as errors name it."""
        return [self._below(file).as_posix() for file in self.files()]

    def _partition(self, file: Path) -> list[tuple[str, str]]:
        parts = [part.split("=", 1) for part in self._below(file).parts[:-1] if "=" in part]
        return [(unquote(name), value) for name, value in parts]

    def _is_note(self, file: Path) -> bool:
        return any(part.startswith(("_", ".")) for part in self._below(file).parts)

    def _below(self, file: Path) -> Path:
        roots = [path for path in self.paths if path.is_dir() and path in file.parents]
        return file.relative_to(roots[0]) if roots else Path(file.name)


def _frame(file: Path) -> pl.DataFrame:
    """Return the rows of a file, which may have none."""
    return read_frame(file, empty=True).cells
