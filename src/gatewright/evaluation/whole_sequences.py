"""A classifier or a tagger that reads in both directions, in the place of a stream that goes step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.files.model_file import ModelFile
from gatewright.nn.model import of_file
from gatewright.runtime.classes import ClassSteps
from gatewright.runtime.signature import Signature

Array = NDArray[Any]


class WholeSequences:
    """A model that reads whole sequences.

    Args:
        file: a classifier or a tagger.
    """

    reads_calendar = False

    def __init__(self, file: ModelFile) -> None:
        self._model, self._classes = of_file(file), ClassSteps(file)
        self._signature = Signature.of(file.spec, None)

    def reset(self, sessions: Any = None) -> None:
        """Do nothing: a sequence leaves no state."""

    def step(self, x: Any, sessions: Any = None, *, time: Any = None, indexed: bool = False) -> Array:
        """Refuse: there is no single step."""
        raise NotImplementedError

    @torch.no_grad()
    def run(self, xs: Any, sessions: Any = None, *, indexed: bool = False) -> Array:  # noqa: ARG002  # as a stream
        """Return the probabilities of a sequence (T, columns): (T, classes), or (1, classes) of a classifier."""
        rows = self._classes.rows(self._signature.array(xs, (None,), indexed))
        scores = self._model(torch.from_numpy(np.ascontiguousarray(rows))[:, None]).y[:, 0]
        return self._classes.probabilities(scores.numpy())
