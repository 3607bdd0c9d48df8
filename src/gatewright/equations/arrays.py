"""What the equations share: the type of arrays, the arithmetic of products, sums, and checks."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError

Array: TypeAlias = NDArray[np.floating[Any]]

#: The arithmetic of products: that of the arrays, or bfloat16 operands with float32 sums, for float32 arrays.
Compute: TypeAlias = Literal["full", "bf16"]


def sigmoid(x: Array) -> Array:
    """Return the logistic function, written so that exp never sees a positive number and cannot overflow."""
    result: Array = np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))
    return result


def in_bf16(compute: Compute, dtype: np.dtype[Any]) -> bool:
    """Whether products are those of bf16 arithmetic, which takes float32 arrays."""
    if compute not in ("full", "bf16"):
        raise GatewrightError("compute", '"full" or "bf16"', repr(compute))
    if compute == "bf16" and dtype != np.float32:
        raise GatewrightError("compute", '"full" for arrays that are not float32', repr(compute))
    return compute == "bf16"


def sum_rows(a: Array, dtype: np.dtype[Any]) -> Array:
    """Sum over steps and batch: (T, B, N) to (N,)."""
    total: Array = a.sum(axis=tuple(range(a.ndim - 1)))
    return total.astype(dtype, copy=False)


def sum_outer(a: Array, b: Array, dtype: np.dtype[Any]) -> Array:
    """Sum of the outer products a bᵀ over steps and batch: (T, B, N) and (T, B, M) to (N, M)."""
    axes = tuple(range(a.ndim - 1))
    return np.tensordot(a, b, axes=(axes, axes)).astype(dtype, copy=False)


def require(name: str, array: Array, dtype: np.dtype[Any], *shapes: tuple[int | str, ...]) -> None:
    """Raise unless the array has the dtype and one of the shapes, in which a letter stands for any size."""
    if isinstance(array, np.ndarray) and array.dtype == dtype:
        for shape in shapes:
            sizes = zip(shape, array.shape, strict=False)
            if len(shape) == array.ndim and all(isinstance(n, str) or n == size for n, size in sizes):
                return
    texts = ["(" + ", ".join(map(str, shape)) + ")" for shape in shapes]
    raise GatewrightError(name, f"a {dtype} array of shape {' or '.join(texts)}", described(array))


def described(value: object) -> str:
    """Return what came in place of an array, for an error."""
    return (
        f"a {value.dtype} array of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
    )
