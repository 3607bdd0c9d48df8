"""Rolling validation: models that learned from the rows before a cut, scored on those after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gatewright.data import preprocessing
from gatewright.data.split import Parts
from gatewright.data.table import Table
from gatewright.data.window_checks import Sizes
from gatewright.errors import DataError
from gatewright.nn.model import Model
from gatewright.spec import ModelSpec
from gatewright.tasks.forecast.dataset import SeriesData, SeriesSettings, data_options
from gatewright.tasks.forecast.evaluate import draw, forecast_batches
from gatewright.tasks.forecast.fitted_table import fitted
from gatewright.tasks.forecast.scores import Basis, score
from gatewright.tasks.options import Options
from gatewright.tasks.settings import TrainingSettings

#: Maximum number of parts that the validation part is scored in, each by a model of its own.
FOLDS = 3
#: Maximum number of windows that a fold is scored on.
WINDOWS = 512


def rows_before(table: Table, cuts: Sequence[int] | NDArray[np.int64]) -> Table | None:
    """Return the rows of each series before a row; series without any are left out, and None if all are.

    Args:
        table: the series.
        cuts: the row of each series.
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
    return replace(table, series=series) if series else None


def read_by(spec: ModelSpec, table: Table) -> Table:
    """Return a table as a model reads it that learned from some of its rows.

    Inputs that never varied there are none of the model's, and categories have the numbers that it knows.
    """
    assert spec.forecaster is not None
    (encoder, head), own = spec.forecaster, table.roles
    places = [own.columns.index(name) for name in encoder.columns]
    roles = replace(own, past=encoder.past, known=encoder.known, static=encoder.static)
    series = tuple(replace(each, values=each.values[:, places]) for each in table.series)
    categories = {name: values for name, values in table.categories.items() if name in encoder.columns}
    return fitted(replace(table, roles=roles, series=series, categories=categories), encoder, head)


@dataclass(frozen=True)
class Rolling:
    """The validation part of a table in folds: each is scored by models of the rows before it.

    Attributes:
        data: the table, split; its test part is never read.
        bounds: of each fold and series, the first row that is scored and the row after the last.
        share: of the rows before a fold, its own validation part.
    """

    data: SeriesData
    bounds: tuple[tuple[tuple[int, int], ...], ...]
    share: str

    @classmethod
    def of(cls, data: SeriesData) -> Rolling:
        """Return the folds of a table: as many as leave each a horizon of rows, up to `FOLDS`."""
        rows = max(part.test - part.valid for part in data.parts)
        folds = max(1, min(FOLDS, rows // data.settings.horizon))
        longest = max(data.parts, key=lambda part: part.test)
        share = (longest.test - longest.valid) / longest.test
        bounds = tuple(
            tuple(
                (
                    part.valid + (part.test - part.valid) * fold // folds,
                    part.valid + (part.test - part.valid) * (fold + 1) // folds,
                )
                for part in data.parts
            )
            for fold in range(folds)
        )
        return cls(data, bounds, f"{min(max(share, 0.05), 0.5):.4f}")

    @property
    def folds(self) -> int:
        """Number of folds, in the order of time."""
        return len(self.bounds)

    def steps(self, options: Options) -> int:
        """Return the number of steps of a training with resolved options."""
        settings = TrainingSettings.of(options.training)
        return settings.total(-(-int(self.data.windows[:, 0].sum()) // settings.batch))

    def source(self, fold: int) -> Table:
        """Return the rows before a fold.

        Raises:
            DataError: if there are none.
        """
        before = rows_before(self.data.table, [first for first, _ in self.bounds[fold]])
        if before is None:
            raise DataError("--valid", "rows before the validation part", "none")
        return before

    def options(self, options: Options) -> Options:
        """Return options for the rows before a fold: a share of them is the validation part, there is no test."""
        return replace(options, data=replace(options.data, valid=self.share, test="0"))

    def score(self, fold: int, model: Model, context: int) -> float:
        """Return the quantile loss of a model in a fold, scaled as MASE is: the mean over targets and series.

        Where that has no scale, such as in a constant series, it counts in standard deviations.

        Args:
            fold: its number.
            model: learned from `source`.
            context: steps that some model reads at most, so that all are scored on the same windows.

        Raises:
            DataError: if the fold has no window.
        """
        assert model.table is not None
        assert model.spec.forecaster is not None
        data, targets = self.data, len(self.data.table.roles.targets)
        longest = max(context, model.spec.forecaster[0].context)
        ends = [end for _, end in self.bounds[fold]]
        candidates = [
            preprocessing.origins(each.values[:, :targets], longest, data.settings.horizon, first, end)
            for each, (first, end) in zip(data.table.series, self.bounds[fold], strict=True)
        ]
        if not any(map(len, candidates)):
            raise DataError("--valid", "a validation part with windows in each of its parts", "none")
        chosen = draw(candidates, [each.name for each in data.table.series], WINDOWS)
        own = data_options(model.table, model.spec)
        settings = SeriesSettings.of(own)
        sizes = Sizes(settings.horizon, data.sizes.season, own.context, data.sizes.seasons)
        before = self._cut_at(ends)
        parts = tuple(Parts(first, first, end) for first, end in self.bounds[fold])
        seen = SeriesData(
            read_by(model.spec, before), parts, own, settings, sizes, (), np.zeros((len(parts), 3), np.int64)
        )
        known = [(first, first) for first, _ in self.bounds[fold]]
        basis = Basis.of(before, settings, data.sizes.season, self._deviations(fold), known)
        figures, _ = score(forecast_batches(model, seen, chosen), basis)
        losses = []
        for target, deviation in zip(basis.targets, basis.deviations, strict=True):
            overall = figures[target]["model"]["overall"]
            scaled, plain = overall["scaled_quantile_loss"], overall["quantile_loss"]
            if plain is not None:  # a target may not be observed in the fold
                losses.append(plain / deviation if scaled is None else scaled)
        return float(np.mean(losses))

    def _cut_at(self, ends: Sequence[int]) -> Table:
        """Return all series up to a row, also those without any row before it."""
        series = tuple(
            replace(
                each,
                times=None if each.times is None else each.times[:end],
                values=each.values[:end],
                lines=each.lines[:end],
            )
            for each, end in zip(self.data.table.series, ends, strict=True)
        )
        return replace(self.data.table, series=series)

    def _deviations(self, fold: int) -> tuple[float, ...]:
        """Return the standard deviation of each target before a fold; 1 where it does not vary."""
        targets = len(self.data.table.roles.targets)
        rows = np.concatenate(
            [
                each.values[:first, :targets]
                for each, (first, _) in zip(self.data.table.series, self.bounds[fold], strict=True)
            ]
        )
        seen = [column[np.isfinite(column)] for column in rows.T]
        return tuple(float(column.std()) or 1.0 if len(column) else 1.0 for column in seen)
