"""The commands of published results: reproduce NAME, reproduce list, reproduce page."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclopts import App

from gatewright.cli.app import LOADING, app, complain, errors, print_table, say
from gatewright.progress import Waits
from gatewright.reproduce.names import require_name

reproduction = App(name="reproduce", help_on_error=False)
app.command(reproduction)


@reproduction.default
def reproduce(
    name: str, /, *, seeds: tuple[int, ...] = (0, 1, 2), out: Path = Path("results"), short: bool = False
) -> None:
    """Train for a published result, and compare the figures.

    Example: gatewright reproduce adding-100

    A seed's result is written as soon as it is finished; the same command again goes on with the seeds that are
    missing. `gatewright reproduce list` shows all experiments, `gatewright reproduce page DIR` makes a page of the
    results.

    Args:
        name: Name of the experiment.
        seeds: Random seeds (default: 0 1 2).
        out: Directory of the results, a JSON file for each experiment (default: results).
        short: Run a version that takes seconds; its figures compare with nothing.
    """
    require_name(name)
    waits = Waits(errors)
    with waits.during(LOADING):
        from gatewright.reproduce import results as files
        from gatewright.reproduce.registry import experiment as named
        from gatewright.reproduce.runner import reproduce as run
        from gatewright.reproduce.tables import result_table

    experiment = named(name)
    paper = experiment.paper
    say(f"{experiment.title}: {paper.authors} ({paper.year}), {paper.link}")
    try:
        results = run(experiment, out, seeds, short=short, waits=waits, report=say)
    except KeyboardInterrupt:
        complain("interrupted", "the same command again goes on with the seeds that are missing")
        sys.exit(130)
    print_table(result_table(experiment, results))
    say(f"wrote {files.path_of(out, experiment.name, short)}")


@reproduction.command(name="list")
def list_experiments() -> None:
    """List all experiments with their published figures.

    Example: gatewright reproduce list
    """
    with Waits(errors).during(LOADING):
        from gatewright.reproduce.registry import EXPERIMENTS
        from gatewright.reproduce.tables import list_table

    print_table(list_table(list(EXPERIMENTS.values())))


@reproduction.command
def page(directory: Path, /, *, docs: Path = Path("docs")) -> None:
    """Write a page of all results, with curves, as Markdown and SVG.

    Example: gatewright reproduce page results --docs docs

    Args:
        directory: Directory of results.
        docs: Directory to write results.md and images/results/ to (default: docs).
    """
    waits = Waits(errors)
    with waits.during(LOADING):
        from gatewright.reproduce.page import write

    for path in write(directory, docs):
        say(f"wrote {path}")
