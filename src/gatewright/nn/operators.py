"""The kernels as operators of torch: schema, implementation on the CPU, and shapes for tracing.

`gatewright::lstm` runs one layer in one direction; `gatewright::lstm_backward` is its adjoint.  Both are for the
CPU and for float32 and float64, or in bf16 arithmetic for float32 and bfloat16, and neither writes to its
arguments; the first also takes float32 in int8 arithmetic.  Weights are packed anew on every call, so that no
change of them, by whatever way, can be missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack  # type: ignore[attr-defined]

from gatewright import kernels
from gatewright.errors import GatewrightError
from gatewright.nn import slstm_kept
from gatewright.nn.extras import Extras
from gatewright.nn.kernel_cell import cell_args, keeps_float32, kept_width, split_kept
from gatewright.nn.precision import BF16, FULL, INT8, kept_type
from gatewright.spec.cell import LAYER_NORM, SLSTM, LayerWeights

kernels.share_threads()
library = torch.library.Library("gatewright", "DEF")


#: Arguments at the end of the operators: `Extras`.
_EXTRAS = (
    "Tensor? lengths=None, Tensor? mask=None, Tensor? reset=None, Tensor? h_reset=None, Tensor? c_reset=None, "
    "float[] rates=[], Tensor? seed=None, Tensor? row_ids=None"
)
_LSTM = (
    "(Tensor x, Tensor h_0, Tensor c_0, Tensor[] weights, int cell, Tensor? batch_sizes, int[] options, "
    f"{_EXTRAS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)
_LSTM_BACKWARD = (
    "(Tensor?[] d, Tensor[] inputs, Tensor[] weights, int cell, Tensor? batch_sizes, Tensor[] kept, "
    f"int[] options, {_EXTRAS}) -> (Tensor, Tensor, Tensor, Tensor[])"
)


def define(name: str, kernel: Callable[..., Any], shapes: Callable[..., Any], schema: str | None = None) -> Any:
    """Register an operator by hand: `torch.library.custom_op` does the same, at 150 µs a call with gradients."""
    schema = schema or torch.library.infer_schema(kernel, mutates_args=())
    library.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))
    library.impl(name, kernel, "CPU")
    torch.library.register_fake(f"gatewright::{name}", shapes, lib=library)
    return getattr(torch.ops.gatewright, name).default


def sequence_args(
    batch_sizes: Tensor | None,
    reverse: bool,
    checkpoint: int,
    compute: int = FULL,
    extras: Extras | None = None,
    *,
    fill: bool = False,
) -> kernels.SequenceArgs:
    """Return how a sequence is walked, in which arithmetic, by as many threads as torch uses."""
    sizes = None if batch_sizes is None else batch_sizes.tolist()
    args = kernels.SequenceArgs(sizes, reverse, checkpoint, torch.get_num_threads())
    if extras is not None and extras.has_steps():
        of_rows = (_any_strides(each) for each in (extras.lengths, extras.mask, extras.reset))
        steps = kernels.Steps(*of_rows, *dense(*_widened(extras.h_reset, extras.c_reset)))
        args = args._replace(steps=steps, fill=fill)
    if compute == FULL:
        return args
    if compute == INT8:
        return args._replace(compute="int8")
    return args._replace(compute="bf16", kept="bf16" if compute == BF16 else "float32")


def forward(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: LayerWeights,
    args: kernels.SequenceArgs,
    *,
    keep: bool,
    into: Sequence[Tensor | None] = (None, None, None),
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Run the kernels; return y, h_n, c_n, gates and cell, the last two None where they are not kept.

    Args:
        x: as for `lstm_kernel`, as are h_0 and c_0.
        h_0: hidden state.
        c_0: cell state.
        weights: of the layer.
        args: how the sequence is walked.
        keep: whether gates and cell are kept.
        into: memory for y, gates and cell; None for new tensors.
    """
    y, gates, cells = into
    if y is None:
        y = x.new_empty(*x.shape[:-1], weights.output_size)
    h_n, c_n = (_new_state(state) for state in (h_0, c_0))
    h, c = dense(*_widened(h_0, c_0))
    rooms = [to_dlpack(y), to_dlpack(h_n), to_dlpack(c_n), *dense(gates, cells), None]
    slstm = keep and args.cell & SLSTM != 0
    if keep and weights.w_ln is not None and args.checkpoint == 0:
        gates, cells = _norm_rooms(x, weights, rooms)
    elif slstm and args.checkpoint == 0:
        gates, cells = slstm_kept.room(x, len(h_0), weights.hidden_size)
        rooms[3:5] = dense(gates, slstm_kept.averages(cells, len(x)))
    arrays = kernels.forward(rows(x), h, c, _given_weights(weights), args, keep=keep, out=rooms)
    if gates is None:
        gates, cells = _tensor(arrays.gates), _tensor(arrays.cell)
        if slstm and cells is not None:
            cells = torch.cat([cells, c_n[None]])
    elif slstm and cells is not None:
        slstm_kept.keep_last(cells, len(x), c_n)
    return y, h_n.to(h_0.dtype), c_n.to(c_0.dtype), gates, cells


def _norm_rooms(x: Tensor, weights: LayerWeights, rooms: list[Any]) -> tuple[Tensor, Tensor]:
    """Make room for what a pass with layer normalisation keeps, and return it: of one type, that of the states."""
    H, dtype = weights.hidden_size, torch.float64 if x.dtype == torch.float64 else torch.float32
    kept = torch.from_numpy(kernels.memory((*x.shape[:-1], kept_width(H, normalised=True)), str(dtype)[6:]))
    cells = torch.from_numpy(kernels.memory((*x.shape[:-1], H), str(dtype)[6:]))
    gates, extra = split_kept(kept, H)
    rooms[3:] = dense(gates, cells, extra)
    return kept, cells


def _given_weights(weights: LayerWeights) -> LayerWeights:
    """Return weights to the kernels, which take vectors of the cell in the type of states alone."""
    return LayerWeights(*dense(*weights[:5], *_widened(*weights[5:])))


def _widened(*tensors: Tensor | None) -> list[Tensor | None]:
    """Return tensors of the states in float32 where they are bfloat16, which only rows and weights may be."""
    return [
        tensor if tensor is None or tensor.dtype != torch.bfloat16 else tensor.detach().float()
        for tensor in tensors
    ]


def _new_state(state: Tensor) -> Tensor:
    """Return memory for a state, or its adjoint, as the kernels write it."""
    dtype = torch.float32 if state.dtype == torch.bfloat16 else state.dtype
    return torch.empty_like(state, dtype=dtype, memory_format=torch.contiguous_format)


def _tensor(array: Any) -> Tensor | None:
    """Return an array of the kernels as a tensor; bfloat16 numbers come as their bits."""
    if array is None:
        return None
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor


def lstm_kernel(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    cell: int,
    batch_sizes: Tensor | None,
    options: Sequence[int],
    *extras: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return y, h_n, c_n, and where it is kept what the adjoint needs: gates and cell, or checkpoints of the cell.

    Args:
        x: as for `sequence`, as are h_0, c_0 and batch_sizes.
        h_0: hidden state.
        c_0: cell state.
        weights: those that the cell has, in the order of `CellSpec.weights`.
        cell: which cell it is, `CellSpec.code`.
        batch_sizes: rows of each step.
        options: reverse; keep: 1, or 2 where nothing but the adjoint reads it; checkpoint; compute: a code of
            `gatewright.nn.precision`, which programs that were exported by earlier versions do not have; after
            these stream and first step of the random numbers, or nothing.
        extras: the fields of `Extras`.

    Raises:
        GatewrightError: if the kernels do not have what the extras ask for.
    """
    more = Extras(*extras)
    _refuse(more)
    reverse, keep, checkpoint, compute = with_compute(options)
    args = sequence_args(batch_sizes, bool(reverse), checkpoint, compute, more, fill=keep == 1)
    args = cell_args(args, cell, more.rates, more.seed, dense(more.row_ids)[0], place_of_draws(options))
    y, h_n, c_n, gates, cells = forward(x, h_0, c_0, LayerWeights.of(cell, weights), args, keep=bool(keep))
    return y, h_n, c_n, x.new_empty(0) if gates is None else gates, x.new_empty(0) if cells is None else cells


def _refuse(extras: Extras) -> None:
    """Refuse a state that no reset sets."""
    if extras.reset is None and (extras.h_reset is not None or extras.c_reset is not None):
        raise GatewrightError("reset", "the steps at which the state is reset", "None")


def with_compute(options: Sequence[int], count: int = 4) -> Sequence[int]:
    """Return the options of an operator with an arithmetic at their end, also those of earlier versions."""
    return options[:count] if len(options) >= count else [*options, FULL]


def place_of_draws(options: Sequence[int], count: int = 4) -> Sequence[int]:
    """Return stream and first step of random numbers, which follow the other options of an operator, if any."""
    return options[count : count + 2]


def _lstm_shapes(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    cell: int,
    batch_sizes: Tensor | None,
    options: Sequence[int],
    *extras: Any,
) -> tuple[Tensor, ...]:
    _, keep, checkpoint, compute = with_compute(options)
    slstm = cell & SLSTM != 0
    H = weights[1].shape[0] // 4
    P, of_last = (H, slstm_kept.PARTS) if slstm else (weights[1].shape[1], 0)
    rows = x.shape[:-1]
    gates: tuple[Any, ...] = (0,)
    cells: tuple[Any, ...] = (0,)
    of_gates = of_cells = kept_type(x, compute) if keep else x.dtype
    if keep and checkpoint > 0:
        of_gates, of_cells = x.dtype, x.dtype if compute == FULL else torch.float32
        T = x.shape[0] if batch_sizes is None else batch_sizes.shape[0]
        unit = _chunk_steps(h_0.shape[0], H, x.element_size() if compute == FULL else 2)
        every = (torch.sym_min(checkpoint, torch.sym_max(T, 1)) + unit - 1) // unit * unit
        cells = ((T + every - 1) // every + int(slstm), *c_0.shape)
    elif keep:
        normalised = cell & LAYER_NORM != 0
        more = of_last if len(rows) == 2 else of_last * h_0.shape[0]
        gates, cells = (*rows, kept_width(H, normalised)), (rows[0] + more, *rows[1:], H)
        if compute != FULL and keeps_float32(cell, Extras(*extras).rates):
            of_gates = of_cells = torch.float32
    states = h_0.new_empty(h_0.shape), c_0.new_empty(c_0.shape)
    kept = x.new_empty(gates, dtype=of_gates), x.new_empty(cells, dtype=of_cells)
    return x.new_empty((*rows, P)), *states, *kept


class BackwardCall(NamedTuple):
    """A call of the adjoint, its tensors aside.

    Attributes:
        cell: which cell it is, `CellSpec.code`.
        compute: the arithmetic, a code of `gatewright.nn.precision`.
        args: how the sequence is walked.
        wanted: which adjoints are.
        reset_to: the state that a reset sets, h and c.
    """

    cell: int
    compute: int
    args: kernels.SequenceArgs
    wanted: kernels.Wanted
    reset_to: tuple[Tensor | None, Tensor | None]

    @classmethod
    def of(cls, cell: int, batch_sizes: Tensor | None, options: Sequence[int], extras: Extras) -> BackwardCall:
        """Return the call of an operator; its arguments are those of `lstm_backward_kernel`."""
        _refuse(extras)
        reverse, checkpoint, need_x, need_weights, compute = with_compute(options, 5)
        args = sequence_args(batch_sizes, bool(reverse), checkpoint, compute, extras)
        row_ids, place = dense(extras.row_ids)[0], place_of_draws(options, 5)
        args = cell_args(args, cell, extras.rates, extras.seed, row_ids, place)
        wanted = kernels.Wanted(bool(need_x), bool(need_weights))
        return cls(cell, compute, args, wanted, (extras.h_reset, extras.c_reset))

    def with_clamps(self, clamps: Tensor) -> BackwardCall:
        """Return the same with gates held at values, (4, H), as in `kernels.SequenceArgs`."""
        return self._replace(args=self.args._replace(clamps=dense(clamps)[0]))

    def into_gates(self, dpre: Tensor) -> BackwardCall:
        """Return the same with memory for the adjoint of the gates before activation, in the shape of gates."""
        return self._replace(wanted=self.wanted._replace(gates=dense(dpre)[0]))

    def run(
        self,
        d: Sequence[Tensor | None],
        inputs: Sequence[Tensor],
        weights: Sequence[Tensor],
        kept: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Run the kernels; arguments and results are those of `lstm_backward_kernel`."""
        x, h_0, c_0 = inputs
        dy, dh_n, dc_n, dgates, dcell = d
        y, gates, cells = kept
        need_x, need_weights, _ = self.wanted
        dx, dh_0, dc_0, dW = _new_gradients(inputs, weights, self.reset_to, self.wanted)
        wide = [tensor if tensor.dtype != torch.bfloat16 else tensor.float() for tensor in (dh_0, dc_0, *dW)]
        layer, states = LayerWeights.of(self.cell, weights), iter(wide[2 + need_weights * len(weights) :])
        of_weights = wide[2 : 2 + len(weights)]
        d_layer = LayerWeights.of(self.cell, of_weights) if need_weights else LayerWeights(None, None)
        d_reset = [None if state is None else next(states) for state in self.reset_to]
        H = layer.hidden_size
        of_gates, extra = (None, None) if self.args.checkpoint > 0 else split_kept(gates, H)
        dgates = None if dgates is None else split_kept(dgates, H)[0]
        h, c, dh, dc = dense(*_widened(h_0, c_0, dh_n, dc_n))
        c_n = None
        if self.cell & SLSTM:
            cells, dcell, c_n = slstm_kept.split(cells, dcell, len(x), len(h_0), self.args.checkpoint)
        kernels.backward(
            kernels.OutputGradients(rows(dy), dh, dc, rows(dgates), rows(dcell)),
            kernels.Inputs(rows(x), h, c),
            kernels.Kept(rows(y), rows(of_gates), rows(cells), rows(extra), dense(c_n)[0]),
            _given_weights(layer),
            self.args,
            self.wanted,
            out=dense(dx if need_x else None, *wide[:2], *d_layer[:3], *d_layer[4:], *d_reset),
        )
        if d_layer.b_hh is not None:
            d_layer.b_hh.copy_(d_layer.b_ih)  # which both are added to
        if self.compute != FULL:
            pairs = zip(wide, (dh_0, dc_0, *dW), strict=True)
            dh_0, dc_0, *dW = (tensor.to(like.dtype) for tensor, like in pairs)
        return dx, dh_0, dc_0, dW


def lstm_backward_kernel(
    d: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    cell: int,
    batch_sizes: Tensor | None,
    kept: Sequence[Tensor],
    options: Sequence[int],
    *extras: Any,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Return the adjoints of x (empty where not wanted), h_0, c_0, and of the weights (none where not wanted).

    Those of h_reset and c_reset, where there are steps with them, come after those of the weights.

    Args:
        d: adjoints of y, h_n, c_n, gates and cell; None for zeros.
        inputs: x, h_0, c_0.
        weights: as for `lstm_kernel`, as are cell and batch_sizes.
        cell: which cell it is.
        batch_sizes: rows of each step.
        kept: y, gates and cell, or its checkpoints, as `lstm_kernel` gave them.
        options: reverse, checkpoint, whether dx is wanted, whether the adjoints of the weights are, compute.
        extras: as for `lstm_kernel`.

    Raises:
        GatewrightError: if the kernels do not have what the extras ask for.
    """
    return BackwardCall.of(cell, batch_sizes, options, Extras(*extras)).run(d, inputs, weights, kept)


def _lstm_backward_shapes(
    _d: Any,
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    _cell: int,
    _sizes: Any,
    _kept: Any,
    options: Any,
    *extras: Any,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    _, _, need_x, need_weights, _ = with_compute(options, 5)
    reset_to = Extras(*extras).tensors()[:2]
    return _new_gradients(inputs, weights, reset_to, kernels.Wanted(bool(need_x), bool(need_weights)))


def _new_gradients(
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    reset_to: Sequence[Tensor | None],
    wanted: kernels.Wanted,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Return memory for the results of the adjoint."""
    x, h_0, c_0 = inputs
    dx = x.new_empty(x.shape if wanted.x else (0,))
    dW = [W.new_empty(W.shape) for W in weights] if wanted.weights else []
    dW += [state.new_empty(state.shape) for state in reset_to if state is not None]
    return dx, h_0.new_empty(h_0.shape), c_0.new_empty(c_0.shape), dW


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

    The options are the cell, those of `lstm_backward_kernel`, and the shapes of what is saved.
    """
    inputs, activations, weights = _unflattened(saved, options)
    d = [dy, dh_n, dc_n, dgates, dcell]
    *gradients, dW = lstm_backward_kernel(d, inputs, weights, options[0], batch_sizes, activations, options[1:6])
    return torch.cat([gradient.reshape(-1) for gradient in (*gradients, *dW)])


def _lstm_backward_flat_shapes(*arguments: Any) -> Tensor:
    *_, saved, _, options = arguments
    inputs, _, weights = _unflattened(saved, options)
    differentiated = [*(inputs if options[3] else inputs[1:]), *(weights if options[4] else [])]
    return saved.new_empty(sum(tensor.numel() for tensor in differentiated))


def _unflattened(saved: Tensor, options: Sequence[int]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return inputs, activations and weights."""
    sizes, tensors, begin = list(options[6:]), [], 0
    while sizes:
        shape = torch.Size(sizes[1 : 1 + sizes[0]])
        sizes = sizes[1 + sizes[0] :]
        tensors.append(saved[begin : begin + shape.numel()].view(shape))
        begin += shape.numel()
    return tensors[:3], tensors[3:6], tensors[6:]


def _chunk_steps(B: Any, H: int, element: int) -> Any:
    """Return `kernels.chunk_steps`, for a B that may be a symbol too."""
    rows = max(kernels.LEAST_CHUNK_ROWS, kernels.CHUNK_BYTES // (4 * H * element))
    return torch.sym_max(1, rows // torch.sym_max(B, 1))


def dense(*tensors: Tensor | None) -> Any:
    """Return contiguous tensors to the kernels, of the same memory where they are contiguous already.

    By way of DLPack, not of NumPy, after which torch lets nobody resize a tensor.
    """
    return [None if tensor is None else _given(tensor, Tensor.is_contiguous) for tensor in tensors]


def _any_strides(tensor: Tensor | None) -> Any:
    """Return a tensor to the kernels as it is."""
    return None if tensor is None else _given(tensor, lambda _: True)


def rows(tensor: Tensor | None) -> Any:
    """Return a tensor to the kernels whose last dimension is contiguous; the others stay as they are."""
    return None if tensor is None else _given(tensor, lambda alias: alias.stride(-1) == 1)


def _given(tensor: Tensor, fits: Callable[[Tensor], bool]) -> Any:
    """Return a tensor of the same memory that only the kernels know, or a copy where that does not fit.

    What DLPack gives of a tensor does not keep its memory where another thread gives the tensor another
    (``parameter.data = ...``).
    """
    alias = tensor.detach()
    return to_dlpack(alias if fits(alias) and not alias.is_neg() else alias.resolve_neg().contiguous())


lstm = define("lstm", lstm_kernel, _lstm_shapes, _LSTM)
lstm_backward = define("lstm_backward", lstm_backward_kernel, _lstm_backward_shapes, _LSTM_BACKWARD)
lstm_backward_flat = define("lstm_backward_flat", _lstm_backward_flat, _lstm_backward_flat_shapes)
