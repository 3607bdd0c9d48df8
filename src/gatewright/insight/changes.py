"""Changes inside a model: gates held at a value, units ablated, cell states set by hand, values patched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.equations import GATES
from gatewright.errors import GatewrightError
from gatewright.insight.layers import DIRECTIONS, require_index, require_units
from gatewright.nn import LSTM, layer_sizes

#: The tuples that describe a change: their sizes and their items.
_FORMS = {
    "clamp": ((2, 3), "(units, value) or (units, value, steps)"),
    "edit_cell": ((3, 4), "(t, units, value) or (t, units, value, row)"),
}


#: What the sum of two weights may differ from 1.
_ROUNDING = 1e-6


class Clamp(NamedTuple):
    """Gates held at a value.

    Attributes:
        gate: "input_gate", "forget_gate", "candidate" or "output_gate".
        units: numbers of units.
        value: the value, between 0 and 1; of the candidate between -1 and 1, or any where it has no activation.
        first: first step.
        end: step after the last.
    """

    gate: str
    units: tuple[int, ...]
    value: float
    first: int
    end: int


class CellEdit(NamedTuple):
    """A cell state set by hand, before a step.

    Attributes:
        t: the step that starts from the new cell state.
        units: numbers of units.
        value: their new cell state.
        row: row of the batch; None for all.
    """

    t: int
    units: tuple[int, ...]
    value: float
    row: int | None = None


@dataclass(frozen=True, eq=False)
class Patch:
    """Gates or states that have the values of another recording at some steps.

    Attributes:
        quantity: a gate, "cell" or "hidden".
        units: numbers of units (U,).
        steps: numbers of steps (K,).
        rows: numbers of rows of the batch (R,).
        values: the values (K, R, U).
    """

    quantity: str
    units: tuple[int, ...]
    steps: tuple[int, ...]
    rows: tuple[int, ...]
    values: NDArray[Any]


@dataclass(frozen=True)
class Changes:
    """Changes in one layer and direction.

    Attributes:
        clamps: gates held at a value.
        edits: cell states set by hand.
        ablated: units whose hidden state is 0, also before the first step.
        patches: values of another recording, later ones over earlier ones.
    """

    clamps: tuple[Clamp, ...] = ()
    edits: tuple[CellEdit, ...] = ()
    ablated: tuple[int, ...] = ()
    patches: tuple[Patch, ...] = ()

    def __add__(self, more: Changes) -> Changes:
        """Return both."""
        ablated = tuple(dict.fromkeys(self.ablated + more.ablated))
        return Changes(self.clamps + more.clamps, self.edits + more.edits, ablated, self.patches + more.patches)

    def part(self, first: int, steps: int, whole: int) -> Changes:
        """Return the changes in some steps of a sequence, counted from the first of these.

        Args:
            first: the first of the steps.
            steps: how many they are.
            whole: steps of the sequence that the changes were made for: what lasts to its end has no end.
        """
        clamps = []
        for clamp in self.clamps:
            begin = max(clamp.first - first, 0)
            end = steps if clamp.end >= whole else min(clamp.end - first, steps)
            if begin < end:
                clamps.append(clamp._replace(first=begin, end=end))
        edits = [edit._replace(t=edit.t - first) for edit in self.edits if first <= edit.t < first + steps]
        patches = []
        for patch in self.patches:
            inside = [k for k, t in enumerate(patch.steps) if first <= t < first + steps]
            if inside:
                shifted = tuple(patch.steps[k] - first for k in inside)
                patches.append(replace(patch, steps=shifted, values=patch.values[inside]))
        return Changes(tuple(clamps), tuple(edits), self.ablated, tuple(patches))


#: Changes by the layer's number and by whether they are in its reverse direction.
Plan = Mapping[tuple[int, bool], Changes]


def plan(lstm: LSTM, lengths: Any, clamp: Any = None, ablate: Any = None, edit_cell: Any = None) -> Plan:
    """Return changes by layer and direction, checked against the layers and the data.

    Args:
        lstm: the layers.
        lengths: steps of each row of the data (B,).
        clamp: as for `gatewright.insight.intervene`.
        ablate: as for `gatewright.insight.intervene`.
        edit_cell: as for `gatewright.insight.intervene`.

    Raises:
        GatewrightError: if there is no such layer, gate, unit or step, or a value is out of range.
    """
    sizes, T = layer_sizes.hidden_sizes(lstm), int(max(lengths))
    largest = torch.finfo(lstm.layer_weights(0).W_hh.dtype).max
    changes: dict[tuple[int, bool], Changes] = {}

    def add(place: tuple[int, bool], more: Changes) -> None:
        changes[place] = changes.get(place, Changes()) + more

    for key, gates in _mapping("clamp", clamp).items():
        place = _place("clamp", key, lstm)
        for gate, clamps in _mapping(f"clamp[{key}]", gates).items():
            if gate not in GATES:
                raise GatewrightError("clamp", f"a gate out of {', '.join(GATES)}", repr(gate)[:80])
            H, limits = sizes[place[0]], _limits(gate, lstm, largest)
            add(place, Changes(tuple(_clamp(gate, values, H, T, limits) for values in _tuples("clamp", clamps))))
    if lstm.cell.is_slstm:
        for (layer, _), change in changes.items():
            _require_weights(change.clamps, sizes[layer], T)
    for key, units in _mapping("ablate", ablate).items():
        place = _place("ablate", key, lstm)
        always_shut = Clamp("output_gate", _units_of("ablate", units, sizes[place[0]]), 0.0, 0, T)
        # Zoneout carries the hidden state over a shut gate.
        ablated = always_shut.units if lstm.cell.zoneout_hidden else ()
        add(place, Changes((always_shut,), ablated=ablated))
    if isinstance(edit_cell, tuple):
        if lstm.num_layers > 1 or lstm.bidirectional:
            raise GatewrightError(
                "edit_cell", "{layer: (t, units, value)}, since there are several layers or directions", "no layer"
            )
        edit_cell = {0: edit_cell}
    for key, cell_edits in _mapping("edit_cell", edit_cell).items():
        place = _place("edit_cell", key, lstm)
        H, B = sizes[place[0]], len(lengths)
        edits = tuple(_edit(values, H, T, B, largest) for values in _tuples("edit_cell", cell_edits))
        add(place, Changes(edits=edits))
    return changes


def joined(plan: Plan, more: Plan) -> Plan:
    """Return the changes of two plans, those of the second over those of the first."""
    return {place: plan.get(place, Changes()) + more.get(place, Changes()) for place in {**plan, **more}}


def describe(changes: Plan, lengths: Any, sizes: Sequence[int]) -> str:
    """Return changes in words.

    Args:
        changes: the changes.
        lengths: steps of each row of the data (B,).
        sizes: units of each layer.

    >>> describe({(0, False): Changes((Clamp("forget_gate", (3,), 0.0, 5, 9),))}, [9], [4])
    'forget gate of unit 3 at 0 from step 5'
    >>> describe({(0, False): Changes((Clamp("forget_gate", (3,), 0.0, 5, 6),))}, [9], [4])
    'forget gate of unit 3 at 0 at step 5'
    """
    several = len({layer for layer, _ in changes}) > 1 or any(layer for layer, _ in changes)
    parts = []
    for (layer, reverse), change in changes.items():
        H = sizes[layer]
        where = (f"layer {layer}, " if several else "") + ("reverse, " if reverse else "")
        for clamp in change.clamps:
            gate, span = clamp.gate.replace("_", " "), _span(clamp.first, clamp.end, max(lengths))
            parts.append(f"{where}{gate} of {_units(clamp.units, H)} at {clamp.value:g}{span}")
        for edit in change.edits:
            parts.append(f"{where}cell of {_units(edit.units, H)} set to {edit.value:g} before step {edit.t}")
        for patch in change.patches:
            quantity, steps = patch.quantity.replace("_", " "), patch.steps
            count = f"step {steps[0]}" if len(steps) == 1 else f"{len(steps)} steps from {min(steps)}"
            parts.append(f"{where}{quantity} of {_units(patch.units, H)} patched at {count}")
    return "; ".join(parts)


def _span(first: int, end: int, steps: int) -> str:
    if end - first == 1 < steps:
        return f" at step {first}"
    start = f" from step {first}" if first else ""
    return start + (f" to step {end - 1}" if end < steps else "")


def _units(units: Sequence[int], H: int) -> str:
    if len(units) == H > 1:
        return "all units"
    if len(units) > 6:
        return f"{len(units)} units"
    return f"unit{'s' if len(units) > 1 else ''} {', '.join(map(str, units))}"


def _mapping(name: str, argument: Any) -> Mapping[Any, Any]:
    if argument is None:
        return {}
    if not isinstance(argument, Mapping):
        raise GatewrightError(name, "a dict, such as {0: ...} for layer 0", type(argument).__name__)
    return argument


def _tuples(name: str, argument: Any) -> list[tuple[Any, ...]]:
    """Return the tuples of an argument, which is one or a list of them."""
    tuples = argument if isinstance(argument, list) else [argument]
    sizes, form = _FORMS[name]
    for values in tuples:
        if not isinstance(values, tuple) or len(values) not in sizes:
            raise GatewrightError(name, f"{form}, or a list of these", repr(values)[:80])
    return tuples


def _place(name: str, key: Any, lstm: LSTM) -> tuple[int, bool]:
    """Return layer and direction of a key: a number, or (number, direction)."""
    layer, direction = key if isinstance(key, tuple) and len(key) == 2 else (key, "forward")
    whole = isinstance(layer, int) and not isinstance(layer, bool)
    if not whole or not 0 <= layer < lstm.num_layers:
        raise GatewrightError(name, f"a layer from 0 to {lstm.num_layers - 1}", repr(key)[:80])
    if direction not in DIRECTIONS[: 2 if lstm.bidirectional else 1]:
        raise GatewrightError(name, "a direction that the layer has", repr(direction)[:80])
    return layer, direction == "reverse"


def _limits(gate: str, lstm: LSTM, largest: float) -> tuple[float, float]:
    """Return the least and the largest value that a gate can be held at."""
    if gate != "candidate":
        return 0.0, 1.0
    return (-largest, largest) if lstm.cell.candidate_activation == "identity" else (-1.0, 1.0)


def _clamp(gate: str, values: tuple[Any, ...], H: int, T: int, limits: tuple[float, float]) -> Clamp:
    units, value, span = (*values, slice(None))[:3]
    least, largest = limits
    if not _is_number(value) or not least <= value <= largest:
        expected = f"a value from {least:.3g} to {largest:.3g} for the {gate}"
        raise GatewrightError("clamp", expected, repr(value)[:80])
    if not isinstance(span, slice) or span.step not in (None, 1):
        raise GatewrightError("clamp", "a slice of steps", repr(span)[:80])
    first, end, _ = span.indices(T)
    if first >= end:
        raise GatewrightError(
            "clamp", f"a slice of the {T} steps with at least one in it", f"{span.start}:{span.stop}"
        )
    return Clamp(gate, _units_of("clamp", units, H), float(value), first, end)


def _require_weights(clamps: Sequence[Clamp], H: int, T: int) -> None:
    """Require that gates of an sLSTM which are held together are weights of an average: that they sum to 1."""
    held = {gate: np.full((T, H), np.nan) for gate in ("input_gate", "forget_gate")}
    for clamp in clamps:
        if clamp.gate in held:
            held[clamp.gate][clamp.first : clamp.end, clamp.units] = clamp.value
    share, keep = held.values()
    wrong = np.argwhere(np.abs(share + keep - 1) > _ROUNDING)
    if len(wrong):
        t, unit = map(int, wrong[0])
        expected = "input and forget gate of an sLSTM that sum to 1, or one of them"
        got = f"{share[t, unit]:g} and {keep[t, unit]:g} for unit {unit} at step {t}"
        raise GatewrightError("clamp", expected, got)


def _edit(values: tuple[Any, ...], H: int, T: int, B: int, largest: float) -> CellEdit:
    t, units, value, row = (*values, None)[:4]
    if not _is_number(value) or not abs(value) <= largest:
        expected = f"a number as the value, of the model's type: within {largest:.3g}"
        raise GatewrightError("edit_cell", expected, repr(value)[:80])
    return CellEdit(
        require_index("edit_cell", t, T),
        _units_of("edit_cell", units, H),
        float(value),
        None if row is None else require_index("edit_cell", row, B),
    )


def _units_of(name: str, units: Any, H: int) -> tuple[int, ...]:
    """Return numbers of units, each once."""
    numbers = tuple(dict.fromkeys(require_units(units, H, name).tolist()))
    if not numbers:
        raise GatewrightError(name, "at least one unit", "none")
    return numbers


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
