"""A cell other than the plain one in a call of the kernels: its rates, its random numbers, what a pass keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gatewright import counter_random, kernels
from gatewright.nn import precision, slstm_kept, slstm_steps
from gatewright.nn.random_masks import Draws
from gatewright.nn.record import LayerRecord
from gatewright.nn.variant_steps import Variant, zoned
from gatewright.spec.cell import HARD, LAYER_NORM, PLAIN_CODES, SLSTM, CellSpec, LayerWeights

#: Numbers that layer normalisation keeps of a row at a step next to the normalised gates.
_NORM_NUMBERS = 6


def cell_args(
    args: kernels.SequenceArgs,
    cell: int,
    rates: Sequence[float],
    seed: Tensor | None,
    row_ids: Any,
    place: Sequence[int],
) -> kernels.SequenceArgs:
    """Return the arguments of a call with those of its cell.

    Args:
        args: the others.
        cell: `CellSpec.code`.
        rates: `CellSpec.rates`.
        seed: of random numbers, or None.
        row_ids: as the kernels take them, or None.
        place: stream and first step; none for zeros.
    """
    if cell <= PLAIN_CODES and not rates:
        return args
    stream, first_step = place or (0, 0)
    draws = None if seed is None else kernels.Draws(int(seed), row_ids, first_step, stream)
    kept = "float32" if keeps_float32(cell, rates) else args.kept
    return args._replace(cell=cell, rates=list(rates), draws=draws, kept=kept)


def keeps_float32(cell: int, rates: Sequence[float]) -> bool:
    """Whether a bf16 pass keeps gates and cell states in float32, whatever it was asked for.

    They have one type with what layer normalisation keeps, and with the last state of an sLSTM; and rounding them
    could move a number over the bound of a hard activation or of clipping, where its derivative is another.

    Args:
        cell: `CellSpec.code`.
        rates: `CellSpec.rates`.
    """
    return cell & (LAYER_NORM | HARD | SLSTM) != 0 or (len(rates) > 0 and rates[0] > 0)


def kept_width(H: Any, normalised: bool) -> Any:
    """Return how many numbers a step keeps as its gates: with layer normalisation those that this needs too."""
    return 8 * H + _NORM_NUMBERS if normalised else 4 * H


def split_kept(kept: Tensor, H: int) -> tuple[Tensor, Tensor | None]:
    """Return gates, (..., 4H), and what layer normalisation keeps, (..., 4H + 6), of the same memory.

    Args:
        kept: (..., 4H), or (..., 8H + 6): the gates of all steps and then all of the rest.
        H: units.
    """
    if kept.shape[-1] == 4 * H:
        return kept, None
    flat, lead = kept.reshape(-1), kept.shape[:-1]
    count = lead.numel() * 4 * H
    return flat[:count].view(*lead, 4 * H), flat[count:].view(*lead, 4 * H + _NORM_NUMBERS)


def joined_kept(gates: Tensor) -> Tensor:
    """Return gates, (..., 4H), with zeros for what layer normalisation keeps next to them."""
    width = kept_width(gates.shape[-1] // 4, normalised=True)
    rest = gates.new_zeros(gates.shape[:-1].numel() * (width - gates.shape[-1]))
    return torch.cat([gates.reshape(-1), rest]).view(*gates.shape[:-1], width)


def place_of(draws: Draws | None) -> tuple[int, ...]:
    """Return stream and first step of random numbers, or nothing without them."""
    if draws is None:
        return ()
    return counter_random.Place(0, draws.layer, draws.direction).stream(0), draws.first_step


def variant_of(
    cell: int,
    layer: LayerWeights,
    rates: Sequence[float],
    seed: Tensor | None,
    row_ids: Tensor | None,
    place: Sequence[int],
) -> Variant | None:
    """Return the cell of a call of the operators for torch's operations; None for the plain one.

    Args:
        cell: `CellSpec.code`.
        layer: the weights, of which the heads of an sLSTM are seen.
        rates: `CellSpec.rates`.
        seed: of random numbers, or None.
        row_ids: numbers of the rows, or None.
        place: as for `cell_args`.
    """
    if cell <= PLAIN_CODES and not rates:
        return None
    stream, first_step = place or (0, 0)
    draws = None if seed is None else Draws(seed, stream // 16, stream // 8 % 2, row_ids, first_step)
    spec = CellSpec.decoded(cell, rates)
    if spec.is_slstm:
        spec = dataclasses.replace(spec, heads=layer.hidden_size // layer.W_hh.shape[1])
    return Variant(spec, draws)


def present_gates(weights: LayerWeights, cell: CellSpec) -> LayerWeights:
    """Return weights of four gates without the rows of gates that a cell does not have.

    >>> weights = LayerWeights(torch.arange(8.0)[:, None], torch.zeros(8, 2))
    >>> present_gates(weights, CellSpec(coupled=True)).W_ih[:, 0]
    tensor([2., 3., 4., 5., 6., 7.])
    """
    everything, present = CellSpec().gates(), cell.gates()
    if everything == present:
        return weights

    def chosen(W: Tensor | None, rows: Sequence[str]) -> Tensor | None:
        if W is None:
            return None
        blocks = zip(rows, W.chunk(len(rows)), strict=True)
        return torch.cat([block for name, block in blocks if name in present])

    fields = ("W_ih", "W_hh", "b_ih", "b_hh", "w_ln")
    reading = [name for name in everything if name != "candidate"]
    rows = {name: chosen(getattr(weights, name), everything) for name in fields}
    return weights._replace(**rows, w_ch=chosen(weights.w_ch, reading))


def record_of(
    variant: Variant,
    kept: Sequence[Tensor],
    initial: Sequence[Tensor],
    compute: int,
    *,
    reverse: bool,
    batch_sizes: Tensor | None = None,
) -> LayerRecord:
    """Return the record of a pass of the kernels.

    Args:
        variant: the cell and its random choices.
        kept: y, and the gates and cell states that the pass kept.
        initial: hidden and cell state before the first step.
        compute: the arithmetic.
        reverse: as for `gatewright.nn.fast_path.sequence`.
        batch_sizes: rows of each step, of packed steps.
    """
    (y, gates, cells), (h_0, c_0) = kept, initial
    if variant.cell.is_slstm:
        i, f, g, o = slstm_kept.gates_of(gates)
        cells, c_0 = slstm_kept.averages(cells, len(y)), slstm_steps.average(c_0)
        keep = write = None
    else:
        i, f, g, o = split_kept(gates, cells.shape[-1])[0].chunk(4, dim=-1)
        keep, write = ledger_factors(variant, (i, f, g), cells, c_0, reverse=reverse, batch_sizes=batch_sizes)
    if compute != precision.FULL:  # some cells keep them in float32
        dtype = precision.kept_type(y, compute)
        i, f, g, o, cells = (each.to(dtype) for each in (i, f, g, o, cells))
        keep, write = (None if each is None else each.to(dtype) for each in (keep, write))
    return LayerRecord(i, f, g, o, cells, y, c_0, h_0, keep, write)


def ledger_factors(
    variant: Variant,
    gates: Sequence[Tensor],
    cells: Tensor,
    c_0: Tensor,
    *,
    reverse: bool,
    batch_sizes: Tensor | None,
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Return by what each step multiplies the cell state and what it adds, where these are not f and i g.

    Args:
        variant: the cell and its random choices.
        gates: i, f, g, (T, B, H), or (rows, H) of packed steps.
        cells: cell states after each step, likewise.
        c_0: cell state before the first step, (B, H).
        reverse: as for `gatewright.nn.fast_path.sequence`.
        batch_sizes: rows of each step, of packed steps.
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
        first, rest = c_0.to(cells.dtype)[None], (cells[1:] if reverse else cells[:-1])
        before = torch.cat([rest, first] if reverse else [first, rest])
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
    return keep, write


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
