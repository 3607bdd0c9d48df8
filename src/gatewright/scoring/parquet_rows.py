"""Parquet files read by row groups, in bounded memory, with pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.dataframes import require_distinct
from gatewright.data.frame import ids_in, starts_of
from gatewright.data.roles import missing_column
from gatewright.errors import DataError, GatewrightError, unusable
from gatewright.scoring.whole_series import Seen

if TYPE_CHECKING:
    import pyarrow.parquet as pq

#: Rows that are decoded at once.
BATCH = 262_144


@dataclass(frozen=True)
class Layout:
    """Where the series of a file are.

    Attributes:
        rows: number of rows.
        starts: rows at which another series begins than in the row before.
        together: whether all rows of each series stand together.
    """

    rows: int
    starts: NDArray[np.int64]
    together: bool

    def spans(self, rows: int) -> list[tuple[int, int]]:
        """Return first and last row (not included) of parts of whole series, of about as many rows each."""
        ends, first = [], 0
        for start in [*self.starts[1:].tolist(), self.rows]:
            if start - first >= rows or start == self.rows:
                ends.append((first, start))
                first = start
        return ends


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file.

    Raises:
        GatewrightError: if pyarrow is not installed.
        DataError: if the file cannot be read.
    """
    try:
        import pyarrow.parquet as pq
        from pyarrow import ArrowInvalid
    except ModuleNotFoundError:
        expected = "the package pyarrow: pip install 'gatewright[score]'"
        raise GatewrightError(f"{path}, read by row groups", expected, "none") from None
    try:
        with path.open("rb") as file, pq.ParquetFile(file, pre_buffer=False) as parquet:
            require_distinct(parquet.schema_arrow.names, f"columns of {path}")
            yield parquet
    except ArrowInvalid:
        got = "a file that is damaged, cut off or of another format"
        raise DataError(str(path), "a Parquet file", got) from None
    except OSError as error:
        raise unusable(DataError, path, error) from None


def layout_of(path: Path, ids: Sequence[str]) -> Layout:
    """Find where the series of a file are, from its id columns alone.

    Args:
        path: the Parquet file.
        ids: columns that name the series of a row.

    Raises:
        DataError: if the file cannot be read, or lacks one of them.
    """
    starts, seen, first, together = [], Seen(ids), 0, True
    last: tuple[Any, ...] | None = None
    with opened(path) as file:
        for name in ids:
            if name not in file.schema_arrow.names:
                raise missing_column("id", name, file.schema_arrow.names, fixed=True)
        rows = file.metadata.num_rows
        for batch in file.iter_batches(BATCH, columns=list(ids)) if ids else ():
            cells = ids_in(_polars(batch), ids)
            together = together and seen.add(cells) is None
            own = starts_of(cells)
            starts.append(first + (own[1:] if len(own) and cells.row(0) == last else own))
            first, last = first + len(cells), cells.row(-1) if len(cells) else last
    found = np.concatenate(starts) if starts else np.zeros(min(rows, 1), np.int64)
    return Layout(rows, found, together)


def rows_between(path: Path, first: int, end: int, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """Yield rows of a file in order, in pieces; only the row groups that hold them are read.

    Args:
        path: the Parquet file.
        first: first row.
        end: row after the last.
        columns: those that are read; all if None.

    Raises:
        DataError: if the file cannot be read.
    """
    with opened(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        begins = np.cumsum([0, *sizes])
        groups = [n for n, size in enumerate(sizes) if size and begins[n] < end and begins[n + 1] > first]
        if not groups:
            return
        at = int(begins[groups[0]])
        for batch in file.iter_batches(BATCH, row_groups=groups, columns=columns and list(columns)):
            begin, stop = max(first - at, 0), min(end - at, len(batch))
            at += len(batch)
            if begin < stop:
                yield _polars(batch.slice(begin, stop - begin))


def _polars(batch: Any) -> pl.DataFrame:
    """Return a record batch as a frame; text in a dictionary as text, whose codes differ from batch to batch."""
    cells = pl.DataFrame(batch)
    coded = [pl.col(name).cast(pl.String) for name, dtype in cells.schema.items() if dtype == pl.Categorical]
    return cells.with_columns(coded) if coded else cells
