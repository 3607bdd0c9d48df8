"""The commands that judge forecasters beyond one run: compare."""

from __future__ import annotations

import json
from pathlib import Path

from gatewright.cli.app import LOADING, app, errors, print_table, say
from gatewright.progress import Waits


@app.command
def compare(*runs: Path, windows: int | None = None, out: Path | None = None) -> None:
    """Compare runs of the same data on the same windows, with a Diebold-Mariano test.

    Example: gatewright compare runs/small runs/large

    The test is of the quantile loss, for each pair of runs; it takes into account that neighbouring forecasts
    overlap. A run of other data, another split, horizon or other quantiles is refused.

    Args:
        runs: Directories of two or more runs. The season of the first one scales MASE.
        windows: Maximum number of windows of the test part, evenly spaced (default: all).
        out: JSON file to write all figures to.
    """
    waits = Waits(errors)
    with waits.during(LOADING):
        from gatewright.data.window_checks import listed
        from gatewright.evaluation.comparison import compare_runs
        from gatewright.evaluation.comparison_tables import tables
        from gatewright.files.atomic import write_bytes, writing

    figures = compare_runs(runs, windows, waits)
    for table in tables(figures):
        print_table(table)
    if figures["series_without_windows"]:
        say(f"no window in the test part of {listed(figures['series_without_windows'])}")
    if out is not None:
        with writing(out):
            write_bytes(out, json.dumps(figures, indent=2, allow_nan=False).encode())
        say(f"wrote {out}")
