"""The initial state of a call: whether hx, which may be anything, is the pair (h_0, c_0) that the layer needs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatewright.nn import _torch_private

State = tuple[Tensor, Tensor]
#: Of h_0 and of c_0.
Shapes = tuple[tuple[int, ...], tuple[int, ...]]


def tensors_of(hx: Any) -> list[Tensor]:
    """Return the tensors of a pair of states, as far as it is one."""
    return [state for state in hx if isinstance(state, Tensor)] if isinstance(hx, (tuple, list)) else []


def fits(hx: Any, expected: Shapes, dtype: torch.dtype) -> bool:
    """Whether hx is None or a pair of tensors of the expected shapes and of the input's type."""
    if hx is None:
        return True
    if not (isinstance(hx, (tuple, list)) and len(hx) == 2 and all(isinstance(s, Tensor) for s in hx)):
        return False
    double = torch.float64
    same_type = all(state.dtype == dtype for state in hx) or (
        _torch_private.any_autocast() and all((state.dtype == double) == (dtype == double) for state in hx)
    )
    return same_type and tuple(tuple(state.shape) for state in hx) == expected


def described(hx: Any) -> str:
    """Return what hx is, for an error."""
    if not isinstance(hx, (tuple, list)):
        return type(hx).__name__
    return str([(tuple(s.shape), str(s.dtype)) if isinstance(s, Tensor) else type(s).__name__ for s in hx])
