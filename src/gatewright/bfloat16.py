"""bfloat16 in NumPy: its rounding, its bits, and products whose sums are float32, as the kernels form them.

A bfloat16 number is the upper half of a float32: its sign, its exponent, and 7 of its 23 digits.  NumPy has no
such type, so its numbers stand here in float32 arrays, or as uint16 arrays of their bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SMALLEST_NORMAL = np.finfo(np.float32).tiny


def to_bf16(x: ArrayLike) -> NDArray[np.float32]:
    """Return the bfloat16 numbers nearest to x, as float32: of two as near, the one with an even last bit.

    NaN stays NaN.  A subnormal float32 becomes zero with its sign, as by the processor's `vcvtneps2bf16`.

    >>> to_bf16([1.0, 1.001, 1.004, -1e-40])
    array([ 1.       ,  1.       ,  1.0078125, -0.       ], dtype=float32)
    """
    return from_bits(to_bits(x))


def to_bits(x: ArrayLike) -> NDArray[np.uint16]:
    """Return the bits of the bfloat16 numbers nearest to x, as `to_bf16` rounds.

    >>> [hex(bits) for bits in to_bits([1.0, -2.0, np.inf, np.nan])]
    ['0x3f80', '0xc000', '0x7f80', '0x7fc0']
    """
    values = np.asarray(x, np.float32)
    bits = values.view(np.uint32)
    upper = bits >> 16
    rounded = (bits + 0x7FFF + (upper & 1)) >> 16
    rounded = np.where(np.isnan(values), upper | 0x40, rounded)
    rounded = np.where(np.abs(values) < _SMALLEST_NORMAL, upper & 0x8000, rounded)
    return rounded.astype(np.uint16)


def from_bits(bits: ArrayLike) -> NDArray[np.float32]:
    """Return the numbers that these bits of bfloat16 stand for, as float32.

    >>> from_bits([0x3F80, 0xC000])
    array([ 1., -2.], dtype=float32)
    """
    return (np.asarray(bits, np.uint16).astype(np.uint32) << 16).view(np.float32)


def chain(start: NDArray[np.float32], a: NDArray[Any], W: NDArray[Any]) -> NDArray[np.float32]:
    """Return start + a Wᵀ to the bit as the kernels' forward pass sums it: in float32, two k after two k.

    Of a pair the upper k comes first, and an odd last k is a pair with zero: fma(a[k], W[k], fma(a[k+1], W[k+1],
    sum)), as by the processor's `vdpbf16ps`.  Subnormal operands and sums are zero.  The kernels' target `amx` has
    another order for 32 k at once (docs/kernels.md).

    Args:
        start: what the sums begin with, (..., N).
        a: left operand, (..., K); rounded to bfloat16 here, as is W.
        W: right operand, (N, K).

    >>> chain(np.zeros(1, np.float32), np.array([1.004, 2.0]), np.array([[1.0, 0.5]]))
    array([2.0078125], dtype=float32)
    """
    left, right = to_bf16(a).astype(np.float64), to_bf16(W).astype(np.float64)
    K = left.shape[-1]
    total = _flushed(np.array(np.broadcast_to(start, (*left.shape[:-1], len(right))), np.float32))
    for pair in range(0, K, 2):
        for k in range(min(pair + 1, K - 1), pair - 1, -1):
            # Rounding the float64 sum to float32 is exact: it has more than twice the digits and two more.
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                total = _flushed((total + left[..., k, None] * right[:, k]).astype(np.float32))
    return total


def product(a: NDArray[Any], B: NDArray[Any]) -> NDArray[np.float32]:
    """Return a B for operands rounded to bfloat16, whose sums are exact to float64 and rounded to float32 once.

    The kernels' float32 sums differ from it by their own rounding, which is far below that of the operands.

    >>> product(np.array([[1.004, 2.0]]), np.array([[1.0], [0.5]]))
    array([[2.0078125]], dtype=float32)
    """
    return (to_bf16(a).astype(np.float64) @ to_bf16(B).astype(np.float64)).astype(np.float32)


def _flushed(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.abs(x) < _SMALLEST_NORMAL, np.copysign(np.float32(0), x), x)
