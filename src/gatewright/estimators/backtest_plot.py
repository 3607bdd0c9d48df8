"""The picture of a backtest: errors by origin and by step ahead, with their spread, next to the baselines."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gatewright.estimators.backtest import Backtest
from gatewright.evaluation.pictures import colours_of, drawn, legend_above, lines_by_step, short

Values = NDArray[np.float64]

#: Maximum number of targets that a picture shows.
TARGETS = 3


def backtest_figure(result: Backtest) -> Figure:
    """Draw the mean absolute error of a backtest by origin and by step ahead, for the model and the baselines.

    The band is from the first to the third quartile of the model's errors: over the steps and series of an origin
    above, over origins and series below.  Errors of several series are divided by the scale of MASE.

    Args:
        result: of `gatewright.estimators.backtest.backtest_source`.
    """
    targets = list(result.figures["targets"])[:TARGETS]
    methods = list(result.errors)
    heights = [2.5 + 0.2 * -(-(len(methods) + 1) // 3), 2.3] * len(targets)

    def draw(axes: Sequence[Axes]) -> None:
        for number, target in enumerate(targets):
            errors = {name: own[..., number] for name, own in result.errors.items()}
            if len(result.table.series) > 1:
                errors = {name: own / result.scales[None, :, None, number] for name, own in errors.items()}
            _draw_by_origin(axes[2 * number], target, errors, result)
            _draw_by_step(axes[2 * number + 1], target, errors, result)
        if len(result.figures["targets"]) > len(targets):
            note = f"{len(targets)} of {len(result.figures['targets'])} targets"
            axes[-1].annotate(note, (0, -0.35), xycoords="axes fraction", fontsize="small", color="0.4")

    return drawn(heights, draw)


def _unit(target: str, result: Backtest) -> str:
    return "MASE" if len(result.table.series) > 1 else f"MAE, units of {short(target)}"


def _draw_by_origin(axes: Axes, target: str, errors: dict[str, Values], result: Backtest) -> None:
    """Draw the mean error from each origin."""
    when = _origins(result)
    colours = colours_of(list(errors))
    for place, (name, own) in enumerate(errors.items()):
        flat = own.reshape(len(own), -1)
        if place == 0 and flat.shape[1] > 1:
            _band(axes, when, flat, colours[name])
        axes.plot(when, _mean(flat), "-" if place == 0 else "--", color=colours[name], lw=1.8, marker="o", ms=3.5,
                  label=short(name), zorder=4 - place / 100)  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_ylabel(_unit(target, result))
    count = len(errors) + 1
    axes.set_title(f"{short(target)}: error by origin", loc="left", fontweight="bold", fontsize="medium",
                   pad=8 + 15 * -(-count // 3))  # fmt: skip
    if np.issubdtype(when.dtype, np.datetime64):
        axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
        axes.set_xlabel("last row before the forecast")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("origin")
    legend_above(axes, count)


def _draw_by_step(axes: Axes, target: str, errors: dict[str, Values], result: Backtest) -> None:
    """Draw the mean error at each step ahead."""
    colours = colours_of(list(errors))
    flat = {name: np.moveaxis(own, 2, 0).reshape(own.shape[2], -1) for name, own in errors.items()}
    model = next(iter(errors))
    if flat[model].shape[0] > 1 and flat[model].shape[1] > 1:
        _band(axes, np.arange(1, flat[model].shape[0] + 1), flat[model], colours[model])
    lines_by_step(axes, {name: _mean(own).tolist() for name, own in flat.items()}, colours)
    axes.set_ylabel(_unit(target, result))
    axes.set_title(f"{short(target)}: error by step ahead", loc="left", fontweight="bold", fontsize="medium")


def _band(axes: Axes, when: Any, rows: Values, colour: str) -> None:
    """Shade the middle half of each row."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a row without any value
        low, high = np.nanquantile(rows, [0.25, 0.75], axis=1)
    axes.fill_between(when, low, high, color=colour, alpha=0.18, lw=0, label="model, middle half")


def _mean(rows: Values) -> Values:
    """Return the mean of each row's values; NaN of a row without any."""
    seen = np.isfinite(rows)
    count = seen.sum(axis=1)
    total = np.where(seen, rows, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _origins(result: Backtest) -> NDArray[Any]:
    """Return the last row before each origin where it is the same time in all series, else numbers of origins."""
    times = [
        None if series.times is None else series.clock.local(series.times[cuts - 1])
        for series, cuts in zip(result.table.series, result.cuts.T, strict=True)
        if (cuts > 0).all()
    ]
    first = times[0] if times else None
    if first is None or any(own is None or not np.array_equal(own, first) for own in times[1:]):
        return np.arange(1, len(result.cuts) + 1)
    return np.asarray(first)
