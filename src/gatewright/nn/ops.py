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
from gatewright.nn import fallback
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
    """Whether nobody listens to torch's dispatcher, so that the kernels may be called without it: 50 µs less."""
    return (
        not torch.compiler.is_compiling()
        and torch._C._len_torch_dispatch_stack() == 0
        and not torch.autograd.profiler._is_profiler_enabled
        and not torch._C._get_tracing_state()
        and {type(tensor) for tensor in tensors} <= _PLAIN
    )


def looked_into(x: Tensor, hx: Any, weights: Sequence[Tensor | None]) -> bool:
    """Whether operations are needed that torch can look into: for a transform of `torch.func`, or for tangents."""
    if torch._C._are_functorch_transforms_active():
        return True
    if torch.compiler.is_compiling() or forward_ad._current_level < 0:
        return False
    states = hx if isinstance(hx, tuple | list) else ()
    tensors = (tensor for tensor in (x, *states, *weights) if isinstance(tensor, Tensor))
    return any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)


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
        checkpoint: for the backward pass keep only the states before every so many steps, and compute the rest
            again; 0 keeps the activations of every step, as a record does.

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
    inputs = (x, h_0, c_0, *weights, batch_sizes, reverse, record, 0 if record else checkpoint)
    if not _direct(x, h_0, c_0, *weights):
        y, h_n, c_n, gates, cell = lstm(*inputs)
    elif _differentiable(x, h_0, c_0, *weights):
        y, h_n, c_n, gates, cell = _Lstm.apply(None, *inputs)
    else:
        y, h_n, c_n, gates, cell = _lstm(*inputs)
    if not record:
        return y, h_n, c_n, None
    i, f, g, o = gates.chunk(4, dim=-1)
    return y, h_n, c_n, LayerRecord(i, f, g, o, cell, y, cell_initial=c_0, hidden_initial=h_0)


def _differentiable(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _lstm(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    W_ih: Tensor,
    W_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    W_hr: Tensor | None,
    batch_sizes: Tensor | None,
    reverse: bool,
    keep: bool,
    checkpoint: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return y, h_n, c_n, and with ``keep`` what the adjoint needs: gates and cell, or checkpoints of the cell."""
    y, h_n, c_n = x.new_empty(*x.shape[:-1], W_hh.shape[-1]), x.new_empty(h_0.shape), x.new_empty(c_0.shape)
    sizes = None if batch_sizes is None else batch_sizes.tolist()
    h, c = dense(h_0, c_0)
    done = kernels.forward(
        rows(x),
        h,
        c,
        LayerWeights(*dense(W_ih, W_hh, b_ih, b_hh, W_hr)),
        kernels.SequenceArgs(sizes, reverse, checkpoint, torch.get_num_threads()),
        keep=keep,
        out=(*dense(y, h_n, c_n), None, None),
    )
    gates = x.new_empty(0) if done.gates is None else torch.from_numpy(done.gates)
    cell = x.new_empty(0) if done.cell is None else torch.from_numpy(done.cell)
    return y, h_n, c_n, gates, cell


def _lstm_shapes(*inputs: Any) -> tuple[Tensor, ...]:
    x, h_0, c_0, _, W_hh, _, _, _, batch_sizes, _, keep, checkpoint = inputs
    H, P = W_hh.shape[0] // 4, W_hh.shape[1]
    rows = x.shape[:-1]
    gates: tuple[Any, ...] = (0,)
    cell: tuple[Any, ...] = (0,)
    if keep and checkpoint > 0:
        T = x.shape[0] if batch_sizes is None else batch_sizes.shape[0]
        unit = _chunk_steps(h_0.shape[0], H, x.element_size())
        every = (torch.sym_min(checkpoint, torch.sym_max(T, 1)) + unit - 1) // unit * unit
        cell = ((T + every - 1) // every, h_0.shape[0], H)
    elif keep:
        gates, cell = (*rows, 4 * H), (*rows, H)
    return tuple(x.new_empty(shape) for shape in ((*rows, P), h_0.shape, c_0.shape, gates, cell))


def _lstm_backward(
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    dgates: Tensor | None,
    dcell: Tensor | None,
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    W_ih: Tensor,
    W_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    W_hr: Tensor | None,
    batch_sizes: Tensor | None,
    y: Tensor,
    gates: Tensor,
    cell: Tensor,
    reverse: bool,
    checkpoint: int,
    need_x: bool,
    need_weights: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the adjoints of x, h_0, c_0, W_ih, W_hh, of both biases, and of W_hr; empty where not wanted."""
    shapes = _adjoint_shapes(x, h_0, c_0, W_ih, W_hh, W_hr, need_x, need_weights)
    out = [x.new_empty(shape or (0,)) for shape in shapes]
    sizes = None if batch_sizes is None else batch_sizes.tolist()
    h, c, dh, dc = dense(h_0, c_0, dh_n, dc_n)
    kernels.backward(
        kernels.OutputGradients(rows(dy), dh, dc, rows(dgates), rows(dcell)),
        kernels.Inputs(rows(x), h, c),
        kernels.Kept(rows(y), None if checkpoint > 0 else rows(gates), rows(cell)),
        LayerWeights(*dense(W_ih, W_hh, b_ih, b_hh, W_hr)),
        kernels.SequenceArgs(sizes, reverse, checkpoint, torch.get_num_threads()),
        need_x=need_x,
        need_weights=need_weights,
        out=[None if shape is None else to_dlpack(each) for shape, each in zip(shapes, out, strict=True)],
    )
    return tuple(out)  # type: ignore[return-value]


def _adjoint_shapes(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    W_ih: Tensor,
    W_hh: Tensor,
    W_hr: Tensor | None,
    need_x: bool,
    need_weights: bool,
) -> list[Any]:
    """Return the shapes of the adjoints, None where one is not wanted."""
    shapes: list[Any] = [x.shape if need_x else None, h_0.shape, c_0.shape]
    if not need_weights:
        return [*shapes, None, None, None, None]
    return [*shapes, W_ih.shape, W_hh.shape, W_hh.shape[:1], None if W_hr is None else W_hr.shape]


def _lstm_backward_shapes(*inputs: Any) -> tuple[Tensor, ...]:
    x, h_0, c_0, W_ih, W_hh, _, _, W_hr, *_, need_x, need_weights = inputs[5:]
    shapes = _adjoint_shapes(x, h_0, c_0, W_ih, W_hh, W_hr, need_x, need_weights)
    return tuple(x.new_empty((0,) if shape is None else shape) for shape in shapes)


class _Lstm(torch.autograd.Function):
    """The operator with its adjoint.

    Whether there will be a backward pass is known here, when the operator runs, and not when a program that holds
    it was written down: so this keeps what a backward pass needs, whether the caller wants it too or not.
    """

    @staticmethod
    def forward(ctx: Any, keys: Any, *inputs: Any) -> Any:
        *tensors, ctx.reverse, wanted, ctx.checkpoint = inputs
        inputs = (*tensors, ctx.reverse, True, ctx.checkpoint)
        y, h_n, c_n, gates, cell = _lstm(*inputs) if keys is None else _below(keys, *inputs)
        ctx.save_for_backward(*tensors, y, gates, cell)
        ctx.set_materialize_grads(False)  # zeros for gates that no loss reads would be the largest tensor of all
        if not wanted:
            gates = cell = None
        elif ctx.checkpoint > 0:
            ctx.mark_non_differentiable(gates, cell)  # nothing to be read: the record keeps all
        return y, h_n, c_n, gates, cell

    @staticmethod
    def backward(ctx: Any, *adjoint: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # once: each access runs the hooks that unpack them
        x, h_0, c_0, W_ih, W_hh, b_ih, b_hh, W_hr, batch_sizes, *kept = saved
        if torch.is_grad_enabled():  # to be differentiated once more
            return (None, *_adjoint_by_steps(ctx, saved, adjoint), *[None] * 4)
        need_x, _, _, *need_weights = needs = ctx.needs_input_grad[1:9]
        batched = torch._C._dispatch_tls_is_dispatch_key_included(
            "VmapMode"
        )  # torch runs each gradient of a batch
        run: Callable[..., Any] = _lstm_backward if _direct(*adjoint, *saved) and not batched else lstm_backward
        dx, dh_0, dc_0, dW_ih, dW_hh, db, dW_hr = run(
            *adjoint,
            *(x, h_0, c_0, W_ih, W_hh, b_ih, b_hh, W_hr, batch_sizes, *kept),
            *(ctx.reverse, ctx.checkpoint, need_x, any(need_weights)),
        )
        gradients = (dx, dh_0, dc_0, dW_ih, dW_hh, db, db.clone(), dW_hr)
        wanted = [g if need else None for g, need in zip(gradients, needs, strict=True)]
        return (None, *wanted, *[None] * 4)


def _adjoint_by_steps(ctx: Any, saved: tuple[Any, ...], adjoint: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """Return the adjoints of the first eight inputs as a graph of torch operations, to differentiate further."""
    *inputs, batch_sizes, _, _, _ = saved
    needs = ctx.needs_input_grad[1:9]
    wanted = [tensor for tensor, need in zip(inputs, needs, strict=True) if need]
    x, h_0, c_0, *weights = inputs
    lengths = place = None
    if batch_sizes is not None:
        present = torch.arange(int(batch_sizes[0])) < batch_sizes[:, None]
        lengths, place = present.sum(0), present.flatten().nonzero().squeeze(1)
        x = x.new_zeros(present.numel(), x.shape[-1]).index_copy(0, place, x).unflatten(0, tuple(present.shape))
    y, h_n, c_n, record = fallback.sequence(
        x, h_0, c_0, LayerWeights(*weights), reverse=ctx.reverse, lengths=lengths
    )
    gates = torch.cat([record.input_gate, record.forget_gate, record.candidate, record.output_gate], dim=-1)
    outputs = [y, h_n, c_n, gates, record.cell]
    if place is not None:
        for n in (0, 3, 4):
            outputs[n] = outputs[n].flatten(0, 1).index_select(0, place)
    given = [(output, d) for output, d in zip(outputs, adjoint, strict=True) if d is not None]
    found = iter(
        torch.autograd.grad(
            [output for output, _ in given], wanted, [d for _, d in given], create_graph=True, allow_unused=True
        )
    )
    return [next(found) if need else None for need in needs]


def _chunk_steps(B: Any, H: int, element: int) -> Any:
    """Return `kernels.chunk_steps`, for a B that may be a symbol too."""
    return torch.sym_max(1, max(128, 2**20 // (4 * H * element)) // torch.sym_max(B, 1))


def dense(*tensors: Tensor | None) -> Any:
    """Return contiguous tensors to the kernels, of the same memory where they are contiguous already."""
    return [None if tensor is None else _capsule(tensor, tensor.is_contiguous()) for tensor in tensors]


def rows(tensor: Tensor | None) -> Any:
    """Return a tensor to the kernels whose last dimension is contiguous; the others stay as they are."""
    return None if tensor is None else _capsule(tensor, tensor.stride(-1) == 1)


def _capsule(tensor: Tensor, fits: bool) -> Any:
    """Return the memory of a tensor; not by way of NumPy, after which torch lets nobody resize the tensor."""
    if not fits or tensor.is_neg():
        tensor = tensor.detach().resolve_neg().contiguous()
    return to_dlpack(tensor)


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


def _below(keys: Any, *inputs: Any) -> Any:
    """Go on to the kernel, or to whatever stands between autograd and it."""
    with torch._C._AutoDispatchBelowAutograd():
        return lstm.redispatch(keys & torch._C._after_autograd_keyset, *inputs)


def _with_adjoint(keys: Any, *inputs: Any) -> Any:
    if not (torch.is_grad_enabled() and torch._C._any_requires_grad(*inputs)):
        return _below(keys, *inputs)
    return tuple(inputs[0].new_empty(0) if each is None else each for each in _Lstm.apply(keys, *inputs))


library.impl("lstm", _with_adjoint, "Autograd", with_keyset=True)
