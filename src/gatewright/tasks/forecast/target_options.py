"""What a person sets for the targets of a table: transforms, their scale, and bounds of their forecasts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatewright.data.split import Parts
from gatewright.data.table import Table
from gatewright.data.target_units import Transform
from gatewright.errors import DataError, GatewrightError, shorten
from gatewright.spec import LARGEST_COUNT
from gatewright.tasks.options import AUTO, DataOptions

#: A bound that no number is beyond: of a target without one, where others have one.
_FREE = sys.float_info.max


@dataclass(frozen=True)
class TargetOptions:
    """Transforms of the targets of a table, their scale, and bounds of their forecasts.

    Attributes:
        transforms: one for each target.
        minimum: lower bound of each target, in its units; empty for none.
        maximum: upper bound, likewise.
        note: which transforms were chosen and why, in a line for a person.
        scale: out of `gatewright.spec.encoders.SCALES`.
        scale_note: likewise of the scale.
    """

    transforms: tuple[Transform, ...] = ()
    minimum: tuple[float, ...] = ()
    maximum: tuple[float, ...] = ()
    note: str = ""
    scale: str = "global"
    scale_note: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the transforms; empty if there are none."""
        names = tuple(each.name for each in self.transforms)
        return names if set(names) != {"none"} else ()


#: Neither transforms nor bounds.
NO_TARGET_OPTIONS = TargetOptions()


def target_options(table: Table, parts: Sequence[Parts], options: DataOptions) -> TargetOptions:
    """Return the options of the targets of a table.

    Args:
        table: the series.
        parts: the parts of each series.
        options: the options; a transform that is to be chosen counts as none, a scale as global.

    Raises:
        GatewrightError: if there are neither one nor as many values as targets.
        DataError: if the training part has a value beyond a bound.
    """
    targets = len(table.roles.targets)
    names = _one_each("--transform", options.transform, targets)
    transforms = tuple(Transform("none") if name == AUTO else Transform.of(name) for name in names)
    minimum, maximum = (
        tuple(free if value == "none" else float(value) + 0.0 for value in _one_each(flag, values, targets))
        for flag, values, free in (("--min", options.min, -_FREE), ("--max", options.max, _FREE))
    )
    for target, (lowest, highest) in enumerate(zip(minimum, maximum, strict=True)):
        if lowest >= highest:
            raise GatewrightError("--max", f"a number above --min {lowest:g}", f"{highest:g}")
        _require_within(table, parts, target, lowest, highest)
    lower, upper = (values if set(map(abs, values)) != {_FREE} else () for values in (minimum, maximum))
    scale = "global" if options.scale in (None, AUTO) else options.scale
    return TargetOptions(transforms, lower, upper, scale=scale)


def bounds_option(bounds: Sequence[float]) -> tuple[str, ...]:
    """Return the bounds of a head as a value of the options ``min`` and ``max``.

    >>> bounds_option((0.0,)), bounds_option(())
    (('0.0',), ('none',))
    """
    return tuple("none" if abs(bound) == _FREE else repr(bound) for bound in bounds) or ("none",)


def _one_each(flag: str, values: Sequence[str] | None, targets: int) -> tuple[str, ...]:
    """Return the values of an option for each target."""
    values = values or ("none",)
    if len(values) not in (1, targets):
        expected = f"one value, or one for each of {targets} targets" if targets > 1 else "one value"
        raise GatewrightError(flag, expected, shorten(tuple(values)))
    return tuple(values) if len(values) == targets else (values[0],) * targets


def _require_within(table: Table, parts: Sequence[Parts], target: int, lowest: float, highest: float) -> None:
    """Refuse bounds that cut off values of the training part: no forecast could be right there."""
    for series, part in zip(table.series, parts, strict=True):
        values = series.values[: part.valid, target]
        rows = np.flatnonzero((values < lowest) | (values > highest))
        if len(rows):
            row = int(rows[0])
            below = values[row] < lowest
            bound = f"at least --min {lowest:g}" if below else f"at most --max {highest:g}"
            place = f"column {shorten(table.roles.targets[target])}, {series.place(row)}"
            raise DataError(place, f"a value of {bound} in the training part", f"{values[row]:g}")


def require_counts(table: Table, head: str) -> None:
    """Check that the targets of a table are whole numbers from 0.

    Args:
        table: the series.
        head: name of the head that forecasts such numbers.

    Raises:
        DataError: names the first other value, and its row.
    """
    for series in table.series:
        values = series.values[:, : len(table.roles.targets)]
        whole = np.isnan(values) | ((values >= 0) & (values <= LARGEST_COUNT) & (values == np.floor(values)))
        if not whole.all():
            row, target = map(int, np.argwhere(~whole)[0])
            place = f"column {shorten(table.roles.targets[target])}, {series.place(row)}"
            expected = f"a whole number from 0 to {LARGEST_COUNT:,.0f}, for --head {head}"
            raise DataError(place, expected, f"{values[row, target]:.12g}")
