"""The picture of an evaluation: forecasts over truth with their interval, and the error by step ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gatewright.model import Model
from gatewright.spec import QuantileHead, SeriesEncoder
from gatewright.train.evaluate import METHODS, TestForecasts
from gatewright.train.forecasting import SeriesData

#: Colours that the colour-blind can tell apart (Okabe & Ito 2008).
COLOURS = {"truth": "#000000", "model": "#0072B2", "persistence": "#E69F00", "seasonal-naive": "#999999"}

#: Rows of the plot and steps of the test part that it shows, at most.
PANELS, SHOWN = 4, 240


def plot_forecasts(
    path: Path, model: Model, data: SeriesData, tested: TestForecasts, evaluation: dict[str, Any]
) -> None:
    """Draw the end of the test part, a row a target (of one series) or a series (of one target).

    On the left, forecasts from origins a horizon apart over what came; on the right, the error of the model and
    of the baselines at each step ahead.

    Args:
        path: the PNG to write.
        model: the forecaster.
        data: the table.
        tested: what `forecast_test_part` returned.
        evaluation: what `evaluate_forecast` returned.
    """
    encoder, head = model.spec.encoder, model.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    several = len(tested.names) > 1
    panels = [(number, 0) for number in range(len(tested.names))] if several else []
    panels = (panels or [(0, target) for target in range(len(encoder.targets))])[:PANELS]
    style: Any = {"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25}
    with mpl.rc_context(style):
        figure = Figure(figsize=(12, 0.6 + 3.0 * len(panels)), layout="constrained", dpi=110)
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(len(panels), 2, width_ratios=[3, 1])
        for row, (number, target) in enumerate(panels):
            name = encoder.targets[target]
            left = figure.add_subplot(grid[row, 0])
            _draw_forecasts(left, data, tested, head, number, target)
            left.set_title(f"{name}  ({tested.names[number]})" if several else name, loc="left", fontweight="bold")
            if row == 0:
                figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncol=3, frameon=False)
            if row == 0 or not several:
                right = figure.add_subplot(grid[:, 1] if several else grid[row, 1])
                _draw_errors(right, evaluation["targets"][name], name)
        figure.savefig(path)


def _draw_forecasts(
    axes: Axes, data: SeriesData, tested: TestForecasts, head: QuantileHead, number: int, target: int
) -> None:
    """Draw forecasts from origins a horizon apart, so that they tile the end of the test part."""
    origins, horizon = tested.origins[number], head.horizon
    count = max(1, min(SHOWN // horizon, len(origins) // horizon))
    chosen = np.arange(len(origins) - 1, -1, -horizon)[:count][::-1]
    ahead = np.arange(1, horizon + 1)
    name = tested.names[number]
    one = next(one for one in data.table.series if one.name == name)

    def when(rows: NDArray[np.int64]) -> Any:
        return rows + 1 if one.times is None else one.times[rows]

    shown = np.arange(max(0, origins[chosen[0]] - horizon), origins[chosen[-1]] + horizon + 1)
    axes.plot(when(shown), one.values[shown, target], color=COLOURS["truth"], lw=1.3, label="truth", zorder=3)
    answers = tested.forecasts["model"][number][chosen, :, target]
    rows = origins[chosen][:, None] + ahead
    levels, colour = head.quantiles, COLOURS["model"]
    interval = f"{levels[0]:.0%} to {levels[-1]:.0%}"
    # Where each forecast is one value, they join into one line.
    pieces = [slice(None)] if horizon == 1 else [slice(place, place + 1) for place in range(count)]
    for place, piece in enumerate(pieces):
        x, y = when(rows[piece].ravel()), answers[piece].reshape(-1, len(levels))
        shade, line = (interval, "forecast") if place == 0 else (None, None)
        axes.fill_between(x, y[:, 0], y[:, -1], color=colour, alpha=0.22, lw=0, label=shade)
        axes.plot(x, y[:, levels.index(0.5)], color=colour, lw=1.6, label=line, zorder=4)
        if horizon > 1:
            axes.axvline(x[0], color="0.7", lw=0.6, ls=":")
    axes.margins(x=0.01)
    if one.times is not None:
        axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))


def _draw_errors(axes: Axes, methods: dict[str, Any], name: str) -> None:
    """Draw the mean absolute error by step ahead; bars where there is but one step."""
    for place, method in enumerate(METHODS):
        errors = [step["mae"] for step in methods[method]["by_step"]]
        colour = COLOURS[method]
        if len(errors) == 1:
            axes.bar(place, errors[0], color=colour, width=0.7)
        else:
            marker = "o" if len(errors) <= 12 else None
            axes.plot(range(1, len(errors) + 1), errors, color=colour, lw=1.8, marker=marker, ms=4, label=method)
    if len(methods[METHODS[0]]["by_step"]) == 1:
        axes.set_xticks(range(len(METHODS)), METHODS)
    else:
        axes.set_xlabel("steps ahead")
        axes.legend(frameon=False)
    axes.set_ylim(bottom=0)
    axes.set_title(f"mean absolute error, {name}", loc="left", fontsize="medium")
