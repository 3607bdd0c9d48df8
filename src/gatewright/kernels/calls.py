"""One function for each native entry, over NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatewright.errors import GatewrightError
from gatewright.kernels.arguments import (
    Array,
    Backward,
    Forward,
    Inputs,
    Kept,
    OutputGradients,
    SequenceArgs,
    Wanted,
)
from gatewright.kernels.machine import threads_in_use
from gatewright.native_module import _kernels
from gatewright.spec.cell import PLAIN_WEIGHTS, LayerWeights

#: What `chunk_steps` is worked out from, where B is not a number yet: rows of all steps of a chunk at least, and
#: bytes of their adjoints of the gates.
LEAST_CHUNK_ROWS, CHUNK_BYTES = _kernels.least_chunk_rows, _kernels.chunk_bytes

#: How many of the fields of `LayerWeights` the plain cell has.
_PLAIN = len(PLAIN_WEIGHTS)

#: Every row has every step, in order.
_WHOLE = SequenceArgs()

_EVERYTHING = Wanted()


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
    the non-recurrent part).  Cells other than the plain one: `docs/variants.md`; their weights have rows for four
    gates, i f g o (w_ch: i f o), of which those count for nothing that the cell does not have.

    Args:
        x: input, (T, B, D); with ``args.batch_sizes`` (rows, D), the rows of each step after those of the step
            before.
        h_0: hidden state before the first step, (B, P); zeros if None.
        c_0: cell state before the first step, (B, H); zeros if None.
        weights: of the layer; both biases or neither.
        args: how the sequence is walked.
        keep: whether to keep what `backward` needs.
        out: contiguous memory for the fields of the result, in their order; None, or an empty sequence, for new
            arrays, where y is of the type of x.

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
    wanted: Wanted = _EVERYTHING,
    *,
    out: Sequence[Array | None] = (),
) -> Backward:
    """Run the adjoint of `forward`: backpropagation through time (Werbos 1990, Proceedings of the IEEE 78(10)).

    Args:
        d: adjoint of what `forward` gave.
        inputs: what `forward` read; states that it took as None are zeros here.
        kept: what `forward` gave with ``keep=True``.
        weights: as `forward` had them.
        args: as `forward` had them.
        wanted: which adjoints are.
        out: as in `forward`, for the fields of this result.

    Raises:
        GatewrightError: if shapes, types or strides do not fit.

    >>> x, weights = np.ones((5, 1, 3)), LayerWeights(np.zeros((8, 3)), np.zeros((8, 2)))
    >>> inputs = Inputs(x, h_0=np.ones((1, 2)), c_0=np.ones((1, 2)))
    >>> kept = forward(*inputs, weights, keep=True)
    >>> backward(OutputGradients(dc_n=np.ones((1, 2))), inputs, kept, weights).dc_0
    array([[0.03125, 0.03125]])
    """
    if not isinstance(wanted, Wanted):
        raise GatewrightError("wanted", "a kernels.Wanted", type(wanted).__name__)
    need_x, need_weights, dpre = wanted
    results = _kernels.backward(d, inputs, kept, weights, _with_threads(args), need_x, need_weights, out, dpre)
    return Backward._make(_filled(results, out))


def pack(weights: LayerWeights, compute: str = "full") -> _kernels.Packed:
    """Lay the weights of one layer out for `step`, once; a later change of the arrays does not show.

    Args:
        weights: of the layer; both biases or neither.
        compute: as in `SequenceArgs`.

    Raises:
        GatewrightError: if shapes or types do not fit.

    >>> packed = pack(LayerWeights(np.zeros((8, 3)), np.zeros((8, 2))))
    """
    _require_plain(weights)
    return _kernels.pack(weights, compute)


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
    x: Array,
    W: Array,
    b: Array | None = None,
    threads: int | None = None,
    out: Array | None = None,
    *,
    compute: str = "full",
) -> Array:
    """Return b + x W', each output one chain of multiply-adds (bias, then x in order), as in `Stream`.

    Args:
        x: (rows, D), contiguous.
        W: weights, (O, D), contiguous.
        b: bias, (O,), or None.
        threads: maximum number of threads; None for `threads()`.
        out: contiguous memory for the result, or None for a new array, of the type of x.
        compute: as in `SequenceArgs`.

    Returns:
        (rows, O).

    Raises:
        GatewrightError: if shapes or types do not fit.

    >>> linear(np.ones((1, 2)), np.array([[1.0, 2.0]]), np.array([0.5]))
    array([[3.5]])
    """
    threads = threads_in_use()[0] if threads is None else threads
    y = _kernels.linear(x, W, b, threads, out, compute)
    return y if out is None else out


def memory(shape: Sequence[int], dtype: str = "float32") -> Array:
    """Return an array, contents undefined, in memory that the kernels use again once it is dropped.

    >>> memory((2, 3)).shape
    (2, 3)
    """
    return _kernels.memory(list(shape), dtype == "float32")


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


def _require_plain(weights: LayerWeights) -> None:
    """Refuse weights that only the cells have that are not plain: the kernels would not read them."""
    if isinstance(weights, LayerWeights):
        for name, W in zip(weights._fields[_PLAIN:], weights[_PLAIN:], strict=True):
            if W is not None:
                raise GatewrightError(
                    name, "None, for single steps, which only the plain cell has", type(W).__name__
                )


def _with_threads(args: SequenceArgs) -> SequenceArgs:
    return args._replace(threads=threads_in_use()[0]) if args.threads is None else args


def _filled(results: Sequence[Any], out: Sequence[Any]) -> Sequence[Any]:
    """Return the results of a native entry: None stands where it wrote into memory that was passed in."""
    if not out:
        return results
    return [memory if result is None else result for result, memory in zip(results, out, strict=True)]
