"""No change of the weights is ever missed: each shows in the very next call."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from gatewright import kernels
from gatewright.nn import LSTM

D, H = 5, 9
NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_ih_l1", "weight_hh_l1")


def pair() -> tuple[nn.LSTM, LSTM, Tensor]:
    torch.manual_seed(0)
    theirs = nn.LSTM(D, H, 2, dtype=torch.float64)
    ours = LSTM(D, H, 2, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours, torch.randn(4, 3, D, dtype=torch.float64)


def agree(theirs: nn.LSTM, ours: LSTM, x: Tensor) -> Tensor:
    """Assert that both give the same, in each mode and with the same gradients; return it."""
    expected = theirs(x)[0]
    for record in (False, True):
        torch.testing.assert_close(ours(x, record=record)[0], expected, rtol=1e-12, atol=1e-13)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[0], expected, rtol=1e-12, atol=1e-13)
    wrt = [[module.get_parameter(name) for name in theirs.state_dict()] for module in (theirs, ours)]
    found = [
        torch.autograd.grad(module(x)[0].square().sum(), W) for module, W in zip((theirs, ours), wrt, strict=True)
    ]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    return expected.detach()


def in_place(module: nn.Module, name: str) -> None:
    with torch.no_grad():
        getattr(module, name).mul_(1.5)


def by_data(module: nn.Module, name: str) -> None:
    getattr(module, name).data[1:3] += 0.5


def by_new_data(module: nn.Module, name: str) -> None:
    getattr(module, name).data = getattr(module, name).data * 1.5


def by_numpy(module: nn.Module, name: str) -> None:
    getattr(module, name).detach().numpy()[0] += 0.5


def by_a_new_parameter(module: nn.Module, name: str) -> None:
    setattr(module, name, nn.Parameter(getattr(module, name).detach() * 1.5))


def by_loading(module: nn.Module, name: str) -> None:
    state = copy.deepcopy(module.state_dict())
    state[name] *= 1.5
    module.load_state_dict(state)


def by_assigning(module: nn.Module, name: str) -> None:
    state = copy.deepcopy(module.state_dict())
    state[name] *= 1.5
    module.load_state_dict(state, assign=True)


def by_a_view(module: nn.Module, name: str) -> None:
    with torch.no_grad():
        getattr(module, name).view(-1)[0] = 3.0


EDITS = (in_place, by_data, by_new_data, by_numpy, by_a_new_parameter, by_loading, by_assigning, by_a_view)


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", NAMES)
def test_an_edit_shows_in_the_next_call(edit: Callable[[nn.Module, str], None], name: str) -> None:
    theirs, ours, x = pair()
    before = agree(theirs, ours, x)
    for module in (theirs, ours):
        edit(module, name)
    after = agree(theirs, ours, x)
    assert (after - before).abs().max() > 1e-4


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}])
def test_a_step_of_an_optimizer_shows_in_the_next_call(optimizer: Any, options: dict[str, bool]) -> None:
    theirs, ours, x = pair()
    optimizers = [optimizer(module.parameters(), lr=0.1, **options) for module in (theirs, ours)]
    before = agree(theirs, ours, x)
    for _ in range(3):
        for module, each in zip((theirs, ours), optimizers, strict=True):
            each.zero_grad()
            module(x)[0].square().mean().backward()
            each.step()
        after = agree(theirs, ours, x)
        assert (after - before).abs().max() > 1e-4
        before = after


@pytest.mark.slow
def test_an_edit_between_a_compiled_call_and_the_next_shows() -> None:
    theirs, ours, x = pair()
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    for edit in (in_place, by_data, by_a_view):
        torch.testing.assert_close(compiled(x)[0], theirs(x)[0], rtol=1e-12, atol=1e-13)
        for module in (theirs, ours):
            edit(module, "weight_hh_l0")
    torch.testing.assert_close(compiled(x)[0], theirs(x)[0], rtol=1e-12, atol=1e-13)


class _Doubled(nn.Module):
    def forward(self, W: Tensor) -> Tensor:
        return 2 * W


@pytest.mark.parametrize("name", ["weight_hh_l0", "weight_ih_l1"])
def test_a_parametrized_weight_is_computed_for_each_call(name: str) -> None:
    theirs, ours, x = pair()
    before = agree(theirs, ours, x)
    parametrize.register_parametrization(ours, name, _Doubled())
    with torch.no_grad():
        getattr(theirs, name).mul_(2)
    y = ours(x)[0]
    torch.testing.assert_close(y, theirs(x)[0], rtol=1e-12, atol=1e-13)
    assert (y - before).abs().max() > 1e-4
    y.sum().backward()
    theirs(x)[0].sum().backward()
    original = ours.parametrizations[name].original
    torch.testing.assert_close(original.grad, 2 * getattr(theirs, name).grad, rtol=1e-10, atol=1e-12)

    with torch.no_grad():
        original.mul_(1.5)
        getattr(theirs, name).mul_(1.5)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(ours(x, record=True)[0], theirs(x)[0], rtol=1e-12, atol=1e-13)
    parametrize.remove_parametrizations(ours, name)
    agree(theirs, ours, x)


def test_spectral_norm_is_computed_for_each_call() -> None:
    theirs, ours, x = pair()
    parametrizations.spectral_norm(ours, "weight_hh_l0")
    original = ours.parametrizations.weight_hh_l0.original
    for _ in range(3):
        ours.train()
        ours(x)[0].square().sum().backward()  # each call moves the estimate of the norm on
        assert original.grad is not None
        ours.eval()
        with torch.no_grad():
            original.mul_(0.7).add_(0.01)
            theirs.weight_hh_l0.copy_(ours.weight_hh_l0)
            torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=1e-12, atol=1e-13)


def test_what_a_pass_saved_is_not_touched_by_a_later_one() -> None:
    _, ours, x = pair()
    x.requires_grad_()
    y, _, record = ours(x, record=True)
    cell = record.layers[0].cell.clone()
    expected = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    for seed in range(5):
        torch.manual_seed(seed)
        ours(torch.randn_like(x))[0].sum().backward()
    assert torch.equal(record.layers[0].cell, cell)
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], expected)


def test_an_edit_of_a_weight_that_backward_needs_raises() -> None:
    _, ours, x = pair()
    y = ours(x)[0]
    in_place(ours, "weight_hh_l0")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_packed_weights_are_those_of_the_moment_of_packing() -> None:
    _, ours, x = pair()
    W = [getattr(ours, name).detach().numpy() for name in NAMES[:4]]
    state = torch.zeros(3, H, dtype=torch.float64).numpy()
    packed = kernels.pack(kernels.LayerWeights(*W))
    before = kernels.step(packed, x[0].numpy(), state, state)
    for array in W:
        array *= 2
    after = kernels.step(packed, x[0].numpy(), state, state)
    again = kernels.step(kernels.pack(kernels.LayerWeights(*W)), x[0].numpy(), state, state)
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    assert not any((a == b).all() for a, b in zip(before, again, strict=True))
