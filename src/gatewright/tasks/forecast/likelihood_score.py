"""The log-likelihood of what came, in the table's units: a score of the distributions of a head."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.data.target_units import log_slope, transformed
from gatewright.nn.likelihood import log_likelihood
from gatewright.nn.model import Model
from gatewright.tasks.forecast.window_units import Place

Values = NDArray[np.float64]


class LikelihoodScore:
    """Sums over forecasts, of each target.

    A density is that of the target in the table's units, whatever transform the model has, so that models with
    other transforms compare; bounds are not part of it.  Of whole numbers it is the logarithm of the probability.

    Args:
        model: a forecaster with distributions.
    """

    def __init__(self, model: Model) -> None:
        assert model.spec.forecaster is not None
        assert model.scaler is not None
        (self._encoder, self._head), self._scaler = model.spec.forecaster, model.scaler
        targets = len(self._encoder.targets)
        self._sum, self._count = np.zeros(targets), np.zeros(targets, dtype=np.int64)

    def add(self, outputs: Tensor, place: Place | None, truth: Values) -> None:
        """Count forecasts in.

        Args:
            outputs: of the head (windows, horizon, targets, outputs), as `predict_scaled` returns them.
            place: likewise.
            truth: what came, in the table's units (windows, horizon, targets), NaN where missing.
        """
        targets = truth.shape[-1]
        flat = np.ascontiguousarray(truth.reshape(-1, targets))
        unit = np.array(self._scaler.scale[:targets])
        if self._head.counts:
            whole = np.where(np.floor(truth) == truth, truth, np.nan)
            value, slope = np.where(whole >= 0, whole, np.nan), np.zeros_like(truth)
        else:
            value = transformed(flat, self._encoder, self._scaler).reshape(truth.shape)
            slope = log_slope(flat, self._encoder, self._scaler).reshape(truth.shape)
            mean, scale = np.array(self._scaler.mean[:targets]), unit
            if place is not None:
                mean, scale = (each.numpy()[:, None] for each in (place.last, place.scale))
            value, slope = (value - mean) / scale, slope - np.log(scale)
        family = self._head.distribution
        logs = log_likelihood(family, outputs.double(), torch.from_numpy(value), torch.from_numpy(unit)).numpy()
        seen = np.isfinite(value)
        self._sum += np.where(seen, logs + slope, 0.0).sum(axis=(0, 1))
        self._count += seen.sum(axis=(0, 1))

    def means(self) -> list[float | None]:
        """Return the mean of each target over observed values, in nats; None where none was observed."""
        return [
            float(total / count) if count else None for total, count in zip(self._sum, self._count, strict=True)
        ]
