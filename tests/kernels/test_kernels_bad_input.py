"""What the kernels cannot use is refused by name before any work, and never a crash."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright import kernels
from gatewright.errors import GatewrightError
from gatewright.spec.cell import LayerWeights
from tests.support.examples import examples
from tests.support.forks import fork_server
from tests.support.kernel_cases import made

T, B, D, H, P = 4, 3, 5, 8, 2
FORWARD = ("x", "h_0", "c_0", "W_ih", "W_hh", "b_ih", "b_hh", "W_hr")
BACKWARD = ("dy", "dh_n", "dc_n", "x", "h_0", "c_0", "y", "gates", "cell", *FORWARD[3:], "dgates", "dcell")


def arguments(projected: bool, batch_sizes: list[int] | None) -> dict[str, Any]:
    """Everything that `kernels.backward` takes, by name."""
    problem = made(T, B, D, H, P if projected else 0, batch_sizes=batch_sizes, record=True)
    names = {name: getattr(problem, name) for name in ("dy", "dh_n", "dc_n", "dgates", "dcell", "x", "h_0", "c_0")}
    layer = problem.weights._asdict()
    kept = kernels.forward(*problem.inputs, problem.weights, problem.args(batch_sizes=batch_sizes), keep=True)
    return {**names, **layer, "y": kept.y, "gates": kept.gates, "cell": kept.cell}


def call(which: str, given: dict[str, Any], **options: Any) -> Any:
    weights = LayerWeights(*(given[name] for name in LayerWeights._fields))
    if which == "pack":
        return kernels.pack(weights)
    inputs, args = kernels.Inputs(given["x"], given["h_0"], given["c_0"]), kernels.SequenceArgs(**options)
    if which == "forward":
        return kernels.forward(*inputs, weights, args)
    kept = kernels.Kept(given["y"], given["gates"], given["cell"])
    d = kernels.OutputGradients(*(given[name] for name in kernels.OutputGradients._fields))
    return kernels.backward(d, inputs, kept, weights, args)


def other_size(array: np.ndarray, axis: int, by: int) -> np.ndarray:
    shape = list(array.shape)
    shape[axis % array.ndim] = max(0, shape[axis % array.ndim] + by)
    return np.zeros(shape, array.dtype)


FAULTS = ("size", "fewer dimensions", "more dimensions", "none", "type", "stride", "backwards")
TYPES = (np.float32, np.float16, np.int64, np.complex128, bool)


def spoilt(array: np.ndarray, fault: str, axis: int, by: int) -> np.ndarray:
    return {
        "size": lambda: other_size(array, axis, by),
        "fewer dimensions": lambda: array[0],
        "more dimensions": lambda: array[None],
        "none": lambda: array.reshape(-1)[0].reshape(()),
        "type": lambda: array.astype(TYPES[axis % 5]),
        "stride": lambda: np.repeat(array, 2, axis=-1)[..., ::2],
        "backwards": lambda: np.ascontiguousarray(array[..., ::-1])[..., ::-1],
    }[fault]()


#: Where a size is at fault, these may be named too: they disagree with the argument that was changed.
SIZED = {*BACKWARD, *FORWARD, "batch_sizes"}


@pytest.mark.slow
@given(
    which=st.sampled_from(["forward", "backward", "pack"]),
    name=st.sampled_from(sorted({*FORWARD, *BACKWARD})),
    fault=st.sampled_from(sorted(FAULTS)),
    axis=st.integers(0, 4),
    by=st.sampled_from([-9, -4, -1, 1, 4]),
    projected=st.booleans(),
    batch_sizes=st.sampled_from([None, [3, 2, 1]]),
)
@settings(max_examples=examples(200), deadline=None)
def test_one_wrong_argument_is_refused_by_name(
    which: str, name: str, fault: str, axis: int, by: int, projected: bool, batch_sizes: list[int] | None
) -> None:
    good = arguments(projected, batch_sizes)
    names = {"forward": FORWARD, "backward": BACKWARD, "pack": FORWARD[3:]}[which]
    options = {} if which == "pack" else {"batch_sizes": batch_sizes}
    if name not in names or good[name] is None:
        return
    if fault in ("stride", "backwards") and good[name].shape[-1] == 1:
        return
    free = {"pack": ("W_ih", 1), "forward": ("x", 0) if batch_sizes is None else None}.get(which)
    if fault == "size" and free == (name, axis % good[name].ndim):  # any D, any T
        return
    bad = spoilt(good[name], fault, axis, by)
    with pytest.raises(GatewrightError) as error:
        call(which, {**good, name: bad}, **options)
    assert error.value.argument in (SIZED if fault not in ("stride", "backwards") else {name})
    assert error.value.expected
    assert error.value.got
    call(which, good, **options)


@pytest.mark.parametrize("which", ["forward", "backward", "pack"])
@pytest.mark.parametrize("missing", ["b_ih", "b_hh"])
def test_one_bias_is_refused(which: str, missing: str) -> None:
    with pytest.raises(GatewrightError, match=f"^{missing}: expected both biases, or neither, got one of them"):
        call(which, {**arguments(False, None), missing: None})


@pytest.mark.slow
@given(st.lists(st.one_of(st.integers(-3, 5), st.sampled_from([2**31, 2**62, -(2**63)])), max_size=6))
@settings(max_examples=examples(150), deadline=None)
def test_wrong_batch_sizes_are_refused(batch_sizes: list[int]) -> None:
    good = arguments(False, [3, 2, 1])
    falls = all(a >= b for a, b in itertools.pairwise(batch_sizes))
    if falls and all(size >= 1 for size in batch_sizes) and sum(batch_sizes) == 6:
        good |= {name: np.ones((batch_sizes[0], H)) for name in ("h_0", "c_0", "dh_n", "dc_n")}
        call("backward", good, batch_sizes=batch_sizes)
        return
    for which in ("forward", "backward"):
        with pytest.raises(GatewrightError, match=r"^batch_sizes: "):
            call(which, good, batch_sizes=batch_sizes)


def test_batch_sizes_whose_sum_overflows_are_refused() -> None:
    good = {**arguments(False, None), "x": np.zeros((0, D)), "h_0": None, "c_0": None}
    with pytest.raises((GatewrightError, MemoryError, ValueError)):
        call("forward", good, batch_sizes=[2**62] * 4)


@pytest.mark.parametrize("P", [0, 2])
@pytest.mark.parametrize("name", ["x", "h", "c"])
@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"none", "size"}))
def test_a_wrong_argument_of_a_step_is_refused(name: str, fault: str, P: int) -> None:
    problem = made(1, B, D, H, P)
    packed = kernels.pack(problem.weights)
    good = {"x": problem.x[0], "h": problem.h_0, "c": problem.c_0}
    with pytest.raises(GatewrightError):
        kernels.step(packed, **{**good, name: spoilt(good[name], fault, 0, 1)})
    for axis in (0, 1):
        with pytest.raises(GatewrightError):
            kernels.step(packed, **{**good, name: other_size(good[name], axis, 1)})
    kernels.step(packed, **good)


PRELUDE = """
import numpy as np
from gatewright import kernels
from gatewright.errors import GatewrightError
from gatewright.spec.cell import LayerWeights
x, h, W_ih, W_hh = np.ones((5, 2, 3)), np.zeros((2, 8)), np.ones((32, 3)), np.ones((32, 8))
A, D, W, I = kernels.SequenceArgs, kernels.OutputGradients, LayerWeights(W_ih, W_hh), kernels.Inputs(x, h, h)
K = kernels.forward(x, h, h, W, keep=True)
refused = False
try:
    {}
except GatewrightError as error:
    refused = error.argument == {!r}
raise SystemExit(0 if refused else 1)
"""


def status(code: str, argument: str) -> int:
    """0 if the code, in a process of its own, is refused by that name; below 0 if it crashes."""
    return fork_server("gatewright.kernels").run(["-c", PRELUDE.format(code, argument)]).returncode


@pytest.mark.parametrize(
    ("code", "argument"),
    [
        ("kernels.step(kernels.pack(W), np.array(1.0), h[0], h[0])", "x"),
        ("kernels.chunk_steps(1, 0, np.float32)", "H"),
        ("kernels.fma_peak(threads=0, seconds=0.01)", "threads"),
    ],
)
def test_nothing_crashes(code: str, argument: str) -> None:
    assert status(code, argument) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "argument"),
    [
        ("kernels.forward(x, h, h, W, A(checkpoint=-1), keep=True)", "checkpoint"),
        ("kernels.forward(x, h, h, W, A(checkpoint=1.0))", "checkpoint"),
        ("kernels.forward(x, h, h, W, A(split='row'))", "split"),
        ("kernels.forward(x, h, h, W, A(split=1))", "split"),
        ("kernels.forward(x, h, h, W, A(threads=0))", "threads"),
        ("kernels.forward(x, h, h, W, A(threads=2**40))", "threads"),
        ("kernels.forward(x, h, h, W, A(threads=True))", "threads"),
        ("kernels.forward(x, h, h, W, A(reverse=1))", "reverse"),
        ("kernels.forward(x, h, h, W, keep=None)", "keep"),
        ("kernels.forward(x, h, h, (W_ih, W_hh))", "weights"),
        ("kernels.forward(x, h, h, None)", "weights"),
        ("kernels.forward(None, h, h, W)", "x"),
        ("kernels.forward(x.tolist(), h, h, W)", "x"),
        ("kernels.forward(x, h, 1.0, W)", "c_0"),
        ("kernels.forward(x, h, h, W._replace(W_ih=None))", "W_ih"),
        ("kernels.forward(x, h, h, W._replace(W_hr='no'))", "W_hr"),
        ("kernels.forward(x.astype('>f8'), h, h, W)", "x"),
        ("kernels.forward(x[0], h, h, W, A(batch_sizes=[1.0, 1.0]))", "batch_sizes"),
        ("kernels.forward(x[0], h, h, W, A(batch_sizes=2))", "batch_sizes"),
        ("kernels.forward(x, h, h, W, out=3)", "out"),
        ("kernels.forward(x, h, h, W, out=[3, None, None, None, None, None])", "out"),
        ("kernels.backward(D(), (x, h, h), K, W)", "inputs"),
        ("kernels.backward(D(), I, (K.y, K.gates, K.cell), W)", "kept"),
        ("kernels.backward(None, I, K, W)", "d"),
        ("kernels.backward(D(dy=[1.0]), I, K, W)", "dy"),
        ("kernels.backward(D(), I._replace(h_0=None), K, W)", "h_0"),
        ("kernels.backward(D(), I, K, W, wanted=kernels.Wanted(x=1))", "wanted.x"),
        ("kernels.backward(D(), I, K, W, wanted=(True, True, None))", "wanted"),
        ("kernels.backward(D(), I, kernels.forward(x, h, h, W), W)", "kept"),
    ],
)
def test_everything_else_is_refused_by_name_too(code: str, argument: str) -> None:
    assert status(code, argument) == 0
