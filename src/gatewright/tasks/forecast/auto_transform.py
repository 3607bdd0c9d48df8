"""The choice of transforms of a table's targets, by the model that a forecaster starts from.

That is persistence, a regression, and quantiles of what it leaves (`DataStart`).  It is there
without a training step, has few weights, and ranks transforms as trained forecasters do (`benchmarks/NOTES.md`).
Its quantile loss is measured in the table's units, so that transforms can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.data.target_units import LARGEST, Transform, fitted_number, is_precise
from gatewright.nn.model import Model
from gatewright.tasks.base import Share
from gatewright.tasks.forecast import dataset
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.forecast.metrics import naive_error
from gatewright.tasks.forecast.task import ForecastTask
from gatewright.tasks.options import AUTO, ModelOptions, Options

#: Share of its loss that a target has to lose by a transform: less may be chance.
GAIN = 0.06

#: Maximum number of rows that are looked at, those of one series apart, and of windows of each part.
MOST_ROWS, MOST_WINDOWS = 300_000, 2000

#: Maximum number of forecast values of each part.
MOST_NUMBERS = 2**20

#: Losses of models at the start, by the transforms of the targets.
StartLosses = dict[tuple[Transform, ...], NDArray[np.float64]]

#: The smallest model: only its start counts.
_MODEL = ModelOptions(hidden=1, layers=1, dropout=0.0, proj=0, forget_bias=1.0)


def with_transforms(data: SeriesData, known: StartLosses | None = None) -> SeriesData:
    """Return data with a transform of each target whose transform the options leave open.

    Args:
        data: the table, split; the options say `AUTO` for all targets or for some.
        known: losses that are computed here are added to it.
    """
    given = data.options.transform or ()
    targets = data.table.roles.targets
    given = given if len(given) == len(targets) else given * len(targets)
    few = few_series(data)
    candidates = [
        [each, *(own for own in _candidates(few, column) if _is_precise(own, column, (few, data)))]
        for column, each in enumerate(data.units.transforms)
    ]
    most = max(len(each) for each, name in zip(candidates, given, strict=True) if name == AUTO)
    losses = np.full((most, len(targets)), np.inf)
    for number in range(most):
        tried = tuple(
            each[min(number, len(each) - 1)] if name == AUTO else each[0]
            for each, name in zip(candidates, given, strict=True)
        )
        losses[number] = start_losses(few, tried)
        if known is not None:
            known[tried] = losses[number]
    chosen, notes = list(data.units.transforms), []
    for column, (name, own) in enumerate(zip(given, candidates, strict=True)):
        if name != AUTO:
            continue
        best = int(np.argmin(losses[: len(own), column]))
        # A loss of 0 has no window to compare by.
        gain = 1 - losses[best, column] / losses[0, column] if losses[0, column] > 0 else 0.0
        if best and gain >= GAIN:
            chosen[column] = own[best]
            notes.append(f"{own[best]} of {targets[column]} ({gain:.0%} better at the start)")
    options = replace(data.options, transform=tuple(map(str, chosen)))
    note = f"transform: {', '.join(notes)}" if notes else ""
    return replace(data, options=options, units=replace(data.units, transforms=tuple(chosen), note=note))


def few_series(data: SeriesData) -> SeriesData:
    """Return data with some of the series, evenly spaced, as many as `MOST_ROWS` holds."""
    rows = sum(len(series.values) for series in data.table.series)
    every = -(-rows // MOST_ROWS)
    places = np.flatnonzero((data.windows[:, :2] > 0).all(axis=1))[::every]
    if every <= 1 or not len(places):
        return data
    table = replace(data.table, series=tuple(data.table.series[place] for place in places))
    return replace(
        data, table=table, parts=tuple(data.parts[place] for place in places), windows=data.windows[places]
    )


def _candidates(data: SeriesData, column: int) -> list[Transform]:
    """Return the transforms that suit a target: none of them refuses a value that may come later.

    A target with values below 0 has none: near 0 a logarithm of sizes is steep, and a forecast that crosses it is
    far out.
    """
    if any((np.abs(series.values[:, column]) > LARGEST).any() for series in data.table.series):
        return []
    values = np.concatenate(
        [series.values[: part.valid, column] for series, part in zip(data.table.series, data.parts, strict=True)]
    )
    observed = values[np.isfinite(values)]
    sizes = observed[observed > 0]
    if not len(sizes) or (observed < 0).any():
        return []
    # From four units on, arsinh is the logarithm of twice the value, to a hundredth.
    unit = float(f"{sizes.min() / 4:.3g}")
    positive = unit > 0 and len(sizes) == len(observed)
    return [Transform("asinh", unit), Transform("log1p")] if positive else [Transform("log1p")]


def _is_precise(transform: Transform, column: int, tables: Sequence[SeriesData]) -> bool:
    """Say whether a transform keeps the values of a target in the training part of each table.

    One that does not is refused where it is set, but is no reason to refuse a table for which it is only tried.
    """
    for data in tables:
        parts = zip(data.table.series, data.parts, strict=True)
        training = [series.values[: part.valid, column] for series, part in parts]
        observed = np.concatenate(training)
        number = fitted_number(transform, training, data.sizes.season)
        if not is_precise(observed[np.isfinite(observed)], Transform(transform.name, number)):
            return False
    return True


def start_losses(data: SeriesData, transforms: tuple[Transform, ...]) -> NDArray[np.float64]:
    """Return `losses` of the model at the start.

    Whatever the head, its quantiles are those of what the regression leaves: no distribution is fitted to it.
    """
    settings = replace(data.settings, head="quantiles")
    data = replace(data, units=replace(data.units, transforms=transforms), settings=settings)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # a choice depends on the table alone
        spec, scaler = dataset.build(data, Options(model=_MODEL))
        model = Model(spec, scaler=scaler)
    task = ForecastTask(model, data, 64, 0, Share(0, 1), torch.device("cpu"), "data")
    task.start(forecasting=True)
    return losses(task, data)


def losses(task: ForecastTask, data: SeriesData, *, training: bool = True) -> NDArray[np.float64]:
    """Return the mean quantile loss of each target, in units of the seasonal differences of its series.

    Args:
        task: a forecaster and its windows.
        data: the table that it learns.
        training: whether windows of the training part count, next to those of the validation part.
    """
    levels, ahead = np.array(data.settings.quantiles), np.arange(1, data.settings.horizon + 1)
    targets = len(data.table.roles.targets)
    most = max(1, min(MOST_WINDOWS, MOST_NUMBERS // (len(ahead) * targets)))
    which, rows, forecasts = task.forecast(most, training=training)
    total, count = np.zeros(targets), np.zeros(targets)
    for number in np.unique(which):
        values, own = data.table.series[number].values[:, :targets], which == number
        error = values[rows[own][:, None] + ahead][..., None] - forecasts[own]
        loss = np.maximum(levels * error, (levels - 1) * error).mean(axis=-1)
        scale = naive_error(values[: data.parts[number].valid], data.sizes.season)
        usable = np.isfinite(loss) & (scale > 0)
        total += np.where(usable, loss / np.where(scale > 0, scale, 1.0), 0.0).sum(axis=(0, 1))
        count += usable.sum(axis=(0, 1))
    return total / np.maximum(count, 1)
