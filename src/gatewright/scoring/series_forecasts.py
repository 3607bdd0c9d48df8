"""Forecasts of the series of a table by streams: the numbers of `gatewright forecast`, without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.preprocessing import encode
from gatewright.data.sources import TableSource
from gatewright.data.table import Series, Table, table_of
from gatewright.errors import DataError, GatewrightError, ModelFileError
from gatewright.files.model_file import ModelFile
from gatewright.runtime.many_series import ManySeries
from gatewright.runtime.state import State
from gatewright.scoring.series_rows import Numbers, stream_rows
from gatewright.spec import TableSpec
from gatewright.tasks.forecast.dataset import data_options, roles
from gatewright.tasks.forecast.fitted_table import (
    fitted,
    late_by_note,
    require_context,
    require_forecaster,
    rows_observed,
)
from gatewright.tasks.forecast.forecast_frame import forecasts_frame
from gatewright.tasks.forecast.rows_ahead import rows_with_ahead

#: Numbers of the rows that are laid out at once, 32 MB.
BLOCK = 4_000_000

#: Maximum number of series that are read at once.
MOST_SERIES = 960


@dataclass(frozen=True)
class Reading:
    """How a forecaster's tables are read.

    Attributes:
        file: the forecaster.
        table: how its tables are read.
        fill: how missing inputs are filled.
        horizon: steps to forecast.
    """

    file: ModelFile
    table: TableSpec
    fill: str
    horizon: int

    @classmethod
    def of(cls, file: ModelFile, fill: str | None = None, horizon: int | None = None) -> Reading:
        """Return how a model reads tables.

        Raises:
            GatewrightError: if the model's file does not say so, or it cannot forecast so far.
        """
        if file.table is None:
            expected = "a model whose file says how its tables are read: one of version 3 or later"
            raise ModelFileError("model", expected, "one of an older version")
        fill = file.table.fill if fill is None else fill
        _, head = require_forecaster(file, horizon, fill)
        return cls(file, file.table, fill, horizon or head.horizon)

    def read(self, source: TableSource) -> Table:
        """Read and check a table.

        Raises:
            DataError: if it does not fit the model.
        """
        assert self.file.spec.forecaster is not None
        encoder, head = self.file.spec.forecaster
        options = data_options(self.table, self.file.spec)
        table = table_of(source, roles(options, fixed=True), self.fill, encoder.step)
        return fitted(table, encoder, head)


def long_enough(table: Table, file: ModelFile) -> tuple[Table, dict[str, list[str]]]:
    """Leave out the series that are too short to forecast: perhaps all.

    Returns:
        The table of the others; and notes, each with the names of its series: those that are left out, and those
        whose targets are missing where the forecast begins.
    """
    assert file.spec.forecaster is not None
    encoder, _ = file.spec.forecaster
    rows = np.array([rows_observed(one, len(encoder.targets)) for one in table.series])
    notes: dict[str, list[str]] = {note: [] for note in table.notes}
    if table.empty:
        notes["left out, no observed target"] = list(table.empty)
    short = rows < encoder.context
    if short.any():
        takes = f"{encoder.context} rows (the model's context) up to the last observed target"
        names = [table.series[k].name or "the table" for k in np.flatnonzero(short)]
        notes[f"left out, fewer than {takes}"] = names
        table = replace(table, series=tuple(table.series[k] for k in np.flatnonzero(~short)))
    return table, notes | late_by_note(table, file.spec)


def require_long(table: Table, file: ModelFile) -> None:
    """Require a series that is long enough.

    Raises:
        DataError: if there is none, as `gatewright forecast` does.
    """
    assert file.spec.forecaster is not None
    encoder, _ = file.spec.forecaster
    rows = [rows_observed(one, len(encoder.targets)) for one in table.series]
    if max(rows) < encoder.context:
        require_context(table.series[0], rows[0], encoder)


def contexts(table: Table, file: ModelFile) -> list[slice]:
    """Return the rows that a forecast reads of each series: the context up to the last observed target."""
    encoder, targets = file.spec.forecaster, len(file.spec.encoder.targets)
    assert encoder is not None
    ends = [rows_observed(one, targets) for one in table.series]
    return [slice(end - encoder[0].context, end) for end in ends]


def forecast_series(
    model: ManySeries,
    reading: Reading,
    table: Table,
    progress: Callable[[int], None] = lambda _: None,
) -> pl.DataFrame:
    """Forecast what follows the last observed target of each series, from the context before it.

    Args:
        model: the forecaster.
        reading: how its tables are read.
        table: series of which each is long enough.
        progress: is called with the number of series just done.

    Returns:
        The frame of `gatewright.tasks.forecast.predict.forecast`.

    Raises:
        DataError: if an input known in advance is missing, or a value is one that no forecast follows from.
    """
    reads = contexts(table, reading.file)
    answers = []
    for block in blocks(reads, model.width):
        found = Block(list(table.series[block]), reads[block])
        answers.append(found.forecast(model, reading, table)[0])
        progress(len(found.series))
    return frame_of(table, reads, np.concatenate(answers), reading)


def frame_of(
    table: Table, reads: Sequence[slice], answers: Numbers, reading: Reading, before: NDArray[np.int64] | int = 0
) -> pl.DataFrame:
    """Return forecasts as a frame, as far as they are to go.

    Args:
        table: the series.
        reads: the rows that were read of each.
        answers: (series, horizon, targets, quantiles).
        reading: how tables are read.
        before: number of rows of each series before those of the table.
    """
    assert reading.file.spec.forecaster is not None
    names = reading.file.spec.forecaster[1].names
    ends = np.array([read.stop for read in reads], np.int64)
    return forecasts_frame(table.series, ends, table, names, answers[:, : reading.horizon], before=before)


def blocks(reads: Sequence[slice], width: int) -> Iterator[slice]:
    """Yield which series are laid out at once: as many as have `BLOCK` numbers, and at least one."""
    first, longest = 0, 0
    for number, read in enumerate(reads):
        longest = max(longest, read.stop - read.start)
        several = number - first
        if several and (several == MOST_SERIES or (several + 1) * longest * width > BLOCK):
            yield slice(first, number)
            first, longest = number, read.stop - read.start
    if first < len(reads):
        yield slice(first, len(reads))


@dataclass(frozen=True)
class Block:
    """Series that are read at once.

    Attributes:
        series: the series.
        reads: the rows that are read of each.
        states: from which they go on; none for the start of each.
        before: the inputs of the row before the first of each; see `stream_rows`.
    """

    series: list[Series]
    reads: list[slice]
    states: Sequence[State | None] = ()
    before: Numbers | None = None

    def forecast(
        self, model: ManySeries, reading: Reading, table: Table, *, keep: bool = False
    ) -> tuple[Numbers, list[State], Numbers]:
        """Return forecasts (series, horizon, targets, quantiles), states, and the inputs of the last rows.

        Raises:
            DataError: as `forecast_series`.
        """
        laid = stream_rows(self.series, self.reads, table, reading.file, reading.fill, self.before)
        try:
            answers, states = model.forecast(laid.rows, laid.lengths, self.states, keep=keep)
        except GatewrightError:
            self._refuse(reading, table)
            raise
        finite = np.isfinite(answers).reshape(len(answers), -1).all(axis=1)
        if not finite.all():
            title = self.series[int(np.argmin(finite))].title
            raise DataError(title, "values that the model can forecast from", "a forecast that is not finite")
        return answers, states, laid.inputs

    def _refuse(self, reading: Reading, table: Table) -> None:
        """Raise the error of the value that the stream refused, by the name of its series and its row.

        Raises:
            DataError: as `gatewright forecast` does.
        """
        assert reading.file.spec.forecaster is not None
        assert reading.file.scaler is not None
        encoder, head = reading.file.spec.forecaster
        for one, read in zip(self.series, self.reads, strict=True):
            window = rows_with_ahead(one, read, table, encoder, head.horizon, reading.fill)
            encode(window, encoder, reading.file.scaler, reading.fill)
