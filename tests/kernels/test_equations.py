"""Finite differences and float64 torch judge `gatewright.equations`, which judges everything else."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright import equations
from gatewright.equations import Gradients, Record, Weights
from gatewright.equations.record import FIELDS
from gatewright.errors import GatewrightError

# (T, B, D, H, P), where P = 0 stands for no projection.
SIZES = [(5, 3, 4, 6, 0), (1, 1, 1, 1, 0), (7, 1, 1, 5, 0), (3, 2, 9, 1, 0), (5, 3, 4, 6, 2), (4, 1, 1, 3, 1)]
BIASES = [(), ("b_ih",), ("b_hh",), ("b_ih", "b_hh")]
PARAMETERS = ("W_ih", "W_hh", "b_ih", "b_hh", "W_hr")
QUANTITIES = FIELDS


class Case:
    """A layer, an input, a first state, and an adjoint of each output."""

    def __init__(self, sizes, biases=("b_ih", "b_hh"), dtype=np.float64, seed=0, record_adjoint=False):
        T, B, D, H, P = sizes
        rng = np.random.default_rng(seed)
        out = P or H

        def draw(*shape, scale=1.0):
            return (scale * rng.normal(size=shape)).astype(dtype)

        # Larger weights would make a long sequence chaotic, and any two roundings of it drift apart.
        small = H**-0.5
        parameters = {"W_ih": draw(4 * H, D, scale=small), "W_hh": draw(4 * H, out, scale=small)}
        parameters |= {name: draw(4 * H) for name in biases}
        if P:
            parameters["W_hr"] = draw(P, H, scale=small)
        self.weights = Weights(**parameters)
        self.x, self.h_0, self.c_0 = draw(T, B, D), draw(B, out), draw(B, H)
        self.dy, self.dh_n, self.dc_n = draw(T, B, out), draw(B, out), draw(B, H)
        self.d_record = None
        if record_adjoint:
            gates = [draw(T, B, H) for _ in range(5)]
            self.d_record = Record(*gates, draw(T, B, out), draw(B, H), draw(B, out))

    def inputs(self):
        """Every array that the loss depends on, under the name of its adjoint."""
        arrays = {"dx": self.x, "dh_0": self.h_0, "dc_0": self.c_0}
        parameters = {f"d{name}": getattr(self.weights, name) for name in PARAMETERS}
        return arrays | {name: array for name, array in parameters.items() if array is not None}

    def forward(self):
        return equations.forward(self.x, self.weights, self.h_0, self.c_0)

    def loss(self):
        """The scalar whose gradient `backward` returns, for the adjoints of this case."""
        y, record = self.forward()
        loss = np.sum(self.dy * y) + np.sum(self.dh_n * record.h_n) + np.sum(self.dc_n * record.c_n)
        if self.d_record is not None:
            loss += sum(np.sum(getattr(self.d_record, name) * getattr(record, name)) for name in QUANTITIES)
        return loss

    def backward(self):
        _, record = self.forward()
        adjoints = self.dy, self.dh_n, self.dc_n
        return equations.backward(
            equations.OutputGradients(*adjoints, self.d_record), record, self.x, self.weights
        )

    def torch_lstm(self):
        """Return `torch.nn.LSTM` with these weights; a bias that is not there is zero there."""
        w = self.weights
        bias = w.b_ih is not None or w.b_hh is not None
        H, P = w.hidden_size, 0 if w.W_hr is None else w.output_size
        lstm = torch.nn.LSTM(w.W_ih.shape[1], H, bias=bias, proj_size=P, dtype=torch.float64)
        zero = np.zeros(4 * H)
        arrays = [w.W_ih, w.W_hh]
        arrays += [zero if b is None else b for b in (w.b_ih, w.b_hh)] if bias else []
        arrays += [w.W_hr] if P else []
        with torch.no_grad():
            for parameter, array in zip(lstm.parameters(), arrays, strict=True):
                parameter.copy_(torch.from_numpy(array))
        return lstm


def slope(loss, array, at, eps=1e-6):
    """Central difference of a loss in one element of an array, which is left as it was."""
    kept = array[at]
    array[at] = kept + eps
    above = loss()
    array[at] = kept - eps
    below = loss()
    array[at] = kept
    return (above - below) / (2 * eps)


def slopes(loss, array):
    return np.array([slope(loss, array, at) for at in np.ndindex(array.shape)]).reshape(array.shape)


def assert_close(got, expected, relative, name=""):
    """Compare elementwise, relative to the largest element: a term that is dropped anywhere shows."""
    assert got.shape == expected.shape, name
    scale = np.abs(expected).max(initial=1e-300)
    np.testing.assert_allclose(got / scale, expected / scale, rtol=0, atol=relative, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("record_adjoint", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_backward_is_the_slope_of_forward(sizes, record_adjoint):
    case = Case(sizes, record_adjoint=record_adjoint)
    gradients = case.backward()
    for name, array in case.inputs().items():
        assert_close(getattr(gradients, name), slopes(case.loss, array), 1e-7, name)


@pytest.mark.parametrize("quantity", [*QUANTITIES, "dy", "dh_n", "dc_n"])
def test_each_adjoint_alone_reaches_every_input(quantity):
    case = Case((3, 2, 2, 3, 2), record_adjoint=True)
    record = replace(
        case.d_record, **{name: getattr(case.d_record, name) * (name == quantity) for name in QUANTITIES}
    )
    case.d_record = record
    for name in ("dy", "dh_n", "dc_n"):
        setattr(case, name, getattr(case, name) * (name == quantity))
    gradients = case.backward()
    for name, array in case.inputs().items():
        assert_close(getattr(gradients, name), slopes(case.loss, array), 1e-7, name)


@pytest.mark.parametrize("biases", BIASES)
@pytest.mark.parametrize("sizes", [*SIZES, (40, 5, 13, 17, 0), (40, 5, 13, 17, 7)])
def test_torch_agrees(sizes, biases):
    case = Case(sizes, biases)
    lstm = case.torch_lstm()
    x, h_0, c_0 = (torch.from_numpy(array).requires_grad_() for array in (case.x, case.h_0, case.c_0))
    y, (h_n, c_n) = lstm(x, (h_0[None], c_0[None]))
    dy, dh_n, dc_n = (torch.from_numpy(array) for array in (case.dy, case.dh_n, case.dc_n))
    torch.autograd.backward([y, h_n, c_n], [dy, dh_n[None], dc_n[None]])

    got, record = case.forward()
    assert_close(got, y.detach().numpy(), 1e-10, "y")
    assert_close(record.h_n, h_n[0].detach().numpy(), 1e-10, "h_n")
    assert_close(record.c_n, c_n[0].detach().numpy(), 1e-10, "c_n")

    names = ["W_ih", "W_hh", *(["b_ih", "b_hh"] if biases else []), *(["W_hr"] if sizes[-1] else [])]
    expected = {f"d{name}": parameter.grad for name, parameter in zip(names, lstm.parameters(), strict=True)}
    expected |= {"dx": x.grad, "dh_0": h_0.grad, "dc_0": c_0.grad}
    gradients = case.backward()
    for name in case.inputs():
        assert_close(getattr(gradients, name), expected[name].numpy(), 1e-10, name)
    for name in {f"d{name}" for name in PARAMETERS} - set(case.inputs()):
        assert getattr(gradients, name) is None, name


@pytest.mark.parametrize("sizes", [(4, 2, 3, 5, 0), (4, 2, 3, 5, 2)])
def test_backward_judges_torch(sizes):
    """The slope of torch's own forward pass, which shares no code with `equations`, is `backward`."""
    case = Case(sizes)
    lstm = case.torch_lstm()
    x, h_0, c_0, dy, dh_n, dc_n = (
        torch.from_numpy(array) for array in (case.x, case.h_0, case.c_0, case.dy, case.dh_n, case.dc_n)
    )

    @torch.no_grad()
    def loss():
        y, (h_n, c_n) = lstm(x, (h_0[None], c_0[None]))
        return float((dy * y).sum() + (dh_n * h_n[0]).sum() + (dc_n * c_n[0]).sum())

    # numpy() shares memory with the tensor, so that a nudge reaches torch.
    parameters = [parameter.detach().numpy() for parameter in lstm.parameters()]
    names = PARAMETERS if sizes[-1] else PARAMETERS[:-1]
    arrays = {f"d{name}": array for name, array in zip(names, parameters, strict=True)}
    arrays |= {"dx": case.x, "dh_0": case.h_0, "dc_0": case.c_0}
    gradients = case.backward()
    for name, array in arrays.items():
        assert_close(getattr(gradients, name), slopes(loss, array), 1e-7, name)


def test_a_reversed_input_is_the_other_direction_of_torch():
    case = Case((6, 2, 3, 4, 0))
    lstm = torch.nn.LSTM(3, 4, bidirectional=True, dtype=torch.float64)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = Weights(*(getattr(lstm, f"{name}_l0_reverse").detach().numpy() for name in names))
    y, _ = equations.forward(case.x[::-1], weights)
    expected = lstm(torch.from_numpy(case.x))[0].detach().numpy()[..., 4:]
    assert_close(y[::-1], expected, 1e-10)


def test_the_gates_have_their_names():
    """Weights that open or shut one gate alone, each seen under its own name and nowhere else."""
    shut, half = np.float64(0), np.float64(0.5)
    for index, name in enumerate(("input_gate", "forget_gate", "candidate", "output_gate")):
        W_ih = np.zeros((4, 1))
        W_ih[index] = -1e3
        after = equations.step(np.ones(1), np.zeros(1), np.ones(1), Weights(W_ih, np.zeros((4, 1))))
        for other in ("input_gate", "forget_gate", "output_gate"):
            assert getattr(after, other) == (shut if other == name else half), (name, other)
        assert after.candidate == (-1 if name == "candidate" else 0)


@pytest.mark.parametrize("sizes", [(6, 3, 4, 5, 0), (6, 3, 4, 5, 2)])
def test_steps_are_the_sequence_to_the_bit(sizes):
    case = Case(sizes)
    y, record = case.forward()
    h, c = case.h_0, case.c_0
    for t in range(len(y)):
        after = equations.step(case.x[t], h, c, case.weights)
        for name in QUANTITIES:
            np.testing.assert_array_equal(getattr(after, name), getattr(record.at(t), name))
        h, c = after.hidden, after.cell
    np.testing.assert_array_equal(h, record.h_n)
    np.testing.assert_array_equal(c, record.c_n)
    assert y is record.hidden


def test_chunks_are_the_sequence_to_the_bit():
    case = Case((6, 3, 4, 5, 2))
    y, record = case.forward()
    y_1, first = equations.forward(case.x[:2], case.weights, case.h_0, case.c_0)
    y_2, second = equations.forward(case.x[2:], case.weights, first.h_n, first.c_n)
    np.testing.assert_array_equal(np.concatenate([y_1, y_2]), y)
    np.testing.assert_array_equal(second.c_n, record.c_n)


def test_a_row_alone_needs_no_batch_axis():
    case = Case((5, 1, 3, 4, 2))
    y, _ = case.forward()
    row = (slice(None), 0)
    alone, record_alone = equations.forward(case.x[row], case.weights, case.h_0[0], case.c_0[0])
    assert_close(alone, y[row], 1e-14)
    gradients = case.backward()
    adjoints = case.dy[row], case.dh_n[0], case.dc_n[0]
    gradients_alone = equations.backward(
        equations.OutputGradients(*adjoints), record_alone, case.x[row], case.weights
    )
    assert_close(gradients_alone.dx, gradients.dx[row], 1e-13)
    for name in ("dW_ih", "dW_hh", "db_ih", "db_hh", "dW_hr"):
        assert_close(getattr(gradients_alone, name), getattr(gradients, name), 1e-13, name)


def test_the_ledger_is_the_cell():
    """c_T = Σ_k (∏_{j>k} f_j) ⊙ i_k ⊙ g_k + (∏_j f_j) ⊙ c_0."""
    case = Case((50, 4, 3, 7, 0))
    _, r = case.forward()
    written = r.input_gate * r.candidate
    for T in (1, 2, 50):
        survived = [np.prod(r.forget_gate[k + 1 : T], axis=0) for k in range(-1, T)]
        ledger = sum(survived[k + 1] * written[k] for k in range(T)) + survived[0] * case.c_0
        np.testing.assert_allclose(ledger, r.cell[T - 1], rtol=1e-12, atol=1e-12)


def test_a_cell_state_is_what_is_kept_and_what_is_written():
    case = Case((50, 4, 3, 7, 2))
    _, r = case.forward()
    before = np.concatenate([case.c_0[None], r.cell[:-1]])
    np.testing.assert_array_equal(r.keep() * before + r.write(), r.cell)
    np.testing.assert_array_equal(r.at(7).keep() * before[7] + r.at(7).write(), r.cell[7])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("sizes", [(4, 3, 2, 5, 0), (4, 3, 2, 5, 2)])
def test_a_dtype_is_kept_and_as_exact_as_it_can_be(sizes, dtype):
    exact, case = Case(sizes), Case(sizes, dtype=dtype)
    (y, record), gradients = case.forward(), case.backward()
    assert y.dtype == dtype
    for name in QUANTITIES:
        assert getattr(record, name).dtype == dtype, name
    for name in exact.inputs():
        assert getattr(gradients, name).dtype == dtype, name
        expected = getattr(exact.backward(), name)
        relative = max(float(np.finfo(dtype).eps), 2e-16) * 20
        assert_close(getattr(gradients, name).astype(np.float64), expected, relative, name)
    y, _ = equations.forward(case.x, case.weights)
    assert y.dtype == dtype


def test_longdouble_is_longer_than_double():
    if np.finfo(np.longdouble).eps == np.finfo(np.float64).eps:
        pytest.skip("longdouble is double here")
    case = Case((4, 3, 2, 5, 0))
    exact = Case((4, 3, 2, 5, 0), dtype=np.longdouble)
    difference = np.abs(exact.forward()[0] - case.forward()[0]).max()
    assert 0 < difference < 1e-15


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("sign", [1, -1])
def test_extreme_input_saturates_in_silence(dtype, sign):
    weights = Weights(np.ones((8, 1), dtype), np.ones((8, 2), dtype))
    x = np.full((3, 1, 1), sign * 1e4, dtype)
    y, record = equations.forward(x, weights)
    open_or_shut = float(sign > 0)
    for name in ("input_gate", "forget_gate", "output_gate"):
        # longdouble reaches down to 1e-4932, so that there a shut gate is not quite zero
        np.testing.assert_allclose(getattr(record, name), open_or_shut, rtol=0, atol=1e-300)
    np.testing.assert_array_equal(record.candidate, sign)
    np.testing.assert_allclose(record.c_n, 3 * open_or_shut, rtol=0, atol=1e-300)
    gradients = equations.backward(equations.OutputGradients(np.ones_like(y)), record, x, weights)
    for field in dataclasses.fields(Gradients):
        gradient = getattr(gradients, field.name)
        assert gradient is None or np.isfinite(gradient).all(), field.name


@pytest.mark.parametrize("x", [-700.0, -40.0, -1.0, 0.0, 1.0, 40.0, 700.0])
def test_sigmoid_is_exact_in_the_tails_too(x):
    after = equations.step(np.full(1, x), np.zeros(1), np.zeros(1), Weights(np.ones((4, 1)), np.zeros((4, 1))))
    expected = 1 / (1 + np.exp(-np.longdouble(x)))
    np.testing.assert_allclose(after.forget_gate, float(expected), rtol=1e-15)


small = st.integers(0, 3)
sizes_of_any_kind = st.tuples(small, small, small, st.integers(1, 4), small)


@settings(max_examples=40, deadline=None)
@given(sizes=sizes_of_any_kind, biases=st.sampled_from(BIASES))
def test_every_shape_fits_what_it_belongs_to(sizes, biases):
    T, B, _, H, P = sizes
    case = Case(sizes, biases)
    y, record = case.forward()
    assert y.shape == record.hidden.shape == (T, B, P or H)
    for name in ("input_gate", "forget_gate", "candidate", "output_gate", "cell"):
        assert getattr(record, name).shape == (T, B, H)
    gradients = case.backward()
    for name, array in case.inputs().items():
        assert getattr(gradients, name).shape == array.shape, name
    if T == 0:
        np.testing.assert_array_equal(record.h_n, case.h_0)
        np.testing.assert_array_equal(record.c_n, case.c_0)
        np.testing.assert_array_equal(gradients.dh_0, case.dh_n)
        np.testing.assert_array_equal(gradients.dc_0, case.dc_n)
        assert not gradients.dW_hh.any()


def spoil(array, how):
    return {
        "two axes before": array[None, None],
        "an axis behind": array[..., None],
        "one more": np.concatenate([array, array[-1:]]),
        "another dtype": array.astype(np.float32),
        "whole numbers": array.astype(np.int64),
        "a list": array.tolist(),
        "a tensor": torch.from_numpy(array),
    }[how]


WAYS = (
    "two axes before",
    "an axis behind",
    "one more",
    "another dtype",
    "whole numbers",
    "a list",
    "a tensor",
)
NOT_OPTIONAL_IN_BACKWARD = [f"record.{name}" for name in QUANTITIES] + [f"d_record.{name}" for name in QUANTITIES]


def raises(argument):
    return pytest.raises(GatewrightError, match=rf"^{argument.replace('.', '[.]')}: expected a .*, got ")


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(PARAMETERS), how=st.sampled_from(WAYS))
def test_a_bad_weight_is_named(name, how):
    weights = Case((2, 3, 4, 5, 2)).weights
    # These two are good by themselves; what is held to them is not.
    good = {("W_ih", "another dtype"): "W_hr", ("W_hr", "one more"): "W_hh"}
    at_fault = good.get((name, how), name)
    with raises(at_fault) as caught:
        weights._replace(**{name: spoil(getattr(weights, name), how)})
    assert caught.value.argument == at_fault
    assert "shape (" in caught.value.expected


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(["x", "h", "c"]), how=st.sampled_from(WAYS))
def test_a_bad_argument_of_step_is_named(name, how):
    case = Case((2, 3, 4, 5, 2))
    arguments = {"x": case.x[0], "h": case.h_0, "c": case.c_0}
    if (name, how) == ("x", "one more"):
        name = "h"  # another batch is good by itself; the state is held to it
    with raises(name):
        equations.step(**(arguments | {name: spoil(arguments[name], how)}), weights=case.weights)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(["x", "h_0", "c_0"]), how=st.sampled_from(WAYS))
def test_a_bad_argument_of_forward_is_named(name, how):
    case = Case((2, 3, 4, 5, 2))
    arguments = {"x": case.x, "h_0": case.h_0, "c_0": case.c_0}
    if (name, how) == ("x", "one more"):
        name = "h_0"  # another T is good
    with raises(name):
        equations.forward(**(arguments | {name: spoil(arguments[name], how)}), weights=case.weights)


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(["dy", "dh_n", "dc_n", *NOT_OPTIONAL_IN_BACKWARD]), how=st.sampled_from(WAYS))
def test_a_bad_argument_of_backward_is_named(name, how):
    case = Case((2, 3, 4, 5, 2), record_adjoint=True)
    _, record = case.forward()
    arguments = {
        "dy": case.dy,
        "dh_n": case.dh_n,
        "dc_n": case.dc_n,
        "record": record,
        "d_record": case.d_record,
    }
    whole, _, part = name.partition(".")
    bad = arguments[whole]
    arguments[whole] = replace(bad, **{part: spoil(getattr(bad, part), how)}) if part else spoil(bad, how)
    record, d_record = (arguments.pop(each) for each in ("record", "d_record"))
    with raises(name):
        equations.backward(
            equations.OutputGradients(**arguments, record=d_record), record, x=case.x, weights=case.weights
        )


@pytest.mark.parametrize("rows", [0, 3, 6])
def test_gates_come_in_fours(rows):
    with raises("W_ih"):
        Weights(np.zeros((rows, 2)), np.zeros((rows, 1)))


def test_an_error_says_what_came():
    weights = Case((2, 3, 4, 5, 0)).weights
    with pytest.raises(GatewrightError) as caught:
        equations.forward(np.zeros((2, 3, 7), np.float32), weights)
    message = "x: expected a float64 array of shape (T, B, 4) or (T, 4), got a float32 array of shape (2, 3, 7)"
    assert str(caught.value) == message


def test_an_absent_adjoint_is_zero():
    case = Case((3, 2, 2, 4, 0))
    _, record = case.forward()
    zeros = [np.zeros_like(array) for array in (case.dy, case.dh_n, case.dc_n)]
    given_zeros = equations.backward(
        equations.OutputGradients(*zeros[:2], case.dc_n), record, case.x, case.weights
    )
    given_none = equations.backward(equations.OutputGradients(dc_n=case.dc_n), record, case.x, case.weights)
    for field in dataclasses.fields(Gradients):
        np.testing.assert_array_equal(getattr(given_none, field.name), getattr(given_zeros, field.name))
    nothing = equations.backward(equations.OutputGradients(), record, case.x, case.weights)
    assert not any(getattr(nothing, name).any() for name in case.inputs())


def test_no_argument_is_written_to():
    case = Case((3, 2, 2, 4, 3), record_adjoint=True)
    names = ("x", "h_0", "c_0", "dy", "dh_n", "dc_n")
    arrays = [getattr(case, name) for name in names] + [getattr(case.d_record, name) for name in QUANTITIES]
    for array in [*arrays, *case.inputs().values()]:
        array.flags.writeable = False
    case.backward()


def test_a_step_of_a_record_can_be_counted_from_the_end():
    _, record = Case((3, 2, 2, 4, 0)).forward()
    np.testing.assert_array_equal(record.at(-1).cell_initial, record.cell[1])
    np.testing.assert_array_equal(record.at(-3).cell_initial, record.cell_initial)
    with pytest.raises(IndexError):
        record.at(3)
