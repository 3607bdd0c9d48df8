"""Experiments and results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from gatewright.reproduce.experiment import Experiment
from gatewright.reproduce.results import Results, of_measure, summary
from gatewright.tasks.tables import empty


def list_table(experiments: Sequence[Experiment]) -> Table:
    """Lay out the first measure of each experiment."""
    table = empty("", ["published", "to reach"])
    table.add_column("measure")
    table.add_column("paper")
    for experiment in experiments:
        measure = next(iter(experiment.measures.values()))
        figures = [
            "–" if value is None else f"{value:,.{measure.digits}f}" for value in (measure.published, measure.bar)
        ]
        paper = f"{experiment.paper.authors} {experiment.paper.year}"
        table.add_row(experiment.name, *figures, escape(measure.text), escape(paper))
    return table


def result_table(experiment: Experiment, results: Results) -> Table:
    """Lay out all measures, with mean and spread over seeds next to the published figure."""
    seeds = len(results.seeds)
    title = f"{experiment.name}{' (short)' if results.short else ''}: {seeds} seed{'s' if seeds > 1 else ''}"
    table = empty(title, ["ours", "published", "to reach"])
    for name, measure in experiment.measures.items():
        figures = [
            "–" if value is None or results.short else f"{value:,.{measure.digits}f}"
            for value in (measure.published, measure.bar)
        ]
        table.add_row(escape(measure.text), summary(of_measure(results, name)).text(measure), *figures)
    return table
