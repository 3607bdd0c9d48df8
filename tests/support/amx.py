"""The sums of the target `amx` in NumPy: those of `bfloat16.chain`, but for 32 numbers at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.bfloat16 import chain, to_bf16

#: The numbers of the sum that one `tdpbf16ps` takes.
STEP = 32


def amx_chain(start: NDArray[np.float32], a: NDArray[Any], W: NDArray[Any]) -> NDArray[np.float32]:
    """Return start + a Wᵀ to the bit as the kernels sum it with the tile registers; arguments as of `chain`.

    32 numbers at once, as Intel's manual says of `tdpbf16ps`: the sum of the products of even k and that of odd k,
    each in float32 from zero, k ascending, with one rounding a product; then start += even + odd.  What is left at
    the end goes as `chain` has it.
    """
    if a.shape[-1] % 2:  # an odd last number is a pair with zero
        a, W = (np.concatenate([array, np.zeros_like(array[..., :1])], -1) for array in (a, W))
    left, right = to_bf16(a).astype(np.float64), to_bf16(W).astype(np.float64)
    whole = left.shape[-1] // STEP * STEP
    total = np.array(np.broadcast_to(start, (*left.shape[:-1], len(right))), np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for first in range(0, whole, STEP):
            sums = np.zeros((2, *total.shape), np.float32)
            for k in range(first, first + STEP):
                # The product is exact in float64, and so is the rounding of the float64 sum to float32.
                sums[k % 2] = _flushed((sums[k % 2] + left[..., k, None] * right[:, k]).astype(np.float32))
            total = _flushed(total + _flushed(sums[0] + sums[1]))
    return chain(total, a[..., whole:], W[:, whole:])


def _flushed(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), x), x)
