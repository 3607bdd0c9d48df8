"""A linear recurrence of first order over all steps at once: c_t = keep_t * c_{t-1} + write_t, by a scan."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def recurrence(keep: Tensor, write: Tensor, c_0: Tensor) -> Tensor:
    """Return c of every step, where c_t = keep_t * c_{t-1} + write_t.

    The gradient is such a recurrence too, backward in time, and can be differentiated again.

    Args:
        keep: factors, (T, B, H) with T >= 1.
        write: what is added, (T, B, H).
        c_0: before the first step, (B, H).

    >>> keep, write = torch.full((3, 1, 1), 0.5), torch.ones(3, 1, 1)
    >>> recurrence(keep, write, torch.zeros(1, 1)).flatten()
    tensor([1.0000, 1.5000, 1.7500])
    """
    return _Recurrence.apply(keep, write, c_0)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, keep: Tensor, write: Tensor, c_0: Tensor) -> Tensor:
        c = _scan(keep, torch.cat([torch.addcmul(write[:1], keep[:1], c_0[None]), write[1:]]))
        ctx.save_for_backward(keep, c, c_0)
        return c

    @staticmethod
    def backward(ctx: Any, dc: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        keep, c, c_0 = ctx.saved_tensors
        later = torch.cat([keep.new_zeros(1, *keep.shape[1:]), keep.flip(0)[:-1]])
        total = recurrence(later, dc.flip(0), torch.zeros_like(c_0)).flip(0)
        return total * torch.cat([c_0[None], c[:-1]]), total, keep[0] * total[0]


def _scan(keep: Tensor, write: Tensor) -> Tensor:
    """Return c_t = keep_t * c_{t-1} + write_t from c_{-1} = 0.

    Pairs of steps are combined, the recurrence over the pairs is solved in the same way, and gives every second c.
    Nothing is divided, so a product of factors may vanish without harm; no step reads a later one.
    """
    T = len(keep)
    if T == 1:
        return write
    pairs = T // 2 * 2
    first, second = keep[:pairs:2], keep[1::2]
    every_second = _scan(first * second, torch.addcmul(write[1::2], second, write[:pairs:2]))
    c = torch.empty_like(write)
    c[0], c[1::2] = write[0], every_second
    c[2::2] = torch.addcmul(write[2::2], keep[2::2], every_second[: (T - 1) // 2])
    return c
