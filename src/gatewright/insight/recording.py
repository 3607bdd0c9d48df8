"""A recording: what a model read, did and said over a sequence, as NumPy arrays.

Its gates are the record of the pass that was made (`gatewright.nn.Record`), of the same memory on the CPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.equations import Record
from gatewright.errors import GatewrightError
from gatewright.insight.validation import require_whole
from gatewright.spec.recording import About, SeriesAbout, TextAbout

if TYPE_CHECKING:
    import pandas
    import torch
    import xarray

    from gatewright.insight.ledger import Fate, Ledger

Array = NDArray[Any]

#: The gates and the candidate of a record, in the order of the weights.
GATES = ("input_gate", "forget_gate", "candidate", "output_gate")
#: Every field of a record that has a value at each step.
QUANTITIES = (*GATES, "cell", "hidden")
#: Directions of a layer.
DIRECTIONS = ("forward", "reverse")


class Layer(NamedTuple):
    """One layer's records, with the names of `gatewright.nn.LayerRecord`.

    Index t is the time of the input in both directions: the reverse direction came to ``cell[t]`` from
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


class Peer(NamedTuple):
    """A plain RNN of the same task beside an LSTM: h' = tanh(W x + U h + b).

    Attributes:
        hidden: (T, B, H).
        predictions: shaped as those of the recording.
    """

    hidden: Array
    predictions: Array


@dataclass(frozen=True, eq=False, repr=False)
class Recording:
    """What a model read, did and said.

    Attributes:
        about: what it is of, in names.
        layers: the records, the layer next to the input first.
        lengths: steps of each row (B,).
        inputs: what the first layer read (T, B, D).
        predictions: of a forecaster (T, B, horizon, targets, quantiles), in the table's units; of a language
            model the log-probability of each symbol to come next (T, B, V); of bare layers their output (T, B, P).
        targets: what came: (T, B, horizon, targets), NaN where nothing did; the number of the next symbol (T, B),
            -1 where there is none; None for bare layers.
        columns: a forecaster's table, the targets first (T, B, C), NaN where missing; else None.
        times: timestamps (T, B) of a timed table, as the clock of the model's time zone shows them; else None.
        symbols: numbers of the symbols read (T, B); else None.
        readout_weight: the head's weight (outputs, P); None without a head.
        readout_bias: the head's bias (outputs,); None without a head.
        peer: a plain RNN beside it, or None.
        model: the model that was recorded; None once it comes from a file.

    Raises:
        GatewrightError: if its parts do not fit each other, or a gate, state or prediction is not finite.

    >>> import torch
    >>> from gatewright import LSTM, look
    >>> recording = look(LSTM(3, 4), torch.ones(5, 1, 3))
    >>> recording.layers[0].forget_gate.shape
    (5, 1, 4)
    """

    about: About
    layers: tuple[Layer, ...]
    lengths: NDArray[np.int64]
    inputs: Array
    predictions: Array
    targets: Array | None = None
    columns: Array | None = None
    times: NDArray[np.datetime64] | None = None
    symbols: NDArray[np.int64] | None = None
    readout_weight: Array | None = None
    readout_bias: Array | None = None
    peer: Peer | None = None
    model: torch.nn.Module | None = field(default=None)

    def __post_init__(self) -> None:
        require_whole(self)

    @property
    def steps(self) -> int:
        """T, steps of the longest row."""
        return len(self.inputs)

    def records(self) -> Iterator[tuple[str, Record]]:
        """Yield name and record of every layer and direction."""
        for number, layer in enumerate(self.layers):
            for direction, record in zip(DIRECTIONS, layer, strict=True):
                if record is not None:
                    yield f"layer {number} {direction}", record

    def record(self, layer: int, direction: str = "forward") -> Record:
        """Return gates and states of a layer in one direction.

        Raises:
            GatewrightError: if there is no such layer or direction.
        """
        whole = isinstance(layer, int | np.integer) and not isinstance(layer, bool)
        if not whole or not 0 <= layer < len(self.layers):
            raise GatewrightError("layer", f"a whole number from 0 to {len(self.layers) - 1}", repr(layer)[:80])
        pairs = zip(DIRECTIONS, self.layers[layer], strict=True)
        there = [(name, record) for name, record in pairs if record is not None]
        for name, record in there:
            if direction == name:
                return record
        raise GatewrightError("direction", " or ".join(name for name, _ in there), repr(direction)[:80])

    def error(self) -> NDArray[np.float64]:
        """Return how wrong the prediction of each step was, made one step before (T, B); NaN where there is none.

        A text's is in nats, -log p of the symbol that came; a forecast's the distance of its median one step ahead
        from what came, in standard deviations of the target, mean over the targets.
        """
        wrong = errors_of(self.predictions, self.targets, self.about)
        wrong[np.arange(len(wrong))[:, None] >= self.lengths] = np.nan  # a row's last target comes after its end
        return wrong

    def ledger(self, layer: int, t: int, row: int = 0, *, direction: str = "forward", units: Any = None) -> Ledger:
        """Split the cell state at step t into what each step wrote and the gates let survive; see `Ledger`.

        Args:
            layer: number of the layer.
            t: step whose cell state is split; negative from the end of the row.
            row: row of the batch.
            direction: "forward" or "reverse".
            units: numbers of the units; all if None.

        Raises:
            GatewrightError: if one of these is out of range.
        """
        from gatewright.insight import ledger

        return ledger.at(self, layer, t, row, direction, units)

    def fate(self, layer: int, k: int, row: int = 0, *, direction: str = "forward", units: Any = None) -> Fate:
        """Say where what step k wrote goes, and how long it lives; see `Fate`.

        Args:
            layer: number of the layer.
            k: step that wrote; negative from the end of the row.
            row: row of the batch.
            direction: "forward" or "reverse".
            units: numbers of the units; all if None.

        Raises:
            GatewrightError: if one of these is out of range.
        """
        from gatewright.insight import ledger

        return ledger.fate(self, layer, k, row, direction, units)

    def select(
        self,
        *,
        steps: slice | None = None,
        rows: Sequence[int] | None = None,
        layers: Sequence[int] | None = None,
        units: Sequence[int] | None = None,
    ) -> Recording:
        """Return a part of it, of the same memory where it can be.

        Args:
            steps: a slice of time with step 1; the state before it becomes the initial state.
            rows: numbers of rows of the batch.
            layers: numbers of layers.
            units: numbers of units, in every layer; a part of the units has no readout.

        Raises:
            GatewrightError: if one of these is out of range, or nothing would be left of a row.
        """
        from gatewright.insight.slicing import select

        return select(self, steps, rows, layers, units)

    def difference(self, baseline: Recording) -> Difference:
        """Return how this recording differs from another one of the same data.

        Raises:
            GatewrightError: if it is of other data, or of layers of other sizes.
        """
        return difference(self, baseline)

    def save(self, path: Path | str) -> None:
        """Write it to a file: safetensors, with `about` as JSON in its metadata.

        Raises:
            OSError: if the file cannot be written; what stood there before still does.
        """
        from gatewright.insight import recording_file

        recording_file.write(path, self)

    @staticmethod
    def load(path: Path | str) -> Recording:
        """Read what `save` wrote.

        Raises:
            ModelFileError: if the file is damaged or is no recording.
            GatewrightError: if a gate is not finite.
        """
        from gatewright.insight import recording_file

        return recording_file.read(path)

    def to_xarray(self) -> xarray.Dataset:
        """Return gates and states as an `xarray.Dataset`.

        Variables are named as weights are: ``forget_gate_l0``, ``cell_l1_reverse``; their axes are ``step``,
        ``row`` and the layer's units, ``unit_l0`` (``output_l0`` for the hidden state of a layer that projects).

        Raises:
            ModuleNotFoundError: if xarray is not installed.
        """
        import xarray

        variables = {}
        for number, layer in enumerate(self.layers):
            for suffix, record in zip(("", "_reverse"), layer, strict=True):
                if record is None:
                    continue
                for name in QUANTITIES:
                    array = getattr(record, name)
                    projected = array.shape[-1] != record.cell.shape[-1]
                    axis = f"{'output' if projected else 'unit'}_l{number}"
                    variables[f"{name}_l{number}{suffix}"] = (("step", "row", axis), array)
        coordinates: dict[str, Any] = {"row": list(self.about.rows)}
        if self.times is not None:
            coordinates["time"] = (("step", "row"), self.times)
        return xarray.Dataset(variables, coordinates, {"title": self.about.title, "note": self.about.note})

    def to_pandas(self, layer: int = 0, row: int = 0, *, direction: str = "forward") -> pandas.DataFrame:
        """Return gates and states of one layer and row as a `pandas.DataFrame`.

        Its index is the step, or the time of a timed table; its columns have two levels, quantity and unit.

        Raises:
            GatewrightError: if there is no such layer, row or direction.
            ModuleNotFoundError: if pandas is not installed.
        """
        import pandas

        record = self.record(layer, direction)
        length = int(self.lengths[require_index("row", row, len(self.lengths))])
        parts = {name: getattr(record, name)[:length, row] for name in QUANTITIES}
        index: pandas.Index = pandas.RangeIndex(length, name="step")
        if self.times is not None:
            index = pandas.DatetimeIndex(self.times[:length, row], name="time")
        frames = {name: pandas.DataFrame(part, index=index) for name, part in parts.items()}
        return pandas.concat(frames, axis=1, names=["quantity", "unit"])

    def __repr__(self) -> str:
        T, B, _ = self.inputs.shape
        sizes = ", ".join(str(layer.forward.cell.shape[-1]) for layer in self.layers)
        title = f"{self.about.title!r}, " if self.about.title else ""
        return f"{type(self).__name__}({title}{self.about.data.kind}, T={T}, B={B}, H={sizes})"


class Difference(NamedTuple):
    """What came of a change: the changed recording less its baseline.

    Attributes:
        predictions: difference of the predictions, shaped as they are.
        error: difference of the errors (T, B); NaN where there is none.
        cell: for each layer that of the forward cell state (T, B, H).
        hidden: for each layer that of the forward hidden state (T, B, P).
        first: first step of each row at which a prediction differs (B,); -1 for none.
    """

    predictions: Array
    error: NDArray[np.float64]
    cell: tuple[Array, ...]
    hidden: tuple[Array, ...]
    first: NDArray[np.int64]


def difference(changed: Recording, baseline: Recording) -> Difference:
    """Return what `Recording.difference` does."""
    pairs = [("data", changed.inputs, baseline.inputs), ("predictions", changed.predictions, baseline.predictions)]
    pairs += [(name, one.cell, other.cell) for (name, one), (_, other) in
              zip(changed.records(), baseline.records(), strict=False)]  # fmt: skip
    for name, one, other in pairs:
        if one.shape != other.shape:
            raise GatewrightError("baseline", f"{name} of shape {one.shape}", f"one of {other.shape}")
    same = np.array_equal(changed.inputs, baseline.inputs) and np.array_equal(changed.lengths, baseline.lengths)
    if len(changed.layers) != len(baseline.layers) or not same:
        raise GatewrightError("baseline", "a recording of the same data", "one of other data")
    apart = changed.predictions - baseline.predictions
    differs = (apart != 0).reshape(*apart.shape[:2], -1).any(axis=-1)
    layers = list(zip(changed.layers, baseline.layers, strict=True))
    return Difference(
        apart,
        changed.error() - baseline.error(),
        tuple(one.forward.cell - other.forward.cell for one, other in layers),
        tuple(one.forward.hidden - other.forward.hidden for one, other in layers),
        np.where(differs.any(axis=0), differs.argmax(axis=0), -1),
    )


def errors_of(predictions: Array, targets: Array | None, about: About) -> NDArray[np.float64]:
    """Return how wrong predictions were; see `Recording.error`."""
    T, B = predictions.shape[:2]
    wrong = np.full((T, B), np.nan)
    if isinstance(about.data, TextAbout):
        assert targets is not None
        said = np.take_along_axis(predictions[:-1], np.maximum(targets[:-1], 0)[..., None], axis=-1)[..., 0]
        wrong[1:] = np.where(targets[:-1] < 0, np.nan, -said)
    elif isinstance(about.data, SeriesAbout):
        assert targets is not None
        median = about.data.quantiles.index(0.5)
        apart = np.abs(predictions[:-1, :, 0, :, median] - targets[:-1, :, 0]) / np.array(about.data.scale)
        there = np.isfinite(apart)
        count = there.sum(axis=-1)
        wrong[1:] = np.where(count > 0, np.where(there, apart, 0).sum(axis=-1) / np.maximum(count, 1), np.nan)
    return wrong


def require_index(name: str, index: Any, size: int) -> int:
    """Return a place in 0 ... size-1; a negative one counts from the end.

    Raises:
        GatewrightError: if it is none.

    >>> require_index("t", -1, 10)
    9
    """
    whole = isinstance(index, int | np.integer) and not isinstance(index, bool)
    if not whole or not -size <= index < size:
        raise GatewrightError(name, f"a whole number from 0 to {size - 1}", repr(index)[:80])
    return int(index) % size


def require_units(units: Any, size: int, name: str = "units") -> NDArray[np.int64]:
    """Return numbers of units: all for None, one, a slice, or several.

    Raises:
        GatewrightError: if one is out of range.

    >>> require_units([0, -1], 4), require_units(None, 3)
    (array([0, 3]), array([0, 1, 2]))
    """
    if units is None:
        return np.arange(size)
    if isinstance(units, slice):
        return np.arange(size)[units]
    several = list(units) if isinstance(units, list | tuple | range) or np.ndim(units) else [units]
    return np.array([require_index(name, unit, size) for unit in several], dtype=np.int64)


def replaced(record: Record, change: Callable[[str, Array], Array]) -> Record:
    """Return a record with a function of each field, given its name and value."""
    names = [one.name for one in dataclasses.fields(Record)]
    return Record(**{name: change(name, getattr(record, name)) for name in names})
