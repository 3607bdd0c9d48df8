"""Rows of a file whose series do not stand together, divided into parts of whole series in temporary files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl

from gatewright.data.frame import ids_in
from gatewright.scoring.parquet_rows import rows_between

#: Rows that are divided at once.
_ROWS = 524_288


def partitions(
    path: Path, rows: int, ids: Sequence[str], columns: Sequence[str] | None, size: int
) -> Iterator[pl.DataFrame]:
    """Yield all rows of a Parquet file in parts of whole series, in no order of the series.

    The parts are written to a temporary directory first (``TMPDIR``), by a hash of the series.  They take as much
    disk as the columns would take memory.

    Args:
        path: the file.
        rows: number of its rows.
        ids: columns that name the series of a row.
        columns: those that are read; all if None.
        size: number of rows of a part, about.

    Raises:
        DataError: if the file cannot be read.
    """
    import pyarrow as pa

    count = -(-rows // size)
    with tempfile.TemporaryDirectory(prefix="gatewright-") as folder:
        paths = [Path(folder) / f"{number}.arrows" for number in range(count)]
        with ExitStack() as open_files:
            writers: dict[int, Any] = {}
            for cells in _gathered(rows_between(path, 0, rows, columns)):
                keys = ids_in(cells, ids).hash_rows() % count
                for (number,), part in cells.group_by(keys, maintain_order=True):
                    table = part.select(cells.columns).to_arrow()
                    if number not in writers:
                        new = pa.ipc.new_stream(paths[int(str(number))], table.schema)
                        writers[number] = open_files.enter_context(new)
                    writers[number].write_table(table)
        for number in sorted(writers):
            yield pl.read_ipc_stream(paths[number])
            paths[number].unlink()


def _gathered(pieces: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    held: list[pl.DataFrame] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count >= _ROWS:
            yield pl.concat(held)
            held, count = [], 0
    if held:
        yield pl.concat(held)
