"""Adjoints of the weights of each call of a batch, such as gradients by samples: one product over time for each.

The calls run as one; what the kernels give of them is the adjoint of the gates before activation, as large as what
the forward pass kept, and no gradient of a weight is there more than once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gatewright import counter_random
from gatewright.nn import _torch_private, batched_calls, kernel_cell, precision
from gatewright.nn.call import BEFORE_X, OF_RESULTS, Call
from gatewright.nn.extras import Extras
from gatewright.spec.cell import LAYER_NORM, PROJECTION, SLSTM, LayerWeights


def fit(call: Call) -> bool:
    """Whether the adjoints of the weights are products of those of the gates, and the kernels can give these."""
    if call.cell & (PROJECTION | LAYER_NORM | SLSTM) or call.compute != precision.FULL:
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
    assert dpre is not None
    found = [None if each is None else batched_calls.unfolded(each, count) for each in results]
    dims = [None if each is None else each.dim() - 2 for each in found]
    dW = _of_weights(call, sizes, tensors, dpre, count)
    found[3 : 3 + call.weights], dims[3 : 3 + call.weights] = dW, [0] * len(dW)
    return (*found, None), (*dims, None)


def _of_weights(
    call: Call, batch_sizes: Tensor | None, tensors: Sequence[Tensor], dpre: Tensor, count: int
) -> list[Tensor]:
    """Return the adjoints of the weights, of each call, in their order.

    Args:
        call: which calls.
        batch_sizes: rows of each step, of packed steps.
        tensors: the arguments of the calls as one.
        dpre: adjoint of the gates before activation.
        count: number of calls.
    """
    y, _, cells, x, h_0, c_0 = tensors[OF_RESULTS : BEFORE_X + 3]
    weights, extras = call.split(tensors[BEFORE_X + 3 :])
    walk = _Walk(batch_sizes, call.reverse, extras)
    layer = LayerWeights.of(call.cell, weights)
    h = walk.before(y, h_0, extras.h_reset) * walk.hidden_mask(call, layer, h_0)

    def by_call(each: Tensor) -> Tensor:
        """Return (rows of all steps, calls, width)."""
        return batched_calls.unfolded(each, count).flatten(0, -3)

    d = by_call(dpre)
    dW_ih, dW_hh = (torch.bmm(d.permute(1, 2, 0), by_call(rows).transpose(0, 1)) for rows in (walk.read(x), h))
    dW = LayerWeights(dW_ih, dW_hh)
    if layer.b_ih is not None:
        dW = dW._replace(b_ih=d.sum(0), b_hh=d.sum(0))  # in memory of their own, as any two gradients
    if layer.w_ch is not None:
        i, f, _, o = dpre.chunk(4, dim=-1)
        c = walk.before(cells, c_0, extras.c_reset)
        read = torch.cat([i * c, f * c, o * walk.read(cells)], dim=-1)
        dW = dW._replace(w_ch=by_call(read).sum(0))
    return list(dW.present())


class _Walk:
    """The steps of a call as one tensor after another needs them.

    Attributes:
        batch_sizes: rows of each step, of packed steps; else None.
        reverse: whether the walk goes from the last step to the first.
        extras: steps and resets that rows have for themselves.
    """

    def __init__(self, batch_sizes: Tensor | None, reverse: bool, extras: Extras) -> None:
        self.batch_sizes, self.reverse, self.extras = batch_sizes, reverse, extras

    def read(self, rows: Tensor) -> Tensor:
        """Return rows of steps, with zeros where there is no step, and anything may stand."""
        present = None if self.batch_sizes is not None else self.extras.steps_present(len(rows))
        return rows if present is None else torch.where(present[..., None], rows, 0.0)

    def hidden_mask(self, call: Call, layer: LayerWeights, h_0: Tensor) -> Tensor | float:
        """Return by what the hidden state of each step is multiplied where the gates read it."""
        extras = self.extras
        variant = kernel_cell.variant_of(call.cell, layer, extras.rates, extras.seed, extras.row_ids, call.place)
        if variant is None or variant.draws is None or not variant.cell.hidden_dropout:
            return 1.0
        rate, draws = variant.cell.hidden_dropout, variant.draws._replace(first_step=0)
        B, P = h_0.shape
        mask = draws.scaled(rate, counter_random.HIDDEN_DROPOUT, 1, B, P, h_0)[0]
        return mask if self.batch_sizes is None else mask[self._packed()[1]]

    def before(self, states: Tensor, first: Tensor, reset_state: Tensor | None) -> Tensor:
        """Return the state before each step, shaped as ``states``.

        Args:
            states: after each step.
            first: before the first one, (B, F).
            reset_state: what a reset sets, (B, F); None for zeros.
        """
        if self.batch_sizes is not None:
            return self._before_packed(states, first)
        T, device = len(states), states.device
        present, reset = self.extras.steps_present(T), self.extras.reset
        if present is None and reset is None:
            return torch.cat([states[1:], first[None]] if self.reverse else [first[None], states[:-1]])
        shape = states.shape[:2]
        present = torch.ones(shape, dtype=torch.bool, device=device) if present is None else present
        reset = torch.zeros(shape, dtype=torch.bool, device=device) if reset is None else reset
        within = self.extras.steps_within(T)
        reset = reset if within is None else reset & within
        if self.reverse:
            states, present, reset = states.flip(0), present.flip(0), reset.flip(0)
        at = torch.arange(T, device=device)[:, None]
        last = torch.where(present, at, -1).cummax(0)[0]  # the step that was taken last
        last = torch.cat([last.new_full((1, shape[1]), -1), last[:-1]])
        count = torch.cat([reset.new_zeros(1, shape[1]), reset]).cumsum(0)
        cut = count[1:] > count.gather(0, last + 1)  # a reset since then
        before = states.gather(0, last.clamp(min=0)[..., None].expand_as(states))
        before = torch.where((last < 0)[..., None], first, before)
        before = torch.where(cut[..., None], 0.0 if reset_state is None else reset_state, before)
        return before.flip(0) if self.reverse else before

    def _packed(self) -> tuple[Tensor, Tensor]:
        """Return the step and the row of each packed row."""
        assert self.batch_sizes is not None
        sizes = self.batch_sizes
        step = torch.arange(len(sizes)).repeat_interleave(sizes)
        return step, torch.arange(len(step)) - (sizes.cumsum(0) - sizes)[step]

    def _before_packed(self, states: Tensor, first: Tensor) -> Tensor:
        assert self.batch_sizes is not None
        sizes, (step, row) = self.batch_sizes, self._packed()
        steps, rows = len(sizes), len(states)
        other = step + 1 if self.reverse else step - 1
        near = other.clamp(0, steps - 1)
        there = (other == near) & (row < sizes[near])
        starts = sizes.cumsum(0) - sizes
        return torch.cat([states, first])[torch.where(there, starts[near] + row, rows + row)]
