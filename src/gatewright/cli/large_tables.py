"""Forecasts of tables of any size, without torch: a part of the command `forecast`."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

from gatewright.cli.app import UsageError, complain, say
from gatewright.progress import Waits
from gatewright.runs.run import Run


class Options(NamedTuple):
    """The options of the command.

    Attributes:
        data: the table.
        out: file of the forecasts.
        snapshots: file of snapshots.
        ray: address of a cluster.
        horizon: steps to forecast.
        fill: how missing inputs are filled.
    """

    data: Path
    out: Path | None
    snapshots: Path | None
    ray: str | None
    horizon: int | None
    fill: str | None


def takes(
    run: Path, data: Path, out: Path | None, snapshots: Path | None, ray: str | None, paths: int | None
) -> bool:
    """Say whether a forecast is one of this file: from a Parquet file, into one, with snapshots or with Ray.

    Raises:
        UsageError: if an option does not go with another.
    """
    asked = {"--snapshots": snapshots, "--ray": ray, "--out": out if is_parquet(out) else None}
    option = next((name for name, value in asked.items() if value is not None), None)
    if paths is not None:
        if option is not None:
            raise UsageError("--paths", f"none with {option} {asked[option]}: it takes quantiles", str(paths))
        return False
    if snapshots is not None and not is_parquet(snapshots):
        raise UsageError("--snapshots", "a .parquet file", str(snapshots))
    if ray is not None and not is_parquet(data):
        raise UsageError("--ray", "a .parquet file to score", str(data))
    if option is None:
        file = is_parquet(data) and not data.is_dir()  # a directory is one table in several files
        return file and importlib.util.find_spec("pyarrow") is not None and _says_how_to_read(run)
    return True


def is_parquet(path: Path | None) -> bool:
    """Say whether a path is that of a Parquet file."""
    return path is not None and path.suffix.lower() == ".parquet"


def _says_how_to_read(run: Path) -> bool:
    """Say whether the file of a run's model says how tables are read, as it does since version 3."""
    from gatewright.files import model_file

    return model_file.read(Run.open(run).require_model()).table is not None


def forecast(run: Path, options: Options, waits: Waits) -> None:
    """Forecast a table, and print what was written."""
    from gatewright.scoring.file_job import Files, forecast_file
    from gatewright.scoring.scorer import Scorer

    opened = Run.open(run)
    with opened.reading():
        scorer = Scorer(run, horizon=options.horizon, fill=options.fill, threads=1 if options.ray else _cores())
        files = Files(options.data, options.out, options.snapshots)
        parts_of = None
        if options.ray is not None:
            from gatewright.scoring.ray_job import parts_by

            parts_of = parts_by(options.ray)
        result = forecast_file(scorer, files, waits, parts_of)
    for note in result.notes.lines():
        complain("note", note)
    if options.out is not None:
        say(f"wrote {options.out}: {result.rows:,} rows, {result.series:,} series")
    if options.snapshots is not None:
        to = say if options.out is not None else _quietly
        to(f"wrote {options.snapshots}")


def _quietly(text: str) -> None:
    complain("note", text)


def _cores() -> int:
    named = os.environ.get("OMP_NUM_THREADS", "")
    if named.isdecimal() and int(named):
        return int(named)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
