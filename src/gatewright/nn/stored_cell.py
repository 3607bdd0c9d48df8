"""The cell of a layer in its state dict, so that weights are not read as those of another cell of the same shapes.

A cell whose steps are the plain ones, dropouts aside, is not stored: the keys of such a layer are those of torch.
A state dict without a cell, as of older versions, fits any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch

from gatewright.errors import GatewrightError
from gatewright.spec.cell import STORED_CELL, CellSpec, cell_of_bytes

_Value = TypeVar("_Value")


def put(cell: CellSpec | None, state_dict: dict[str, Any], prefix: str) -> None:
    """Put a cell next to the weights of its layer: the bytes of its JSON, which every format of files can hold."""
    if cell is not None and cell.in_evaluation().features():
        state_dict[prefix + STORED_CELL] = torch.tensor(list(cell.to_json().encode()), dtype=torch.uint8)


def take(cell: CellSpec, state_dict: dict[str, Any], prefix: str) -> None:
    """Take the cell out of a state dict, and require that it is that of the layer, dropouts aside.

    Raises:
        GatewrightError: if it is another one.
    """
    value = state_dict.pop(prefix + STORED_CELL, None)
    if value is None:
        return
    stored = cell_of_bytes(value)
    if not cell.in_evaluation().same_features(stored.in_evaluation()):
        expected = f"weights of the layer's cell, {cell.in_words()}"
        raise GatewrightError("state_dict", expected, f"those of {stored.in_words()}")


def without(state_dict: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return the weights of a state dict alone, where the cell is known from elsewhere."""
    return {name: value for name, value in state_dict.items() if name.rpartition(".")[2] != STORED_CELL}
