"""Adjoints of the weights of each call of a batch, such as gradients by samples: one product over time for each.

The calls run as one; what the kernels give of them is the adjoint of the gates before activation, as large as what
the forward pass kept, and no gradient of a weight is there more than once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gatewright.nn import _torch_private, batched_calls, precision
from gatewright.nn.call import BEFORE_X, OF_RESULTS, Call
from gatewright.spec.cell import cell_code


def fit(call: Call, tensors: Sequence[Any]) -> bool:
    """Whether the adjoints of the weights are products of those of the gates, and the kernels can give these.

    Args:
        call: which call.
        tensors: the weights, and what follows them as in the operator.
    """
    plain = call.cell in (cell_code(False, 0), cell_code(True, 0))
    if not plain or call.compute != precision.FULL or call.split(tensors)[1].in_use():
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
    count, batch_sizes = batch.calls, batch.batch_sizes
    sizes, tensors = batched_calls.folded_arguments(batch)
    gates = dataclasses.replace(call, need_weights=False, need_gates=True)
    *results, dpre = run(gates, sizes, *tensors)
    y, x, h_0 = tensors[OF_RESULTS], tensors[BEFORE_X], tensors[BEFORE_X + 1]
    assert dpre is not None
    d, x, y, h_0 = (batched_calls.unfolded(each, count) for each in (dpre, x, y, h_0))
    before = _states_before(y, h_0, batch_sizes, call.reverse).flatten(0, -3)
    d, x = d.flatten(0, -3), x.flatten(0, -3)  # (rows of all steps, calls, width)
    dW = [torch.bmm(d.permute(1, 2, 0), rows.transpose(0, 1)) for rows in (x, before)]
    if call.weights > len(dW):
        dW += [d.sum(0), d.sum(0)]  # in memory of their own, as any two gradients
    found = [None if each is None else batched_calls.unfolded(each, count) for each in results]
    dims = [None if each is None else each.dim() - 2 for each in found]
    found[3 : 3 + call.weights], dims[3 : 3 + call.weights] = dW, [0] * len(dW)
    return (*found, None), (*dims, None)


def _states_before(y: Tensor, h_0: Tensor, batch_sizes: Tensor | None, reverse: bool) -> Tensor:
    """Return the hidden state before each step, (T, B, calls, P) or (rows, calls, P)."""
    if batch_sizes is None:
        return torch.cat([y[1:], h_0[None]] if reverse else [h_0[None], y[:-1]])
    counts = batch_sizes.tolist()
    starts = [0]
    for count in counts:
        starts.append(starts[-1] + count)
    place: list[int] = []
    for t, count in enumerate(counts):
        before = t + 1 if reverse else t - 1
        there = min(count, counts[before]) if 0 <= before < len(counts) else 0
        place += [starts[before] + row for row in range(there)] if there else []
        place += [starts[-1] + row for row in range(there, count)]
    return torch.cat([y, h_0])[torch.tensor(place, dtype=torch.int64)]
