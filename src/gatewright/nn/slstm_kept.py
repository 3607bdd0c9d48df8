"""What a pass of the kernels keeps of an sLSTM, in the two results of the operators that other cells have.

Gates are w, s, z and o, (..., 4H): w is the weight that is kept of the average before or, where its sign bit is
set, minus the share of the step's own candidate, whichever is less; s is the derivative of log f, with the sign
bit set where m is log i.  Cell states are the averages c / n, and after them the last state, of which the adjoint
needs c, n and m: as three more steps (T + 3, B, H), as 3B more rows of packed steps, or as one more checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gatewright import kernels

#: Parts of a cell state: c, n, m.
PARTS = 3


def room(x: Tensor, B: int, H: int) -> tuple[Tensor, Tensor]:
    """Return memory for gates and cell states of all steps, in the type of states.

    Args:
        x: input, (T, B, D) or (rows, D).
        B: rows of the batch.
        H: units.
    """
    dtype = "float64" if x.dtype == torch.float64 else "float32"
    lead = x.shape[:-1]
    more = (lead[0] + PARTS, B) if len(lead) == 2 else (lead[0] + PARTS * B,)
    gates, cells = (torch.from_numpy(kernels.memory(shape, dtype)) for shape in ((*lead, 4 * H), (*more, H)))
    return gates, cells


def averages(cells: Tensor, rows: int) -> Tensor:
    """Return the averages alone, (T, B, H) or (rows, H), of the same memory.

    Args:
        cells: as the operators have them, without checkpoints.
        rows: their first dimension, that of the input.
    """
    return cells[:rows]


def last(cells: Tensor, rows: int, B: int) -> Tensor:
    """Return the last state, [c | n | m], (B, 3H); arguments as for `averages`."""
    return cells[rows:].reshape(PARTS, B, cells.shape[-1]).transpose(0, 1).flatten(1)


def keep_last(cells: Tensor, rows: int, c_n: Tensor) -> None:
    """Write the last state where `last` reads it."""
    shape = PARTS, len(c_n), cells.shape[-1]
    cells[rows:].view(shape).copy_(c_n.unflatten(1, (PARTS, shape[-1])).transpose(0, 1))


def split(
    cells: Tensor, dcell: Tensor | None, rows: int, B: int, checkpoint: int
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return averages, or checkpoints, their adjoint, and the last state, as the kernels' adjoint takes them.

    Args:
        cells: as the operators have them.
        dcell: their adjoint; None for zeros.
        rows: first dimension of the input.
        B: rows of the batch.
        checkpoint: whether, and after how many steps, the pass kept checkpoints.
    """
    if checkpoint > 0:
        return cells[:-1], dcell, cells[-1]
    return averages(cells, rows), None if dcell is None else averages(dcell, rows), last(cells, rows, B)


def gates_of(kept: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gates of a record: share, keep, z and o.

    >>> kept = torch.tensor([0.25, -0.25, 1.0, 1.0, 0.5, 0.5, 1.0, 1.0])
    >>> gates_of(kept)[:2]
    (tensor([0.7500, 0.2500]), tensor([0.2500, 0.7500]))
    """
    w, _, z, o = kept.chunk(4, dim=-1)
    shared = torch.signbit(w)
    return torch.where(shared, -w, 1 - w), torch.where(shared, 1 + w, w), z, o


def as_kept(gates: tuple[Tensor, Tensor, Tensor, Tensor], cells: Tensor, B: int) -> tuple[Tensor, Tensor]:
    """Return gates and averages of a record as the operators have them, for their derivatives.

    Args:
        gates: share, keep, z and o.
        cells: averages, (T, B, H), or (rows, H) of packed steps.
        B: rows of the batch.
    """
    _, keep, z, o = gates  # the derivative by w is that by keep, with the share as 1 - keep
    rest = cells.new_zeros((PARTS, B, cells.shape[-1]) if cells.dim() == 3 else (PARTS * B, cells.shape[-1]))
    return torch.cat([keep, torch.zeros_like(keep), z, o], dim=-1), torch.cat([cells, rest])
