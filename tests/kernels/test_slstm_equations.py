"""Finite differences, and the plain exponentials of the paper in long doubles, judge the sLSTM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gatewright import equations
from gatewright.bfloat16 import to_bf16
from gatewright.equations import Masks, Place, Record, slstm
from gatewright.equations.slstm import OutputGradients, State, Weights
from gatewright.errors import GatewrightError
from gatewright.spec import CellSpec, LayerWeights

SIZES = [(5, 3, 4, 6, 1), (5, 3, 4, 6, 3), (1, 1, 1, 1, 1), (4, 2, 3, 4, 4)]  # T, B, D, H, heads


OPTIONS: list[dict[str, Any]] = [{}, {"forget_gate": "exponential"}]


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
        self.d = OutputGradients(
            draw(size=(T, B, H)),
            *(draw(size=(B, H)) for _ in range(4)),
            *(draw(size=(T, B, H)) for _ in range(4)),
        )
        self.dropout = 1.5 * (random.random((B, H)) < 0.7)

    def loss(self, **options: Any) -> float:
        """A loss of all that a pass gives."""
        y, record = slstm.forward(self.x, self.weights, self.state, **options)
        last = [each[-1] for each in record.state]
        gates = record.share(), record.candidate, record.output_gate, record.state.average()
        return float(sum(np.sum(d * each) for d, each in zip(self.d, (y, *last, *gates), strict=True)))


def inputs(case: Case) -> dict[str, np.ndarray]:
    """Return all that a pass reads, under the names of their adjoints."""
    h, c, n, m = case.state
    arrays = {"dx": case.x, "dh_0": h, "dc_0": c, "dn_0": n, "dm_0": m}
    weights = zip(("dW_ih", "dW_hh", "db"), case.weights, strict=True)
    return arrays | {name: W for name, W in weights if W is not None}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("sizes", SIZES)
def test_backward_is_the_slope_of_forward(sizes: tuple[int, ...], options: dict[str, Any]) -> None:
    """Of a loss that reads c, n and m themselves, which the stabiliser does not leave alone, and the record."""
    case, random, eps = Case(sizes, bias=sizes != SIZES[3]), np.random.default_rng(1), 1e-6
    for dropout in (None, case.dropout):
        options = options | {"dropout": dropout}
        _, record = slstm.forward(case.x, case.weights, case.state, **options)
        gradients = slstm.backward(case.d, record, case.x, case.weights, **options)
        for name, array in inputs(case).items():
            got, whole = getattr(gradients, name), array.copy()
            assert got.shape == array.shape
            for _ in range(3):
                direction = random.normal(size=array.shape)
                array += eps * direction
                above = case.loss(**options)
                array -= 2 * eps * direction
                slope = (above - case.loss(**options)) / (2 * eps)
                array[...] = whole
                bound = 1e-7 * (np.linalg.norm(got) * np.linalg.norm(direction) + 1)
                assert abs(slope - np.sum(got * direction)) < bound, name
        assert (gradients.db is None) == (case.weights.b is None)


def test_a_loss_of_the_true_states_leaves_the_stabiliser_alone() -> None:
    """Neither e^m c and e^m n nor h depend on how m is chosen: their adjoint has no residual."""
    case, gradients = Case(SIZES[1]), []
    for moved in (0.0, 2.0):
        less = np.exp(-moved)
        state = State(case.state.h, case.state.c * less, case.state.n * less, case.state.m + moved)
        _, record = slstm.forward(case.x, case.weights, state)
        c, n, m = (each[-1] for each in record.state[1:])
        dc, dn = (d * np.exp(m) for d in (case.d.dc_n, case.d.dn_n))
        d = OutputGradients(case.d.dy, case.d.dh_n, dc, dn, dc * c + dn * n)
        got = slstm.backward(d, record, case.x, case.weights)
        np.testing.assert_allclose(got.dm_0, got.dc_0 * state.c + got.dn_0 * state.n, rtol=1e-11)
        gradients.append(got.dx)
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("options", OPTIONS)
def test_what_nothing_was_read_of_is_the_start(options: dict[str, Any]) -> None:
    """Where n is 0, neither m nor c is read, in whatever unit that is; they have no gradient."""
    case = Case(SIZES[1])
    read = np.random.default_rng(3).random(case.state.n.shape) < 0.5
    h, c, n, m = case.state
    some = State(h, c, np.where(read, n, 0), np.where(read, m, np.nan))
    plain = State(h, np.where(read, c, 0), np.where(read, n, 0), np.where(read, m, 0))
    far = plain._replace(m=np.where(read, m, -np.inf))
    expected = unstabilised(case, plain, options.get("forget_gate", "sigmoid")).astype(np.float64)
    for state in (some, plain, far):
        y, record = slstm.forward(case.x, case.weights, state, **options)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=5e-15)
        np.testing.assert_array_equal(record.keep()[0][~read], 0)
        np.testing.assert_allclose(record.share()[0][~read], 1, rtol=1e-15)
        gradients = slstm.backward(case.d, record, case.x, case.weights, **options)
        for name in ("dc_0", "dn_0", "dm_0"):
            np.testing.assert_array_equal(getattr(gradients, name) != 0, read)
        assert all(np.isfinite(each).all() for each in gradients if each is not None)


def layer_of(case: Case, options: dict[str, Any]) -> tuple[CellSpec, LayerWeights]:
    """Return the same layer for the equations of every cell, its bias in two parts."""
    forget_gate = options.get("forget_gate", "sigmoid")
    cell = CellSpec(kind="slstm", heads=case.weights.heads, forget_gate_activation=forget_gate, hidden_dropout=0.3)
    assert case.weights.b is not None
    return cell, LayerWeights(*case.weights[:2], case.weights.b / 3, case.weights.b * 2 / 3)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_equations_of_every_cell_have_it(options: dict[str, Any]) -> None:
    """As one cell state, with a record whose ledger is that of a coupled cell, and the adjoint of both."""
    case = Case((5, 3, 4, 6, 2))
    cell, weights = layer_of(case, options)
    c_0 = np.concatenate(case.state[1:], axis=-1)
    masks = Masks(Place(seed=3))
    mask = masks.of(cell, 5, 3, 6, 6, np.float64)[0].hidden
    for chosen, dropout in ((None, None), (masks, mask)):
        y, record = equations.forward(case.x, weights, case.state.h, c_0, cell=cell, masks=chosen)
        expected, own = slstm.forward(case.x, case.weights, case.state, dropout=dropout, **options)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-14)
        np.testing.assert_allclose(record.c_n, np.concatenate([a[-1] for a in own.state[1:]], axis=-1), atol=1e-14)
        before = np.concatenate([record.cell_initial[None], record.cell[:-1]])
        np.testing.assert_allclose(record.keep() * before + record.write(), record.cell, rtol=0, atol=5e-15)
        np.testing.assert_allclose(record.output_gate * record.cell, y, rtol=0, atol=1e-15)
        np.testing.assert_allclose(record.input_gate + record.forget_gate, 1, rtol=0, atol=1e-15)

        d, zeros = case.d, np.zeros((3, 6))
        halves = d.dshare / 2, -d.dshare / 2
        d_record = Record(*halves, d.dcandidate, d.doutput_gate, d.daverage, 0 * y, zeros + 1, zeros + 2)
        d_all = equations.OutputGradients(d.dy, d.dh_n, np.concatenate(d[2:5], axis=-1), d_record)
        got = equations.backward(d_all, record, case.x, weights, cell=cell, masks=chosen)
        judge = slstm.backward(d, own, case.x, case.weights, dropout=dropout, **options)
        for name in ("dx", "dW_ih", "dW_hh"):
            np.testing.assert_allclose(getattr(got, name), getattr(judge, name), rtol=0, atol=1e-13)
        np.testing.assert_allclose(got.db_hh, judge.db, rtol=0, atol=1e-13)
        np.testing.assert_allclose(got.dh_0, judge.dh_0 + 2, rtol=0, atol=1e-13)
        of_first = [1 / case.state.n, -case.state.c / case.state.n**2, zeros]
        d_states = [a + b for a, b in zip(judge[2:5], of_first, strict=True)]
        np.testing.assert_allclose(got.dc_0, np.concatenate(d_states, axis=-1), rtol=0, atol=1e-13)

    h, c = case.state.h, c_0
    for t in range(5):
        after = equations.step(case.x[t], h, c, weights, cell=cell)
        h, c = after.hidden, after.cell_state
        if t == 2:
            late, _ = equations.forward(case.x[3:], weights, h, c, cell=cell)
    y, record = equations.forward(case.x, weights, case.state.h, c_0, cell=cell)
    np.testing.assert_array_equal(h, y[-1])
    np.testing.assert_array_equal(c, record.c_n)
    np.testing.assert_array_equal(late, y[3:])
    np.testing.assert_array_equal(record.at(3).keep(), record.keep()[3])
    alone, _ = equations.forward(case.x[:, 1], weights, case.state.h[1], c_0[1], cell=cell)
    np.testing.assert_allclose(alone, y[:, 1], rtol=0, atol=1e-15)
    with pytest.raises(GatewrightError, match=r"^c_0: expected a float64 array of shape \(3, 18\)"):
        equations.forward(case.x, weights, case.state.h, case.state.c, cell=cell)


def test_bf16_rounds_the_operands_of_products_alone() -> None:
    """Weights, input and hidden state that have few bits give the results of float32, and others near them."""
    case = Case((4, 3, 4, 6, 2))
    cell, weights = layer_of(case, {})

    def run(rounded: bool, compute: Any) -> tuple[np.ndarray, equations.Gradients]:
        cut = to_bf16 if rounded else np.float32
        matrices = (cut(W).astype(np.float32) for W in weights[:2])
        layer = LayerWeights(*matrices, *(b.astype(np.float32) for b in weights[2:4]))
        x, c_0 = cut(case.x).astype(np.float32), np.concatenate(case.state[1:], axis=-1).astype(np.float32)
        args: dict[str, Any] = {"cell": cell, "compute": compute}
        y, record = equations.forward(x, layer, case.state.h.astype(np.float32), c_0, **args)
        d = equations.OutputGradients(np.ones_like(y))
        return y, equations.backward(d, record, x, layer, **args)

    first, d_first = run(True, "bf16")
    full, d_full = run(True, "full")
    np.testing.assert_allclose(first[0], full[0], rtol=0, atol=1e-2)
    assert (first != full).any()
    for name in ("dx", "dW_ih", "dW_hh", "db_ih", "dh_0", "dc_0"):
        a, b = getattr(d_first, name), getattr(d_full, name)
        assert a.dtype == np.float32
        assert np.linalg.norm(a - b) < 0.02 * np.linalg.norm(b), name
    again, _ = run(False, "bf16")
    np.testing.assert_array_equal(again, first)  # what is rounded already is not rounded again


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
        gradients = slstm.backward(OutputGradients(np.ones_like(y)), record, x, weights, **options)
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
        slstm.backward(OutputGradients(case.x), slstm.forward(case.x, case.weights)[1], case.x, case.weights)
