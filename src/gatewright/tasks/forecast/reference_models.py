"""Forecasts by models of other packages, on the same windows: AutoETS, AutoARIMA and boosted trees over lags.

Each is fitted once, on the rows before the test part, the validation part included.  From an origin, it reads the
rows up to there; its parameters stay.  It reads the target only.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gatewright.data.preprocessing import last_observed
from gatewright.errors import GatewrightError, shorten
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.forecast.lag_trees import LagTrees

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Maximum number of rows that AutoETS and AutoARIMA are fitted on: the last ones before the test part.
FIT_ROWS = 1000


class ReferenceModel(Protocol):
    """A fitted model of another package."""

    def forecast(self, series: int, origins: Rows) -> Values:
        """Forecast from some origins of a series: (origins, horizon, targets, quantiles), in units.

        Args:
            series: its number.
            origins: last known row of each forecast.
        """
        ...


class _Fitted(NamedTuple):
    """A statistical model of one target of one series.

    Attributes:
        model: of statsforecast.
        values: the series, gaps filled by the value before.
        first: row from which the model reads.
    """

    model: Any
    values: Values
    first: int


class Statistical:
    """AutoETS or AutoARIMA of statsforecast, one model for each target of each series.

    Args:
        name: "autoets" or "autoarima".
        data: the table.
        series: numbers of the series to fit.
        progress: is given 1 after each series.

    Raises:
        GatewrightError: if a series has too few rows before its test part, or the package cannot fit it.
    """

    def __init__(
        self, name: str, data: SeriesData, series: Sequence[int], progress: Callable[[int], None]
    ) -> None:
        from statsforecast import models

        self._of = models.AutoETS if name == "autoets" else models.AutoARIMA
        self._name, self._season = f"--baselines {name}", data.sizes.season
        self._horizon, self._quantiles = data.settings.horizon, data.settings.quantiles
        self._fitted: dict[int, list[_Fitted]] = {}
        targets = len(data.table.roles.targets)
        for number in series:
            title, end = data.table.series[number].title, data.parts[number].test
            values = data.table.series[number].values[:, :targets]
            self._fitted[number] = [self._fit(values[:, [n]], end, title) for n in range(targets)]
            progress(1)

    def _fit(self, values: Values, end: int, title: str) -> _Fitted:
        filled = last_observed(values)[:, 0]
        known = np.flatnonzero(np.isfinite(filled[:end]))
        if len(known) < 2:
            expected = "at least 2 observed rows before the test part"
            raise GatewrightError(self._name, expected, f"{len(known)} of {title}")
        first = max(int(known[0]), end - FIT_ROWS)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = self._of(season_length=self._season).fit(filled[first:end])
        except Exception as error:  # whatever the package raises at a series that it cannot fit
            expected = "series that it can be fitted on"
            raise GatewrightError(self._name, expected, f"{title}: {shorten(str(error))}") from None
        return _Fitted(model, filled, first)

    def forecast(self, series: int, origins: Rows) -> Values:
        """Forecast from some origins; see `ReferenceModel`."""
        return np.stack(
            [
                np.stack([self._one(fitted, int(origin)) for fitted in self._fitted[series]], axis=1)
                for origin in origins
            ]
        )

    def _one(self, fitted: _Fitted, origin: int) -> Values:
        """Return the quantiles of one forecast (horizon, quantiles)."""
        levels = {quantile: round(abs(2 * quantile - 1) * 100, 6) for quantile in self._quantiles}
        sides = sorted({level for level in levels.values() if level})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = fitted.model.forward(
                fitted.values[fitted.first : origin + 1], h=self._horizon, **({"level": sides} if sides else {})
            )
        columns = [
            answer["mean" if not level else f"{'lo' if quantile < 0.5 else 'hi'}-{level}"]
            for quantile, level in levels.items()
        ]
        return np.stack([np.asarray(column, np.float64) for column in columns], axis=-1)


class _Choice(NamedTuple):
    """A model that can be asked for.

    Attributes:
        package: what it needs.
        fit: fits it: name, table, series, progress.
    """

    package: str
    fit: Callable[[str, SeriesData, Sequence[int], Callable[[int], None]], ReferenceModel]


#: The models, by name.
REFERENCES = {
    "autoets": _Choice("statsforecast", Statistical),
    "autoarima": _Choice("statsforecast", Statistical),
    "lightgbm": _Choice("lightgbm", LagTrees),
}


def require_references(names: Sequence[str]) -> None:
    """Check that models of these names can be fitted here.

    Raises:
        GatewrightError: if there is no such model, or its package is not installed.
    """
    for name in names:
        if name not in REFERENCES:
            raise GatewrightError("--baselines", " or ".join(REFERENCES), shorten(name))
        package = REFERENCES[name].package
        if importlib.util.find_spec(package) is None:
            raise GatewrightError(
                f"--baselines {name}", f"the package {package}: pip install 'gatewright[baselines]'", "none"
            )
