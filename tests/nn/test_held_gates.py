"""Held gates, by the kernels and by torch's operations, judged by the equations in NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import CellSpec, equations
from gatewright.errors import SlowPathWarning
from gatewright.nn import LSTM, fallback, fast_path, precision, slow_path
from gatewright.nn.call import CallOptions
from gatewright.nn.held_gates import sequence_held
from gatewright.nn.variant_steps import Variant
from gatewright.spec.cell import LayerWeights
from tests.support.variant_cells import TOGETHER, label

T, B, D, H = 6, 2, 3, 5
HELD = [(0, 1, 0.25), (1, 2, 1.0), (2, 3, -1.0), (3, 4, 0.0), (3, 1, 0.5)]


def example(proj_size: int, dtype: torch.dtype = torch.float64):
    torch.manual_seed(3)
    weights = LSTM(D, H, proj_size=proj_size, dtype=dtype).requires_grad_(False).layer_weights(0)
    inputs = [torch.randn(shape, dtype=dtype) for shape in ((T, B, D), (B, proj_size or H), (B, H))]
    clamps = torch.full((4, H), torch.nan, dtype=dtype)
    for gate, unit, value in HELD:
        clamps[gate, unit] = value
    return *inputs, weights, clamps


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("run", [sequence_held, "fallback"])
def test_held_gates_are_those_of_the_equations(run, proj_size: int, reverse: bool) -> None:
    x, h_0, c_0, weights, clamps = example(proj_size)
    if run == "fallback":
        y, h_n, c_n, record = fallback.sequence(
            x, h_0, c_0, weights, reverse=reverse, variant=Variant(CellSpec(), clamps=clamps)
        )
    else:
        y, h_n, c_n, record = run(x, h_0, c_0, weights, clamps, reverse=reverse)
    arrays = equations.Weights(*(None if W is None else W.numpy() for W in weights))
    h, c = h_0.numpy(), c_0.numpy()
    for t in reversed(range(T)) if reverse else range(T):
        step = equations.step(x[t].numpy(), h, c, arrays)
        gates = [getattr(step, name).copy() for name in equations.GATES]
        for gate, unit, value in HELD:
            gates[gate][:, unit] = value
        i, f, g, o = gates
        c = f * c + i * g
        h = o * np.tanh(c)
        h = h if arrays.W_hr is None else h @ arrays.W_hr.T
        for name, expected in zip(equations.QUANTITIES, (*gates, c, h), strict=True):
            np.testing.assert_allclose(getattr(record, name)[t], expected, rtol=1e-12, atol=1e-13, err_msg=name)
        assert torch.equal(y[t], record.hidden[t])
    np.testing.assert_allclose(h_n, h, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(c_n, c, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reverse", [False, True])
def test_where_nothing_is_held_the_bits_are_those_of_the_whole_sequence(dtype: torch.dtype, reverse: bool) -> None:
    x, h_0, c_0, weights, clamps = example(0, dtype)
    free = torch.full_like(clamps, torch.nan)
    expected = fast_path.sequence(x, h_0, c_0, weights, CallOptions(record=True), reverse=reverse)
    found = sequence_held(x, h_0, c_0, weights, free, reverse=reverse)
    assert all(map(torch.equal, found[:3], expected[:3]))
    for name in equations.QUANTITIES:
        assert torch.equal(getattr(found[3], name), getattr(expected[3], name))


@pytest.mark.usefixtures("no_slow_path")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("proj_size", [0, 2])
def test_gradients_are_finite_differences(proj_size: int, reverse: bool) -> None:
    x, h_0, c_0, weights, clamps = example(proj_size)
    tensors = [x, h_0, c_0, *weights.present()]
    d = [torch.randn(shape, dtype=x.dtype) for shape in ((T, B, proj_size or H), (T, B, H), (T, B, H))]

    def loss(*inputs: torch.Tensor) -> torch.Tensor:
        layer = LayerWeights.of(weights.code, inputs[3:])
        y, h_n, c_n, record = sequence_held(*inputs[:3], layer, clamps, reverse=reverse)
        read = (y, d[0]), (record.forget_gate, d[1]), (record.cell, d[2])
        return sum((value * factor).sum() for value, factor in read) + h_n.sum() + c_n.sum()

    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    gradients = torch.autograd.grad(loss(*leaves), leaves)
    for n, gradient in enumerate(gradients):
        expected = torch.zeros_like(gradient)
        for k in range(gradient.numel()):
            values = []
            for step in (1e-5, -1e-5):
                moved = [tensor.clone() for tensor in tensors]
                moved[n].view(-1)[k] += step
                values.append(loss(*moved))
            expected.view(-1)[k] = (values[0] - values[1]) / 2e-5
        torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-8)
    dW_ih = gradients[3].unflatten(0, (4, H))
    assert not any(dW_ih[gate, unit].any() for gate, unit, _ in HELD)


@pytest.mark.usefixtures("no_slow_path")
@pytest.mark.parametrize("compute", [precision.FULL, precision.BF16_KEPT_FLOAT32, precision.BF16])
@pytest.mark.parametrize("cell", [CellSpec(), *(CellSpec(**features) for features in TOGETHER)], ids=label)
def test_gradients_of_every_cell_are_those_of_torch_s_operations(cell: CellSpec, compute: int) -> None:
    """Of results and of a record; in bf16 next to float64, to the rounding of operands."""
    torch.manual_seed(4)
    dtype = torch.float64 if compute == precision.FULL else torch.float32
    layer = LSTM(D, H, cell=cell, dtype=dtype)
    weights = layer.layer_weights(0)
    inputs = [torch.randn(shape, dtype=dtype) for shape in ((T, B, D), (B, cell.proj_size or H), (B, H))]
    clamps = example(0, dtype)[-1]
    names = ("input_gate", "forget_gate", "candidate", "output_gate", "cell")
    d = [torch.randn(T, B, H, dtype=torch.float64) for _ in names]

    def gradients(run: Any, wide: torch.dtype, **options: Any) -> Any:
        leaves = [each.detach().to(wide).requires_grad_() for each in (*inputs, *weights.present())]
        layer = LayerWeights.of(cell.code(), leaves[3:])
        y, h_n, c_n, record = run(*leaves[:3], layer, reverse=True, **options)
        loss = y.double().square().sum() + h_n.double().sum() + c_n.double().sum()
        loss = loss + sum(
            (getattr(record, name).double() * each).sum() for name, each in zip(names, d, strict=True)
        )
        return torch.autograd.grad(loss, leaves)

    variant = Variant(cell) if cell.features() else None
    found = gradients(sequence_held, dtype, clamps=clamps, variant=variant, compute=compute)
    expected = gradients(fallback.sequence, torch.float64, variant=Variant(cell, clamps=clamps.double()))
    for a, b in zip(found, expected, strict=True):
        scale = max(1.0, float(b.abs().max()))
        assert float((a.double() - b).abs().max()) <= scale * (1e-12 if compute == precision.FULL else 0.06)


def test_second_derivatives_go_through_held_gates() -> None:
    x, h_0, c_0, weights, clamps = example(0)
    leaves = [each.clone().requires_grad_() for each in (x[:2], h_0, c_0, *weights.present())]

    def run(x: torch.Tensor, h: torch.Tensor, c: torch.Tensor, *given: torch.Tensor) -> Any:
        y, _, c_n, record = sequence_held(x, h, c, LayerWeights.of(weights.code, given), clamps)
        return y, c_n, record.forget_gate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SlowPathWarning)
        assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@pytest.fixture
def no_slow_path() -> Iterator[None]:
    """Torch's operations, which say so, raise."""
    slow_path._say.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error", SlowPathWarning)
        yield


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_tangents_go_through_held_gates() -> None:
    x, h_0, c_0, weights, clamps = example(0)
    tangent = torch.randn_like(x)
    with torch.autograd.forward_ad.dual_level():
        y = sequence_held(torch.autograd.forward_ad.make_dual(x, tangent), h_0, c_0, weights, clamps)[0]
        found = torch.autograd.forward_ad.unpack_dual(y).tangent
    after, before = (sequence_held(x + step * tangent, h_0, c_0, weights, clamps)[0] for step in (1e-6, -1e-6))
    torch.testing.assert_close(found, (after - before) / 2e-6, rtol=1e-6, atol=1e-8)


def test_in_the_first_step_the_other_units_have_the_bits_of_the_kernels() -> None:
    x, h_0, c_0, weights, clamps = example(0, torch.float32)
    expected = fast_path.sequence(x, h_0, c_0, weights, CallOptions(record=True))[3]
    record = sequence_held(x, h_0, c_0, weights, clamps)[3]
    held = {(name, unit) for gate, unit, _ in HELD for name in (equations.GATES[gate], "hidden")}
    held |= {("cell", unit) for gate, unit, _ in HELD if gate < 3}
    for name in equations.QUANTITIES:
        for unit in range(H):
            same = torch.equal(getattr(record, name)[0, :, unit], getattr(expected, name)[0, :, unit])
            assert same == ((name, unit) not in held), (name, unit)
