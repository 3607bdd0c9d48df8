"""What a person should know of a table before a model learns from it: missing targets, odd numbers."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from gatewright.data.table import Table

#: Fewest times that a value repeats before it is taken for a sign of something missing.
LEAST = 5


def missing_targets(table: Table) -> list[str]:
    """Say how many targets are missing, before the last observed one of each series; nothing where none is."""
    targets = len(table.roles.targets)
    missing, rows = np.zeros(targets, np.int64), 0
    for one in table.series:
        observed = np.isfinite(one.values[:, :targets])
        length = int(np.flatnonzero(observed.any(axis=1))[-1]) + 1
        missing += length - observed[:length].sum(axis=0)
        rows += length
    told = [
        f"{name} in {count:,} of {rows:,} rows ({_share(count / rows)})"
        for name, count in zip(table.roles.targets, missing.tolist(), strict=True)
        if count
    ]
    return [f"missing targets: {', '.join(told)}"] if told else []


def _share(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "under 0.1%"


def suspects(table: Table) -> list[str]:
    """Name the values of each column that repeat far outside all others, as -999 does, where it means missing."""
    lines = []
    for index, name in enumerate(table.roles.columns):
        if name in table.roles.static:
            continue
        parts = [one.values[:, index] for one in table.series]
        for value in far_and_repeated(np.concatenate(parts)):
            # The level of one series among many may lie as far away: it has to be odd within a series, too.
            most = max(parts, key=lambda part: np.count_nonzero(part == value))
            if value in far_and_repeated(most, least=1):
                count = sum(np.count_nonzero(part == value) for part in parts)
                lines.append(
                    f"{name}: {value:.15g} repeats in {count:,} rows, far from all other values;"
                    f" --missing {value:.15g} if it stands for a missing one"
                )
    return lines


def far_and_repeated(values: NDArray[np.float64], least: int = LEAST) -> list[float]:
    """Return the values, at most three, that repeat far outside all others.

    A value is far if no other one is half as far from their median, and it is ten times farther from it than
    their quartiles are apart. A row of nines is far already where it is farther than all others are apart, or is
    the only negative value. Columns of few values, such as 0 and 1, have none.

    >>> far_and_repeated(np.array([*range(100), *[-999] * 5], dtype=float))
    [-999.0]
    """
    found: list[float] = []
    rest = values[np.isfinite(values)]
    for _ in range(3):
        ends = [rest.min(), rest.max()] if len(rest) >= 20 else []
        value = next((float(end) for end in ends if _is_far(rest, end, least)), None)
        if value is None:
            break
        found.append(value)
        rest = rest[rest != value]
    return found


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
