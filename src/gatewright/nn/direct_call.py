"""The shortest way to the kernels: plain tensors of the CPU, of which one native call reads memory and sizes.

A short call is over in less time than the general way takes to look at its arguments.  `run` does the plain case,
and leaves everything else, errors included, to `gatewright.nn.LSTM`: it says None, and nothing has happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatewright.native_module import _kernels
from gatewright.nn import _torch_private, autograd, precision
from gatewright.nn.initial_state import State
from gatewright.spec.cell import cell_code

_PLAIN = (Tensor, torch.nn.Parameter)

#: Size from which the activations that a pass keeps are in memory that the kernels use again.
_KEPT_BYTES = 1 << 18

#: Codes of the arithmetic of a layer of float32, by its ``compute`` and ``saved``.
_CODES = {
    ("full", "bf16"): precision.FULL,
    ("full", "float32"): precision.FULL,
    ("bf16", "bf16"): precision.BF16,
    ("bf16", "float32"): precision.BF16_KEPT_FLOAT32,
}

#: Whether torch lets native code read its tensors (since 2.10).
_available: bool = _kernels.tensor_access(getattr(Tensor, "__dlpack_c_exchange_api__", None), *_PLAIN)


class _Stack(NamedTuple):
    """Sizes of the layers of a call as the native module takes them; P is 0 without a projection."""

    D: int
    H: int
    P: int
    layers: int
    bias: bool
    threads: int
    compute: int


def run(layer: Any, x: Tensor, hx: Any, weights: Sequence[Any]) -> tuple[Tensor, State] | None:
    """Run a stack of LSTM layers over padded input if all of it is the plain case, else return None.

    Args:
        layer: a `gatewright.nn.LSTM`.
        x: its input, whatever its shape.
        hx: as its states, of any type.
        weights: those of the layer, or what stands in their place.
    """
    if torch.compiler.is_compiling() or type(x) not in _PLAIN or not (_available and _torch_private.undisturbed()):
        return None
    compute = _CODES.get((layer.compute, layer.saved))
    if layer.bidirectional or layer.checkpoint or compute is None:
        return None
    if layer.dropout and layer.training and layer.num_layers > 1:
        return None
    h_0 = c_0 = None
    if hx is not None:
        if type(hx) not in (tuple, list) or len(hx) != 2:
            return None
        h_0, c_0 = hx
        if type(h_0) not in _PLAIN or type(c_0) not in _PLAIN:
            return None
    H, P, layers = layer.hidden_size, layer.proj_size, layer.num_layers
    stack = _Stack(layer.input_size, H, P, layers, layer.bias, torch.get_num_threads(), compute)
    swapped = layer.batch_first and x.dim() == 3
    if swapped:
        x = x.transpose(0, 1)
    if torch.is_grad_enabled() and _differentiable(x, h_0, c_0, weights):
        if layers > 1 or x.numel() == 0:
            return None
        y, h_n, c_n = _apply(stack, x, h_0, c_0, *weights)
    else:
        y, h_n, c_n = _results(x, layers, H, P or H)
        if not _kernels.tensor_forward(x, h_0, c_0, weights, y, h_n, c_n, None, *stack):
            return None
    if y is None:
        return None
    return y.transpose(0, 1) if swapped else y, (h_n, c_n)


def _differentiable(x: Tensor, h_0: Tensor | None, c_0: Tensor | None, weights: Sequence[Any]) -> bool:
    for W in weights:
        if W is not None and W.requires_grad:
            return True
    return bool(
        x.requires_grad or (h_0 is not None and h_0.requires_grad) or (c_0 is not None and c_0.requires_grad)
    )


def _results(x: Tensor, layers: int, H: int, P: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return room for y, h_n and c_n; of any shape where x has neither two nor three dimensions."""
    new = x.new_empty
    shape = x.shape
    if len(shape) == 3:
        T, B, _ = shape
        return new(T, B, P), new(layers, B, P), new(layers, B, H)
    return new(shape[0] if shape else 0, P), new(layers, P), new(layers, H)


def _room(x: Tensor, stack: _Stack, rows: int) -> Tensor:
    """Return room for gates and cell states of one layer, (1, rows, 5 H)."""
    dtype = torch.bfloat16 if stack.compute == precision.BF16 else x.dtype
    shape = 1, rows, 5 * stack.H
    size = rows * 5 * stack.H * dtype.itemsize
    if size <= _KEPT_BYTES:
        return x.new_empty(shape, dtype=dtype)
    return torch.from_numpy(_kernels.room(size)).view(dtype).view(shape)


class Lstm(torch.autograd.Function):
    """One layer with its adjoint; the results are None where it is not the plain case."""

    @staticmethod
    def forward(
        ctx: Any, stack: _Stack, x: Tensor, h_0: Tensor | None, c_0: Tensor | None, *weights: Tensor
    ) -> tuple[Any, Any, Any]:
        """Run the kernels, and keep what the backward pass needs."""
        _, H, P, *_ = stack
        y, h_n, c_n = _results(x, 1, H, P or H)
        kept = _room(x, stack, y.numel() // (P or H))
        if not _kernels.tensor_forward(x, h_0, c_0, weights, y, h_n, c_n, kept, *stack):
            return None, None, None
        ctx.stack = stack
        ctx.save_for_backward(x, h_0, c_0, y, kept, *weights)
        ctx.set_materialize_grads(False)
        return y, h_n, c_n

    @staticmethod
    def backward(ctx: Any, *adjoint: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the adjoints of the tensors that need one."""
        saved = ctx.saved_tensors  # once: each access runs the hooks that unpack them
        needs = ctx.needs_input_grad
        if not torch.is_grad_enabled() and _torch_private.undisturbed():
            gradients = _adjoint(ctx.stack, saved, adjoint, needs)
            if gradients is not None:
                return gradients
        return (None, *_adjoint_by_operators(ctx.stack, saved, adjoint, needs[1:]))


#: What `Lstm.apply` calls after it has looked for tensors of a transform that is over, which no native call reads.
_apply: Any = super(torch.autograd.Function, Lstm).apply


def _adjoint(
    stack: _Stack, saved: Sequence[Any], adjoint: Sequence[Tensor | None], needs: Sequence[bool]
) -> tuple[Tensor | None, ...] | None:
    """Return the adjoints of what `Lstm.forward` takes, or None if a tensor is not the plain case."""
    x, h_0, c_0, y, kept, *weights = saved
    _, need_x, need_h, need_c, *need_weights = needs
    dx = x.new_empty(x.shape) if need_x else None
    dh_0 = h_0.new_empty(h_0.shape) if need_h else None
    dc_0 = c_0.new_empty(c_0.shape) if need_c else None
    some = any(need_weights)
    dW = [torch.empty_like(W) for W in weights] if some else None
    inputs = (x, h_0, c_0, y, kept, weights, dx, dh_0, dc_0, dW)
    dy, dh_n, dc_n = adjoint
    if not _kernels.tensor_backward(dy, dh_n, dc_n, *inputs, *stack):
        dy, dh_n, dc_n = (None if d is None else d.contiguous() for d in adjoint)  # sums give expanded ones
        if not _kernels.tensor_backward(dy, dh_n, dc_n, *inputs, *stack):
            return None
    if dW is None:
        return None, dx, dh_0, dc_0, *[None] * len(weights)
    if all(need_weights):
        return None, dx, dh_0, dc_0, *dW
    return None, dx, dh_0, dc_0, *[d if need else None for d, need in zip(dW, need_weights, strict=True)]


class _Pass(NamedTuple):
    """What `autograd.gradients_of` needs of a context."""

    cell: int
    compute: int
    reverse: int = 0
    checkpoint: int = 0
    place: tuple[int, ...] = ()


def _adjoint_by_operators(
    stack: _Stack, saved: Sequence[Any], adjoint: Sequence[Tensor | None], needs: Sequence[bool]
) -> list[Tensor | None]:
    """Return the same by torch's dispatcher, differentiable where that is asked for."""
    x, h_0, c_0, y, kept, *weights = saved
    H, P = stack.H, stack.P or stack.H
    batched = x.dim() == 3
    B = x.shape[1] if batched else 1
    rows = (x.shape[0], B)
    gates, cells = kept.flatten().split([4 * H * kept.shape[1], H * kept.shape[1]])
    inputs = [
        x if batched else x[:, None],
        x.new_zeros(B, P) if h_0 is None else h_0.view(B, P),
        x.new_zeros(B, H) if c_0 is None else c_0.view(B, H),
    ]
    states = [y.view(*rows, P), gates.view(*rows, 4 * H), cells.view(*rows, H)]
    dy, dh_n, dc_n = adjoint
    wanted = [
        dy if dy is None or batched else dy[:, None],
        None if dh_n is None else dh_n.reshape(B, P),
        None if dc_n is None else dc_n.reshape(B, H),
        None,
        None,
    ]
    cell = _Pass(cell_code(stack.bias, stack.P), stack.compute)
    *gradients, _, _ = autograd.gradients_of(cell, (None, *states, *inputs, *weights), wanted, needs)
    return [
        None if d is None else d.reshape(tensor.shape)
        for d, tensor in zip(gradients, (x, h_0, c_0, *weights), strict=True)
    ]
