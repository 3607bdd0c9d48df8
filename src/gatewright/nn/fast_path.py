"""The fast path: one layer in one direction by the kernels, and when they apply; `fallback` is the other path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gatewright.nn import _torch_private, adjoint, autograd, onnx_lstm, operators, slow_path, transforms
from gatewright.nn.call import Call, CallOptions
from gatewright.nn.extras import Extras
from gatewright.nn.record import LayerRecord
from gatewright.spec.cell import LayerWeights

_DTYPES = (torch.float32, torch.float64)
_PLAIN, _DEFAULT = Extras(), CallOptions()


def takes(x: Tensor, weights: Sequence[Tensor | None]) -> bool:
    """Whether the operators take these tensors: all there, on the CPU and of one type that the kernels have."""
    dtype = x.dtype
    if dtype not in _DTYPES or not x.is_cpu:
        return False
    if dtype != torch.float64 and torch.is_autocast_enabled("cpu"):
        return False
    for W in weights:  # noqa: SIM110 - a generator costs a microsecond of a small call
        if W is None or W.dtype != dtype or not W.is_cpu:
            return False
    return True


def looked_into(x: Tensor, hx: Any, weights: Sequence[Tensor | None]) -> bool:
    """Whether a transform of `torch.func` is active, or a tensor has a tangent."""
    tensors = (x, *(hx if isinstance(hx, tuple | list) else ()), *weights)
    return _torch_private.in_transform(*tensors) or adjoint.have_tangents(*tensors)


def step_by_step(x: Tensor, hx: Any, weights: Sequence[Tensor | None]) -> bool:
    """Whether what looks into a layer needs torch's operations: tangents do, and transforms that are compiled."""
    if torch.compiler.is_compiling():
        return True
    tensors = (x, *(hx if isinstance(hx, tuple | list) else ()), *weights)
    if adjoint.have_tangents(*tensors):
        slow_path.say("Forward-mode derivatives")
    elif adjoint.functionalized(*tensors):
        slow_path.say("Functionalized calls")
    else:
        return False
    return True


def sequence(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: LayerWeights,
    how: CallOptions = _DEFAULT,
    *,
    reverse: bool = False,
    extras: Extras = _PLAIN,
) -> tuple[Tensor, Tensor, Tensor, LayerRecord | None]:
    """Run one layer in one direction, by the kernels.

    Equations: those of `gatewright.nn.fallback.sequence`.

    Args:
        x: input, (T, B, D); with ``how.batch_sizes`` (rows, D), the rows of each step after those of the step
            before.
        h_0: hidden state before the first step, (B, H), or (B, P) with a projection.
        c_0: cell state before the first step, (B, H).
        weights: the layer's parameters.
        how: what all layers and directions have in common.
        reverse: whether to read x from its last step to its first.
        extras: steps and resets that rows have for themselves.

    Returns:
        y, shaped as x but (..., H) or (..., P); h_n and c_n, shaped as h_0 and c_0; and the record or None, whose
        fields are (T, B, H), or (rows, H) of packed steps.  Types are those of x, h_0 and c_0; gates and cell
        states of a record in bf16 have that in which they are kept.

    Raises:
        GatewrightError: if sizes do not fit.

    >>> weights = LayerWeights(W_ih=torch.zeros(8, 3), W_hh=torch.zeros(8, 2))
    >>> x, h_0, c_0 = torch.ones(5, 1, 3), torch.zeros(1, 2), torch.ones(1, 2)
    >>> y, h_n, c_n, record = sequence(x, h_0, c_0, weights, CallOptions(record=True))
    >>> record.forget_gate[0], record.cell[:, 0, 0]
    (tensor([[0.5000, 0.5000]]), tensor([0.5000, 0.2500, 0.1250, 0.0625, 0.0312]))
    """
    batch_sizes, record, checkpoint, compute = how
    options = [int(reverse), int(record), 0 if record else checkpoint, compute]
    present, further = weights.present(), extras.tensors()
    inputs = (x, h_0, c_0, *present, *further)
    direct = adjoint.direct(*inputs)
    results: Any
    if _torch_private.in_transform(*inputs):
        call = Call(weights.code, len(present), reverse, options[2], compute, tuple(extras.rates), keep=record)
        results = transforms.layer(call, batch_sizes, *inputs)
    elif direct and not adjoint.differentiable(*inputs):
        args = operators.sequence_args(batch_sizes, reverse, options[2], compute, extras, fill=record)
        results = operators.forward(x, h_0, c_0, weights, args, keep=record)
    elif direct:
        results = autograd.Lstm.apply(
            None, weights.code, batch_sizes, options, extras, x, h_0, c_0, *present, *further[:2]
        )
    else:
        if not _torch_private.can_redispatch() and adjoint.differentiable(*inputs):
            options[1] = 1  # or the backward pass would have to run it again
        run = onnx_lstm.decomposed if onnx_lstm.is_exported() else operators.lstm
        results = run(x, h_0, c_0, present, weights.code, batch_sizes, options, *extras.present())
    y, h_n, c_n, gates, cells = results
    if not record:
        return y, h_n, c_n, None
    assert gates is not None
    assert cells is not None
    i, f, g, o = gates.chunk(4, dim=-1)
    layer = LayerRecord(i, f, g, o, cells, y, cell_initial=c_0, hidden_initial=h_0)
    return y, h_n, c_n, layer.with_resets(extras.reset, extras.lengths, extras.c_reset)
