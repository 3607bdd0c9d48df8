"""Columns of a row in C99: numbers in their scaler's units, categories as vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gatewright.exchange.c99.source import Source
from gatewright.spec import Category, ModelSpec, Scaler

#: Largest error of a number of a row as a float, in units of its scale and of its changes.
_LARGEST_ERROR = 1e-5

#: Standard deviations from the mean that values are expected within.
_SPREAD = 4

#: Size of numbers that a float still has room for.
_LARGEST = 1e30

_IN_RANGE = """\
/* Whether a number is finite, and leaves float room to compute with. */
static int in_range($number z)
{
    return z >= -1e20$f && z <= 1e20$f;
}
"""

_SCALED = """\
/* Reads a number in units of its column; 0 for one that is out of range. */
static int scaled($number value, int column, float* x)
{
    const $number z = (value - column_mean[column]) / column_scale[column];
    *x = (float)z;
    return in_range(z);
}
"""

_CATEGORY = """\
/* Reads the vector of a category; 0 for a number that is no index of one. */
static int category($number value, int32_t count, int size, const float* vectors, float* x)
{
    if (!(value >= 0.0$f && value < ($number)count)) return 0;
    const int32_t index = (int32_t)value;
    for (int k = 0; k < size; ++k) x[k] = vectors[index * size + k];
    return ($number)index == value;
}
"""


def number_type(scaler: Scaler, spec: ModelSpec) -> str:
    """Return the type of a row's numbers: float where that is as good as double, else double.

    A float has 24 bits.  Where values are far from 0 and vary little, they are lost in its rounding; so are the
    sums of the scale of a window.

    >>> from gatewright.spec import FeatureEncoder, StackSpec, StepClassHead
    >>> spec = ModelSpec(FeatureEncoder(("t",)), StackSpec(4), StepClassHead(("a", "b")))
    >>> celsius, pascal = (Scaler(("t",), (mean,), (9.0,), ()) for mean in (15.0, 101_300_000.0))
    >>> number_type(celsius, spec), number_type(pascal, spec)
    ('float', 'double')
    """
    bounds = [] if spec.forecaster is None else [*spec.forecaster[1].minimum, *spec.forecaster[1].maximum]
    if spec.encoder.window or any(abs(bound) > _LARGEST for bound in bounds):
        return "double"
    targets = len(scaler.change_scale)
    least = [*map(min, scaler.scale[:targets], scaler.change_scale), *scaler.scale[targets:]]
    for mean, scale, unit in zip(scaler.mean, scaler.scale, least, strict=True):
        size = abs(mean) + _SPREAD * scale
        if size > math.ldexp(_LARGEST_ERROR, 24) * unit or size > _LARGEST or unit < 1 / _LARGEST:
            return "double"
    return "float"


def add_checks(source: Source) -> None:
    """Add the function that checks a number."""
    source.function(_IN_RANGE, number=source.number, f=source.suffix)


def add_numbers(source: Source, mean: Sequence[float], scale: Sequence[float]) -> None:
    """Add means and scales of the columns that are read as numbers, and the function that reads one."""
    source.numbers("column_mean", mean)
    source.numbers("column_scale", scale)
    source.function(_SCALED, number=source.number)


def add_vectors(source: Source, number: int, vectors: np.ndarray) -> None:
    """Add the vectors of a category, and with the first the function that reads one."""
    source.weights(f"category_{number}", vectors)
    if number == 0:
        source.function(_CATEGORY, number=source.number, f=source.suffix)


def reads_category(number: int, category: Category, place: str, x: str) -> str:
    """Return the statement that reads a category, or ends the step."""
    sizes = f"{category.count}, {category.size}, &category_{number}[0][0]"
    return f"if (!category(row[{place}], {sizes}, &x[{x}])) return MODEL_NO_CATEGORY;"


def reads_number(place: str, column: str, x: str) -> str:
    """Return the statement that reads a number, or ends the step."""
    return f"if (!scaled(row[{place}], {column}, &x[{x}])) return MODEL_NOT_FINITE;"


def plus(first: int, index: str) -> str:
    """Return an index from a first place on.

    >>> plus(0, "k"), plus(3, "k")
    ('k', '3 + k')
    """
    return f"{first} + {index}" if first else index
