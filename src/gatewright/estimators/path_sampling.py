"""Sample paths of a forecaster, in the form of the table that came: `Forecaster.sample_paths`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gatewright.errors import GatewrightError, shorten
from gatewright.estimators.arguments import whole
from gatewright.estimators.base import Estimator
from gatewright.estimators.python_names import python_names
from gatewright.estimators.table_input import TableInput, table_input
from gatewright.tasks.base import SamplePaths
from gatewright.tasks.forecast.fitted_table import require_forecaster
from gatewright.tasks.forecast.sample_paths import PATH, require_paths, sample_paths

if TYPE_CHECKING:
    from gatewright.data.table import Table
    from gatewright.spec import TableSpec


class PathSampling(Estimator):
    """The method of a forecaster that draws sample paths."""

    if TYPE_CHECKING:  # what a forecaster has

        @property
        def table_(self) -> TableSpec:
            """How the model reads tables."""

        def _table(self, given: TableInput, X: Any) -> Table: ...

        def _forecastable(self, table: Table) -> Table: ...

    def sample_paths(
        self, X: Any, y: Any = None, *, paths: int = 100, seed: int = 0, horizon: int | None = None
    ) -> Any:
        """Draw sample paths of what follows the last observed target of each series.

        The quantiles of `predict` are those of single steps.  A path is one draw of all steps and targets, with
        the dependence that the errors of the validation part showed: sums over the horizon, maxima and changes
        between steps can be worked out path by path.  Different series are drawn independently.

        Args:
            X: as for `predict`.
            y: as for `predict`.
            paths: number of paths of each series.
            seed: random seed.  The paths of a series depend on it, the model, the rows and ids of the series and
                the time of its last row, not on other series; more paths or steps go on with those of fewer.
            horizon: as for `predict`.

        Returns:
            Of a frame, a frame of the same library with a row a series, path and step: ids, time, ``path`` (from
            1) and each target, in its units and within its bounds.  Of an array, an array
            ([series,] paths, horizon[, targets]).

        Raises:
            NotFittedError: before `fit`.
            GatewrightError: if the table does not fit the model, or the model has a single quantile and no
                distribution, or an earlier version trained it.

        >>> import gatewright, polars as pl
        >>> days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 7, 18), eager=True)
        >>> table = pl.DataFrame({"day": days, "load": [10.0 + day % 7 + day % 3 for day in range(len(days))]})
        >>> model = gatewright.Forecaster(horizon=7, hidden=8, context=21, steps=20).fit(table, target="load")
        >>> paths = model.sample_paths(table, paths=200)
        >>> sums = paths.group_by("path").agg(pl.col("load").sum())  # of the week, in each path
        >>> low, high = sums["load"].quantile(0.1), sums["load"].quantile(0.9)
        >>> paths.columns, len(sums), low < high
        (['day', 'path', 'load'], 200, True)
        """
        model, wanted = self._fitted(), SamplePaths(_number("paths", paths, 1), _number("seed", seed, 0))
        with python_names():
            fill = self.table_.fill
            require_forecaster(model, whole("horizon", horizon), fill)
            require_paths(model, wanted)
            given = table_input(X, y)
            table = self._forecastable(self._table(given, X))
            with self._waits().during(f"drawing paths of {len(table.series):,} series"):
                drawn = sample_paths(model, table, wanted, horizon, fill)
                if given.framed:
                    return given.answer(drawn, table)
                # Paths one after another, as the steps of one long forecast.
                laid = given.answer(drawn.drop(PATH), table)[..., 0]
        axis = 1 if given.columns.get("id") else 0
        return laid.reshape(*laid.shape[:axis], wanted.count, -1, *laid.shape[axis + 1 :])


def _number(argument: str, value: Any, least: int) -> int:
    """Return a whole number that is not less than another one.

    Raises:
        GatewrightError: if it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise GatewrightError(argument, f"a whole number of at least {least}", shorten(value))
    return int(value)
