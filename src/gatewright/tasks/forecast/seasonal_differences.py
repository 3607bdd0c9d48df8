"""The seasonal differences of windows: how the targets went on one season before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.data.preprocessing import Encoded

#: Age of a target that was never observed: older than any window.
_NEVER = np.iinfo(np.int32).max


def seen_ages(encoded: Encoded) -> NDArray[np.int32]:
    """Return the number of rows since each target was last observed, (rows, targets); huge before the first."""
    seen = np.maximum.accumulate(np.isfinite(encoded.target), axis=0)
    return np.where(seen, encoded.level_ages, np.int32(_NEVER))


def seasonal_differences(
    level: Tensor, ages: Tensor, rows: Tensor, places: Tensor, seasons: Sequence[int], horizon: int
) -> Tensor:
    """Return the differences between the season before a forecast and the row one season before its origin.

    For season *m* and step ahead *j*: ``level[t + rows[j - 1]] - level[t - m]``, where ``rows`` is
    `gatewright.spec.seasonal_rows(m, horizon)`; 0 where row *t - m* is before the window, or nothing was observed
    in the window up to it.

    Args:
        level: the targets as last observed, in the scaler's units (rows of all series, targets).
        ages: result of `seen_ages` for these rows.
        rows: the rows *t*, as places in ``level`` (steps, B).
        places: the same rows, counted from the first of their window (steps, 1).
        seasons: lengths of the seasons.
        horizon: steps ahead.

    Returns:
        (steps, B, seasons, horizon, targets).
    """
    ahead = torch.arange(horizon, device=level.device)
    differences = []
    for season in seasons:
        if season >= len(level):  # no row has another one a season before it
            differences.append(level.new_zeros(*rows.shape, horizon, level.shape[1]))
            continue
        before, place = (rows - season).clamp(min=0), places - season
        length = min(season, horizon)
        # Row r of this view holds rows r+1 ... r+length, (rows, targets, length): those of `seasonal_rows`, which
        # repeat beyond a season.
        after = level[1:].unfold(0, length, 1)
        change = after[before.clamp(max=len(after) - 1)] - level[before].unsqueeze(-1)
        unknown = (place < 0).unsqueeze(-1) | (ages[before] > place.unsqueeze(-1))
        change = change.masked_fill(unknown.unsqueeze(-1), 0.0)
        if horizon > length:
            change = change[..., ahead % length]
        differences.append(change.transpose(-1, -2))
    return torch.stack(differences, dim=2)
