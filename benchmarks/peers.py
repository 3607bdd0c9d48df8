"""The contenders: `gatewright.LSTM` and `torch.nn.RNNBase` with the same weights, and what is asked of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import gatewright
from benchmarks.cases import Case
from benchmarks.contenders import ORT as ORT
from benchmarks.contenders import OURS as OURS
from benchmarks.contenders import TORCH as TORCH
from benchmarks.timing import Call

#: Largest difference from torch, over the largest value or 1: float32 in another order of summation.
TOLERANCE = 1e-4

#: Largest error of a bfloat16 result against torch's float32, root mean square over root mean square. Operands are
#: rounded by up to 2^-9, some 0.002; torch and OpenVINO are at 0.002 to 0.006 in the thirteen cases.
BF16_TOLERANCE = 0.01

#: Around a call.
Context = Callable[[], AbstractContextManager[object]]
no_context: Context = nullcontext


def autocast() -> AbstractContextManager[object]:
    """Return the context in which torch's float32 layer computes in bfloat16."""
    return torch.autocast("cpu", dtype=torch.bfloat16)


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


def weights(layer: nn.RNNBase) -> tuple[NDArray[np.float32], ...]:
    """Return the weights of a layer of one direction: W_ih, W_hh, b_ih, b_hh."""
    return tuple(parameter.detach().numpy() for parameter in layer.parameters())


def inputs(case: Case) -> tuple[Tensor, Tensor]:
    """Return the input (T, B, D) and the adjoint of the output (T, B, H)."""
    torch.manual_seed(1)
    return torch.randn(case.T, case.B, case.D), torch.randn(case.T, case.B, case.H)


def forward(layer: nn.RNNBase, x: Tensor, context: Context = no_context) -> Call:
    """Return a call that runs the layer for inference: y, h_n, c_n."""
    layer.eval()  # torch prepares for a backward pass otherwise

    def call() -> Sequence[Tensor]:
        with torch.no_grad(), context():
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


def training(layer: nn.RNNBase, x: Tensor, dy: Tensor, context: Context = no_context) -> Call:
    """Return a call that runs the layer forward and backward: y, dx and the gradients of the parameters."""
    layer.train()
    x = x.clone().requires_grad_()
    leaves = [x, *layer.parameters()]

    def call() -> Sequence[Any]:
        for leaf in leaves:
            leaf.grad = None
        with context():
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
    for name, arrays in others:
        compare(judge, expected, name, arrays)


def compare(
    judge: str, expected: Sequence[Any], name: str, arrays: Sequence[Any], *, bf16: bool = False
) -> list[float]:
    """Compare the results of a contender with those of another, and return the relative error of each.

    Args:
        judge: the name of the other.
        expected: its results.
        name: of the contender.
        arrays: its results; shapes may differ by axes of length 1.
        bf16: whether the contender computes in bfloat16.

    Raises:
        DisagreementError: if a result differs by more than `TOLERANCE` or `BF16_TOLERANCE`.
    """
    errors = []
    for number, (result, other) in enumerate(zip(expected, arrays, strict=True)):
        a, b = np.asarray(result), np.asarray(other).reshape(result.shape)
        difference = np.abs(a - b)
        error = _root_mean_square(difference) / (_root_mean_square(a) or 1.0)
        largest = float(difference.max(initial=0.0)) / max(1.0, float(np.abs(a).max(initial=0.0)))
        if not (error <= BF16_TOLERANCE if bf16 else largest <= TOLERANCE):
            raise DisagreementError(
                f"result {number} of {judge} and {name} differ by {error if bf16 else largest:.2g}"
            )
        errors.append(error)
    return errors


def _root_mean_square(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if values.size else 0.0
