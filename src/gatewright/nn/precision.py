"""The arithmetic of a call of the layer on the CPU, and the types of its results: those of torch.

Three things ask for bf16: bfloat16 weights, autocast, and the layer's own ``compute="bf16"``.  The kernels then
round the operands of all products to bfloat16 and sum in float32.  ``compute="int8"`` alone asks for int8, forward
only.  There is no float16 arithmetic: float16 tensors are computed in float32, and the results rounded.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatewright.errors import GatewrightError
from gatewright.nn import _torch_private, layer_sizes
from gatewright.nn.initial_state import tensors_of
from gatewright.nn.record import LayerRecord, Record

#: Codes by which the operators know an arithmetic: products as the tensors are, or in bf16 with the gates and cell
#: states for the backward pass kept in float32 or in bfloat16; or in int8, without a backward pass.
FULL, BF16_KEPT_FLOAT32, BF16, INT8 = 0, 1, 2, 3

COMPUTE = ("full", "bf16", "int8")
SAVED = ("bf16", "float32")

_HALVES = (torch.bfloat16, torch.float16)
_NARROW = (torch.float32, *_HALVES)


class Arithmetic(NamedTuple):
    """How a call computes.

    Attributes:
        code: as the operators take it.
        rounding: type to which input and weights are rounded before they are taken as float32; None for none.
        rows: type of the input as the operators take it.
        y: type of y and h_n.
        c: type of c_n.
    """

    code: int
    rounding: torch.dtype | None
    rows: torch.dtype
    y: torch.dtype
    c: torch.dtype

    @property
    def as_it_is(self) -> bool:
        """Whether the operators take every tensor as it is, and give results of its type."""
        return self.code == FULL and self.rounding is None


_PLAIN = {dtype: Arithmetic(FULL, None, dtype, dtype, dtype) for dtype in (torch.float32, torch.float64)}


def require(compute: Any, saved: Any) -> None:
    """Require that the arguments of a layer are there.

    Raises:
        GatewrightError: names the argument.
    """
    if compute not in COMPUTE:
        raise GatewrightError("compute", '"full", "bf16" or "int8"', repr(compute))
    if saved not in SAVED:
        raise GatewrightError("saved", '"bf16" or "float32"', repr(saved))


def arithmetic(layer: Any, x: Tensor, weights: Sequence[Any], packed: bool, hx: Any = None) -> Arithmetic | None:
    """Return how a call computes; None where it is torch that has to say so, also with an error.

    Args:
        layer: with compute, saved and proj_size.
        x: input.
        weights: of all layers.
        packed: whether the input is a packed sequence, whose type autocast leaves alone.
        hx: initial state, of any type.

    Raises:
        GatewrightError: if the layer's ``compute`` does not fit the type of the weights, or is "int8" where a
            gradient is needed.
    """
    dtype = x.dtype
    if not x.is_cpu:
        return _elsewhere(layer, x, weights)
    of_weights = dtype
    for W in weights:
        if not isinstance(W, Tensor) or not W.is_cpu:
            return None
        if W.dtype != dtype:
            of_weights = W.dtype
    autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    compute = layer.compute
    if (
        of_weights == dtype
        and dtype in _PLAIN
        and compute == "full"
        and (autocast is None or dtype == torch.float64)
    ):
        return _PLAIN[dtype]
    require(compute, layer.saved)
    if compute == "int8":
        return _in_int8(layer, x, of_weights, autocast, weights, packed, hx)
    if torch.float64 in (dtype, of_weights):
        if compute == "bf16" and of_weights == dtype:
            raise GatewrightError("compute", '"full" for float64 weights', '"bf16"')
        return None
    if dtype not in _NARROW or of_weights not in _NARROW:
        return None
    bf16 = BF16 if layer.saved == "bf16" else BF16_KEPT_FLOAT32
    code = bf16 if compute == "bf16" else FULL
    if autocast is None:
        if of_weights != dtype:
            return None
        if dtype == torch.bfloat16:
            return Arithmetic(bf16, None, dtype, dtype, dtype)
        rounding = torch.float16 if dtype == torch.float16 else None
        return Arithmetic(code, rounding, torch.float32, dtype, dtype)
    if autocast not in _HALVES:
        return None
    if autocast == torch.bfloat16 and torch.float16 in (dtype, of_weights) and not torch.compiler.is_compiling():
        _note_float16()
    y, c = _autocast_results(layer, dtype, autocast, packed, hx)
    if autocast == torch.bfloat16:
        return Arithmetic(bf16, None, y, y, c)
    return Arithmetic(code, torch.float16, torch.float32, y, c)


def _in_int8(
    layer: Any,
    x: Tensor,
    of_weights: torch.dtype,
    autocast: torch.dtype | None,
    weights: Sequence[Tensor],
    packed: bool,
    hx: Any,
) -> Arithmetic | None:
    """Return how a call with ``compute="int8"`` computes, as `arithmetic` does."""
    dtype = x.dtype
    if of_weights != torch.float32 and (of_weights == dtype or autocast is not None):
        name = str(of_weights).removeprefix("torch.")
        raise GatewrightError("compute", f'"full" for {name} weights', '"int8"')
    if of_weights != torch.float32 or (dtype != torch.float32 if autocast is None else dtype not in _NARROW):
        return None
    given = (x, *tensors_of(hx), *weights)
    if torch.is_grad_enabled() and any(isinstance(W, Tensor) and W.requires_grad for W in given):
        refuse_gradient()
    y, c = (torch.float32, torch.float32)
    if autocast is not None:
        y, c = _autocast_results(layer, dtype, autocast, packed, hx)
    return Arithmetic(INT8, None, torch.float32, y, c)


def refuse_gradient() -> None:
    """Raise, as there is no backward pass in int8."""
    raise GatewrightError("compute", '"full" or "bf16" where a gradient is needed, or torch.no_grad()', '"int8"')


def _autocast_results(
    layer: Any, dtype: torch.dtype, autocast: torch.dtype, packed: bool, hx: Any
) -> tuple[torch.dtype, torch.dtype]:
    """Return the types of y and h_n, and of c_n: torch's, whose zeros for c_0 have the type of the input."""
    given = tensors_of(hx[1:]) if isinstance(hx, (tuple, list)) and len(hx) == 2 else []
    wider = torch.promote_types(given[0].dtype if given else dtype, autocast)
    if layer.proj_size:
        return autocast, wider
    if packed or dtype == torch.float16:
        return wider, wider
    return autocast, autocast


def in_bf16(x: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether a product of these tensors is one of bfloat16 on the CPU: by their type, or by autocast."""
    if not torch.is_autocast_enabled("cpu"):
        return all(each.is_cpu and each.dtype == torch.bfloat16 for each in (x, *weights))
    if torch.get_autocast_dtype("cpu") != torch.bfloat16:
        return False
    return all(each.is_cpu and each.dtype in (torch.float32, torch.bfloat16) for each in (x, *weights))


def _elsewhere(layer: Any, x: Tensor, weights: Sequence[Any]) -> Arithmetic | None:
    """Return how a call on another device computes: as torch does, unless the layer asks for bf16."""
    require(layer.compute, layer.saved)
    if layer.compute == "int8":
        raise GatewrightError("compute", f'"full" or "bf16" on {x.device}', '"int8"')
    float32 = all(isinstance(W, Tensor) and W.dtype == torch.float32 for W in (x, *weights))
    if layer.compute == "full" or not float32 or _torch_private.any_autocast():
        return None
    code = BF16 if layer.saved == "bf16" else BF16_KEPT_FLOAT32
    return Arithmetic(code, None, torch.float32, torch.float32, torch.float32)


def code_of(layer: Any, x: Tensor) -> int:
    """Return the arithmetic of a layer that is looked into, with gates and cell states as they were.

    Raises:
        GatewrightError: if that is int8, which takes no gates that are held.
    """
    if layer.compute == "int8":
        raise GatewrightError("compute", '"full" or "bf16" where gates or cell states are changed', '"int8"')
    how = arithmetic(layer, x, layer._current_weights(), packed=False)
    return FULL if how is None or how.code == FULL else BF16_KEPT_FLOAT32


def array(name: str, tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a weight in its own memory to readers of NumPy arrays.

    Raises:
        GatewrightError: names the weight if it is bfloat16, which NumPy does not have.
    """
    if tensor.dtype == torch.bfloat16:
        raise GatewrightError(name, "float32, such as of a model after .float()", "bfloat16")
    return np.from_dlpack(tensor.detach().cpu())


def kept_type(x: Tensor, code: int) -> torch.dtype:
    """Return the type of the gates and cell states that a pass keeps."""
    return {FULL: x.dtype, BF16: torch.bfloat16}.get(code, torch.float32)


def rows(how: Arithmetic, x: Tensor) -> Tensor:
    """Return an input as the operators take it."""
    return x.to(how.rows) if how.rounding is None else x.to(how.rounding).float()


def weights(how: Arithmetic, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return weights as the operators take them: float32 or bfloat16."""
    if how.rounding is not None:
        return [W.to(how.rounding).float() for W in tensors]
    return [W.float() if W.dtype == torch.float16 else W for W in tensors]


def state(how: Arithmetic, x: Tensor, hx: Any, shapes: Sequence[Any]) -> tuple[Any, Any]:
    """Return the initial state of a call as the operators take it: zeros of the type of the last one if None."""
    if hx is None:
        wide = how.rounding is not None or how.code == INT8
        h, c = (torch.float32, torch.float32) if wide else (how.y, how.c)
        return layer_sizes.zeros(x, shapes[0], h), layer_sizes.zeros(x, shapes[1], c)
    h_0, c_0 = (layer_sizes.each(lambda part: weights(how, [part])[0], each) for each in hx)
    return h_0, c_0


def record(how: Arithmetic, found: Record | None) -> Record | None:
    """Return the record of a pass with its tensors in the type of the results, where that is float16."""
    if found is None or how.y != torch.float16:
        return found

    def narrowed(layer: LayerRecord) -> LayerRecord:
        values = {
            name: each.to(how.c if name.startswith("cell") else how.y)
            for name, each in vars(layer).items()
            if isinstance(each, Tensor)
        }
        return replace(layer, **values, reverse=layer.reverse and narrowed(layer.reverse))

    return replace(found, layers=tuple(narrowed(layer) for layer in found.layers))


@functools.cache
def _note_float16() -> None:
    warnings.warn(
        "float16 tensors are rounded to bfloat16, the type of this autocast, and lose three of ten binary digits",
        UserWarning,
        stacklevel=2,
    )
