"""Features in which a cell may differ from the plain one, and what contradicts what."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from gatewright.spec.json import Spec, left_out, require, require_size

#: The equations that a cell may have.
KINDS = ("lstm", "slstm")

#: Activations of gates, and of the candidate and the output; the number of one in `CellSpec.code` is its place.
GATE_ACTIVATIONS = ("sigmoid", "hard_sigmoid")
STATE_ACTIVATIONS = ("tanh", "hard_tanh", "identity")

#: Activations of the forget gate of an sLSTM.
FORGET_GATE_ACTIVATIONS = ("sigmoid", "exponential")

_ACTIVATIONS = {
    "gate_activation": GATE_ACTIVATIONS,
    "candidate_activation": STATE_ACTIVATIONS,
    "output_activation": STATE_ACTIVATIONS,
}
#: What an sLSTM may have of the features of an LSTM: both concern the hidden state that W_hh reads.
_OF_SLSTM = ("hidden_dropout", "weight_drop")
_SLSTM_ALONE = ("heads", "forget_gate_activation")
RATES = ("zoneout_cell", "zoneout_hidden", "hidden_dropout", "candidate_dropout", "weight_drop")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, which True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class CellFeatures(Spec):
    """What distinguishes a cell from the plain one; `docs/variants.md` has the equations and sources.

    Attributes:
        peephole: whether i and f read the cell state before the step, and o the one after it, unit by unit.
        coupled: whether the input gate is 1 - f, with no weights of its own.
        input_gate: False for an input gate of 1, without weights; likewise the two gates that follow.
        forget_gate: whether there is a forget gate.
        output_gate: whether there is an output gate.
        gate_activation: of i, f and o, out of `GATE_ACTIVATIONS`.
        candidate_activation: of the candidate, out of `STATE_ACTIVATIONS`.
        output_activation: of the cell state on its way to the hidden state, likewise.
        cell_clip: bound of the cell state after its update; 0 for none.
        layer_norm: whether each gate before activation, and the cell state that the output reads, is normalised
            over the units.
        zoneout_cell: rate at which a unit of c keeps its previous value, while training.
        zoneout_hidden: rate at which a unit of h keeps its previous value, while training.
        hidden_dropout: rate of dropout on the hidden state that W_hh reads, with one mask a sequence.
        candidate_dropout: rate of dropout on the candidate, with a mask a step.
        weight_drop: rate of dropout on the elements of W_hh, with one mask a call.
        kind: equations of the cell, out of `KINDS`: those of an LSTM, or of an sLSTM (Beck et al. 2024), which has
            none of the features above but the dropouts of the hidden state and of W_hh.
        heads: parts of an sLSTM's units, of equal size; a unit reads the hidden state of its own part alone.
        forget_gate_activation: of an sLSTM, out of `FORGET_GATE_ACTIVATIONS`.
    """

    peephole: bool = left_out(False, since=5)
    coupled: bool = left_out(False, since=5)
    input_gate: bool = left_out(True, since=5)
    forget_gate: bool = left_out(True, since=5)
    output_gate: bool = left_out(True, since=5)
    gate_activation: str = left_out("sigmoid", since=5)
    candidate_activation: str = left_out("tanh", since=5)
    output_activation: str = left_out("tanh", since=5)
    cell_clip: float = left_out(0.0, since=5)
    layer_norm: bool = left_out(False, since=5)
    zoneout_cell: float = left_out(0.0, since=5)
    zoneout_hidden: float = left_out(0.0, since=5)
    hidden_dropout: float = left_out(0.0, since=5)
    candidate_dropout: float = left_out(0.0, since=5)
    weight_drop: float = left_out(0.0, since=5)
    kind: str = left_out("lstm", since=6)
    heads: int = left_out(1, since=6)
    forget_gate_activation: str = left_out("sigmoid", since=6)

    def features(self) -> tuple[str, ...]:
        """Return the names of the features that are not those of the plain cell, in order.

        >>> CellFeatures(peephole=True, cell_clip=3.0).features()
        ('peephole', 'cell_clip')
        """
        return tuple(name for name, default in _FEATURES if getattr(self, name) != default)

    @property
    def is_slstm(self) -> bool:
        """Whether the equations are those of an sLSTM."""
        return self.kind == "slstm"

    @property
    def is_random(self) -> bool:
        """Whether a call in training makes random choices.

        >>> CellFeatures(zoneout_cell=0.1).is_random, CellFeatures(cell_clip=3).is_random
        (True, False)
        """
        return any(getattr(self, name) for name in RATES)

    def _require_features(self) -> None:
        """Require values within their range, and no two features that contradict each other."""
        for name in ("peephole", "coupled", "input_gate", "forget_gate", "output_gate", "layer_norm"):
            value = getattr(self, name)
            require(isinstance(value, bool), name, "True or False", value)
        for name, activations in _ACTIVATIONS.items():
            value = getattr(self, name)
            require(value in activations, name, f"one of {list(activations)}", value)
        clip = self.cell_clip
        require(_is_number(clip) and 0 <= clip < math.inf, "cell_clip", "a finite number of at least 0", clip)
        for name in RATES:
            rate = getattr(self, name)
            require(_is_number(rate) and 0 <= rate < 1, name, "a rate from 0 up to, but not, 1", rate)
        self._require_kind()
        if self.coupled:
            for name in ("input_gate", "forget_gate"):
                expected = "True with coupled=True, where the forget gate gives both"
                require(getattr(self, name), name, expected, False)
        if not (self.input_gate or self.forget_gate or self.output_gate):
            none = "without an input, forget or output gate"
            require(not self.peephole, "peephole", f"False {none}", True)
            activation = self.gate_activation
            require(activation == "sigmoid", "gate_activation", f"'sigmoid' {none}", activation)

    def _require_kind(self) -> None:
        """Require features of an sLSTM where the cell is one, and there alone."""
        require(self.kind in KINDS, "kind", f"one of {list(KINDS)}", self.kind)
        require(is_whole(self.heads), "heads", "a whole number", self.heads)
        require_size("heads", self.heads)
        activation = self.forget_gate_activation
        expected = f"one of {list(FORGET_GATE_ACTIVATIONS)}"
        require(activation in FORGET_GATE_ACTIVATIONS, "forget_gate_activation", expected, activation)
        for name, default in _FEATURES:
            value = getattr(self, name)
            if value == default or name == "kind":
                continue
            if not self.is_slstm:
                require(name not in _SLSTM_ALONE, name, f"{default!r} without kind='slstm'", value)
            elif name not in _SLSTM_ALONE:
                require(name in _OF_SLSTM, name, f"{default!r} with kind='slstm'", value)


#: Name and default of each feature, in order.
_FEATURES = tuple((each.name, each.default) for each in fields(CellFeatures))
