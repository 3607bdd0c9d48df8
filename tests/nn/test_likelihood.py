"""Likelihoods of forecasts: those of torch.distributions, with gradients that finite differences confirm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor
from torch import distributions as td

from gatewright.nn.likelihood import inverse_softplus, log_likelihood, softplus
from gatewright.spec import FAMILIES
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = LazyModule("scipy.stats")

UNIT = 2.5


def samples(family: str, rows: int = 200) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(3)
    outputs = torch.from_numpy(rng.normal(size=(rows, len(FAMILIES[family].outputs))) * 3)
    values = rng.normal(size=rows) * 9
    if FAMILIES[family].counts:
        values = rng.poisson(3, rows) * rng.integers(0, 2, rows).astype(float)
    return outputs, torch.from_numpy(values)


def of_torch(family: str, outputs: Tensor, value: Tensor) -> Tensor:
    raw = outputs.unbind(-1)
    if FAMILIES[family].counts:
        mean, dispersion = UNIT * (1e-6 + torch.logaddexp(raw[0], 0 * raw[0])), 1e-6 + raw[1].exp()
        count = td.NegativeBinomial(1 / dispersion, logits=(mean * dispersion).log())
        if family == "negative-binomial":
            return count.log_prob(value)
        zeros = torch.sigmoid(raw[2])
        return ((value == 0) * zeros + (1 - zeros) * count.log_prob(value).exp()).log()
    scale = 1e-4 + raw[1].exp()
    if family == "normal":
        return td.Normal(raw[0], scale).log_prob(value)
    if family == "student-t":
        return td.StudentT(2 + torch.logaddexp(raw[2], 0 * raw[2]), raw[0], scale).log_prob(value)
    parts = td.Normal(outputs[..., 2:5], 1e-3 + outputs[..., 5:8].exp())
    mixture = td.MixtureSameFamily(td.Categorical(logits=outputs[..., 8:]), parts)
    return mixture.log_prob((value - raw[0]) / scale) - scale.log()


@pytest.mark.parametrize("family", FAMILIES)
def test_values_are_those_of_torch_distributions(family: str) -> None:
    outputs, value = samples(family)
    got = log_likelihood(family, outputs, value, UNIT)
    np.testing.assert_allclose(got, of_torch(family, outputs, value), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_finite_differences(family: str) -> None:
    outputs, value = samples(family, 12)
    value[::5] = torch.nan  # a missing value has a likelihood of 0, and no gradient
    outputs.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: log_likelihood(family, x, value, UNIT), outputs, atol=1e-6)
    log_likelihood(family, outputs, value, UNIT).sum().backward()
    assert outputs.grad is not None
    assert (outputs.grad[::5] == 0).all()
    assert (log_likelihood(family, outputs, value, UNIT)[::5] == 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_extreme_outputs_have_finite_likelihoods_and_gradients(family: str) -> None:
    """Scales that vanish, values far out, zeros alone: no NaN and no infinity."""
    rng, size = np.random.default_rng(0), len(FAMILIES[family].outputs)
    outputs = torch.from_numpy(rng.choice([1e30, -1e30, 0, 1e4, -1e4, 30, -30], size=(500, size))).requires_grad_()
    far = [0.0, 1.0, 1e9] if FAMILIES[family].counts else [0.0, 1.0, -1e20, 1e20]
    logs = log_likelihood(family, outputs, torch.from_numpy(rng.choice(far, size=500)), 1e4)
    logs.sum().backward()
    assert outputs.grad is not None
    assert logs.isfinite().all()
    assert outputs.grad.isfinite().all()


def test_a_small_dispersion_is_a_poisson_distribution() -> None:
    """The gamma functions of a count of a million cancel: their difference keeps its digits in float64."""
    mean = torch.linspace(0.5, 40, 20, dtype=torch.float64)
    outputs = torch.stack([inverse_softplus(mean), torch.full_like(mean, -40.0)], dim=-1)
    for value in (0.0, 3.0, 50.0):
        got = log_likelihood("negative-binomial", outputs, torch.full_like(mean, value))
        np.testing.assert_allclose(got, stats.poisson.logpmf(value, mean), rtol=1e-3, atol=1e-5)


def test_softplus_has_all_digits() -> None:
    x = torch.tensor([-700.0, -30.0, 0.0, 25.0, 800.0], dtype=torch.float64)
    np.testing.assert_allclose(softplus(x), np.logaddexp(0, x.numpy()), rtol=1e-15)
    np.testing.assert_allclose(inverse_softplus(softplus(x[1:])), x[1:], rtol=1e-12, atol=1e-15)
