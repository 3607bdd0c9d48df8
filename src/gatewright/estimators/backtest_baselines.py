"""Models of other packages in a backtest: fitted on the rows before an origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gatewright.data import split
from gatewright.progress import Waits
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.forecast.reference_models import REFERENCES, ReferenceModel, Values, require_references


@dataclass(frozen=True)
class _BySeries:
    """A model of another package for each series.

    Attributes:
        of: the models by the number of their series.
    """

    of: dict[int, ReferenceModel]

    def forecast(self, series: int, origins: NDArray[np.int64]) -> Values:
        """Forecast from some origins; see `ReferenceModel`."""
        return self.of[series].forecast(series, origins)


class References:
    """Models of other packages, as they are at each origin.

    Args:
        names: of the models.
        refit: whether to fit anew at each origin, or each series at the first one that has enough rows of it.
        waits: reports progress.

    Raises:
        GatewrightError: if there is no such model, or its package is not installed.
    """

    def __init__(self, names: Sequence[str], refit: bool, waits: Waits) -> None:
        require_references(names)
        self._models = {name: _BySeries({}) for name in names}
        self._refit, self._waits = refit, waits

    def at(self, data: SeriesData, cut: NDArray[np.int64], usable: NDArray[np.bool_]) -> dict[str, ReferenceModel]:
        """Return the models by name, fitted on the rows before an origin.

        Args:
            data: the table.
            cut: the first row of each series that is forecast.
            usable: which series are.

        Raises:
            GatewrightError: names a series that a model cannot be fitted on.
        """
        before = tuple(
            split.Parts(int(row), int(row), len(each.values))
            for row, each in zip(cut.clip(0), data.table.series, strict=True)
        )
        for name, models in self._models.items():
            new = [int(row) for row in np.flatnonzero(usable) if self._refit or row not in models.of]
            if new:
                with self._waits.counting(f"fitting {name}", len(new), "series") as advance:
                    model = REFERENCES[name].fit(name, replace(data, parts=before), new, advance)
                models.of.update(dict.fromkeys(new, model))
        return dict(self._models)
