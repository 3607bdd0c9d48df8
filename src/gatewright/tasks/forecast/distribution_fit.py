"""Outputs of a head that fit samples: the start of a forecaster with distributions, and its first steps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gatewright.nn import likelihood
from gatewright.spec import FAMILIES, QuantileHead

#: Maximum number of values of each column that a start is fitted to, and steps and rate of the ascent.
FITTED, ASCENT_STEPS, ASCENT_RATE = 256, 60, 0.1

#: Largest change of a scale or a mean in the first steps of a window, as a factor.
LARGEST_CHANGE = 10.0

#: Smallest mean of whole numbers, in its unit, and smallest dispersion of a start.
_LEAST_MEAN, _LEAST_DISPERSION = 1e-3, 1e-2


def fitted(family: str, values: Tensor, unit: Tensor) -> Tensor:
    """Return the outputs of the distributions that samples are most likely from, (columns, outputs).

    Args:
        family: name, out of `FAMILIES`.
        values: the samples (N, columns), NaN where missing, float64.
        unit: of the mean of whole numbers in each column (columns,).
    """
    start = _moments(family, values, unit)
    if family in ("normal", "negative-binomial"):
        return start
    some = values[:: -(-len(values) // FITTED)]
    outputs = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([outputs], lr=ASCENT_RATE)
    with torch.enable_grad():
        for _ in range(ASCENT_STEPS):
            optimizer.zero_grad()
            logs = likelihood.log_likelihood(family, outputs.expand(*some.shape, -1), some, unit)
            (-logs.sum() / len(some)).backward()
            optimizer.step()
    return outputs.detach()


def _moments(family: str, values: Tensor, unit: Tensor) -> Tensor:
    """Return outputs whose distributions have the mean and the variance of samples, (columns, outputs)."""
    mean = values.nanmean(dim=0).nan_to_num(0.0)
    variance = ((values - mean) ** 2).nanmean(dim=0).nan_to_num(1.0)
    outputs = values.new_zeros(values.shape[1], len(FAMILIES[family].outputs))
    if FAMILIES[family].counts:
        mean = torch.maximum(mean, _LEAST_MEAN * unit)
        dispersion = ((variance - mean) / mean**2).clamp(min=_LEAST_DISPERSION)
        outputs[:, 0] = likelihood.inverse_softplus(mean / unit)
        outputs[:, 1] = dispersion.log()
        return outputs
    outputs[:, 0] = mean
    outputs[:, 1] = 0.5 * variance.clamp(min=likelihood.LEAST_SCALE**2).log()
    if family == "student-t":
        outputs[:, 0] = torch.nanmedian(values, dim=0).values.nan_to_num(0.0)
        outputs[:, 2] = 3.0
    if family == "mixture":
        # Components that are not alike: alike ones would stay so.
        outputs[:, 2:5] = outputs.new_tensor([-1.0, 0.0, 1.0])
        outputs[:, 5:8] = outputs.new_tensor([0.0, -1.0, 0.0])
    return outputs


def lacking(head: QuantileHead, outputs: Tensor, target: Tensor, unit: Tensor) -> Tensor:
    """Return what to add to the outputs of windows to fit what came: (horizon, targets, outputs).

    Location and scale, or the mean and, where it is too small, the dispersion of whole numbers, are changed; the
    shape of a distribution is not.

    Args:
        head: of the model.
        outputs: of the head, for the windows of one step (windows, horizon, targets, outputs), float64.
        target: what came (windows, horizon, targets), NaN where missing: as the likelihood takes it.
        unit: of the mean of whole numbers (targets,).
    """
    change = torch.zeros_like(outputs[0])
    if head.counts:
        mean, dispersion = likelihood.mean_and_dispersion(outputs, unit)
        mean = mean.where(target.isfinite(), torch.nan)
        factor = _bounded(target.nansum(dim=0) / mean.nansum(dim=0))
        soft = likelihood.softplus(outputs[..., 0])
        change[..., 0] = (likelihood.inverse_softplus(factor * soft + 1e-12) - outputs[..., 0]).mean(dim=0)
        excess = ((target - factor * mean) ** 2 - factor * mean).nansum(dim=0)
        own = (dispersion * (factor * mean) ** 2).nansum(dim=0)
        change[..., 1] = _bounded(excess / own).clamp(min=1.0).log()
        return change
    scale, location = likelihood.scale_of(outputs), outputs[..., 0]
    spread = torch.ones_like(scale)
    if head.distribution == "mixture":
        own, width, log_weight = likelihood.components_of(outputs)
        centre = (log_weight.exp() * own).sum(dim=-1)
        spread = (log_weight.exp() * (width**2 + own**2)).sum(dim=-1) - centre**2
        location = location + scale * centre
    change[..., 0] = torch.nanmedian(target - location, dim=0).values
    square = ((target - location - change[..., 0]) / scale) ** 2 / spread
    factor = square.nanmean(dim=0)
    if head.distribution == "student-t":
        freedom = likelihood.freedom_of(outputs)
        for _ in range(10):  # the EM algorithm for the scale
            factor = ((freedom + 1) * square / (freedom + square / factor)).nanmean(dim=0)
    change[..., 1] = 0.5 * _bounded(factor, LARGEST_CHANGE**2).log()
    return change.nan_to_num(0.0)


def _bounded(factor: Tensor, largest: float = LARGEST_CHANGE) -> Tensor:
    """Return factors within bounds; 1 where nothing was observed."""
    return factor.nan_to_num(1.0).clamp(1 / largest, largest)


def counts_of(head: QuantileHead, target: Tensor, scale: Tensor, mean: Tensor) -> Tensor:
    """Return values as the likelihood takes them, float64: in the head's units, or as whole numbers of the table.

    Args:
        head: of the model.
        target: in the scaler's units (..., targets), NaN where missing.
        scale: of each target.
        mean: of each target.
    """
    target = target.double()
    return (target * scale + mean).round() if head.counts else target


def scaler_numbers(scale: tuple[float, ...], mean: tuple[float, ...], targets: int) -> tuple[Tensor, Tensor]:
    """Return scale and mean of the targets as tensors (targets,), float64, on the CPU."""
    return torch.from_numpy(np.array(scale[:targets])), torch.from_numpy(np.array(mean[:targets]))
