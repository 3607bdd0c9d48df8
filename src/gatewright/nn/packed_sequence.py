"""Packed sequences to padded ones and back, with rows in the caller's order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


@dataclass(frozen=True, eq=False)
class Layout:
    """Where each step of a packed sequence stands in the padded one.

    Attributes:
        packed: the sequence, for the parts that packing needs.
        lengths: steps of each row in the caller's order, (B,), int64, on the CPU.
        place: t * B + row of each packed step, on the device of the data.
        T: steps of the longest row.
    """

    packed: PackedSequence
    lengths: Tensor
    place: Tensor
    T: int

    @classmethod
    def of(cls, packed: PackedSequence) -> Layout:
        """Work out the layout of a packed sequence."""
        T, B = len(packed.batch_sizes), int(packed.batch_sizes[0])
        present = torch.arange(B, device=packed.batch_sizes.device) < packed.batch_sizes[:, None]
        t, row = present.nonzero(as_tuple=True)
        lengths = present.sum(0)
        if packed.sorted_indices is not None:
            row = packed.sorted_indices.cpu()[row]
        if packed.unsorted_indices is not None:
            lengths = lengths[packed.unsorted_indices.cpu()]
        return cls(packed, lengths, (t * B + row).to(packed.data.device), T)

    def unpack(self, data: Tensor) -> Tensor:
        """Return packed steps, (sum of lengths, F), as (T, B, F), zero past the end of a row."""
        B, width = len(self.lengths), data.shape[-1]
        return data.new_zeros(self.T * B, width).index_copy(0, self.place, data).view(self.T, B, width)

    def pack(self, padded: Tensor) -> Tensor:
        """Return (T, B, F) as packed steps, (sum of lengths, F)."""
        return padded.flatten(0, 1).index_select(0, self.place)

    def wrap(self, data: Tensor) -> PackedSequence:
        """Return packed steps as a packed sequence like the one this layout is of."""
        _, batch_sizes, sorted_indices, unsorted_indices = self.packed
        return PackedSequence(data, batch_sizes, sorted_indices, unsorted_indices)
