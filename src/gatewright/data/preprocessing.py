"""Preprocessing of checked series for a forecaster: scaled, filled, windowed.

A window is named by its origin, the last row that the model reads.  It covers rows origin-context+1 ... origin;
the values to forecast follow at origin+1 ... origin+horizon.

A window sees its own rows only, like a `gatewright.Stream` that begins with its first row: a value carried forward
from before the window counts as never observed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.data import frequency, window_scale
from gatewright.data.split import Parts
from gatewright.data.table import Series, Table
from gatewright.data.target_units import (
    LARGEST,
    Transform,
    by_transforms,
    fitted_number,
    require_allowed,
    require_precise,
    transformed,
)
from gatewright.errors import DataError, shorten
from gatewright.spec import Scaler, SeriesEncoder

#: Maximum of standard deviations that leaves float32 room to compute with.
FARTHEST = 1e20


def fit_scaler(
    table: Table,
    parts: Sequence[Parts],
    transforms: Sequence[Transform] = (),
    season: int = 1,
    *,
    window: bool = False,
) -> Scaler:
    """Return the mean and standard deviation of every column in the training parts.

    Args:
        table: the series.
        parts: the parts of each series.
        transforms: of the targets, which the numbers are those of then; one each, or none at all.
        season: rows in a season, for transforms whose number is to be found.
        window: whether the targets have the scale of a window.

    Raises:
        DataError: if a column does not vary there, or a transform does not allow a value.
    """
    columns, targets = table.roles.columns, len(table.roles.targets)
    training = [each.values[: part.valid] for each, part in zip(table.series, parts, strict=True)]
    numbers, deviation = [], []
    if transforms:
        for each in table.series:
            require_allowed(each, [transform.name for transform in transforms], table.roles.targets)
        for column, transform in enumerate(transforms):
            own = [values[:, column] for values in training]
            observed = np.concatenate(own)
            observed = observed[np.isfinite(observed)]
            _require_varying(observed, table.roles.targets[column])
            numbers.append(fitted_number(transform, own, season))
            require_precise(observed, Transform(transform.name, numbers[-1]), table.roles.targets[column])
            deviation.append(float(observed.std()))
        fitted = [Transform(each.name, number) for each, number in zip(transforms, numbers, strict=True)]
        training = [
            np.concatenate([by_transforms(values[:, :targets], fitted), values[:, targets:]], axis=1)
            for values in training
        ]
    rows = np.concatenate(training)
    changes = np.concatenate([_changes(values[:, :targets]) for values in training])
    mean, scale = [], []
    for column, name in zip(rows.T, columns, strict=True):
        if name in table.categories:  # whose indices are read as they are
            mean.append(0.0)
            scale.append(1.0)
            continue
        observed = column[np.isfinite(column)]
        _require_varying(observed, name)
        mean.append(float(observed.mean()))
        scale.append(float(observed.std()))
    change_scale = [_change_scale(*pair) for pair in zip(changes.T, scale[:targets], strict=True)]
    windows: tuple[tuple[float, ...], ...] = ()
    if window:
        windows = window_scale.fitted([values[:, :targets] for values in training], scale[:targets])
    moments = (tuple(mean), tuple(scale), tuple(change_scale))
    return Scaler(columns, *moments, tuple(numbers), tuple(deviation), *windows)


def _require_varying(observed: NDArray[np.float64], name: str) -> None:
    """Refuse a column without observed values that differ."""
    if len(observed) == 0:
        raise DataError(f"column {shorten(name)}", "numbers in the training part", "none")
    if not _varies(observed):
        low, high = float(observed.min()), float(observed.max())
        close = f"numbers from {low!r} to {high!r}, which differ too little for their size; subtract a constant"
        got = f"{low:g} in every row of it" if low == high else close
        raise DataError(f"column {shorten(name)}", "values that vary in the training part", got)


def _varies(observed: NDArray[np.float64]) -> bool:
    """Say whether values differ by more than rounding."""
    return float(observed.std()) > 1e-12 * float(np.abs(observed).max())


def leave_out_constants(table: Table, parts: Sequence[Parts]) -> tuple[Table, tuple[str, ...]]:
    """Leave out the inputs that carry no information, since they do not vary in the training part.

    Returns:
        The table without them, and a line for the user on each.
    """
    targets = len(table.roles.targets)
    indices, notes = list(range(targets)), []
    for index, name in enumerate(table.roles.columns[targets:], start=targets):
        training, later = (
            np.concatenate(
                [each.values[where(part), index] for each, part in zip(table.series, parts, strict=True)]
            )
            for where in (lambda part: slice(part.valid), lambda part: slice(part.valid, None))
        )
        observed, after = training[np.isfinite(training)], later[np.isfinite(later)]
        values = table.categories.get(name)
        # A category that is missing in some rows varies: unknown is a value, too.
        if len(observed) and (_varies(observed) or (values is not None and len(observed) < len(training))):
            indices.append(index)
            continue
        shown = (
            "" if not len(observed) else f"{observed[0]:.6g}" if values is None else values[int(observed[0]) - 1]
        )
        always = f"{shown} in every row of" if len(observed) else "without a value in"
        if len(observed) and observed.min() < observed.max():
            always = "numbers that differ too little for their size in"
            after = after if _varies(np.concatenate([observed, after])) else after[:0]
        varies = len(after) > 0 and (not len(observed) or bool((after != observed[0]).any()))
        but = ", though not after it" if varies else ""
        notes.append(f"left out, {always} the training part{but}: {name}")
    if not notes:
        return table, ()
    names = {table.roles.columns[index] for index in indices}
    old = table.roles
    past, known, static = (
        tuple(name for name in role if name in names) for role in (old.past, old.known, old.static)
    )
    roles = replace(old, past=past, known=known, static=static)
    series = tuple(replace(each, values=each.values[:, indices]) for each in table.series)
    categories = {name: values for name, values in table.categories.items() if name in names}
    return replace(table, roles=roles, series=series, categories=categories), tuple(notes)


def _change_scale(changes: NDArray[np.float64], scale: float) -> float:
    """Return the standard deviation of the changes of a target; that of its level if they are all equal."""
    observed = changes[np.isfinite(changes)]
    deviation = float(observed.std()) if len(observed) else 0.0
    return deviation if deviation > 1e-12 * scale else scale


def _changes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the change of each value since the last observation; NaN without one."""
    before = np.concatenate([np.full_like(values[:1], np.nan), last_observed(values)[:-1]])
    return values - before


def last_observed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Carry the last observed value of each column forward over missing ones.

    >>> last_observed(np.array([[np.nan], [1.0], [np.nan], [2.0]])).ravel()
    array([nan,  1.,  1.,  2.])
    """
    if np.isfinite(values).all():
        return values.copy()
    return np.take_along_axis(values, _last_observed_rows(values), axis=0)


def _last_observed_rows(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the row of the last observed value of each column; 0 before the first."""
    rows = np.arange(len(values))[:, None]
    return np.maximum.accumulate(np.where(np.isfinite(values), rows, 0), axis=0)


def _ages(values: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the number of rows since the last observed value of each column.

    >>> _ages(np.array([[np.nan], [1.0], [np.nan], [2.0]])).ravel()
    array([0, 0, 1, 0], dtype=int32)
    """
    return (np.arange(len(values))[:, None] - _last_observed_rows(values)).astype(np.int32)


@dataclass(frozen=True)
class Encoded:
    """A series as the numbers that a model reads, float32, in units of the scaler.

    A value that is carried forward has an age, int32: the number of rows since its own.  A window that begins
    later than that row reads 0 in its place.

    Attributes:
        inputs: (rows, columns) the columns that `SeriesEncoder` lists before the inputs known in advance.  A
            category is its index, and 0 where it is missing.
        known: (rows, known) the inputs known in advance for the row itself.
        level: (rows, targets) the targets as last observed; 0 before the first.
        target: (rows, targets) the targets, NaN where missing.
        input_ages: (rows, columns) ages of the inputs.
        known_ages: (rows, known) ages of the inputs known in advance.
        level_ages: (rows, targets) ages of the level.
        transformed: (rows, targets) the targets by their transforms, float64, NaN where missing: with the scale of
            a window, change and level are of these.
    """

    inputs: NDArray[np.float32]
    known: NDArray[np.float32]
    level: NDArray[np.float32]
    target: NDArray[np.float32]
    input_ages: NDArray[np.int32]
    known_ages: NDArray[np.int32]
    level_ages: NDArray[np.int32]
    transformed: NDArray[np.float64]


def encode(series: Series, encoder: SeriesEncoder, scaler: Scaler, fill: str = "") -> Encoded:
    """Return a series as the numbers of `SeriesEncoder`, in the order of its docstring: categories as indices.

    Raises:
        DataError: if the encoder reads a calendar and the series has no timestamps, a value is too far from those
            of the training part, or a transform does not allow it.
    """
    targets, past, known = len(encoder.targets), len(encoder.past), len(encoder.known)
    require_allowed(series, encoder.transform, encoder.targets)
    own = transformed(series.values[:, :targets], encoder, scaler)
    values = np.concatenate([own, series.values[:, targets:]], axis=1) if encoder.transform else series.values
    scaled = (values - scaler.mean) / scaler.scale
    _check_range(series, scaled, encoder.columns)
    if encoder.window:
        _check_size(series, own, encoder)
    target, inputs, input_ages = scaled[:, :targets], *_filled(scaled[:, targets:], fill)
    level, level_ages = np.nan_to_num(last_observed(target)), _ages(target)
    columns, ages = [], []
    if encoder.reads in ("change", "both"):
        columns.append(np.nan_to_num(_changes(own) / scaler.change_scale))
        # A change is as old as the value before it.
        ages.append(np.concatenate([np.zeros_like(level_ages[:1]), level_ages[:-1] + 1]))
    if encoder.reads in ("level", "both"):
        columns.append(level)
        ages.append(level_ages)
    if encoder.reads != "nothing":
        columns.append(np.isfinite(target))
        ages.append(np.zeros_like(level_ages))
    columns += [inputs[:, :past], inputs[:, past + known :]]
    ages += [input_ages[:, :past], input_ages[:, past + known :]]
    if encoder.calendar:
        if series.times is None:
            raise DataError("time", f"timestamps, for {', '.join(encoder.calendar)}", "a table without any")
        phases = frequency.calendar(series.clock.local(series.times), encoder.calendar)
        columns.append(phases)
        ages.append(np.zeros(phases.shape, np.int32))
    return Encoded(
        inputs=np.concatenate(columns, axis=1, dtype=np.float32),
        known=inputs[:, past : past + known].astype(np.float32),
        level=level.astype(np.float32),
        target=target.astype(np.float32),
        input_ages=np.concatenate(ages, axis=1),
        known_ages=input_ages[:, past : past + known],
        level_ages=level_ages,
        transformed=own,
    )


def _check_range(series: Series, scaled: NDArray[np.float64], columns: Sequence[str]) -> None:
    """Refuse values that would become infinite in float32, and count as missing in the loss."""
    expected = f"a value within {FARTHEST:g} standard deviations of the training part"
    refuse_first(np.abs(scaled) > FARTHEST, series.values, columns, series.place, expected)


def _check_size(series: Series, own: NDArray[np.float64], encoder: SeriesEncoder) -> None:
    """Refuse targets whose sums over a window could become infinite."""
    expected = f"a value from -{LARGEST:g} to {LARGEST:g}, for --scale window"
    refuse_first(np.abs(own) > LARGEST, series.values, encoder.targets, series.place, expected)


def refuse_first(
    wrong: NDArray[np.bool_], values: NDArray[np.float64], columns: Sequence[str], place: Callable[[int], str],
    expected: str,
) -> None:  # fmt: skip
    """Refuse the first of the values that are wrong, if any is.

    Args:
        wrong: which values are (rows, columns).
        values: rows of at least these columns.
        columns: their names.
        place: names a row.
        expected: for the error.

    Raises:
        DataError: if one is wrong.
    """
    found = np.argwhere(wrong)
    if len(found):
        row, column = map(int, found[0])
        got = "nothing" if np.isnan(values[row, column]) else f"{values[row, column]:g}"
        raise DataError(f"column {shorten(columns[column])}, {place(row)}", expected, got)


def _filled(scaled: NDArray[np.float64], fill: str) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Fill missing inputs with the last value, or with the mean of the training part, which is 0 here.

    Returns:
        The inputs, and their ages.
    """
    if fill == "forward":
        return np.nan_to_num(last_observed(scaled)), _ages(scaled)
    return np.nan_to_num(scaled), np.zeros(scaled.shape, np.int32)


def origins(
    target: NDArray[np.floating[Any]], context: int, horizon: int, start: int, end: int, supervised: int = 1
) -> NDArray[np.int64]:
    """Return the origins of windows whose forecasts fall into rows [start, end) with an observed target there.

    Args:
        target: (rows, targets), NaN where missing.
        context: rows that a window reads.
        horizon: rows that follow it.
        start: first row that may be forecast.
        end: row after the last that may be forecast.
        supervised: number of rows at the end of the window that each make a forecast; at most ``context``.

    >>> origins(np.zeros((10, 1), np.float32), context=3, horizon=2, start=6, end=10)
    array([5, 6, 7])
    """
    first = max(context - 1, start + supervised - 2)
    candidates = np.arange(first, end - horizon, dtype=np.int64)
    observed = np.concatenate([[0], np.cumsum(np.isfinite(target).any(axis=1))])
    return candidates[observed[candidates + horizon + 1] > observed[candidates - supervised + 2]]
