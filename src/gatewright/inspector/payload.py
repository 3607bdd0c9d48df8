"""A recording in the page's format: JSON and named blocks of numbers (`inspector/src/data/types.ts`)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.equations import Record
from gatewright.insight.diagnosis import Diagnosis
from gatewright.insight.layers import DIRECTIONS, Layer, map_record, quantities
from gatewright.insight.output import input_factor, is_average, shown
from gatewright.insight.prediction_errors import errors_of
from gatewright.insight.recording import Recording
from gatewright.spec.cell import CellSpec
from gatewright.spec.cell_features import CellFeatures
from gatewright.spec.recording import ClassesMetadata, Edit, SeriesMetadata, TextMetadata

#: Differences of a hidden state that a page shows: those of patches, not of rounding.
_VISIBLE = 1e-3

_TYPES = {"f4": "<f4", "f8": "<f8", "i4": "<i4"}


class Payload:
    """A recording in the page's format.

    Args:
        recording: the recording.
        name: its id on the page.
        origin: id of the recording that it is a "what if" of, or "".

    >>> import torch
    >>> from gatewright import LSTM, look
    >>> payload = Payload(look(LSTM(3, 4), torch.ones(5, 1, 3)), "a")
    >>> payload.meta()["layers"]
    [{'hidden': 4, 'output': 4, 'directions': ['forward']}]
    >>> len(payload.block(0, "0/forward/cell")) == 5 * 4 * 4
    True
    """

    def __init__(self, recording: Recording, name: str, origin: str = "") -> None:
        self.recording, self.name, self.origin = recording, name, origin
        self._blocks = [self._of_row(row) for row in range(len(recording.lengths))]

    def meta(self) -> dict[str, Any]:
        """Return `Meta` of `types.ts`."""
        recording, about = self.recording, self.recording.about
        data = about.data
        return {
            "id": self.name,
            "title": printable(about.title),
            "note": about.note,
            "fingerprint": about.fingerprint,
            # A classifier is shown as layers with named outputs, the probabilities of its classes.
            "kind": "layers" if isinstance(data, ClassesMetadata) else data.kind,
            "rows": [
                {"name": name, "steps": int(steps)}
                for name, steps in zip(about.rows, recording.lengths, strict=True)
            ],
            "layers": [_layer_meta(layer) for layer in recording.layers],
            "cell": _cell_meta(about.cell),
            "weighted": _is_weighted(recording),
            "residual": about.residual,
            "inputs": list(about.inputs),
            "series": {
                "targets": list(data.targets),
                "columns": list(data.columns),
                "horizon": data.horizon,
                "quantiles": list(data.quantiles),
                "step": data.step,
                "timed": recording.times is not None,
            }
            if isinstance(data, SeriesMetadata)
            else None,
            "text": {"symbols": list(data.symbols)} if isinstance(data, TextMetadata) else None,
            "readouts": list(about.readouts),
            "outputs": [f"p({name})" for name in data.classes] if isinstance(data, ClassesMetadata) else [],
            "peer": {"name": about.peer, "hidden": recording.peer.hidden.shape[-1]} if recording.peer else None,
            "edits": [_edit_meta(edit) for edit in about.edits],
            "origin": self.origin or None,
            "blocks": [
                {name: {"dtype": dtype, "shape": list(array.shape)} for name, (dtype, array) in blocks.items()}
                for blocks in self._blocks
            ],
        }

    def block(self, row: int, name: str) -> bytes:
        """Return the numbers of a block, little endian.

        Raises:
            KeyError: if there is no block of that row and name.
        """
        if not 0 <= row < len(self._blocks):
            raise KeyError(row)
        dtype, array = self._blocks[row][name]
        return np.ascontiguousarray(array, dtype=_TYPES[dtype]).tobytes()

    def _of_row(self, row: int) -> dict[str, tuple[str, NDArray[Any]]]:
        """Return the blocks of a row by name, each a type and a view."""
        recording, T = self.recording, int(self.recording.lengths[row])
        blocks: dict[str, tuple[str, NDArray[Any]]] = {}
        for number, layer in enumerate(recording.layers):
            for direction, record in zip(DIRECTIONS, layer, strict=True):
                if record is None:
                    continue
                place = f"{number}/{direction}"
                for name, array in quantities(record).items():
                    if name != "hidden" or _is_sent(record, recording.about.cell, bool(recording.about.note)):
                        blocks[f"{place}/{name}"] = ("f4", array[:T, row])
                blocks[f"{place}/cell_initial"] = ("f4", record.cell_initial[row])
                blocks[f"{place}/hidden_initial"] = ("f4", record.hidden_initial[row])
        blocks["inputs"] = ("f4", recording.inputs[:T, row])
        blocks["error"] = ("f4", recording.error()[:T, row])
        output = recording.about.data.output
        blocks[output] = ("f4", recording.predictions[:T, row])
        if recording.readout_weight is not None and recording.readout_bias is not None:
            blocks["head"] = ("f4", recording.readout_weight)
            blocks["head_bias"] = ("f4", recording.readout_bias)
        if recording.columns is not None:
            blocks["columns"] = ("f4", recording.columns[:T, row])
            assert recording.targets is not None
            blocks["truth"] = ("f4", recording.targets[:T, row])
        if recording.times is not None:
            blocks["times"] = ("f8", recording.times[:T, row].astype("datetime64[us]").astype(np.int64) / 1000)
        if recording.symbols is not None:
            blocks["symbols"] = ("i4", recording.symbols[:T, row])
        if recording.peer is not None:
            blocks["peer/hidden"] = ("f4", recording.peer.hidden[:T, row])
            blocks[f"peer/{output}"] = ("f4", recording.peer.predictions[:T, row])
            errors = errors_of(recording.peer.predictions, recording.targets, recording.about)
            blocks["peer/error"] = ("f4", errors[:T, row])
        return blocks


def _layer_meta(layer: Layer) -> dict[str, Any]:
    return {
        "hidden": layer.forward.cell.shape[-1],
        "output": layer.forward.hidden.shape[-1],
        "directions": [name for name, record in zip(DIRECTIONS, layer, strict=True) if record is not None],
    }


def _is_sent(record: Record, cell: CellSpec, patched: bool) -> bool:
    """Whether the page cannot work out the hidden state of a step from its gates and cell state."""
    if record.hidden.shape != record.cell.shape or cell.zoneout_hidden > 0:
        return True
    return patched and bool((np.abs(record.hidden - shown(record, cell)) > _VISIBLE).any())


def _cell_meta(cell: CellSpec) -> dict[str, Any]:
    names = ("bias", *(field.name for field in dataclasses.fields(CellFeatures)))
    return {name: getattr(cell, name) for name in names}


def _is_weighted(recording: Recording) -> bool:
    """Whether every cell state is a weighted average of candidates."""
    cell, rounding = recording.about.cell, float(np.finfo(recording.layers[0].cell.dtype).eps)
    within = np.arange(recording.steps)[:, None] < recording.lengths

    def steps(name: str, array: NDArray[Any]) -> NDArray[Any]:
        return array if name.endswith("_initial") else array[within]

    return is_average(cell) and all(
        input_factor(map_record(record, steps), cell, rounding) is not None for _, record in recording.records()
    )


def _edit_meta(edit: Edit) -> dict[str, Any]:
    place = {"row": edit.row, "layer": edit.layer, "direction": DIRECTIONS[edit.reverse]}
    return {**place, "t": edit.t, "unit": edit.unit, "added": edit.added}


def printable(text: str) -> str:
    """Return a text that UTF-8 can encode, even if it comes from a file's name that it cannot."""
    return text.encode("utf-8", "replace").decode()


def diagnosis(result: Diagnosis) -> dict[str, Any]:
    """Return `Diagnosis` of `types.ts`."""
    return _plain(dataclasses.asdict(result))


def _plain(value: Any) -> Any:
    """Return a value for JSON: arrays as lists, NaN and infinity as None."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
