"""Files of forecasts and of snapshots, written as parts come, and whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from gatewright.errors import DataError, GatewrightError, shorten
from gatewright.files import atomic
from gatewright.tasks.spreadsheet import harmless

#: Takes the next rows of a file.
Write = Callable[[pl.DataFrame], None]


def is_parquet(path: Path | None) -> bool:
    """Say whether a path is that of a Parquet file."""
    return path is not None and path.suffix.lower() == ".parquet"


@contextmanager
def writing_rows(path: Path | None, ids: Iterable[str] = ()) -> Iterator[Write]:
    """Yield a function that takes rows for a file, which is there once all have come.

    Args:
        path: a ``.parquet`` file, or one of CSV by any other name; None for CSV on standard output, as rows come.
        ids: columns of text that are no timestamps.

    Raises:
        RunError: if the file cannot be written.
        DataError: if rows have other columns than those before.
    """
    if path is None:
        yield _csv(sys.stdout.write, ids)
        return
    with atomic.writing(path), atomic.replacing(path) as file, ExitStack() as stack:
        if is_parquet(path):
            yield _parquet(file, stack)
        else:
            yield _csv(lambda text: file.write(text.encode()), ids)


def _csv(write: Callable[[str], Any], ids: Iterable[str]) -> Write:
    names, forms = set(map(harmless, ids)), list[Any]()

    def more(rows: pl.DataFrame) -> None:
        times = [name for name in rows.columns if rows[name].dtype == pl.String and name not in names]
        form = [rows.columns, [len(rows[name][0]) for name in times]]
        _require_same(forms or form, form)
        write(rows.write_csv(include_header=not forms))
        forms[:] = form

    return more


def _parquet(file: Any, stack: ExitStack) -> Write:
    try:
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        expected = "the package pyarrow: pip install 'gatewright[score]'"
        raise GatewrightError("a Parquet file, written part by part", expected, "none") from None
    writers: list[Any] = []

    def more(rows: pl.DataFrame) -> None:
        table = rows.to_arrow()
        if not writers:
            writers.append(stack.enter_context(pq.ParquetWriter(file, table.schema, compression="zstd")))
        _require_same(writers[0].schema, table.schema)
        writers[0].write_table(table)

    return more


def _require_same(before: object, now: object) -> None:
    if before != now:
        expected = f"the columns, types and forms of timestamps of the parts before, {shorten(before)}"
        raise DataError("a part of the forecasts", expected, shorten(now))
