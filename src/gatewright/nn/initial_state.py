"""The initial state of a call: one that the layer learns, or hx, which may be anything and is checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.errors import GatewrightError
from gatewright.nn import _torch_private
from gatewright.spec.cell import CellSpec

State = tuple[Tensor, Tensor]
#: Of h_0 and of c_0.
Shapes = tuple[tuple[int, ...], tuple[int, ...]]
Types = tuple[torch.dtype, torch.dtype]

#: Names of the parameters of a layer that learns its initial states.
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
    W, states = layer.weight_hh_l0, len(layer._all_weights)
    for name, width in zip(LEARNED, (W.shape[1], layer.hidden_size), strict=True):
        layer.register_parameter(name, torch.nn.Parameter(W.new_zeros(states, width)))


@torch.no_grad()
def clear(layer: Any) -> None:
    """Set learned initial states to zeros."""
    for _, state in parameters(layer):
        state.zero_()


def parameters(layer: Any) -> list[tuple[str, Tensor]]:
    """Return the learned initial states of a layer by name, if it has such and they are registered."""
    if layer.initial_state == "zeros":
        return []
    return [(name, getattr(layer, name)) for name in LEARNED if hasattr(layer, name)]


def learned(layer: Any, x: Tensor, batch_sizes: Tensor | None) -> State:
    """Return the learned initial states of a layer for each row of its input.

    Args:
        layer: the layer.
        x: input (T, B, D), (T, D), or packed steps.
        batch_sizes: rows of each packed step, or None.
    """
    if batch_sizes is None and x.dim() != 3:
        return layer.h_0, layer.c_0
    rows = x.shape[0 if layer.batch_first else 1] if batch_sizes is None else int(batch_sizes[0])
    return of_rows(layer.h_0, rows), of_rows(layer.c_0, rows)


def of_rows(state: Tensor, rows: int) -> Tensor:
    """Return the same state (L*S, F) for each row, (L*S, B, F)."""
    return state[:, None].expand(-1, rows, -1).contiguous()


def tensors_of(hx: Any) -> list[Tensor]:
    """Return the tensors of a pair of states, as far as it is one."""
    return [state for state in hx if isinstance(state, Tensor)] if isinstance(hx, (tuple, list)) else []


def fits(hx: Any, expected: Shapes, types: Types) -> bool:
    """Whether hx is None or a pair of tensors of the expected shapes and types."""
    if hx is None:
        return True
    if not (isinstance(hx, (tuple, list)) and len(hx) == 2 and all(isinstance(s, Tensor) for s in hx)):
        return False
    return have_types(hx, types) and tuple(tuple(state.shape) for state in hx) == expected


def zeros(layer: Any, x: Tensor, shapes: Shapes) -> State:
    """Return the initial state of a call that has none."""
    h, c = types_of(layer, x.dtype)
    return x.new_zeros(shapes[0], dtype=h), x.new_zeros(shapes[1], dtype=c)


def types_of(layer: Any, dtype: torch.dtype) -> Types:
    """Return the types of h and c of a layer whose tensors have a type.

    The cell state of an sLSTM is float32 at least: one of its parts is a logarithm, whose rounding would be a
    factor of the others.
    """
    if dtype not in (torch.bfloat16, torch.float16):
        return dtype, dtype
    cell = getattr(layer, "_variant", None)  # a layer of torch has none
    return dtype, torch.float32 if cell is not None and cell.is_slstm else dtype


def have_types(states: Sequence[Tensor], types: Types) -> bool:
    """Whether h and c have their types, or that of the input, which is the first."""
    h, c = states
    return have_type((h,), types[0]) and (c.dtype == types[1] or have_type((c,), types[0]))


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
    return str([(tuple(s.shape), str(s.dtype)) if isinstance(s, Tensor) else type(s).__name__ for s in hx])


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
    states = len(layer._all_weights)
    return (states, *batch, layer.proj_size or layer.hidden_size), (states, *batch, layer.cell_state_size)


def check_packed(layer: Any, packed: PackedSequence, hx: Any) -> None:
    """Raise, as torch does for padded input, where its operator would read outside of the states."""
    tracing = torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined]
    if hx is None or tracing:  # while tracing, sizes are not numbers
        return
    x, batch_sizes, _, _ = packed
    expected = layer.get_expected_hidden_size(x, batch_sizes), layer.get_expected_cell_size(x, batch_sizes)
    for n, (state, shape) in enumerate(zip(hx, expected, strict=False)):
        layer.check_hidden_size(state, shape, f"Expected hidden[{n}] size {{}}, got {{}}")
