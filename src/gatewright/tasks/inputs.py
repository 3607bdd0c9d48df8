"""A batch of inputs to look at a model with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.errors import GatewrightError
from gatewright.nn.layer_sizes import each
from gatewright.nn.model import Model, State
from gatewright.spec.recording import RecordingMetadata
from gatewright.tasks.forecast.window_units import Place

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class InputBatch:
    """What a model reads, ready for it, and what is known about it.

    Attributes:
        about: names; title and fingerprint are there, edits are not yet.
        x: symbols (T, B), or numbers (T, B, D), on the device of the model.
        lengths: steps of each row (B,).
        state: initial hidden and cell states, each (L*S, B, ...), or of each layer; zeros if None.
        level: a forecaster's targets as last observed (T, B, targets), in the scaler's units; else None.
        differences: a forecaster's seasonal differences (T, B, seasons, horizon, targets); else None.
        place: zero and unit of a forecaster's output, with the scale of a window (T, B, targets); else None.
        targets: as in `Recording`.
        columns: as in `Recording`.
        times: as in `Recording`.
        kind: name of the kind of the model; empty for bare layers.
    """

    about: RecordingMetadata
    x: Tensor
    lengths: NDArray[np.int64]
    state: State | None = None
    level: Tensor | None = None
    differences: Tensor | None = None
    place: Place | None = None
    targets: Array | None = None
    columns: Array | None = None
    times: NDArray[np.datetime64] | None = None
    kind: str = ""

    def noted(self, note: str) -> InputBatch:
        """Return the same with a note."""
        return replace(self, about=replace(self.about, note=note))

    def rows(self, rows: Sequence[int]) -> InputBatch:
        """Return some rows of the batch."""
        chosen = list(rows)
        longest = int(self.lengths[chosen].max())

        def selection(array: Any) -> Any:
            return None if array is None else array[:longest, chosen]

        return replace(
            self,
            about=replace(self.about, rows=tuple(self.about.rows[row] for row in chosen)),
            x=selection(self.x),
            lengths=self.lengths[chosen],
            state=None if self.state is None else tuple(each(lambda part: part[:, chosen], s) for s in self.state),
            level=selection(self.level),
            differences=selection(self.differences),
            place=None if self.place is None else Place(*map(selection, self.place)),
            targets=selection(self.targets),
            columns=selection(self.columns),
            times=selection(self.times),
        )


def start_error(start: int, steps: int, where: str) -> GatewrightError:
    """Return the error for a first step that is not there.

    Args:
        start: the first step that a caller named.
        steps: number of steps that can be the first one, at least 1.
        where: what has them, such as "the text".
    """
    many = f"{steps:,} step{'s' if steps > 1 else ''} to start from"
    number = f"a whole number from 0 to {steps - 1}" if steps > 1 else "0"
    return GatewrightError("start", f"{number}: {where} has {many}", str(start))


def device_of(model: Model) -> torch.device:
    """Return the device of a model's weights."""
    return next(model.parameters()).device
