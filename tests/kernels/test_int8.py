"""Whole sequences with products of whole numbers of one byte: values, the same bits however they are taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gatewright import Stream, kernels
from gatewright.errors import GatewrightError
from tests.support import int8
from tests.support.kernel_cases import (
    FORWARD,
    SUPPORTED,
    Problem,
    assert_same_bits,
    backward,
    forward,
    made,
)

#: T, B, D, H, P, and what else: rows for tiles of every height, blocks with a rest, D and P of every rest to 4.
CASES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((4, 1, 3, 5), {}),
    ((3, 7, 9, 17), {"bias": False}),
    ((5, 13, 16, 33), {"reverse": True}),
    ((4, 9, 6, 21, 7), {}),
    ((4, 3, 10, 18, 10), {"reverse": True, "batch_sizes": [3, 3, 2, 1]}),
    ((5, 11, 5, 40), {"batch_sizes": [11, 7, 7, 2, 1]}),
]


@pytest.fixture(params=SUPPORTED)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.use_target(request.param):
        yield request.param


def problem_of(T: int, B: int, D: int, H: int, P: int = 0, **options: Any) -> Problem:
    problem = made(T, B, D, H, P, dtype=np.float32, **options)
    W_ih = problem.weights.W_ih.copy()
    W_ih[min(3, H)] = 0
    h_0 = problem.h_0 if P else np.tanh(problem.h_0)
    return dataclasses.replace(problem, h_0=h_0, weights=problem.weights._replace(W_ih=W_ih))


def run(problem: Problem, **options: Any) -> kernels.Forward:
    return forward(problem, compute="int8", **options)


@pytest.mark.parametrize(("sizes", "options"), CASES)
def test_each_step_is_that_of_whole_numbers(sizes: tuple[int, ...], options: dict[str, Any], target: str) -> None:
    problem = problem_of(*sizes, **options)
    problem.x[0, :, ...] *= 100  # each row has a scale of its own
    problem.x[-1] = 0
    ours = run(problem)
    walk = slice(None, None, -1 if problem.reverse else 1)
    for b in range(len(problem.h_0)):
        place = problem.place(b)
        x, y, cell, gates = (each[place][walk] for each in (problem.x, ours.y, ours.cell, ours.gates))
        h, c = problem.h_0[b], problem.c_0[b]
        for t in range(len(x)):
            expected = int8.step(problem.weights, x[t], h, c)
            h, c = y[t], cell[t]
            for got, value in zip((h, c, gates[t]), expected, strict=True):
                np.testing.assert_allclose(got, value, atol=3e-6, rtol=1e-6)
        assert (ours.h_n[b] == h).all()
        assert (ours.c_n[b] == c).all()


@pytest.mark.parametrize(("sizes", "options"), CASES)
def test_fused_targets_agree_to_the_bit(sizes: tuple[int, ...], options: dict[str, Any]) -> None:
    problem = problem_of(*sizes, **options)
    found = []
    for name in (name for name in SUPPORTED if name != "baseline"):
        with kernels.use_target(name):
            found.append(run(problem)._asdict())
    for other in found[1:]:
        assert_same_bits(other, found[0])


@pytest.mark.parametrize(
    ("sizes", "options"), [*CASES, ((3, 20, 64, 90), {}), ((9, 2, 70, 200), {}), ((2, 19, 60, 90, 33), {})]
)
def test_neither_batch_nor_threads_nor_a_record_changes_a_bit(
    sizes: tuple[int, ...], options: dict[str, Any], target: str
) -> None:
    problem = problem_of(*sizes, **options)
    whole = run(problem)._asdict()
    for how in ({"threads": 2, "split": "rows"}, {"threads": 3, "split": "units"}, {"threads": 2, "keep": False}):
        found = run(problem, **how)._asdict()
        if not how.get("keep", True):
            found |= {name: whole[name] for name in ("gates", "cell")}
        assert_same_bits(found, whole)
    for b in {0, len(problem.h_0) // 2, len(problem.h_0) - 1}:
        alone = run(problem.row(b))
        for name in FORWARD:
            got, expected = getattr(alone, name), whole[name]
            states = name in ("h_n", "c_n")
            assert (got[0] if states else got[:, 0]).tobytes() == expected[
                b if states else problem.place(b)
            ].tobytes()


@pytest.mark.parametrize("P", [0, 6])
def test_a_stream_and_chunks_give_the_whole(P: int, target: str) -> None:
    problem = dataclasses.replace(problem_of(11, 5, 9, 19, P), h_0=np.zeros((5, P or 19), np.float32))
    problem = dataclasses.replace(problem, c_0=np.zeros((5, 19), np.float32))
    whole = run(problem)
    first = run(dataclasses.replace(problem, x=problem.x[:4]))
    rest = run(dataclasses.replace(problem, x=problem.x[4:], h_0=first.h_n, c_0=first.c_n))
    assert np.concatenate([first.y, rest.y]).tobytes() == whole.y.tobytes()
    assert rest.c_n.tobytes() == whole.c_n.tobytes()
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_hr_l0")
    arrays = {name: W for name, W in zip(names, problem.weights[:5], strict=True) if W is not None}
    stream = Stream.from_weights(arrays, sessions=5, weights="int8")
    assert stream.run(problem.x).tobytes() == whole.y.tobytes()
    assert np.stack([stream.state(n).cell[0] for n in range(5)]).tobytes() == whole.c_n.tobytes()


def test_the_error_is_below_a_hundredth(target: str) -> None:
    problem = problem_of(24, 4, 64, 256)
    exact, ours = forward(problem), run(problem)
    for name in FORWARD:
        expected = getattr(exact, name)
        error = np.linalg.norm(getattr(ours, name) - expected) / np.linalg.norm(expected)
        assert 1e-4 < error < 0.01, name


def test_numbers_that_are_not_finite_are_seen(target: str) -> None:
    problem = problem_of(4, 5, 6, 18)
    whole = run(problem)
    x = problem.x.copy()
    x[1, 1, 2], x[2, 3, 0] = np.nan, -np.inf
    ours = run(dataclasses.replace(problem, x=x))
    for b, first in ((0, 4), (1, 1), (2, 4), (3, 2), (4, 4)):
        assert ours.y[:first, b].tobytes() == whole.y[:first, b].tobytes()
        assert np.isnan(ours.y[first:, b]).all()
    W_ih = problem.weights.W_ih.copy()
    W_ih[2, 1] = np.inf
    ours = run(dataclasses.replace(problem, weights=problem.weights._replace(W_ih=W_ih)))
    assert np.isnan(ours.y[..., 2]).all()

    empty = run(problem_of(0, 2, 3, 5))
    assert empty.y.shape == (0, 2, 5)
    assert empty.h_n.tobytes() == problem_of(0, 2, 3, 5).h_0.tobytes()


def test_what_it_cannot_do_is_named() -> None:
    problem = problem_of(2, 2, 3, 4)
    clamps = np.full((4, 4), np.nan, np.float32)
    for options, name in (({"clamps": clamps}, "clamps"), ({"checkpoint": 2}, "checkpoint")):
        with pytest.raises(GatewrightError, match=rf"^{name}: expected .* with compute='int8'"):
            run(problem, **options)
    with pytest.raises(GatewrightError, match=r"^x: expected float32 with compute='int8'"):
        forward(made(2, 2, 3, 4), compute="int8")
    with pytest.raises(GatewrightError, match=r"^compute: expected 'full' or 'bf16' for a backward pass"):
        backward(problem, run(problem), compute="int8")
    for wrong in (1.0001, np.nan):
        problem.h_0[1, 2] = wrong
        with pytest.raises(GatewrightError, match=r"^h_0: expected numbers from -1 to 1"):
            run(problem)
    projected = problem_of(2, 2, 3, 4, 3)
    projected.h_0[1, 2] = 7
    assert np.isfinite(run(projected).y).all()
    wide = made(1, 1, 133_145, 1, dtype=np.float32)
    with pytest.raises(GatewrightError, match=r"^compute: expected .* of more than 133144 numbers"):
        run(dataclasses.replace(wide, h_0=np.zeros((1, 1), np.float32)))
