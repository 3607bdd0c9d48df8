"""Products in bfloat16: the values of `gatewright.equations`, one row's bits whatever stands around it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import bfloat16, equations, kernels
from gatewright.errors import GatewrightError
from tests.support.amx import amx_chain
from tests.support.kernel_cases import BF16_TARGETS, SUPPORTED, Problem, assert_same_bits, forward, made

#: The targets that multiply and add with one rounding, in the order of `bfloat16.chain`.
FUSED = [target for target in SUPPORTED if target not in ("amx", "baseline")]
SHAPES = [(1, 1, 1), (5, 3, 7), (13, 8, 33), (2, 33, 16), (7, 17, 40)]  # B, D, H
LAYOUTS: list[dict[str, Any]] = [
    {},
    {"reverse": True, "P": 5},
    {"batch_sizes": [11, 11, 9, 9, 4, 1, 1]},
    {"batch_sizes": [11, 8, 8, 7, 7, 3, 2], "reverse": True},
]


@pytest.fixture(params=BF16_TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.use_target(request.param):
        yield request.param


def problem_of(T: int, B: int, D: int, H: int, P: int = 0, **options: Any) -> Problem:
    return made(T, B, D, H, P, dtype=np.float32, **options)


def run(problem: Problem, **options: Any) -> kernels.Forward:
    return forward(problem, **{"compute": "bf16", "kept": "float32", **options})


@pytest.mark.parametrize("shape", SHAPES)
def test_one_step_is_that_of_the_equations(
    shape: tuple[int, int, int], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_of(1, *shape)
    ours = run(problem)
    if target.startswith("amx"):
        monkeypatch.setattr("gatewright.equations.plain.chain", amx_chain)
    after = equations.step(problem.x[0], problem.h_0, problem.c_0, problem.weights, compute="bf16")
    gates = np.concatenate([after.input_gate, after.forget_gate, after.candidate, after.output_gate], -1)
    tolerance = 1e-6 if target != "baseline" else 3e-6  # a product and a sum, each rounded
    for got, expected in ((ours.gates, gates), (ours.cell, after.cell), (ours.y, after.hidden)):
        np.testing.assert_allclose(got[0], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("target", FUSED)
def test_sums_have_the_bits_of_the_equations(target: str) -> None:
    draw = np.random.default_rng(3)
    with kernels.use_target(target):
        for rows, D, width in ((1, 1, 1), (4, 2, 7), (13, 31, 33), (7, 64, 70)):
            x, W, b = (
                draw.standard_normal(shape).astype(np.float32) for shape in ((rows, D), (width, D), (width,))
            )
            expected = bfloat16.chain(b, x, W)
            for threads in (1, 3):
                assert kernels.linear(x, W, b, threads, compute="bf16").tobytes() == expected.tobytes()
            bits = [bfloat16.to_bits(array) for array in (x, W, b)]
            without_bias = kernels.linear(bits[0], bits[1], None, compute="bf16")
            assert without_bias.dtype == np.uint16
            assert (without_bias == bfloat16.to_bits(bfloat16.chain(np.float32(0), x, W))).all()

        # Cells at their limits: o tanh(c) is -1, 0 or 1, so that all of the projection is exact.
        problem = problem_of(1, 5, 3, 7, 5)
        signs = np.where(draw.random((5, 7)) < 0.5, -1, 1).astype(np.float32)
        b_ih = np.full(28, 99, np.float32)
        b_ih[7 * 2 : 7 * 3] = 0
        weights = problem.weights._replace(b_ih=b_ih, b_hh=0 * b_ih)
        held = dataclasses.replace(problem, c_0=60 * signs, weights=weights)
        W_hr = problem.weights.W_hr
        assert run(held).y[0].tobytes() == bfloat16.chain(np.float32(0), signs, W_hr).tobytes()


def test_fused_targets_agree_to_the_bit() -> None:
    for seed in range(4):
        problem = problem_of(9, 4, 5 + seed, 33, (0, 6)[seed % 2], seed=seed)
        found = []
        for target in FUSED:
            with kernels.use_target(target):
                found.append(run(problem)._asdict())
        for other in found[1:]:
            assert_same_bits(other, found[0])


@pytest.mark.parametrize("options", LAYOUTS)
def test_neither_batch_nor_threads_nor_what_is_kept_changes_a_bit(options: dict[str, Any], target: str) -> None:
    problem = problem_of(7, 11, 9, 35, **options)
    whole = run(problem)
    for changed in (
        {"threads": 3, "split": "rows"},
        {"threads": 3, "split": "units"},
        {"clamps": np.full((4, 35), np.nan, np.float32)},
    ):
        assert_same_bits(run(problem, **changed)._asdict(), whole._asdict())
    outputs = {"gates": None, "cell": None}
    narrow = run(problem, kept="bf16")
    for name in outputs:
        assert (getattr(narrow, name) == bfloat16.to_bits(getattr(whole, name))).all()
    for other in (narrow, run(problem, keep=False), run(problem, checkpoint=2)):
        assert_same_bits(other._replace(**outputs)._asdict(), whole._replace(**outputs)._asdict())
    for b in (0, 3, 10):
        row, place = run(problem.row(b)), problem.place(b)
        for name in ("y", "gates", "cell"):
            assert getattr(row, name)[:, 0].tobytes() == getattr(whole, name)[place].tobytes()
        last = whole.y[place][0 if problem.reverse else -1]
        assert row.h_n[0].tobytes() == whole.h_n[b].tobytes() == last.tobytes()


@pytest.mark.parametrize(("D", "P"), [(9, 0), (8, 5)])
def test_chunks_and_steps_give_the_whole(D: int, P: int, target: str) -> None:
    problem = problem_of(9, 3, D, 33, P)
    whole = run(problem)
    first = run(dataclasses.replace(problem, x=problem.x[:4]))
    rest = run(dataclasses.replace(problem, x=problem.x[4:], h_0=first.h_n, c_0=first.c_n))
    joined = {name: np.concatenate([getattr(first, name), getattr(rest, name)]) for name in ("y", "gates", "cell")}
    assert_same_bits({**joined, "h_n": rest.h_n, "c_n": rest.c_n}, whole._asdict())

    packed = kernels.pack(problem.weights, "bf16")
    h, c = problem.h_0, problem.c_0
    for t, x in enumerate(problem.x):
        alone = kernels.step(packed, x[1], h[1], c[1])
        h, c = kernels.step(packed, bfloat16.to_bits(x), h, c)
        assert h.tobytes() == whole.y[t].tobytes()
        assert c.tobytes() == whole.cell[t].tobytes()
        assert [a.tobytes() for a in alone] == [h[1].tobytes(), c[1].tobytes()]


def test_arrays_may_be_of_bfloat16_themselves(target: str) -> None:
    problem = problem_of(4, 5, 7, 19, 6)
    whole = run(problem)
    narrow_weights: Any = kernels.LayerWeights(*(bfloat16.to_bits(w) for w in problem.weights if w is not None))
    biases = {name: bfloat16.from_bits(getattr(narrow_weights, name)) for name in ("b_ih", "b_hh")}
    rounded = run(dataclasses.replace(problem, weights=problem.weights._replace(**biases)))
    narrow = run(
        dataclasses.replace(problem, x=bfloat16.to_bits(problem.x), weights=narrow_weights), kept="bf16", threads=2
    )
    assert (narrow.y == bfloat16.to_bits(rounded.y)).all()
    assert (narrow.cell == bfloat16.to_bits(rounded.cell)).all()
    assert narrow.h_n.tobytes() == rounded.h_n.tobytes()

    # A tensor, whose rows stand apart; and memory of the caller's.
    x = torch.from_numpy(problem.x).bfloat16().repeat_interleave(2, 0)[::2]
    y = np.empty(whole.y.shape, np.uint16)
    out = (y, None, None, None, None, None)
    again = kernels.forward(x, *problem.inputs[1:], problem.weights, problem.args(compute="bf16"), out=out)
    assert again.y is y
    assert (y == bfloat16.to_bits(whole.y)).all()
    y_float = np.empty(whole.y.shape, np.float32)
    kernels.forward(x, *problem.inputs[1:], problem.weights, problem.args(compute="bf16"), out=(y_float, *out[1:]))
    assert y_float.tobytes() == whole.y.tobytes()


def test_extreme_numbers_stay_in_their_rows(target: str) -> None:
    problem = problem_of(3, 4, 5, 18)
    x = problem.x.copy()
    x[:, 1, 2], x[1, 2, 0], x[:, 3] = np.nan, np.inf, 1e-39
    x[:, 3, 1] = 3e38  # rounds to infinity as bfloat16 does
    ours = run(dataclasses.replace(problem, x=x))
    whole = run(problem)
    assert ours.y[:, 0].tobytes() == whole.y[:, 0].tobytes()
    assert np.isnan(ours.y[:, 1]).all()
    zeros = x.copy()
    zeros[:, 3, [0, 2, 3, 4]] = 0
    assert run(dataclasses.replace(problem, x=zeros)).y[:, 3].tobytes() == ours.y[:, 3].tobytes()
    with np.errstate(invalid="ignore"):
        judge, _ = equations.forward(x, problem.weights, problem.h_0, problem.c_0, compute="bf16")
    np.testing.assert_array_equal(np.isnan(ours.y), np.isnan(judge))
    # The mode in which the kernels flush subnormal numbers ends with the call.
    assert np.float32(1e-39) * np.float32(1.0) > 0

    empty = run(problem_of(0, 2, 3, 5))
    assert empty.y.shape == (0, 2, 5)
    problem = problem_of(0, 2, 3, 5)
    assert empty.h_n.tobytes() == problem.h_0.tobytes()
    assert empty.c_n.tobytes() == problem.c_0.tobytes()


def test_gates_are_held_as_in_full_arithmetic(target: str) -> None:
    problem = problem_of(5, 4, 3, 17)
    clamps = np.full((4, 17), np.nan, np.float32)
    clamps[1, 3], clamps[3, 5] = 1, 0
    ours = run(problem, clamps=clamps)
    assert (ours.gates[..., 17 + 3] == 1).all()
    assert (ours.y[..., 5] == 0).all()


def test_wrong_arguments_are_named() -> None:
    problem = problem_of(2, 2, 3, 4)
    for options, name in (({"compute": "half"}, "compute"), ({"compute": "bf16", "kept": "int8"}, "kept")):
        with pytest.raises(GatewrightError, match=rf"^{name}: expected"):
            forward(problem, **options)
    with pytest.raises(GatewrightError, match=r"^x: expected"):
        forward(dataclasses.replace(problem, x=bfloat16.to_bits(problem.x)))
    with pytest.raises(GatewrightError, match=r"^x: expected float32 or bfloat16"):
        run(dataclasses.replace(problem, x=problem.x.astype(np.float64)))
    with pytest.raises(GatewrightError, match=r"^h_0: expected float32"):
        run(dataclasses.replace(problem, h_0=bfloat16.to_bits(problem.h_0)))
    with pytest.raises(GatewrightError, match=r"^compute: expected"):
        kernels.pack(problem.weights, "int8")
