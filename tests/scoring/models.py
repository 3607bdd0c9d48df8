"""Untrained forecasters of every kind, and tables for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gatewright.nn.model import Model
from gatewright.tasks.forecast import dataset
from tests.support.small_models import DATA, forecaster, rows_of, write_cells

HEADER = "site,time,load,flow,wind,heat,height,kind"


def cells(sites: Sequence[str], rows: int, zone: str = "", gaps: bool = False) -> list[list[str]]:
    """Rows of series of unequal length; with ``gaps``, inputs that are missing."""
    found = []
    for number, site in enumerate(sites):
        draw = np.random.default_rng(number)
        for row in rows_of(site, rows + 3 * number, number + 1):
            row[1] += zone
            row[2:4] = [value and f"{abs(float(value)):.0f}" for value in row[2:4]]
            if gaps and draw.random() < 0.2:
                row[4] = ""
            found.append([*row, ("rain", "sun", "")[draw.integers(3)]])
    return found


def saved(
    folder: Path, rows: int = 90, zone: str = "", gaps: bool = False, **data: Any
) -> tuple[Model, Path, pl.DataFrame]:
    """A forecaster of two series, its file, and its table with a series more."""
    known = cells(("north", "south", "west"), rows, zone, gaps)
    path = write_cells(folder / "train.csv", [row for row in known if row[0] != "west"], HEADER)
    options = replace(DATA, past=("wind", "kind"), **data)
    learned, model = forecaster(path, options)
    model.table = dataset.table_spec(learned)
    model.save(folder / "model.safetensors")
    write_cells(folder / "table.csv", known, HEADER)
    frame = pl.read_csv(folder / "table.csv", try_parse_dates=True)
    return model, folder / "model.safetensors", without_targets(frame)


def without_targets(frame: pl.DataFrame, rows: int = 3) -> pl.DataFrame:
    """A table whose last rows of each series have only what is known in advance."""
    ahead = (pl.len() - pl.int_range(pl.len())).over("site") <= rows
    return frame.with_columns(pl.when(~ahead).then(pl.col(name)).alias(name) for name in ("load", "flow"))


def next_rows(frame: pl.DataFrame, read: dict[str, int], end: int) -> pl.DataFrame:
    """The rows up to ``end`` that no earlier part has, as of that day: the rows after it without targets.

    Args:
        frame: the whole table.
        read: rows of each series in earlier parts, which is changed: those up to the last observed target.
        end: row after the last whose targets are there.
    """
    parts = []
    for (site,), rows in frame.group_by("site", maintain_order=True):
        began = read.get(site, 0)
        part = without_targets(rows[: end + 3]) if end + 3 < len(rows) else rows
        part = part[began:]
        observed = part.select(pl.any_horizontal(pl.col("load", "flow").is_not_null())).to_series()
        read[site] = began + int(observed.arg_true()[-1]) + 1
        parts.append(part)
    return pl.concat(parts)
