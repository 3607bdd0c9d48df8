"""One step of the sLSTM as differentiable torch operations: that of `gatewright.equations.slstm`."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewright.spec.cell import CellSpec

_GATES = CellSpec().gates()
_NARROW = (torch.bfloat16, torch.float16)


class Steps:
    """The steps of one layer in one direction: what all of them share, and the lines of one.

    Cell states are [c | n | m], (B, 3H), in float32 where the tensors are narrower: m is a logarithm, whose
    rounding would be a factor of c and n.
    """

    def __init__(
        self,
        cell: CellSpec,
        from_input: tuple[Tensor, ...],
        W_hh: Tensor,
        mask: Tensor | None,
        clamps: Tensor | None,
        operand: Callable[[Tensor], Tensor],
    ) -> None:
        """Prepare the steps.

        Args:
            cell: an sLSTM.
            from_input: W_ih x + b of each step, (B, 4H).
            W_hh: weights from the hidden state, (4H, H / heads), as products take them.
            mask: factor of the hidden state that they read, (B, H); None for 1.
            clamps: values at which gates are held, (4, H), NaN where they are not: those of a record, in which
                input and forget gate sum to 1.
            operand: what is done to the hidden state before the product.
        """
        self.exponential = cell.forget_gate_activation == "exponential"
        self.from_input, self.mask, self.heads, self.operand = from_input, mask, cell.heads, operand
        self.R = W_hh.unflatten(0, (4, cell.heads, -1)).permute(1, 3, 0, 2).flatten(2)  # (heads, d, 4d)
        self.held = {} if clamps is None else dict(zip(_GATES, clamps, strict=True))

    def advance(self, t: int, h: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        """Advance by step t: from h and [c | n | m] to the gates of a record, [c | n | m] and h."""
        log_i, f_pre, z_pre, o_pre = self._sums(t, h).chunk(4, dim=1)
        log_f = f_pre if self.exponential else F.logsigmoid(f_pre)
        z, o = self._as_held("candidate", z_pre.tanh()), self._as_held("output_gate", o_pre.sigmoid())

        c, n, m = parts(state)
        unread = n == 0
        kept = log_f + m
        follows = (kept > log_i) & ~unread
        m_next = torch.where(follows, kept, log_i)
        f = (kept - m_next).masked_fill(unread, 0).exp().masked_fill(unread, 0)
        i = (log_i - m_next).exp()
        n_next = f * n + i
        keep, share = f * n / n_next, i / n_next
        if self.held:
            keep, share = self._held_weights(keep, share)
            c_next = (keep * ratio(c, n) + share * z) * n_next
        else:
            c_next = torch.addcmul(f * c, i, z)
        h_next = o * (c_next / n_next)
        return share, keep, z, o, torch.cat([c_next, n_next, m_next], dim=1), h_next.to(h.dtype)

    def _sums(self, t: int, h: Tensor) -> Tensor:
        """Return each gate before activation, (B, 4H)."""
        read = h if self.mask is None else h * self.mask
        heads = self.operand(read).unflatten(1, (self.heads, -1)).transpose(0, 1)
        sums = self.from_input[t] + torch.bmm(heads, self.R).unflatten(2, (4, -1)).permute(1, 2, 0, 3).flatten(1)
        return sums.float() if sums.dtype in _NARROW else sums

    def _held_weights(self, keep: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of the average before and of the step with those that are held; the others follow."""
        of_keep, of_share = (self.held[name] for name in ("forget_gate", "input_gate"))
        held = torch.where(of_keep.isnan(), 1 - of_share, of_keep)
        return torch.where(held.isnan(), keep, held), torch.where(held.isnan(), share, 1 - held)

    def _as_held(self, name: str, gate: Tensor) -> Tensor:
        return torch.where(self.held[name].isnan(), gate, self.held[name]) if name in self.held else gate


def parts(state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return c, n and m of cell states (..., 3H), with zeros where n is 0: there is nothing of them to read."""
    c, n, m = state.chunk(3, dim=-1)
    unread = n == 0
    return c.masked_fill(unread, 0), n, m.masked_fill(unread, 0)


def average(state: Tensor) -> Tensor:
    """Return c / n of cell states (..., 3H), which is what a record has as the cell; 0 where nothing was read.

    >>> average(torch.tensor([1.0, 2.0, 4.0, 0.0, 0.5, 0.5]))
    tensor([0.2500, 0.0000])
    """
    c, n, _ = parts(state)
    return ratio(c, n)


def ratio(c: Tensor, n: Tensor) -> Tensor:
    """Return c / n; 0 where n is 0."""
    unread = n == 0
    return (c / n.masked_fill(unread, 1)).masked_fill(unread, 0)
