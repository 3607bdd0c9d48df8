"""Diagnosis: what each unit does over a recording, and advice that is tied to a figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.equations import Record
from gatewright.insight.advice import Advice, advise
from gatewright.insight.memory_horizon import Horizon, horizon
from gatewright.insight.recording import DIRECTIONS, GATES, Recording

Array = NDArray[np.float64]

#: A gate below the first is closed, above the second open.
CLOSED, OPEN = 0.1, 0.9
#: A forget gate below this lets go of more than half at once: the step resets the unit.
RESET = 0.5
#: |tanh(c)| above this is saturated (|c| > 2.65): the slope of tanh is below 2%, so that h hardly moves with c
#: and hardly any gradient comes back through it.
SATURATED = 0.99
#: A unit is saturated if it is so in at least this share of the steps: c needs the others to climb there from a
#: zero state, ten of a hundred if each writes a quarter.
_NEARLY_ALWAYS = 0.9
#: Bins of a histogram.
BINS = 20
#: What a forget gate counts as at least: one that float32 rounds to 0 forgets all, once.
_LEAST = 2.0**-24
#: The gates that can be closed and open.
_SIGMOID = ("input_gate", "forget_gate", "output_gate")


@dataclass(frozen=True, eq=False, repr=False)
class LayerDiagnosis:
    """Figures of one layer in one direction, over all steps of all rows; arrays have one entry a unit (H,).

    Attributes:
        layer: number of the layer.
        direction: "forward" or "reverse".
        half_life: steps after which half of the cell state is left, log ½ / mean(log f), over the steps that have
            something to forget; inf where f is 1.  Of a unit that resets it is that between resets: the mean is of
            the steps that do not reset it.
        half_life_overall: the same over all steps, resets among them.
        half_life_low: that at the 10th percentile of f.
        half_life_high: that at the 90th percentile.
        resets: share of steps that reset: the forget gate is below ½, so that more than half goes at once.
        longest: the most steps in a row without a reset.
        closed: share of steps with the gate below 0.1, by the name of the gate.
        open: share of steps with it above 0.9.
        write_rate: mean of |i g|.
        activity: standard deviation of o tanh(c), the hidden state before a projection.
        greatest: largest value of the forget gate.
        size: mean of |c|.
        saturated: share of steps with |tanh(c)| above 0.99.
        labels: short words for each unit: "dead" (activity below 0.001), "counter" (keeps and adds with one sign
            in at least 95% of the steps), "long memory" (a half-life of at least 100 steps and, if it resets, as
            many in a row without), "short memory" (less than one step), "resets" (in nine of ten steps it keeps as
            if for 10 steps and more, but some steps reset it), "shut" (the output gate closed in at least 99% of
            the steps), "saturated" (|tanh(c)| above 0.99 in at least 90% of the steps).
        histograms: counts of each gate's values in 20 equal bins from 0 to 1 (candidate: -1 to 1), (H, 20).
    """

    layer: int
    direction: str
    half_life: Array
    half_life_overall: Array
    half_life_low: Array
    half_life_high: Array
    resets: Array
    longest: NDArray[np.int64]
    closed: dict[str, Array]
    open: dict[str, Array]
    write_rate: Array
    activity: Array
    greatest: Array
    size: Array
    saturated: Array
    labels: tuple[tuple[str, ...], ...]
    histograms: dict[str, NDArray[np.int64]]

    def labelled(self, label: str) -> NDArray[np.int64]:
        """Return the numbers of the units with a label."""
        return np.flatnonzero([label in labels for labels in self.labels])

    def __repr__(self) -> str:
        told = [f"{len(self.half_life)} units"]
        for label in sorted({label for labels in self.labels for label in labels}):
            told.append(f"{len(self.labelled(label))} {label}")
        return f"{type(self).__name__}(layer {self.layer} {self.direction}: {', '.join(told)})"


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What `diagnose` found.

    Attributes:
        layers: figures of each layer and direction.
        advice: what to try, each with the figure that speaks for it; layer by layer.
        horizon: how long inputs have a say, or None where the recording has no model with it.
    """

    layers: tuple[LayerDiagnosis, ...]
    advice: tuple[Advice, ...]
    horizon: Horizon | None

    def __repr__(self) -> str:
        findings = "".join(f"\n  {one.finding}\n    {one.advice}" for one in self.advice)
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))}){findings}"


def diagnose(recording: Recording, *, plain: torch.nn.RNN | None = None) -> Diagnosis:
    """Say what the units of a model do, and what could be better.

    Args:
        recording: what it did; with its model (as `look` returns it) the memory horizon is measured too.
        plain: a plain RNN of the same inputs, trained on the same data, to stand beside it
            (`gatewright.train.plain_rnn.train_beside` trains one).

    Raises:
        GatewrightError: if ``plain`` is given and the recording has no model with it.

    >>> from gatewright import LSTM, look
    >>> found = diagnose(look(LSTM(3, 4), torch.zeros(50, 1, 3)))
    >>> found.layers[0].half_life.shape, len(found.horizon.lags)
    ((4,), 25)
    """
    layers = []
    for number, layer in enumerate(recording.layers):
        for direction, record in zip(DIRECTIONS, layer, strict=True):
            if record is not None:
                layers.append(_of_layer(number, direction, record, recording.lengths))
    one_way = all(layer.reverse is None for layer in recording.layers)
    reach = None
    if plain is not None or (recording.model is not None and one_way):
        reach = horizon(recording, peer=plain)
    return Diagnosis(tuple(layers), advise(layers, reach), reach)


def _constant(gates: dict[str, NDArray[np.floating]]) -> NDArray[np.bool_]:
    """Say which units write 1 and show it at every step, as the first clock of a forecaster does."""
    i, f, g, o = (gates[name] for name in GATES)
    held: NDArray[np.bool_] = (np.minimum(np.minimum(i, o), g) > 0.999).all(axis=0) & (f < 0.001).all(axis=0)
    return held


def _of_layer(number: int, direction: str, record: Record, lengths: NDArray[np.int64]) -> LayerDiagnosis:
    i, f, g, o, c = (_steps(getattr(record, name), lengths) for name in (*GATES, "cell"))
    gates = dict(zip(GATES, (i, f, g, o), strict=True))
    empty = _empty(record, direction, lengths)
    overall, between, low, high = _half_lives(f, _steps(empty, lengths))
    resetting = (record.forget_gate < RESET) & ~empty
    resets, longest = _steps(resetting, lengths).mean(axis=0), _longest(~resetting, lengths)
    letting_go = (resets > 0) & (low >= 10)
    half_life = np.where(letting_go, between, overall)
    written, bent = i * g, np.tanh(c)
    closed = {name: (gates[name] < CLOSED).mean(axis=0) for name in _SIGMOID}
    opened = {name: (gates[name] > OPEN).mean(axis=0) for name in _SIGMOID}
    activity = (o * bent).std(axis=0, dtype=np.float64)
    one_sign = np.maximum((written > 0).mean(axis=0), (written < 0).mean(axis=0))
    saturated = (np.abs(bent) > SATURATED).mean(axis=0)
    tests = {
        # One step has no spread; a unit whose gates and candidate stand still by their biases is a constant.
        "dead": (activity < 1e-3) & (len(f) > 1) & ~_constant(gates),
        "counter": (opened["forget_gate"] >= 0.95) & (one_sign >= 0.95),
        "long memory": (half_life >= 100) & (~letting_go | (longest >= 100)),
        "short memory": half_life < 1,
        "resets": letting_go,
        "shut": closed["output_gate"] >= 0.99,
        "saturated": saturated >= _NEARLY_ALWAYS,
    }
    return LayerDiagnosis(
        layer=number,
        direction=direction,
        half_life=half_life,
        half_life_overall=overall,
        half_life_low=low,
        half_life_high=high,
        resets=resets,
        longest=longest,
        closed=closed,
        open=opened,
        write_rate=np.abs(written).mean(axis=0, dtype=np.float64),
        activity=activity,
        greatest=f.max(axis=0).astype(np.float64),
        size=np.abs(c).mean(axis=0, dtype=np.float64),
        saturated=saturated,
        labels=tuple(tuple(name for name, found in tests.items() if found[unit]) for unit in range(len(activity))),
        histograms={name: _histograms(gate, -1.0 if name == "candidate" else 0.0) for name, gate in gates.items()},
    )


def _empty(record: Record, direction: str, lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which steps start from a cell state of zero, (T, B, H): there is nothing to forget."""
    empty = np.zeros(record.forget_gate.shape, dtype=bool)
    rows = np.arange(len(lengths))
    empty[0 if direction == "forward" else lengths - 1, rows] = record.cell_initial == 0
    return empty


def _half_lives(f: NDArray[Any], empty: NDArray[np.bool_]) -> list[Array]:
    """Return the half-life over all steps, over those that do not reset, and at the 10th and 90th percentile."""
    logs = np.log(np.maximum(f, _LEAST))
    counts = ~empty | empty.all(axis=0)

    def mean(of: NDArray[np.bool_]) -> Array:
        total = np.where(of, logs, 0).sum(axis=0, dtype=np.float64)
        return np.divide(total, of.sum(axis=0), out=np.full(total.shape, np.log(_LEAST)), where=of.any(axis=0))

    ends = np.log(np.clip(np.percentile(f, (10, 90), axis=0), _LEAST, 1)).astype(np.float64)
    with np.errstate(divide="ignore"):
        means = (mean(counts), mean(counts & (f >= RESET)), *ends)
        return [np.where(one < 0, np.log(0.5) / one, np.inf) for one in means]


def _longest(keeps: NDArray[np.bool_], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the most steps in a row, of any row, in which a unit keeps: (T, B, H) to (H,)."""
    places = np.arange(1, len(keeps) + 1)[:, None, None]
    there = places <= lengths[:, None]
    lost = np.maximum.accumulate(np.where(keeps & there, 0, places), axis=0)
    runs = np.where(there, places - lost, 0)
    return runs.max(axis=(0, 1))


def _steps(array: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[Any]:
    """Return all steps that there are, (steps of all rows, H)."""
    if (lengths == len(array)).all():
        return array.reshape(-1, array.shape[-1])
    return array[np.arange(len(array))[:, None] < lengths]


def _histograms(values: NDArray[Any], least: float) -> NDArray[np.int64]:
    """Count the values of each unit in equal bins from ``least`` to 1: (H, bins)."""
    H = values.shape[1]
    bins = np.clip(((values - least) * (BINS / (1 - least))).astype(np.int64), 0, BINS - 1)
    counts = np.bincount((bins + np.arange(H) * BINS).ravel(), minlength=H * BINS)
    return counts.reshape(H, BINS)
