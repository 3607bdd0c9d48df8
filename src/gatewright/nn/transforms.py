"""The operator under transforms of `torch.func`: by the kernels, with a rule for batches of calls.

Forward-mode derivatives (`torch.func.jvp`) are not here: for those, torch's operations run step by step.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gatewright import kernels
from gatewright.nn import _torch_private, adjoint, autograd, batched_calls, operators, precision
from gatewright.nn.call import Call
from gatewright.spec.cell import PLAIN_CODES, LayerWeights


def layer(call: Call, batch_sizes: Tensor | None, *tensors: Any) -> Sequence[Tensor | None]:
    """Run one layer in one direction, by the kernels; return y, h_n, c_n, gates and cell states.

    Args:
        call: which call; gates and cell states are None where they are not kept.
        batch_sizes: rows of each step, of packed steps.
        tensors: x, h_0, c_0, the weights, and what follows them as in the operator.
    """
    transformed = _torch_private.in_transform(*tensors)
    if not (transformed or call.keep):
        return autograd.layer(call, batch_sizes, *tensors)
    # Derivatives of this transform, or of one outside of it, need what is kept.
    trained = adjoint.differentiable(*tensors)
    if trained and call.compute == precision.INT8:
        precision.refuse_gradient()
    keep = call.keep or trained
    call = dataclasses.replace(call, keep=keep, checkpoint=0 if keep else call.checkpoint)
    results: Sequence[Tensor | None] = Lstm.apply(call, batch_sizes, *tensors)
    return results


class Lstm(torch.autograd.Function):
    """The operator with its adjoint, as `torch.func` wants it."""

    @staticmethod
    def forward(call: Call, batch_sizes: Tensor | None, *tensors: Any) -> Any:
        """Run the operator."""
        x, h_0, c_0, *rest = tensors
        weights, extras = call.split(rest)
        run = operators.lstm_kernel if adjoint.direct(*tensors, batch_sizes) else operators.lstm
        results = run(x, h_0, c_0, weights, call.cell, batch_sizes, call.options(), *extras.present())
        return results if call.keep else (*results[:3], None, None)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what the backward pass needs."""
        ctx.call, batch_sizes, *tensors = inputs
        y, _, _, gates, cells = output
        ctx.save_for_backward(batch_sizes, y, gates, cells, *tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *d: Tensor | None) -> tuple[Any, ...]:
        """Return the adjoints of the tensors that need one."""
        needs = ctx.needs_input_grad[2:]
        gradients = adjoint.gradients_of(ctx.call, ctx.saved_tensors, d, needs)
        return (None, None, *gradients, *[None] * (len(needs) - len(gradients)))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], call: Call, batch_sizes: Tensor | None, *tensors: Any) -> Any:
        """Run a batch of calls: as one where they have the same weights."""
        batch = batched_calls.Batch(info.batch_size, batch_sizes, tensors, in_dims[2:], call.row_axes())
        run = functools.partial(layer, call)
        if batch.folds() and call.folds(tensors[3:]):
            batch = batch._replace(tensors=call.numbered(tensors, batch.rows(1)))
            return batched_calls.as_one(run, batch)
        trained = adjoint.differentiable(*tensors)
        if not _is_plain(call, tensors) or (trained and call.checkpoint):
            return batched_calls.one_by_one(run, batch)
        if not trained:
            return _one_by_one(call, batch)
        results = Members.apply(call, batch._replace(tensors=()), *tensors)
        return results, tuple(None if each is None else 0 for each in results)


def _is_plain(call: Call, tensors: Sequence[Any]) -> bool:
    """Whether nothing outside of this transform looks into a call, and it needs no more than the plain kernels."""
    if _torch_private.in_transform(*tensors) or not adjoint.direct(*tensors):
        return False
    return call.cell <= PLAIN_CODES and not call.split(tensors[3:])[1].in_use()


class Members(torch.autograd.Function):
    """A batch of plain calls in an ordinary graph, each with weights of its own, with their rows in one memory."""

    @staticmethod
    def forward(ctx: Any, call: Call, batch: batched_calls.Batch, *tensors: Any) -> Any:
        """Run call by call, and keep what the backward pass needs."""
        results = _one_by_one(dataclasses.replace(call, keep=True), batch._replace(tensors=tensors))[0]
        y, h_n, c_n, gates, cells = results
        ctx.call, ctx.batch = call, batch
        ctx.save_for_backward(y, gates, cells, *tensors)
        ctx.set_materialize_grads(False)
        return results if call.keep else (y, h_n, c_n, None, None)

    @staticmethod
    def backward(ctx: Any, *d: Tensor | None) -> tuple[Any, ...]:
        """Return the adjoints of the tensors that need one; the sum of all calls where all read the same."""
        y, gates, cells, *tensors = ctx.saved_tensors
        batch = ctx.batch._replace(tensors=tensors)
        needs = ctx.needs_input_grad[2:]
        of_calls = [
            adjoint.gradients_of(
                ctx.call,
                (batch.batch_sizes, y[n], gates[n], cells[n], *batch.single(n)),
                [None if each is None else each[n] for each in d],
                needs[: 5 + ctx.call.weights],
            )
            for n in range(batch.calls)
        ]
        gradients: list[Tensor | None] = []
        for dim, of_one in zip(batch.dims, zip(*of_calls, strict=True), strict=False):
            if of_one[0] is None:
                gradients.append(None)
            else:
                gradients.append(sum(of_one[1:], of_one[0]) if dim is None else torch.stack(of_one, dim))
        return (None, None, *gradients, *[None] * (len(needs) - len(gradients)))


def _one_by_one(call: Call, batch: batched_calls.Batch) -> tuple[Any, Any]:
    """Run call by call, with the rows of all calls in one memory: stacking them would take a part of the time."""
    calls = batch.calls
    stacks: list[Tensor | None] = []
    states = []
    args = operators.sequence_args(batch.batch_sizes, call.reverse, 0, call.compute)
    for n in range(calls):
        x, h_0, c_0, *rest = batch.single(n)
        layer = LayerWeights.of(call.cell, call.split(rest)[0])
        if not stacks:
            shape, (H4, P) = (calls, *x.shape[:-1]), layer.W_hh.shape
            dtype = precision.kept_type(x, call.compute)
            stacks = [x.new_empty(*shape, P), None, None]
            if call.keep:
                stacks[1:] = _memory((*shape, H4), dtype), _memory((*shape, H4 // 4), dtype)
        into = [None if stack is None else stack[n] for stack in stacks]
        states.append(operators.forward(x, h_0, c_0, layer, args, keep=call.keep, into=into)[1:3])
    h_n, c_n = (torch.stack(of_calls) for of_calls in zip(*states, strict=True))
    y, gates, cells = stacks
    return (y, h_n, c_n, gates, cells), (0, 0, 0, None if gates is None else 0, None if cells is None else 0)


def _memory(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return memory that the kernels use again: new pages cost as much as a part of the work."""
    if dtype == torch.bfloat16:
        count = math.prod(shape)
        return torch.from_numpy(kernels.memory(((count + 1) // 2,))).view(dtype)[:count].view(*shape)
    return torch.from_numpy(kernels.memory(shape, str(dtype).removeprefix("torch.")))
