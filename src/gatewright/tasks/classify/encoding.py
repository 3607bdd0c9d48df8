"""What a classifier or a tagger reads of sequences: which columns, in which form."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gatewright.data.preprocessing import FARTHEST, refuse_first
from gatewright.data.sequence_categories import as_known, values_of_training
from gatewright.data.sequences import Sequences
from gatewright.errors import DataError, shorten
from gatewright.spec import NO_CATEGORY, FeatureEncoder, Scaler
from gatewright.tasks.category_sizes import categories_of
from gatewright.tasks.options import DataOptions, ModelOptions, Options


def as_read_by(encoder: FeatureEncoder, options: DataOptions) -> DataOptions:
    """Return options with the columns that a model reads."""
    category = (NO_CATEGORY, *(each.column for each in encoder.categories))
    return replace(options, features=encoder.columns, category=category)


def sized(encoder: FeatureEncoder, options: Options) -> FeatureEncoder:
    """Return an encoder with vectors of the widths that options set (`categories_of`)."""
    values = {each.column: each.values for each in encoder.categories}
    return replace(encoder, categories=categories_of(values, options.model))


def encode(
    sequences: Sequences, encoder: FeatureEncoder, scaler: Scaler, fill: str = ""
) -> list[NDArray[np.float32]]:
    """Return the rows that a model reads of each sequence, (T, D), in the order of `FeatureEncoder`.

    A category is the index of its value among those that the model knows.

    Args:
        sequences: with the columns of the encoder, and perhaps others.
        encoder: the columns.
        scaler: their mean and scale.
        fill: "mean" to read missing values as the mean also where the training part had none; "" refuses them.

    Raises:
        DataError: if a column is not there, a value is missing where the training part had all, or is too far off.

    >>> sequences = Sequences((np.array([[1.0], [np.nan]]),), ("x",), None, ("a",), ("",))
    >>> encode(sequences, FeatureEncoder(("x",), ("x",)), Scaler(("x",), (0.0,), (2.0,), ()))
    [array([[0.5, 1. ],
           [0. , 0. ]], dtype=float32)]
    """
    sequences = as_known(sequences.select(encoder.columns), encoder.categories)
    may_miss = np.array([name in encoder.missing for name in encoder.columns])
    mean, scale = np.array(scaler.mean), np.array(scaler.scale)
    encoded = []
    for number, values in enumerate(sequences.values):
        missing = np.isnan(values)
        place = partial(_place, sequences.title(number))
        if not fill:
            expected = "a number, as in the whole training part (--fill mean reads the mean instead)"
            refuse_first(missing & ~may_miss, values, encoder.columns, place, expected)
        scaled = (values - mean) / scale
        expected = f"a value within {FARTHEST:g} standard deviations of the training part"
        refuse_first(np.abs(scaled) > FARTHEST, values, encoder.columns, place, expected)
        observed = ~missing[:, may_miss]
        encoded.append(np.concatenate([np.nan_to_num(scaled), observed], axis=1, dtype=np.float32))
    return encoded


def _place(title: str, row: int) -> str:
    return f"row {row + 1} of {title}"


def fit(train: Sequences, trained: FeatureEncoder | None) -> tuple[FeatureEncoder, Scaler, tuple[str, ...]]:
    """Return the columns that vary in the training part, their mean and scale, and notes on the others.

    Args:
        train: the training part.
        trained: the columns of a trained model, which are kept as they are; None before there is one.

    Raises:
        DataError: if none of them varies, or one has no value.
    """
    rows = np.concatenate(train.values)
    observed = {name: column[np.isfinite(column)] for name, column in zip(train.columns, rows.T, strict=True)}
    for name, numbers in observed.items():
        if not len(numbers) and trained is None:
            kind = "values" if name in train.categories else "numbers"
            raise DataError(f"column {shorten(name)}", f"{kind} in the training part", "none")
    constant = [name for name, numbers in observed.items() if len(numbers) == len(rows) and not _varies(numbers)]
    names = trained.columns if trained else tuple(name for name in train.columns if name not in constant)
    if not names:
        raise DataError("features", "columns that vary in the training part", "none")
    read = train.select(names)  # which refuses data without one of them
    categories = trained.categories if trained else categories_of(values_of_training(read), ModelOptions())
    # Indices of categories are read as they are.
    chosen = {each.column for each in categories}
    missing = tuple(name for name in names if len(observed[name]) < len(rows) and name not in chosen)
    numeric = {name: column for name, column in observed.items() if name not in chosen}
    means = tuple(float(numeric[name].mean()) if len(numeric.get(name, ())) else 0.0 for name in names)
    # Where a column is missing still tells, if its numbers do not.
    scales = tuple(
        float(numeric[name].std()) if name in numeric and _varies(numeric[name]) else 1.0 for name in names
    )
    unread = [name for name in train.columns if name not in names]
    close = {name: bool(observed[name].min() < observed[name].max()) for name in constant}
    reasons = {
        "the same in every row of the training part": [
            name for name in unread if name in constant and not close[name]
        ],
        "numbers that differ too little for their size in the training part": [
            name for name in unread if name in constant and close[name]
        ],
        "not read by the model": [name for name in unread if name not in constant],
    }
    notes = tuple(f"left out, {reason}: {', '.join(those)}" for reason, those in reasons.items() if those)
    return trained or FeatureEncoder(names, missing, categories), Scaler(names, means, scales, ()), notes


def _varies(numbers: NDArray[np.float64]) -> bool:
    return len(numbers) > 0 and float(numbers.std()) > 1e-12 * float(np.abs(numbers).max())
