"""Rows cut at their resets, less the steps that they do not have, as a packed sequence for torch's operator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gatewright.nn.extras import Extras


@dataclass(frozen=True, eq=False)
class RowPieces:
    """Where the steps of a batch (T, B) stand in a packed sequence whose rows are the pieces between resets.

    A state is numbered: first the starts of all pieces, then the packed steps.

    Attributes:
        source: the place t * B + row of each packed step.
        batch_sizes: number of pieces with a step of each number, int64, on the CPU.
        longest_first: the pieces that have steps, in the order of the packed sequence.
        row: the row of each piece.
        from_start: whether a piece begins with the initial state of its row, and not with a reset.
        before: the state before each packed step.
        after: the state after each time, (T, B).
        last: the state after the last time of each row, (B,).
        last_cell: the same among the starts of all pieces and the ends of those in `longest_first`.
        within: whether a time is before the end of its row, (T, B).
        present: whether a row has a step, (T, B).
        reset: whether a piece begins before a time, (T, B).
    """

    source: Tensor
    batch_sizes: Tensor
    longest_first: Tensor
    row: Tensor
    from_start: Tensor
    before: Tensor
    after: Tensor
    last: Tensor
    last_cell: Tensor
    within: Tensor
    present: Tensor
    reset: Tensor

    @classmethod
    def of(cls, sizes: tuple[int, int], extras: Extras, reverse: bool, device: torch.device) -> RowPieces:
        """Cut the rows of a batch.

        Args:
            sizes: T and B.
            extras: lengths, mask and resets of the rows.
            reverse: whether steps are taken from the last to the first.
            device: of all results but one.
        """
        T, B = sizes
        within = torch.ones(T, B, dtype=torch.bool, device=device)
        if extras.lengths is not None:
            within = torch.arange(T, device=device)[:, None] < extras.lengths
        present = within if extras.mask is None else within & extras.mask
        reset = torch.zeros_like(within) if extras.reset is None else within & extras.reset

        def in_turn(each: Tensor) -> Tensor:
            """Between the order of time and that in which steps are taken."""
            return each.flip(0) if reverse else each

        takes_step = in_turn(present)
        number = in_turn(reset).cumsum(0)  # of a piece in its row
        count = number[-1] + 1
        piece = count.cumsum(0) - count + number
        pieces = int(count.sum())
        length = torch.zeros(pieces, dtype=torch.int64, device=device)
        length.scatter_add_(0, piece.flatten(), takes_step.flatten().long())
        steps = takes_step.cumsum(0)  # of a row so far
        earlier = steps[-1].cumsum(0) - steps[-1]  # of the rows before
        latest = earlier + steps - (length.cumsum(0) - length)[piece] - 1  # within its piece; -1 for none yet

        order = length.argsort(descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(0, order, torch.arange(pieces, device=device))
        longer = pieces - torch.bincount(length).cumsum(0)[:-1]  # than each number of steps
        begin = torch.cat([longer.new_zeros(1), longer.cumsum(0)])  # of the packed steps of each number

        def state(n: Tensor) -> Tensor:
            """Return the state after step n of each time's piece, or its start."""
            return torch.where(n >= 0, pieces + begin[n.clamp(min=0)] + rank[piece], piece)

        after = state(latest)
        place = after[takes_step] - pieces
        flat = in_turn(torch.arange(T * B, device=device).view(T, B))[takes_step]
        row = torch.repeat_interleave(torch.arange(B, device=device), count)
        first = count.cumsum(0) - count
        return cls(
            source=torch.empty_like(flat).scatter_(0, place, flat),
            batch_sizes=longer.cpu(),
            longest_first=order[: int((length > 0).sum())],
            row=row,
            from_start=torch.arange(pieces, device=device) == first[row],
            before=torch.empty_like(flat).scatter_(0, place, state(latest - 1)[takes_step]),
            after=in_turn(after),
            last=after[-1],
            last_cell=torch.where(length[piece[-1]] > 0, pieces + rank[piece[-1]], piece[-1]),
            within=within,
            present=present,
            reset=reset,
        )

    def padded(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return packed steps (steps, D) as (longest, pieces, D), zeros at the end, and the place of each."""
        sizes = self.batch_sizes.to(rows.device)
        longest, pieces = len(sizes), len(self.longest_first)
        before = torch.arange(longest, device=rows.device) * pieces - (sizes.cumsum(0) - sizes)
        place = torch.arange(len(rows), device=rows.device) + before.repeat_interleave(sizes)
        padded = rows.new_zeros(longest * pieces, rows.shape[-1]).index_copy(0, place, rows)
        return padded.view(longest, pieces, -1), place

    def start(self, initial: Tensor, reset: Tensor | None) -> Tensor:
        """Return the state before each piece, of the initial and the reset state of each row, zeros if None."""
        begun = initial.index_select(0, self.row)
        other = torch.zeros_like(begun) if reset is None else reset.to(begun.dtype).index_select(0, self.row)
        return torch.where(self.from_start[:, None], begun, other)
