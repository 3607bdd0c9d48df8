"""Targets of a forecaster in an ONNX graph: transforms, last observed values, the scale of a window.

All of it is in float64, as in a stream (``native/stream/encode.cpp``, ``transform.h``, ``window_scale.h``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.exchange.onnx.graph import Graph, Value, whole
from gatewright.spec import Scaler, SeriesEncoder
from gatewright.spec.encoders import WINDOW_NUMBERS

Array = NDArray[Any]
NAN = np.float64(np.nan)
#: Largest value that is transformed, and that an inverse gives.
_LARGEST = np.float64(1e38)
#: Changes that a window has seen before its first row, in effect.
_PRIOR = np.float64(32)


def transformed(g: Graph, encoder: SeriesEncoder, scaler: Scaler, values: Value) -> Value:
    """Return targets (..., targets) transformed; NaN where a transform does not allow one."""
    return _by_target(g, encoder, scaler, values, _apply)


def inverted(g: Graph, encoder: SeriesEncoder, scaler: Scaler, values: Value) -> Value:
    """Return transformed targets (..., targets) in their own units."""
    return _by_target(g, encoder, scaler, values, _invert)


def _by_target(g: Graph, encoder: SeriesEncoder, scaler: Scaler, values: Value, one: Any) -> Value:
    if not encoder.transform:
        return values
    parts = []
    for k, (kind, number) in enumerate(zip(encoder.transform, scaler.transform_number, strict=True)):
        part = g("Gather", values, whole(k), axis=-1)
        parts.append(part if kind == "none" else one(g, kind, np.float64(number), part))
    return str(g("Concat", *parts, axis=-1))


def _apply(g: Graph, kind: str, number: Any, v: str) -> Any:
    size = g("Abs", v)
    allowed = g("LessOrEqual", size, _LARGEST)
    if kind in ("log", "boxcox"):
        allowed = g("And", allowed, g("Greater", v, np.float64(0)))
        v = g("Where", allowed, v, np.float64(1))
        z = g("Log", v)
        if kind == "boxcox" and number:
            z = g("Div", g("Sub", g("Exp", g("Mul", z, number)), np.float64(1)), number)
    else:
        scaled = g("Div", size, number)
        if kind == "asinh":
            scaled = g("Add", scaled, g("Sub", _root(g, scaled), np.float64(1)))
        z = g("Mul", g("Sign", v), g("Log", g("Add", scaled, np.float64(1))))
    return g("Where", allowed, z, NAN)


def _root(g: Graph, v: str) -> str:
    """Return sqrt(1 + v^2)."""
    return str(g("Sqrt", g("Add", g("Mul", v, v), np.float64(1))))


def _invert(g: Graph, kind: str, number: Any, z: str) -> Any:
    one = np.float64(1)
    if kind == "log1p":
        grown = g("Sub", g("Exp", g("Abs", z)), one)
        value = g("Mul", g("Sign", z), g("Mul", grown, number))
    elif kind == "asinh":
        value = g("Mul", g("Sub", g("Exp", z), g("Exp", g("Neg", z))), np.float64(number / 2))
    elif kind == "boxcox" and number:
        base = g("Add", g("Mul", z, number), one)
        inside = g("Greater", base, np.float64(0))
        power = g("Exp", g("Div", g("Log", g("Where", inside, base, one)), number))
        value = g("Where", inside, power, np.float64(0) if number > 0 else _LARGEST)
    else:
        value = g("Exp", z)
    return g("Max", g("Min", value, _LARGEST), -_LARGEST)


class Observed(NamedTuple):
    """Targets as they were last observed, each (steps, rows, targets), in their own units.

    Attributes:
        values: of the steps, NaN where missing and past the end of a row.
        seen: whether a step has one.
        so_far: number of values, int64.
        before: last value before a step, NaN before the first; likewise those that follow.
        after: last value up to a step.
        first: first value of this call.
        end: last value of all steps, (rows, targets).
    """

    values: str
    seen: str
    so_far: str
    before: str
    after: str
    first: str
    end: str

    @classmethod
    def of(cls, g: Graph, values: str, within: str, start: str) -> Observed:
        """Return them for values (steps, rows, targets), and what is known from before, (rows, targets)."""
        values = g("Where", within, values, NAN)
        seen = g("Not", g("IsNaN", values))
        seen_count = g("Cast", seen, to=7)  # int64
        count = g("CumSum", seen_count, np.int64(0))
        # Places 0: what is known from before; 1 to steps: values in turn; the last place takes what is missing.
        shape = g("Shape", values)
        more = g("Add", shape, whole(1, 0, 0))
        table = g("Concat", g("Unsqueeze", start, whole(0)), g("Expand", NAN, more), axis=0)
        last_place = g("Gather", more, np.int64(0), axis=0)
        places = g("Where", seen, count, last_place)
        table = g("ScatterElements", table, places, values, axis=0)
        before = g("GatherElements", table, g("Sub", count, seen_count), axis=0)
        after = g("GatherElements", table, count, axis=0)
        ones = g("Expand", np.int64(1), shape)
        end = g("Gather", after, np.int64(-1), axis=0)
        return cls(values, seen, count, before, after, str(g("GatherElements", table, ones, axis=0)), str(end))


class Placed(NamedTuple):
    """Targets in units of their windows, each (steps, rows, targets).

    Attributes:
        change: since the last observation.
        level: less the mean of the window.
        last: the last observed value, transformed.
        scale: the unit of a forecast.
        recent: last observed values less the first, in units of the training part; NaN before it.
        end: what a session remembers after the steps, (rows, targets, numbers).
    """

    change: str
    level: str
    last: str
    scale: str
    recent: str
    end: str


def windows(g: Graph, encoder: SeriesEncoder, scaler: Scaler, seen: Observed, start: str) -> Placed:
    """Return targets in units of their windows.

    The sums of a window decay once it is full: S_t = kept^{d_t} (S_0 + sum of b_s kept^{-d_s}), where d_t is the
    number of values since then.  Calls of more than 600 windows are out of the range of float64, and give NaN.

    Args:
        g: the graph.
        encoder: of the model.
        scaler: of the model.
        seen: the targets.
        start: what a session remembers, (rows, targets, numbers).
    """
    zero, one = np.float64(0), np.float64(1)
    least, ratio, factor = (np.array(numbers, np.float64) for numbers in scaler.windows)
    targets = len(encoder.targets)
    mean, unit = np.array(scaler.mean[:targets]), np.array(scaler.scale[:targets])
    z, before, last = (transformed(g, encoder, scaler, each) for each in (seen.values, seen.before, seen.after))
    numbers = [g("Gather", start, np.int64(k), axis=-1) for k in range(WINDOW_NUMBERS)]
    new = g("IsNaN", numbers[0])
    origin = g("Where", new, transformed(g, encoder, scaler, seen.first), numbers[0])
    moved_0, size_0, drift_0, count_0 = (g("Where", new, zero, each) for each in numbers[1:])

    change = g("Where", seen.seen, g("Sub", z, g("Where", g("IsNaN", before), z, before)), zero)
    observed = g("Add", g("Cast", seen.so_far, to=11), count_0)  # float64
    rows = np.float64(encoder.window)
    decays = g("Mul", g("Max", g("Sub", observed, rows), zero), np.log(1 - 1 / rows))
    count = g("Min", observed, rows)

    def summed(before_call: str, numbers: str) -> str:
        inflated = g("Mul", g("Where", seen.seen, numbers, zero), g("Exp", g("Neg", decays)))
        return str(g("Mul", g("Exp", decays), g("Add", before_call, g("CumSum", inflated, np.int64(0)))))

    moved, size = summed(moved_0, g("Abs", change)), summed(size_0, g("Abs", z))
    drift = summed(drift_0, g("Sub", z, origin))
    expected = g("Max", g("Mul", g("Div", size, count), ratio), least)
    mean_change = g("Div", g("Add", moved, g("Mul", expected, _PRIOR)), g("Add", count, _PRIOR - one))
    move = g("Max", mean_change, least)
    scale = g("Mul", move, factor)
    above = g("Sub", last, origin)
    nothing = g("Equal", count, zero)
    at_first = factor * np.maximum(least, np.array(scaler.change_scale))

    def known(value: Value, otherwise: Any) -> str:
        return str(g("Where", nothing, otherwise, value))

    end = [g("Unsqueeze", known(each, NAN), whole(-1)) for each in (origin, moved, size, drift, count)]
    return Placed(
        known(g("Div", change, move), zero),
        known(g("Div", g("Sub", above, g("Div", drift, count)), scale), zero),
        known(last, mean),
        known(scale, at_first),
        known(g("Div", above, unit), NAN),
        str(g("Gather", g("Concat", *end, axis=-1), np.int64(-1), axis=0)),
    )
