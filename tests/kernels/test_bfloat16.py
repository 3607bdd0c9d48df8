"""torch judges the rounding to bfloat16; exact sums and float64 judge the equations in bf16 arithmetic."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch

from gatewright import equations
from gatewright.bfloat16 import chain, from_bits, product, to_bf16, to_bits
from gatewright.equations import Gradients, Weights
from gatewright.equations.record import FIELDS
from gatewright.errors import GatewrightError


def by_torch(x):
    return torch.from_numpy(x).bfloat16().view(torch.int16).numpy().view(np.uint16)


def test_the_rounding_is_that_of_torch():
    """Each upper half with the lower halves around a tie, but subnormals, which become zero here."""
    upper = np.arange(1 << 16, dtype=np.uint32)[:, None] << 16
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    x = (upper | lower).view(np.float32)
    got, expected = to_bits(x), by_torch(x)
    normal = ~np.isnan(x) & ((np.abs(x) >= np.finfo(np.float32).tiny) | (x == 0))
    np.testing.assert_array_equal(got[normal], expected[normal])
    subnormal = ~np.isnan(x) & ~normal
    np.testing.assert_array_equal(got[subnormal], np.where(np.signbit(x[subnormal]), 0x8000, 0))
    np.testing.assert_array_equal(np.isnan(from_bits(got)), np.isnan(x))
    quiet = got[np.isnan(x)]
    assert (quiet & 0x40).all()
    np.testing.assert_array_equal(np.signbit(from_bits(quiet)), np.signbit(x[np.isnan(x)]))


def test_the_bits_of_every_number_are_its_own():
    bits = np.arange(1 << 16, dtype=np.uint16)
    numbers = from_bits(bits)
    own = ~np.isnan(numbers) & ((np.abs(numbers) >= np.finfo(np.float32).tiny) | (numbers == 0))
    np.testing.assert_array_equal(to_bits(numbers[own]), bits[own])
    np.testing.assert_array_equal(numbers, torch.arange(1 << 16).to(torch.int16).view(torch.bfloat16).float())


def exact_chain(start, a, w):
    """One sum in exact arithmetic, rounded to float32 after each product."""
    total = np.float32(start)
    a, w = (list(to_bf16(values)) + [np.float32(0)] * (len(values) % 2) for values in (a, w))
    for pair in range(0, len(a), 2):
        for k in (pair + 1, pair):
            exact = Fraction(float(total)) + Fraction(float(a[k])) * Fraction(float(w[k]))
            below = np.float32(float(exact))
            near = [np.nextafter(below, np.float32(-np.inf)), below, np.nextafter(below, np.float32(np.inf))]
            total = min(near, key=lambda x: (abs(Fraction(float(x)) - exact), int(x.view(np.uint32)) & 1))
    return total


@pytest.mark.parametrize("K", [1, 2, 7])
def test_a_chain_is_rounded_after_each_product_upper_elements_first(K):
    rng = np.random.default_rng(K)
    a, W, start = rng.normal(size=(3, K)), rng.normal(size=(5, K)) ** 9, rng.normal(size=5)
    got = chain(start.astype(np.float32), a, W)
    expected = [[exact_chain(np.float32(start[n]), a[m], W[n]) for n in range(5)] for m in range(3)]
    np.testing.assert_array_equal(got, np.array(expected))
    np.testing.assert_allclose(product(a, W.T), to_bf16(a).astype(float) @ to_bf16(W).T.astype(float), rtol=1e-7)


def test_the_upper_element_of_a_pair_comes_first():
    tiny, W = np.float32(2**-24), np.ones((1, 2))
    assert chain(np.zeros(1, np.float32), np.array([tiny, 1.0]), W)[0] == 1  # (0 + 1) + tiny
    assert chain(np.float32([-1]), np.array([tiny, 1.0]), W)[0] == tiny  # (-1 + 1) + tiny
    assert chain(np.float32([-1]), np.array([1.0, tiny]), W)[0] == 2**-24  # -1 + tiny is a float32


def test_subnormal_operands_and_sums_are_zero_and_overflow_is_infinite():
    zero = np.zeros(1, np.float32)
    assert chain(zero, np.array([1e-39]), np.array([[1e38]]))[0] == 0
    assert chain(zero, np.array([1e-20]), np.array([[1e-20]]))[0] == 0
    assert np.signbit(chain(zero, np.array([-1e-20]), np.array([[1e-20]]))[0])
    assert chain(zero, np.array([1e30]), np.array([[1e30]]))[0] == np.inf
    assert np.isnan(chain(zero, np.array([np.nan]), np.ones((1, 1)))[0])


def layer(seed, T, B, D, H, P, on_grid):
    """A float32 layer with input, states and adjoints; on the grid all operands are bfloat16 numbers."""
    rng = np.random.default_rng(seed)

    def draw(*shape, scale=1.0):
        values = (scale * rng.normal(size=shape)).astype(np.float32)
        return to_bf16(values) if on_grid else values

    out, small = P or H, H**-0.5
    W_hr = draw(P, H, scale=small) if P else None
    parts = draw(4 * H, D, scale=small), draw(4 * H, out, scale=small), draw(4 * H), draw(4 * H), W_hr
    x, h_0, c_0, dy = draw(T, B, D), draw(B, out), draw(B, H), draw(T, B, out)
    return Weights(*parts), x, h_0, c_0, dy


def relative(got, expected):
    return np.linalg.norm(got.astype(float) - expected) / np.linalg.norm(expected)


def widened(value):
    return None if value is None else value.astype(np.float64)


@pytest.mark.parametrize("P", [0, 3])
def test_one_step_on_the_grid_of_bfloat16_is_the_step_in_float32(P):
    """Nothing is rounded there but o tanh(c) before a projection: so its products are those of full arithmetic."""
    weights, x, h_0, c_0, dy = layer(1, 1, 4, 5, 6, P, on_grid=True)
    _, full = equations.forward(x, weights, h_0, c_0)
    _, bf16 = equations.forward(x, weights, h_0, c_0, compute="bf16")
    for name in ("input_gate", "forget_gate", "candidate", "output_gate", "cell"):
        np.testing.assert_allclose(getattr(bf16, name), getattr(full, name), rtol=2e-6, err_msg=name)
    expected = full.hidden if P == 0 else to_bf16(full.output_gate * np.tanh(full.cell)) @ weights.W_hr.T
    np.testing.assert_allclose(bf16.hidden, expected, rtol=2e-5)
    exact = equations.backward(equations.OutputGradients(dy), full, x, weights)
    gradients = equations.backward(equations.OutputGradients(dy), full, x, weights, compute="bf16")
    if P == 0:  # the adjoint of the cell is not rounded: only that of the gates is, once
        np.testing.assert_array_equal(gradients.dc_0, exact.dc_0)
    assert 1e-4 < relative(gradients.dx, exact.dx) < 4e-3


@pytest.mark.parametrize("P", [0, 7])
def test_the_roundings_show_as_errors_of_their_size(P):
    weights, x, h_0, c_0, dy = layer(2, 30, 4, 9, 16, P, on_grid=False)
    exact_weights = Weights(*map(widened, weights))
    y, exact = equations.forward(widened(x), exact_weights, widened(h_0), widened(c_0))
    expected = equations.backward(equations.OutputGradients(widened(dy)), exact, widened(x), exact_weights)
    got, record = equations.forward(x, weights, h_0, c_0, compute="bf16")
    assert got.dtype == np.float32
    assert 2e-4 < relative(got, y) < 4e-3
    errors = {}
    for saved in ("float32", "bf16"):
        kept = record.rounded() if saved == "bf16" else record
        gradients = equations.backward(equations.OutputGradients(dy), kept, x, weights, compute="bf16")
        names = [
            field.name for field in dataclasses.fields(Gradients) if getattr(expected, field.name) is not None
        ]
        assert {getattr(gradients, name).dtype for name in names} == {np.dtype(np.float32)}
        errors[saved] = [relative(getattr(gradients, name), getattr(expected, name)) for name in names]
        assert max(errors[saved]) < 8e-3
    assert np.mean(errors["float32"]) < np.mean(errors["bf16"])


def test_kept_in_bfloat16_means_that_the_gates_and_cells_are_rounded():
    weights, x, h_0, c_0, _ = layer(3, 5, 2, 3, 4, 0, on_grid=False)
    _, record = equations.forward(x, weights, h_0, c_0, compute="bf16")
    for name in FIELDS:
        exact = getattr(record, name)
        expected = to_bf16(exact) if name in (*equations.GATES, "cell") else exact
        np.testing.assert_array_equal(getattr(record.rounded(), name), expected, err_msg=name)


def test_steps_are_the_sequence_to_the_bit_and_a_row_does_not_depend_on_its_batch():
    weights, x, h_0, c_0, _ = layer(4, 6, 3, 5, 7, 2, on_grid=False)
    _, record = equations.forward(x, weights, h_0, c_0, compute="bf16")
    h, c = h_0, c_0
    for t in range(len(x)):
        after = equations.step(x[t], h, c, weights, compute="bf16")
        h, c = after.hidden, after.cell
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(after, name), getattr(record.at(t), name))
    alone, _ = equations.forward(x[:, 1], weights, h_0[1], c_0[1], compute="bf16")
    np.testing.assert_array_equal(alone, record.hidden[:, 1])


def test_what_is_not_there_is_refused_by_name():
    weights, x, h_0, c_0, _ = layer(5, 2, 1, 3, 4, 0, on_grid=False)
    with pytest.raises(GatewrightError, match=r"^compute: "):
        equations.step(x[0], h_0, c_0, weights, compute="fp16")
    with pytest.raises(GatewrightError, match=r"^compute: "):
        equations.forward(widened(x), Weights(*map(widened, weights)), compute="bf16")
    _, record = equations.forward(x, weights)
    with pytest.raises(GatewrightError, match=r"^compute: "):
        equations.backward(equations.OutputGradients(), record, x, weights, compute="fp16")
