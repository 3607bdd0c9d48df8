"""The start of a forecaster from its data: a regression, and the quantiles of what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.nn.linear import Linear
from gatewright.nn.seasonal_skip import SeasonSkip
from gatewright.spec import ModelSpec, QuantileHead, Scaler
from gatewright.tasks.forecast import ridge
from gatewright.tasks.forecast.distribution_fit import counts_of, fitted, scaler_numbers
from gatewright.tasks.forecast.windows import Windows

#: Maximum number of rows of the training part whose forecasts are fitted, and of numbers in them.
FITTED_ROWS, FITTED_NUMBERS = 8192, 2**21


class Startable(Protocol):
    """A network whose head reads hidden states: a model, or a plain RNN next to one."""

    @property
    def head(self) -> Linear:
        """Weights of the hidden states."""

    @property
    def season(self) -> SeasonSkip | None:
        """Weights of the seasonal differences; None without seasons."""


class DataStart:
    """Weights of the seasonal differences and of the head that a regression finds in the training part.

    It is a ridge regression of what follows the last observed value on the seasonal differences and the hidden
    states (`ridge.fitted`).  The bias gives quantiles of what it leaves of rows that it was not fitted to, or a
    distribution that fits it, so that intervals have a width from the first step on.  A head of counts, whose
    outputs are not in the units of the targets, starts from the distribution of the targets alone.

    There are two of them.  One forecasts as well as it can.  Training goes on from the other one, whose weights
    are as small as the dropout will ask for: dropout at a rate *p* is on average a penalty of *p / (1 - p)* times
    the mean square of each unit (Wager, Wang & Liang 2013).

    Args:
        spec: of the forecaster.
        scaler: of the forecaster.
        network: new; it is changed by `set` alone.
        states: returns what its head reads of inputs (T, B, D), (T, B, P).
        windows: of the series that it learns.
        origins: of the training windows.
        supervised: steps of a window that make a forecast.
        units: number of units, the first, that the regression may use.
    """

    @torch.no_grad()
    def __init__(
        self,
        spec: ModelSpec,
        scaler: Scaler,
        network: Startable,
        states: Callable[[Tensor], Tensor],
        windows: Windows,
        origins: NDArray[np.int64],
        supervised: int,
        units: int,
    ) -> None:
        assert isinstance(spec.head, QuantileHead)
        self._network, self._spec, self._scaler, self._head = network, spec, scaler, spec.head
        samples = self._samples(states, windows, origins, supervised, units)
        dropout = spec.lstm.dropout
        if spec.head.moved:
            self._best, self._penalised = ridge.fitted(samples, (0.0, dropout / (1 - dropout)))
        else:
            self._best = self._penalised = ridge.nothing(samples), samples.rest

    @torch.no_grad()
    def set(self, *, forecasting: bool) -> None:
        """Set the weights that forecast best, or those that training goes on from, in place."""
        readout, residuals = self._best if forecasting else self._penalised
        network, sizes, head = self._network, self._spec.output_shape, self._head
        if network.season is not None and readout.seasons is not None:
            network.season.weight.copy_(readout.seasons)
        weight, bias = network.head.weight.view(*sizes, -1), network.head.bias.view(sizes)
        moved = slice(head.moved if head.family else None)
        weight[:, :, moved, : readout.head.shape[-1]] = readout.head[:, :, None].to(weight)
        bias.copy_(self._distributions(residuals) if head.family else self._quantiles(residuals))
        bias[..., moved] += readout.bias[..., None].to(bias)

    def _quantiles(self, residuals: Tensor) -> Tensor:
        """Return quantiles, or the point, of samples (N, horizon, targets): (horizon, targets, outputs)."""
        head = self._head
        steps = [
            torch.stack([summary(step, level, head.point) for level in head.quantiles], dim=-1)
            for step in residuals.unbind(dim=1)
        ]
        return torch.nan_to_num(torch.stack(steps))  # 0 for a target without an observation

    def _distributions(self, residuals: Tensor) -> Tensor:
        """Return outputs of distributions that fit samples (N, horizon, targets), (horizon, targets, outputs)."""
        _, horizon, targets = residuals.shape
        scale, mean = scaler_numbers(self._scaler.scale, self._scaler.mean, targets)
        values = counts_of(self._head, residuals, scale, mean).flatten(1)
        return fitted(self._head.distribution, values, scale.repeat(horizon)).view(horizon, targets, -1)

    def _samples(
        self,
        states: Callable[[Tensor], Tensor],
        windows: Windows,
        origins: NDArray[np.int64],
        supervised: int,
        units: int,
    ) -> ridge.Samples:
        """Return rows of the training part, in the order of series and times."""
        encoder, (horizon, targets, _) = self._spec.encoder, self._spec.output_shape
        moved = encoder.reads_targets and self._head.moved > 0
        numbers = horizon * targets * (1 + len(encoder.seasons)) + units
        rows = max(supervised, min(FITTED_ROWS, FITTED_NUMBERS // numbers))
        # Windows that lie side by side, so that each row is there once.
        chosen = origins[:: max(supervised, -(-len(origins) * supervised // rows))]
        rest, hidden, differences = [], [], []
        for first in range(0, len(chosen), 64):
            batch = windows.batch(chosen[first : first + 64], supervised)
            level = batch.level[:, :, None] if moved else 0.0
            rest.append(_in_order(batch.target - level))
            hidden.append(_in_order(states(batch.inputs)[-supervised:, :, :units]))
            if batch.differences is not None:
                differences.append(_in_order(batch.differences))
        seasons = torch.cat(differences) if differences else None
        return ridge.Samples(torch.cat(rest), torch.cat(hidden), seasons)


def summary(values: Tensor, level: float, point: str) -> Tensor:
    """Return a quantile of the observed values of a sample, or their mean where that is the point forecast.

    Args:
        values: (N, ...), NaN where missing.
        level: of the quantile.
        point: as in `QuantileHead`.
    """
    return values.nanmean(dim=0) if point == "mean" else torch.nanquantile(values, level, dim=0)


def _in_order(steps: Tensor) -> Tensor:
    """Return (steps, B, ...) as rows, window after window, in float64 on the CPU."""
    return steps.transpose(0, 1).flatten(0, 1).cpu().double()
