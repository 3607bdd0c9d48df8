"""Products by tile registers, with a model of their instruction: its order of sums to the bit, in each use."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gatewright import bfloat16, equations, kernels
from tests.support.amx import amx_chain
from tests.support.kernel_cases import BF16_TARGETS, Problem, assert_same_bits, forward, made

AMX = [target for target in BF16_TARGETS if target.startswith("amx")]


@pytest.fixture(params=AMX)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.use_target(request.param):
        yield request.param


def run(problem: Problem, **options: Any) -> kernels.Forward:
    return forward(problem, **{"compute": "bf16", "kept": "float32", **options})


def problem_of(*sizes: int, **options: Any) -> Problem:
    return made(*sizes, dtype=np.float32, **options)


@pytest.mark.parametrize(
    ("rows", "D", "width"),
    [(1, 32, 1), (16, 31, 16), (5, 30, 7), (17, 64, 70), (33, 95, 33), (3, 130, 20), (15, 33, 50)],
)
def test_sums_have_the_bits_of_the_instruction(rows: int, D: int, width: int, target: str) -> None:
    draw = np.random.default_rng(D)
    x, W, b = (draw.standard_normal(shape).astype(np.float32) for shape in ((rows, D), (width, D), (width,)))
    expected = amx_chain(b, x, W)
    for threads in (1, 3):
        assert kernels.linear(x, W, b, threads, compute="bf16").tobytes() == expected.tobytes()
    # Below 31 there is nothing for a register, and the bits are those of other targets.
    assert (expected == bfloat16.chain(b, x, W)).all() == (D < 31)


def test_subnormal_numbers_are_zeros(target: str) -> None:
    W, b = np.eye(2, 64, dtype=np.float32), np.zeros(2, np.float32)
    x = np.zeros((3, 64), np.float32)
    x[0, :2], x[1, :2], x[2, 1] = 1e-39, (2e-38, 3e-38), 1
    W[1, 1] = 0.25
    got = kernels.linear(x, W, b, compute="bf16")
    assert got.tobytes() == amx_chain(b, x, W).tobytes()
    assert (got[0] == 0).all()
    assert got[1, 1] == 0
    assert got[2, 1] == 0.25


@pytest.mark.parametrize("sizes", [(1, 19, 70, 45), (1, 1, 32, 64), (1, 34, 5, 33), (1, 16, 99, 20, 37)])
def test_a_step_is_that_of_the_equations(
    sizes: tuple[int, ...], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatewright.equations.plain.chain", amx_chain)
    problem = problem_of(*sizes)
    ours = run(problem)
    after = equations.step(problem.x[0], problem.h_0, problem.c_0, problem.weights, compute="bf16")
    gates = np.concatenate([after.input_gate, after.forget_gate, after.candidate, after.output_gate], -1)
    for got, expected in ((ours.gates, gates), (ours.cell, after.cell)):
        np.testing.assert_allclose(got[0], expected, rtol=1e-6, atol=1e-6)
    # With a projection, a digit of o tanh(c) that the last one of tanh rounds elsewhere.
    tolerance = 2e-3 if len(sizes) > 4 else 1e-6
    np.testing.assert_allclose(ours.y[0], after.hidden, rtol=tolerance, atol=tolerance)


def test_sequences_are_those_of_the_equations_but_for_roundings(target: str) -> None:
    for options in ({}, {"P": 34}, {"reverse": True}):
        problem = problem_of(9, 3, 40, 48, **options)
        ours = run(problem)
        walk = slice(None, None, -1 if problem.reverse else 1)
        y, record = equations.forward(problem.x[walk], problem.weights, problem.h_0, problem.c_0, compute="bf16")
        np.testing.assert_allclose(ours.y[walk], y, atol=4e-3)
        np.testing.assert_allclose(ours.c_n, record.c_n, atol=8e-3)


@pytest.mark.parametrize(
    "options", [{}, {"P": 33, "reverse": True}, {"batch_sizes": [19, 19, 12, 11, 11, 1, 1]}], ids=str
)
def test_neither_batch_nor_threads_nor_steps_change_a_bit(options: dict[str, Any], target: str) -> None:
    problem = problem_of(7, 19, 37, 70, **options)
    whole = run(problem)
    for changed in ({"threads": 3, "split": "rows"}, {"threads": 3, "split": "units"}):
        assert_same_bits(run(problem, **changed)._asdict(), whole._asdict())
    assert run(problem, keep=False).y.tobytes() == whole.y.tobytes()
    for b in (0, 10, 18):
        row, place = run(problem.row(b)), problem.place(b)
        for name in ("y", "gates", "cell"):
            assert getattr(row, name)[:, 0].tobytes() == getattr(whole, name)[place].tobytes()
    if problem.batch_sizes or problem.reverse:
        return
    packed = kernels.pack(problem.weights, "bf16")
    h, c = problem.h_0, problem.c_0
    for t in range(7):
        h, c = kernels.step(packed, problem.x[t], h, c)
        assert h.tobytes() == whole.y[t].tobytes()
    first = run(dataclasses.replace(problem, x=problem.x[:4]))
    rest = run(dataclasses.replace(problem, x=problem.x[4:], h_0=first.h_n, c_0=first.c_n))
    assert np.concatenate([first.y, rest.y]).tobytes() == whole.y.tobytes()


def test_full_arithmetic_is_that_of_avx512(target: str) -> None:
    problem = problem_of(3, 5, 40, 33)
    ours = forward(problem)
    with kernels.use_target("avx512"):
        assert_same_bits(forward(problem)._asdict(), ours._asdict())


def test_the_model_runs_by_its_name_alone() -> None:
    assert "amx-model" not in kernels.info().targets
    assert kernels.info().target != "amx-model"
