"""The record of a pass of the kernels with a cell other than the plain one, and the factors of its ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gatewright import counter_random
from gatewright.nn import precision, slstm_kept, slstm_steps
from gatewright.nn.extras import Extras
from gatewright.nn.kernel_cell import split_kept
from gatewright.nn.record import LayerRecord
from gatewright.nn.variant_steps import Variant, zoned

_WHOLE = Extras()


def record_of(
    variant: Variant,
    kept: Sequence[Tensor],
    initial: Sequence[Tensor],
    compute: int,
    *,
    reverse: bool,
    batch_sizes: Tensor | None = None,
    extras: Extras = _WHOLE,
) -> LayerRecord:
    """Return the record of a pass of the kernels.

    Args:
        variant: the cell and its random choices.
        kept: y, and the gates and cell states that the pass kept.
        initial: hidden and cell state before the first step.
        compute: the arithmetic.
        reverse: as for `gatewright.nn.fast_path.sequence`.
        batch_sizes: rows of each step, of packed steps.
        extras: steps and resets that rows have for themselves, of padded steps.
    """
    (y, gates, cells), (h_0, c_0) = kept, initial
    if variant.cell.is_slstm:
        i, f, g, o = slstm_kept.gates_of(gates)
        if extras.lengths is not None:  # past a row's end keep is zero, and so is share
            past = torch.arange(len(y), device=y.device)[:, None] >= extras.lengths
            i = i.masked_fill(past[..., None], 0)
        cells, c_0 = slstm_kept.averages(cells, len(y)), slstm_steps.average(c_0)
        if extras.c_reset is not None:
            extras = extras.with_states(extras.h_reset, slstm_steps.average(extras.c_reset))
        keep = write = None
    else:
        i, f, g, o = split_kept(gates, cells.shape[-1])[0].chunk(4, dim=-1)
        options: dict[str, Any] = {"reverse": reverse, "batch_sizes": batch_sizes, "extras": extras}
        keep, write = _ledger_factors(variant, (i, f, g), cells, c_0, **options)
    if compute != precision.FULL:  # some cells keep them in float32
        dtype = precision.kept_type(y, compute)
        i, f, g, o, cells = (each.to(dtype) for each in (i, f, g, o, cells))
        keep, write = (None if each is None else each.to(dtype) for each in (keep, write))
    record = LayerRecord(i, f, g, o, cells, y, c_0, h_0, keep, write)
    return record.with_resets(extras.reset, extras.lengths, extras.c_reset)


def _ledger_factors(
    variant: Variant,
    gates: Sequence[Tensor],
    cells: Tensor,
    c_0: Tensor,
    *,
    reverse: bool,
    batch_sizes: Tensor | None,
    extras: Extras,
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Return by what each step multiplies the cell state and what it adds, where these are not f and i g.

    Resets are left to `LayerRecord.with_resets`: the factors are those of the reset state.

    Args:
        variant: the cell and its random choices.
        gates: i, f, g, (T, B, H), or (rows, H) of packed steps, as a record has them.
        cells: cell states after each step, likewise.
        c_0: cell state before the first step, (B, H).
        reverse: as for `gatewright.nn.fast_path.sequence`.
        batch_sizes: rows of each step, of packed steps.
        extras: steps and resets that rows have for themselves, of padded steps.
    """
    cell, draws = variant.cell, variant.draws
    if not (cell.cell_clip or cell.zoneout_cell):
        return None, None
    i, f, g = gates
    hit: Tensor | None = None
    T, (B, H) = len(cells) if batch_sizes is None else len(batch_sizes), c_0.shape
    if draws is not None and cell.zoneout_cell:
        hit = draws.hit(cell.zoneout_cell, counter_random.ZONEOUT_CELL, T, B, H)
    if batch_sizes is None:
        before = _before(cells, c_0.to(cells.dtype), reverse, extras)
    else:
        before, places = _before_packed(cells, c_0.to(cells.dtype), batch_sizes, reverse)
        hit = hit if hit is None else hit[places]
    written = i * g
    share = torch.ones_like(f)
    if cell.cell_clip:
        unclipped = f * before + written
        clipped = unclipped.abs() > cell.cell_clip
        size = torch.where(clipped, unclipped.abs(), share)  # no division by 0, whose gradient is NaN
        share = torch.where(clipped, cell.cell_clip / size, share)
    one, none = torch.ones_like(f), torch.zeros_like(f)
    keep, write = (zoned(a, share * b, cell.zoneout_cell, hit) for a, b in ((one, f), (none, written)))
    return _where_absent(keep, write, extras)


def _before(cells: Tensor, c_0: Tensor, reverse: bool, extras: Extras) -> Tensor:
    """Return the cell state before each step, (T, B, H); where a reset takes effect, the reset state."""
    before = torch.cat([cells[1:], c_0[None]] if reverse else [c_0[None], cells[:-1]])
    if reverse and extras.lengths is not None:  # each row begins at its own end
        first = torch.arange(len(cells), device=cells.device)[:, None] == extras.lengths - 1
        before = torch.where(first[..., None], c_0, before)
    if extras.reset is not None:
        c_reset = torch.zeros_like(c_0) if extras.c_reset is None else extras.c_reset.to(cells.dtype)
        before = torch.where(extras.reset[..., None], c_reset, before)
    return before


def _where_absent(keep: Tensor, write: Tensor, extras: Extras) -> tuple[Tensor, Tensor]:
    """Return the factors with those of steps that a row does not have: over a gap 1 and 0, past its end zeros."""
    present, within = extras.steps_present(len(keep)), extras.steps_within(len(keep))
    if present is None:
        return keep, write
    absent = ~present[..., None]
    keep, write = keep.masked_fill(absent, 1), write.masked_fill(absent, 0)
    return keep if within is None else keep.masked_fill(~within[..., None], 0), write


def _before_packed(
    cells: Tensor, c_0: Tensor, batch_sizes: Tensor, reverse: bool
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the cell state before each packed step, and the step and the row of each."""
    sizes = batch_sizes.to(cells.device)
    T, starts = len(sizes), torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    t = torch.arange(T, device=cells.device).repeat_interleave(sizes)
    b = torch.arange(len(t), device=cells.device) - starts[t]
    other = t + 1 if reverse else t - 1
    inside = (other >= 0) & (other < T)
    other = other.clamp(0, T - 1)
    inside &= b < sizes[other]
    at = torch.where(inside, starts[other] + b, 0)
    return torch.where(inside[:, None], cells[at], c_0[b]), (t, b)
