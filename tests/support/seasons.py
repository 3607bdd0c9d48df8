"""Seasonal differences by the letter of their definition, for tests: loops over one column."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def last_seen(column: Sequence[float], row: int) -> float:
    """Return the last value up to a row that was observed, NaN without one."""
    while row >= 0 and math.isnan(column[row]):
        row -= 1
    return column[row] if row >= 0 else math.nan


def difference(column: Sequence[float], row: int, season: int, ahead: int) -> float:
    """Return the seasonal difference of a step ahead after a row; ``column`` begins with the window."""
    before = last_seen(column, row - season)
    if row < season or math.isnan(before):
        return 0.0
    after = row + ahead - season
    while after > row:  # a step more than a season ahead
        after -= season
    return last_seen(column, after) - before


def differences(
    values: NDArray[np.floating], row: int, seasons: Sequence[int], horizon: int
) -> NDArray[np.float64]:
    """Return those of a row of a window (rows, targets): (seasons, horizon, targets)."""
    return np.array(
        [
            [[difference(column, row, season, ahead) for column in values.T] for ahead in range(1, horizon + 1)]
            for season in seasons
        ]
    )
