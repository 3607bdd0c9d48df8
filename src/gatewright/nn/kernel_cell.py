"""A cell other than the plain one in a call of the kernels: its rates, its random numbers, what a pass keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gatewright import counter_random, kernels
from gatewright.nn.random_masks import Draws
from gatewright.nn.variant_steps import Variant
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
