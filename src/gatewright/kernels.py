"""The native kernels: one function for each entry, over NumPy arrays, without torch.

An array may also be a DLPack capsule.  All arrays of a call are float32, or all are float64, on the CPU, with a
contiguous last dimension.  On one target (`info`) a row's results are the same bits whatever batch it stands in,
however many threads run, and however the sequence is cut; gradients do not depend on the number of threads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, nearest
from gatewright.native_module import _kernels
from gatewright.spec.cell import LayerWeights

Array = NDArray[Any]

#: What `chunk_steps` is worked out from, where B is not a number yet: rows of all steps of a chunk at least, and
#: bytes of their adjoints of the gates.
LEAST_CHUNK_ROWS, CHUNK_BYTES = _kernels.least_chunk_rows, _kernels.chunk_bytes


class SequenceArgs(NamedTuple):
    """How a sequence is walked, and by how many threads.

    Attributes:
        batch_sizes: how many rows each step has, none more than the step before; None for B each.
        reverse: whether to go from the last step to the first.
        checkpoint: where a pass keeps what `backward` needs, keep only the cell state before every K-th step,
            rounded up to a multiple of `chunk_steps`; 0 keeps every gate of every step.
        threads: maximum number of threads; None for `threads()`.
        split: "rows" or "units" says what threads share out, for tests and benchmarks; "" leaves it to the sizes.
        clamps: values at which gates are held at every step, (4, H), in the order of the gates, after activation;
            NaN where a gate is free.  None holds none.  `backward` has no adjoint of held gates.
    """

    batch_sizes: Sequence[int] | None = None
    reverse: bool = False
    checkpoint: int = 0
    threads: int | None = None
    split: str = ""
    clamps: Array | None = None


#: Every row has every step, in order.
_WHOLE = SequenceArgs()


class Inputs(NamedTuple):
    """What a forward pass reads, the weights aside; `backward` needs the states too, also where they are zero.

    Attributes:
        x: input, (T, B, D), or (rows, D) where steps are packed.
        h_0: hidden state before the first step, (B, P).
        c_0: cell state before the first step, (B, H).
    """

    x: Array
    h_0: Array
    c_0: Array


class OutputGradients(NamedTuple):
    """The adjoint of all that a forward pass gives; None for zeros.

    Attributes:
        dy: of y, in its shape.
        dh_n: of h_n, (B, P).
        dc_n: of c_n, (B, H).
        dgates: of the gates themselves, where a loss reads them, in their shape.
        dcell: of the cell states themselves, in their shape.
    """

    dy: Array | None = None
    dh_n: Array | None = None
    dc_n: Array | None = None
    dgates: Array | None = None
    dcell: Array | None = None


class Forward(NamedTuple):
    """What a forward pass gives.

    Attributes:
        y: the hidden state after each step, (T, B, P), or (rows, P) where steps are packed.
        h_n: the hidden state after each row's last step, (B, P).
        c_n: the cell state after each row's last step, (B, H).
        gates: i, f, g, o after activation, (T, B, 4H) or (rows, 4H); None where they are not kept.
        cell: the cell state after each step, (T, B, H) or (rows, H); with checkpoints the cell state before every
            ``checkpoint`` steps, (checkpoints, B, H); None where nothing is kept.
    """

    y: Array
    h_n: Array
    c_n: Array
    gates: Array | None
    cell: Array | None


class Kept(NamedTuple):
    """What `backward` needs of what `forward` gave; its fields are those of `Forward`."""

    y: Array
    gates: Array | None
    cell: Array


class Backward(NamedTuple):
    """The adjoint of all that a forward pass reads; None where it was not wanted.

    Attributes:
        dx: of x, in its shape.
        dh_0: of h_0, (B, P).
        dc_0: of c_0, (B, H).
        dW_ih: of W_ih, (4H, D).
        dW_hh: of W_hh, (4H, P).
        db: of b_ih, and of b_hh, (4H,).
        dW_hr: of W_hr, (P, H).
    """

    dx: Array | None
    dh_0: Array
    dc_0: Array
    dW_ih: Array | None  # noqa: N815
    dW_hh: Array | None  # noqa: N815
    db: Array | None
    dW_hr: Array | None  # noqa: N815


def forward(
    x: Array,
    h_0: Array | None,
    c_0: Array | None,
    weights: LayerWeights,
    args: SequenceArgs = _WHOLE,
    *,
    keep: bool = False,
    out: Sequence[Array | None] = (),
) -> Forward:
    """Run one layer in one direction over a sequence.

    Equations: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), with the forget gate of Gers et al. 2000,
    Neural Computation 12(10); projection: Sak et al. 2014, arXiv:1402.1128, equations 7 to 12 (here without
    peepholes and without the non-recurrent part).

    Args:
        x: input, (T, B, D); with ``args.batch_sizes`` (rows, D), the rows of each step after those of the step
            before.
        h_0: hidden state before the first step, (B, P); zeros if None.
        c_0: cell state before the first step, (B, H); zeros if None.
        weights: of the layer; both biases or neither.
        args: how the sequence is walked.
        keep: whether to keep what `backward` needs.
        out: contiguous memory for the fields of the result, in their order; None, or an empty sequence, for new
            arrays.

    Raises:
        GatewrightError: if shapes, types or strides do not fit.

    >>> x, weights = np.ones((5, 1, 3)), LayerWeights(np.zeros((8, 3)), np.zeros((8, 2)))
    >>> forward(x, None, np.ones((1, 2)), weights, keep=True).cell[:, 0, 0]
    array([0.5    , 0.25   , 0.125  , 0.0625 , 0.03125])
    """
    results = _kernels.forward(x, h_0, c_0, weights, _with_threads(args), keep, out)
    return Forward._make(_filled(results, out))


def backward(
    d: OutputGradients,
    inputs: Inputs,
    kept: Forward | Kept,
    weights: LayerWeights,
    args: SequenceArgs = _WHOLE,
    *,
    need_x: bool = True,
    need_weights: bool = True,
    out: Sequence[Array | None] = (),
) -> Backward:
    """Run the adjoint of `forward`: backpropagation through time (Werbos 1990, Proceedings of the IEEE 78(10)).

    Args:
        d: adjoint of what `forward` gave.
        inputs: what `forward` read; states that it took as None are zeros here.
        kept: what `forward` gave with ``keep=True``.
        weights: as `forward` had them.
        args: as `forward` had them; ``clamps`` has to be None.
        need_x: whether dx is wanted.
        need_weights: whether the adjoints of weights and biases are wanted.
        out: as in `forward`, for the fields of this result.

    Raises:
        GatewrightError: if shapes, types or strides do not fit.

    >>> x, weights = np.ones((5, 1, 3)), LayerWeights(np.zeros((8, 3)), np.zeros((8, 2)))
    >>> inputs = Inputs(x, h_0=np.ones((1, 2)), c_0=np.ones((1, 2)))
    >>> kept = forward(*inputs, weights, keep=True)
    >>> backward(OutputGradients(dc_n=np.ones((1, 2))), inputs, kept, weights).dc_0
    array([[0.03125, 0.03125]])
    """
    results = _kernels.backward(d, inputs, kept, weights, _with_threads(args), need_x, need_weights, out)
    return Backward._make(_filled(results, out))


def pack(weights: LayerWeights) -> _kernels.Packed:
    """Lay the weights of one layer out for `step`, once; a later change of the arrays does not show.

    Args:
        weights: of the layer; both biases or neither.

    Raises:
        GatewrightError: if shapes or types do not fit.

    >>> packed = pack(LayerWeights(np.zeros((8, 3)), np.zeros((8, 2))))
    """
    return _kernels.pack(weights)


def step(packed: _kernels.Packed, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """Advance one layer by one step, in the calling thread; to the same bits as `forward`.

    Args:
        packed: what `pack` gave.
        x: input, (D,) or (B, D).
        h: hidden state, (P,) or (B, P).
        c: cell state, (H,) or (B, H).

    Returns:
        h and c after the step, in their shapes.

    Raises:
        GatewrightError: if shapes or types do not fit.

    >>> packed = pack(LayerWeights(np.zeros((8, 3)), np.zeros((8, 2))))
    >>> h, c = step(packed, np.ones(3), np.zeros(2), np.ones(2))
    >>> c
    array([0.5, 0.5])
    """
    return packed.step(x, h, c)


def linear(
    x: Array, W: Array, b: Array | None = None, threads: int | None = None, out: Array | None = None
) -> Array:
    """Return b + x W', each output one chain of multiply-adds (bias, then x in order), as in `Stream`.

    Args:
        x: (rows, D), contiguous.
        W: weights, (O, D), contiguous.
        b: bias, (O,), or None.
        threads: maximum number of threads; None for `threads()`.
        out: contiguous memory for the result, or None for a new array.

    Returns:
        (rows, O).

    Raises:
        GatewrightError: if shapes or types do not fit.

    >>> linear(np.ones((1, 2)), np.array([[1.0, 2.0]]), np.array([0.5]))
    array([[3.5]])
    """
    threads = _threads()[0] if threads is None else threads
    y = _kernels.linear(x, W, b, threads, out)
    return y if out is None else out


def sigmoid(x: Array) -> Array:
    """Return the logistic function as the kernels compute it, to 2.5 ULP; x contiguous, (N,).

    >>> sigmoid(np.array([-np.inf, 0.0, np.inf]))
    array([0. , 0.5, 1. ])
    """
    return _kernels.activation(x, True)


def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent as the kernels compute it, to 2.5 ULP (float64: 3); x contiguous, (N,).

    >>> tanh(np.array([-np.inf, 0.0, np.inf]))
    array([-1.,  0.,  1.])
    """
    return _kernels.activation(x, False)


def chunk_steps(B: int, H: int, dtype: Any) -> int:
    """Return how many steps the backward pass takes at once, by which checkpoints are rounded up.

    >>> chunk_steps(B=256, H=128, dtype=np.float32)
    2
    """
    return _kernels.chunk_steps(B, H, np.dtype(dtype).itemsize)


def fma_peak(dtype: str = "float32", threads: int = 1, seconds: float = 0.2) -> float:
    """Return the FLOP/s of a loop of multiply-adds in registers, on ``threads`` threads at once.

    >>> fma_peak(seconds=0.01) > 1e8
    True
    """
    return _kernels.fma_peak(np.dtype(dtype) == np.float32, threads, seconds)


@dataclass(frozen=True)
class Info:
    """Which kernels run here, on how many threads, and why.

    Attributes:
        target: name of the target in use.
        target_why: why that one.
        targets: every target that was built, best first, and whether this machine runs it.
        threads: how many threads a call may use.
        threads_why: who says so.
    """

    target: str
    target_why: str
    targets: dict[str, bool]
    threads: int
    threads_why: str

    def __str__(self) -> str:
        built = ", ".join(name if runs else f"{name} (not on this machine)" for name, runs in self.targets.items())
        return "\n".join(
            [
                f"target    {self.target}: {self.target_why}",
                f"built     {built}",
                f"threads   {self.threads}: {self.threads_why}",
                "LSTM      these kernels on the CPU for float32 and float64;",
                "          torch's operations for other devices and types, and under autocast",
            ]
        )


def info() -> Info:
    """Return which target and how many threads run, and why.

    >>> info().target in info().targets
    True
    """
    name = _kernels.target()
    if _kernels.forced():
        why = "chosen by use_target"
    elif os.environ.get("GATEWRIGHT_TARGET"):
        why = "chosen by GATEWRIGHT_TARGET"
    else:
        why = "the best that this machine runs"
    threads, says = _threads()
    return Info(name, why, dict(_kernels.targets()), threads, says)


@contextmanager
def use_target(name: str) -> Iterator[None]:
    """Force a target for all threads of this process while the context lasts; for tests and benchmarks.

    Raises:
        GatewrightError: if no target of that name runs here.

    >>> with use_target(info().target):
    ...     info().target_why
    'chosen by use_target'
    """
    before = _kernels.target() if _kernels.forced() else ""
    if not _kernels.select(name):
        raise _unknown_target("name", name)
    try:
        yield
    finally:
        _kernels.select(before)


def share_threads() -> bool:
    """Run calls on the OpenMP threads of torch, if it is loaded and has such; return whether they do.

    Those spin for some milliseconds after each operation, and a second pool would have to share the cores with
    that.  `gatewright.nn` calls this.

    >>> share_threads() in (True, False)
    True
    """
    return "torch" in sys.modules and _kernels.share_openmp()


def threads() -> int:
    """Return how many threads a call uses unless told: torch's number if torch is loaded, else one a core.

    >>> threads() >= 1
    True
    """
    return _threads()[0]


def _threads() -> tuple[int, str]:
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):  # it may be half imported
        shared = ", and torch's own" if _kernels.shares_openmp() else ""
        return torch.get_num_threads(), f"as torch.get_num_threads() says{shared}"
    wish = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if wish.isdecimal() and int(wish) > 0:
        return int(wish), "as OMP_NUM_THREADS says"
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)), "one for each core that this process may use"
    return os.cpu_count() or 1, "one for each core"


def _with_threads(args: SequenceArgs) -> SequenceArgs:
    return args._replace(threads=_threads()[0]) if args.threads is None else args


def _filled(results: Sequence[Any], out: Sequence[Any]) -> Sequence[Any]:
    """Return the results of a native entry: None stands where it wrote into memory that was passed in."""
    if not out:
        return results
    return [memory if result is None else result for result, memory in zip(results, out, strict=True)]


def _unknown_target(argument: str, name: str) -> GatewrightError:
    runs = [target for target, can in _kernels.targets() if can]
    return GatewrightError(argument, f"one of {', '.join(runs)}", f"{name!r}{nearest(name, runs)}")


if _kernels.refused_target():
    raise _unknown_target("GATEWRIGHT_TARGET", _kernels.refused_target())
