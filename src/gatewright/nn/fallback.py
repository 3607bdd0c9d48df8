"""The LSTM equations as differentiable torch operations: one layer, one direction, step by step.

For what the kernels do not do: devices other than the CPU, and second derivatives.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewright.nn import slstm_steps
from gatewright.nn.extras import Extras
from gatewright.nn.record import LayerRecord
from gatewright.nn.variant_steps import Advance, Operand, Variant
from gatewright.spec.cell import LayerWeights


def sequence(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: LayerWeights,
    *,
    reverse: bool = False,
    bf16: bool = False,
    variant: Variant | None = None,
    extras: Extras | None = None,
) -> tuple[Tensor, Tensor, Tensor, LayerRecord]:
    """Run one layer in one direction and record every step.

    Equations: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), with the forget gate of Gers et al.
    2000, Neural Computation 12(10); projection: Sak et al. 2014, arXiv:1402.1128, equations 7 to 12
    (here without peepholes and without the non-recurrent part).

    Args:
        x: input, (T, B, D) with T >= 1.
        h_0: hidden state before the first step, (B, H), or (B, P) with a projection.
        c_0: cell state before the first step, (B, H), or [c | n | m] of an sLSTM, (B, 3H).
        weights: the layer's parameters.
        reverse: whether to read x from its last step to its first.
        bf16: whether the operands of all products with weights are rounded to bfloat16, as the kernels' bf16
            arithmetic has them; for float32 tensors.  Derivatives take such a rounding for the identity.
        variant: the cell that it is, with the weights of its gates, and the gates that are held; None for the
            plain one, with none held.
        extras: steps and resets that rows have for themselves.

    Returns:
        y (T, B, H or P), zero past a row's end, with y[t] the hidden state that x[t] led to; h_n and c_n,
        shaped as h_0 and c_0; and the record, of which ``hidden`` is y.

    Raises:
        RuntimeError: from torch, where shapes or types do not fit.

    >>> weights = LayerWeights(W_ih=torch.zeros(8, 3), W_hh=torch.zeros(8, 2))
    >>> y, h_n, c_n, record = sequence(torch.ones(5, 1, 3), torch.zeros(1, 2), torch.ones(1, 2), weights)
    >>> record.forget_gate[0], record.cell[:, 0, 0]
    (tensor([[0.5000, 0.5000]]), tensor([0.5000, 0.2500, 0.1250, 0.0625, 0.0312]))
    """
    rows = _RowsOfSteps(x, Extras() if extras is None else extras)
    operand: Operand = _rounded if bf16 else _as_it_is
    advance = (variant.steps if variant else _plain_steps)(rows.read(x), weights, operand)

    steps: list[tuple[Tensor, ...]] = []
    h, c = h_0, c_0
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        h, c = rows.before(t, h, c)
        gates_and_state = advance(t, h, c)
        h, c = rows.after(t, gates_and_state, h, c)
        steps.append((*gates_and_state[:4], c, h, *gates_and_state[6:]))

    columns = [torch.stack(column) for column in zip(*(reversed(steps) if reverse else steps), strict=True)]
    i, f, g, o, cell, y, *factors = rows.where_absent(columns)
    kept, written = factors or (None, None)
    shown = slstm_steps.average if variant is not None and variant.cell.is_slstm else _as_it_is
    record = LayerRecord(i, f, g, o, shown(cell), y, shown(c_0), h_0, kept, written)
    if extras is not None:
        c_reset = None if extras.c_reset is None else shown(extras.c_reset)
        record = record.with_resets(extras.reset, extras.lengths, c_reset)
    return y, h, c, record


class _RowsOfSteps:
    """Which rows have a step at a time, and where their states are reset.

    Attributes:
        within: whether a time is before a row's end, (T, B, 1); None for everywhere.
        present: whether a row has a step, (T, B, 1); None for everywhere.
        reset: whether the state before a step is the reset state, (T, B, 1); None for nowhere.
        extras: those of the call.
    """

    def __init__(self, x: Tensor, extras: Extras) -> None:
        self.extras = extras
        of_rows = extras.steps_within(len(x)), extras.steps_present(len(x)), extras.reset
        self.within, self.present, self.reset = (None if each is None else each[..., None] for each in of_rows)
        if self.reset is not None and self.within is not None:
            self.reset = self.reset & self.within

    def read(self, x: Tensor) -> Tensor:
        """Return x with zeros where no step reads it."""
        if self.present is None:
            return x
        return torch.where(self.present, x, torch.zeros((), dtype=x.dtype, device=x.device))

    def before(self, t: int, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state before step t."""
        if self.reset is None:
            return h, c
        h_reset, c_reset = (
            torch.zeros((), dtype=state.dtype, device=state.device) if given is None else given.to(state.dtype)
            for given, state in ((self.extras.h_reset, h), (self.extras.c_reset, c))
        )
        return torch.where(self.reset[t], h_reset, h), torch.where(self.reset[t], c_reset, c)

    def after(self, t: int, step: tuple[Tensor, ...], h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after step t: where a row does not have it, the one before."""
        if self.present is None:
            return step[5], step[4]
        return torch.where(self.present[t], step[5], h), torch.where(self.present[t], step[4], c)

    def where_absent(self, columns: list[Tensor]) -> list[Tensor]:
        """Return i, f, g, o, c, h, and what is kept and written, as a record has them where a row has no step."""
        if self.present is None:
            return columns
        carried = [4, 5]
        columns = [
            column if n in carried else column.masked_fill(~self.present, 0) for n, column in enumerate(columns)
        ]
        if self.extras.mask is not None:
            gap = ~self.present if self.within is None else self.within & ~self.present
            for n in (1, 6)[: 2 if len(columns) > 6 else 1]:
                columns[n] = columns[n].masked_fill(gap, 1)
        if self.within is not None:
            for n in carried:
                columns[n] = columns[n].masked_fill(~self.within, 0)
        return columns


def sequence_in_bf16(
    x: Tensor, h_0: Tensor, c_0: Tensor, weights: LayerWeights, *, kept: torch.dtype, **options: Any
) -> tuple[Tensor, Tensor, Tensor, LayerRecord]:
    """Run one layer in bf16 arithmetic, with results of the types that the kernels give.

    Args:
        x: as for `sequence`, float32 or bfloat16, as all tensors; y has its type.
        h_0: as for `sequence`; h_n has its type.
        c_0: as for `sequence`; c_n has its type.
        weights: as for `sequence`.
        kept: type of the gates and cell states in the record.
        options: the others of `sequence`.
    """
    wide = LayerWeights(*(None if W is None else W.float() for W in weights))
    extras = options.get("extras")
    if extras is not None:
        states = (None if each is None else each.float() for each in (extras.h_reset, extras.c_reset))
        options["extras"] = extras.with_states(*states)
    with torch.autocast("cpu", enabled=False):
        y, h_n, c_n, record = sequence(x.float(), h_0.float(), c_0.float(), wide, bf16=True, **options)
    y = y.to(x.dtype)
    gates = record.input_gate, record.forget_gate, record.candidate, record.output_gate
    i, f, g, o, cell = (each.to(kept) for each in (*gates, record.cell))
    keep, write = (each if each is None else each.to(kept) for each in (record.kept, record.written))
    record = LayerRecord(i, f, g, o, cell, y, record.cell_initial.to(c_0.dtype), h_0, keep, write)
    return y, h_n.to(h_0.dtype), c_n.to(c_0.dtype), record


def _plain_steps(x: Tensor, weights: LayerWeights, operand: Operand) -> Advance:
    """Return the function that advances the plain cell by one step."""
    W_hr = None if weights.W_hr is None else operand(weights.W_hr)
    bias = None if weights.b_ih is None or weights.b_hh is None else weights.b_ih + weights.b_hh
    from_input = F.linear(operand(x), operand(weights.W_ih), bias).unbind(0)
    W_hh = operand(weights.W_hh).t()

    def advance(t: int, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        gates = _gates(torch.addmm(from_input[t], operand(h), W_hh))
        return *gates, *_next_state(gates, c, W_hr, operand)

    return advance


def _gates(pre: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return i, f, g, o, (B, H), for the gates before activation, (B, 4H)."""
    i_pre, f_pre, g_pre, o_pre = pre.chunk(4, dim=1)
    return i_pre.sigmoid(), f_pre.sigmoid(), g_pre.tanh(), o_pre.sigmoid()


def _next_state(
    gates: tuple[Tensor, Tensor, Tensor, Tensor],
    c: Tensor,
    W_hr: Tensor | None,
    operand: Operand,
) -> tuple[Tensor, Tensor]:
    """Return c' and h' for i, f, g, o after activation, and the cell state before the step."""
    i, f, g, o = gates
    c = torch.addcmul(f * c, i, g)
    h = o * c.tanh()
    return c, h if W_hr is None else F.linear(operand(h), W_hr)


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _rounded(tensor: Tensor) -> Tensor:
    """Return the values rounded to bfloat16, with the derivative of the values themselves."""
    difference = tensor.bfloat16().float() - tensor  # exact, as is the sum below
    return tensor + torch.where(tensor.isfinite(), difference, 0.0).detach()
