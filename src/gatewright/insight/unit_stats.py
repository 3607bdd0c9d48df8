"""Figures of each unit over a recording: half-lives, open and closed gates, writes, and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.equations import GATES, Record
from gatewright.insight.output import activation, bent, is_average, shown
from gatewright.spec.cell import CellSpec

Array = NDArray[np.float64]

_PLAIN = CellSpec()

#: A gate below the first number is closed, above the second open.
CLOSED, OPEN = 0.1, 0.9
#: A step that keeps less than this fraction of the cell state resets the unit.
RESET = 0.5
#: |tanh(c)| above this is saturated (|c| > 2.65): the slope of tanh is below 2%, so that h hardly depends on c
#: and hardly any gradient passes back through it.  The slope of hard_tanh is 0 from 1 on.
SATURATED = 0.99
#: A unit is saturated if at least this share of its steps are: the others are those in which c climbs there from a
#: zero state, about ten of a hundred if each writes a quarter.
_NEARLY_ALWAYS = 0.9
#: Number of bins of a histogram.
BINS = 20
#: Lower bound of `keep` in a logarithm: a single 0, as float32 may round it, must not outweigh all other steps.
_LEAST = 2.0**-24
#: The gates that can be closed or open.
_SIGMOID = ("input_gate", "forget_gate", "output_gate")


@dataclass(frozen=True, eq=False, repr=False)
class LayerDiagnosis:
    """Figures of one layer in one direction, over all steps of all rows; arrays have one number per unit (H,).

    Attributes:
        layer: number of the layer.
        direction: "forward" or "reverse".
        half_life: steps after which half of the cell state is left, log ½ / mean(log f), over the steps that have
            something to forget; inf where f is 1.  For a unit that resets, the half-life between resets: the mean
            is over the steps that do not reset it.  Here and below, f stands for what a step keeps, and i g for
            what it writes, also where zoneout or clipping of the cell state change these.
        half_life_overall: the same over all steps, resets included.
        half_life_low: the half-life at the 10th percentile of f.
        half_life_high: the half-life at the 90th percentile of f.
        resets: share of steps that reset the unit: the forget gate is below ½, so that more than half is lost.
        longest: maximum number of consecutive steps without a reset.
        closed: share of steps with the gate below 0.1, by the name of the gate; without gates that the cell does
            not have.
        open: share of steps with the gate above 0.9, likewise.
        write_rate: mean of |i g|.
        activity: standard deviation of o tanh(c), or what the cell has in its place: the hidden state before a
            projection and before zoneout.
        greatest: largest value of the forget gate.
        size: mean of |c|.
        saturated: share of steps with |tanh(c)|, or what the cell has in its place, above 0.99; None where the
            output has no activation.
        labels: short words for each unit: "dead" (activity below 0.001), "counter" (keeps and adds with one sign
            in at least 95% of the steps; never of a cell state that is an average), "long memory" (a half-life of
            at least 100 steps and, if it resets, as many consecutive steps without a reset), "short memory" (a
            half-life of less than one step), "resets" (some steps reset it, but in nine of ten it keeps with a
            half-life of at least 10 steps), "shut" (the output gate closed in at least 99% of the steps),
            "saturated" (|tanh(c)| above 0.99 in at least 90% of the steps).
        histograms: counts of the values of each gate that the cell has in 20 equal bins, (H, 20).
        ranges: from where to where the bins of each gate go: 0 to 1, the candidate's -1 to 1, or without an
            activation from its least to its largest value.
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
    saturated: Array | None
    labels: tuple[tuple[str, ...], ...]
    histograms: dict[str, NDArray[np.int64]]
    ranges: dict[str, tuple[float, float]]

    def labelled(self, label: str) -> NDArray[np.int64]:
        """Return the numbers of the units with a label."""
        return np.flatnonzero([label in labels for labels in self.labels])

    def __repr__(self) -> str:
        counts = [f"{len(self.half_life)} units"]
        for label in sorted({label for labels in self.labels for label in labels}):
            counts.append(f"{len(self.labelled(label))} {label}")
        return f"{type(self).__name__}(layer {self.layer} {self.direction}: {', '.join(counts)})"


def diagnose_layer(
    number: int, direction: str, record: Record, lengths: NDArray[np.int64], cell: CellSpec = _PLAIN
) -> LayerDiagnosis:
    """Return the figures of a layer in one direction.

    Args:
        number: number of the layer.
        direction: "forward" or "reverse".
        record: its gates and states (T, B, H).
        lengths: steps of each row (B,).
        cell: the cell of the layer.
    """
    gates = {name: _steps(getattr(record, name), lengths) for name in GATES}
    keep, write, c = (_steps(array, lengths) for array in (record.keep(), record.write(), record.cell))
    empty = _empty(record, direction, lengths)
    overall, between, low, high = _half_lives(keep, _steps(empty, lengths))
    resetting = (record.keep() < RESET) & ~empty
    resets, longest = _steps(resetting, lengths).mean(axis=0), _longest(~resetting, lengths)
    has_resets = (resets > 0) & (low >= 10)
    half_life = np.where(has_resets, between, overall)
    switches = [name for name in _SIGMOID if getattr(cell, name)]
    closed = {name: (gates[name] < CLOSED).mean(axis=0) for name in switches}
    opened = {name: (gates[name] > OPEN).mean(axis=0) for name in switches}
    activity = _steps(shown(record, cell), lengths).std(axis=0, dtype=np.float64)
    one_sign = np.maximum((write > 0).mean(axis=0), (write < 0).mean(axis=0))
    saturated = None
    if activation(cell) != "identity":
        saturated = (np.abs(_steps(bent(record, cell), lengths)) > SATURATED).mean(axis=0)
    never = np.zeros(len(activity), dtype=bool)
    ranges = {name: _range(name, gates[name], cell) for name in GATES if name in switches or name == "candidate"}
    tests = {
        # One step has no spread; a unit whose biases alone fix its gates and candidate is a constant.
        "dead": (activity < 1e-3) & (len(c) > 1) & ~_constant(gates),
        "counter": never if is_average(cell) else ((keep > OPEN).mean(axis=0) >= 0.95) & (one_sign >= 0.95),
        "long memory": (half_life >= 100) & (~has_resets | (longest >= 100)),
        "short memory": half_life < 1,
        "resets": has_resets,
        "shut": closed["output_gate"] >= 0.99 if cell.output_gate else never,
        "saturated": never if saturated is None else saturated >= _NEARLY_ALWAYS,
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
        write_rate=np.abs(write).mean(axis=0, dtype=np.float64),
        activity=activity,
        greatest=keep.max(axis=0).astype(np.float64),
        size=np.abs(c).mean(axis=0, dtype=np.float64),
        saturated=saturated,
        labels=tuple(
            tuple(name for name, passed in tests.items() if passed[unit]) for unit in range(len(activity))
        ),
        histograms={name: _histograms(gates[name], *limits) for name, limits in ranges.items()},
        ranges=ranges,
    )


def _range(name: str, gate: NDArray[Any], cell: CellSpec) -> tuple[float, float]:
    """Return from where to where the values of a gate may go; of a candidate without activation, where they go."""
    if name != "candidate":
        return 0.0, 1.0
    if cell.candidate_activation != "identity":
        return -1.0, 1.0
    low, high = float(gate.min()), float(gate.max())
    return (low, high) if low < high else (low - 1.0, high + 1.0)


def _constant(gates: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return which units write 1 and show it at every step, as the first clock of a forecaster does."""
    i, g, o = (gates[name] for name in ("input_gate", "candidate", "output_gate"))
    writes = (np.minimum(np.minimum(i, o), g) > 0.999).all(axis=0)
    constant: NDArray[np.bool_] = writes & (gates["forget_gate"] < 0.001).all(axis=0)
    return constant


def _empty(record: Record, direction: str, lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which steps start from a cell state of zero, with nothing to forget, (T, B, H)."""
    empty = np.zeros(record.cell.shape, dtype=bool)
    rows = np.arange(len(lengths))
    empty[0 if direction == "forward" else lengths - 1, rows] = record.cell_initial == 0
    return empty


def _half_lives(keep: NDArray[Any], empty: NDArray[np.bool_]) -> list[Array]:
    """Return the half-life over all steps, over those that do not reset, and at the 10th and 90th percentile."""
    logs = np.log(np.maximum(keep, _LEAST))
    counted = ~empty | empty.all(axis=0)

    def mean(steps: NDArray[np.bool_]) -> Array:
        total = np.where(steps, logs, 0).sum(axis=0, dtype=np.float64)
        unknown = np.full(total.shape, np.log(_LEAST))
        return np.divide(total, steps.sum(axis=0), out=unknown, where=steps.any(axis=0))

    percentiles = np.log(np.clip(np.percentile(keep, (10, 90), axis=0), _LEAST, 1)).astype(np.float64)
    with np.errstate(divide="ignore"):
        means = (mean(counted), mean(counted & (keep >= RESET)), *percentiles)
        return [np.where(log < 0, np.log(0.5) / log, np.inf) for log in means]


def _longest(keeps: NDArray[np.bool_], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the maximum number of consecutive steps, in any row, in which a unit keeps: (T, B, H) to (H,)."""
    numbers = np.arange(1, len(keeps) + 1)[:, None, None]
    in_row = numbers <= lengths[:, None]
    last_reset = np.maximum.accumulate(np.where(keeps & in_row, 0, numbers), axis=0)
    runs = np.where(in_row, numbers - last_reset, 0)
    return runs.max(axis=(0, 1))


def _steps(array: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[Any]:
    """Return the steps of all rows one after another, without padding: (T, B, H) to (steps, H)."""
    if (lengths == len(array)).all():
        return array.reshape(-1, array.shape[-1])
    return array[np.arange(len(array))[:, None] < lengths]


def _histograms(values: NDArray[Any], low: float, high: float) -> NDArray[np.int64]:
    """Count the values of each unit in equal bins from ``low`` to ``high``: (H, bins)."""
    H = values.shape[1]
    bins = np.clip(((values - low) * (BINS / (high - low))).astype(np.int64), 0, BINS - 1)
    counts = np.bincount((bins + np.arange(H) * BINS).ravel(), minlength=H * BINS)
    return counts.reshape(H, BINS)
