"""Adjoints of the weights of each call of a batch, such as gradients by samples: one product over time for each.

The calls run as one; what the kernels give of them is the adjoint of the gates before activation, as large as what
the forward pass kept, and no gradient of a weight is there more than once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gatewright.nn import _torch_private, batched_calls, operators, precision
from gatewright.nn.call import BEFORE_X, OF_RESULTS, Call
from gatewright.spec.cell import cell_code


def fit(call: Call) -> bool:
    """Whether the adjoints of the weights are products of those of the gates, and the kernels can give these."""
    plain = call.cell in (cell_code(False, 0), cell_code(True, 0))
    if not plain or call.compute != precision.FULL or call.rates:
        return False
    return _torch_private.nothing_intercepts() and not torch.compiler.is_compiling()


def as_one(
    call: Call, run: Callable[..., Sequence[Tensor | None]], batch: batched_calls.Batch
) -> tuple[tuple[Tensor | None, ...], tuple[int | None, ...]]:
    """Run a batch of calls of the adjoint as one; return its results, and where the calls are in each.

    Args:
        call: which calls.
        run: a call of the adjoint, whose first argument is a `Call`.
        batch: their arguments.
    """
    count = batch.calls
    sizes, tensors = batched_calls.folded_arguments(batch)
    gates = dataclasses.replace(call, need_weights=False, need_gates=True)
    *results, dpre = run(gates, sizes, *tensors)
    y, x, h_0 = tensors[OF_RESULTS], tensors[BEFORE_X], tensors[BEFORE_X + 1]
    assert dpre is not None
    _, extras = call.split(tensors[BEFORE_X + 3 :])
    before = _states_before(y, h_0, sizes, call.reverse)
    if extras.has_steps():
        x, before = _of_steps(extras, x, before, h_0, call.reverse)
    # (rows of all steps, calls, width)
    d, x, before = (batched_calls.unfolded(each, count).flatten(0, -3) for each in (dpre, x, before))
    dW = [torch.bmm(d.permute(1, 2, 0), rows.transpose(0, 1)) for rows in (x, before)]
    if call.weights > len(dW):
        dW += [d.sum(0), d.sum(0)]  # in memory of their own, as any two gradients
    found = [None if each is None else batched_calls.unfolded(each, count) for each in results]
    dims = [None if each is None else each.dim() - 2 for each in found]
    found[3 : 3 + call.weights], dims[3 : 3 + call.weights] = dW, [0] * len(dW)
    return (*found, None), (*dims, None)


def _states_before(y: Tensor, h_0: Tensor, batch_sizes: Tensor | None, reverse: bool) -> Tensor:
    """Return the hidden state before each step, shaped as y."""
    if batch_sizes is None:
        return torch.cat([y[1:], h_0[None]] if reverse else [h_0[None], y[:-1]])
    steps, rows = len(batch_sizes), len(y)
    starts = batch_sizes.cumsum(0) - batch_sizes
    step = torch.arange(steps).repeat_interleave(batch_sizes)
    row = torch.arange(rows) - starts[step]
    other = step + 1 if reverse else step - 1
    near = other.clamp(0, steps - 1)
    there = (other == near) & (row < batch_sizes[near])
    return torch.cat([y, h_0])[torch.where(there, starts[near] + row, rows + row)]


def present_steps(extras: operators.Extras, T: int) -> Tensor | None:
    """Return whether a row has a step, (T, B); None where all have all."""
    if extras.lengths is None:
        return extras.mask
    within = torch.arange(T, device=extras.lengths.device)[:, None] < extras.lengths
    return within if extras.mask is None else within & extras.mask


def _of_steps(
    extras: operators.Extras, x: Tensor, before: Tensor, h_0: Tensor, reverse: bool
) -> tuple[Tensor, Tensor]:
    """Return x and the hidden state before each step where rows have steps and resets of their own.

    x is zero where it is not read, and may be anything.
    """
    present = present_steps(extras, len(x))
    if present is not None:
        x = torch.where(present[..., None], x, 0.0)
    if reverse and extras.lengths is not None:  # each row begins at its own end
        first = torch.arange(len(x), device=x.device)[:, None] == extras.lengths - 1
        before = torch.where(first[..., None], h_0, before)
    if extras.reset is not None:
        h_reset = torch.zeros_like(h_0) if extras.h_reset is None else extras.h_reset
        before = torch.where(extras.reset[..., None], h_reset, before)
    return x, before
