"""The plainest loop over rows and steps, in float64: the judge of lengths, masks and resets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gatewright.nn.random_masks import Draws
from gatewright.nn.variant_steps import Variant
from gatewright.spec.cell import CellSpec, LayerWeights

#: From the time of a step, h (P,) and c (H,) to those after it.
Advance = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]


def one_step(x: Tensor, h: Tensor, c: Tensor, W: LayerWeights) -> tuple[Tensor, Tensor]:
    """Advance one row, x (D,), h (P,), c (H,), by one step."""
    pre = W.W_ih @ x + W.W_hh @ h
    if W.b_ih is not None:
        pre = pre + W.b_ih + W.b_hh
    i, f, g, o = pre.chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return h if W.W_hr is None else W.W_hr @ h, c


def steps_of_row(x: Tensor, W: LayerWeights, cell: CellSpec | None, draws: Draws | None) -> Advance:
    """Return what advances one row, x (T, D), by one step of a cell; of the plain one, if that is None."""
    if cell is None:
        return lambda t, h, c: one_step(x[t], h, c, W)
    steps = Variant(cell, draws).steps(x[:, None], W, lambda operand: operand)

    def advance(t: int, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        _, _, _, _, c_next, h_next, *_ = steps(t, h[None], c[None])
        return h_next[0], c_next[0]

    return advance


def one_row(
    advance: Advance,
    T: int,
    state: Sequence[Tensor],
    length: int,
    mask: Sequence[bool],
    reset: Sequence[bool],
    reset_state: Sequence[Tensor],
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run one layer in one direction over one row: y, h_n, c_n, and c after each step."""
    h, c = state
    ys, cells = [torch.zeros_like(h)] * T, [torch.zeros_like(c)] * T
    times = range(length)
    for t in reversed(times) if reverse else times:
        if reset[t]:
            h, c = reset_state
        if mask[t]:
            h, c = advance(t, h, c)
        ys[t], cells[t] = h, c
    return torch.stack(ys), h, c, torch.stack(cells)


def stack_of_rows(
    x: Tensor,
    hx: Sequence[Tensor],
    stack: Sequence[LayerWeights],
    directions: int,
    lengths: Any = None,
    mask: Any = None,
    reset: Any = None,
    reset_to: Any = None,
    cell: CellSpec | None = None,
    seed: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Run all layers: y (T, B, S*P), h_n, c_n, and c after each step for each layer and direction.

    Of a cell other than the plain one the steps are those of `gatewright.nn.variant_steps`, row by row.
    """
    T, B, _ = x.shape
    lengths = [T] * B if lengths is None else lengths.tolist()
    mask = torch.ones(T, B, dtype=torch.bool) if mask is None else mask
    reset = torch.zeros(T, B, dtype=torch.bool) if reset is None else reset
    zeros = [torch.zeros_like(state) for state in hx]
    reset_to = (
        zeros if reset_to is None else [s if s.dim() == 3 else s[:, None].expand(-1, B, -1) for s in reset_to]
    )
    h_n, c_n, cells = [], [], []
    for layer in range(len(stack) // directions):
        ys = []
        for direction in range(directions):
            k = layer * directions + direction
            rows = [
                one_row(
                    steps_of_row(
                        x[:, b],
                        stack[k],
                        cell,
                        None if seed is None else Draws(seed, layer, direction, torch.tensor([b])),
                    ),
                    T,
                    [state[k, b] for state in hx],
                    lengths[b],
                    mask[:, b].tolist(),
                    reset[:, b].tolist(),
                    [state[k, b] for state in reset_to],
                    direction == 1,
                )
                for b in range(B)
            ]
            y, h, c, cell_states = (
                torch.stack(each, dim=n) for each, n in zip(zip(*rows, strict=True), (1, 0, 0, 1), strict=True)
            )
            ys.append(y)
            h_n.append(h)
            c_n.append(c)
            cells.append(cell_states)
        x = torch.cat(ys, dim=-1)
    return x, torch.stack(h_n), torch.stack(c_n), cells
