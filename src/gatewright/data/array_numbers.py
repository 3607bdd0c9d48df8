"""Numbers of arrays, tensors and lists, in memory."""

from __future__ import annotations

import sys
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray


def without_torch(values: Any) -> Any:
    """Return a tensor of torch as an array; anything else as it is."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(values, torch.Tensor):
        return values
    values = values.detach().cpu()
    return (values.double() if values.is_floating_point() else values).numpy()


def numbers_of(values: Any) -> NDArray[np.float64] | None:
    """Return numbers as float64, those that a mask hides, and None, as NaN; None if they are no numbers.

    >>> numbers_of([1, None]), numbers_of(["1"])
    (array([ 1., nan]), None)
    """
    try:
        array = np.asanyarray(values)
        if array.dtype.kind == "O" and array.ndim == 0:
            return None
        if array.dtype.kind == "O":
            if not all(item is None or isinstance(item, (Number, np.bool_)) for item in array.flat):
                return None
            return np.array([np.nan if item is None else float(item) for item in array.flat]).reshape(array.shape)
        if array.dtype.kind not in "biuf":
            return None
        numbers = np.array(array, np.float64)
        numbers[np.ma.getmaskarray(array)] = np.nan
        return numbers
    except (TypeError, ValueError):
        return None
