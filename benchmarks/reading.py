"""Seconds of CPU from the file of a million rows to its series, next to what polars alone takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.settings import Part, Settings
from gatewright.data.csv_reader import SEPARATORS, read_records, read_with_polars
from gatewright.data.table import Roles, read_table

ROLES = Roles(("y",), past=("temp", "wind"), known=("rain",), series=("site",))


def run(settings: Settings) -> Part:
    """Read tables of one, of many and of very many series, quoted and as Parquet, and print the CPU seconds."""
    rows = 100_000 if settings.quick else 1_000_000
    measured = []
    print(f"\nreading {rows:,} rows of 6 columns (seconds of CPU, all threads)")
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.csv"
        for series in (1, 500, 20_000):
            table = _table(rows, min(series, rows // 50))
            table.write_csv(plain)
            measured.append(_timed(f"{series:,} series", lambda: read_table(plain, ROLES)))
        table.write_csv(Path(folder) / "quoted.csv", quote_style="always")
        measured.append(_timed("quoted", lambda: read_table(Path(folder) / "quoted.csv", ROLES)))
        table.write_parquet(Path(folder) / "table.parquet")
        measured.append(_timed("Parquet", lambda: read_table(Path(folder) / "table.parquet", ROLES)))
        raw = plain.read_bytes()
        measured.append(_timed("cells alone", lambda: read_with_polars(plain, raw, SEPARATORS)))
        measured.append(_timed("cells alone, by record", lambda: read_records(plain, raw, SEPARATORS)))
        measured.append(_timed("polars alone", lambda: pl.read_csv(plain, try_parse_dates=True)))
    return Part(measured, [])


def _table(rows: int, series: int) -> pl.DataFrame:
    rng, length = np.random.default_rng(0), rows // series
    last = datetime(2000, 1, 1) + timedelta(hours=length - 1)
    times = pl.datetime_range(datetime(2000, 1, 1), last, "1h", eager=True)
    return pl.DataFrame(
        {
            "time": pl.concat([times] * series).dt.strftime("%Y-%m-%d %H:%M:%S"),
            "site": np.repeat([f"site{number}" for number in range(series)], length),
            "y": np.round(rng.normal(size=length * series).cumsum(), 3),
            "temp": np.round(rng.normal(size=length * series), 2),
            "wind": np.round(rng.random(length * series), 2),
            "rain": rng.integers(0, 5, length * series),
        }
    )


def _timed(name: str, read: Callable[[], object]) -> dict[str, str | float]:
    began = time.process_time()
    read()
    seconds = time.process_time() - began
    print(f"{name:>24}{seconds:8.2f}", flush=True)
    return {"table": name, "cpu_seconds": seconds}
