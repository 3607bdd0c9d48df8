"""Forecasts of rows that a training has not seen: those held out, and rolling origins."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console

from gatewright.data import split
from gatewright.data.sources import TableSource
from gatewright.data.table import Series, Table, table_of
from gatewright.data.window_checks import Sizes
from gatewright.errors import DataError, GatewrightError
from gatewright.estimators.backtest_baselines import References
from gatewright.estimators.table_answer import CUTOFF
from gatewright.nn.model import Model
from gatewright.progress import Waits
from gatewright.spec import ModelSpec, TableSpec
from gatewright.tasks import registry
from gatewright.tasks.forecast.dataset import SeriesData, SeriesSettings, data_options, roles
from gatewright.tasks.forecast.evaluate import Chosen, described, forecast_batches
from gatewright.tasks.forecast.fitted_table import require_forecaster, rows_observed
from gatewright.tasks.forecast.forecast_frame import forecast_frame, times_of
from gatewright.tasks.forecast.rolling import read_by, rows_before
from gatewright.tasks.forecast.scores import Basis, Batch, score
from gatewright.tasks.options import DataOptions, Options
from gatewright.train import launch


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
                raise GatewrightError(f"--{name}", "a whole number of at least 1", repr(value)[:80])


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


@dataclass(frozen=True)
class Backtest:
    """Forecasts from rolling origins.

    Attributes:
        forecasts: a row a series, origin and step: ids, time, ``cutoff`` (the last row before the forecast), each
            target as observed, and its quantiles as ``<target>_q<level>``.
        figures: measures of each target for the model and each baseline, as in the ``evaluation.json`` of a run;
            MASE is scaled by the rows before the first origin.
        table: the series that were forecast.
        cuts: the first row that is forecast (origins, series).
        errors: of the model and each baseline, the absolute errors of the point forecast (origins, series,
            horizon, targets); NaN where there is no forecast or no observed value.
        scales: of each series and target, what MASE divides by (series, targets); NaN where there is no scale.
    """

    forecasts: Any
    figures: dict[str, Any]
    table: Table
    cuts: NDArray[np.int64]
    errors: dict[str, NDArray[np.float64]]
    scales: NDArray[np.float64]


def backtest_source(
    source: TableSource,
    options: Options,
    origins: Origins,
    console: Console | None,
    waits: Waits,
    baselines: Sequence[str] = (),
) -> Backtest:
    """Train on the rows of a table before each origin, and forecast from there.

    Args:
        source: the table.
        options: of the training; there is no test part.
        origins: where forecasts begin.
        console: where to show the progress of each training; nowhere if None.
        waits: reports progress.
        baselines: names of models of other packages that forecast from the same origins.

    Raises:
        GatewrightError: at options, a baseline or a table that cannot be used, or if no series has enough rows
            before the first origin.
        KeyboardInterrupt: if a training was stopped.
    """
    references = References(tuple(dict.fromkeys(baselines)), origins.refit, waits)
    kind = registry.kind("forecast")
    resolved = kind.resolve(options).data
    with waits.during("reading the table"):
        table = table_of(source, roles(resolved), resolved.fill or "")
    options = replace(options, data=replace(resolved, test="0"))

    def learn(before: Table) -> Model:
        with tempfile.TemporaryDirectory(prefix="gatewright-") as folder:
            path = Path(folder, "run")
            run, progress = launch.train(before, options, run=path, kind=kind.name, console=console)
            if not progress.finished:
                raise KeyboardInterrupt
            return run.best_model()

    with waits.counting("backtesting", origins.windows, "origins") as advance:
        return backtest(learn, table, resolved, origins, advance, references)


def backtest(
    learn: Callable[[Table], Model],
    table: Table,
    options: DataOptions,
    origins: Origins,
    progress: Callable[[int], None] = lambda _: None,
    references: References | None = None,
) -> Backtest:
    """Forecast from rolling origins, by models and by the baselines.

    Args:
        learn: returns a model that was trained on a table.
        table: the series.
        options: how it was read.
        origins: where forecasts begin.
        progress: is given 1 after each origin.
        references: models of other packages; none if None.

    Raises:
        GatewrightError: if no series has enough rows before the first origin.
    """
    settings = SeriesSettings.of(options)
    targets = len(table.roles.targets)
    ends = np.array([rows_observed(each, targets) for each in table.series])
    cuts = [
        ends - settings.horizon - (origins.windows - 1 - number) * (origins.step or settings.horizon)
        for number in range(origins.windows)
    ]
    model = first = learn(_before(table, cuts[0]))
    batches: list[Batch] = []
    short = set[str]()
    for number, cut in enumerate(cuts):
        if number and origins.refit:
            model = learn(_before(table, cut))
        assert model.table is not None
        data = unseen(read_by(model.spec, table), model.table, model.spec, same=False)
        usable = cut >= data.sizes.read
        short |= {each.name for each, fits in zip(table.series, usable, strict=True) if not fits}
        rows = [np.array([row - 1] if fits else [], np.int64) for row, fits in zip(cut, usable, strict=True)]
        others = references.at(data, cut, usable) if references and usable.any() else {}
        batches += forecast_batches(model, data, Chosen(rows, int(usable.sum()), [], []), others)
        progress(1)
    if not batches:
        raise DataError("table", "series with enough rows before the first origin", "none")
    batches.sort(key=lambda batch: batch.series)  # stable: the origins of a series stay in order
    assert first.table is not None
    assert first.scaler is not None
    season = first.table.season
    bounds = [(max(0, int(row)), max(0, int(row))) for row in cuts[0]]
    basis = Basis.of(table, settings, season, first.scaler.deviations, bounds)
    figures, _ = score(batches, basis)
    chosen = Chosen([batch.origins for batch in batches], len(batches), sorted(short), [])
    head = require_forecaster(first, None, "")[1]
    places = np.stack(cuts)
    return Backtest(
        pl.concat([_frame(table, batch, head.names) for batch in batches]),
        described("origins", first, season, chosen, figures),
        table,
        places,
        _errors(batches, places, settings.quantiles.index(0.5)),
        np.where(basis.naive_errors > 0, basis.naive_errors, np.nan),
    )


def _errors(batches: Sequence[Batch], cuts: NDArray[np.int64], middle: int) -> dict[str, NDArray[np.float64]]:
    """Return the absolute errors of each method (origins, series, horizon, targets).

    Args:
        batches: forecasts of one origin of one series each.
        cuts: the first row that is forecast (origins, series).
        middle: place of the point forecast among the quantiles.
    """
    shape = (*cuts.shape, *batches[0].truth.shape[1:])
    errors = {name: np.full(shape, np.nan) for name in batches[0].forecasts}
    for batch in batches:
        [place] = np.flatnonzero(cuts[:, batch.series] == batch.origins[0] + 1)
        for name, forecasts in batch.forecasts.items():
            point = forecasts[0, ..., middle if forecasts.shape[-1] > 1 else 0]
            errors[name][place, batch.series] = np.abs(batch.truth[0] - point)
    return errors


def _before(table: Table, cuts: NDArray[np.int64]) -> Table:
    """Return the rows of each series before a row.

    Raises:
        DataError: if no series has any.
    """
    before = rows_before(table, cuts)
    if before is None:
        raise DataError("--windows", "origins within the table", "the first one before its first row")
    return before


def _frame(table: Table, batch: Batch, outputs: Sequence[str]) -> pl.DataFrame:
    """Return the forecasts of one origin of one series, next to what was observed."""
    series, truth, origin = table.series[batch.series], batch.truth[0], int(batch.origins[0])
    cutoff = times_of(series, np.full(len(truth), origin), table)
    observed = [(target, truth[:, number]) for number, target in enumerate(table.roles.targets)]
    return forecast_frame(
        series, origin + 1, table, outputs, batch.forecasts["model"][0], [(CUTOFF, cutoff), *observed]
    )
