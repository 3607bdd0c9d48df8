"""Likelihoods of forecasts: the families of `gatewright.spec.distributions`, from the outputs of a head.

Scales and dispersions are exponentials of outputs: a factor of one is a term of the other's bias.  Every number
has the bounds that the native module has too (``native/stream/distribution.cpp``), so that a likelihood stays
finite where values repeat, are far out, or are all zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from gatewright.spec.distributions import COMPONENTS, FAMILIES

#: Largest logarithm of a scale, and of a dispersion.
LARGEST_LOG, LARGEST_LOG_DISPERSION = 20.0, 10.0
#: Smallest scale, in the units of the head, and of a component, in units of the scale of its mixture.
LEAST_SCALE, LEAST_COMPONENT = 1e-4, 1e-3
#: Smallest number of degrees of freedom, and the largest number above it.
LEAST_FREEDOM, LARGEST_FREEDOM = 2.0, 1e4
#: Smallest dispersion, and the smallest mean in its units.
LEAST_DISPERSION, LEAST_MEAN = 1e-6, 1e-6
#: Largest mean of whole numbers.
LARGEST_MEAN = 1e9

_LOG_2PI = math.log(2 * math.pi)


def softplus(x: Tensor) -> Tensor:
    """Return log(1 + e^x), to the last digits for every x."""
    return torch.logaddexp(x, torch.zeros_like(x))


def inverse_softplus(y: Tensor) -> Tensor:
    """Return x with `softplus` (x) = y > 0."""
    return y + torch.log(-torch.expm1(-y))


def scale_of(outputs: Tensor) -> Tensor:
    """Return the scale of distributions with a location (...), from outputs (..., K)."""
    return LEAST_SCALE + outputs[..., 1].clamp(max=LARGEST_LOG).exp()


def freedom_of(outputs: Tensor) -> Tensor:
    """Return the degrees of freedom of Student's t (...), from outputs (..., 3)."""
    return LEAST_FREEDOM + softplus(outputs[..., 2].clamp(max=LARGEST_FREEDOM))


def components_of(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return locations, scales and log weights of the components of a mixture, in its units: (..., components)."""
    location, log_scale, logit = outputs[..., 2:].split(COMPONENTS, dim=-1)
    return location, LEAST_COMPONENT + log_scale.clamp(max=LARGEST_LOG).exp(), logit.log_softmax(dim=-1)


def mean_and_dispersion(outputs: Tensor, unit: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return mean and dispersion of a negative binomial distribution: the variance is m + d m^2.

    Args:
        outputs: (..., K).
        unit: of the mean.
    """
    mean = (unit * (LEAST_MEAN + softplus(outputs[..., 0]))).clamp(max=LARGEST_MEAN)
    return mean, LEAST_DISPERSION + outputs[..., 1].clamp(max=LARGEST_LOG_DISPERSION).exp()


def _normal(outputs: Tensor, value: Tensor, unit: Tensor | float) -> Tensor:  # noqa: ARG001
    scale = scale_of(outputs)
    return -0.5 * ((value - outputs[..., 0]) / scale) ** 2 - scale.log() - 0.5 * _LOG_2PI


def _student_t(outputs: Tensor, value: Tensor, unit: Tensor | float) -> Tensor:  # noqa: ARG001
    scale, freedom = scale_of(outputs), freedom_of(outputs)
    half = (freedom + 1) / 2
    distance = half * torch.log1p(((value - outputs[..., 0]) / scale) ** 2 / freedom)
    constant = torch.lgamma(half) - torch.lgamma(freedom / 2) - 0.5 * torch.log(math.pi * freedom)
    return constant - scale.log() - distance


def _mixture(outputs: Tensor, value: Tensor, unit: Tensor | float) -> Tensor:  # noqa: ARG001
    scale = scale_of(outputs)
    location, width, log_weight = components_of(outputs)
    z = (((value - outputs[..., 0]) / scale).unsqueeze(-1) - location) / width
    each = log_weight - 0.5 * z**2 - width.log() - 0.5 * _LOG_2PI
    return each.logsumexp(dim=-1) - scale.log()


def _negative_binomial(outputs: Tensor, value: Tensor, unit: Tensor | float) -> Tensor:
    mean, dispersion = mean_and_dispersion(outputs, unit)
    count, ratio = 1 / dispersion, dispersion * mean
    ways = torch.lgamma(value + count) - torch.lgamma(count) - torch.lgamma(value + 1)
    return ways - (count + value) * torch.log1p(ratio) + value * torch.log(ratio)


def _zero_inflated(outputs: Tensor, value: Tensor, unit: Tensor | float) -> Tensor:
    other = F.logsigmoid(-outputs[..., 2]) + _negative_binomial(outputs, value, unit)
    return torch.where(value == 0, torch.logaddexp(F.logsigmoid(outputs[..., 2]), other), other)


_LOG_DENSITIES: dict[str, Callable[[Tensor, Tensor, Tensor | float], Tensor]] = {
    "normal": _normal,
    "student-t": _student_t,
    "mixture": _mixture,
    "negative-binomial": _negative_binomial,
    "zero-inflated-negative-binomial": _zero_inflated,
}


def log_likelihood(family: str, outputs: Tensor, value: Tensor, unit: Tensor | float = 1.0) -> Tensor:
    """Return the logarithm of the density, or of the probability of a whole number; 0 where the value is missing.

    Args:
        family: name, out of `gatewright.spec.distributions.FAMILIES`.
        outputs: of the head (..., outputs of the family).
        value: in the units of the head, or whole numbers (...), NaN where missing.
        unit: of the mean of whole numbers.

    >>> outputs = torch.tensor([1.0, 0.0], dtype=torch.float64)
    >>> round(float(log_likelihood("normal", outputs, torch.tensor(1.0, dtype=torch.float64))), 3)
    -0.919
    """
    assert family in FAMILIES
    observed = value.isfinite()
    # A missing value takes part as 0, so that no NaN reaches a gradient.
    logs = _LOG_DENSITIES[family](outputs, value.where(observed, 0.0), unit)
    return logs.where(observed, 0.0)
