"""Scoring of a Parquet file of many series: series a second, CPU seconds and peak memory, next to neuralforecast.

``python -m benchmarks --only score`` trains a model for a few steps, writes files of 500 rows for each series, and
forecasts each file by `gatewright forecast` and by neuralforecast's `predict` with an LSTM of the same size, in
processes of their own, in turns.  neuralforecast has all of the file in memory: it gets the smaller files.  Where
it is not installed next to Gatewright, ``NEURALFORECAST_PYTHON`` names an interpreter that has it.

``python -m benchmarks.scoring FILE SERIES`` writes a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.large_table import measured
from benchmarks.settings import Part, Settings, counted

ROWS = 500
HORIZON, CONTEXT, UNITS = 24, 168, 64

#: Series of the files; neuralforecast gets those up to `MOST_OF_PEER`.
SERIES = (1_000, 10_000, 100_000)
MOST_OF_PEER = 10_000
TURNS = 3

_OPTIONS = ("--id", "unique_id", "--target", "y", "--time", "ds")
_AT_ONCE = 1_000


def rows_of(first: int, series: int, rows: int = ROWS) -> pl.DataFrame:
    """Return rows of some series: hours of a daily wave and noise, each at a level of its own.

    Args:
        first: number of the first series.
        series: number of series.
        rows: hours of each.
    """
    draw, hours = np.random.default_rng(first), np.arange(rows)
    level = draw.uniform(10, 1000, (series, 1))
    day = np.sin(hours * 2 * np.pi / 24 + draw.uniform(0, 6, (series, 1)))
    load = level * (1 + 0.3 * day + 0.03 * draw.normal(size=(series, rows)))
    times = np.datetime64("2024-01-01T00", "us") + hours.astype("timedelta64[h]")
    names = pl.Series([f"series_{number:07}" for number in range(first, first + series)])
    return pl.DataFrame(
        {
            "unique_id": names.gather(np.repeat(np.arange(series), rows)),
            "ds": np.tile(times, series),
            "y": load.ravel().round(2),
        }
    )


def write_table(path: Path, series: int, rows: int = ROWS) -> None:
    """Write a Parquet file in row groups of 250,000 rows, in little memory."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, rows_of(0, 1, rows).to_arrow().schema, compression="zstd") as writer:
        for first in range(0, series, _AT_ONCE):
            part = rows_of(first, min(_AT_ONCE, series - first), rows)
            writer.write_table(part.to_arrow(), row_group_size=250_000)


def run(settings: Settings) -> Part:
    """Forecast each file in turns; print series a second, CPU seconds and peak memory of each contender."""
    figures: list[dict[str, Any]] = []
    sizes = SERIES[:1] if settings.quick else SERIES
    for threads in settings.threads:
        print(f"\n{ROWS} rows a series, context {CONTEXT}, {UNITS} units, {counted(threads)}")
        print(f"{'series':>8}  {'':16}{'seconds':>9}{'CPU s':>8}{'series/s of CPU':>17}{'peak MB':>9}")
        with tempfile.TemporaryDirectory() as folder:
            model = _trained(Path(folder), threads)
            for series in sizes:
                path = Path(folder) / f"{series}.parquet"
                write_table(path, series)
                figures += _turns(model, path, series, threads, 1 if settings.quick else TURNS)
                path.unlink()
    return Part(figures, [])


def _trained(folder: Path, threads: int) -> Path:
    rows_of(0, 30, 1500).write_parquet(folder / "train.parquet")
    size = ("--context", CONTEXT, "--horizon", HORIZON, "--hidden", UNITS, "--steps", 20)
    measured(["train", folder / "train.parquet", *_OPTIONS, *size, "--run", folder / "run"], threads)
    return folder / "run"


def _turns(model: Path, table: Path, series: int, threads: int, turns: int) -> list[dict[str, Any]]:
    figures = []
    for turn in range(turns):
        out = table.with_name("forecasts.parquet")
        ours = measured(["forecast", model, table, "--out", out], threads)
        found = [("gatewright", ours.seconds, ours.cpu_seconds, ours.megabytes)]
        peer = _peer(table, threads) if series <= MOST_OF_PEER else None
        if peer is not None:
            found.append(("neuralforecast", peer["seconds"], peer["cpu_seconds"], peer["megabytes"]))
        for name, seconds, cpu, megabytes in found:
            print(
                f"{series:8,}  {name:16}{seconds:9.1f}{cpu:8.1f}{series / cpu:17,.0f}{megabytes:9,.0f}", flush=True
            )
            figure = {"contender": name, "series": series, "rows": ROWS, "threads": threads, "turn": turn}
            figures.append(figure | {"seconds": seconds, "cpu_seconds": cpu, "megabytes": megabytes})
    return figures


def _peer(table: Path, threads: int) -> dict[str, float] | None:
    """Return seconds, CPU seconds and megabytes of neuralforecast; None where it is not installed."""
    python = os.environ.get("NEURALFORECAST_PYTHON", sys.executable)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "POLARS_MAX_THREADS": str(threads)}
    sizes = map(str, (HORIZON, CONTEXT, UNITS))
    command = [python, "-m", "benchmarks.scoring_peer", str(table), *sizes]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        if "No module named 'neuralforecast'" in done.stderr:
            return None
        raise RuntimeError(done.stderr[-2000:])
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


if __name__ == "__main__":
    write_table(Path(sys.argv[1]), int(sys.argv[2]))
