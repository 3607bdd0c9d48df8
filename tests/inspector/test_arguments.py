"""Each argument of `look` and `intervene` is obeyed, or refused with one sentence, whatever is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import LSTM, look
from gatewright.data.table import Roles, read_table
from gatewright.errors import GatewrightError
from gatewright.insight import intervene
from gatewright.nn.model import load
from gatewright.runs.run import Run
from gatewright.tasks.forecast import dataset as series_data


@pytest.mark.parametrize("way", [look, intervene])
@pytest.mark.parametrize("source", ["series", "text"])
@pytest.mark.parametrize("kind", ["run", "path", "model"])
def test_a_whole_model_takes_no_state(runs: Path, kind: str, source: str, way: Any) -> None:
    path = runs / source
    model = {"run": Run.open(path), "path": str(path), "model": load(path)}[kind]
    given = {"series": runs / "load.csv", "text": "what it read"}[source]
    state = (torch.zeros(2, 1, 8), torch.zeros(2, 1, 8))
    for data in (given, None) if kind != "model" else (given,):
        with pytest.raises(
            GatewrightError, match=r"^state: expected None for a whole model, which starts from zeros, got tuple$"
        ):
            way(model, data, state=state)


@pytest.mark.parametrize("way", [look, intervene])
@pytest.mark.parametrize("source", ["series", "text", "layers"])
def test_start_steps_and_title_are_obeyed_by_all(runs: Path, source: str, way: Any) -> None:
    if source == "layers":
        places: list[tuple[Any, Any]] = [(LSTM(4, 5), torch.randn(7, 3, 4))]
    else:
        path = runs / source
        given = {"series": runs / "load.csv", "text": (runs / "plays.txt").read_text("utf-8")}[source]
        places = [(path, None), (path, given), (Run.open(path), given), (load(path), given)]
    for model, data in places:
        whole, part = way(model, data), way(model, data, start=2, steps=3, title="three")
        assert (part.steps, part.about.title) == (3, "three")
        kept = 1 if source == "series" else 0  # of a first row the change is unknown
        np.testing.assert_array_equal(part.inputs[kept:], whole.inputs[2 + kept : 5])
        for name, value in (("title", 3), ("start", -1), ("start", 1.5), ("steps", 0)):
            with pytest.raises(GatewrightError, match=f"^{name}: expected "):
                way(model, data, **{name: value})
        with pytest.raises(GatewrightError, match=r"^start: expected a whole number from 0 to") as refused:
            way(model, data, start=10**9)
        last = int(str(refused.value).split("from 0 to ")[1].split(":")[0])
        assert way(model, data, start=last).steps == 1
        with pytest.raises(GatewrightError, match=rf"^start: expected a whole number from 0 to {last}: .*, got"):
            way(model, data, start=last + 1)
        for name in ("fill", "part", "states"):
            with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
                way(model, data, **{name: "mean"})


def test_a_run_reads_what_its_model_reads(runs: Path) -> None:
    """A table, a path, or a text; the name of a file is not taken for a text."""
    text, path = "what it read", runs / "plays.txt"
    for model in (runs / "text", load(runs / "text")):
        assert look(model, text).steps == len(text)
        assert look(model, path).steps == 6000
        with pytest.raises(
            GatewrightError, match=r"^data: expected a text, or the Path of one, got the name of a "
        ):
            look(model, str(path))
    table = read_table(runs / "load.csv", Roles(("load",), known=("wind",)))
    ways = [look(model, table) for model in (runs / "series", load(runs / "series"))]
    expected = look(runs / "series", str(runs / "load.csv"))
    for found in ways:
        np.testing.assert_array_equal(found.predictions, expected.predictions)
    for data in (3, torch.zeros(3, 1, 4)):
        with pytest.raises(GatewrightError, match=r"^data: expected a table's path, got "):
            look(runs / "series", data)


def test_a_table_is_read_as_a_stream_reads_it_from_any_row(runs: Path) -> None:
    """Levels, changes and what is missing are what a stream knows that begins with the first row."""
    run = Run.open(runs / "series")
    model = load(runs / "series")
    read = series_data.read(run.unchanged_source(), run.options().data).table.series[0]
    starts = [0, *np.flatnonzero(np.isnan(read.values[:, 0]))[:4], 77]
    for start in map(int, starts):
        found = look(run, runs / "load.csv", start=start, steps=40)
        rows = [[read.values[t, 0], *read.values[t + 1 : t + 4, 1]] for t in range(start, start + 40)]
        y = model.stream().run(rows, times=read.times[start : start + 40])  # type: ignore[index]
        np.testing.assert_allclose(found.predictions[:, 0], y, rtol=1e-5, atol=1e-4)
