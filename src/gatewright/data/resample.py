"""Resampling: rows with repeated or irregular timestamps are aggregated into even bins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from gatewright.data import frequency
from gatewright.data.roles import Roles
from gatewright.data.time_series import Series

#: Steps proposed for rows at irregular times.
_USUAL = ("1s", "10s", "1m", "5m", "10m", "15m", "30m", "1h", "3h", "6h", "12h", "1d", "1w", "1mo")

_WINTER = np.array(["2024-01-01"], "datetime64[us]")


def resampled(series: Series, roles: Roles, categories: frozenset[str] = frozenset()) -> Series:
    """Aggregate the rows of a series into bins, each with the time of its start; empty bins are left out.

    Targets and past inputs become the aggregate of their observed values in the bin, or missing without any, also
    in a sum.  Inputs known in advance take the last value if the aggregate is "sum": a sum would reveal how many
    rows are still to come.  A category takes the value that is most frequent in the bin, the first in its order
    where two are; the last one if the aggregate is "last".  Bins begin at full hours, days (weeks: on Mondays) or
    months of the local clock; in summer, bins of several hours begin where they do in winter.

    Args:
        series: rows in any order.  Of two rows with the same time the lower is later, unless all rows run from new
            to old.
        roles: what the columns are for, with ``resample``.
        categories: columns that hold the indices of categories.
    """
    assert series.times is not None
    # Bins of hours are even in UTC: they are cut where the local clock of a winter's day would cut them.
    ahead_of_utc = (series.clock.local(_WINTER) - _WINTER)[0]
    order = np.argsort(series.times, kind="stable")
    falls = (np.diff(series.times).astype("int64") <= 0).all() and series.times[0] > series.times[-1]
    if falls:  # from new to old: of two at one time, the upper is later
        order = np.arange(len(series.times))[::-1]
    names = [str(number) for number in range(series.values.shape[1])]
    rows = pl.DataFrame(series.values[order], schema=dict.fromkeys(names, pl.Float64)).with_columns(
        pl.Series("time", series.times[order] + ahead_of_utc), pl.Series("line", series.lines[order])
    )
    aggregates = [
        _aggregate(name, _how(roles, column, column in categories)).alias(name)
        for name, column in zip(names, roles.columns, strict=True)
    ]
    step = frequency.bin_step(roles.resample)
    weeks = int(step[:-1]) // 7 if step.endswith("d") and int(step[:-1]) % 7 == 0 else 0
    bins = rows.group_by_dynamic("time", every=f"{weeks}w" if weeks else step, label="left").agg(
        pl.col("line").first(), *aggregates
    )
    return replace(
        series,
        times=bins["time"].to_numpy().astype("datetime64[us]") - ahead_of_utc,
        values=bins.select(names).to_numpy().astype(np.float64),
        lines=bins["line"].to_numpy(),
    )


def _how(roles: Roles, column: str, category: bool) -> str:
    """Return how a column is aggregated."""
    how = roles.aggregate or "mean"
    if column in roles.static or how == "last":
        return "last"
    if category:
        return "mode"
    return "last" if how == "sum" and column in roles.known else how


def _aggregate(name: str, how: str) -> pl.Expr:
    """Return the aggregate of a column in a bin: NaN without an observed value."""
    observed = pl.col(name).drop_nans()
    of = {"mean": observed.mean(), "sum": observed.sum(), "last": observed.last(), "mode": observed.mode().min()}[
        how
    ]
    return pl.when(observed.len() > 0).then(of).otherwise(float("nan"))


def usual_step(times: frequency.Times) -> str:
    """Return a usual step that is close to the median time between rows.

    >>> usual_step(np.array(["2020-01-01T00:00:07", "2020-01-01T01:02", "2020-01-01T02:01"], "datetime64[us]"))
    '1h'
    """
    between = np.diff(np.sort(times)).astype("int64")
    if not (between > 0).any():
        return "1d"
    median = float(np.median(between[between > 0]))
    start = np.array([np.datetime64("2020-01-01", "us")])
    sizes = [float((frequency.after(start[0], frequency.bin_step(step), np.array([1])) - start)[0].astype("int64"))
             for step in _USUAL]  # fmt: skip
    return _USUAL[int(np.argmin(np.abs(np.log(np.array(sizes) / median))))]
