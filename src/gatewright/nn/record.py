"""The record of a forward pass: every gate, cell state and hidden state of every step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gatewright.nn.packed_sequence import Layout


@dataclass(frozen=True, eq=False, repr=False)
class LayerRecord:
    """Gates and states of one layer in one direction; `reverse` holds those of the other direction.

    The layers of a `gatewright.insight.Recording` have the same names, over NumPy arrays.

    Index t of every tensor is the time of the input x_t, in both directions: the forward direction reached
    ``cell[t]`` from ``cell[t - 1]``, the reverse direction from ``cell[t + 1]``.  ``cell_initial`` comes
    before t = 0 going forward, and after each row's last step in reverse.

    Gates and candidate are after activation.  Time comes first with either value of ``batch_first``, unbatched
    input counts as a batch of B = 1, and steps past the end of a row are zero.  At a step that a mask leaves out,
    h and c are those before it, f is 1 and the other gates are 0: it keeps everything and writes nothing.  The
    tensors belong to the autograd graph of the pass that made them, and may be views of one buffer: treat them as
    read-only.

    Attributes:
        input_gate: i, how much of the candidate is added, (T, B, H), between 0 and 1.
        forget_gate: f, how much of the cell state is kept, (T, B, H), between 0 and 1.
        candidate: g, what may be added, (T, B, H), between -1 and 1.
        output_gate: o, how much of the cell state is shown, (T, B, H), between 0 and 1.
        cell: c after each step, (T, B, H).
        hidden: h after each step, (T, B, H), or (T, B, P) where the layer projects to P.
        cell_initial: c before the first step, (B, H).
        hidden_initial: h before the first step, (B, H), or (B, P) where the layer projects to P.
        kept: the factor of the previous cell state where that is not f, (T, B, H): with zoneout or clipping of the
            cell state, and with resets, after which it is 0; else None.
        written: what each step adds to the cell state where that is not i ⊙ g; likewise.
        reverse: the reverse direction of a bidirectional layer, else None.
    """

    input_gate: Tensor
    forget_gate: Tensor
    candidate: Tensor
    output_gate: Tensor
    cell: Tensor
    hidden: Tensor
    cell_initial: Tensor
    hidden_initial: Tensor
    kept: Tensor | None = None
    written: Tensor | None = None
    reverse: LayerRecord | None = None

    @property
    def forward(self) -> LayerRecord:
        """The forward direction alone, next to `reverse`."""
        return self if self.reverse is None else replace(self, reverse=None)

    @property
    def output(self) -> Tensor:
        """Hidden states of both directions, (T, B, S*P)."""
        return self.hidden if self.reverse is None else torch.cat([self.hidden, self.reverse.hidden], dim=-1)

    def unpacked(self, layout: Layout, back: Tensor | None) -> LayerRecord:
        """Return the record of packed steps as (T, B, ...), with initial states in the caller's order too.

        Args:
            layout: of the packed steps.
            back: place of each row of the caller among those of the packed steps, (B,); None for the same order.
        """
        gates = self.input_gate, self.forget_gate, self.candidate, self.output_gate
        i, f, g, o, cell, hidden = map(layout.unpack, (*gates, self.cell, self.hidden))
        kept, written = (None if each is None else layout.unpack(each) for each in (self.kept, self.written))
        c_0, h_0 = self.cell_initial, self.hidden_initial
        if back is not None:
            c_0, h_0 = c_0.index_select(0, back), h_0.index_select(0, back)
        return LayerRecord(i, f, g, o, cell, hidden, c_0, h_0, kept, written)

    def with_resets(self, reset: Tensor | None, lengths: Tensor | None, c_reset: Tensor | None) -> LayerRecord:
        """Return the same with what resets keep and write: nothing of c before, and all of the reset state.

        Args:
            reset: whether the state before a step is the reset state, (T, B); None for nowhere.
            lengths: steps of each row, past which nothing is reset, (B,); None for T.
            c_reset: the cell state that a reset sets, (B, H); None for zeros.
        """
        if reset is None:
            return self
        if lengths is not None:
            reset = reset & (torch.arange(len(reset), device=reset.device)[:, None] < lengths)
        cut = reset[..., None]
        kept = self.forget_gate if self.kept is None else self.kept
        written = self.input_gate * self.candidate if self.written is None else self.written
        if c_reset is not None:
            written = torch.where(cut, torch.addcmul(written, kept, c_reset.to(kept.dtype)), written)
        return replace(self, kept=kept.masked_fill(cut, 0), written=written)

    def __repr__(self) -> str:
        T, B, H = self.cell.shape
        reverse = "" if self.reverse is None else f", reverse={self.reverse!r}"
        return f"{type(self).__name__}(T={T}, B={B}, H={H}{reverse})"


@dataclass(frozen=True, eq=False)
class Record:
    """Gates and states of a stack of layers: the third result of a call with ``record=True``.

    Rows of the batch are in the caller's order, even if a packed sequence was sorted by length.

    Attributes:
        layers: one record per layer, the layer next to the input first.
        lengths: steps of each row, those included that a mask leaves out, (B,), int64: as the call had them, or of
            a packed sequence on the CPU, as torch's packing functions require; None if all rows have T steps.
        mask: whether a row has a step, (T, B), where the call had a mask.
        reset: whether the state before a step was reset, (T, B), where the call had resets.
        residual: whether the layers have residual connections.
    """

    layers: tuple[LayerRecord, ...]
    lengths: Tensor | None = None
    mask: Tensor | None = None
    reset: Tensor | None = None
    residual: bool = False

    @property
    def output(self) -> Tensor:
        """Output of the last layer, (T, B, S*P): its hidden states, plus those below if it is residual."""
        if not self.residual:
            return self.layers[-1].output
        y = self.layers[0].output
        for layer in self.layers[1:]:
            y = layer.output + y
        return y
