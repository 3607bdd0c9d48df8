"""Tables as a forecaster reads them: checked against the model, and which series are long enough."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gatewright.data.category_values import with_values
from gatewright.data.table import Series, Table
from gatewright.data.time_zones import LOCAL
from gatewright.data.window_checks import listed
from gatewright.errors import DataError, GatewrightError, SpecError, shorten
from gatewright.spec import FILLS, ModelSpec, QuantileHead, SeriesEncoder
from gatewright.tasks.forecast.target_options import require_counts

if TYPE_CHECKING:
    from gatewright.files.model_file import ModelFile
    from gatewright.nn.model import Model


def forecastable(model: Model | ModelFile, table: Table) -> tuple[Table, list[str]]:
    """Leave out the series that are too short to forecast, where others are long enough.

    Returns:
        The table of the others, or the whole table if there are none; and the names of those left out.
    """
    encoder = model.spec.encoder
    assert isinstance(encoder, SeriesEncoder)
    targets = len(encoder.targets)
    long = [one for one in table.series if rows_observed(one, targets) >= encoder.context]
    if not long:
        return table, []
    short = [one.name for one in table.series if rows_observed(one, targets) < encoder.context]
    return replace(table, series=tuple(long)), short


def late_targets(table: Table, spec: ModelSpec) -> list[str]:
    """Return notes on targets that are missing where a forecast begins: `late_by_note`."""
    return [f"{note}: {listed(names)}" for note, names in late_by_note(table, spec).items()]


def late_by_note(table: Table, spec: ModelSpec) -> dict[str, list[str]]:
    """Return notes on targets that are missing where a forecast begins, and the series of each.

    There is a note where a forecast is the worse for it.  A target without a value in the whole context is read as
    its mean.  A seasonal difference is that of the season
    before the row where the forecast begins, and is added to the last observed value, which may be of an earlier
    row: then the seasonal course is shifted by the rows between the two.
    """
    encoder = spec.encoder
    assert isinstance(encoder, SeriesEncoder)
    targets, notes = len(encoder.targets), dict[str, list[str]]()
    for column, target in enumerate(encoder.targets):
        late, unseen = [], []
        for each in table.series:
            rows = rows_observed(each, targets)
            read = np.isfinite(each.values[max(0, rows - encoder.context) : rows, column])
            if not read.any():
                unseen.append(each.name or "the table")
            elif encoder.seasons and not read[-1]:
                late.append(each.name or "the table")
        if unseen and encoder.reads != "nothing":
            notes[_no_value_in(target, encoder.context)] = unseen
        if late:
            notes[_no_value_in(target)] = late
    return notes


def _no_value_in(target: str, context: int = 0) -> str:
    """Say what a forecast is without a value of a target in its last row, or in the whole context."""
    if context:
        where, result = f"the last {context} rows before", "the model takes the mean of the training part for it"
    else:
        where = "the last row before"
        result = "the seasonal part of the forecast is shifted by the rows since its last value"
    return f"{shorten(target)} has no value in {where} the forecast: {result}; fill it in"


def rows_observed(one: Series, targets: int) -> int:
    """Count the rows up to the last observed target."""
    if len(one.values) and np.isfinite(one.values[-1, :targets]).any():
        return len(one.values)
    observed = np.flatnonzero(np.isfinite(one.values[:, :targets]).any(axis=1))
    return int(observed[-1]) + 1 if len(observed) else 0


def require_context(one: Series, rows: int, encoder: SeriesEncoder) -> None:
    """Require as many rows up to the last observed target as a model reads before a forecast.

    Raises:
        DataError: if there are fewer.
    """
    if rows < encoder.context:
        expected = f"at least {encoder.context} rows up to the last observed target (the model's context)"
        raise DataError(one.title, expected, str(rows))


def require_forecaster(
    model: Model | ModelFile, horizon: int | None, fill: str
) -> tuple[SeriesEncoder, QuantileHead]:
    """Return encoder and head of a model that can forecast so far.

    Raises:
        GatewrightError: see `forecast`.
    """
    encoder, head = model.spec.encoder, model.spec.head
    if not isinstance(encoder, SeriesEncoder) or not isinstance(head, QuantileHead):
        raise SpecError("model", "a forecaster", f"a model with an encoder of kind {encoder.kind!r}")
    if horizon is not None and not 1 <= horizon <= head.horizon:
        hint = f"1 to {head.horizon} steps (to go further, train with a longer --horizon)"
        raise GatewrightError("--horizon", hint, str(horizon))
    if fill not in FILLS:
        raise GatewrightError("--fill", "forward or mean", repr(fill))
    return encoder, head


def fitted(table: Table, encoder: SeriesEncoder, head: QuantileHead) -> Table:
    """Check that a table has the columns, step and counts that a model reads, and number categories as it does.

    Returns:
        The table; values of a category that the model does not know are unknown in it, with a note.

    Raises:
        DataError: if it has other columns or another step, or targets that are none of a head of counts.
    """
    columns = (table.roles.targets, table.roles.past, table.roles.known, table.roles.static)
    needed = (encoder.targets, encoder.past, encoder.known, encoder.static)
    for role, present, required in zip(("target", "past", "known", "static"), columns, needed, strict=True):
        if present != required:
            raise DataError(f"{role} columns", ", ".join(required) or "none", ", ".join(present) or "none")
    if (encoder.calendar or encoder.holidays) and table.clock.zone != encoder.time_zone:
        expected = f"timestamps {_named(encoder.time_zone)}, as in training"
        hint = "" if encoder.time_zone else "; write them without one, on the clock of the training's"
        raise DataError("time", expected, f"timestamps {_named(table.clock.zone)}{hint}")
    if table.step != encoder.step:
        raise DataError("time", f"one row every {encoder.step}, as in training", f"one every {table.step}")
    known = {each.column: each.values for each in encoder.categories}
    for name in encoder.columns[len(encoder.targets) :]:
        if (name in known) != (name in table.categories):
            kinds = ("numbers", "categories") if name in table.categories else ("categories", "numbers")
            raise DataError(f"column {shorten(name)}", f"{kinds[0]}, as in training", kinds[1])
    if head.counts:
        require_counts(table, head.distribution)
    return with_values(table, known)


def _named(zone: str) -> str:
    """Say whose clock a zone stands for."""
    if zone == "":
        return "without a time zone"
    return "that are dates" if zone == LOCAL else f"on the clock of {zone}"
