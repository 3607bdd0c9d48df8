"""Forecasts of rows that a training has not seen: those held out, and rolling origins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data import split
from gatewright.data.table import Series, Table
from gatewright.data.window_checks import Sizes
from gatewright.errors import DataError, GatewrightError
from gatewright.nn.model import Model
from gatewright.spec import ModelSpec, TableSpec
from gatewright.tasks.forecast.dataset import SeriesData, SeriesSettings, data_options
from gatewright.tasks.forecast.evaluate import Chosen, forecast_batches
from gatewright.tasks.forecast.predict import forecast_frame, rows_observed, times_of
from gatewright.tasks.forecast.scores import Batch
from gatewright.tasks.options import DataOptions

#: Name of the column with the last row before a forecast.
CUTOFF = "cutoff"


@dataclass(frozen=True)
class Origins:
    """Where the forecasts of a cross-validation begin.

    Attributes:
        windows: number of origins.
        step: rows between two of them; the horizon if None.
        refit: whether to train at each of them, or at the first only.

    Raises:
        GatewrightError: if a number is less than 1.
    """

    windows: int
    step: int | None
    refit: bool

    def __post_init__(self) -> None:
        for name, value in (("windows", self.windows), ("step", 1 if self.step is None else self.step)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise GatewrightError(name, "a whole number of at least 1", repr(value)[:80])


def unseen(table: Table, reading: TableSpec, spec: ModelSpec, same: bool) -> SeriesData:
    """Return a table whose test parts are the rows that the training has not seen.

    Args:
        table: the series.
        reading: how the training read its table.
        spec: the model.
        same: whether the training read this very table.

    Raises:
        DataError: if there is no such row.
    """
    options = data_options(reading, spec)
    if same and reading.test != "0":
        parts = split.split(table.series, reading.valid, reading.test)
    else:
        starts = [_first_after(each, reading.trained_until, same) for each in table.series]
        lengths = [len(each.values) for each in table.series]
        parts = tuple(split.Parts(start, start, length) for start, length in zip(starts, lengths, strict=True))
    if all(part.test == part.end for part in parts):
        seen = f"; the training saw all rows up to {reading.trained_until}" if reading.trained_until else ""
        expected = "rows that the training has not seen: later ones, or a test part (test=0.15 in the constructor)"
        raise DataError("X", expected, f"none{seen}")
    assert options.context is not None
    assert spec.forecaster is not None
    settings = SeriesSettings.of(options)
    sizes = Sizes(settings.horizon, reading.season, options.context, spec.forecaster[0].seasons)
    calendar = tuple(part for part in options.calendar or () if part != "none")
    return SeriesData(table, parts, options, settings, sizes, calendar, np.zeros((len(parts), 3), np.int64))


def _first_after(series: Series, trained_until: str, same: bool) -> int:
    """Return the first row after the training; the first of all in a series without timestamps."""
    if series.times is None or not trained_until:
        return len(series.values) if same else 0
    return int(np.searchsorted(series.times, np.datetime64(trained_until), side="right"))


def backtest(
    learn: Callable[[Table], Model], table: Table, options: DataOptions, origins: Origins
) -> tuple[pl.DataFrame, list[str]]:
    """Forecast from rolling origins.

    Args:
        learn: returns a model that was trained on a table.
        table: the series.
        options: how it was read.
        origins: where forecasts begin.

    Returns:
        A row a series, origin and step; and the names of the series that have too few rows before an origin.

    Raises:
        GatewrightError: if no series has enough rows before the first origin.
    """
    settings = SeriesSettings.of(options)
    horizon = settings.horizon
    step, targets = origins.step or horizon, len(table.roles.targets)
    ends = np.array([rows_observed(each, targets) for each in table.series])
    frames: list[tuple[int, pl.DataFrame]] = []
    short, model = set[str](), None
    for number in range(origins.windows):
        cuts = ends - horizon - (origins.windows - 1 - number) * step
        if model is None or origins.refit:
            model = learn(_before(table, cuts))
        assert model.table is not None
        data = unseen(table, model.table, model.spec, same=False)
        usable = cuts >= data.sizes.read
        short |= {each.name for each, fits in zip(table.series, usable, strict=True) if not fits}
        chosen = Chosen(
            [np.array([cut - 1] if fits else [], np.int64) for cut, fits in zip(cuts, usable, strict=True)],
            int(usable.sum()),
            [],
            [],
        )
        frames += [
            (batch.series, _frame(table, int(cuts[batch.series]), batch, settings.quantiles))
            for batch in forecast_batches(model, data, chosen)
        ]
    if not frames:
        raise DataError("X", "series with enough rows before the first origin", "none")
    frames.sort(key=lambda numbered: numbered[0])  # stable: the origins of a series stay in order
    return pl.concat([frame for _, frame in frames]), sorted(short)


def _before(table: Table, cuts: NDArray[np.int64]) -> Table:
    """Return the rows of each series before a row; series without any are left out.

    Raises:
        DataError: if no series has any.
    """
    series = tuple(
        replace(
            each,
            times=None if each.times is None else each.times[:cut],
            values=each.values[:cut],
            lines=each.lines[:cut],
        )
        for each, cut in zip(table.series, cuts, strict=True)
        if cut > 0
    )
    if not series:
        raise DataError("windows", "origins within the table", "the first one before its first row")
    return replace(table, series=series)


def _frame(table: Table, cut: int, batch: Batch, quantiles: Sequence[float]) -> pl.DataFrame:
    """Return the forecasts of one origin of one series, next to what was observed."""
    series, truth = table.series[batch.series], batch.truth[0]
    horizon = len(truth)
    cutoff = times_of(series, np.full(horizon, cut - 1), table)
    observed = [(target, truth[:, number]) for number, target in enumerate(table.roles.targets)]
    return forecast_frame(
        series, cut, table, quantiles, batch.forecasts["model"][0], [(CUTOFF, cutoff), *observed]
    )
