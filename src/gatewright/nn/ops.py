"""The kernels as torch operators: differentiable any number of times, traceable, exportable.

`gatewright::lstm` runs one layer in one direction; `gatewright::lstm_backward` is its adjoint.  Both are for the
CPU and for float32 and float64, and neither writes to its arguments.  Weights are packed anew on every call, so
that no change of them, by whatever way, can be missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.dlpack import to_dlpack  # type: ignore[attr-defined]

from gatewright import kernels
from gatewright.nn import _torch_private, fallback
from gatewright.nn.record import LayerRecord
from gatewright.spec.cell import LayerWeights

_DTYPES = (torch.float32, torch.float64)
_PLAIN = {Tensor, torch.nn.Parameter, type(None)}


def takes(x: Tensor, weights: Sequence[Tensor | None]) -> bool:
    """Whether the operators take these tensors: all there, on the CPU and of one type that the kernels have."""
    dtype = x.dtype
    if dtype not in _DTYPES or not x.is_cpu:
        return False
    if dtype != torch.float64 and torch.is_autocast_enabled("cpu"):
        return False
    for W in weights:  # noqa: SIM110 - a generator costs a microsecond of a small call
        if W is None or W.dtype != dtype or not W.is_cpu:
            return False
    return True


def widens(x: Tensor) -> bool:
    """Whether a narrow type, of the input or by autocast, has to go by the kernels in float32: while compiling.

    torch's own operator is faster for such types, but what `torch.compile` makes of it has no gradients.
    """
    narrow = x.dtype in (torch.bfloat16, torch.float16) or torch.is_autocast_enabled("cpu")
    return narrow and torch.compiler.is_compiling() and x.is_cpu


def _direct(*tensors: Tensor | None) -> bool:
    """Whether nothing intercepts torch's dispatcher, so that the kernels may be called without it: 50 µs less."""
    return (
        not torch.compiler.is_compiling()
        and _torch_private.nothing_intercepts()
        and _PLAIN.issuperset(map(type, tensors))
    )


def looked_into(x: Tensor, hx: Any, weights: Sequence[Tensor | None]) -> bool:
    """Whether operations are needed that torch can look into: for a transform of `torch.func`, or for tangents."""
    states = hx if isinstance(hx, tuple | list) else ()
    if _torch_private.in_transform(x, *states, *weights):
        return True
    if torch.compiler.is_compiling() or not _torch_private.in_forward_mode():
        return False
    tensors = (x, *states, *weights)
    return any(isinstance(each, Tensor) and forward_ad.unpack_dual(each).tangent is not None for each in tensors)


def sequence(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: LayerWeights,
    *,
    reverse: bool = False,
    batch_sizes: Tensor | None = None,
    record: bool = False,
    checkpoint: int = 0,
) -> tuple[Tensor, Tensor, Tensor, LayerRecord | None]:
    """Run one layer in one direction, by the kernels.

    Equations: those of `gatewright.nn.fallback.sequence`.

    Args:
        x: input, (T, B, D); with ``batch_sizes`` (rows, D), the rows of each step after those of the step before.
        h_0: hidden state before the first step, (B, H), or (B, P) with a projection.
        c_0: cell state before the first step, (B, H).
        weights: the layer's parameters.
        reverse: whether to read x from its last step to its first.
        batch_sizes: how many rows each step has, (T,), int64, as a `PackedSequence` has it; None for B each.
        record: whether to return the activations that the pass saved.
        checkpoint: for the backward pass keep only the states before every K-th step, and recompute the rest;
            0 keeps the activations of every step, as a record does.

    Returns:
        y, shaped as x but (..., H) or (..., P); h_n and c_n, shaped as h_0 and c_0; and the record or None, whose
        fields are (T, B, H), or (rows, H) with ``batch_sizes``.

    Raises:
        GatewrightError: if sizes do not fit.

    >>> weights = LayerWeights(W_ih=torch.zeros(8, 3), W_hh=torch.zeros(8, 2))
    >>> x, h_0, c_0 = torch.ones(5, 1, 3), torch.zeros(1, 2), torch.ones(1, 2)
    >>> y, h_n, c_n, record = sequence(x, h_0, c_0, weights, record=True)
    >>> record.forget_gate[0], record.cell[:, 0, 0]
    (tensor([[0.5000, 0.5000]]), tensor([0.5000, 0.2500, 0.1250, 0.0625, 0.0312]))
    """
    options = [int(reverse), int(record), 0 if record else checkpoint]
    direct = _direct(x, h_0, c_0, *weights)
    results: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]
    if direct and not _differentiable(x, h_0, c_0, *weights):
        results = _forward(x, h_0, c_0, weights, batch_sizes, options)
    elif direct:
        results = _Lstm.apply(None, weights.code, batch_sizes, options, x, h_0, c_0, *weights.present())
    else:
        tensors = weights.present()
        if not _torch_private.can_redispatch() and _differentiable(x, h_0, c_0, *tensors):
            options[1] = 1  # or the backward pass would have to run it again
        results = lstm(x, h_0, c_0, tensors, weights.code, batch_sizes, options)
    y, h_n, c_n, gates, cells = results
    if not record:
        return y, h_n, c_n, None
    assert gates is not None
    assert cells is not None
    i, f, g, o = gates.chunk(4, dim=-1)
    return y, h_n, c_n, LayerRecord(i, f, g, o, cells, y, cell_initial=c_0, hidden_initial=h_0)


def _differentiable(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _lstm(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    cell: int,
    batch_sizes: Tensor | None,
    options: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return y, h_n, c_n, and where it is kept what the adjoint needs: gates and cell, or checkpoints of the cell.

    Args:
        x: as for `sequence`, as are h_0, c_0 and batch_sizes.
        h_0: hidden state.
        c_0: cell state.
        weights: those that the cell has, in the order of `CellSpec.weights`.
        cell: which cell it is, `CellSpec.code`.
        batch_sizes: rows of each step.
        options: reverse, keep, checkpoint.
    """
    y, h_n, c_n, gates, cells = _forward(x, h_0, c_0, LayerWeights.of(cell, weights), batch_sizes, options)
    return y, h_n, c_n, x.new_empty(0) if gates is None else gates, x.new_empty(0) if cells is None else cells


def _forward(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    layer: LayerWeights,
    batch_sizes: Tensor | None,
    options: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return the same, with None for what is not kept."""
    reverse, keep, checkpoint = options
    y = x.new_empty(*x.shape[:-1], layer.W_hh.shape[-1])
    h_n = torch.empty_like(h_0, memory_format=torch.contiguous_format)
    c_n = torch.empty_like(c_0, memory_format=torch.contiguous_format)
    sizes = None if batch_sizes is None else batch_sizes.tolist()
    h, c = dense(h_0, c_0)
    arrays = kernels.forward(
        rows(x),
        h,
        c,
        LayerWeights(*dense(*layer)),
        kernels.SequenceArgs(sizes, bool(reverse), checkpoint, torch.get_num_threads()),
        keep=bool(keep),
        out=(to_dlpack(y), to_dlpack(h_n), to_dlpack(c_n), None, None),
    )
    gates = None if arrays.gates is None else torch.from_numpy(arrays.gates)
    cells = None if arrays.cell is None else torch.from_numpy(arrays.cell)
    return y, h_n, c_n, gates, cells


def _lstm_shapes(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    _cell: int,
    batch_sizes: Tensor | None,
    options: Sequence[int],
) -> tuple[Tensor, ...]:
    _, keep, checkpoint = options
    H, P = weights[1].shape[0] // 4, weights[1].shape[1]
    rows = x.shape[:-1]
    gates: tuple[Any, ...] = (0,)
    cells: tuple[Any, ...] = (0,)
    if keep and checkpoint > 0:
        T = x.shape[0] if batch_sizes is None else batch_sizes.shape[0]
        unit = _chunk_steps(h_0.shape[0], H, x.element_size())
        every = (torch.sym_min(checkpoint, torch.sym_max(T, 1)) + unit - 1) // unit * unit
        cells = ((T + every - 1) // every, h_0.shape[0], H)
    elif keep:
        gates, cells = (*rows, 4 * H), (*rows, H)
    return tuple(x.new_empty(shape) for shape in ((*rows, P), h_0.shape, c_0.shape, gates, cells))


def _lstm_backward(
    d: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    cell: int,
    batch_sizes: Tensor | None,
    kept: Sequence[Tensor],
    options: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Return the adjoints of x (empty where not wanted), h_0, c_0, and of the weights (none where not wanted).

    Args:
        d: adjoints of y, h_n, c_n, gates and cell; None for zeros.
        inputs: x, h_0, c_0.
        weights: as for `_lstm`, as are cell and batch_sizes.
        cell: which cell it is.
        batch_sizes: rows of each step.
        kept: y, gates and cell, or its checkpoints, as `_lstm` gave them.
        options: reverse, checkpoint, whether dx is wanted, whether the adjoints of the weights are.
    """
    reverse, checkpoint, need_x, need_weights = options
    x, h_0, c_0 = inputs
    dy, dh_n, dc_n, dgates, dcell = d
    y, gates, cells = kept
    sizes = None if batch_sizes is None else batch_sizes.tolist()
    dx, dh_0, dc_0, dW = _lstm_backward_shapes(d, inputs, weights, cell, batch_sizes, kept, options)
    d_layer = LayerWeights.of(cell, dW) if need_weights else LayerWeights(None, None)
    h, c, dh, dc = dense(h_0, c_0, dh_n, dc_n)
    kernels.backward(
        kernels.OutputGradients(rows(dy), dh, dc, rows(dgates), rows(dcell)),
        kernels.Inputs(rows(x), h, c),
        kernels.Kept(rows(y), None if checkpoint > 0 else rows(gates), rows(cells)),
        LayerWeights(*dense(*LayerWeights.of(cell, weights))),
        kernels.SequenceArgs(sizes, bool(reverse), checkpoint, torch.get_num_threads()),
        need_x=bool(need_x),
        need_weights=bool(need_weights),
        out=dense(dx if need_x else None, dh_0, dc_0, d_layer.W_ih, d_layer.W_hh, d_layer.b_ih, d_layer.W_hr),
    )
    if d_layer.b_hh is not None:
        d_layer.b_hh.copy_(d_layer.b_ih)  # which both are added to
    return dx, dh_0, dc_0, dW


def _lstm_backward_shapes(
    _d: Any, inputs: Sequence[Tensor], weights: Sequence[Tensor], _cell: int, _sizes: Any, _kept: Any, options: Any
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    x, h_0, c_0 = inputs
    _, _, need_x, need_weights = options
    dx = x.new_empty(x.shape if need_x else (0,))
    dW = [x.new_empty(W.shape) for W in weights] if need_weights else []
    return dx, x.new_empty(h_0.shape), x.new_empty(c_0.shape), dW


class _Lstm(torch.autograd.Function):
    """The operator with its adjoint.

    Whether there will be a backward pass is known here, when the operator runs, and not when a program that holds
    it was written down: so this keeps what a backward pass needs, whether the caller wants it too or not.
    """

    @staticmethod
    def forward(ctx: Any, keys: Any, cell: int, batch_sizes: Tensor | None, options: Any, *tensors: Any) -> Any:
        ctx.cell, (ctx.reverse, wanted, ctx.checkpoint) = cell, options
        x, h_0, c_0, *weights = tensors
        inputs = (x, h_0, c_0, weights, cell, batch_sizes, [ctx.reverse, 1, ctx.checkpoint])
        results = _lstm(*inputs) if keys is None else _torch_private.redispatch(lstm, keys, *inputs)
        y, h_n, c_n, gates, cells = results
        ctx.save_for_backward(batch_sizes, y, gates, cells, *tensors)
        ctx.set_materialize_grads(False)  # zeros for gates that no loss reads would be the largest tensor of all
        if not wanted:
            gates = cells = None
        elif ctx.checkpoint > 0:
            ctx.mark_non_differentiable(gates, cells)  # nothing to be read: the record keeps all
        return y, h_n, c_n, gates, cells

    @staticmethod
    def backward(ctx: Any, *adjoint: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # once: each access runs the hooks that unpack them
        return (None, None, None, None, *_adjoint(ctx, saved, adjoint, ctx.needs_input_grad[4:]))


def _adjoint(ctx: Any, saved: Sequence[Any], adjoint: Sequence[Tensor | None], needs: Sequence[bool]) -> list[Any]:
    """Return the adjoints of x, h_0, c_0 and the weights: None where one is not needed.

    Args:
        ctx: with cell, reverse and checkpoint as attributes.
        saved: batch_sizes, what the forward pass kept, x, h_0, c_0, and the weights.
        adjoint: of what the forward pass gave.
        needs: whether each is needed.
    """
    if torch.is_grad_enabled():  # to be differentiated once more
        return _adjoint_by_steps(ctx, saved, adjoint, needs)
    batch_sizes, y, gates, cells, x, h_0, c_0, *weights = saved
    need_x, _, _, *need_weights = needs
    if _torch_private.in_batched_gradient(adjoint):
        run: Callable[..., Any] = _of_batch
    else:
        run = _lstm_backward if _direct(*adjoint, *saved) else lstm_backward
    options = [ctx.reverse, ctx.checkpoint, int(need_x), int(any(need_weights))]
    kept = [y, gates, cells]
    dx, dh_0, dc_0, dW = run(list(adjoint), [x, h_0, c_0], weights, ctx.cell, batch_sizes, kept, options)
    gradients = (dx, dh_0, dc_0, *(dW or [None] * len(weights)))
    return [gradient if need else None for gradient, need in zip(gradients, needs, strict=True)]


def _of_batch(
    d: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    cell: int,
    batch_sizes: Tensor | None,
    kept: Sequence[Tensor],
    options: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Return what `_lstm_backward` does where ``d`` stands for the adjoints of a batch of gradients.

    torch runs an operator for each of them, but none that takes or gives lists: what is saved goes in one tensor.
    """
    saved = [*inputs, *kept, *weights]
    sizes = [size for tensor in saved for size in (tensor.dim(), *tensor.shape)]
    flat = torch.cat([tensor.reshape(-1) for tensor in saved])
    gradient = lstm_backward_flat(*d, flat, batch_sizes, [cell, *options, *sizes])
    wanted = [*(inputs if options[2] else inputs[1:]), *(weights if options[3] else [])]
    parts = gradient.split([tensor.numel() for tensor in wanted])
    gradients = [part.view(tensor.shape) for part, tensor in zip(parts, wanted, strict=True)]
    dx = gradients.pop(0) if options[2] else inputs[0].new_empty(0)
    return dx, gradients[0], gradients[1], gradients[2:]


def _lstm_backward_flat(
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    dgates: Tensor | None,
    dcell: Tensor | None,
    saved: Tensor,
    batch_sizes: Tensor | None,
    options: Sequence[int],
) -> Tensor:
    """Return the adjoints that are wanted, end to end.

    The options are the cell, those of `_lstm_backward`, and the shapes of what is saved.
    """
    inputs, kept, weights = _unflattened(saved, options)
    d = [dy, dh_n, dc_n, dgates, dcell]
    *gradients, dW = _lstm_backward(d, inputs, weights, options[0], batch_sizes, kept, options[1:5])
    return torch.cat([gradient.reshape(-1) for gradient in (*gradients, *dW)])


def _lstm_backward_flat_shapes(*arguments: Any) -> Tensor:
    *_, saved, _, options = arguments
    inputs, _, weights = _unflattened(saved, options)
    wanted = [*(inputs if options[3] else inputs[1:]), *(weights if options[4] else [])]
    return saved.new_empty(sum(tensor.numel() for tensor in wanted))


def _unflattened(saved: Tensor, options: Sequence[int]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return inputs, what was kept, and weights."""
    sizes, tensors, begin = list(options[5:]), [], 0
    while sizes:
        shape = torch.Size(sizes[1 : 1 + sizes[0]])
        sizes = sizes[1 + sizes[0] :]
        tensors.append(saved[begin : begin + shape.numel()].view(shape))
        begin += shape.numel()
    return tensors[:3], tensors[3:6], tensors[6:]


def _adjoint_by_steps(
    ctx: Any, saved: Sequence[Any], adjoint: Sequence[Tensor | None], needs: Sequence[bool]
) -> list[Tensor | None]:
    """Return the same as a graph of torch operations, to differentiate further."""
    batch_sizes, _, _, _, *inputs = saved
    wanted = [tensor for tensor, need in zip(inputs, needs, strict=True) if need]
    x, h_0, c_0, *weights = inputs
    layer = LayerWeights.of(ctx.cell, weights)
    lengths = place = None
    if batch_sizes is not None:
        present = torch.arange(int(batch_sizes[0])) < batch_sizes[:, None]
        lengths, place = present.sum(0), present.flatten().nonzero().squeeze(1)
        x = x.new_zeros(present.numel(), x.shape[-1]).index_copy(0, place, x).unflatten(0, tuple(present.shape))
    y, h_n, c_n, record = fallback.sequence(x, h_0, c_0, layer, reverse=bool(ctx.reverse), lengths=lengths)
    gates = torch.cat([record.input_gate, record.forget_gate, record.candidate, record.output_gate], dim=-1)
    outputs = [y, h_n, c_n, gates, record.cell]
    if place is not None:
        for n in (0, 3, 4):
            outputs[n] = outputs[n].flatten(0, 1).index_select(0, place)
    read = [(output, d) for output, d in zip(outputs, adjoint, strict=True) if d is not None]
    gradients = iter(
        torch.autograd.grad(
            [output for output, _ in read], wanted, [d for _, d in read], create_graph=True, allow_unused=True
        )
    )
    return [next(gradients) if need else None for need in needs]


def _chunk_steps(B: Any, H: int, element: int) -> Any:
    """Return `kernels.chunk_steps`, for a B that may be a symbol too."""
    rows = max(kernels.LEAST_CHUNK_ROWS, kernels.CHUNK_BYTES // (4 * H * element))
    return torch.sym_max(1, rows // torch.sym_max(B, 1))


def dense(*tensors: Tensor | None) -> Any:
    """Return contiguous tensors to the kernels, of the same memory where they are contiguous already.

    By way of DLPack, not of NumPy, after which torch lets nobody resize a tensor.
    """
    return [
        None
        if tensor is None
        else to_dlpack(tensor if tensor.is_contiguous() and not tensor.is_neg() else _copy(tensor))
        for tensor in tensors
    ]


def rows(tensor: Tensor | None) -> Any:
    """Return a tensor to the kernels whose last dimension is contiguous; the others stay as they are."""
    if tensor is None:
        return None
    return to_dlpack(tensor if tensor.stride(-1) == 1 and not tensor.is_neg() else _copy(tensor))


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().resolve_neg().contiguous()


kernels.share_threads()
library = torch.library.Library("gatewright", "DEF")


def define(name: str, kernel: Callable[..., Any], shapes: Callable[..., Any]) -> Any:
    """Register an operator by hand: `torch.library.custom_op` does the same, at 150 µs a call with gradients."""
    library.define(name + torch.library.infer_schema(kernel, mutates_args=()), tags=(torch.Tag.pt2_compliant_tag,))
    library.impl(name, kernel, "CPU")
    torch.library.register_fake(f"gatewright::{name}", shapes, lib=library)
    return getattr(torch.ops.gatewright, name).default


lstm = define("lstm", _lstm, _lstm_shapes)
lstm_backward = define("lstm_backward", _lstm_backward, _lstm_backward_shapes)
lstm_backward_flat = define("lstm_backward_flat", _lstm_backward_flat, _lstm_backward_flat_shapes)


def _with_adjoint(keys: Any, *inputs: Any) -> Any:
    x, h_0, c_0, weights, cell, batch_sizes, options = inputs
    if not _differentiable(x, h_0, c_0, *weights):
        return _torch_private.redispatch(lstm, keys, *inputs)
    results = _Lstm.apply(keys, cell, batch_sizes, options, x, h_0, c_0, *weights)
    return tuple(x.new_empty(0) if each is None else each for each in results)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Keep what `_later` needs."""
    x, h_0, c_0, weights, ctx.cell, batch_sizes, (ctx.reverse, ctx.kept, ctx.checkpoint) = inputs
    y, _, _, gates, cells = output
    ctx.save_for_backward(batch_sizes, y, gates, cells, x, h_0, c_0, *weights)
    ctx.set_materialize_grads(False)
    if not ctx.kept or ctx.checkpoint > 0:
        ctx.mark_non_differentiable(gates, cells)


def _later(ctx: Any, *adjoint: Tensor | None) -> tuple[Any, ...]:
    """Return the adjoints as `torch.library.register_autograd` wants them; run again what kept nothing."""
    saved = ctx.saved_tensors
    batch_sizes, *kept, x, h_0, c_0 = saved[:7]
    weights = list(saved[7:])
    if not ctx.kept:
        with torch.no_grad():
            options = [ctx.reverse, 1, ctx.checkpoint]
            y, _, _, *rest = lstm(x, h_0, c_0, weights, ctx.cell, batch_sizes, options)
        kept = [y, *rest]
    needs = [*ctx.needs_input_grad[:3], *(ctx.needs_input_grad[3] or [False] * len(weights))]
    dx, dh_0, dc_0, *dW = _adjoint(ctx, (batch_sizes, *kept, x, h_0, c_0, *weights), adjoint, needs)
    return dx, dh_0, dc_0, dW, None, None, None


if _torch_private.can_redispatch():
    library.impl("lstm", _with_adjoint, "Autograd", with_keyset=True)
else:
    torch.library.register_autograd("gatewright::lstm", _later, setup_context=_keep, lib=library)
