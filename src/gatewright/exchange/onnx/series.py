"""A forecaster in an ONNX graph: rows of a table in, quantiles of the next values out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError
from gatewright.exchange.onnx import calendar, distributions, targets
from gatewright.exchange.onnx.graph import Graph, whole
from gatewright.exchange.onnx.stack import Steps
from gatewright.files.model_file import ModelFile
from gatewright.runtime.signature import Signature
from gatewright.spec import QuantileHead, Scaler, SeriesEncoder, seasonal_rows
from gatewright.spec.encoders import WINDOW_NUMBERS

Array = NDArray[Any]
FLOAT, DOUBLE = 1, 11
NAN = np.float64(np.nan)


def refuse(head: QuantileHead, encoder: SeriesEncoder) -> None:
    """Refuse a forecaster that ONNX's operators cannot compute.

    Raises:
        GatewrightError: names the option.
    """
    if head.counts:
        sentence = f"quantiles of {head.distribution} are found by a search, for which ONNX has no operator"
        raise GatewrightError(
            "distribution", "quantiles, or a distribution of other numbers", head.distribution, sentence=sentence
        )
    if encoder.window == 1:
        sentence = "a window of one row has no sums that an ONNX graph could carry on"
        raise GatewrightError("scale", "global, or a context of 2 or more", "window", sentence=sentence)


class Forecaster(NamedTuple):
    """What the encoder leaves for the head, each (steps, rows, targets).

    Attributes:
        level: what outputs are differences from, in their units, float32; "" for none.
        scale: unit of the outputs, float64.
        mean: what their zero stands for, float64.
        seasonal: seasonal differences, (steps, rows, horizon, targets), float32; "" for none.
    """

    level: str
    scale: Any
    mean: Any
    seasonal: str


def encoded(g: Graph, file: ModelFile, steps: Any) -> tuple[str, Forecaster]:
    """Add inputs, states and encoder; return what the first layer reads, and what the head needs.

    Args:
        g: the graph.
        file: a forecaster.
        steps: from the first input to `Steps`.
    """
    assert file.spec.forecaster is not None
    encoder, _ = file.spec.forecaster
    assert file.scaler is not None
    width = Signature.of(file.spec, None).shape[0]
    x = g.input("x", np.float64, "steps", "rows", width)
    rows: Steps = steps(x)
    parts, left = [], Forecaster("", np.array(file.scaler.scale[: len(encoder.targets)]), None, "")
    left = left._replace(mean=np.array(file.scaler.mean[: len(encoder.targets)]))
    if encoder.reads_targets:
        of_targets, left = _targets(g, file, x, rows)
        parts += of_targets
    parts += _inputs(g, file, encoder, file.scaler, x)
    return (parts[0] if len(parts) == 1 else str(g("Concat", *parts, axis=-1))), left


def _targets(g: Graph, file: ModelFile, x: str, rows: Steps) -> tuple[list[str], Forecaster]:
    """Return what is read of targets, and what the head needs of them."""
    assert file.spec.forecaster is not None
    assert file.scaler is not None
    encoder, scaler, K = file.spec.encoder, file.scaler, len(file.spec.encoder.targets)
    assert isinstance(encoder, SeriesEncoder)
    mean, scale = np.array(scaler.mean[:K]), np.array(scaler.scale[:K])
    start = g.input("last0", np.float64, "rows", K)
    values = g("Slice", x, whole(0), whole(K), whole(2))
    seen = targets.Observed.of(g, values, rows.within, start)
    g.output("lastn", seen.end, np.float64, "rows", K)
    if encoder.window:
        before = g.input("window0", np.float64, "rows", K, WINDOW_NUMBERS)
        placed = targets.windows(g, encoder, scaler, seen, before)
        g.output("windown", placed.end, np.float64, "rows", K, WINDOW_NUMBERS)
        change, level, own = placed.change, placed.level, placed.recent
        left = Forecaster("", placed.scale, placed.last, "")
    else:
        z, before_z, after = (
            targets.transformed(g, encoder, scaler, each) for each in (seen.values, seen.before, seen.after)
        )
        change = g("Div", g("Sub", z, before_z), np.array(scaler.change_scale))
        change = g("Where", g("IsNaN", change), np.float64(0), change)
        own = g("Div", g("Sub", after, mean), scale)
        level = g("Where", g("IsNaN", seen.after), np.float64(0), own)
        left = Forecaster(_float(g, level), scale, mean, "")
    if encoder.seasons:
        left = left._replace(seasonal=_seasonal(g, file, _float(g, own), rows, left))
    read = [_float(g, change)] if encoder.reads in ("change", "both") else []
    read += [_float(g, level)] if encoder.reads in ("level", "both") else []
    return [*read, _float(g, seen.seen)], left


def _seasonal(g: Graph, file: ModelFile, own: str, rows: Steps, left: Forecaster) -> str:
    """Return the sums of seasonal differences, times their weights: (steps, rows, horizon, targets)."""
    encoder, horizon = file.spec.encoder, file.spec.head.horizon
    assert isinstance(encoder, SeriesEncoder)
    weights, R, K = file.tensors["season.weight"], encoder.recent, len(encoder.targets)
    start = g.input("recent0", np.float32, "rows", R, K)
    by_time = g("Concat", g("Transpose", start, perm=[1, 0, 2]), own, axis=0)
    shape = g("Shape", own)
    count = g("Gather", shape, np.int64(0), axis=0)

    def back(steps: int) -> str:
        """Return the targets of earlier steps, at a distance from each step."""
        first = whole(R - steps)
        return str(g("Slice", by_time, first, g("Add", first, g("Unsqueeze", count, whole(0))), whole(0)))

    # The last rows of each: those up to its end.
    places = g("Add", g("Unsqueeze", rows.lengths, whole(0)), np.arange(R)[:, None])
    places = g("Unsqueeze", places, whole(2))
    to = g("Concat", whole(R), g("Slice", shape, whole(1), whole(3), whole(0)), axis=0)
    end = g("GatherElements", by_time, g("Expand", places, to), axis=0)
    g.output("recentn", g("Transpose", end, perm=[1, 0, 2]), np.float32, "rows", R, K)

    total = None
    for number, season in enumerate(encoder.seasons):
        before = back(season)
        ahead = []
        for j, place in enumerate(seasonal_rows(season, horizon)):
            difference = g("Sub", back(-place), before)
            if encoder.window:
                unit = g("Div", left_scale(file), left.scale)
                difference = _float(g, g("Mul", g("Cast", difference, to=DOUBLE), unit))
            difference = g("Where", g("IsNaN", before), np.float32(0), difference)
            ahead.append(g("Unsqueeze", g("Mul", difference, weights[number, j]), whole(2)))
        of_season = g("Concat", *ahead, axis=2)
        total = of_season if total is None else g("Add", total, of_season)
    return str(total)


def left_scale(file: ModelFile) -> Array:
    """Return the scale of targets in the training part."""
    assert file.scaler is not None
    return np.array(file.scaler.scale[: len(file.spec.encoder.targets)])


def _float(g: Graph, value: str) -> str:
    return str(g("Cast", value, to=FLOAT))


def _inputs(g: Graph, file: ModelFile, encoder: SeriesEncoder, scaler: Scaler, x: str) -> list[str]:
    """Return what is read of the inputs, in the order of the encoder."""
    parts: list[str] = []
    categories = {each.column: k for k, each in enumerate(encoder.categories)}
    place = len(encoder.targets)
    horizon = file.spec.head.horizon
    mean, scale = np.array(scaler.mean), np.array(scaler.scale)

    def read(name: str, values: str, count: int) -> None:
        column = scaler.columns.index(name)
        if name in categories:
            parts.append(vectors(g, file, categories[name], values, count))
        else:
            parts.append(_float(g, g("Div", g("Sub", values, mean[column]), scale[column])))

    for number, name in enumerate((*encoder.past, *encoder.static, *encoder.known_in_table)):
        if number == len(encoder.past) + len(encoder.static):
            parts += _phases(g, encoder)
        count = 1 if number < len(encoder.past) + len(encoder.static) else horizon
        read(name, g("Slice", x, whole(place), whole(place + count), whole(2)), count)
        place += count
    if not encoder.known_in_table:
        parts += _phases(g, encoder)
    if encoder.holidays:
        width = len(encoder.holidays) * horizon
        given = g.input("holidays", np.float64, "steps", "rows", width)
        for k, name in enumerate(encoder.known[-len(encoder.holidays) :]):
            read(name, g("Slice", given, whole(k * horizon), whole((k + 1) * horizon), whole(2)), horizon)
    return parts


def _phases(g: Graph, encoder: SeriesEncoder) -> list[str]:
    if not encoder.calendar:
        return []
    return [_float(g, calendar.waves(g, g.input("time", np.int64, "steps", "rows"), encoder.calendar))]


def vectors(g: Graph, file: ModelFile, number: int, indices: str, count: int) -> str:
    """Return the vectors of categories, (steps, rows, count * size), by their indices (steps, rows, count)."""
    table = file.tensors[f"encoder.category.{number}.weight"]
    found = g("Gather", table, g("Cast", indices, to=7), axis=0)
    return str(g("Reshape", found, whole(0, 0, count * table.shape[1])))


def output(g: Graph, file: ModelFile, y: str, left: Forecaster, steps: Steps) -> None:
    """Add the head, and the forecasts in the units of the targets: (steps, rows, horizon, targets, quantiles).

    Args:
        g: the graph.
        file: a forecaster.
        y: output of the head, (steps, rows, outputs).
        left: what the encoder left.
        steps: which rows have.
    """
    assert file.spec.forecaster is not None
    assert file.scaler is not None
    encoder, head = file.spec.forecaster
    h, K, count = head.horizon, len(encoder.targets), len(head.output_names)
    outputs = g("Reshape", y, whole(0, 0, h, K, count))
    moved = outputs if head.moved == count else g("Slice", outputs, whole(0), whole(head.moved), whole(4))
    if left.seasonal:
        moved = g("Add", moved, g("Unsqueeze", left.seasonal, whole(4)))
    if left.level:
        moved = g("Add", moved, g("Unsqueeze", left.level, whole(2, 4)))
    if head.family is None:
        sorted_values, _ = g("TopK", moved, whole(count), outputs=2, axis=-1, largest=0)
        values = g("Cast", sorted_values, to=DOUBLE)
    else:
        values = distributions.quantiles(g, head, moved, outputs)
    scale, mean = (_next_to_quantiles(g, each) for each in (left.scale, left.mean))
    values = g("Add", g("Mul", values, scale), mean)
    if encoder.transform:
        by_target = g("Transpose", values, perm=[0, 1, 2, 4, 3])
        by_target = targets.inverted(g, encoder, file.scaler, by_target)
        values = g("Transpose", by_target, perm=[0, 1, 2, 4, 3])
    if head.minimum:
        values = g("Max", values, np.array(head.minimum)[:, None])
    if head.maximum:
        values = g("Min", values, np.array(head.maximum)[:, None])
    values = g("Where", g("Unsqueeze", steps.within, whole(3, 4)), values, NAN)
    g.output("forecast", values, np.float64, "steps", "rows", h, K, len(head.quantiles))


def _next_to_quantiles(g: Graph, value: Any) -> Any:
    """Return numbers of targets next to (steps, rows, horizon, targets, quantiles)."""
    return g("Unsqueeze", value, whole(2, 4)) if isinstance(value, str) else value[:, None]
