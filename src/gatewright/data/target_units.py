"""The units of a forecaster's targets: transforms, from the table's units to those of the scaler and back.

The native module computes transforms, here and in streams: NumPy's vectorised logarithm has other last bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.data.time_series import Series
from gatewright.errors import DataError, GatewrightError, shorten
from gatewright.spec import TRANSFORMS, QuantileHead, Scaler, SeriesEncoder

Values = NDArray[np.float64]

#: Transforms that take numbers above 0 alone.
POSITIVE = ("log", "boxcox")

#: Transforms with a number, and what it may be.
NUMBERS = {"boxcox": "a power from -2 to 2", "log1p": "a unit above 0", "asinh": "a unit above 0"}

#: Largest value that is transformed.
LARGEST = 1e38

#: Powers of Box and Cox that are tried.
POWERS = tuple(np.round(np.arange(-1.0, 2.05, 0.1), 1))


class Transform(NamedTuple):
    """A transform of a target.

    Attributes:
        name: out of `gatewright.spec.TRANSFORMS`.
        number: power of "boxcox", unit of "log1p" and "asinh"; None to find it in the training part.
    """

    name: str
    number: float | None = None

    @classmethod
    def of(cls, text: str) -> Transform:
        """Read ``NAME`` or ``NAME:NUMBER``.

        Raises:
            GatewrightError: if it is neither.

        >>> Transform.of("boxcox:0.5")
        Transform(name='boxcox', number=0.5)
        """
        name, colon, rest = text.partition(":")
        expected = f"one of {', '.join(TRANSFORMS)}"
        if name not in TRANSFORMS:
            raise GatewrightError("--transform", expected, shorten(text))
        if not colon:
            return cls(name)
        if name not in NUMBERS:
            raise GatewrightError("--transform", f"{name} without a number", shorten(text))
        try:
            number = float(rest)
        except ValueError:
            number = math.nan
        good = abs(number) <= 2 if name == "boxcox" else 0 < number <= LARGEST
        if not good:
            raise GatewrightError("--transform", f"{name}: and {NUMBERS[name]}", shorten(text))
        return cls(name, number)

    def __str__(self) -> str:
        return self.name if self.number is None or self.name not in NUMBERS else f"{self.name}:{self.number!r}"


def fitted_number(transform: Transform, series: Sequence[Values], season: int) -> float:
    """Return the number of a transform for the values of a target.

    The power of "boxcox" is that of Guerrero (1993); the unit of "log1p" and "asinh" the median of what is not 0.

    Args:
        transform: the transform.
        series: of each series, its values in the training part, NaN where missing.
        season: rows that are compared by the method of Guerrero.

    >>> fitted_number(Transform("log1p"), [np.array([0.0, 1.0, -3.0, np.nan])], 2)
    2.0
    """
    if transform.number is not None:
        return transform.number
    if transform.name == "boxcox":
        return guerrero(series, season)
    if transform.name in ("log1p", "asinh"):
        sizes = np.abs(np.concatenate(series))
        return float(np.median(sizes[sizes > 0]))
    return 0.0


def guerrero(series: Sequence[Values], season: int) -> float:
    """Return the power whose Box-Cox transform makes deviations independent of the level (Guerrero 1993).

    Args:
        series: of each series, its values, all above 0, NaN where missing.
        season: rows of a piece whose mean and deviation are compared; at least 2 are taken.

    >>> level = np.repeat(2.0 ** np.arange(8), 4)
    >>> guerrero([level * np.tile([1.0, 1.1, 0.9, 1.2], 8)], 4)  # in proportion to the level: the logarithm
    0.0
    """
    pairs = [levels_and_deviations(values, season) for values in series]
    pairs = [(level, deviation) for level, deviation in pairs if len(level) > 1]
    if not pairs:
        return 1.0
    spreads = []
    observed = np.concatenate(series)
    observed = observed[np.isfinite(observed)]
    for power in POWERS:
        if not is_precise(observed, Transform("boxcox", float(power))):
            spreads.append(np.inf)
            continue
        of_series = []
        for level, deviation in pairs:
            ratios = deviation / level ** (1 - power)
            of_series.append(float(ratios.std() / ratios.mean()) if ratios.mean() > 0 else 0.0)
        spreads.append(float(np.mean(of_series)))
    return float(POWERS[int(np.argmin(spreads))]) + 0.0  # not -0.0


def levels_and_deviations(values: Values, season: int) -> tuple[Values, Values]:
    """Return mean and standard deviation of each piece of a series, of those that are observed in full."""
    length = max(2, season)
    pieces = values[len(values) % length :].reshape(-1, length)
    pieces = pieces[np.isfinite(pieces).all(axis=1)]
    return pieces.mean(axis=1), pieces.std(axis=1, ddof=1)


def transformed(values: Values, encoder: SeriesEncoder, scaler: Scaler) -> Values:
    """Return targets by their transforms: NaN where one is missing, or its transform does not allow it.

    Args:
        values: the targets, in the table's units (rows, targets).
        encoder: of the model.
        scaler: of the model.
    """
    if not encoder.transform:
        return values
    return _by_native(values, encoder.transform, scaler.transform_number, inverse=False)


@np.errstate(divide="ignore", invalid="ignore")
def log_slope(values: Values, encoder: SeriesEncoder, scaler: Scaler) -> Values:
    """Return the logarithm of the derivative of the transforms, at targets in table units (rows, targets)."""
    slope = np.zeros_like(values)
    for column, (name, number) in enumerate(zip(encoder.transform, scaler.transform_number, strict=True)):
        size = np.abs(values[:, column])
        if name == "log":
            slope[:, column] = -np.log(size)
        elif name == "log1p":
            slope[:, column] = -np.log(number + size)
        elif name == "asinh":
            slope[:, column] = -np.log(np.hypot(number, size))
        elif name == "boxcox":
            slope[:, column] = (number - 1) * np.log(size)
    return slope


def by_transforms(values: Values, transforms: Sequence[Transform]) -> Values:
    """Return the columns of ``values`` (rows, columns), each by a transform that has its number."""
    names, numbers = [each.name for each in transforms], [each.number or 0.0 for each in transforms]
    return _by_native(values, names, numbers, inverse=False)


def in_table_units(z: Values, encoder: SeriesEncoder, scaler: Scaler, head: QuantileHead) -> Values:
    """Return forecasts in the table's units, within their bounds, from transformed ones; always finite.

    Args:
        z: (..., targets, quantiles).
        encoder: of the model.
        scaler: of the model.
        head: of the model.
    """
    if encoder.transform:
        columns = np.moveaxis(z, -2, -1)
        flat = columns.reshape(-1, columns.shape[-1])
        back = _by_native(flat, encoder.transform, scaler.transform_number, inverse=True)
        z = np.ascontiguousarray(np.moveaxis(back.reshape(columns.shape), -1, -2))
    if head.minimum:
        z = np.maximum(z, np.array(head.minimum)[:, None])
    return np.minimum(z, np.array(head.maximum)[:, None]) if head.maximum else z


def quantiles_of(
    outputs: NDArray[np.float32],
    head: QuantileHead,
    scaler: Scaler,
    levels: Sequence[float],
    first: int = 0,
) -> Values:
    """Return quantiles of forecasts at any levels, from the outputs of a head with distributions.

    Args:
        outputs: (..., targets, outputs), float32.
        head: of the model.
        scaler: of the model.
        levels: between 0 and 1, rising.
        first: number of the first of these targets, of those that the model has.

    Returns:
        (..., targets, levels): in the scaler's units, or for whole numbers in those of the table.
    """
    from gatewright.native_module import _kernels  # the command line shows its help without it

    assert head.family is not None
    *leading, targets, size = outputs.shape
    flat = np.ascontiguousarray(outputs.reshape(-1, targets, size), np.float32)
    units = list(scaler.scale[first : first + targets])
    result: Values = _kernels.quantiles(flat, head.family.number, list(levels), units)
    return result.reshape(*leading, targets, len(levels))


def means(encoder: SeriesEncoder, scaler: Scaler, head: QuantileHead) -> Values:
    """Return the mean of each target's transformed values in the training part, in the table's units."""
    mean = np.array(scaler.mean[: len(encoder.targets)])
    return in_table_units(mean[:, None], encoder, scaler, head)[:, 0]


def _by_native(values: Values, names: Sequence[str], numbers: Sequence[float], *, inverse: bool) -> Values:
    from gatewright.native_module import _kernels  # the command line shows its help without it

    kinds = [TRANSFORMS.index(name) for name in names]
    result: Values = _kernels.transform(np.ascontiguousarray(values, np.float64), kinds, list(numbers), inverse)
    return result


def is_precise(observed: Values, transform: Transform) -> bool:
    """Say whether a transform and its inverse give values back, but for little of their spread.

    A power of Box and Cox does not where it is lost next to the 1 that is subtracted from it: x² of 1e-9.

    >>> is_precise(np.array([1.0, 2.0]), Transform("boxcox", 2.0))
    True
    >>> is_precise(np.array([1e-9, 2e-9]), Transform("boxcox", 2.0))
    False
    """
    there = by_transforms(observed[:, None], [transform])
    back = _by_native(there, [transform.name], [transform.number or 0.0], inverse=True)[:, 0]
    if not bool((np.abs(there) <= LARGEST).all()):
        return False
    return bool(np.abs(back - observed).max() <= _LOST * observed.std())


#: Maximum error of a transform and its inverse, in standard deviations of the values.
_LOST = 1e-4


def require_precise(observed: Values, transform: Transform, target: str) -> None:
    """Check that a transform does not lose the values of the training part in rounding.

    Args:
        observed: the values (n,).
        transform: with its number.
        target: name of the column.

    Raises:
        DataError: if it does; names what takes such values.
    """
    if not is_precise(observed, transform):
        expected = f"values that --transform {transform.name}:{transform.number:g} can tell apart"
        size = float(np.median(np.abs(observed)))
        remedy = "log takes them, boxcox finds a power that does, and so does another unit of the column"
        raise DataError(f"column {shorten(target)}", expected, f"values of about {size:.1g}; {remedy}")


def require_allowed(series: Series, names: Sequence[str], targets: Sequence[str]) -> None:
    """Check that the transforms allow all values of the targets of a series.

    Args:
        series: the series, the targets first.
        names: of the transforms, one for each target, or none.
        targets: names of the targets.

    Raises:
        DataError: names the first value that is not allowed, and its row.
    """
    for column, name in enumerate(names):
        if name == "none":
            continue
        values = series.values[:, column]
        refused = np.abs(values) > LARGEST
        if name in POSITIVE:
            refused |= values <= 0
        rows = np.flatnonzero(refused)
        if not len(rows):
            continue
        row = int(rows[0])
        expected = f"a value from -{LARGEST:g} to {LARGEST:g}, for --transform {name}"
        if name in POSITIVE:
            expected = f"a value above 0, for --transform {name} (log1p and asinh take all numbers)"
        place = f"column {shorten(targets[column])}, {series.place(row)}"
        raise DataError(place, expected, f"{values[row]:g}")
