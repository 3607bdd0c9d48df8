"""The seasons of a table: set by a person, or found in its training part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.data import frequency
from gatewright.data.preprocessing import last_observed
from gatewright.data.split import Parts
from gatewright.data.table import Table
from gatewright.data.window_checks import Sizes, windows_of
from gatewright.errors import GatewrightError
from gatewright.spec import seasonal_rows

Values = NDArray[np.float64]

#: Least correlation of a change with that of one season before: of the first season, and of another one with what
#: the seasons before it do not explain.  A second copy of a season in noise is worth less than a half: it averages
#: the noise, for the price of a longer context.
LEAST, LEAST_MORE = 0.3, 0.5

#: Maximum number of series, and of rows of each, that are looked at.
MOST_SERIES, MOST_ROWS = 200, 20_000

#: Switches the seasonal differences off.
NONE = ("none", "0")


class Seasons(NamedTuple):
    """The seasons of a table.

    Attributes:
        sizes: lengths of windows with these seasons.
        note: which they are and why, in a line for a person.
    """

    sizes: Sizes
    note: str

    @property
    def option(self) -> tuple[str, ...]:
        """The same as a value of the option ``season``."""
        return season_option(self.sizes.season, self.sizes.seasons)


def season_option(baseline: int, seasons: Sequence[int]) -> tuple[str, ...]:
    """Return a value of the option ``season``.

    Args:
        baseline: season of the seasonal-naive baseline, which is one of ``seasons`` if there are any.
        seasons: seasons whose differences a forecast has.

    >>> season_option(24, (24, 168)), season_option(168, (24, 168)), season_option(7, ())
    (('24', '168'), ('168', '24'), ('none', '7'))
    """
    if not seasons:
        return (NONE[0], str(baseline))
    return (str(baseline), *(str(season) for season in seasons if season != baseline))


def seasons_of(
    table: Table, parts: Sequence[Parts], sizes: Sizes, given: Sequence[str] | None, reads_targets: bool
) -> Seasons:
    """Return the seasons of a table.

    Args:
        table: the series.
        parts: the parts of each series.
        sizes: lengths of windows without seasons.
        given: value of the option ``season``; None to find them.
        reads_targets: whether the model reads past targets, without which it cannot compare.

    Raises:
        GatewrightError: if the context is too short for a season that is set.
    """
    if given is None:
        return _found(table, parts, sizes) if reads_targets else Seasons(sizes, "")
    values = [int(each) for each in given if each not in NONE]
    sizes = replace(sizes, season=values[0] if values else sizes.season)
    if given[0] in NONE:
        return Seasons(sizes, "no seasonal differences, as set")
    if not reads_targets:
        return Seasons(sizes, f"season {sizes.season} of the baseline alone: the model reads no past targets")
    longest = max(values)
    if sizes.context is not None and sizes.context <= longest:
        expected = f"at least {longest + 1} for a season of {longest} steps (or --season none)"
        raise GatewrightError("--context", expected, str(sizes.context))
    return Seasons(
        replace(sizes, seasons=tuple(sorted(values))), f"seasonal differences: {_listed(values)}, as set"
    )


def _found(table: Table, parts: Sequence[Parts], sizes: Sizes) -> Seasons:
    """Return those of the usual seasons of the table's step that the training part shows."""
    accepted: list[int] = []
    shown, dropped = [], []
    fewest = windows_of(table, parts, sizes).sum(axis=0)
    for season in frequency.seasons(table.step):
        longer = replace(sizes, seasons=(*accepted, season))
        windows = windows_of(table, parts, longer).sum(axis=0)
        training = max(part.valid for part in parts)
        if sizes.context is not None and sizes.context <= season:
            dropped.append(f"{season} (--context {sizes.context} is too short)")
        elif training < 3 * season or (windows < np.minimum(fewest, 1)).any() or 2 * windows[0] < fewest[0]:
            dropped.append(f"{season} (the training part is too short)")
        else:
            found = correlation(table, parts, season, accepted, sizes.horizon)
            if found >= (LEAST_MORE if accepted else LEAST):
                accepted.append(season)
                shown.append(f"{season} (correlation {found:.2f})")
            else:
                dropped.append(f"{season} (correlation {found:.2f})")
        if not accepted:
            break  # a week of days that are not alike is rare; the first season is that of the baseline
    sizes = replace(sizes, seasons=tuple(accepted))
    if accepted:
        note = f"seasonal differences: {', '.join(shown)}"
        return Seasons(sizes, note + (f"; left out: {', '.join(dropped)}" if dropped else ""))
    return Seasons(sizes, f"no seasonal differences; left out: {', '.join(dropped)}" if dropped else "")


def correlation(table: Table, parts: Sequence[Parts], season: int, others: Sequence[int], horizon: int) -> float:
    """Return the correlation of changes of a target with those one season before, in the training part.

    It is that of the target which has the largest, for the mean over a change of one step and one of half a season
    (at most the horizon); of what a linear regression on the other seasons leaves.

    Args:
        table: the series.
        parts: the parts of each series.
        season: length in steps.
        others: seasons that explain their part of the changes already.
        horizon: steps ahead.
    """
    steps = sorted({1, min(horizon, max(1, season // 2))})
    targets = len(table.roles.targets)
    found = [
        np.mean([_partial(list(_changes(table, parts, target, (season, *others), ahead))) for ahead in steps])
        for target in range(targets)
    ]
    return float(max(found))


def _changes(
    table: Table, parts: Sequence[Parts], target: int, seasons: Sequence[int], ahead: int
) -> Iterator[Values]:
    """Yield for each series its changes, and those one season before, (rows, 1 + seasons), standardised."""
    longest = max(seasons)
    pairs = list(zip(table.series, parts, strict=True))
    for each, part in pairs[:: -(-len(pairs) // MOST_SERIES)]:
        values = last_observed(each.values[: part.valid, [target]])[-MOST_ROWS:, 0]
        rows = np.arange(longest, len(values) - ahead)
        if len(rows) < 2:
            continue
        columns = [values[rows + ahead] - values[rows]]
        for season in seasons:
            after = seasonal_rows(season, ahead)[-1]
            columns.append(values[rows + after] - values[rows - season])
        changes = np.stack(columns, axis=1)
        changes = changes[np.isfinite(changes).all(axis=1)]
        scale = changes.std(axis=0) if len(changes) else np.zeros(1)
        if scale.all():
            yield (changes - changes.mean(axis=0)) / scale


def _partial(series: list[Values]) -> float:
    """Return the correlation of the first two columns, less what the others explain; 0 if it may be chance."""
    if not series:
        return 0.0
    changes = np.concatenate(series)
    pair, others = changes[:, :2], changes[:, 2:]
    if others.shape[1]:
        pair = pair - others @ np.linalg.lstsq(others, pair, rcond=None)[0]
    deviation = pair.std(axis=0)
    if not deviation.all():
        return 0.0
    found = float((pair[:, 0] * pair[:, 1]).mean() / deviation.prod())
    return found if found > 3 / np.sqrt(len(changes)) else min(found, 0.0)


def _listed(seasons: Sequence[int]) -> str:
    return ", ".join(map(str, seasons))
