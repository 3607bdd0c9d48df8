"""Ridge regressions of what follows on seasonal differences and hidden states, chosen by cross-validation.

The hidden states of an untrained LSTM are a memory of its inputs that fades; a linear readout of them forecasts
(Jaeger 2001).  How much the readout is shrunk, parts of the training part decide that it was not fitted to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Share of the variance of a seasonal difference that is added to it: small weights where it explains nothing.
RIDGE = 0.01

#: Penalties of the weights of hidden states that are tried, a sample, with states of mean square 1; under the last
#: one the weights are 0.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, float("inf"))

#: Pieces of the training part that are left out in turn.
FOLDS = 5


@dataclass(frozen=True)
class Samples:
    """Rows of a regression, in the order of series and times: float64, on the CPU.

    Attributes:
        rest: what the head is to give (N, horizon, targets), NaN where missing.
        hidden: hidden states (N, P).
        differences: seasonal differences (N, seasons, horizon, targets); None without seasons.
    """

    rest: Tensor
    hidden: Tensor
    differences: Tensor | None

    def of(self, rows: Tensor) -> Samples:
        """Return some of the rows."""
        differences = None if self.differences is None else self.differences[rows]
        return Samples(self.rest[rows], self.hidden[rows], differences)


@dataclass(frozen=True)
class Readout:
    """A linear readout.

    Attributes:
        seasons: weights of the seasonal differences (seasons, horizon, targets); None without seasons.
        head: weights of the hidden states (horizon, targets, P).
        bias: (horizon, targets).
    """

    seasons: Tensor | None
    head: Tensor
    bias: Tensor

    def residuals(self, samples: Samples) -> Tensor:
        """Return what it leaves of samples, (N, horizon, targets), NaN where missing."""
        forecast = torch.einsum("np,htp->nht", samples.hidden, self.head) + self.bias
        if self.seasons is not None and samples.differences is not None:
            forecast = forecast + torch.einsum("nsht,sht->nht", samples.differences, self.seasons)
        return samples.rest - forecast


def fitted(samples: Samples, floors: Sequence[float]) -> list[tuple[Readout, Tensor]]:
    """Return readouts under the best of the penalties, and the residuals of samples that they were not fitted to.

    Pieces of the training part are left out in turn, and forecast by the readouts of the others.  The largest
    penalty is best whose mean absolute error is within a standard error of the least one (Breiman et al. 1984).

    Args:
        samples: the training part.
        floors: least penalties; there is a readout for each.
    """
    penalties = sorted({*PENALTIES, *(floor for floor in floors if floor > 0)})
    rows = torch.arange(len(samples.rest), device="cpu")
    piece = rows * FOLDS // len(rows)
    unseen = samples.rest.new_full((len(penalties), *samples.rest.shape), torch.nan)
    for number in range(FOLDS):
        own = piece == number
        if own.any() and not own.all():
            left_out = samples.of(rows[own])
            for place, readout in enumerate(_readouts(samples.of(rows[~own]), penalties)):
                unseen[place, own] = readout.residuals(left_out)
    errors = torch.stack([unseen[:, piece == number].abs().flatten(1).nanmean(dim=1) for number in range(FOLDS)])
    errors = errors[errors.isfinite().all(dim=1)]
    results = []
    for floor in floors:
        first = next(place for place, penalty in enumerate(penalties) if penalty >= floor)
        best = first + _cautious(errors[:, first:])
        [readout] = _readouts(samples, penalties[best : best + 1])
        seen = readout.residuals(samples)
        results.append((readout, torch.where(unseen[best].isfinite(), unseen[best], seen)))
    return results


def _cautious(errors: Tensor) -> int:
    """Return the last place whose error is within a standard error of the least one.

    Args:
        errors: (folds, places), from the least to the most cautious.
    """
    if len(errors) < 2:
        return errors.shape[1] - 1
    excess = errors - errors[:, [int(errors.mean(dim=0).argmin())]]
    noise = excess.std(dim=0) / len(errors) ** 0.5
    return int(torch.nonzero(excess.mean(dim=0) <= noise)[-1])


def _readouts(samples: Samples, penalties: Sequence[float]) -> Iterator[Readout]:
    """Yield the readout under each of the penalties."""
    alone = _seasons_alone(samples)
    # What is missing counts as what the seasons say, so that it asks for no weight of the hidden states.
    y = torch.nan_to_num(alone.residuals(samples))
    centre = samples.hidden.mean(dim=0)
    size = samples.hidden.square().mean(dim=0).sqrt().clamp(min=1e-6)
    hidden = (samples.hidden - centre) / size
    variances, directions = torch.linalg.eigh(hidden.T @ hidden)
    along = hidden @ directions
    target = torch.einsum("np,nht->htp", along, y)
    x = samples.differences
    if x is not None:
        x = x - x.mean(dim=0)
        square = _with_ridge(torch.einsum("nsht,nuht->htsu", x, x), len(x))
        cross = torch.einsum("nsht,np->htsp", x, along)
        product = torch.einsum("nsht,nht->hts", x, y)
    for penalty in penalties:
        inverse = 1 / (variances.clamp(min=0) + penalty * len(hidden))
        seasons, onto = alone.seasons, target
        if x is not None and alone.seasons is not None:
            shrunk = cross * inverse
            change = torch.linalg.solve(
                square - shrunk @ cross.mT, product - torch.einsum("htsp,htp->hts", shrunk, target)
            )
            seasons = alone.seasons + change.permute(2, 0, 1)
            onto = target - torch.einsum("htsp,hts->htp", cross, change)
        head = (onto * inverse) @ directions.T / size
        readout = Readout(seasons, head, torch.zeros_like(alone.bias))
        yield Readout(seasons, head, torch.nan_to_num(readout.residuals(samples).nanmean(dim=0)))


def nothing(samples: Samples) -> Readout:
    """Return a readout of nothing, whose weights are 0."""
    head = samples.rest.new_zeros(*samples.rest.shape[1:], samples.hidden.shape[1])
    return Readout(None, head, samples.rest.new_zeros(samples.rest.shape[1:]))


def _seasons_alone(samples: Samples) -> Readout:
    """Return a readout of the seasonal differences alone."""
    rest, x = samples.rest, samples.differences
    observed = rest.isfinite()
    mean = torch.nan_to_num(rest.nanmean(dim=0))
    head = rest.new_zeros(*mean.shape, samples.hidden.shape[1])
    if x is None:
        return Readout(None, head, mean)
    count = observed.sum(dim=0).clamp(min=1)
    centre = (x * observed[:, None]).sum(dim=0) / count
    centred = (x - centre) * observed[:, None]
    square = _with_ridge(torch.einsum("nsht,nuht->htsu", centred, centred), count[..., None, None])
    y = torch.where(observed, rest - mean, 0.0)
    weights = torch.linalg.solve(square, torch.einsum("nsht,nht->hts", centred, y)).permute(2, 0, 1)
    return Readout(weights, head, mean - (weights * centre).sum(dim=0))


def _with_ridge(square: Tensor, count: Tensor | int) -> Tensor:
    """Return the products of seasonal differences with a ridge, (..., seasons, seasons)."""
    mean = square.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
    # Nothing varies where the differences are all 0; then the weights are 0.
    more = RIDGE * mean + 1e-9 * count
    return square + more * torch.eye(square.shape[-1], dtype=square.dtype, device=square.device)
