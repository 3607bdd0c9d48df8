"""The linear layer behind a stack, by the kernels: to the same bits as in a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gatewright import kernels
from gatewright.nn import _torch_private, adjoint, fast_path, onnx_lstm, operators, precision
from gatewright.nn.fx_node import fx_node


class Linear(nn.Linear):
    """`torch.nn.Linear`, whose result for a row does not depend on the other rows.

    On the CPU, for float32, float64 and bfloat16, also by autocast, `gatewright.kernels.linear` does the work;
    elsewhere torch's operation.

    >>> layer = Linear(3, 2)
    >>> x = torch.ones(5, 4, 3)
    >>> torch.equal(layer(x)[0, :1], layer(x[0, :1]))
    True
    """

    def forward(self, input: Any) -> Any:  # noqa: A002
        """Return b + x W', for x (..., D): (..., O)."""
        if not isinstance(input, Tensor):
            return fx_node(self, input)
        weights = [self.weight] if self.bias is None else [self.weight, self.bias]
        bf16 = precision.in_bf16(input, weights)
        by_kernels = bf16 or (fast_path.takes(input, weights) and not onnx_lstm.is_exported())
        if not by_kernels or fast_path.looked_into(input, None, weights):
            return functional.linear(input, self.weight, self.bias)
        input = input.bfloat16() if bf16 else input  # noqa: A001
        y = linear(input.reshape(-1, self.in_features), self.weight, self.bias)
        return y.reshape(*input.shape[:-1], self.out_features)


def _linear(x: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
    y = x.new_empty(x.shape[0], W.shape[0])
    x_, W_, b_ = operators.dense(x, W, b)
    compute = "bf16" if x.dtype == torch.bfloat16 else "full"
    kernels.linear(x_, W_, b_, threads=torch.get_num_threads(), out=operators.dense(y)[0], compute=compute)
    return y


def _shapes(x: Tensor, W: Tensor, _b: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], W.shape[0])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    x, W, b = inputs
    ctx.of_bias = None if b is None else b.dtype
    ctx.save_for_backward(x, W)


def _backward(ctx: Any, dy: Tensor, needs: Sequence[bool] | None = None) -> tuple[Tensor | None, ...]:
    x, W = ctx.saved_tensors
    need_x, need_W, need_b = ctx.needs_input_grad if needs is None else needs
    # The library of torch's products divides a sum among threads: dW depends on their number in its last bits.
    # Our own `linear`, one chain of additions for each number, takes several times as long here, and rounds more.
    dx = dy @ W.to(dy.dtype) if need_x else None  # weights of float32 were rounded for a bfloat16 input
    dW = (dy.T @ x).to(W.dtype) if need_W else None
    return dx, dW, dy.sum(0, dtype=ctx.of_bias) if need_b else None


class _Linear(torch.autograd.Function):
    """The operator with its adjoint."""

    @staticmethod
    def forward(ctx: Any, keys: Any, x: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
        _keep(ctx, (x, W, b), x)
        y: Tensor = _torch_private.redispatch(linear, keys, x, W, b)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *_backward(ctx, dy, ctx.needs_input_grad[1:]))


def _with_adjoint(keys: Any, x: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
    if onnx_lstm.is_translated():
        return functional.linear(x, W, b)
    differentiable = adjoint.differentiable(x, W, b)
    y: Tensor = (
        _Linear.apply(keys, x, W, b) if differentiable else _torch_private.redispatch(linear, keys, x, W, b)
    )
    return y


linear = operators.define("linear", _linear, _shapes)
if _torch_private.can_redispatch():
    operators.library.impl("linear", _with_adjoint, "Autograd", with_keyset=True)
else:
    torch.library.register_autograd("gatewright::linear", _backward, setup_context=_keep, lib=operators.library)
