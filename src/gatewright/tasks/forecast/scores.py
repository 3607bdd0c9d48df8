"""Scores of several methods on the same windows, in one pass over batches of forecasts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.data.table import Table
from gatewright.tasks.forecast.dataset import SeriesData, SeriesSettings
from gatewright.tasks.forecast.metrics import OF_SERIES, Measures, Tally, Values, centre_of, naive_error

#: Series whose errors by step are kept for the plot.
DRAWN = 4


@dataclass(frozen=True)
class Batch:
    """Some windows of one series, forecast.

    Attributes:
        series: number of the series.
        origins: last known row of each window (windows,).
        truth: what came, in units (windows, horizon, targets), NaN where missing.
        forecasts: by method, in units (windows, horizon, targets, quantiles or 1).
    """

    series: int
    origins: NDArray[np.int64]
    truth: Values
    forecasts: dict[str, Values]


@dataclass(frozen=True)
class Drawn:
    """What the plot shows of a series.

    Attributes:
        series: its number.
        errors: by method, the mean absolute error of each step and target (horizon, targets).
    """

    series: int
    errors: dict[str, Values]


@dataclass(frozen=True)
class Basis:
    """What forecasts are scored by, apart from the truth.

    Attributes:
        names: of the series.
        targets: names of the targets.
        horizon: steps ahead.
        quantiles: the levels of a forecast.
        deviations: standard deviation of each target in the training part.
        naive_errors: `naive_error` of each series and target (series, targets).
        centres: a value near the mean of each (series, targets).
    """

    names: tuple[str, ...]
    targets: tuple[str, ...]
    horizon: int
    quantiles: tuple[float, ...]
    deviations: tuple[float, ...]
    naive_errors: Values
    centres: Values

    @classmethod
    def of(
        cls,
        table: Table,
        settings: SeriesSettings,
        season: int,
        deviations: Sequence[float],
        bounds: Sequence[tuple[int, int]],
    ) -> Basis:
        """Return the basis for forecasts of the last rows of a table.

        Args:
            table: the series.
            settings: horizon and levels.
            season: rows in a season, for MASE.
            deviations: standard deviation of each target in the training part.
            bounds: of each series, the number of rows that MASE is scaled by, and the first row that is forecast.
        """
        targets = table.roles.targets
        rows = [series.values[:, : len(targets)] for series in table.series]
        errors = [naive_error(values[:known], season) for values, (known, _) in zip(rows, bounds, strict=True)]
        centres = [centre_of(values[first:]) for values, (_, first) in zip(rows, bounds, strict=True)]
        return cls(
            names=tuple(series.name for series in table.series),
            targets=targets,
            horizon=settings.horizon,
            quantiles=settings.quantiles,
            deviations=tuple(deviations[: len(targets)]),
            naive_errors=np.stack(errors),
            centres=np.stack(centres),
        )

    @classmethod
    def of_test_part(cls, data: SeriesData, deviations: Sequence[float]) -> Basis:
        """Return the basis for the test part of a table; MASE is scaled by the rows before the validation part."""
        bounds = [(part.valid, part.test) for part in data.parts]
        return cls.of(data.table, data.settings, data.sizes.season, deviations, bounds)


class _Method:
    """The tallies of one method while the scoring goes on: the series at hand, and all before it."""

    def __init__(self, basis: Basis) -> None:
        self._basis = basis
        self._size = (basis.horizon, len(basis.targets), basis.quantiles)
        self._total = Tally(*self._size)
        self._steps = [slice(None), *(slice(step, step + 1) for step in range(basis.horizon))]
        self._of_series: dict[str, list[Values]] = {name: [] for name in OF_SERIES}
        self._by_series: list[tuple[str, list[Measures]]] = []
        self._tally = self._total

    def begin(self, series: int) -> None:
        """Begin a series."""
        self._tally = Tally(*self._size, self._basis.centres[series], self._basis.naive_errors[series])

    def add(self, truth: Values, forecast: Values) -> None:
        """Count windows of the series in."""
        self._tally.add(truth, forecast)

    def end(self, series: int) -> Values:
        """End the series; return the mean absolute error of each step and target."""
        own = self._tally.of_series()
        self._total.merge(self._tally)
        for name, values in own.items():
            self._of_series[name].append(values)
        deviations = self._basis.deviations
        measures = [
            self._tally.measures(
                slice(None), n, deviations[n], {name: values[:1, n] for name, values in own.items()}
            )
            for n in range(len(self._basis.targets))
        ]
        self._by_series.append((self._basis.names[series], measures))
        return self._tally.mean_error()

    def figures(self, target: int) -> dict[str, Any]:
        """Return the measures of a target over all series: of all steps, of each, by level, and by series."""
        stacked = {name: np.stack(values)[..., target] for name, values in self._of_series.items()}
        every = [
            self._total.measures(
                steps,
                target,
                self._basis.deviations[target],
                {name: values[:, row] for name, values in stacked.items()},
            )
            for row, steps in enumerate(self._steps)
        ]
        losses = [self._total.pinball(steps, target) for steps in self._steps]
        several = len(self._basis.names) > 1
        return {
            "overall": every[0],
            "by_step": every[1:],
            "pinball": {
                f"{level:g}": {"overall": losses[0][place], "by_step": [loss[place] for loss in losses[1:]]}
                for place, level in enumerate(self._basis.quantiles)
            },
            "by_series": {name: measures[target] for name, measures in self._by_series if several},
        }


def score(
    batches: Iterable[Batch], basis: Basis, progress: Callable[[int], None] = lambda _: None
) -> tuple[dict[str, Any], list[Drawn]]:
    """Score forecasts, in a memory that does not depend on their number.

    Args:
        batches: the forecasts, those of a series one after another; at least one.
        basis: what they are scored by.
        progress: is given the number of windows after each batch.

    Returns:
        For each target and method: the measures of `tasks.forecast.metrics.measure` over all steps ahead
        (``overall``), for each step (``by_step``), and for each series if the table has several (``by_series``);
        the pinball loss of each level, over all steps and for each (``pinball``); and what the plot shows.
    """
    methods: dict[str, _Method] = {}
    drawn: list[Drawn] = []

    def ended(series: int) -> None:
        errors = {name: method.end(series) for name, method in methods.items()}
        if len(drawn) < DRAWN:
            drawn.append(Drawn(series, errors))

    at = -1
    for batch in batches:
        methods = methods or {name: _Method(basis) for name in batch.forecasts}
        if batch.series != at:
            if at >= 0:
                ended(at)
            at = batch.series
            for method in methods.values():
                method.begin(at)
        for name, method in methods.items():
            method.add(batch.truth, batch.forecasts[name])
        progress(len(batch.truth))
    ended(at)
    figures = {
        target: {name: method.figures(number) for name, method in methods.items()}
        for number, target in enumerate(basis.targets)
    }
    return figures, drawn
