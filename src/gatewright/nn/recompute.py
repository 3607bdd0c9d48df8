"""The record of a pass that torch's own operator ran: gates and cell states, computed from its hidden states.

On devices without kernels of our own `torch.lstm` is the fast path, and it gives h of every step.  The gates of
all steps are then products with whole matrices, and the cell states a first-order linear recurrence, which a scan
solves in a number of operations that grows with the logarithm of T.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.nn import _torch_private, fast_path
from gatewright.nn.record import LayerRecord
from gatewright.spec.cell import LayerWeights

_ACTIVATIONS = (Tensor.sigmoid_, Tensor.sigmoid_, Tensor.tanh_, Tensor.sigmoid_)
_HALVES = (torch.bfloat16, torch.float16)


def takes(x: Tensor | PackedSequence, hx: Any, stack: Sequence[LayerWeights]) -> bool:
    """Whether a record is computed from hidden states: on devices where torch's operator is the fast path."""
    data = x.data if isinstance(x, PackedSequence) else x
    if (
        data.is_cpu
        or torch.compiler.is_compiling()
        or fast_path.looked_into(data, hx, [W for layer in stack for W in layer])
    ):
        return False
    return data.device.type != "mps" or stack[0].W_hr is None  # torch has no projection there


def sequence(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: LayerWeights,
    *,
    reverse: bool = False,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, LayerRecord]:
    """Run one layer in one direction by torch's operator, and compute gates and cell states from its y.

    Equations: those of `gatewright.nn.fallback.sequence`, whose arguments and results these are.  Recomputed
    values differ from those of the operator by the rounding of a product.  float16 and bfloat16 tensors are
    multiplied, and cell states summed, in float32; the record is then rounded to the types of the results.

    Derivatives are those of the whole pass, through y; a loss that reads y only costs what torch's operator costs.

    >>> weights = LayerWeights(W_ih=torch.zeros(8, 3), W_hh=torch.zeros(8, 2))
    >>> y, h_n, c_n, record = sequence(torch.ones(5, 1, 3), torch.zeros(1, 2), torch.ones(1, 2), weights)
    >>> record.forget_gate[0], record.cell[:, 0, 0]
    (tensor([[0.5000, 0.5000]]), tensor([0.5000, 0.2500, 0.1250, 0.0625, 0.0312]))
    """
    order = _order(x, lengths, reverse)
    y, h_n, c_n = _by_torch(_taken(x, order), h_0, c_0, weights)
    present = None
    if lengths is not None:
        lengths = lengths.to(x.device)
        present = (torch.arange(len(x), device=x.device)[:, None] < lengths)[..., None]
        last = (lengths - 1).clamp(min=0)[None, :, None].expand(1, -1, y.shape[-1])
        h_n = torch.where(lengths[:, None] > 0, y.gather(0, last)[0], h_0.to(y.dtype))
    y = _taken(y, order)
    if present is not None:
        y = y.masked_fill(~present, 0)
    with torch.autocast(x.device.type, enabled=False) if _torch_private.any_autocast() else nullcontext():
        gates, cell = _gates_and_cells(x, y, (h_0, c_0), weights, reverse, lengths, present)
    if present is not None:
        c_n = cell[0 if reverse else -1].to(c_n.dtype)  # a row keeps its state where it has no step
        gates, cell = [gate.masked_fill(~present, 0) for gate in gates], cell.masked_fill(~present, 0)
    i, f, g, o = (gate.to(y.dtype) for gate in gates)
    return y, h_n, c_n, LayerRecord(i, f, g, o, cell.to(c_n.dtype), y, cell_initial=c_0, hidden_initial=h_0)


def _by_torch(x: Tensor, h_0: Tensor, c_0: Tensor, weights: LayerWeights) -> tuple[Tensor, Tensor, Tensor]:
    """Run torch's operator forward over (T, B, D).

    cuDNN has a backward pass for what ran in training mode only; without dropout that changes no result.
    """
    present = weights.present()
    # One block of memory, of which cuDNN would otherwise warn and make a copy at every call.
    block = torch.cat([W.reshape(-1) for W in present]).split([W.numel() for W in present])
    parameters = [part.view(W.shape) for part, W in zip(block, present, strict=True)]
    biased, train = weights.b_ih is not None, torch.is_grad_enabled()
    y, h_n, c_n = torch.lstm(x, (h_0[None], c_0[None]), parameters, biased, 1, 0.0, train, False, False)
    return y, h_n[0], c_n[0]


def _order(x: Tensor, lengths: Tensor | None, reverse: bool) -> Tensor | None:
    """Return the time of each step of each row, (T, B), or None where it is the number of the step.

    The order of a row in reverse, from its own end, is its own inverse.
    """
    if not reverse:
        return None
    T, B, _ = x.shape
    t = torch.arange(T, device=x.device)[:, None]
    if lengths is None:
        return (T - 1 - t).expand(T, B)
    lengths = lengths.to(x.device)
    return torch.where(t < lengths, lengths - 1 - t, t)


def _taken(x: Tensor, order: Tensor | None) -> Tensor:
    """Return the steps of each row of (T, B, F) in another order."""
    return x if order is None else x.gather(0, order[..., None].expand_as(x))


def _gates_and_cells(
    x: Tensor,
    y: Tensor,
    hx: tuple[Tensor, Tensor],
    weights: LayerWeights,
    reverse: bool,
    lengths: Tensor | None,
    present: Tensor | None,
) -> tuple[list[Tensor], Tensor]:
    """Return i, f, g, o and c of every step (T, B, H), where ``present`` or everywhere, in float32 or float64.

    The operands of the products are of the type of y, as those of torch's operator were.
    """
    wide = torch.float32 if y.dtype in _HALVES else y.dtype

    def operand(tensor: Tensor) -> Tensor:
        return tensor.to(y.dtype).to(wide)

    T, B, _ = x.shape
    before = _states_before(operand(y), operand(hx[0]), reverse, lengths)
    x, before = operand(x).reshape(T * B, -1), before.reshape(T * B, -1)
    bias = None if weights.b_ih is None else operand(weights.b_ih) + operand(weights.b_hh)
    biases = [None] * 4 if bias is None else bias.chunk(4)
    from_input, from_hidden = operand(weights.W_ih).chunk(4), operand(weights.W_hh).chunk(4)
    gates = []  # one by one: activations of parts of rows would take torch ten times as long
    for activation, W_ih, W_hh, b in zip(_ACTIVATIONS, from_input, from_hidden, biases, strict=True):
        pre = F.linear(x, W_ih, b).addmm_(before, W_hh.t())
        gates.append(activation(pre).view(T, B, -1))
    keep, write = gates[1], gates[0] * gates[2]
    if present is not None:
        keep, write = keep.masked_fill(~present, 1), write.masked_fill(~present, 0)
    if reverse:
        return gates, recurrence(keep.flip(0), write.flip(0), hx[1].to(wide)).flip(0)
    return gates, recurrence(keep, write, hx[1].to(wide))


def _states_before(y: Tensor, h_0: Tensor, reverse: bool, lengths: Tensor | None) -> Tensor:
    """Return the hidden state that each step starts from, (T, B, P)."""
    if not reverse:
        return torch.cat([h_0[None], y[:-1]])
    before = torch.cat([y[1:], h_0[None]])
    if lengths is None:
        return before
    first = torch.arange(len(y), device=y.device)[:, None] == lengths - 1
    return torch.where(first[..., None], h_0, before)


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
