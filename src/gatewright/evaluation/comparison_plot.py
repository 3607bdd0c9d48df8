"""The picture of a comparison: losses by step ahead, and differences with the interval of their test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gatewright.errors import GatewrightError
from gatewright.evaluation.pictures import colours_of, drawn, legend_above, lines_by_step, short

#: Maximum number of targets and of pairs that a picture shows.
TARGETS, PAIRS = 3, 15


def comparison_figure(figures: dict[str, Any]) -> Figure:
    """Draw what `gatewright.evaluation.comparison.compare_runs` returned.

    For each target: the quantile loss of runs and baselines at each step ahead, and below it the difference of
    each pair of runs with the 95% interval of the Diebold-Mariano test.

    Args:
        figures: of the comparison.

    Raises:
        GatewrightError: if they are not of a comparison.
    """
    if figures.get("kind") != "comparison":
        raise GatewrightError("figures", "those of compare_runs", repr(figures.get("kind"))[:80])
    targets = list(figures["targets"])[:TARGETS]
    heights: list[float] = []
    for target in targets:
        rows = min(len(figures["tests"][target]), PAIRS)
        methods = len(figures["targets"][target])
        heights += [2.6 + 0.2 * -(-methods // 3), 1.2 + 0.32 * rows]

    def draw(axes: Sequence[Axes]) -> None:
        for number, target in enumerate(targets):
            _draw_losses(axes[2 * number], target, figures)
            _draw_differences(axes[2 * number + 1], target, figures)
        if len(figures["targets"]) > len(targets):
            note = f"{len(targets)} of {len(figures['targets'])} targets"
            axes[-1].annotate(note, (0, -0.6), xycoords="axes fraction", fontsize="small", color="0.4")

    return drawn(heights, draw)


def _several(figures: dict[str, Any], target: str) -> bool:
    return bool(next(iter(figures["targets"][target].values()))["by_series"])


def _draw_losses(axes: Axes, target: str, figures: dict[str, Any]) -> None:
    """Draw the quantile loss at each step ahead."""
    methods = figures["targets"][target]
    several = _several(figures, target)
    measure = "scaled_quantile_loss" if several else "quantile_loss"
    values = {name: [step[measure] for step in own["by_step"]] for name, own in methods.items()}
    lines_by_step(axes, values, colours_of(list(methods)))
    axes.set_ylabel("scaled quantile loss" if several else f"quantile loss, units of {short(target)}")
    axes.set_title(f"{short(target)}, {figures['windows']:,} windows of the test part", loc="left",
                   fontweight="bold", fontsize="medium", pad=8 + 15 * -(-len(methods) // 3))  # fmt: skip
    legend_above(axes, len(methods))


def _draw_differences(axes: Axes, target: str, figures: dict[str, Any]) -> None:
    """Draw the difference of each pair, with its interval."""
    tests = figures["tests"][target][:PAIRS]
    for place, test in enumerate(tests):
        difference, low, high = test["difference"], test["low"], test["high"]
        if difference is None:
            continue
        sure = low is not None and (high < 0 or low > 0)
        colour = "#0072B2" if sure else "0.45"
        if low is not None:
            axes.plot([low, high], [place, place], color=colour, lw=2, solid_capstyle="butt")
        axes.plot(difference, place, "o", color=colour, ms=5)
    axes.axvline(0, color="black", lw=0.9)
    axes.set_yticks(range(len(tests)), [f"{short(test['first'])} -\n{short(test['second'])}" for test in tests],
                    fontsize="small")  # fmt: skip
    axes.set_ylim(len(tests) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=5)
    unit = "scaled" if _several(figures, target) else f"units of {short(target)}"
    axes.set_xlabel(f"difference of the quantile loss, {unit}\n(below 0: the first is better)")
    more = len(figures["tests"][target]) - len(tests)
    axes.set_title("Diebold-Mariano test, 95% interval" + (f"; {more} pairs more" if more else ""), loc="left",
                   fontsize="medium")  # fmt: skip
