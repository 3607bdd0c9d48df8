"""Warnings about a table before training: missing targets, and numbers that may stand for a missing value."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from gatewright.data.table import Table

#: Minimum of repetitions that make a value suspect of standing for a missing one.
LEAST = 5


def missing_targets(table: Table) -> list[str]:
    """Return a line on the targets missing before the last observation of each series; none if all are there."""
    targets = len(table.roles.targets)
    missing, rows = np.zeros(targets, np.int64), 0
    for series in table.series:
        observed = np.isfinite(series.values[:, :targets])
        length = int(np.flatnonzero(observed.any(axis=1))[-1]) + 1
        missing += length - observed[:length].sum(axis=0)
        rows += length
    shares = [
        f"{name} in {count:,} of {rows:,} rows ({_share(count / rows)})"
        for name, count in zip(table.roles.targets, missing.tolist(), strict=True)
        if count
    ]
    return [f"missing targets: {', '.join(shares)}"] if shares else []


#: Share of a target's values from which one value repeats too often for a density.
REPEATED = 0.2


def repeated_targets(table: Table) -> list[str]:
    """Return a line for each target that often has one value, which has a probability, and no density."""
    lines = []
    for index, name in enumerate(table.roles.targets):
        values = np.concatenate([series.values[:, index] for series in table.series])
        values, counts = np.unique(values[np.isfinite(values)], return_counts=True)
        most = int(np.argmax(counts))
        share = counts[most] / counts.sum()
        if share >= REPEATED:
            lines.append(
                f"{name}: {_share(share)} of the values are {values[most]:.15g}, which no density suits:"
                " --head quantiles, or one of counts"
            )
    return lines


def _share(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "under 0.1%"


def suspects(table: Table) -> list[str]:
    """Return a line for each value that repeats far outside all others, as -999 does if it means missing."""
    lines = []
    for index, name in enumerate(table.roles.columns):
        if name in table.roles.static or name in table.categories:
            continue
        parts = [series.values[:, index] for series in table.series]
        for value in far_and_repeated(np.concatenate(parts)):
            # The level of a single series may lie as far away: the value has to be odd within a series too.
            most = max(parts, key=lambda part: np.count_nonzero(part == value))
            if value in far_and_repeated(most, least=1):
                count = sum(np.count_nonzero(part == value) for part in parts)
                lines.append(
                    f"{name}: {value:.15g} repeats in {count:,} rows, far from all other values;"
                    f" --missing {value:.15g} if it stands for a missing one"
                )
    return lines


def far_and_repeated(values: NDArray[np.float64], least: int = LEAST) -> list[float]:
    """Return up to three values that repeat far outside all others.

    A value is far outside if no other value is half as far from their median, and its distance from the median is
    more than ten times their interquartile range.  For a row of nines, a distance larger than the range of the
    others is enough, or being the only negative value.  Columns with few distinct values, such as 0 and 1, have
    none.

    >>> far_and_repeated(np.array([*range(100), *[-999] * 5], dtype=float))
    [-999.0]
    """
    outliers: list[float] = []
    rest = values[np.isfinite(values)]
    for _ in range(3):
        ends = [rest.min(), rest.max()] if len(rest) >= 20 else []
        value = next((float(end) for end in ends if _is_far(rest, end, least)), None)
        if value is None:
            break
        outliers.append(value)
        rest = rest[rest != value]
    return outliers


def _is_far(values: NDArray[np.float64], value: float, least: int) -> bool:
    others = values[values != value]
    if len(values) - len(others) < least or len(others) < 10:
        return False
    low, median, high = np.quantile(others, [0.25, 0.5, 0.75])
    first, last = float(others.min()), float(others.max())
    distance, gap = abs(value - median), min(abs(value - first), abs(value - last))
    nines = re.fullmatch(r"-?99+(\.9+)?", f"{value:.15g}") is not None
    alone = nines and value < 0 <= first
    far = distance > (10 * (high - low) if high > low else 3 * (last - first)) or (
        nines and distance > last - first
    )
    return (alone or (far and gap > distance / 2)) and len(np.unique(others)) >= 10
