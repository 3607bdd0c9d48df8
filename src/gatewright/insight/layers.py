"""The layers of a recording, and checks of the indices that select from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.equations import QUANTITIES, Record
from gatewright.equations.record import FIELDS, OPTIONAL
from gatewright.errors import GatewrightError

Array = NDArray[Any]

#: Directions of a layer.
DIRECTIONS = ("forward", "reverse")


class Layer(NamedTuple):
    """The records of one layer, with the names of `gatewright.nn.LayerRecord`.

    Index t is the time of the input in both directions: the reverse direction reached ``cell[t]`` from
    ``cell[t + 1]``.  Steps past the end of a row are zero.  Gates and states of the forward direction are
    attributes of the layer too: ``layer.cell`` is ``layer.forward.cell``.

    Attributes:
        forward: gates and states of every step (T, B, H), and the initial states (B, H).
        reverse: the same of the reverse direction, or None.
    """

    forward: Record
    reverse: Record | None = None

    def __getattr__(self, name: str) -> Array:
        if name not in Record.__dataclass_fields__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return getattr(self.forward, name)

    def map(self, change: Callable[[str, Array], Array]) -> Layer:
        """Return the layer with a function of each array, which receives the array's name and value."""
        return Layer(*(None if record is None else map_record(record, change) for record in self))  # type: ignore[arg-type]


class Peer(NamedTuple):
    """A plain RNN of the same task, next to an LSTM: h' = tanh(W x + U h + b).

    Attributes:
        hidden: (T, B, H).
        predictions: shaped as those of the recording.
    """

    hidden: Array
    predictions: Array


def map_record(record: Record, change: Callable[[str, Array], Array]) -> Record:
    """Return a record with a function of each array, which receives the array's name and value."""
    arrays: dict[str, Any] = {name: getattr(record, name) for name in (*FIELDS, *OPTIONAL)}
    arrays |= {name: change(name, array) for name, array in arrays.items() if array is not None}
    return Record(**arrays)


def quantities(record: Record) -> dict[str, Array]:
    """Return all of a record that has a value at each step, by name; what the cell does not have is left out."""
    arrays = {name: getattr(record, name) for name in (*QUANTITIES, *OPTIONAL)}
    return {name: array for name, array in arrays.items() if array is not None}


def require_index(name: str, index: Any, size: int) -> int:
    """Return an index as a number from 0 to size-1; a negative index counts from the end.

    Raises:
        GatewrightError: if it is out of range or no whole number.

    >>> require_index("t", -1, 10)
    9
    """
    whole = isinstance(index, int | np.integer) and not isinstance(index, bool)
    if not whole or not -size <= index < size:
        raise GatewrightError(name, f"a whole number from 0 to {size - 1}", repr(index)[:80])
    return int(index) % size


def require_units(units: Any, size: int, name: str = "units") -> NDArray[np.int64]:
    """Return numbers of units from a number, a sequence or a slice; all units for None.

    Raises:
        GatewrightError: if a number is out of range.

    >>> require_units([0, -1], 4), require_units(None, 3)
    (array([0, 3]), array([0, 1, 2]))
    """
    if units is None:
        return np.arange(size)
    if isinstance(units, slice):
        return np.arange(size)[units]
    numbers = list(units) if isinstance(units, list | tuple | range) or np.ndim(units) else [units]
    return np.array([require_index(name, unit, size) for unit in numbers], dtype=np.int64)
