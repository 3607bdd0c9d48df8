"""The picture of an evaluation: forecasts over truth with their interval, and the error by step ahead."""

from __future__ import annotations

import warnings
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gatewright.data.table import Series
from gatewright.model import Model
from gatewright.spec import QuantileHead, SeriesEncoder
from gatewright.train.evaluate import METHODS, Tested
from gatewright.train.forecasting import SeriesData

#: Colours that the colour-blind can tell apart (Okabe & Ito 2008).
COLOURS = {"truth": "#000000", "model": "#0072B2", "persistence": "#E69F00", "seasonal-naive": "#999999"}

#: Rows of the plot and steps of the test part that it shows, at most.
PANELS, SHOWN = 4, 240

#: Most forecasts whose beginnings are marked.
MARKED = 30

STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "text.parse_math": False,  # a column may be called "$"
}


def plot_forecasts(path: Path, model: Model, data: SeriesData, tested: Tested) -> None:
    """Draw the end of the test part, a row for each target of each series, as far as there is room.

    On the left, forecasts from origins a horizon apart over what came; on the right, the mean absolute error of
    the model and of the baselines at each step ahead, over the whole test part.

    Args:
        path: the PNG to write.
        model: the forecaster.
        data: the table.
        tested: what `forecast_test_part` returned.

    Raises:
        OSError: if it cannot be written.
    """
    encoder, head = model.spec.encoder, model.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    whole = list(product(range(len(tested.names)), range(len(encoder.targets))))
    panels = whole[:PANELS]
    by_name = {one.name: one for one in data.table.series}
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")  # a name may hold letters that the font lacks
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(12, 0.8 + 2.9 * len(panels)), layout="constrained", dpi=110)
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(len(panels), 2, width_ratios=[3, 1])
        for row, (number, target) in enumerate(panels):
            one, name = by_name[tested.names[number]], encoder.targets[target]
            left, right = figure.add_subplot(grid[row, 0]), figure.add_subplot(grid[row, 1])
            _draw_forecasts(left, one, tested, head, number, target)
            ids = ", ".join(data.table.roles.ids)
            title = f"{_short(name)}  ({_short(ids)} {_short(one.name)})" if one.name else _short(name)
            left.set_title(title, loc="left", fontweight="bold")
            _draw_errors(right, tested, head, number, target)
            right.set_title(f"mean absolute error, {_short(name, 20)}", loc="left", fontsize="medium")
            if row == 0:
                figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncol=3, frameon=False)
        lines = [Line2D([], [], color=COLOURS[method], lw=2.5) for method in METHODS]
        figure.legend(lines, METHODS, loc="outside upper right", ncol=len(METHODS), frameon=False)
        if len(whole) > len(panels):
            note = f"{len(panels)} of {len(whole)}; evaluation.json has the figures of all"
            figure.supxlabel(note, x=0.01, ha="left", fontsize="small", color="0.4")
        figure.savefig(path, format="png")


def _short(name: str, most: int = 50) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _draw_forecasts(axes: Axes, one: Series, tested: Tested, head: QuantileHead, number: int, target: int) -> None:
    """Draw forecasts from origins a horizon apart, so that they tile the end of the test part."""
    origins, horizon, levels = tested.origins[number], head.horizon, head.quantiles
    chosen = _tiles(origins, horizon, max(1, SHOWN // horizon))

    def when(rows: NDArray[np.int64]) -> Any:
        return rows + 1 if one.times is None else one.times[rows]

    first, last = int(origins[chosen[0]]), int(origins[chosen[-1]])
    shown = np.arange(max(0, first - min(horizon, SHOWN)), last + horizon + 1)
    truth = one.values[shown, target]
    # Points too where values are missing: one between two gaps is on no line.
    marker = "." if np.isnan(truth).any() else None
    axes.plot(when(shown), truth, color=COLOURS["truth"], lw=1.2, marker=marker, ms=3, label="truth", zorder=3)
    answers = tested.forecasts["model"][number][chosen, :, target]
    rows = origins[chosen][:, None] + np.arange(1, horizon + 1)
    shade: str | None = f"{levels[0] * 100:g}% to {levels[-1] * 100:g}%" if len(levels) > 1 else None
    label: str | None = "forecast, a step ahead" if horizon == 1 else f"forecasts, every {horizon} steps"
    for piece in _pieces(origins[chosen], horizon):
        x, y = when(rows[piece].ravel()), answers[piece].reshape(-1, len(levels))
        width: dict[str, Any] = {"color": COLOURS["model"], "lw": 0, "alpha": 0.22, "label": shade}
        if len(levels) > 1:
            axes.fill_between(x, y[:, 0], y[:, -1], **width)
        marker = "." if len(x) == 1 else None
        axes.plot(x, y[:, levels.index(0.5)], color=COLOURS["model"], lw=1.6, marker=marker, label=label, zorder=4)
        if horizon > 1 and len(chosen) <= MARKED:
            axes.axvline(x[0], color="0.7", lw=0.6, ls=":")
        shade = label = None
    axes.margins(x=0.01)
    if one.times is None:
        axes.set_xlabel("row")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))


def _tiles(origins: NDArray[np.int64], horizon: int, count: int) -> list[int]:
    """Places of at most ``count`` origins, at least a horizon apart, that end with the last one."""
    chosen = [len(origins) - 1]
    for place in range(len(origins) - 2, -1, -1):
        if len(chosen) == count:
            break
        if origins[place] <= origins[chosen[-1]] - horizon:
            chosen.append(place)
    return chosen[::-1]


def _pieces(origins: NDArray[np.int64], horizon: int) -> list[NDArray[np.int64]]:
    """Which forecasts to draw as one line: each its own, but neighbours where each is one value."""
    places = np.arange(len(origins))
    breaks = np.flatnonzero(np.diff(origins) > 1) + 1 if horizon == 1 else places[1:]
    return np.split(places, breaks)


def _draw_errors(axes: Axes, tested: Tested, head: QuantileHead, number: int, target: int) -> None:
    """Draw the mean absolute error by step ahead; bars where there is but one step."""
    truth = tested.truth[number][:, :, target]
    for place, method in enumerate(METHODS):
        answers = tested.forecasts[method][number][:, :, target]
        point = head.quantiles.index(0.5) if answers.shape[-1] > 1 else 0
        errors = np.ma.masked_invalid(np.abs(truth - answers[..., point])).mean(axis=0)
        colour = COLOURS[method]
        if head.horizon == 1:
            axes.bar(place, errors[0], color=colour, width=0.6)
        else:
            marker = "o" if head.horizon <= 12 else None
            axes.plot(
                range(1, head.horizon + 1), errors, color=colour, lw=1.8, marker=marker, ms=4, zorder=4 - place
            )
    if head.horizon == 1:
        axes.set_xticks([])
        axes.set_xlabel("a step ahead")
    else:
        axes.set_xlabel("steps ahead")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
