"""The kernels with gates held at a value: every target against the equations in float64, and the same bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewright import equations, kernels
from gatewright.errors import GatewrightError
from tests.support.kernel_cases import (
    DTYPES,
    TARGETS,
    Problem,
    assert_close,
    assert_same_bits,
    backward,
    forward,
    made,
)

Array = np.ndarray
LIMITS = [(0, 1), (0, 1), (-1, 1), (0, 1)]


@pytest.fixture(params=TARGETS, autouse=True)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.use_target(request.param):
        yield request.param


def clamps_of(H: int, dtype: Any, seed: int = 0, share: float = 0.3) -> Array:
    """Some gates of some units held, at their limits and between."""
    draw = np.random.default_rng(seed)
    values = np.stack([draw.choice([low, high, draw.uniform(low, high)], H) for low, high in LIMITS])
    return np.where(draw.random((4, H)) < share, values, np.nan).astype(dtype)


def judged(problem: Problem, clamps: Array) -> dict[str, Array]:
    """What `kernels.forward` is to give, by the equations in float64: each row of the batch on its own."""
    weights = equations.Weights(*(None if W is None else W.astype(float) for W in problem.weights))
    H, rows = weights.hidden_size, problem.x.shape[:-1]
    expected: dict[str, Array] = {
        "y": np.zeros((*rows, weights.output_size)),
        "h_n": problem.h_0.astype(float),
        "c_n": problem.c_0.astype(float),
        "gates": np.zeros((*rows, 4 * H)),
        "cell": np.zeros((*rows, H)),
    }
    for b in range(len(problem.h_0)):
        place = problem.place(b)
        x, h, c = problem.x[place].astype(float), expected["h_n"][b], expected["c_n"][b]
        quantities: dict[str, list[Array]] = {"y": [], "gates": [], "cell": []}
        for x_t in x[::-1] if problem.reverse else x:
            step = equations.step(x_t, h, c, weights)
            free = np.stack([getattr(step, name) for name in equations.GATES])
            gates = i, f, g, o = np.where(np.isnan(clamps), free, clamps)
            c = f * c + i * g
            h = o * np.tanh(c)
            h = h if weights.W_hr is None else weights.W_hr @ h
            for name, value in (("y", h), ("gates", np.concatenate(gates)), ("cell", c)):
                quantities[name].append(value)
        expected["h_n"][b], expected["c_n"][b] = h, c
        for name, steps in quantities.items():
            expected[name][place] = np.reshape(steps[::-1] if problem.reverse else steps, (len(x), -1))
    return expected


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@pytest.mark.parametrize("P", [0, 5])
@pytest.mark.parametrize("gate", range(4))
def test_each_gate_is_held_at_each_value(dtype: Any, P: int, gate: int) -> None:
    for H in (1, 8, 33):
        problem = made(7, 3, 4, H, P, dtype=dtype, reverse=gate % 2 == 1)
        for value in (*LIMITS[gate], 0.25):
            clamps = np.full((4, H), np.nan, dtype)
            clamps[gate, :: 1 + H // 8] = value
            found = forward(problem, clamps=clamps)
            assert_close(found._asdict(), judged(problem, clamps))
            held = np.split(found.gates, 4, axis=-1)[gate][..., :: 1 + H // 8]
            assert (held == np.asarray(value, dtype)).all()


lengths = st.lists(st.integers(1, 9), min_size=1, max_size=7).map(lambda rows: sorted(rows, reverse=True))


@st.composite
def problems(draw: st.DrawFn) -> tuple[Problem, Array]:
    options: dict[str, Any] = {name: draw(st.booleans()) for name in ("bias", "reverse")}
    T, B = draw(st.integers(1, 9)), draw(st.integers(1, 7))
    if draw(st.booleans()):
        rows = draw(lengths)
        T, B = rows[0], len(rows)
        options["batch_sizes"] = [sum(length > t for length in rows) for t in range(T)]
    D, H, P = draw(st.integers(1, 20)), draw(st.integers(1, 40)), draw(st.sampled_from([0, 0, 3, 20]))
    dtype, seed = draw(st.sampled_from(DTYPES)), draw(st.integers(0, 99))
    return made(T, B, D, H, P, dtype=dtype, seed=seed, **options), clamps_of(H, dtype, seed)


@given(problems())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_problem_is_what_the_equations_give_to_the_same_bits(drawn: tuple[Problem, Array]) -> None:
    problem, clamps = drawn
    kept = forward(problem, clamps=clamps)
    assert_close(kept._asdict(), judged(problem, clamps))
    alone = forward(problem, clamps=clamps, keep=False)
    assert_same_bits(alone._asdict(), kept._replace(gates=None, cell=None)._asdict())
    for options in ({"threads": 3, "split": "rows"}, {"threads": 2, "split": "units"}):
        assert_same_bits(forward(problem, clamps=clamps, **options)._asdict(), kept._asdict())
    b = len(problem.h_0) - 1
    row = forward(problem.row(b), clamps=clamps)
    place = problem.place(b)
    of_batch = {"y": kept.y[place], "gates": kept.gates[place], "cell": kept.cell[place], "h": kept.h_n[b]}
    assert_same_bits(
        {"y": row.y[:, 0], "gates": row.gates[:, 0], "cell": row.cell[:, 0], "h": row.h_n[0]}, of_batch
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@pytest.mark.parametrize("shape", [(9, 11, 40, 70), (12, 13, 5, 66, 35), (60, 1, 33, 100)])
def test_threads_and_cuts_change_no_bit(shape: tuple[int, ...], dtype: Any) -> None:
    problem, clamps = made(*shape, dtype=dtype), clamps_of(shape[3], dtype)
    whole = forward(problem, clamps=clamps, threads=1)
    assert_close(whole._asdict(), judged(problem, clamps))
    for threads, split in ((3, ""), (8, "rows"), (2, "units")):
        again = forward(problem, clamps=clamps, threads=threads, split=split)
        assert_same_bits(again._asdict(), whole._asdict())
    h, c = problem.h_0, problem.c_0
    for begin, end in ((0, 1), (1, 5), (5, len(problem.x))):
        part = forward(dataclasses.replace(problem, x=problem.x[begin:end], h_0=h, c_0=c), clamps=clamps)
        h, c = part.h_n, part.c_n
        span = {name: getattr(whole, name)[begin:end] for name in ("y", "gates", "cell")}
        assert_same_bits({name: getattr(part, name) for name in span}, span)
    every = kernels.chunk_steps(shape[1], shape[3], dtype)
    checkpoints = forward(problem, clamps=clamps, checkpoint=1)
    before = [problem.c_0 if t == 0 else whole.cell[t - 1] for t in range(0, shape[0], every)]
    assert_same_bits({"cell": checkpoints.cell, "y": checkpoints.y}, {"cell": np.stack(before), "y": whole.y})


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@pytest.mark.parametrize("P", [0, 5])
def test_clamps_that_hold_nothing_change_no_bit(dtype: Any, P: int) -> None:
    for B, D, options in ((1, 9, {}), (5, 3, {"batch_sizes": [5, 3, 1], "reverse": True})):
        problem = made(3, B, D, 33, P, dtype=dtype, **options)
        found = forward(problem, clamps=np.full((4, 33), np.nan, dtype))
        assert_same_bits(found._asdict(), forward(problem)._asdict())


def test_a_gate_that_is_held_is_no_longer_read() -> None:
    """A unit whose own sums are NaN, and whose gates are all held, tells nobody of it."""
    problem = made(4, 2, 3, 9)
    clamps = np.full((4, 9), np.nan)
    clamps[:, 4] = 0.5, 0.25, -0.5, 1.0
    expected = judged(problem, clamps)
    for gate in range(4):
        problem.weights.W_ih[gate * 9 + 4] = np.nan
    assert_close(forward(problem, clamps=clamps)._asdict(), expected)


@pytest.mark.parametrize(
    ("clamps", "expected"),
    [
        (np.zeros((4, 8)), r"shape \(4, 9\)"),
        (np.zeros((3, 9)), r"shape \(4, 9\)"),
        (np.zeros(36), r"shape \(4, 9\)"),
        (np.zeros((4, 9), np.float32), "float64, as the other arguments"),
        (np.zeros((9, 4)).T, "a contiguous array"),
        ([[0.0] * 9] * 4, "a NumPy array of float32 or float64"),
    ],
)
def test_clamps_that_do_not_fit_are_refused(clamps: Any, expected: str) -> None:
    with pytest.raises(GatewrightError, match=rf"^clamps: expected {expected}"):
        forward(made(2, 1, 3, 9), clamps=clamps)


@pytest.mark.parametrize("P", [0, 5])
def test_the_adjoint_of_held_gates_is_the_slope(P: int) -> None:
    """Along a random direction in each input, and the same with checkpoints."""
    problem, clamps, eps = made(5, 2, 3, 9, P, record=True), clamps_of(9, np.float64), 1e-6
    kept = forward(problem, clamps=clamps)
    got = backward(problem, kept, clamps=clamps)
    again = backward(problem, forward(problem, clamps=clamps, checkpoint=1), clamps=clamps, checkpoint=1)
    assert_same_bits(again._asdict(), got._asdict())
    draw = np.random.default_rng(1)

    def loss() -> float:
        found = forward(problem, clamps=clamps)
        names = ("y", "h_n", "c_n", "gates", "cell")
        return sum(float(np.sum(getattr(problem, f"d{name}") * getattr(found, name))) for name in names)

    inputs = {"dx": problem.x, "dh_0": problem.h_0, "dc_0": problem.c_0, "db": problem.weights.b_ih}
    for name, array in {**inputs, "dW_ih": problem.weights.W_ih, "dW_hh": problem.weights.W_hh}.items():
        direction = draw.normal(size=array.shape)
        array += eps * direction
        above = loss()
        array -= 2 * eps * direction
        slope = (above - loss()) / (2 * eps)
        array += eps * direction
        np.testing.assert_allclose(np.sum(getattr(got, name) * direction), slope, rtol=1e-6, atol=1e-6)
