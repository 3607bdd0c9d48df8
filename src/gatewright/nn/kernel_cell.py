"""A cell other than the plain one in a call of the kernels: its weights for four gates, its rates, its draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatewright import kernels
from gatewright.spec.cell import CellSpec, LayerWeights

#: Numbers that layer normalisation keeps next to the normalised gates.
_NORM_NUMBERS = 6


class Variant(NamedTuple):
    """Which cell a layer has, and by what it draws its random numbers.

    Attributes:
        spec: the cell.
        seed: of the random numbers, an int64 scalar; None in evaluation.
        row_ids: by which the rows draw them, (B,), int64; 0 to B - 1 if None.
        stream: that of layer and direction, `gatewright.counter_random.Place.stream` of purpose 0.
        first_step: number of the first step.
    """

    spec: CellSpec
    seed: Tensor | None = None
    row_ids: Tensor | None = None
    stream: int = 0
    first_step: int = 0

    def options(self) -> list[int]:
        """Return what is added to the options of an operator."""
        return [self.stream, self.first_step] if self.seed is not None else []


def four_gates(weights: LayerWeights, spec: CellSpec) -> LayerWeights:
    """Return weights with rows for i, f, g and o: zeros for the gates that have no weights.

    Args:
        weights: those of the cell, (gates * H, ...); tensors.
        spec: the cell.

    >>> weights = LayerWeights(torch.ones(6, 3), torch.ones(6, 2))
    >>> four_gates(weights, CellSpec(coupled=True, bias=False)).W_ih[:, 0]
    tensor([0., 0., 1., 1., 1., 1., 1., 1.])
    """
    present = set(spec.gates())
    names = CellSpec().gates()
    if len(present) == len(names):
        return weights
    H = weights.hidden_size

    def expanded(W: Tensor | None, rows: Sequence[str]) -> Tensor | None:
        if W is None:
            return None
        blocks = iter(W.split(H))
        zeros = W.new_zeros(H, *W.shape[1:])
        return torch.cat([next(blocks) if name in present else zeros for name in rows])

    gated = [name for name in names if name != "candidate"]
    of_rows = {name: expanded(getattr(weights, name), names) for name in ("W_ih", "W_hh", "b_ih", "b_hh", "w_ln")}
    return weights._replace(**of_rows, w_ch=expanded(weights.w_ch, gated))


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
    if not (cell > 3 or rates):
        return args
    stream, first_step = place or (0, 0)
    draws = None if seed is None else kernels.Draws(int(seed), row_ids, first_step, stream)
    return args._replace(cell=cell, rates=list(rates), draws=draws)


def kept_width(H: Any, normalised: bool) -> Any:
    """Return how many numbers a step keeps as its gates: with layer normalisation those that this needs too."""
    return 8 * H + _NORM_NUMBERS if normalised else 4 * H


def split_kept(kept: Tensor, H: int) -> tuple[Tensor, Tensor | None]:
    """Return gates, (..., 4H), and what layer normalisation keeps, (..., 4H + 6), of the same memory.

    Args:
        kept: (..., 4H), or (..., 8H + 6): all gates and then all of the rest.
        H: units.
    """
    if kept.shape[-1] == 4 * H:
        return kept, None
    flat, lead = kept.reshape(-1), kept.shape[:-1]
    count = lead.numel() * 4 * H
    return flat[:count].view(*lead, 4 * H), flat[count:].view(*lead, 4 * H + _NORM_NUMBERS)
