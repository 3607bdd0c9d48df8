"""The picture of an evaluation: forecasts over truth with their interval, and the error by step ahead."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
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

from gatewright.data.preprocessing import encode, origins
from gatewright.data.table import Series
from gatewright.nn.model import Model
from gatewright.spec import QuantileHead, SeriesEncoder
from gatewright.tasks.forecast.calibration import UNCALIBRATED
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.forecast.scores import DRAWN, Drawn
from gatewright.tasks.forecast.windows import Windows, predict

#: Colours that the colour-blind can tell apart (Okabe & Ito 2008).
COLOURS = {
    "truth": "#000000", "model": "#0072B2", "persistence": "#E69F00", "seasonal-naive": "#999999",
    "drift": "#CC79A7", "autoets": "#009E73", "autoarima": "#D55E00", "lightgbm": "#56B4E9",
}  # fmt: skip

#: Steps of the test part that a row of the plot shows, at most.
SHOWN = 240

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


@dataclass(frozen=True)
class _Panel:
    """A row of the plot: one target of one series.

    Attributes:
        title: what it is.
        series: the series.
        target: number of the target.
        origins: last known rows of forecasts that tile the end of the test part.
        answers: their quantiles, in units (origins, horizon, quantiles).
        errors: by method, the mean absolute error of each step (horizon,).
    """

    title: str
    series: Series
    target: int
    origins: NDArray[np.int64]
    answers: NDArray[np.float64]
    errors: dict[str, NDArray[np.float64]]


def plot_forecasts(path: Path, model: Model, data: SeriesData, drawn: Sequence[Drawn], series: int) -> None:
    """Draw the end of the test part, a row for each target of each series, as far as there is room.

    On the left, forecasts from origins a horizon apart over what came; on the right, the mean absolute error of
    the model and of the baselines at each step ahead, over the windows that were evaluated.

    Args:
        path: the PNG to write.
        model: the forecaster.
        data: the table.
        drawn: what `evaluate_forecast` returned.
        series: how many series have a window in the test part.

    Raises:
        OSError: if it cannot be written.
    """
    encoder, head = model.spec.encoder, model.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    whole = series * len(encoder.targets)
    panels = list(islice((panel for one in drawn for panel in _panels(one, model, data)), DRAWN))
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")  # a name may hold letters that the font lacks
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(12, 0.8 + 2.9 * len(panels)), layout="constrained", dpi=110)
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(len(panels), 2, width_ratios=[3, 1])
        for row, panel in enumerate(panels):
            left, right = figure.add_subplot(grid[row, 0]), figure.add_subplot(grid[row, 1])
            _draw_forecasts(left, panel, head)
            left.set_title(panel.title, loc="left", fontweight="bold")
            _draw_errors(right, panel, head.horizon)
            name = _short(encoder.targets[panel.target], 20)
            right.set_title(f"mean absolute error, {name}", loc="left", fontsize="medium")
            if row == 0:
                figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncol=3, frameon=False)
        methods = list(panels[0].errors)
        lines = [Line2D([], [], color=COLOURS[method], lw=2.5) for method in methods]
        figure.legend(lines, methods, loc="outside upper right", ncol=len(methods), frameon=False)
        if whole > len(panels):
            note = f"{len(panels)} of {whole}; evaluation.json has the figures of all"
            figure.supxlabel(note, x=0.01, ha="left", fontsize="small", color="0.4")
        figure.savefig(path, format="png")


def _short(name: str, most: int = 50) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _panels(drawn: Drawn, model: Model, data: SeriesData) -> Iterator[_Panel]:
    """Forecast from origins a horizon apart, so that they tile the end of a series' test part."""
    encoder, head = model.spec.encoder, model.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    assert model.scaler is not None
    one, part = data.table.series[drawn.series], data.parts[drawn.series]
    rows = one.values[:, : len(encoder.targets)]
    candidates = origins(rows, encoder.context, head.horizon, part.test, part.end)
    tiles = candidates[_tiles(candidates, head.horizon, max(1, SHOWN // head.horizon))]
    encoded = encode(one, encoder, model.scaler, data.settings.fill)
    windows = Windows([encoded], encoder, head.horizon, next(model.parameters()).device, model.scaler)
    answers = predict(model, windows, tiles)
    for target, name in enumerate(encoder.targets):
        title = f"{_short(name)}  ({_short(', '.join(data.table.roles.ids))} {_short(one.name)})"
        yield _Panel(
            title if one.name else _short(name),
            one,
            target,
            tiles,
            answers[:, :, target],
            {name: errors[:, target] for name, errors in drawn.errors.items() if name != UNCALIBRATED},
        )


def _draw_forecasts(axes: Axes, panel: _Panel, head: QuantileHead) -> None:
    """Draw forecasts over what came."""
    one, origins, horizon, levels = panel.series, panel.origins, head.horizon, head.quantiles

    def when(rows: NDArray[np.int64]) -> Any:
        return rows + 1 if one.times is None else one.clock.local(one.times[rows])

    first, last = int(origins[0]), int(origins[-1])
    shown = np.arange(max(0, first - min(horizon, SHOWN)), last + horizon + 1)
    truth = one.values[shown, panel.target]
    # Points too where values are missing: one between two gaps is on no line.
    marker = "." if np.isnan(truth).any() else None
    axes.plot(when(shown), truth, color=COLOURS["truth"], lw=1.2, marker=marker, ms=3, label="truth", zorder=3)
    rows = origins[:, None] + np.arange(1, horizon + 1)
    shade: str | None = f"{levels[0] * 100:g}% to {levels[-1] * 100:g}%" if len(levels) > 1 else None
    label: str | None = "forecast, a step ahead" if horizon == 1 else f"forecasts, every {horizon} steps"
    for piece in _pieces(origins, horizon):
        x, y = when(rows[piece].ravel()), panel.answers[piece].reshape(-1, len(levels))
        width: dict[str, Any] = {"color": COLOURS["model"], "lw": 0, "alpha": 0.22, "label": shade}
        if len(levels) > 1:
            axes.fill_between(x, y[:, 0], y[:, -1], **width)
        marker = "." if len(x) == 1 else None
        axes.plot(x, y[:, levels.index(0.5)], color=COLOURS["model"], lw=1.6, marker=marker, label=label, zorder=4)
        if horizon > 1 and len(origins) <= MARKED:
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


def _draw_errors(axes: Axes, panel: _Panel, horizon: int) -> None:
    """Draw the mean absolute error by step ahead; bars where there is but one step."""
    for place, (method, every) in enumerate(panel.errors.items()):
        errors, colour = np.ma.masked_invalid(every), COLOURS[method]
        if horizon == 1:
            axes.bar(place, errors[0], color=colour, width=0.6)
        else:
            marker = "o" if horizon <= 12 else None
            axes.plot(range(1, horizon + 1), errors, color=colour, lw=1.8, marker=marker, ms=4, zorder=4 - place)
    if horizon == 1:
        axes.set_xticks([])
        axes.set_xlabel("a step ahead")
    else:
        axes.set_xlabel("steps ahead")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
