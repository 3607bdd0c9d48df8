"""The start of a forecaster from its data: a regression on the seasons, and the quantiles of what it leaves."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.nn.model import Model
from gatewright.spec import QuantileHead
from gatewright.tasks.forecast.distribution_fit import counts_of, fitted, scaler_numbers
from gatewright.tasks.forecast.windows import Windows

#: Maximum number of rows of the training part whose forecasts are fitted, and of numbers in them.
FITTED_ROWS, FITTED_NUMBERS = 8192, 2**24

#: Share of the variance of a seasonal difference that is added to it: small weights where it explains nothing.
RIDGE = 0.01


@torch.no_grad()
def start_from_data(model: Model, windows: Windows, origins: NDArray[np.int64], supervised: int) -> None:
    """Give the seasonal differences their weights and the head its bias, in place.

    The weights are those of a ridge regression of what follows the last observed value, for each step ahead and
    target; the bias is the quantiles of what the weights leave, or a distribution that fits it.  So intervals have
    a width from the first step on.

    Args:
        model: a new forecaster.
        windows: of the series that it learns.
        origins: of the training windows.
        supervised: steps of a window that make a forecast.
    """
    head = model.spec.head
    assert isinstance(head, QuantileHead)
    rest, differences = _samples(model, windows, origins, supervised)
    if model.season is not None and differences is not None:
        weight = _regression(rest, differences)
        model.season.weight.copy_(weight)
        rest = rest - torch.einsum("nsht,sht->nht", differences, weight)
    bias = model.head.bias.view(model.output_sizes)
    if head.family is not None:
        bias.copy_(_distributions(model, head, rest))
        return
    for ahead in range(rest.shape[1]):
        levels, point = head.quantiles, head.point
        outputs = torch.stack([summary(rest[:, ahead], level, point) for level in levels], dim=-1)
        bias[ahead] = torch.nan_to_num(outputs).to(bias)  # 0 for a target without an observation


def summary(values: Tensor, level: float, point: str) -> Tensor:
    """Return a quantile of the observed values of a sample, or their mean where that is the point forecast.

    Args:
        values: (N, ...), NaN where missing.
        level: of the quantile.
        point: as in `QuantileHead`.
    """
    return values.nanmean(dim=0) if point == "mean" else torch.nanquantile(values, level, dim=0)


def _distributions(model: Model, head: QuantileHead, rest: Tensor) -> Tensor:
    """Return the outputs of distributions that fit samples (N, horizon, targets): (horizon, targets, outputs)."""
    assert model.scaler is not None
    _, horizon, targets = rest.shape
    scale, mean = scaler_numbers(model.scaler.scale, model.scaler.mean, targets)
    values = counts_of(head, rest, scale, mean).flatten(1)
    return fitted(head.distribution, values, scale.repeat(horizon)).view(horizon, targets, -1)


def _samples(
    model: Model, windows: Windows, origins: NDArray[np.int64], supervised: int
) -> tuple[Tensor, Tensor | None]:
    """Return what the head is to give (N, horizon, targets), NaN where missing, and the differences: float64."""
    horizon, targets, _ = model.output_sizes
    numbers = horizon * targets * (1 + len(model.spec.encoder.seasons))
    rows = max(supervised, min(FITTED_ROWS, FITTED_NUMBERS // numbers))
    # Windows that lie side by side, so that each row is there once.
    chosen = origins[:: max(supervised, -(-len(origins) * supervised // rows))]
    rest, differences = [], []
    for first in range(0, len(chosen), 64):
        batch = windows.batch(chosen[first : first + 64], supervised)
        level = batch.level[:, :, None] if model.spec.encoder.reads_targets and _moved(model) else 0.0
        rest.append((batch.target - level).flatten(0, 1).cpu().double())
        if batch.differences is not None:
            differences.append(batch.differences.flatten(0, 1).cpu().double())
    return torch.cat(rest), torch.cat(differences) if differences else None


def _moved(model: Model) -> bool:
    """Whether the last observed value is added to the output."""
    assert isinstance(model.spec.head, QuantileHead)
    return model.spec.head.moved > 0


def _regression(rest: Tensor, differences: Tensor) -> Tensor:
    """Return the weights of the differences, (seasons, horizon, targets)."""
    observed = rest.isfinite()
    y = torch.where(observed, rest, 0.0)
    x = differences * observed[:, None]
    square = torch.einsum("nsht,nuht->htsu", x, x)
    count = observed.sum(dim=0).clamp(min=1)[..., None, None]
    mean = square.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
    # Nothing varies where the differences are all 0; then the weights are 0.
    square = square + (RIDGE * mean + 1e-9 * count) * torch.eye(
        square.shape[-1], dtype=square.dtype, device=square.device
    )
    return torch.linalg.solve(square, torch.einsum("nsht,nht->hts", x, y)).permute(2, 0, 1)
