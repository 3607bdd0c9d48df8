"""The initial state of a call: one that the layer learns, or hx, which may be anything and is checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.errors import GatewrightError
from gatewright.nn import _torch_private, layer_sizes
from gatewright.spec.cell import CellSpec

State = tuple[Tensor, Tensor]
#: Of h_0 and of c_0: one, or one for each layer where their sizes differ.
Shapes = tuple[Any, Any]
Types = tuple[torch.dtype, torch.dtype]

#: Types whose values can be read.
_PLAIN = (Tensor, torch.nn.Parameter)

#: Parameters of a layer that learns its initial states; each with "_l0", "_l1" ... where layers differ in size.
LEARNED = ("h_0", "c_0")


def require(initial_state: Any, cell: CellSpec | None = None) -> None:
    """Require that the argument of a layer is there, and its cell can have it.

    Raises:
        GatewrightError: names the argument.
    """
    if initial_state not in ("zeros", "learned"):
        raise GatewrightError("initial_state", '"zeros" or "learned"', repr(initial_state))
    if initial_state == "learned" and cell is not None and cell.is_slstm:
        expected = '"zeros" for an sLSTM, whose normaliser is not negative'
        raise GatewrightError("initial_state", expected, repr(initial_state))


def register(layer: Any) -> None:
    """Give a layer the parameters of its initial states, zeros, where it learns them."""
    if layer.initial_state == "zeros":
        return
    W = layer.weight_hh_l0
    shapes = layer_sizes.state_shapes(layer, ())
    flat = [shape for state in shapes for shape in state] if layer_sizes.unequal(layer) else shapes
    for name, shape in zip(_names(layer), flat, strict=True):
        layer.register_parameter(name, torch.nn.Parameter(W.new_zeros(shape)))


@torch.no_grad()
def clear(layer: Any) -> None:
    """Set learned initial states to zeros."""
    for _, state in parameters(layer):
        state.zero_()


def parameters(layer: Any) -> list[tuple[str, Tensor]]:
    """Return the learned initial states of a layer by name, if it has such and they are registered."""
    if layer.initial_state == "zeros":
        return []
    return [(name, getattr(layer, name)) for name in _names(layer) if hasattr(layer, name)]


def _names(layer: Any) -> tuple[str, ...]:
    if layer_sizes.unequal(layer):
        return tuple(f"{name}_l{n}" for name in LEARNED for n in range(layer.num_layers))
    return LEARNED


def pair(layer: Any) -> State:
    """Return the learned initial states of a layer, h and c without rows."""
    if layer_sizes.unequal(layer):
        L, states = layer.num_layers, tuple(getattr(layer, name) for name in _names(layer))
        return states[:L], states[L:]  # type: ignore[return-value]
    return layer.h_0, layer.c_0


def learned(layer: Any, x: Tensor, batch_sizes: Tensor | None) -> State:
    """Return the learned initial states of a layer for each row of its input.

    Args:
        layer: the layer.
        x: input (T, B, D), (T, D), or packed steps.
        batch_sizes: rows of each packed step, or None.
    """
    if batch_sizes is None and x.dim() != 3:
        return pair(layer)
    rows = x.shape[0 if layer.batch_first else 1] if batch_sizes is None else int(batch_sizes[0])
    h, c = (of_rows(state, rows) for state in pair(layer))
    return h, c


def of_rows(state: Any, rows: int) -> Any:
    """Return the same state (L*S, F), or of each layer, for each row, (L*S, B, F)."""
    return layer_sizes.each(lambda part: part[:, None].expand(-1, rows, -1).contiguous(), state)


def tensors_of(hx: Any) -> list[Tensor]:
    """Return the tensors of a pair of states, or of states of each layer, as far as it is one."""
    if not isinstance(hx, (tuple, list)):
        return []
    parts = [part for state in hx for part in (state if isinstance(state, (tuple, list)) else (state,))]
    return [part for part in parts if isinstance(part, Tensor)]


def fits(hx: Any, expected: Shapes, types: Types) -> bool:
    """Whether hx is None or a pair of tensors, or of tuples of tensors, of the expected shapes and types."""
    if hx is None:
        return True
    if not (isinstance(hx, (tuple, list)) and len(hx) == 2):
        return False
    return tuple(map(layer_sizes.shape_of, hx)) == expected and have_types(hx, types)


def require_normalisers(layer: Any, name: str, states: Any) -> None:
    """Require that no normaliser of an sLSTM is negative in states whose values can be read here.

    Args:
        layer: an sLSTM.
        name: the argument.
        states: h and c, or c of each layer; other shapes are refused elsewhere.

    Raises:
        GatewrightError: names the argument.
    """
    tracing = torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined]
    if tracing or not (isinstance(states, (tuple, list)) and len(states) == 2):
        return
    widths = layer_sizes.widths(layer)[1]
    for c in tensors_of((states[1],)):
        readable = type(c) in _PLAIN and c.is_cpu and not _torch_private.is_wrapped(c)
        if readable and c.dim() > 0 and c.shape[-1] in widths and bool((c.detach().chunk(3, dim=-1)[1] < 0).any()):
            raise GatewrightError(name, "normalisers n of at least 0 in c = [c | n | m]", "a negative one")


def zeros(layer: Any, x: Tensor, shapes: Shapes) -> State:
    """Return the initial state of a call that has none."""
    h, c = (
        layer_sizes.zeros(x, shape, dtype) for shape, dtype in zip(shapes, types_of(layer, x.dtype), strict=True)
    )
    return h, c


def types_of(layer: Any, dtype: torch.dtype) -> Types:
    """Return the types of h and c of a layer whose tensors have a type.

    The cell state of an sLSTM is float32 at least: one of its parts is a logarithm, whose rounding would be a
    factor of the others.
    """
    if dtype not in (torch.bfloat16, torch.float16):
        return dtype, dtype
    cell = getattr(layer, "_variant", None)  # a layer of torch has none
    return dtype, torch.float32 if cell is not None and cell.is_slstm else dtype


def have_types(states: Sequence[Any], types: Types) -> bool:
    """Whether h and c have their types, or that of the input, which is the first."""
    h, c = (tensors_of((state,)) for state in states)
    return have_type(h, types[0]) and all(each.dtype == types[1] or have_type((each,), types[0]) for each in c)


def have_type(states: Iterable[Tensor], dtype: torch.dtype) -> bool:
    """Whether states have the type of the input; autocast converts all but float64."""
    double = torch.float64
    return all(state.dtype == dtype for state in states) or (
        _torch_private.any_autocast() and all((state.dtype == double) == (dtype == double) for state in states)
    )


def described(hx: Any) -> str:
    """Return what hx is, for an error."""
    if not isinstance(hx, (tuple, list)):
        return type(hx).__name__
    return str([(tuple(s.shape), str(s.dtype)) if isinstance(s, Tensor) else _nested(s) for s in hx])


def _nested(state: Any) -> str:
    shapes = layer_sizes.shape_of(state)
    return type(state).__name__ if shapes is None else f"{type(state).__name__} of {list(shapes)}"


def time_of(layer: Any, x: Tensor) -> int:
    """Return which dimension of padded input or output is time."""
    return 1 if layer.batch_first and x.dim() == 3 else 0


def expected_shapes(layer: Any, x: Tensor, batch_sizes: Tensor | None, weights: list[Tensor]) -> Shapes | None:
    """Return the shapes that h_0 and c_0 need to have, or None if the input itself does not fit."""
    batch: tuple[int, ...] = ()
    dim, shape = x.dim(), x.shape
    if batch_sizes is not None:
        good = dim == 2
        batch = (int(batch_sizes[0]),)
    else:
        time = time_of(layer, x)
        good = dim in (2, 3) and shape[time] > 0
        if dim == 3:
            batch = (shape[1 - time],)
    same_type = x.dtype == weights[0].dtype or _torch_private.any_autocast()
    if not (good and same_type and shape[-1] == layer.input_size):
        return None
    return layer_sizes.state_shapes(layer, batch)


def check_packed(layer: Any, packed: PackedSequence, hx: Any) -> None:
    """Raise, as torch does for padded input, where its operator would read outside of the states."""
    tracing = torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined]
    if hx is None or tracing:  # while tracing, sizes are not numbers
        return
    x, batch_sizes, _, _ = packed
    if layer_sizes.unequal(layer):
        shapes = layer_sizes.state_shapes(layer, (int(batch_sizes[0]),))
        found = tuple(map(layer_sizes.shape_of, hx)) if isinstance(hx, (tuple, list)) else None
        if found != shapes:
            raise GatewrightError("hx", f"tuples of tensors of the shapes {shapes}", described(hx))
        return
    expected = layer.get_expected_hidden_size(x, batch_sizes), layer.get_expected_cell_size(x, batch_sizes)
    for n, (state, shape) in enumerate(zip(hx, expected, strict=False)):
        layer.check_hidden_size(state, shape, f"Expected hidden[{n}] size {{}}, got {{}}")
