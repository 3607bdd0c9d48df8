"""Finite differences, and the plain exponentials of the paper in long doubles, judge the sLSTM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gatewright.equations import slstm
from gatewright.equations.slstm import State, Weights
from gatewright.errors import GatewrightError

SIZES = [(5, 3, 4, 6, 1), (5, 3, 4, 6, 3), (1, 1, 1, 1, 1), (4, 2, 3, 4, 4)]  # T, B, D, H, heads


class Case:
    """A layer, an input, a first state, and an adjoint of each output."""

    def __init__(self, sizes: tuple[int, ...], bias: bool = True, scale: float = 0.7) -> None:
        T, B, D, H, heads = sizes
        random = np.random.default_rng(0)
        draw = random.normal
        self.weights = Weights(
            scale * draw(size=(4 * H, D)),
            scale * draw(size=(4 * H, H // heads)),
            draw(size=4 * H) if bias else None,
        )
        self.x = draw(size=(T, B, D))
        self.state = State(draw(size=(B, H)), draw(size=(B, H)), 1 + random.random((B, H)), draw(size=(B, H)))
        self.dy, *self.d_last = (draw(size=shape) for shape in ((T, B, H), (B, H), (B, H), (B, H)))

    def loss(self, forget_gate: Any) -> float:
        """A loss of y and of the true last states, e^m c and e^m n."""
        y, record = slstm.forward(self.x, self.weights, self.state, forget_gate=forget_gate)
        h, c, n, m = (each[-1] for each in record.state)
        true = h, np.exp(m) * c, np.exp(m) * n
        return float(
            np.sum(self.dy * y) + sum(np.sum(d * each) for d, each in zip(self.d_last, true, strict=True))
        )


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exponential"])
@pytest.mark.parametrize("sizes", SIZES)
def test_backward_is_the_slope_of_forward(sizes: tuple[int, ...], forget_gate: Any) -> None:
    case, random, eps = Case(sizes, bias=sizes != SIZES[3]), np.random.default_rng(1), 1e-6
    _, record = slstm.forward(case.x, case.weights, case.state, forget_gate=forget_gate)
    scale = np.exp(record.state.m[-1])
    d_last = case.d_last[0], case.d_last[1] * scale, case.d_last[2] * scale  # at the last m
    options: dict[str, Any] = {"forget_gate": forget_gate}
    gradients = slstm.backward(case.dy, d_last, record, case.x, case.weights, **options)
    h, c, n, _ = case.state
    inputs = {
        "dx": case.x,
        "dh_0": h,
        "dc_0": c,
        "dn_0": n,
        "dW_ih": case.weights.W_ih,
        "dW_hh": case.weights.W_hh,
    }
    if case.weights.b is not None:
        inputs["db"] = case.weights.b
    for name, array in inputs.items():
        got, whole = getattr(gradients, name), array.copy()
        assert got.shape == array.shape
        for _ in range(3):
            direction = random.normal(size=array.shape)
            array += eps * direction
            above = case.loss(forget_gate)
            array -= 2 * eps * direction
            slope = (above - case.loss(forget_gate)) / (2 * eps)
            array[...] = whole
            bound = 1e-7 * (np.linalg.norm(got) * np.linalg.norm(direction) + 1)
            assert abs(slope - np.sum(got * direction)) < bound, name
    assert (gradients.db is None) == (case.weights.b is None)


def unstabilised(case: Case, state: State | None, forget_gate: str) -> np.ndarray:
    """Return y by the equations of the paper, without a stabiliser, with the whole matrix R."""
    x, W = case.x.astype(np.longdouble), case.weights
    (T, B, _), H, d = x.shape, W.hidden_size, W.W_hh.shape[1]
    R = np.zeros((4 * H, H), np.longdouble)
    for row in range(4 * H):
        head = row % H // d
        R[row, head * d : (head + 1) * d] = W.W_hh[row]
    h, c, n = (np.zeros((B, H), np.longdouble) for _ in range(3))
    if state is not None:
        h, c, n = state.h, np.exp(state.m) * state.c, np.exp(state.m) * state.n
    y = np.empty((T, B, H), np.longdouble)
    for t in range(T):
        pre = x[t] @ W.W_ih.T + h @ R.T + (0 if W.b is None else W.b)
        i, f, z, o = pre[:, :H], pre[:, H : 2 * H], pre[:, 2 * H : 3 * H], pre[:, 3 * H :]
        f = np.exp(f) if forget_gate == "exponential" else 1 / (1 + np.exp(-f))
        c, n = f * c + np.exp(i) * np.tanh(z), f * n + np.exp(i)
        y[t] = h = c / n / (1 + np.exp(-o))
    return y


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exponential"])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("started", [False, True])
def test_the_stabiliser_cancels(sizes: tuple[int, ...], forget_gate: Any, started: bool) -> None:
    case = Case(sizes)
    state = case.state if started else None
    y, _ = slstm.forward(case.x, case.weights, state, forget_gate=forget_gate)
    expected = unstabilised(case, state, forget_gate).astype(np.float64)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=5e-15)


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exponential"])
@pytest.mark.parametrize("started", [False, True])
def test_the_ledger_is_an_average_of_what_was_read(forget_gate: Any, started: bool) -> None:
    case = Case((40, 3, 4, 6, 2), scale=2.0)
    state = case.state if started else None
    y, record = slstm.forward(case.x, case.weights, state, forget_gate=forget_gate)
    average = record.state.c / record.state.n
    first = case.state.c / case.state.n if started else np.zeros_like(average[0])
    for t in (0, 7, 39):
        w, initial = record.ledger(t)
        assert w.shape == (t + 1, 3, 6)
        assert (w >= 0).all()
        assert (initial >= 0).all()
        np.testing.assert_allclose(w.sum(axis=0) + initial, 1, rtol=0, atol=5e-15)
        whole = (w * record.candidate[: t + 1]).sum(axis=0) + initial * first
        np.testing.assert_allclose(record.output_gate[t] * whole, y[t], rtol=0, atol=5e-15)
        assert initial.any() == started
    before = np.concatenate([first[None], average[:-1]])
    np.testing.assert_allclose(record.keep() * before + record.write(), average, rtol=0, atol=5e-15)
    np.testing.assert_allclose(record.keep() + record.share(), 1, rtol=0, atol=5e-15)


def test_extreme_gates_stay_finite_and_a_row_does_not_depend_on_its_batch() -> None:
    """Logarithms of gates of thousands; one row goes on while another starts."""
    weights = Weights(np.full((8, 1), 1.0), np.zeros((8, 1)), np.zeros(8))
    x = np.array([3000.0, -3000.0, 5.0, 2000.0, -9.0])[:, None, None] * np.array([1.0, -1.0, 0.5])[:, None]
    for forget_gate in ("sigmoid", "exponential"):
        options: dict[str, Any] = {"forget_gate": forget_gate}
        y, record = slstm.forward(x, weights, **options)
        assert all(np.isfinite(each).all() for each in (y, record.keep(), *record.state))
        gradients = slstm.backward(np.ones_like(y), (None, None, None), record, x, weights, **options)
        assert all(np.isfinite(each).all() for each in gradients if each is not None)
        np.testing.assert_array_equal(slstm.forward(x[:, 1], weights, **options)[0], y[:, 1])
        mixed = State(
            *(np.concatenate([a[2][:1], b[:1]]) for a, b in zip(record.state, record.initial, strict=True))
        )
        both, _ = slstm.forward(np.concatenate([x[3:, :1], x[:2, :1]], axis=1), weights, mixed, **options)
        np.testing.assert_array_equal(both[:, 0], y[3:, 0])
        np.testing.assert_array_equal(both[:, 1], y[:2, 0])


def test_what_does_not_fit_is_named() -> None:
    case = Case((2, 1, 3, 4, 2))
    W_ih, W_hh, _ = case.weights
    for weights, name in (
        (Weights(W_ih[1:], W_hh), "W_ih"),
        (Weights(W_ih, W_hh[:, :0]), "W_hh"),
        (Weights(W_ih, np.ones((16, 3))), "W_hh"),
        (Weights(W_ih, W_hh, np.ones(15)), "b"),
    ):
        with pytest.raises(GatewrightError, match=rf"^{name}: expected"):
            slstm.forward(case.x, weights)
    with pytest.raises(GatewrightError, match=r"^x: expected"):
        slstm.forward(case.x[..., 1:], case.weights)
    with pytest.raises(GatewrightError, match=r"^n: expected"):
        slstm.step(case.x[0], case.state._replace(n=case.state.n[:, 1:]), case.weights)
    with pytest.raises(GatewrightError, match=r"^forget_gate: expected"):
        slstm.forward(case.x, case.weights, forget_gate="tanh")  # type: ignore[arg-type]
    with pytest.raises(GatewrightError, match=r"^dy: expected"):
        slstm.backward(case.x, (None,) * 3, slstm.forward(case.x, case.weights)[1], case.x, case.weights)
