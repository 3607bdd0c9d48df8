"""What if: run a model again with gates held, units silenced, or the cell state changed by hand.

Everything goes through the same kernels as the untouched run, so what was not changed comes out to the same bits.
A gate is held at v by weights: its rows of W are zero, and its bias is the logit of v.  Where a change begins or
ends, or a cell state is edited, the sequence is cut, and goes on from the states that it had.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatewright.equations import GATES, QUANTITIES
from gatewright.errors import GatewrightError
from gatewright.insight.layers import DIRECTIONS, require_index, require_units
from gatewright.insight.recorder import Pass, prepare, record
from gatewright.insight.recording import Recording
from gatewright.nn import LSTM, Record, fallback, ops
from gatewright.nn.model import Model, State
from gatewright.nn.record import LayerRecord
from gatewright.spec.cell import LayerWeights
from gatewright.spec.recording import Edit
from gatewright.tasks.inputs import InputBatch

#: A number whose sigmoid and tanh are their limits exactly, in every type.
_FAR = 1e4


#: How a change is written: sizes of its tuple, and what stands in it.
_FORMS = {
    "clamp": ((2, 3), "(units, value) or (units, value, steps)"),
    "edit_cell": ((3, 4), "(t, units, value) or (t, units, value, row)"),
}


class Clamp(NamedTuple):
    """Gates held at a value.

    Attributes:
        gate: "input_gate", "forget_gate", "candidate" or "output_gate".
        units: numbers of units.
        value: what they are held at; between 0 and 1, the candidate between -1 and 1.
        first: first step for which they are.
        end: step after the last.
    """

    gate: str
    units: tuple[int, ...]
    value: float
    first: int
    end: int


class CellEdit(NamedTuple):
    """A cell state set by hand, before a step is taken.

    Attributes:
        t: the step that starts from it.
        units: numbers of units.
        value: what their cell state becomes.
        row: row of the batch, or None for all.
    """

    t: int
    units: tuple[int, ...]
    value: float
    row: int | None = None


@dataclass(frozen=True)
class Changes:
    """What is changed in one layer and direction."""

    clamps: tuple[Clamp, ...] = ()
    edits: tuple[CellEdit, ...] = ()


#: Changes by number of the layer, and whether it is the reverse direction.
Plan = Mapping[tuple[int, bool], Changes]


def intervene(
    model: Any,
    data: Any = None,
    *,
    clamp: Mapping[Any, Mapping[str, Any]] | None = None,
    ablate: Mapping[Any, Any] | None = None,
    edit_cell: Any = None,
    state: State | None = None,
    start: int = 0,
    steps: int | None = None,
    title: str = "",
) -> Recording:
    """Run a model over data as `look` does, with changes inside it, and return what came of them.

    A layer is named by its number, its reverse direction by (number, "reverse").

    Args:
        model: as for `look`.
        data: as for `look`.
        clamp: gates to hold, by layer and gate: ``{0: {"forget_gate": (units, value)}}``, or (units, value,
            steps) with a slice of steps, or a list of these.  Units are a number, several, a slice, or None for
            all.
        ablate: units whose hidden state is 0 throughout (their output gate is held at 0), by layer: ``{0: [3]}``.
        edit_cell: cell states to set, by layer: ``{0: (t, units, value)}``: what step t starts from, or (t, units,
            value, row) for one row of the batch; or a list of these.  A bare tuple is enough where there is one
            layer.
        state: as for `look`.
        start: as for `look`; steps of the changes are counted from it.
        steps: as for `look`.
        title: as for `look`.

    Returns:
        The recording; ``recording.difference(look(model, data))`` says what came of the changes.

    Raises:
        GatewrightError: if there is no such layer, gate, unit or step, or a value is out of range; and as `look`.

    >>> from gatewright import LSTM, look
    >>> lstm, x = LSTM(3, 4), torch.ones(10, 1, 3)
    >>> changed = intervene(lstm, x, clamp={0: {"forget_gate": (None, 0.0, slice(5, 6))}})
    >>> changed.layers[0].forward.forget_gate[5]
    array([[0., 0., 0., 0.]], dtype=float32)
    >>> changed.difference(look(lstm, x)).first  # the step whose output is the first to differ
    array([5])
    """
    opened, batch = prepare(model, data, state=state, start=start, steps=steps, title=title)
    return run(opened, batch, plan(_lstm(opened), batch.lengths, clamp, ablate, edit_cell))


def plan(lstm: LSTM, lengths: Any, clamp: Any = None, ablate: Any = None, edit_cell: Any = None) -> Plan:
    """Check changes and lay them out by layer and direction; arguments as for `intervene`."""
    H, T = lstm.hidden_size, int(max(lengths))
    changes: dict[tuple[int, bool], Changes] = {}

    def add(place: tuple[int, bool], **new: Any) -> None:
        before = changes.get(place, Changes())
        changes[place] = Changes(before.clamps + new.get("clamps", ()), before.edits + new.get("edits", ()))

    for key, gates in _mapping("clamp", clamp).items():
        place = _place("clamp", key, lstm)
        for gate, given in _mapping(f"clamp[{key}]", gates).items():
            if gate not in GATES:
                raise GatewrightError("clamp", f"a gate out of {', '.join(GATES)}", repr(gate)[:80])
            add(place, clamps=tuple(_clamp(gate, one, H, T) for one in _several("clamp", given)))
    for key, units in _mapping("ablate", ablate).items():
        everything = Clamp("output_gate", _units_of("ablate", units, H), 0.0, 0, T)
        add(_place("ablate", key, lstm), clamps=(everything,))
    if isinstance(edit_cell, tuple):
        if lstm.num_layers > 1 or lstm.bidirectional:
            raise GatewrightError("edit_cell", "{layer: (t, units, value)} where there are several", "no layer")
        edit_cell = {0: edit_cell}
    for key, given in _mapping("edit_cell", edit_cell).items():
        largest = torch.finfo(lstm.get_parameter("weight_hh_l0").dtype).max
        edits = tuple(_edit(one, H, T, len(lengths), largest) for one in _several("edit_cell", given))
        add(_place("edit_cell", key, lstm), edits=edits)
    return changes


def run(model: Model | LSTM, batch: InputBatch, changes: Plan) -> Recording:
    """Run a model over what is ready for it, with changes that `plan` has checked."""
    edits: list[Edit] = []
    found = record(model, batch, _changed(changes, edits))
    note = describe(changes, batch.lengths, _lstm(model).hidden_size)
    return dataclasses.replace(found, about=dataclasses.replace(found.about, note=note, edits=tuple(edits)))


def describe(changes: Plan, lengths: Any, H: int) -> str:
    """Say in words what is changed, of rows of some lengths and layers of H units.

    >>> describe({(0, False): Changes((Clamp("forget_gate", (3,), 0.0, 5, 9),))}, [9], H=4)
    'forget gate of unit 3 at 0 from step 5'
    >>> describe({(0, False): Changes((Clamp("forget_gate", (3,), 0.0, 5, 6),))}, [9], H=4)
    'forget gate of unit 3 at 0 at step 5'
    """
    several = len({layer for layer, _ in changes}) > 1 or any(layer for layer, _ in changes)
    told = []
    for (layer, reverse), change in changes.items():
        where = (f"layer {layer}, " if several else "") + ("reverse, " if reverse else "")
        for one in change.clamps:
            span = _span(one.first, one.end, max(lengths))
            told.append(f"{where}{one.gate.replace('_', ' ')} of {_units(one.units, H)} at {one.value:g}{span}")
        for edit in change.edits:
            told.append(f"{where}cell of {_units(edit.units, H)} set to {edit.value:g} before step {edit.t}")
    return "; ".join(told)


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


def _changed(changes: Plan, edits: list[Edit]) -> Pass:
    """Return a way to run the layers with the changes; it notes what was added to cell states in ``edits``."""

    def forward(lstm: LSTM, x: Tensor, lengths: Any, state: State | None) -> Record:
        S, B = (2 if lstm.bidirectional else 1), x.shape[1]
        P = lstm.proj_size or lstm.hidden_size
        shapes = ((lstm.num_layers * S, B, P), (lstm.num_layers * S, B, lstm.hidden_size))
        h_0, c_0 = state or (x.new_zeros(shapes[0]), x.new_zeros(shapes[1]))
        layers: list[LayerRecord] = []
        for layer in range(lstm.num_layers):
            done = []
            for reverse in (False, True)[:S]:
                k = layer * S + reverse
                change = changes.get((layer, reverse), Changes())
                made = _Layer(lstm._weights(k), change, reverse)
                done.append(made.run(x, h_0[k], c_0[k], lengths))
                edits.extend(dataclasses.replace(edit, layer=layer) for edit in made.edits)
            x = torch.cat([one.hidden for one in done], dim=-1)
            layers.append(dataclasses.replace(done[0], reverse=done[1] if S == 2 else None))
        return Record(tuple(layers), None if (lengths == len(x)).all() else torch.from_numpy(lengths))

    return forward


@dataclass
class _Layer:
    """One layer in one direction, with changes.

    Attributes:
        edits: what was added to cell states, as it comes to be known; the layer's number is not.
    """

    weights: LayerWeights
    change: Changes
    reverse: bool
    edits: list[Edit] = field(default_factory=list)

    def run(self, x: Tensor, h_0: Tensor, c_0: Tensor, lengths: Any) -> LayerRecord:
        """Run over (T, B, D); rows of unequal length one by one, which gives the same bits."""
        B = x.shape[1]
        if (lengths == len(x)).all():
            return self._rows(x, h_0, c_0, list(range(B)))
        parts = [self._rows(x[: lengths[b], b : b + 1], h_0[b : b + 1], c_0[b : b + 1], [b]) for b in range(B)]

        def padded(name: str) -> Tensor:
            laid = x.new_zeros(len(x), B, getattr(parts[0], name).shape[-1])
            for b, part in enumerate(parts):
                laid[: lengths[b], b] = getattr(part, name)[:, 0]
            return laid

        whole: dict[str, Any] = {name: padded(name) for name in QUANTITIES}
        return LayerRecord(**whole, cell_initial=c_0, hidden_initial=h_0)

    def _rows(self, x: Tensor, h_0: Tensor, c_0: Tensor, rows: list[int]) -> LayerRecord:
        """Run rows of one length, cut where a change begins or ends."""
        T = len(x)
        cuts = {0, T}
        for clamp in self.change.clamps:
            cuts |= {min(clamp.first, T), min(clamp.end, T)}
        # In reverse, step t starts from the state that t + 1 left.
        cuts |= {min(edit.t + self.reverse, T) for edit in self.change.edits}
        spans = list(pairwise(sorted(cuts)))
        h, c = h_0, c_0
        parts: list[LayerRecord] = []
        for first, end in reversed(spans) if self.reverse else spans:
            c = self._edited(c, end - 1 if self.reverse else first, rows)
            weights = self._clamped(first)
            if ops.takes(x, [h, c, *(W for W in weights if W is not None)]):
                _, h, c, part = ops.sequence(x[first:end], h, c, weights, reverse=self.reverse, record=True)
                assert part is not None
            else:
                _, h, c, part = fallback.sequence(x[first:end], h, c, weights, reverse=self.reverse)
            parts.append(part)
        if self.reverse:
            parts.reverse()
        whole: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts]) for name in QUANTITIES}
        return LayerRecord(**whole, cell_initial=c_0, hidden_initial=h_0)

    def _edited(self, c: Tensor, t: int, rows: list[int]) -> Tensor:
        """Return the cell state that step t starts from."""
        for edit in self.change.edits:
            here = [n for n, row in enumerate(rows) if edit.row in (None, row)]
            if edit.t != t or not here:
                continue
            before, c = c, c.clone()
            c[np.ix_(here, edit.units)] = edit.value
            added = (c.double() - before.double()).cpu().numpy()
            self.edits += [
                Edit(0, self.reverse, rows[n], t, unit, float(added[n, unit])) for n in here for unit in edit.units
            ]
        return c

    def _clamped(self, first: int) -> LayerWeights:
        """Return the weights for the steps from ``first`` on."""
        active = [clamp for clamp in self.change.clamps if clamp.first <= first < clamp.end]
        if not active:
            return self.weights
        W_ih, W_hh, b_ih, b_hh, W_hr = self.weights
        H = len(W_ih) // 4
        W_ih, W_hh = W_ih.detach().clone(), W_hh.detach().clone()
        b_ih = W_ih.new_zeros(4 * H) if b_ih is None else b_ih.detach().clone()
        b_hh = W_ih.new_zeros(4 * H) if b_hh is None else b_hh.detach().clone()
        for clamp in active:
            places = [GATES.index(clamp.gate) * H + unit for unit in clamp.units]
            W_ih[places], W_hh[places], b_hh[places] = 0.0, 0.0, 0.0
            b_ih[places] = _before_activation(clamp)
        return LayerWeights(W_ih, W_hh, b_ih, b_hh, W_hr)


def _before_activation(clamp: Clamp) -> float:
    """Return the number whose activation is the clamp's value."""
    if clamp.gate == "candidate":
        return math.copysign(_FAR, clamp.value) if abs(clamp.value) == 1 else math.atanh(clamp.value)
    if clamp.value in (0, 1):
        return _FAR if clamp.value else -_FAR
    return math.log(clamp.value) - math.log1p(-clamp.value)


def _lstm(model: Model | LSTM) -> LSTM:
    return model.lstm if isinstance(model, Model) else model


def _mapping(name: str, given: Any) -> Mapping[Any, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise GatewrightError(name, "a dict, such as {0: ...} for layer 0", type(given).__name__)
    return given


def _several(name: str, given: Any) -> list[Any]:
    several = given if isinstance(given, list) else [given]
    sizes, form = _FORMS[name]
    for one in several:
        if not isinstance(one, tuple) or len(one) not in sizes:
            raise GatewrightError(name, f"{form}, or a list of these", repr(one)[:80])
    return several


def _place(name: str, key: Any, lstm: LSTM) -> tuple[int, bool]:
    """Return layer and direction of a key: a number, or (number, direction)."""
    layer, direction = key if isinstance(key, tuple) and len(key) == 2 else (key, "forward")
    whole = isinstance(layer, int) and not isinstance(layer, bool)
    if not whole or not 0 <= layer < lstm.num_layers:
        raise GatewrightError(name, f"a layer from 0 to {lstm.num_layers - 1}", repr(key)[:80])
    if direction not in DIRECTIONS[: 2 if lstm.bidirectional else 1]:
        raise GatewrightError(name, "a direction that the layer has", repr(direction)[:80])
    return layer, direction == "reverse"


def _clamp(gate: str, given: tuple[Any, ...], H: int, T: int) -> Clamp:
    units, value, span = (*given, slice(None))[:3]
    least = -1.0 if gate == "candidate" else 0.0
    if not _is_number(value) or not least <= value <= 1:
        raise GatewrightError("clamp", f"a value from {least:g} to 1 for the {gate}", repr(value)[:80])
    if not isinstance(span, slice) or span.step not in (None, 1):
        raise GatewrightError("clamp", "a slice of steps", repr(span)[:80])
    first, end, _ = span.indices(T)
    if first >= end:
        raise GatewrightError(
            "clamp", f"a slice of the {T} steps with at least one in it", f"{span.start}:{span.stop}"
        )
    return Clamp(gate, _units_of("clamp", units, H), float(value), first, end)


def _edit(given: tuple[Any, ...], H: int, T: int, B: int, largest: float) -> CellEdit:
    t, units, value, row = (*given, None)[:4]
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
    found = tuple(dict.fromkeys(require_units(units, H, name).tolist()))
    if not found:
        raise GatewrightError(name, "at least one unit", "none")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
