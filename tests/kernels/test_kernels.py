"""The kernels against `gatewright.equations`: every target, type and size, outputs and gradients."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright import _kernels, kernels
from gatewright.errors import GatewrightError
from tests.support.kernel_cases import (
    BACKWARD,
    DTYPES,
    FORWARD,
    TARGETS,
    Problem,
    assert_close,
    assert_same_bits,
    backward,
    both,
    fill_free_memory_with_nan,
    forward,
    judged,
    made,
)

pytestmark = pytest.mark.slow

SIZES = (1, 3, 7, 8, 9, 31, 33, 100, 257)


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.use_target(request.param):
        yield request.param


@pytest.fixture(params=DTYPES, ids=["f32", "f64"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


def each_target_agrees(problem: Problem, *options: dict[str, Any]) -> None:
    """Run a problem on each target, with each of the options; its judge, who takes longer, is asked once."""
    expected = judged(problem)
    for target in TARGETS:
        with kernels.use_target(target):
            for each in options or ({},):
                assert_close(both(problem, **each), expected, target)


@pytest.mark.parametrize("H", SIZES)
def test_every_size_is_what_the_equations_give(dtype: Any, H: int) -> None:
    for n, D in enumerate(SIZES):
        each_target_agrees(made(1 + n % 4, 1 + (n + H) % 5, D, H, dtype=dtype, seed=n, reverse=n % 2 == 1))


@pytest.mark.parametrize("P", [1, 3, 8, 9, 31, 100])
def test_every_size_of_a_projection_is_what_the_equations_give(dtype: Any, P: int) -> None:
    for n, H in enumerate((1, 7, 8, 33, 101)):
        each_target_agrees(made(3, 1 + n, 1 + 3 * n, H, P, dtype=dtype, seed=n, reverse=n % 2 == 1, record=True))


@pytest.mark.parametrize("B", [1, 2, 3, 4, 5, 6, 7, 9, 13, 300])
def test_every_height_of_a_batch_is_what_the_equations_give(dtype: Any, B: int) -> None:
    for D, H in ((4, 33), (17, 9)):
        each_target_agrees(made(5 if B < 100 else 2, B, D, H, dtype=dtype))


@pytest.mark.parametrize("sizes", [(20, 100, 3, 70), (29, 50, 9, 70, 20), (40, 3, 33, 140)])
def test_several_chunks_and_threads_are_what_the_equations_give(dtype: Any, sizes: tuple[int, ...]) -> None:
    problem = made(*sizes, dtype=dtype, record=True)
    T, B, _, H = sizes[:4]
    assert kernels.chunk_steps(B, H, dtype) < T or B < 50
    each_target_agrees(problem, {"threads": 1}, {"threads": 3, "split": "rows"}, {"threads": 2, "split": "units"})


def test_a_long_sequence_is_what_the_equations_give(dtype: Any) -> None:
    problem = made(300, 1, 5, 257, dtype=dtype)
    assert kernels.chunk_steps(1, 257, dtype) < 300
    each_target_agrees(problem)


lengths = st.lists(st.integers(1, 9), min_size=1, max_size=7).map(lambda rows: sorted(rows, reverse=True))


@st.composite
def problems(draw: st.DrawFn) -> tuple[Problem, dict[str, Any]]:
    """A problem of any form, and options that change none of its results."""
    options: dict[str, Any] = {name: draw(st.booleans()) for name in ("bias", "reverse", "record")}
    T, B = draw(st.integers(1, 9)), draw(st.integers(1, 7))
    if draw(st.booleans()):
        rows = draw(lengths)
        T, B = rows[0], len(rows)
        options["batch_sizes"] = [sum(length > t for length in rows) for t in range(T)]
    sizes = st.integers(1, 40)
    D, H, P = draw(sizes), draw(sizes), draw(st.sampled_from([0, 0, draw(sizes)]))
    problem = made(T, B, D, H, P, dtype=draw(st.sampled_from(DTYPES)), seed=draw(st.integers(0, 99)), **options)
    unread = draw(st.sets(st.sampled_from(["dy", "dh_n", "dc_n"])))
    problem = dataclasses.replace(problem, **dict.fromkeys(unread))
    return problem, {"threads": draw(st.integers(1, 3)), "split": draw(st.sampled_from(["", "rows", "units"]))}


@given(problems(), st.sampled_from(TARGETS))
@settings(max_examples=150, deadline=None)
def test_any_problem_is_what_the_equations_give(drawn: tuple[Problem, dict[str, Any]], target: str) -> None:
    problem, options = drawn
    with kernels.use_target(target):
        assert_close(both(problem, **options), judged(problem))


@pytest.mark.parametrize("unwanted", ["h_0", "c_0", "both"])
def test_states_that_are_not_given_are_zero(target: str, dtype: Any, unwanted: str) -> None:
    problem = made(4, 3, 5, 9, dtype=dtype)
    names = ["h_0", "c_0"] if unwanted == "both" else [unwanted]
    zeros = dataclasses.replace(problem, **{name: np.zeros_like(getattr(problem, name)) for name in names})
    without = dataclasses.replace(problem, **dict.fromkeys(names))
    assert_same_bits(forward(without)._asdict(), forward(zeros)._asdict())


@pytest.mark.parametrize("H", [8, 33])
@pytest.mark.parametrize("P", [0, 5])
@pytest.mark.parametrize("D", [1, 4, 5, 20])
def test_what_is_not_wanted_is_not_there_and_changes_nothing(
    target: str, dtype: Any, D: int, P: int, H: int
) -> None:
    problem = made(6, 4, D, H, P, dtype=dtype, record=True)
    kept = forward(problem)
    whole = backward(problem, kept)
    without_x = backward(problem, kept, wanted=kernels.Wanted(x=False))
    without_weights = backward(problem, kept, wanted=kernels.Wanted(weights=False))
    neither = backward(problem, kept, wanted=kernels.Wanted(False, False))
    assert_same_bits(without_x._asdict(), whole._replace(dx=None)._asdict())
    weights = dict.fromkeys(("dW_ih", "dW_hh", "db", "dW_hr"))
    assert_same_bits(without_weights._asdict(), whole._replace(**weights)._asdict())
    assert_same_bits(neither._asdict(), whole._replace(dx=None, **weights)._asdict())
    for missing in ("dy", "dh_n", "dc_n", "dgates", "dcell"):
        zeros = dataclasses.replace(problem, **{missing: np.zeros_like(getattr(problem, missing))})
        none = dataclasses.replace(problem, **{missing: None})
        for a, b in zip(backward(none, kept), backward(zeros, kept), strict=True):
            np.testing.assert_array_equal(a, b)


def laid_out(array: np.ndarray, how: str) -> np.ndarray:
    """The same values with other strides."""
    if how == "batch first":
        return np.ascontiguousarray(array.swapaxes(0, 1)).swapaxes(0, 1)
    if how == "backwards":
        return np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]
    steps, rows, width = array.shape
    wide = np.full((2 * steps, 3 * rows, width + 2), np.nan, array.dtype)
    wide[::2, 1::3, 1:-1] = array
    return wide[::2, 1::3, 1:-1]


@pytest.mark.parametrize("how", ["batch first", "backwards", "strided"])
@pytest.mark.parametrize("B", [1, 2, 9])
def test_strides_change_no_bit(target: str, dtype: Any, how: str, B: int) -> None:
    for D, reverse in ((3, False), (12, True)):
        problem = made(7, B, D, 17, dtype=dtype, reverse=reverse, record=True)
        names = ("x", "dy", "dgates", "dcell")
        other = dataclasses.replace(problem, **{name: laid_out(getattr(problem, name), how) for name in names})
        assert_same_bits(both(other), both(problem))


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("B", [1, 2, 9])
def test_one_value_for_all_steps_or_rows_may_be_a_view(
    target: str, dtype: Any, axes: tuple[int, ...], B: int
) -> None:
    for D, reverse in ((3, False), (12, True)):
        problem = made(7, B, D, 17, dtype=dtype, reverse=reverse, record=True)
        views = {}
        for name in ("x", "dy", "dgates", "dcell"):
            array = getattr(problem, name)
            one = array[tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(3))]
            views[name] = np.broadcast_to(one, array.shape)
            assert all(views[name].strides[axis] == 0 for axis in axes if array.shape[axis] > 1)
        copies = {name: np.ascontiguousarray(view) for name, view in views.items()}
        copy = dataclasses.replace(problem, **copies)
        assert_same_bits(both(dataclasses.replace(problem, **views)), both(copy))
        assert_close(both(copy), judged(copy))


@pytest.mark.parametrize("name", ["gates", "cell"])
def test_what_was_kept_may_be_strided_or_is_refused(name: str) -> None:
    problem = made(5, 3, 4, 8)
    kept = forward(problem)
    other = kept._replace(**{name: laid_out(getattr(kept, name), "strided")})
    with contextlib.suppress(GatewrightError):
        assert_same_bits(backward(problem, other)._asdict(), backward(problem, kept)._asdict())


@pytest.mark.parametrize("P", [0, 4])
@pytest.mark.parametrize("sizes", [(0, 3), (4, 0), (0, 0)])
def test_no_steps_or_no_rows_give_empty_results(target: str, dtype: Any, sizes: tuple[int, int], P: int) -> None:
    T, B = sizes
    problem = made(T, B, 5, 9, P, dtype=dtype)
    for checkpoint in (0, 2):
        found = both(problem, checkpoint=checkpoint)
        kept = {name: found.pop(name) for name in ("gates", "cell")}
        expected = judged(problem)
        assert_close(found, {name: value for name, value in expected.items() if name not in kept})
        assert all(array is None or array.size == 0 for array in kept.values())
        if T == 0:
            assert_same_bits({"h": found["h_n"], "c": found["c_n"]}, {"h": problem.h_0, "c": problem.c_0})
            assert_same_bits({"h": found["dh_0"], "c": found["dc_0"]}, {"h": problem.dh_n, "c": problem.dc_n})
        assert not any(np.any(found[name]) for name in ("dW_ih", "dW_hh", "db"))


def test_no_packed_steps_give_empty_results(target: str, dtype: Any) -> None:
    problem = made(0, 0, 5, 9, dtype=dtype, batch_sizes=[])
    assert_close(both(problem), judged(problem))


@pytest.mark.parametrize("sizes", [(3, 2, 3, 5, 0), (12, 40, 3, 65, 20), (40, 1, 70, 257, 0)])
def test_no_result_depends_on_what_memory_held(dtype: Any, sizes: tuple[int, ...]) -> None:
    T, B = sizes[:2]
    packed = [max(1, B - 3 * t) for t in range(T)]
    for options in ({"reverse": True}, {"batch_sizes": packed}, {"batch_sizes": packed, "reverse": True}):
        problem = made(*sizes, dtype=dtype, **options)
        expected = judged(problem)
        for target, call in itertools.product(TARGETS, ({}, {"checkpoint": 2}, {"threads": 2})):
            _kernels.release_memory()
            fill_free_memory_with_nan()
            assert _kernels.kept_memory() > 1 << 20
            with kernels.use_target(target):
                found = both(problem, **call)
            if "checkpoint" in call:
                assert np.isfinite(found["cell"]).all()
                found["gates"], found["cell"] = expected["gates"], expected["cell"]
            assert_close(found, expected, f"{target} {call}")


def test_a_step_does_not_depend_on_what_memory_held(target: str, dtype: Any) -> None:
    for H, P in ((9, 0), (300, 0), (300, 20)):
        problem = made(1, 70, 5, H, P, dtype=dtype)
        fill_free_memory_with_nan()
        packed = kernels.pack(problem.weights)
        fill_free_memory_with_nan()
        h, c = kernels.step(packed, problem.x[0], problem.h_0, problem.c_0)
        expected = judged(problem)
        assert_close({"h": h, "c": c}, {"h": expected["h_n"], "c": expected["c_n"]})


def test_inputs_are_not_written(target: str, dtype: Any) -> None:
    problem = made(9, 4, 5, 33, 7, dtype=dtype, record=True)
    kept = forward(problem)
    weights = problem.weights.present()
    given = [problem.x, problem.h_0, problem.c_0, *weights, problem.dy, problem.dh_n, problem.dc_n]
    given += [problem.dgates, problem.dcell, *kept[:5]]
    before = [array.copy() for array in given]
    for array in given:
        array.flags.writeable = False
    backward(problem, kept)
    forward(problem)
    kernels.step(kernels.pack(problem.weights), problem.x[0], problem.h_0, problem.c_0)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(given, before, strict=True))


def test_data_may_stand_at_any_address(target: str, dtype: Any) -> None:
    problem = made(5, 4, 9, 33, dtype=dtype)

    def shifted(array: np.ndarray) -> np.ndarray:
        memory = np.zeros(array.nbytes + 1, np.uint8)[1:].view(dtype).reshape(array.shape)
        memory[...] = array
        assert not memory.flags.aligned
        return memory

    names = ("x", "h_0", "c_0", "dy", "dh_n", "dc_n")
    other = dataclasses.replace(problem, **{name: shifted(getattr(problem, name)) for name in names})
    assert_same_bits(both(other), both(problem))


def test_names_of_results_are_those_of_the_equations() -> None:
    assert (*FORWARD, "extra") == kernels.Forward._fields
    further = tuple(f"d{name}" for name in kernels.LayerWeights._fields[5:])
    assert (*BACKWARD, *further, "dh_reset", "dc_reset") == kernels.Backward._fields


@pytest.mark.parametrize("reverse", [False, True], ids=["", "reverse"])
@pytest.mark.parametrize("kind", ["lengths", "mask"])
@pytest.mark.parametrize("arithmetic", ["f32", "f64", "bf16"])
def test_chunks_that_no_row_has_add_nothing_to_gradients(kind: str, arithmetic: str, reverse: bool) -> None:
    """Sums begin at zero whatever is in their memory, also where the last chunks, or all, have no row."""
    B, D, H, P = 200, 2, 64, 3
    dtype, compute = np.float64 if arithmetic == "f64" else np.float32, "bf16" if arithmetic == "bf16" else "full"
    unit = kernels.chunk_steps(B, H, np.uint16 if compute == "bf16" else dtype)
    problem = made(2 * unit + 1, B, D, H, P, dtype=dtype, reverse=reverse)
    poison = dataclasses.replace(problem, dy=np.full_like(problem.dy, np.nan))
    T, shapes = len(problem.x), [(4 * H, D), (4 * H, P), (4 * H,), (P, H)]
    for count in (0, 1, unit):
        within = np.arange(T) < count if kind == "lengths" or not reverse else np.arange(T) >= T - count
        steps = kernels.Steps(lengths=np.full(B, count))
        if kind == "mask":
            steps = kernels.Steps(mask=np.repeat(within[:, None], B, 1))
        x, dy = problem.x.copy(), problem.dy.copy()
        x[~within], dy[~within] = np.nan, np.nan if kind == "lengths" else 0  # over a gap y is the state
        options = {"checkpoint": 1, "compute": compute, "steps": steps}
        sparse = dataclasses.replace(problem, x=x, dy=dy)
        kept = forward(sparse, **options)
        backward(poison, forward(poison, compute=compute), compute=compute)  # leaves NaN in the workspaces
        gradients = [np.full(shape, np.nan, dtype) for shape in shapes]
        found = backward(sparse, kept, out=[None] * 3 + gradients + [None] * 6, **options)._asdict()
        assert not found["dx"][~within].any()
        if count == 0:
            assert not any(gradient.any() for gradient in gradients)
            continue
        found["dx"] = found["dx"][within]
        short = dataclasses.replace(problem, x=problem.x[within], dy=problem.dy[within])
        expected = backward(short, forward(short, compute=compute), compute=compute)
        assert_same_bits(found, expected._asdict())
        if compute == "full" and count == 1:
            assert_close(found, {name: each for name, each in judged(short).items() if name in found})
