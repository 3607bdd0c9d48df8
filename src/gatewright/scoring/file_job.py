"""Forecasts of a table in a file of any size: read by row groups, scored and written part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import polars as pl

from gatewright.data.frame import Frame
from gatewright.data.roles import NO_TIME
from gatewright.data.sources import frame_of
from gatewright.errors import DataError, GatewrightError
from gatewright.progress import SILENT, Waits
from gatewright.scoring.notes import Notes
from gatewright.scoring.parquet_rows import Layout, layout_of, rows_between
from gatewright.scoring.partitions import partitions
from gatewright.scoring.parts import Part, scored_part
from gatewright.scoring.scorer import Scorer
from gatewright.scoring.states import Ids, Snapshots
from gatewright.scoring.whole_series import REMEDY, whole_series
from gatewright.scoring.writers import is_parquet, writing_rows
from gatewright.tasks.forecast.dataset import data_options, roles

#: Rows that are scored at once.
ROWS = 524_288


class Files(NamedTuple):
    """What a job reads and writes.

    Attributes:
        source: the table: a Parquet file is read by row groups, any other as a whole.
        out: file of the forecasts, ``.parquet`` or CSV; None for CSV on standard output.
        snapshots: Parquet file of snapshots, from which the job goes on if it is there, and which it replaces.
    """

    source: Path
    out: Path | None = None
    snapshots: Path | None = None


@dataclass
class Result:
    """What a job did.

    Attributes:
        series: number of series that are forecast.
        rows: number of rows of forecasts.
        notes: remarks for a person.
    """

    series: int = 0
    rows: int = 0
    notes: Notes = field(default_factory=Notes)


#: Yields the parts of a file in order, with the number of rows of each.
Parts = Iterator[tuple[Part, int]]


def forecast_file(
    scorer: Scorer,
    files: Files,
    waits: Waits = SILENT,
    parts_of: Callable[[Scorer, Files, Layout], Parts] | None = None,
) -> Result:
    """Forecast what follows each series of a table in a file.

    The forecasts, and then the snapshots, take the place of earlier ones once all series are done: a job that was
    killed leaves the files as they were, and runs again.

    Args:
        scorer: the model.
        files: what is read and written.
        waits: reports progress.
        parts_of: yields the parts of a Parquet file whose series stand together; in this process if None.

    Raises:
        GatewrightError: if the table does not fit the model, no series is long enough, or a file cannot be
            written.
    """
    if files.snapshots is not None and not is_parquet(files.snapshots):
        raise GatewrightError("--snapshots", "a .parquet file", str(files.snapshots))
    result, earlier = Result(), _snapshots(scorer, files)
    as_text, layout = not is_parquet(files.out), None
    if is_parquet(files.source) and not files.source.is_dir():  # a directory is one table in several files
        with waits.during(f"finding the series of {files.source.name}"):
            layout = layout_of(files.source, scorer.ids)
    if parts_of is None:
        parts = _local_parts(scorer, files, layout, earlier, as_text)
    elif layout is None or not layout.together:
        got = "one whose series do not stand together" if layout else f"{files.source}"
        raise DataError("source", f"a Parquet file sorted by series; {REMEDY}", got)
    else:
        parts = parts_of(scorer, files, layout)
    total = layout.rows if layout else None
    with ExitStack() as stack:
        write = stack.enter_context(writing_rows(files.out, scorer.ids))
        if files.snapshots is None:
            _write_parts(parts, write, lambda _: None, result, waits, total)
        else:
            # Committed after the forecasts: what was not delivered is forecast again.
            with writing_rows(files.snapshots) as keep:
                assert earlier is not None
                seen: set[Ids] = set()

                def kept(rows: pl.DataFrame) -> None:
                    seen.update(earlier.ids_of(rows))
                    keep(rows)

                _write_parts(parts, write, kept, result, waits, total)
                if (others := earlier.without(seen)) is not None:
                    keep(others)
                stack.close()
    return result


def _snapshots(scorer: Scorer, files: Files) -> Snapshots | None:
    if files.snapshots is None:
        return None
    return scorer.snapshots(files.snapshots if files.snapshots.exists() else None)


def _write_parts(
    parts: Parts,
    write: Callable[[pl.DataFrame], None],
    keep: Callable[[pl.DataFrame], None],
    result: Result,
    waits: Waits,
    total: int | None,
) -> None:
    """Write parts as they come.

    Raises:
        DataError: if no series is long enough.
    """
    with waits.counting("forecasting", total or 1, "rows") as advance:
        for part, rows in parts:
            if part.forecasts is not None:
                write(part.forecasts)
                result.series += part.series
                result.rows += len(part.forecasts)
            if part.states is not None:
                keep(part.states)
            result.notes.add(part.notes)
            advance(rows if total else 1)
    if not result.rows:
        raise DataError(
            "table", "a series that is long enough to forecast", "; ".join(result.notes.lines()) or "none"
        )


def _local_parts(
    scorer: Scorer, files: Files, layout: Layout | None, earlier: Snapshots | None, as_text: bool
) -> Parts:
    """Yield the parts of a file, scored one after another."""
    if layout is None:
        wanted = roles(data_options(scorer.reading.table, scorer.reading.file.spec), fixed=True)
        frames: Iterator[pl.DataFrame | Frame] = iter([frame_of(files.source, wanted.notation)])
    elif layout.together:
        pieces = rows_between(files.source, 0, layout.rows, columns_of(scorer))
        frames = _in_file(whole_series(pieces, scorer.ids, ROWS, together=True))
    else:
        frames = partitions(files.source, layout.rows, scorer.ids, columns_of(scorer), ROWS)
    for rows in frames:
        count = len(rows.cells if isinstance(rows, Frame) else rows)
        yield scored_part(scorer.model, scorer.reading, rows, earlier, as_text=as_text), count


def _in_file(parts: Iterator[pl.DataFrame]) -> Iterator[Frame]:
    """Yield parts whose rows have their numbers in the file, by which errors name them."""
    first = 0
    for cells in parts:
        frame = frame_of(cells)
        yield replace(frame, lines=frame.lines + first)
        first += len(cells)


def columns_of(scorer: Scorer) -> list[str] | None:
    """Return the columns that a model reads of a table; None for all, where the time has to be found."""
    reading = scorer.reading
    wanted = roles(data_options(reading.table, reading.file.spec), fixed=True)
    if not wanted.time:
        return None
    time = () if wanted.time == NO_TIME else (wanted.time,)
    return list(dict.fromkeys((*wanted.ids, *time, *wanted.columns)))


def lines_of(result: Result) -> list[str]:
    """Return the remarks of a job for a person."""
    return result.notes.lines()
