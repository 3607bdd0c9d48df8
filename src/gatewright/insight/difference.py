"""The difference between two recordings of the same data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError
from gatewright.insight.recording_data import RecordingData

Array = NDArray[Any]


class Difference(NamedTuple):
    """The effect of a change: the changed recording minus its baseline.

    Attributes:
        predictions: difference of the predictions, shaped as they are.
        error: difference of the errors (T, B); NaN without a target.
        cell: for each layer that of the forward cell state (T, B, H).
        hidden: for each layer that of the forward hidden state (T, B, P).
        first: first step of each row at which a prediction differs (B,); -1 for none.
    """

    predictions: Array
    error: NDArray[np.float64]
    cell: tuple[Array, ...]
    hidden: tuple[Array, ...]
    first: NDArray[np.int64]


def difference(changed: RecordingData, baseline: RecordingData) -> Difference:
    """Return the difference of two recordings of the same data.

    Raises:
        GatewrightError: if the baseline is of other data, or of layers of other sizes.
    """
    _require_same_data(changed, baseline)
    predictions = changed.predictions - baseline.predictions
    differs = (predictions != 0).reshape(*predictions.shape[:2], -1).any(axis=-1)
    layers = list(zip(changed.layers, baseline.layers, strict=True))
    return Difference(
        predictions,
        changed.error() - baseline.error(),
        tuple(after.forward.cell - before.forward.cell for after, before in layers),
        tuple(after.forward.hidden - before.forward.hidden for after, before in layers),
        np.where(differs.any(axis=0), differs.argmax(axis=0), -1),
    )


def _require_same_data(changed: RecordingData, baseline: RecordingData) -> None:
    pairs = [("data", changed.inputs, baseline.inputs), ("predictions", changed.predictions, baseline.predictions)]
    records = zip(changed.records(), baseline.records(), strict=False)
    pairs += [(name, after.cell, before.cell) for (name, after), (_, before) in records]
    for name, after, before in pairs:
        if after.shape != before.shape:
            raise GatewrightError("baseline", f"{name} of shape {after.shape}", f"one of {before.shape}")
    same = np.array_equal(changed.inputs, baseline.inputs) and np.array_equal(changed.lengths, baseline.lengths)
    if len(changed.layers) != len(baseline.layers) or not same:
        raise GatewrightError("baseline", "a recording of the same data", "one of other data")
