"""Small tables and untrained models for tests: random weights answer as well as trained ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from gatewright.nn.model import Model
from gatewright.spec import UNKNOWN, ModelSpec, StackSpec, SymbolEncoder, SymbolHead, Vocabulary
from gatewright.tasks import registry
from gatewright.tasks.forecast import dataset as series_data
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.options import DataOptions, ModelOptions, Options

#: Two targets with gaps, every kind of input, several series.
DATA = DataOptions(
    target=("load", "flow"), past=("wind",), known=("heat",), static=("height",), id=("site",), context=8,
    horizon=3, season=("none", "5"), valid="20", test="20",
)  # fmt: skip


def rows_of(site: str, rows: int, seed: int, step: str = "h") -> list[list[str]]:
    """Rows of one series as cells: site, time, load, flow, wind, heat, height."""
    draw = np.random.default_rng(seed)
    times = np.datetime64("2024-03-01T05:00:00") + np.arange(rows) * np.timedelta64(1, step)
    values = 20 + draw.normal(size=(rows, 4)).cumsum(axis=0)
    cells = [
        [site, str(time).replace("T", " "), *(f"{value:.5f}" for value in row), f"{seed}"]
        for time, row in zip(times, values, strict=True)
    ]
    for column in (2, 3):
        for row in np.flatnonzero(draw.random(rows) < 0.15):
            cells[row][column] = ""
    return cells


def write_cells(path: Path, cells: Sequence[Sequence[str]], header: str = "") -> Path:
    lines = [header or "site,time,load,flow,wind,heat,height", *(",".join(row) for row in cells)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def write_sites(path: Path, rows: int = 100) -> Path:
    """Two series in one table."""
    return write_cells(path, rows_of("north", rows, 1) + rows_of("south", rows + 7, 2))


def forecaster(path: Path, data: DataOptions = DATA, head: bool = True) -> tuple[SeriesData, Model]:
    """A table and a forecaster for it; with ``head``, one whose answers are not persistence."""
    options = registry.kind("forecast").resolve(Options(data, ModelOptions(hidden=6, layers=2)))
    table = series_data.read(path, options.data)
    options = replace(options, data=table.options)
    spec, scaler = series_data.build(table, options)
    torch.manual_seed(5)
    model = Model(spec, scaler=scaler).eval()
    if head:
        torch.nn.init.normal_(model.head.weight, std=0.5)
        torch.nn.init.normal_(model.head.bias, std=0.3)
    return table, model


def language_model(letters: str = "abcdef \n", seed: int = 3, sharp: float = 4.0) -> Model:
    """A language model with random weights whose scores differ."""
    vocabulary = Vocabulary((UNKNOWN, *sorted(set(letters))))
    spec = ModelSpec(SymbolEncoder(len(vocabulary.symbols), 5), StackSpec(9, dropout=0.5), SymbolHead())
    torch.manual_seed(seed)
    model = Model(spec, vocabulary=vocabulary).eval()
    torch.nn.init.normal_(model.head.weight, std=sharp)
    return model
