"""Errors of a recording's predictions, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.spec.recording import ClassesMetadata, RecordingMetadata, SeriesMetadata, TextMetadata

Array = NDArray[Any]


def errors_of(predictions: Array, targets: Array | None, about: RecordingMetadata) -> NDArray[np.float64]:
    """Return the error of each step's prediction, which was made one step before (T, B); NaN without a target.

    The error of a text is -log p of the true symbol, in nats.  That of a forecast is the distance of its median
    one step ahead from the true value, in standard deviations of the target, as a mean over the targets.
    That of a classifier is -log p of the true class as the step itself predicts it, in nats.

    Args:
        predictions: as in `Recording`.
        targets: as in `Recording`.
        about: description of the recording.
    """
    T, B = predictions.shape[:2]
    errors = np.full((T, B), np.nan)
    if isinstance(about.data, TextMetadata):
        assert targets is not None
        log_p = np.take_along_axis(predictions[:-1], np.maximum(targets[:-1], 0)[..., None], axis=-1)[..., 0]
        errors[1:] = np.where(targets[:-1] < 0, np.nan, -log_p)
    elif isinstance(about.data, ClassesMetadata):
        assert targets is not None
        own = np.take_along_axis(predictions, np.maximum(targets, 0)[..., None], axis=-1)[..., 0]
        errors[:] = np.where(targets < 0, np.nan, -np.log(np.maximum(own, np.finfo(np.float32).tiny)))
    elif isinstance(about.data, SeriesMetadata):
        assert targets is not None
        median = about.data.quantiles.index(0.5)
        distance = np.abs(predictions[:-1, :, 0, :, median] - targets[:-1, :, 0]) / np.array(about.data.scale)
        finite = np.isfinite(distance)
        count = finite.sum(axis=-1)
        total = np.where(finite, distance, 0).sum(axis=-1)
        errors[1:] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return errors
