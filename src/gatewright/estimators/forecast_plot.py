"""A picture of forecasts after the last rows of a table."""

from __future__ import annotations

import warnings
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gatewright.data.table import Table
from gatewright.nn.model import Model
from gatewright.tasks.forecast.fitted_table import rows_observed
from gatewright.tasks.forecast.forecast_frame import times_of
from gatewright.tasks.forecast.plot import COLOURS, STYLE
from gatewright.tasks.forecast.predict import forecast

#: Maximum number of panels.
PANELS = 4


def forecast_figure(model: Model, table: Table, horizon: int | None, fill: str, rows: int) -> Figure:
    """Draw the last rows of each series and their forecast: the median, and the outermost quantiles as a band.

    Args:
        model: the forecaster.
        table: the series; those after the first `PANELS` panels are left out, and the last line says so.
        horizon: number of steps; that of the model if None.
        fill: how missing inputs are filled.
        rows: number of rows before the forecast to draw.
    """
    assert model.spec.forecaster is not None
    head, targets = model.spec.forecaster[1], table.roles.targets
    levels, point = head.quantiles, head.names[head.quantiles.index(0.5)]
    panels = [(series, number) for series in table.series for number in range(len(targets))]
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")  # a name may hold letters that the font lacks
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(10, 0.6 + 2.6 * min(len(panels), PANELS)), layout="constrained", dpi=110)
        FigureCanvasAgg(figure)
        axes = figure.subplots(min(len(panels), PANELS), squeeze=False)[:, 0]
        for axis, (series, number) in zip(axes, panels, strict=False):
            name = targets[number]
            ahead = forecast(model, replaced(table, series), horizon, fill)
            end = rows_observed(series, len(targets))
            shown = np.arange(max(0, end - rows), end)
            axis.plot(_values(times_of(series, shown, table)), series.values[shown, number], "-", lw=1.2,
                      color=COLOURS["truth"], label=name)  # fmt: skip
            when = _values(ahead[table.roles.time] if series.times is not None else ahead["row"])
            if len(levels) > 1:
                low, high = (ahead[f"{name}_q{level}"].to_numpy() for level in (levels[0], levels[-1]))
                band = f"{100 * (levels[-1] - levels[0]):.0f}% interval"
                axis.fill_between(when, low, high, alpha=0.25, lw=0, color=COLOURS["model"], label=band)
            middle = ahead[f"{name}_{point}"].to_numpy()
            axis.plot(when, middle, "-", lw=1.6, color=COLOURS["model"], label=head.point)
            title = f"{series.name}, {name}" if series.name and len(targets) > 1 else series.name or name
            axis.set_title(title[:80], loc="left", fontweight="bold")
            axis.legend(loc="upper left", frameon=False, ncols=3)
        if len(panels) > PANELS:
            note = f"{PANELS} of {len(panels)}"
            figure.supxlabel(note, x=0.01, ha="left", fontsize="small", color="0.4")
    return figure


def replaced(table: Table, series: Any) -> Table:
    """Return a table of one series."""
    from dataclasses import replace

    return replace(table, series=(series,))


def _values(column: Any) -> Any:
    """Return times on their own clock, or numbers, as matplotlib takes them."""
    if not isinstance(column, pl.Series):
        return column
    return column.dt.replace_time_zone(None).to_numpy() if column.dtype == pl.Datetime else column.to_numpy()
