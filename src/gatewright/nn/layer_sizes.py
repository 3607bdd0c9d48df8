"""Layers of unequal size: the sizes of a stack, and states that are one tensor for each layer.

Where all layers are of one size, a state is one tensor (L*S, ...), as torch has it.  Else it is a tuple of one
tensor for each layer, (S, ...), since their widths differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gatewright.errors import GatewrightError

#: A hidden or cell state of all layers.
LayerStates = Tensor | tuple[Tensor, ...]


def sizes(hidden_size: Any, num_layers: Any) -> tuple[Any, Any]:
    """Return the hidden size of a stack, a tuple only where layers differ, and its number of layers.

    Args:
        hidden_size: a number, which torch checks, or one for each layer.
        num_layers: number of layers; 1 leaves it to a sequence of sizes.

    Raises:
        GatewrightError: if a sequence has no whole numbers of at least 1, or another number of them.

    >>> sizes(8, 2), sizes([8, 8], 1), sizes([8, 4], 1)
    ((8, 2), (8, 2), ((8, 4), 2))
    """
    if not isinstance(hidden_size, list | tuple):
        return hidden_size, num_layers
    whole = [isinstance(H, int) and not isinstance(H, bool) and H >= 1 for H in hidden_size]
    if not whole or not all(whole):
        expected = "a whole number of at least 1, or one for each layer"
        raise GatewrightError("hidden_size", expected, repr(hidden_size)[:80])
    if num_layers not in (1, len(hidden_size)):
        expected = f"{len(hidden_size)}, the number of hidden sizes, or none"
        raise GatewrightError("num_layers", expected, repr(num_layers)[:80])
    equal = len(set(hidden_size)) == 1
    return hidden_size[0] if equal else tuple(hidden_size), len(hidden_size)


def require_residual(residual: Any, hidden_size: int | tuple[int, ...], num_layers: int, proj_size: int) -> None:
    """Require that the output of each layer after the first has the width of its input, where they are added.

    Raises:
        GatewrightError: names the argument, and what makes widths agree.
    """
    if not isinstance(residual, bool):
        raise GatewrightError("residual", "True or False", repr(residual)[:80])
    if not residual:
        return
    if num_layers == 1:
        raise GatewrightError("residual", "False for one layer, or two layers or more", "True")
    if isinstance(hidden_size, tuple) and not proj_size:
        expected = "False, or layers of one hidden_size or with a proj_size, whose outputs can be added"
        raise GatewrightError("residual", expected, f"True with hidden_size={list(hidden_size)}")


def hidden_sizes(lstm: Any) -> tuple[int, ...]:
    """Return the hidden size of each layer of an LSTM of torch's, or of Gatewright's."""
    H = lstm.hidden_size
    return H if isinstance(H, tuple) else (H,) * lstm.num_layers


def unequal(lstm: Any) -> bool:
    """Whether the layers of an LSTM are of several sizes, and its states tuples of tensors."""
    return isinstance(lstm.hidden_size, tuple)


def require_torchs(user: str, lstm: Any) -> None:
    """Require layers of one size without residual connections.

    Args:
        user: who requires it, such as "a stream".
        lstm: of Gatewright.

    Raises:
        GatewrightError: names what the layer has.
    """
    if unequal(lstm):
        raise GatewrightError("hidden_size", f"one size for all layers, for {user}", repr(list(lstm.hidden_size)))
    if lstm.residual:
        raise GatewrightError("residual", f"False, for {user}", "True")


def widths(lstm: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the widths of h and of c in each layer."""
    H, cell = hidden_sizes(lstm), getattr(lstm, "_variant", None)  # a layer of torch has none
    return tuple(lstm.proj_size or size for size in H), H if cell is None else tuple(map(cell.cell_state_size, H))


def state_shapes(lstm: Any, batch: tuple[int, ...]) -> tuple[Any, Any]:
    """Return the shapes of h and c of a stack: one each, or one for each layer where they differ.

    Args:
        lstm: of torch or of Gatewright.
        batch: (B,), or () for unbatched input.

    >>> state_shapes(torch.nn.LSTM(3, 4, num_layers=2), (5,))
    ((2, 5, 4), (2, 5, 4))
    """
    directions = 2 if lstm.bidirectional else 1
    h, c = widths(lstm)
    if unequal(lstm):
        return tuple((directions, *batch, P) for P in h), tuple((directions, *batch, H) for H in c)
    states = directions * len(c)
    return (states, *batch, h[0]), (states, *batch, c[0])


def zeros(x: Tensor, shape: Any, dtype: torch.dtype) -> Any:
    """Return a state of zeros, of one tensor or of one for each layer, as its shape says."""
    if isinstance(shape[0], tuple):
        return tuple(x.new_zeros(each, dtype=dtype) for each in shape)
    return x.new_zeros(shape, dtype=dtype)


def shape_of(state: Any) -> Any:
    """Return the shape of a state, or those of each layer; None for what is no state."""
    if isinstance(state, Tensor):
        return tuple(state.shape)
    if isinstance(state, tuple | list) and all(isinstance(each, Tensor) for each in state):
        return tuple(tuple(each.shape) for each in state)
    return None


def each(change: Callable[[Tensor], Tensor], state: Any) -> Any:
    """Return a state with its tensor, or that of each layer, changed."""
    return change(state) if isinstance(state, Tensor) else tuple(change(part) for part in state)


def one(state: Any, layer: int, direction: int, directions: int) -> Tensor:
    """Return the state of one layer in one direction, (B, F), or (F,)."""
    part: Tensor = state[layer * directions + direction] if isinstance(state, Tensor) else state[layer][direction]
    return part


def joined(lstm: Any, states: Sequence[Tensor]) -> Any:
    """Return the states of layers and directions in turn, each (B, F), as one state of the stack."""
    if unequal(lstm):
        directions = 2 if lstm.bidirectional else 1
        return tuple(torch.stack(tuple(states[k : k + directions])) for k in range(0, len(states), directions))
    return states[0][None] if len(states) == 1 else torch.stack(tuple(states))
