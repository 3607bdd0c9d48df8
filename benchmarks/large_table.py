"""A table of 1.5 million rows: seconds until a training shows a line and takes a step, and of an evaluation.

With CPU seconds and peak memory of both commands.  ``python -m benchmarks.large_table FILE`` writes the table.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks import bars
from benchmarks.bars import Judged
from benchmarks.settings import Part, Settings, counted

ROWS, SERIES = 1500, 1000
COLUMNS = ("--id", "site", "--target", "load", "--past", "temperature", "--static", "area", "--horizon", "24")


class Command(NamedTuple):
    """What a command took.

    Attributes:
        lines: what it printed, each with the seconds since its start.
        seconds: until its end.
        cpu_seconds: of all its threads.
        megabytes: of its resident memory at the most.
    """

    lines: list[tuple[float, str]]
    seconds: float
    cpu_seconds: float
    megabytes: float

    def until(self, start: str) -> float:
        """Return the seconds until a line that begins so."""
        return next((when for when, line in self.lines if line.startswith(start)), float("nan"))


def write_table(path: Path, rows: int = ROWS, series: int = SERIES) -> None:
    """Write a long CSV file: a name, hours, a load that follows a daily wave and the temperature, and an area.

    Args:
        path: of the file.
        rows: hours of each series.
        series: number of series.
    """
    draw, hours = np.random.default_rng(0), np.arange(rows)
    level = draw.uniform(10, 1000, (series, 1))
    day = np.sin(hours * 2 * np.pi / 24 + draw.uniform(0, 6, (series, 1)))
    year = np.sin(hours * 2 * np.pi / (24 * 365))
    temperature = 10 + 8 * year + 4 * day + draw.normal(size=(series, rows))
    load = level * (1 + 0.3 * day + 0.01 * temperature + 0.03 * draw.normal(size=(series, rows)))
    table = {
        "site": np.repeat([f"site_{number:04}" for number in range(series)], rows),
        "time": np.tile(np.datetime64("2024-01-01T00", "us") + hours.astype("timedelta64[h]"), series),
        "load": load.ravel().round(2),
        "temperature": temperature.ravel().round(2),
        "area": np.repeat(level.round(1), rows),
    }
    pl.DataFrame(table).write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S")


def run(settings: Settings) -> Part:
    """Train for one step and evaluate, in processes of their own; print and judge the seconds."""
    rows, series = (300, 100) if settings.quick else (ROWS, SERIES)
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    for threads in settings.threads:
        print(f"\n{rows * series:,} rows, {series:,} series, {counted(threads)}: seconds, ratio to the bar")
        with tempfile.TemporaryDirectory() as folder:
            table, path = Path(folder) / "table.csv", Path(folder) / "run"
            write_table(table, rows, series)
            train = measured(["train", table, *COLUMNS, "--steps", "1", "--run", path], threads)
            evaluate = measured(["evaluate", path], threads)
        found = {
            bars.FIRST_LINE: train.lines[0][0],
            bars.FIRST_STEP: train.until("step "),
            bars.EVALUATE: evaluate.seconds,
        }
        for bar, seconds in found.items():
            print(f"{bar.what:64}{seconds:8.1f}{seconds / bar.must:8.2f}", flush=True)
        for name, command in (("train", train), ("evaluate", evaluate)):
            print(f"{name}: {command.cpu_seconds:.1f} s of CPU, {command.megabytes:,.0f} MB")
            figures.append({"command": name, "threads": threads, "rows": rows, "series": series} | _plain(command))
        if not settings.quick:
            judged += [Judged(bar, threads, seconds) for bar, seconds in found.items()]
    return Part(figures, judged)


def measured(arguments: Sequence[object], threads: int) -> Command:
    """Run a command of Gatewright to its end.

    Raises:
        RuntimeError: if it fails; it has what the command printed.
    """
    number = str(threads)
    environment = {**os.environ, "OMP_NUM_THREADS": number, "POLARS_MAX_THREADS": number, "PYTHONUNBUFFERED": "1"}
    command, lines = [sys.executable, "-m", "gatewright", *map(str, arguments)], []
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append((time.perf_counter() - began, line.rstrip()))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError("\n".join(line for _, line in lines))
    return Command(lines, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1.024 / 1e3)


def _plain(command: Command) -> dict[str, Any]:
    first = command.lines[0][0]
    return {
        "first_line": first,
        "first_step": command.until("step "),
        "seconds": command.seconds,
        "cpu_seconds": command.cpu_seconds,
        "megabytes": command.megabytes,
    }


if __name__ == "__main__":
    write_table(Path(sys.argv[1]))
