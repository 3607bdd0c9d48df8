"""A batch of calls of an operator, as `torch.func.vmap` makes it: as one call of more rows, or call by call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

#: Rows of a call from which on more of them hardly make it faster.
_ENOUGH_ROWS = 64

_Run = Callable[..., Sequence[Tensor | None]]


class Batch(NamedTuple):
    """The arguments of a batch of calls.

    Attributes:
        calls: number of calls.
        batch_sizes: rows of each step, of packed steps; the same in all calls.
        tensors: the others; None for one that is not there.
        dims: where the calls are in each tensor; None where all calls have the same.
        axes: where the rows of a call are in each tensor of a single call, from its end; None for nowhere.
    """

    calls: int
    batch_sizes: Tensor | None
    tensors: Sequence[Any]
    dims: Sequence[int | None]
    axes: Sequence[int | None]

    def rows(self, n: int) -> int:
        """Return how many rows a single call has by the n-th tensor, whose dimension before the last is rows."""
        tensor, dim = self.tensors[n], self.dims[n]
        return int((tensor if dim is None else tensor.select(dim, 0)).shape[-2])

    def folds(self) -> bool:
        """Whether the calls differ in nothing but rows: not in their weights, nor in a seed."""
        return all(dim is None or axis is not None for dim, axis in zip(self.dims, self.axes, strict=True))

    def single(self, n: int) -> list[Any]:
        """Return the tensors of one call."""
        return [t if dim is None else t.select(dim, n) for t, dim in zip(self.tensors, self.dims, strict=True)]

    def part(self, begin: int, end: int) -> Batch:
        """Return some of the calls."""
        tensors = [
            each if dim is None else each.narrow(dim, begin, end - begin)
            for each, dim in zip(self.tensors, self.dims, strict=True)
        ]
        return self._replace(calls=end - begin, tensors=tensors)


def one_by_one(run: _Run, batch: Batch) -> tuple[Any, Any]:
    """Run call by call; return stacked results, and where the calls are in each."""
    single = (run(batch.batch_sizes, *batch.single(n)) for n in range(batch.calls))
    results = tuple(
        None if of_calls[0] is None else torch.stack(of_calls) for of_calls in zip(*single, strict=True)
    )
    return results, tuple(None if each is None else 0 for each in results)


def as_one(run: _Run, batch: Batch) -> tuple[Any, Any]:
    """Run calls that fold as one call of more rows; return its results, and where the calls are in each.

    Every result has rows in its dimension before the last.
    """
    sizes, tensors = folded_arguments(batch)
    results = [None if each is None else unfolded(each, batch.calls) for each in run(sizes, *tensors)]
    return tuple(results), tuple(None if each is None else each.dim() - 2 for each in results)


def folded_arguments(batch: Batch) -> tuple[Tensor | None, list[Any]]:
    """Return the arguments of calls that fold as those of one call: rows of each step, and the tensors."""
    sizes = None if batch.batch_sizes is None else batch.batch_sizes * batch.calls
    tensors = [
        each if axis is None else folded(each, dim, batch.calls, axis)
        for each, dim, axis in zip(batch.tensors, batch.dims, batch.axes, strict=True)
    ]
    return sizes, tensors


def in_parts(run: Callable[[Batch], tuple[Any, Any]], batch: Batch, rows: int) -> tuple[Any, Any]:
    """Run calls that fold, as many as one as make it faster; return results, and where the calls are in each.

    Args:
        run: runs a batch as one.
        batch: all calls.
        rows: of a single call.
    """
    at_once = max(1, _ENOUGH_ROWS // max(rows, 1))
    if at_once >= batch.calls:
        return run(batch)
    parts = [run(batch.part(begin, min(begin + at_once, batch.calls))) for begin in range(0, batch.calls, at_once)]
    dims = parts[0][1]
    columns = zip(*(results for results, _ in parts), strict=True)
    return tuple(
        None if dim is None else torch.cat(of_parts, dim) for of_parts, dim in zip(columns, dims, strict=True)
    ), dims


def folded(tensor: Tensor | None, dim: int | None, count: int, axis: int = -2) -> Tensor | None:
    """Return a tensor of a batch of calls as of one call: a row of all calls, then the next row.

    >>> folded(torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]), 0, 2).flatten()
    tensor([1., 3., 2., 4.])
    """
    if tensor is None:
        return None
    if dim is None:
        tensor = tensor.unsqueeze(axis)
        sizes = [-1] * tensor.dim()
        sizes[axis] = count
        return tensor.expand(sizes).flatten(axis - 1, axis)
    return tensor.movedim(dim, axis).flatten(axis - 1, axis)


def unfolded(tensor: Tensor, count: int) -> Tensor:
    """Return the reverse of `folded`, with the calls in the dimension before the last."""
    return tensor.unflatten(-2, (tensor.shape[-2] // count, count))
