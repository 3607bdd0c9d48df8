"""The record of a pass that torch's own operator ran: gates and cell states, computed from its hidden states.

On devices without kernels of our own `torch.lstm` is the fast path, and it gives h of every step.  The gates of
all steps are then products with whole matrices, and the cell states a first-order linear recurrence, which a scan
solves in a number of operations that grows with the logarithm of T.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.nn import _torch_private, fast_path
from gatewright.nn.extras import Extras
from gatewright.nn.record import LayerRecord
from gatewright.nn.recurrence import recurrence
from gatewright.nn.row_pieces import RowPieces
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
    extras: Extras | None = None,
    record: bool = True,
) -> tuple[Tensor, Tensor, Tensor, LayerRecord | None]:
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
    if extras is not None:
        return _in_pieces(x, (h_0, c_0), weights, reverse, extras, record)
    y, h_n, c_n = _by_torch(x.flip(0) if reverse else x, None, h_0, c_0, weights)
    y = y.flip(0) if reverse else y
    if not record:
        return y, h_n, c_n, None
    with _without_autocast(x):
        before = torch.cat([y[1:], h_0[None].to(y.dtype)] if reverse else [h_0[None].to(y.dtype), y[:-1]])
        gates = [gate.view(*y.shape[:2], -1) for gate in _gates(x.flatten(0, 1), before.flatten(0, 1), weights)]
        cell = _cells(gates[1], gates[0] * gates[2], c_0, reverse)
    i, f, g, o = (gate.to(y.dtype) for gate in gates)
    return y, h_n, c_n, LayerRecord(i, f, g, o, cell.to(c_n.dtype), y, cell_initial=c_0, hidden_initial=h_0)


def _in_pieces(
    x: Tensor,
    hx: tuple[Tensor, Tensor],
    weights: LayerWeights,
    reverse: bool,
    extras: Extras,
    record: bool,
) -> tuple[Tensor, Tensor, Tensor, LayerRecord | None]:
    """Run rows that have steps and resets of their own, the pieces between resets as a packed sequence."""
    (h_0, c_0), (T, B, _) = hx, x.shape
    pieces = RowPieces.of((T, B), extras, reverse, x.device)
    h_start, c_start = pieces.start(h_0, extras.h_reset), pieces.start(c_0, extras.c_reset)
    rows, begin = x.flatten(0, 1).index_select(0, pieces.source), pieces.longest_first
    y, c_last = h_0.new_zeros(0, h_0.shape[1]), c_0[:0]
    packs = _packs(x.device)
    if len(rows) > 0 and packs:
        y, _, c_last = _by_torch(rows, pieces.batch_sizes, h_start[begin], c_start[begin], weights)
    elif len(rows) > 0:
        padded, place = pieces.padded(rows)
        y, _, c_last = _by_torch(padded, None, h_start[begin], c_start[begin], weights)
        y = y.flatten(0, 1).index_select(0, place)
    states = torch.cat([h_start.to(y.dtype), y])
    h_n = states.index_select(0, pieces.last)
    y = states.index_select(0, pieces.after.flatten()).view(T, B, -1).masked_fill(~pieces.within[..., None], 0)
    if packs and not record:
        return y, h_n, torch.cat([c_start.to(c_last.dtype), c_last]).index_select(0, pieces.last_cell), None
    with _without_autocast(x):
        packed = _gates(rows, states.index_select(0, pieces.before), weights)
        gates = [gate.new_zeros(T * B, gate.shape[-1]).index_copy(0, pieces.source, gate) for gate in packed]
        i, f, g, o = (gate.view(T, B, -1) for gate in gates)
        keep, write = _kept_and_written(f, i * g, pieces, extras.c_reset)
        cell = _cells(keep, write, c_0, reverse)
    if packs:
        c_n = torch.cat([c_start.to(c_last.dtype), c_last]).index_select(0, pieces.last_cell)
    else:
        c_n = cell[0 if reverse else -1].to(c_last.dtype)  # torch's is the state after the padding
    if not record:
        return y, h_n, c_n, None
    f = f.masked_fill((pieces.within & ~pieces.present)[..., None], 1)  # over a gap, c is kept
    i, f, g, o = (gate.to(y.dtype) for gate in (i, f, g, o))
    cell = cell.masked_fill(~pieces.within[..., None], 0).to(c_n.dtype)
    if extras.reset is None:
        return y, h_n, c_n, LayerRecord(i, f, g, o, cell, y, c_0, h_0)
    keep, write = keep.masked_fill(~pieces.within[..., None], 0).to(y.dtype), write.to(y.dtype)
    return y, h_n, c_n, LayerRecord(i, f, g, o, cell, y, c_0, h_0, keep, write)


def _kept_and_written(
    f: Tensor, write: Tensor, pieces: RowPieces, c_reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the factors of the recurrence of c at each time: a gap keeps all, and a reset nothing of c before."""
    keep, cut = f.masked_fill(~pieces.present[..., None], 1), pieces.reset[..., None]
    if c_reset is not None:
        write = torch.where(cut, torch.addcmul(write, keep, c_reset.to(keep.dtype)), write)
    return keep.masked_fill(cut, 0), write


def _packs(device: torch.device) -> bool:
    """Whether torch's operator is fast for a packed sequence: cuDNN's is, others are a loop over the steps."""
    return device.type == "cuda"


def _by_torch(
    x: Tensor, batch_sizes: Tensor | None, h_0: Tensor, c_0: Tensor, weights: LayerWeights
) -> tuple[Tensor, Tensor, Tensor]:
    """Run torch's operator forward over (T, B, D), or over packed steps.

    cuDNN has a backward pass for what ran in training mode only; without dropout that changes no result.
    """
    present = weights.present()
    # One block of memory, of which cuDNN would otherwise warn and make a copy at every call.
    block = torch.cat([W.reshape(-1) for W in present]).split([W.numel() for W in present])
    parameters = [part.view(W.shape) for part, W in zip(block, present, strict=True)]
    options = (parameters, weights.b_ih is not None, 1, 0.0, torch.is_grad_enabled(), False)
    hx = (h_0[None], c_0[None])
    if batch_sizes is None:
        y, h_n, c_n = torch.lstm(x, hx, *options, False)
    else:
        y, h_n, c_n = torch.lstm(x, batch_sizes, hx, *options)
    return y, h_n[0], c_n[0]


def _without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    return torch.autocast(x.device.type, enabled=False) if _torch_private.any_autocast() else nullcontext()


def _gates(x: Tensor, before: Tensor, weights: LayerWeights) -> list[Tensor]:
    """Return i, f, g and o of steps, (steps, H), in float32 or float64.

    Args:
        x: inputs (steps, D).
        before: hidden states before the steps (steps, P), of the type of torch's results, to which the operands of
            products are rounded, as those of torch's operator were.
        weights: of the layer.
    """
    dtype = before.dtype
    wide = torch.float32 if dtype in _HALVES else dtype

    def operand(tensor: Tensor) -> Tensor:
        return tensor.to(dtype).to(wide)

    x, before = operand(x), operand(before)
    bias = None if weights.b_ih is None else operand(weights.b_ih) + operand(weights.b_hh)
    biases = [None] * 4 if bias is None else bias.chunk(4)
    from_input, from_hidden = operand(weights.W_ih).chunk(4), operand(weights.W_hh).chunk(4)
    gates = []  # one by one: activations of parts of rows would take torch ten times as long
    for activation, W_ih, W_hh, b in zip(_ACTIVATIONS, from_input, from_hidden, biases, strict=True):
        gates.append(activation(F.linear(x, W_ih, b).addmm_(before, W_hh.t())))
    return gates


def _cells(keep: Tensor, write: Tensor, c_0: Tensor, reverse: bool) -> Tensor:
    """Return the cell state after each step, (T, B, H), in time order."""
    c_0 = c_0.to(keep.dtype)
    if reverse:
        return recurrence(keep.flip(0), write.flip(0), c_0).flip(0)
    return recurrence(keep, write, c_0)
