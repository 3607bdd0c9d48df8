"""The scale of a window: targets in units of how much they move from row to row since the window began.

A panel whose series differ by orders of magnitude has no common scale: in units of the training part as a whole, a
small series does not move at all.  The scale of a window is that of its series, also of one that training did not
have, and follows a series that becomes calmer or wilder.  It is causal, so a stream has it too.  The native module
computes it, here and in streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.spec import Scaler, SeriesEncoder

Values = NDArray[np.float64]

#: Smallest scale of a window, as a share of the mean change of the calmest series of the training part.
LEAST_SHARE = 0.1

#: The same, as a share of the standard deviation of the whole training part: float32 has no room for less.
LEAST_OF_ALL = 1e-12


class Window(NamedTuple):
    """Windows of transformed targets as a model reads them that starts at their first row.

    Attributes:
        change: change since the last observation, in units of the window's scale; 0 without one (T, B, targets).
        level: last observed value, less the mean of the window so far, in the same units.
        last: the last observed value; the mean of the training part before it.
        scale: the scale; that of the training part before the first observation.
        recent: last observed value less the first one, in units of the training part; NaN before it.
    """

    change: NDArray[np.float32]
    level: NDArray[np.float32]
    last: Values
    scale: Values
    recent: NDArray[np.float32]

    @classmethod
    def of(cls, values: Values, encoder: SeriesEncoder, scaler: Scaler) -> Window:
        """Read windows.

        Args:
            values: the transformed targets, NaN where missing (T, B, targets).
            encoder: of a model with the scale of a window.
            scaler: of the model.
        """
        from gatewright.native_module import _kernels  # the command line shows its help without it

        targets = len(encoder.targets)
        numbers = (scaler.mean[:targets], scaler.scale[:targets], scaler.change_scale)
        window = (encoder.window, *map(list, scaler.windows))
        values = np.ascontiguousarray(values, np.float64)
        return cls(*_kernels.in_windows(values, window, *map(list, numbers)))

    @property
    def inputs(self) -> dict[str, NDArray[np.float32]]:
        """Change and level, by name."""
        return {"change": self.change, "level": self.level}


def fitted(series: Sequence[Values], scale: Sequence[float]) -> tuple[tuple[float, ...], ...]:
    """Return the smallest mean change of each target, the ratio and the factor, as `Scaler` has them.

    Args:
        series: of each series, the transformed targets of its training part, NaN where missing (rows, targets).
        scale: standard deviation of each target in all of them.

    >>> fitted([np.array([[1.0], [2.0], [np.nan], [1.0], [2.0]]), np.array([[100.0], [300.0]])], [100.0])
    ((0.1,), (0.8333333333333333,), (0.5,))
    """
    numbers = []
    for target, deviation in enumerate(scale):
        moves, ratios, factors = [], [], []
        for values in series:
            observed = values[:, target][np.isfinite(values[:, target])]
            move = float(np.abs(np.diff(observed)).mean()) if len(observed) > 1 else 0.0
            if move > 0:
                moves.append(move)
                ratios.append(move / float(np.abs(observed).mean()))
                factors.append(float(observed.std()) / move)
        least = max(LEAST_SHARE * min(moves, default=deviation), LEAST_OF_ALL * deviation)
        ratio, factor = (float(np.median(each)) if moves else 0.0 for each in (ratios, factors))
        numbers.append((least, ratio, factor or 1.0))
    return tuple(zip(*numbers, strict=True))
