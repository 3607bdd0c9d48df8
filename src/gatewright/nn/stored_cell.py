"""The cell of a layer in its state dict, so that weights are not read as those of another cell of the same shapes.

A cell whose steps are the plain ones, dropouts aside, is not stored: the keys of such a layer are those of torch.
A state dict without a cell, as of older versions, fits any.  Residual connections are stored likewise: weights
trained with them are not read by a layer without; those of another layer may be where a training with them begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch

from gatewright.errors import GatewrightError
from gatewright.spec.cell import STORED_CELL, STORED_RESIDUAL, CellSpec, cell_of_bytes

_STORED = (STORED_CELL, STORED_RESIDUAL)
_Value = TypeVar("_Value")


def put(cell: CellSpec | None, residual: bool, state_dict: dict[str, Any], prefix: str) -> None:
    """Put a cell next to the weights of its layer: the bytes of its JSON, which every format of files can hold."""
    if cell is not None and cell.in_evaluation().features():
        state_dict[prefix + STORED_CELL] = torch.tensor(list(cell.to_json().encode()), dtype=torch.uint8)
    if residual:
        state_dict[prefix + STORED_RESIDUAL] = torch.ones(1, dtype=torch.uint8)


def take(cell: CellSpec, residual: bool, state_dict: dict[str, Any], prefix: str) -> None:
    """Take the cell out of a state dict, and require that it is that of the layer, dropouts aside.

    Raises:
        GatewrightError: if it is another one.
    """
    if state_dict.pop(prefix + STORED_RESIDUAL, None) is not None and not residual:
        expected = "weights of a layer without residual connections"
        raise GatewrightError("state_dict", expected, "those of one with residual=True")
    value = state_dict.pop(prefix + STORED_CELL, None)
    if value is None:
        return
    stored = cell_of_bytes(value)
    if not cell.in_evaluation().same_features(stored.in_evaluation()):
        expected = f"weights of the layer's cell, {cell.in_words()}"
        raise GatewrightError("state_dict", expected, f"those of {stored.in_words()}")


def without(state_dict: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return the weights of a state dict alone, where the cell is known from elsewhere."""
    return {name: value for name, value in state_dict.items() if name.rpartition(".")[2] not in _STORED}
