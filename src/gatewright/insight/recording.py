"""A recording: what a model read, did and predicted over a sequence, as NumPy arrays.

Its gates are the record of the pass itself (`gatewright.nn.Record`), in the same memory if that is on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewright.insight import recording_file
from gatewright.insight.difference import Difference, difference
from gatewright.insight.layers import quantities, require_index
from gatewright.insight.ledger import Ledger, Lifetime, ledger_of_step, lifetime_of_step
from gatewright.insight.recording_data import RecordingData
from gatewright.insight.slicing import select
from gatewright.insight.validation import require_finite_throughout, require_whole

if TYPE_CHECKING:
    import pandas
    import xarray


@dataclass(frozen=True, eq=False, repr=False)
class Recording(RecordingData):
    """What a model read, did and predicted over a sequence.

    Attributes:
        about: its description: title, names of rows, inputs and outputs.
        layers: the records, the layer next to the input first.
        lengths: steps of each row (B,).
        inputs: what the first layer read (T, B, D).
        predictions: of a forecaster (T, B, horizon, targets, quantiles), in the table's units; of a language
            model the log-probability of each next symbol (T, B, V); of bare layers their output (T, B, P).
        targets: the true values: (T, B, horizon, targets), NaN where missing; of a text the number of the next
            symbol (T, B), -1 after the last symbol; None for bare layers.
        columns: a forecaster's table, the targets first (T, B, C), NaN where missing; else None.
        times: timestamps (T, B) of a timed table, in the local time of the model's time zone; else None.
        symbols: numbers of the symbols read (T, B); else None.
        readout_weight: the head's weight (outputs, P); None without a head.
        readout_bias: the head's bias (outputs,); None without a head.
        peer: a plain RNN for comparison, or None.
        model: the recorded model; None for a recording from a file.
        origin: what runs the model again; None for a recording from a file, and for parts.

    Raises:
        GatewrightError: if its parts do not fit each other, or a gate, state or prediction is not finite.

    >>> import torch
    >>> from gatewright import LSTM, look
    >>> recording = look(LSTM(3, 4), torch.ones(5, 1, 3))
    >>> recording.layers[0].forget_gate.shape
    (5, 1, 4)
    """

    def __post_init__(self) -> None:
        require_whole(self)

    def ledger(self, layer: int, t: int, row: int = 0, *, direction: str = "forward", units: Any = None) -> Ledger:
        """Split the cell state at step t into what each step wrote and later steps have kept; see `Ledger`.

        Args:
            layer: number of the layer.
            t: step whose cell state is split; negative from the end of the row.
            row: row of the batch.
            direction: "forward" or "reverse".
            units: numbers of the units; all if None.

        Raises:
            GatewrightError: if one of these is out of range.
        """
        record = self.record(layer, direction)
        row = require_index("row", row, len(self.lengths))
        reverse = direction == "reverse"
        edits = [
            edit for edit in self.about.edits if (edit.layer, edit.reverse, edit.row) == (layer, reverse, row)
        ]
        length, cell = int(self.lengths[row]), self.about.cell
        return ledger_of_step(record, t, row, length, units=units, reverse=reverse, edits=edits, cell=cell)

    def lifetime(
        self, layer: int, k: int, row: int = 0, *, direction: str = "forward", units: Any = None
    ) -> Lifetime:
        """Return how long what step k wrote lives, and what is left of it at each later step; see `Lifetime`.

        Args:
            layer: number of the layer.
            k: step that wrote; negative from the end of the row.
            row: row of the batch.
            direction: "forward" or "reverse".
            units: numbers of the units; all if None.

        Raises:
            GatewrightError: if one of these is out of range.
        """
        record = self.record(layer, direction)
        row = require_index("row", row, len(self.lengths))
        length = int(self.lengths[row])
        return lifetime_of_step(record, k, row, length, units=units, reverse=direction == "reverse")

    def fate(self, layer: int, k: int, row: int = 0, *, direction: str = "forward", units: Any = None) -> Lifetime:
        """Return `lifetime`, under its former name."""
        return self.lifetime(layer, k, row, direction=direction, units=units)

    def what_if(self, *, clamp: Any = None, ablate: Any = None, edit_cell: Any = None) -> Recording:
        """Run the same model on the same data with changes inside it, and return that recording.

        Changes of this recording itself stay; those of the new one come on top of them.

        Args:
            clamp: gates to hold, as for `gatewright.insight.intervene`.
            ablate: units whose hidden state is 0, likewise.
            edit_cell: cell states to set, likewise.

        Raises:
            GatewrightError: if the recording comes without what it was made from, its model has changed since, or
                there is no such layer, gate, unit or step.

        >>> import torch
        >>> from gatewright import LSTM, look
        >>> recording = look(LSTM(3, 4), torch.ones(5, 1, 3))
        >>> changed = recording.what_if(ablate={0: [2]})
        >>> changed.about.note, bool((changed.predictions[..., 2] == 0).all())
        ('output gate of unit 2 at 0', True)
        """
        from gatewright.insight import changes
        from gatewright.insight.origin import origin_of

        origin = origin_of(self)
        changed: Recording = origin.changed(changes.plan(origin.lstm, self.lengths, clamp, ablate, edit_cell))
        return changed

    def patched(self, source: Recording, quantity: str | Sequence[str], **where: Any) -> Recording:
        """Run the same model on the same data with gates or states of another recording in it.

        A patched quantity has the other's value, and what is computed from it is computed from that value: from a
        gate c_t and h_t of the step, from the cell state c_t the hidden state h_t = o_t tanh(c_t), from h_t the
        output; and all later steps.  Gates of step t are not computed from c_t or h_t.  The ledger takes a patched
        cell state as a write of its step, which keeps nothing.

        Args:
            source: a recording of layers of the same size: of other data, or of another model; with one row for
                all rows, or as many rows.
            quantity: "cell", "hidden", "forget" (or "forget_gate"), "input", "output", "candidate"; or several.
            **where: ``layer`` (0), ``steps`` and ``units`` (a number, a sequence, a slice; all if None), ``rows``
                of the batch and ``direction`` ("forward"), in both recordings.

        Raises:
            GatewrightError: if the recording comes without what it was made from, its model has changed since, or
                an argument does not fit.

        >>> import torch
        >>> from gatewright import LSTM, look
        >>> lstm = LSTM(3, 4)
        >>> one, other = (look(lstm, torch.full((5, 1, 3), value)) for value in (1.0, -1.0))
        >>> patched = one.patched(other, "cell", steps=2, units=[0, 3])
        >>> bool((patched.layers[0].cell[2, 0, [0, 3]] == other.layers[0].cell[2, 0, [0, 3]]).all())
        True
        """
        from gatewright.insight.origin import origin_of
        from gatewright.insight.patches import patch_plan

        changed: Recording = origin_of(self).changed(patch_plan(self, source, quantity, **where))
        return changed

    def select(
        self,
        *,
        steps: slice | None = None,
        rows: Sequence[int] | None = None,
        layers: Sequence[int] | None = None,
        units: Sequence[int] | None = None,
    ) -> Recording:
        """Return a part of the recording, as views of its arrays where possible.

        Args:
            steps: a slice of time with step 1; the state before it becomes the initial state.
            rows: numbers of rows of the batch.
            layers: numbers of layers.
            units: numbers of units, in every layer; a recording of some units has no readout.

        Raises:
            GatewrightError: if one of these is out of range, or a row would have no step.
        """
        return select(self, steps, rows, layers, units)

    def difference(self, baseline: Recording) -> Difference:
        """Return this recording minus another of the same data.

        Args:
            baseline: the other recording.

        Raises:
            GatewrightError: if the baseline is of other data, or of layers of other sizes.
        """
        return difference(self, baseline)

    def save(self, path: Path | str) -> None:
        """Write the recording to a safetensors file, with `about` as JSON in its metadata.

        Args:
            path: the file.

        Raises:
            OSError: if the file cannot be written; a file that was there before is unchanged.
        """
        recording_file.write(path, self)

    @staticmethod
    def load(path: Path | str) -> Recording:
        """Read a recording that `save` wrote.

        Args:
            path: the file.

        Raises:
            ModelFileError: if the file is damaged or not a recording.
            GatewrightError: if its arrays do not fit each other, or a number is not finite.
        """
        recording = Recording(**recording_file.read(path))
        require_finite_throughout(recording)
        return recording

    def to_xarray(self) -> xarray.Dataset:
        """Return gates and states as an `xarray.Dataset`.

        Variables are named as weights are: ``forget_gate_l0``, ``cell_l1_reverse``; their axes are ``step``,
        ``row`` and the layer's units, ``unit_l0`` (``output_l0`` for the hidden state of a layer that projects).

        Raises:
            ModuleNotFoundError: if xarray is not installed.
        """
        import xarray

        variables: dict[str, Any] = {}
        for number, layer in enumerate(self.layers):
            for suffix, record in zip(("", "_reverse"), layer, strict=True):
                if record is None:
                    continue
                for name, array in quantities(record).items():
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
        parts = {name: array[:length, row] for name, array in quantities(record).items()}
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
