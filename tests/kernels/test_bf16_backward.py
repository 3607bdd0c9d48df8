"""The backward pass in bf16: its roundings to the bit, its bits whatever the split, its errors next to torch's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import equations, kernels
from gatewright.bfloat16 import from_bits, to_bf16, to_bits
from gatewright.errors import GatewrightError
from tests.support.kernel_cases import (
    BACKWARD,
    BF16_TARGETS,
    SUPPORTED,
    Array,
    Problem,
    backward,
    forward,
    made,
)

BF16: dict[str, Any] = {"compute": "bf16"}
#: Relative, in the norm of a tensor: float32 sums, and a few numbers that the last digits of tanh round elsewhere.
CLOSE = 3e-4


def problem_of(*sizes: int, **options: Any) -> Problem:
    return made(*sizes, dtype=np.float32, **options)


def numbers(array: Array) -> Array:
    return from_bits(array) if array.dtype == np.uint16 else array


def both(problem: Problem, **options: Any) -> dict[str, Array | None]:
    kept = forward(problem, **BF16, **options)
    return {"y": kept.y, **backward(problem, kept, **BF16, **options)._asdict()}


def judged(problem: Problem, kept: kernels.Forward) -> dict[str, Array]:
    """The gradients that `gatewright.equations` finds from what the kernels kept, row by row of the batch."""
    weights = problem.weights
    H, P = weights.hidden_size, weights.output_size
    if weights.b_ih is None:
        weights = weights._replace(b_ih=np.zeros(4 * H, np.float32))
    found: dict[str, Any] = {
        "dx": np.zeros_like(problem.x),
        "dh_0": np.zeros_like(problem.h_0),
        "dc_0": np.zeros_like(problem.c_0),
        **dict.fromkeys(("dW_ih", "dW_hh", "db", "dW_hr"), 0.0),
    }
    walk = slice(None, None, -1 if problem.reverse else 1)
    for b in range(len(problem.h_0)):
        place = problem.place(b)

        def steps(array: Array, place: Any = place) -> Array:
            return np.ascontiguousarray(numbers(array)[place][walk])

        y = steps(kept.y)
        gates = np.split(steps(kept.gates), 4, -1)
        record = equations.Record(*gates, steps(kept.cell), y, problem.c_0[b], problem.h_0[b])
        d_record = None
        if problem.dgates is not None:
            unread = np.zeros_like(y), np.zeros(H, np.float32), np.zeros(P, np.float32)
            d_record = equations.Record(*np.split(steps(problem.dgates), 4, -1), steps(problem.dcell), *unread)
        d = equations.backward(
            equations.OutputGradients(steps(problem.dy), problem.dh_n[b], problem.dc_n[b], d_record),
            record,
            steps(problem.x),
            weights,
            **BF16,
        )
        found["dx"][place], found["dh_0"][b], found["dc_0"][b] = d.dx[walk], d.dh_0, d.dc_0
        for name, gradient in (("dW_ih", d.dW_ih), ("dW_hh", d.dW_hh), ("db", d.db_ih), ("dW_hr", d.dW_hr)):
            if gradient is not None:
                found[name] = found[name] + gradient
    return found


def error(got: Array, expected: Array) -> float:
    return float(np.linalg.norm(numbers(got) - expected) / max(np.linalg.norm(expected), 1e-30))


@pytest.mark.parametrize("target", BF16_TARGETS)
def test_every_size_is_what_the_equations_give(target: str) -> None:
    sizes = [
        (1, 1, 1, 1, 0),
        (3, 2, 3, 7, 0),
        (5, 3, 5, 16, 0),
        (3, 5, 17, 33, 0),
        (2, 13, 8, 40, 0),
        (5, 3, 9, 31, 5),
    ]
    sizes += [(3, 1, 4, 100, 0), (2, 7, 2, 48, 17), (3, 2, 33, 8, 1)]
    if target.startswith("amx"):  # whose registers sum 32 numbers, or rows, at once
        sizes = [(2, 19, 70, 40, 0), (3, 29, 33, 37, 35), (5, 13, 3, 7, 0), (1, 1, 1, 1, 0), (33, 2, 17, 16, 5)]
    with kernels.use_target(target):
        for n, (T, B, D, H, P) in enumerate(sizes):
            whole = {"bias": n % 3 > 0, "record": n % 2 == 0, "reverse": n % 2 == 1}
            problem = problem_of(T, B, D, H, P, seed=n, **whole)
            kept = forward(problem, **BF16, kept="bf16" if n % 2 else "float32")
            found = backward(problem, kept, **BF16)
            for name, expected in judged(problem, kept).items():
                if name != "dW_hr" or P:
                    assert error(getattr(found, name), expected) < CLOSE, (T, B, D, H, P, name)


@pytest.mark.parametrize("P", [0, 6])
@pytest.mark.parametrize("D", [3, 6])
def test_rows_of_unequal_length_are_what_the_equations_give(D: int, P: int) -> None:
    for reverse in (False, True):
        problem = problem_of(6, 5, D, 19, P, batch_sizes=[5, 5, 3, 2, 1, 1], reverse=reverse, record=True)
        kept = forward(problem, **BF16)
        found = backward(problem, kept, **BF16)
        for name, expected in judged(problem, kept).items():
            if name != "dW_hr" or P:
                assert error(getattr(found, name), expected) < CLOSE, (reverse, name)


def test_one_step_of_one_row_has_the_roundings_of_numpy() -> None:
    problem = problem_of(1, 1, 64, 256)
    kept = forward(problem, **BF16)
    assert kept.gates is not None
    assert kept.gates.dtype == kept.cell.dtype == np.uint16
    found = backward(problem, kept, **BF16)
    i, f, g, o = np.split(from_bits(kept.gates)[0, 0].astype(float), 4)
    tanh_c = np.tanh(from_bits(kept.cell)[0, 0].astype(float))
    dh = (problem.dy[0, 0] + problem.dh_n[0]).astype(float)
    dc = problem.dc_n[0] + dh * o * (1 - tanh_c**2)
    pre = dc * g * i * (1 - i), dc * problem.c_0[0] * f * (1 - f), dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)
    dgates = to_bf16(np.concatenate(pre))
    # The gradient of a bias is the sum of dgates: of one row, dgates as they were rounded.
    same = found.db == dgates
    assert same.mean() > 0.98
    np.testing.assert_allclose(found.db, dgates, rtol=2**-7)
    np.testing.assert_array_equal(to_bf16(found.db), found.db)
    np.testing.assert_array_equal(found.dW_ih, np.outer(found.db, to_bf16(problem.x[0, 0])))
    np.testing.assert_array_equal(found.dW_hh, np.outer(found.db, to_bf16(problem.h_0[0])))
    for name, weights in (("dx", problem.weights.W_ih), ("dh_0", problem.weights.W_hh)):
        product = found.db.astype(float) @ to_bf16(weights).astype(float)
        np.testing.assert_allclose(getattr(found, name).reshape(-1), product, atol=2e-6)
    np.testing.assert_allclose(found.dc_0[0], dc * f, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "sizes",
    [
        (40, 50, 9, 70, 20, None),
        (70, 15, 33, 138, 0, None),  # an odd number of rows a chunk
        (190, 31, 2, 24, 0, [31] * 39 + [20] * 121 + [3] * 30),
    ],
)
def test_no_bit_depends_on_threads_split_or_checkpoints(sizes: tuple[Any, ...]) -> None:
    assert_no_bit_depends_on_threads_split_or_checkpoints(sizes)


@pytest.mark.skipif("amx-model" not in BF16_TARGETS, reason="no AVX-512 here")
@pytest.mark.parametrize("sizes", [(40, 50, 9, 70, 20, None), (110, 31, 9, 40, 0, [31] * 71 + [20] * 39)])
def test_nor_does_one_of_the_tile_registers(sizes: tuple[Any, ...]) -> None:
    with kernels.use_target("amx-model"):
        assert_no_bit_depends_on_threads_split_or_checkpoints(sizes)


def assert_no_bit_depends_on_threads_split_or_checkpoints(sizes: tuple[Any, ...]) -> None:
    *shape, batch_sizes = sizes
    problem = problem_of(*shape, batch_sizes=batch_sizes, reverse=shape[2] == 9, record=True)
    assert kernels.chunk_steps(shape[1], shape[3], np.uint16) < shape[0]
    for kept in ("bf16", "float32"):
        expected = both(problem, kept=kept)
        for options in (
            {"threads": 3, "split": "rows"},
            {"threads": 2, "split": "units"},
            {"checkpoint": 1, "threads": 2},
            {"checkpoint": 20},
        ):
            for name, array in both(problem, kept=kept, **options).items():
                if array is None:
                    assert expected[name] is None
                else:
                    assert array.tobytes() == expected[name].tobytes(), (kept, options, name)


@pytest.mark.skipif("avx512bf16" not in SUPPORTED, reason="no AVX-512 BF16 here")
@pytest.mark.parametrize("sizes", [(7, 5, 9, 70, 20), (9, 7, 3, 33)])
def test_the_instruction_gives_the_bits_of_two_multiply_adds(sizes: tuple[int, ...]) -> None:
    problem = problem_of(*sizes, record=True)
    found = {}
    for target in ("avx512bf16", "avx512"):
        with kernels.use_target(target):
            found[target] = both(problem)
    for name, array in found["avx512"].items():
        assert array is None or array.tobytes() == found["avx512bf16"][name].tobytes(), name


@pytest.mark.parametrize("D", [2, 12])
def test_numbers_may_be_given_in_either_type(D: int) -> None:
    problem = problem_of(9, 4, D, 33, record=True)
    names = ("x", "dy", "dgates", "dcell")
    wide = dataclasses.replace(problem, **{name: to_bf16(getattr(problem, name)) for name in names})
    narrow = dataclasses.replace(problem, **{name: to_bits(getattr(problem, name)) for name in names})
    expected, found = both(wide), both(narrow)
    for name, array in found.items():
        if name in ("y", "dx"):  # of the type of x
            np.testing.assert_array_equal(array, to_bits(expected[name]))
        elif array is not None:
            assert array.tobytes() == expected[name].tobytes(), name


@pytest.mark.parametrize("D", [3, 9])
def test_what_is_not_wanted_changes_nothing(D: int) -> None:
    problem = problem_of(6, 3, D, 17, 5)
    kept = forward(problem, **BF16)
    whole = backward(problem, kept, **BF16)
    for wanted in (kernels.Wanted(x=False), kernels.Wanted(weights=False)):
        for name, array in backward(problem, kept, **BF16, wanted=wanted)._asdict().items():
            gone = ("dW_ih", "dW_hh", "db", "dW_hr") if wanted.x else ("dx",)
            if name in gone:
                assert array is None
            elif name in BACKWARD:
                assert array.tobytes() == getattr(whole, name).tobytes(), name
            else:
                assert array is None


def test_gates_and_cell_of_two_types_are_refused() -> None:
    problem = problem_of(3, 2, 4, 8)
    kept = forward(problem, **BF16)
    assert kept.cell is not None
    with pytest.raises(GatewrightError, match="cell"):
        backward(problem, kept._replace(cell=from_bits(kept.cell)), **BF16)


@pytest.mark.parametrize("sizes", [(160, 8, 1, 128), (32, 8, 96, 192)], ids=["seqmnist", "charlm"])
def test_no_gradient_has_a_larger_error_than_torchs(sizes: tuple[int, ...]) -> None:
    T, B, D, H = sizes
    torch.manual_seed(0)
    layer = torch.nn.LSTM(D, H)
    x, dy = torch.randn(T, B, D), torch.randn(T, B, H).bfloat16()
    exact, rounded = gradients(layer, x, dy, torch.float64), gradients(layer, x, dy, torch.bfloat16)
    weights = equations.Weights(*(p.detach().numpy() for p in layer.parameters()))
    zeros = np.zeros((B, H), np.float32)
    inputs = kernels.Inputs(x.numpy(), zeros, zeros)
    for kept, most in (("bf16", 1.0), ("float32", 0.75)):
        args = kernels.SequenceArgs(compute="bf16", kept=kept)
        passed = kernels.forward(*inputs, weights, args, keep=True)
        found = kernels.backward(kernels.OutputGradients(dy=dy.float().numpy()), inputs, passed, weights, args)
        for name, expected in exact.items():
            ours, theirs = error(getattr(found, name), expected), error(rounded[name], expected)
            assert ours <= most * theirs, (kept, name, ours, theirs)
        assert set(exact) < set(BACKWARD)


def gradients(layer: torch.nn.LSTM, x: torch.Tensor, dy: torch.Tensor, dtype: torch.dtype) -> dict[str, Array]:
    """What torch's layer of the same weights gives in a type, as float64."""
    other = torch.nn.LSTM(layer.input_size, layer.hidden_size).to(dtype)
    other.load_state_dict(layer.state_dict())
    x = x.to(dtype).requires_grad_()
    other(x)[0].backward(dy.to(dtype))
    names = {"dx": x, "dW_ih": other.weight_ih_l0, "dW_hh": other.weight_hh_l0, "db": other.bias_ih_l0}
    return {name: leaf.grad.double().numpy() for name, leaf in names.items()}
