"""On one target a row's results are the same bits, whatever stands beside it and however the work is cut."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewright import kernels
from gatewright.nn import LSTM
from tests.support.kernel_cases import DTYPES, TARGETS, Problem, assert_same_bits, backward, both, forward, made

pytestmark = pytest.mark.slow

#: The target is set once for all examples, and stays.
EXAMPLES = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@pytest.fixture(params=TARGETS, autouse=True)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.use_target(request.param):
        yield request.param


seeds, dtypes = st.integers(0, 999), st.sampled_from(DTYPES)
sizes = st.fixed_dictionaries(
    {
        "D": st.sampled_from([1, 4, 5, 8, 9, 40]),
        "H": st.sampled_from([1, 7, 8, 9, 16, 33, 70]),
        "P": st.sampled_from([0, 0, 3, 20]),
        "bias": st.booleans(),
        "reverse": st.booleans(),
        "dtype": dtypes,
        "seed": seeds,
    }
)
#: Sizes of which the work is enough for several threads.
LARGE = [(5, 11, 40, 70), (6, 3, 17, 130), (5, 60, 3, 40), (9, 13, 5, 66, 35), (20, 1, 33, 100)]


def row_of(problem: Problem, found: dict[str, Any], b: int) -> dict[str, Any]:
    """The part of all results that belongs to one row."""
    of_steps = {name: found[name][problem.place(b)] for name in ("y", "gates", "cell", "dx")}
    return {**of_steps, **{name: found[name][b] for name in ("h_n", "c_n", "dh_0", "dc_0")}}


@given(sizes, st.integers(1, 12), st.lists(st.integers(0, 3), min_size=2, max_size=15), st.booleans())
@settings(max_examples=40, **EXAMPLES)
def test_a_row_alone_is_the_row_in_any_batch(
    options: dict[str, Any], T: int, rows: list[int], record: bool
) -> None:
    # A batch in which each of a few rows stands at several places.
    few = made(T, 4, record=record, **options)
    states = {name: getattr(few, name)[rows] for name in ("h_0", "c_0", "dh_n", "dc_n")}
    steps = {name: getattr(few, name)[:, rows] for name in ("x", "dy")}
    if record:
        steps |= {name: getattr(few, name)[:, rows] for name in ("dgates", "dcell")}
    batch = dataclasses.replace(few, **states, **{name: np.ascontiguousarray(s) for name, s in steps.items()})
    found = both(batch)
    alone = [row_of(few.row(row), both(few.row(row)), 0) for row in range(4)]
    for b, row in enumerate(rows):
        assert_same_bits(row_of(batch, found, b), alone[row])


@given(sizes, st.lists(st.integers(1, 9), min_size=1, max_size=8))
@settings(max_examples=30, **EXAMPLES)
def test_a_row_alone_is_the_row_among_packed_ones(options: dict[str, Any], lengths: list[int]) -> None:
    lengths = sorted(lengths, reverse=True)
    batch_sizes = [sum(length > t for length in lengths) for t in range(lengths[0])]
    batch = made(0, len(lengths), batch_sizes=batch_sizes, **options)
    found = both(batch)
    for b, length in enumerate(lengths):
        row = batch.row(b)
        assert len(row.x) == length
        assert_same_bits(row_of(batch, found, b), row_of(row, both(row), 0))


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@pytest.mark.parametrize("shape", LARGE)
def test_threads_and_what_they_share_out_change_no_bit(shape: tuple[int, ...], dtype: Any) -> None:
    T, B, D, H, *P = shape
    assert 8 * T * B * H * (D + (P or [H])[0]) > 2e6
    for options in ({}, {"reverse": True}, {"batch_sizes": [max(1, B - t // 2) for t in range(T)]}):
        problem = made(*shape, dtype=dtype, record=True, **options)
        expected = both(problem, threads=1)
        for threads, split in ((2, ""), (3, ""), (8, "rows"), (2, "units"), (8, "units")):
            assert_same_bits(both(problem, threads=threads, split=split), expected)


@given(sizes, st.integers(1, 12), st.integers(1, 5), st.data())
@settings(max_examples=40, **EXAMPLES)
def test_chunks_and_steps_give_the_whole(options: dict[str, Any], T: int, B: int, data: st.DataObject) -> None:
    problem = made(T, B, **{**options, "reverse": False})
    whole = forward(problem)
    cuts = sorted(data.draw(st.sets(st.integers(0, T), max_size=3)))
    h, c = problem.h_0, problem.c_0
    parts = []
    for begin, end in zip([0, *cuts], [*cuts, T], strict=True):
        part = forward(dataclasses.replace(problem, x=problem.x[begin:end], h_0=h, c_0=c))
        h, c = part.h_n, part.c_n
        parts.append(part)
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("y", "gates", "cell")}
    assert_same_bits({**joined, "h_n": h, "c_n": c}, whole._asdict())

    packed = kernels.pack(problem.weights)
    h, c = problem.h_0, problem.c_0
    for t in range(T):
        h_row, c_row = kernels.step(packed, problem.x[t, 0], h[0], c[0])
        h, c = kernels.step(packed, problem.x[t], h, c)
        stepped = {"y": h, "c": c, "y of one row": h_row, "c of one row": c_row}
        y, cell = whole.y[t], whole.cell[t]
        assert_same_bits(stepped, {"y": y, "c": cell, "y of one row": y[0], "c of one row": cell[0]})


@given(sizes, st.integers(1, 30), st.integers(1, 40), st.booleans(), st.integers(1, 40))
@settings(max_examples=30, **EXAMPLES)
def test_what_is_kept_changes_no_bit(
    options: dict[str, Any], T: int, B: int, is_packed: bool, checkpoint: int
) -> None:
    if is_packed:
        options = {**options, "batch_sizes": [max(1, B - 3 * t) for t in range(T)]}
    problem = made(T, B, **options)
    kept = forward(problem)
    assert_same_bits(
        forward(problem, keep=False)._asdict(),
        kept._replace(gates=None, cell=None)._asdict(),
    )
    few = forward(problem, checkpoint=checkpoint)
    assert few.gates is None
    assert few.cell.shape[1:] == kept.c_n.shape
    outputs = {"gates": None, "cell": None}
    assert_same_bits(few._replace(**outputs)._asdict(), kept._replace(**outputs)._asdict())
    again = backward(problem, few, checkpoint=checkpoint)
    assert_same_bits(again._asdict(), backward(problem, kept)._asdict())


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@pytest.mark.parametrize("shape", [(60, 3, 35), (60, 5, 35, 9), (12, 9, 66)])
@pytest.mark.parametrize("reverse", [False, True])
def test_checkpoints_give_the_same_gradients(shape: tuple[int, ...], dtype: Any, reverse: bool) -> None:
    B, _, H = shape[:3]
    unit = kernels.chunk_steps(B, H, dtype)
    T = 2 * unit + 3
    packed = [max(1, B - t) for t in range(T)]
    # Each pair of direction, form and interval; not each three of them.
    some, others = (1, 2**40), (unit + 1,)
    for batch_sizes, checkpoints in ((None, others if reverse else some), (packed, some if reverse else others)):
        problem = made(T, *shape, dtype=dtype, reverse=reverse, batch_sizes=batch_sizes)
        expected = backward(problem, forward(problem))
        for checkpoint in checkpoints:
            options = {"checkpoint": checkpoint, "threads": 2, "split": "rows" if reverse else "units"}
            kept = forward(problem, **options)
            assert len(kept.cell) == -(-T // (-(-checkpoint // unit) * unit))
            assert_same_bits(backward(problem, kept, **options)._asdict(), expected._asdict())


def test_the_largest_checkpoint_keeps_the_first_state(target: str) -> None:
    code = """
import numpy as np
from gatewright import kernels
x, state, args = np.ones((5, 2, 3)), np.zeros((2, 8)), kernels.SequenceArgs(checkpoint=2**63 - 1)
weights = kernels.LayerWeights(np.ones((32, 3)), np.ones((32, 8)))
kept = kernels.forward(x, state, state, weights, args, keep=True)
assert kept.cell.shape == (1, 2, 8)
kernels.backward(kernels.OutputGradients(kept.y), kernels.Inputs(x, state, state), kept, weights, args)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GATEWRIGHT_TARGET": target},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0


def torch_results(layer: LSTM, x: torch.Tensor, record: bool) -> dict[str, Any]:
    y, states, *_ = layer(x, record=record)
    wanted = [y, *states]
    torch.manual_seed(1)
    loss = sum((value * torch.randn_like(value)).sum() for value in wanted)
    found = [*wanted, *torch.autograd.grad(loss, [x, *layer.parameters()])]
    return {str(n): value.detach().numpy() for n, value in enumerate(found)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "proj_size": 20}])
def test_the_layer_gives_the_same_bits_whatever_it_keeps(options: dict[str, Any], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = LSTM(9, 33, dtype=dtype, **options)
    x = torch.randn(20, 50, 9, dtype=dtype, requires_grad=True)
    expected = torch_results(layer, x, record=False)
    assert_same_bits(torch_results(layer, x, record=True), expected)
    for checkpoint in (1, 7, 100):
        layer.checkpoint = checkpoint
        assert_same_bits(torch_results(layer, x, record=False), expected)
        assert_same_bits(torch_results(layer, x, record=True), expected)
    with torch.no_grad():
        y = layer(x)[0]
        assert torch.equal(layer(x[:, :1])[0], y[:, :1])
        assert torch.equal(layer(x, record=True)[0], y)
    assert_same_bits({"0": y.numpy()}, {"0": expected["0"]})
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert_same_bits(torch_results(layer, x, record=False), expected)
    finally:
        torch.set_num_threads(threads)
