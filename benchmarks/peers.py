"""The contenders: `gatewright.LSTM` and `torch.nn.RNNBase` with the same weights, and what is asked of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import gatewright
from benchmarks.cases import Case
from benchmarks.timing import Call

OURS, TORCH, ORT = "gatewright", "torch", "onnxruntime"

#: Largest difference from torch, over the largest value or 1: float32 in another order of summation.
TOLERANCE = 1e-4


class DisagreementError(RuntimeError):
    """Two contenders compute different things, so timing them says nothing."""


def torch_layer(case: Case) -> nn.LSTM:
    """Return torch's layer; its weights are the same each time."""
    torch.manual_seed(0)
    return nn.LSTM(case.D, case.H)


def our_layer(case: Case, **options: Any) -> gatewright.LSTM:
    """Return our layer with the weights of torch's.

    Args:
        case: its sizes.
        options: arguments that only our layer has.
    """
    layer = gatewright.LSTM(case.D, case.H, **options)
    layer.load_state_dict(torch_layer(case).state_dict())
    return layer


def layers(case: Case) -> dict[str, nn.RNNBase]:
    """Return both layers, by contender."""
    return {OURS: our_layer(case), TORCH: torch_layer(case)}


def inputs(case: Case) -> tuple[Tensor, Tensor]:
    """Return the input (T, B, D) and the adjoint of the output (T, B, H)."""
    torch.manual_seed(1)
    return torch.randn(case.T, case.B, case.D), torch.randn(case.T, case.B, case.H)


def forward(layer: nn.RNNBase, x: Tensor) -> Call:
    """Return a call that runs the layer for inference: y, h_n, c_n."""
    layer.eval()  # torch prepares for a backward pass otherwise

    def call() -> Sequence[Tensor]:
        with torch.no_grad():
            y, (h_n, c_n) = layer(x)
        return y, h_n, c_n

    return call


def training_forward(layer: nn.RNNBase, x: Tensor, **options: Any) -> Call:
    """Return a call that runs the layer so that a backward pass could follow: y, h_n, c_n."""
    layer.train()
    x = x.clone().requires_grad_()

    def call() -> Sequence[Tensor]:
        y, (h_n, c_n) = layer(x, **options)[:2]
        return y.detach(), h_n.detach(), c_n.detach()

    return call


def training(layer: nn.RNNBase, x: Tensor, dy: Tensor) -> Call:
    """Return a call that runs the layer forward and backward: y, dx and the gradients of the parameters."""
    layer.train()
    x = x.clone().requires_grad_()
    leaves = [x, *layer.parameters()]

    def call() -> Sequence[Any]:
        for leaf in leaves:
            leaf.grad = None
        y, _ = layer(x)
        y.backward(dy)
        return y.detach(), *(leaf.grad for leaf in leaves)

    return call


def agree(results: Mapping[str, Sequence[Any]]) -> None:
    """Compare everyone's results with those of the first.

    Args:
        results: tensors or arrays by contender; shapes may differ by axes of length 1.

    Raises:
        DisagreementError: if any two differ by more than `TOLERANCE`.
    """
    (judge, expected), *others = results.items()
    for name, found in others:
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            a, b = np.asarray(one), np.asarray(other).reshape(one.shape)
            difference = float(np.abs(a - b).max(initial=0.0))
            if not difference <= TOLERANCE * max(1.0, float(np.abs(a).max(initial=0.0))):
                raise DisagreementError(f"result {number} of {judge} and {name} differ by {difference:.2g}")
