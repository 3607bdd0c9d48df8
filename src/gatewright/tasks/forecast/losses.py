"""Losses of a forecaster: of quantiles, and of one value for each step ahead and target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gatewright.data.preprocessing import Encoded
from gatewright.errors import DataError
from gatewright.nn.likelihood import log_likelihood
from gatewright.spec import QuantileHead, Scaler
from gatewright.tasks.base import Loss
from gatewright.tasks.forecast.distribution_fit import counts_of, scaler_numbers

#: What the standard deviation of a series is increased by in NSE* (Kratzert et al. 2019).
NSE_EPSILON = 0.1


def quantile_loss(forecast: Tensor, target: Tensor, quantiles: Tensor) -> Loss:
    """Sum of the quantile loss over observed values, mean over the levels (Koenker & Bassett 1978).

    Args:
        forecast: (..., quantiles).
        target: (...), NaN where missing.
        quantiles: levels (quantiles,).

    >>> quantile_loss(torch.zeros(1, 1), torch.tensor([2.0]), torch.tensor([0.5])).total
    tensor(1.)
    """
    error = target.unsqueeze(-1) - forecast
    observed = target.isfinite()
    count = int(observed.sum())
    if count < target.numel():
        error = error.where(observed.unsqueeze(-1), 0.0)
    # max(q e, (q-1) e) = q e + max(-e, 0), summed: two sums over all values, and no copy of them a level.
    rows = error.flatten(0, -2).sum(dim=0)
    return Loss((rows @ quantiles + torch.relu(-error).sum()) / len(quantiles), count)


def _huber(error: Tensor) -> Tensor:
    return F.huber_loss(error, torch.zeros_like(error), reduction="none")


class _PointLoss(NamedTuple):
    """A loss of one value: of the error, and whether series have weights of their own in it."""

    of_error: Callable[[Tensor], Tensor]
    weights: Callable[[NDArray[np.float64], int], NDArray[np.float64]] | None = None


def _inverse_variance(rows: NDArray[np.float64], season: int) -> NDArray[np.float64]:  # noqa: ARG001
    """Return the weight of a series in NSE*: 1 / (s + 0.1)^2, with its standard deviation s (targets,)."""
    deviation = np.nan_to_num(_of_observed(np.std, rows))
    return np.asarray((deviation + NSE_EPSILON) ** -2.0)


def _inverse_naive_error(rows: NDArray[np.float64], season: int) -> NDArray[np.float64]:
    """Return the weight of a series in MASE: 1 / its mean absolute seasonal difference (targets,), or NaN."""
    if len(rows) <= season:
        return np.full(rows.shape[1], np.nan)
    error = _of_observed(np.mean, np.abs(rows[season:] - rows[:-season]))
    return np.asarray(1.0 / np.where(error > 0, error, np.nan))


def _of_observed(statistic: Callable[..., float], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a statistic of the observed values of each column, NaN where there are none."""
    columns = [column[np.isfinite(column)] for column in rows.T]
    return np.array([statistic(column) if len(column) else np.nan for column in columns])


#: Losses of one value for each step ahead and target.
POINT_LOSSES = {
    "mae": _PointLoss(torch.abs),
    "mse": _PointLoss(torch.square),
    "huber": _PointLoss(_huber),
    "nse": _PointLoss(torch.square, _inverse_variance),
    "mase": _PointLoss(torch.abs, _inverse_naive_error),
}


class PointLoss:
    """A loss of one value for each step ahead and target.

    - ``mae``: absolute error; ``mse``: squared error; ``huber``: squared up to an error of 1, linear beyond it
      (Huber 1964), all in the units of the loss;
    - ``nse``: squared error over ``(s + 0.1)^2``, with the standard deviation *s* of the series in the training
      part: NSE* (Kratzert et al. 2019), in which each basin counts alike, whatever its flow;
    - ``mase``: absolute error over the mean absolute seasonal difference of the series in the training part.

    Args:
        name: one of these.
        encoded: the series.
        ends: of each series, the row after its training part.
        season: rows in a season, for ``mase``.

    Raises:
        DataError: if no series has a seasonal difference, for ``mase``.
    """

    def __init__(self, name: str, encoded: Sequence[Encoded], ends: Sequence[int], season: int) -> None:
        self._of_error, weights = POINT_LOSSES[name]
        self._weights: Tensor | None = None
        if weights is None:
            return
        found = np.stack(
            [weights(one.target[:end].astype(np.float64), season) for one, end in zip(encoded, ends, strict=True)]
        )
        known = np.isfinite(found)
        if not known.any(axis=0).all():
            expected = f"values that differ from those {season} rows before, for --loss {name}"
            raise DataError("target", expected, "none")
        # A series that has no scale of its own counts as the others do in the middle.
        self._weights = torch.from_numpy(np.where(known, found, np.nanmedian(found, axis=0))).float()

    def __call__(self, forecast: Tensor, target: Tensor, series: NDArray[np.int64]) -> Loss:
        """Return the sum over observed values, and their number.

        Args:
            forecast: (steps, B, horizon, targets, 1).
            target: (steps, B, horizon, targets), NaN where missing.
            series: number of the series of each window (B,).
        """
        observed = target.isfinite()
        error = (target - forecast[..., 0]).where(observed, 0.0)
        loss = self._of_error(error)
        if self._weights is not None:
            loss = loss * self._weights[series].to(loss.device)[:, None, :]
        return Loss(loss.sum(), int(observed.sum()))


class LikelihoodLoss:
    """The negative log-likelihood of the distributions of a head: in the scaler's units, or of whole numbers.

    Args:
        head: of the model.
        scaler: of the model.
        targets: how many.
    """

    def __init__(self, head: QuantileHead, scaler: Scaler, targets: int) -> None:
        self._head, self._numbers = head, scaler_numbers(scaler.scale, scaler.mean, targets)

    def values(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values as the likelihood takes them, from those in the scaler's units (..., targets)."""
        values: NDArray[np.float64] = counts_of(self._head, torch.from_numpy(target), *self._numbers).numpy()
        return values

    def __call__(self, outputs: Tensor, target: Tensor) -> Loss:
        """Return the sum over observed values, and their number.

        Args:
            outputs: of the head (..., horizon, targets, outputs), with the last value added.
            target: in the scaler's units (..., horizon, targets), NaN where missing.
        """
        if outputs.device.type == "mps":  # without float64
            outputs, target = outputs.cpu(), target.cpu()
        scale, mean = (numbers.to(outputs.device) for numbers in self._numbers)
        value = counts_of(self._head, target, scale, mean)
        # In float64: gamma functions of large numbers cancel.
        logs = log_likelihood(self._head.distribution, outputs.double(), value, scale)
        return Loss(-logs.sum(), int(target.isfinite().sum()))
