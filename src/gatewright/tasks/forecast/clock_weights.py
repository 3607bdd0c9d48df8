"""Weights of units that count the rows since the state began, for each cell that can.

- The plain cell: one unit writes 1 at every step, and by its hidden state closes the input gates of the others
  after the first step; these decay from there, ``c_t = r^(t-1)``.
- Its variants, whose hidden state may be dropped on its way to W_hh, and whose input gate may be coupled or not
  there: no unit reads another.  One writes 1 at every step, the others approach 1, ``c_t = 1 - r^t``.
- The sLSTM: one unit is 1 at every step, and by its hidden state makes 0 of the candidates of the others after the
  first step, and 1 - r of their input gates.  So their normaliser is 1 throughout, and ``c_t = r^(t-1)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from gatewright.spec import StackSpec
from gatewright.spec.cell import CellSpec
from gatewright.tasks.cell_words import words_of

#: A gate's input that opens it, and one that closes it again.
_OPEN, _CLOSE = 15.0, -40.0

#: Features that clocks do not go with: in training their candidates would fail, or nothing would be forgotten, or
#: what they show would depend on other units.
_NOT = {"layer_norm": True, "candidate_dropout": True, "forget_gate": True}
#: What would now and then keep the first clock from the others, of a cell where these read it.
_READING = ("hidden_dropout", "weight_drop")


def without_clocks(stack: StackSpec, clocks: int, least_width: int) -> str:
    """Return why a stack has no clocks; empty for one that has them.

    Args:
        stack: the layers.
        clocks: number of clocks.
        least_width: a narrower output has no units to spare.

    >>> without_clocks(StackSpec(64, layer_norm=True, peephole=True), 4, 16)
    'a cell with layer_norm'
    """
    if stack.output_size < least_width:
        return f"fewer than {least_width} units"
    if stack.residual:
        return "residual connections, which add to the outputs of its units"
    cell = stack.cell
    names = [*_NOT, *(_READING if cell.is_slstm else ())]
    words = [word for word in words_of(cell) if word.partition("=")[0] in names]
    if words:
        return f"a cell with {', '.join(words)}"
    return f"heads of fewer than {clocks} units" if stack.output_size < clocks * cell.heads else ""


class ClockWeights(NamedTuple):
    """What the gates of the clocks read, by name of the gate; nothing else.

    Attributes:
        biases: of each clock.
        recurrent: the weight of the first clock's hidden state in each of the others.
    """

    biases: dict[str, list[float]]
    recurrent: dict[str, list[float]]


def clock_weights(cell: CellSpec, decays: Sequence[float]) -> ClockWeights:
    """Return the weights of the clocks: of the first, and of one for each decay.

    >>> clock_weights(CellSpec(), [0.5]).biases["forget_gate"]
    [-15.0, 0.0]
    """
    open_gates = [_OPEN] * (1 + len(decays))
    biases = {name: list(open_gates) for name in cell.gates()}
    if cell.is_slstm:
        first = 1 / (1 + math.exp(-_OPEN))  # its hidden state
        logs = [math.log(r) for r in decays]
        exponential = cell.forget_gate_activation == "exponential"
        biases["forget_gate"] = [-_OPEN, *(logs if exponential else map(_logit, decays))]
        biases["input_gate"] = [0.0] * len(open_gates)
        inputs = [math.log(1 - r) / first for r in decays]
        return ClockWeights(biases, {"input_gate": inputs, "candidate": [-_OPEN / first] * len(decays)})
    if not cell.features():
        biases["forget_gate"] = [-_OPEN, *map(_logit, decays)]
        return ClockWeights(biases, {"input_gate": [_CLOSE] * len(decays)})
    zoneout, size = cell.zoneout_cell, min(1.0, 0.9 * cell.cell_clip or 1.0)
    forgets = [max(0.0, (r - zoneout) / (1 - zoneout)) for r in decays]
    inverse = _logit if cell.gate_activation == "sigmoid" else _hard_logit
    biases["forget_gate"] = [-_OPEN, *map(inverse, forgets)]
    writes = [size, *(size if cell.coupled else size * (1 - f) for f in forgets)]
    biases["candidate"] = [_candidate(cell, write) for write in writes]
    return ClockWeights(biases, {})


def _logit(p: float) -> float:
    return -_OPEN if p <= 0 else math.log(p / (1 - p))


def _hard_logit(p: float) -> float:
    return 6 * (p - 0.5)


def _candidate(cell: CellSpec, value: float) -> float:
    """Return what the candidate reads for a value, between 0 and 1."""
    if cell.candidate_activation != "tanh":
        return value
    return min(_OPEN, math.atanh(value)) if value < 1 else _OPEN
