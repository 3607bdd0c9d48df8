"""The linear layer behind a stack, by the kernels: to the same bits as in a stream."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gatewright import kernels
from gatewright.nn import fast_path, operators
from gatewright.nn.fx_node import fx_node


class Linear(nn.Linear):
    """`torch.nn.Linear`, whose result for a row does not depend on the other rows.

    On the CPU, for float32 and float64, `gatewright.kernels.linear` does the work; elsewhere torch's operation.

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
        if not fast_path.takes(input, weights) or fast_path.looked_into(input, None, weights):
            return functional.linear(input, self.weight, self.bias)
        y = linear(input.reshape(-1, self.in_features), self.weight, self.bias)
        return y.reshape(*input.shape[:-1], self.out_features)


def _linear(x: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
    y = x.new_empty(x.shape[0], W.shape[0])
    x_, W_, b_ = operators.dense(x, W, b)
    kernels.linear(x_, W_, b_, threads=torch.get_num_threads(), out=operators.dense(y)[0])
    return y


def _shapes(x: Tensor, W: Tensor, _b: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], W.shape[0])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    x, W, _ = inputs
    ctx.save_for_backward(x, W)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, W = ctx.saved_tensors
    need_x, need_W, need_b = ctx.needs_input_grad
    # The library of torch's products divides a sum among threads: dW depends on their number in its last bits.
    # Our own `linear`, one chain of additions for each number, takes several times as long here, and rounds more.
    return (dy @ W if need_x else None, dy.T @ x if need_W else None, dy.sum(0) if need_b else None)


linear = operators.define("linear", _linear, _shapes)
torch.library.register_autograd("gatewright::linear", _backward, setup_context=_keep, lib=operators.library)
