"""Pictures of measures: their style, their colours, and the file that they go to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gatewright.files.atomic import writing
from gatewright.tasks.forecast.plot import COLOURS, STYLE

#: Inches of a picture's width: its text stays readable where the picture is 400 pixels wide.
WIDTH = 5.2
#: Colours of models that have none of their own, for the colour-blind (Okabe & Ito 2008).
_OTHERS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442")
#: Longest name in a legend or a title.
_LONGEST = 28


def write_picture(figure: Figure, path: Path) -> None:
    """Write a picture in the format of the file's ending.

    Raises:
        OSError: if it cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    more: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {}
    with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": "gatewright", **STYLE}), writing(path):
        warnings.simplefilter("ignore")  # a name may hold letters that the font lacks
        figure.savefig(path, format=kind, **more)


def drawn(heights: Sequence[float], draw: Callable[[Sequence[Axes]], None]) -> Figure:
    """Return a picture of panels, one below the other.

    Args:
        heights: of the panels, in inches.
        draw: draws on their axes.
    """
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained", dpi=150, facecolor="white")
        FigureCanvasAgg(figure)
        draw(list(figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]))
        return figure


def colours_of(methods: Sequence[str]) -> dict[str, str]:
    """Return a colour for each method; models of users' names get the next free one.

    >>> colours_of(["small", "large", "persistence"])
    {'small': '#0072B2', 'large': '#D55E00', 'persistence': '#E69F00'}
    """
    own = [name for name in methods if name not in COLOURS]
    return {
        name: COLOURS[name] if name in COLOURS else _OTHERS[own.index(name) % len(_OTHERS)] for name in methods
    }


def short(name: str) -> str:
    """Return a name that fits into a title or a legend."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def legend_above(axes: Axes, methods: int) -> None:
    """Put the legend between the title and the panel, in columns."""
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=min(3, methods), frameon=False,
        fontsize="small", handlelength=1.4, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip


def lines_by_step(axes: Axes, methods: Mapping[str, Sequence[float | None]], colours: dict[str, str]) -> None:
    """Draw a measure by step ahead, a line for each method; bars where there is but one step."""
    horizon = len(next(iter(methods.values())))
    for place, (name, values) in enumerate(methods.items()):
        heights = [float("nan") if value is None else value for value in values]
        dashes = "-" if place == 0 or name not in COLOURS else "--"
        if horizon == 1:
            axes.bar(place, heights[0], color=colours[name], width=0.6, label=short(name))
        else:
            marker = "o" if horizon <= 12 else None
            axes.plot(range(1, horizon + 1), heights, dashes, color=colours[name], lw=1.8, marker=marker, ms=3.5,
                      label=short(name), zorder=4 - place / 100)  # fmt: skip
    if horizon == 1:
        axes.set_xticks([])
        axes.set_xlabel("a step ahead")
    else:
        axes.set_xlabel("steps ahead")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
