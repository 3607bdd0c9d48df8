"""The picture of an experiment: its curves, a colour for each legend, a line for each seed."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from gatewright.reproduce.experiment import Experiment
from gatewright.reproduce.results import Results

#: Colours that the colour-blind can tell apart (Okabe & Ito 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#999999", "#000000")


def draw(experiment: Experiment, results: Results) -> bytes:
    """Return the picture as SVG, the same bytes for the same results; none without curves."""
    legends = list(dict.fromkeys(name for _, seed in sorted(results.seeds.items()) for name in seed.curves))
    if not legends:
        return b""
    style: dict[Any, Any] = {
        "svg.hashsalt": experiment.name,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        for number, legend in enumerate(legends):
            label = legend
            for _, seed in sorted(results.seeds.items()):
                if legend in seed.curves:
                    curve = seed.curves[legend]
                    axes.plot(curve.x, curve.y, color=COLOURS[number % len(COLOURS)], lw=1, label=label)
                    label = "_"
        axes.set(xlabel=experiment.axes[0], ylabel=experiment.axes[1])
        if experiment.log_y:
            axes.set_yscale("log")
        if len(legends) > 1:
            figure.legend(loc="outside right upper", frameon=False, fontsize="small")
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
