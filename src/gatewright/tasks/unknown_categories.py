"""Unknown categories in training: some windows or sequences do not tell which value a category has."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.spec import FeatureEncoder, SeriesEncoder
from gatewright.tasks.base import Share

#: Share of the windows or sequences in which a category is unknown.
UNKNOWN_SHARE = 0.05


class UnknownCategories:
    """Categories of some windows or sequences, drawn at random and set to the unknown value.

    So the model learns what to expect of a value that it does not know: of a new series, say, or of a missing
    cell.  A draw depends on the seed and the step alone.

    Args:
        encoder: what the model reads.
        horizon: steps ahead; 1 for sequences.
        seed: random seed.
        share: which part of each batch is this process's.
    """

    def __init__(self, encoder: SeriesEncoder | FeatureEncoder, horizon: int, seed: int, share: Share) -> None:
        self._places = [place for _, place in encoder.category_places(horizon)]
        self._seed, self._share = seed, share

    def hide(self, inputs: Tensor, step: int, windows: int) -> None:
        """Set categories to the unknown value, in place.

        Args:
            inputs: windows or sequences of this process (T, B, D), with the indices of categories.
            step: number of the step.
            windows: number of windows or sequences of the step, of all processes.
        """
        if not self._places:
            return
        for place, rows in zip(self._places, self._drawn(step, windows).T, strict=True):
            inputs[:, torch.from_numpy(rows).to(inputs.device), place] = 0.0

    def _drawn(self, step: int, windows: int) -> NDArray[np.bool_]:
        draws = np.random.default_rng((self._seed, step, 1)).random((windows, len(self._places)))
        return draws[self._share.of(windows)] < UNKNOWN_SHARE
