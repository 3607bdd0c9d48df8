"""Diagnosis of a recording: figures of every unit, the memory horizon, and advice tied to a figure."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gatewright.insight.advice import Advice, advise
from gatewright.insight.layers import DIRECTIONS
from gatewright.insight.memory_horizon import MemoryHorizon, memory_horizon
from gatewright.insight.recording import Recording
from gatewright.insight.unit_stats import LayerDiagnosis, diagnose_layer


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """The result of `diagnose`.

    Attributes:
        layers: figures of each layer and direction.
        advice: findings and what to try, each with its figure; layer by layer.
        horizon: the memory horizon, or None if the recording comes without its model.
    """

    layers: tuple[LayerDiagnosis, ...]
    advice: tuple[Advice, ...]
    horizon: MemoryHorizon | None

    def __repr__(self) -> str:
        findings = "".join(f"\n  {item.finding}\n    {item.advice}" for item in self.advice)
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))}){findings}"


def diagnose(recording: Recording, *, plain: torch.nn.RNN | None = None) -> Diagnosis:
    """Diagnose the units of a recorded model.

    Args:
        recording: the recording; with its model (as `look` returns it) the memory horizon is measured too.
        plain: a plain RNN of the same inputs, trained on the same data, for comparison
            (`gatewright.train.plain_rnn.train_plain_rnn` trains one).

    Raises:
        GatewrightError: if ``plain`` is not None and the recording comes without its model.

    >>> from gatewright import LSTM, look
    >>> diagnosis = diagnose(look(LSTM(3, 4), torch.zeros(50, 1, 3)))
    >>> diagnosis.layers[0].half_life.shape, len(diagnosis.horizon.lags)
    ((4,), 25)
    """
    layers, cell = [], recording.about.cell
    for number, layer in enumerate(recording.layers):
        for direction, record in zip(DIRECTIONS, layer, strict=True):
            if record is not None:
                layers.append(diagnose_layer(number, direction, record, recording.lengths, cell))
    forward_only = all(layer.reverse is None for layer in recording.layers)
    horizon = None
    if plain is not None or (recording.model is not None and forward_only):
        horizon = memory_horizon(recording, peer=plain)
    return Diagnosis(tuple(layers), advise(layers, horizon, cell), horizon)
