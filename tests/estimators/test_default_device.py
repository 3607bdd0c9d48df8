"""torch's default device is for the user's own tensors: what Gatewright computes does not depend on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import gatewright as gw
from tests.support.training_runs import FORECAST, LANGUAGE, quiet, train, weights, write_table, write_text

pytestmark = pytest.mark.slow

TEXT = "the gate forgets what it read, then writes again. " * 20


@contextmanager
def on_meta() -> Iterator[None]:
    """A default device without numbers: a tensor that is made on it gives none."""
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


def table() -> pl.DataFrame:
    hours = np.arange(200)
    wave = np.sin(hours * 2 * np.pi / 24) + np.random.default_rng(0).normal(scale=0.1, size=200)
    return pl.DataFrame({"t": np.datetime64("2024-01-01", "us") + hours.astype("timedelta64[h]"), "y": wave})


def forecaster() -> gw.Forecaster:
    return gw.Forecaster(horizon=2, hidden=4, steps=3, season=("24",), device="cpu").fit(table(), target="y")


def text_model() -> gw.LanguageModel:
    return gw.LanguageModel(hidden=8, layers=1, context=16, batch=4, steps=3, device="cpu").fit(TEXT)


def sequences() -> tuple[list[np.ndarray], list[int]]:
    draw = np.random.default_rng(0)
    return [draw.normal(size=(steps, 2)) for steps in (5, 7, 9, 6) * 5], [0, 1] * 10


def classifier() -> gw.SequenceClassifier:
    return gw.SequenceClassifier(hidden=4, steps=3, device="cpu").fit(*sequences())


def answers(kind: str, model: Any) -> list[Any]:
    """Everything that a model says."""
    if kind == "forecast":
        look = model.look(table())
        return [model.predict(table()).rows(), model.evaluate(table()), look.layers[0].cell.tolist()]
    if kind == "language":
        return [model.generate("the", length=8), model.evaluate(TEXT), model.look("the gate").predictions.tolist()]
    return [model.predict_proba(sequences()[0]).tolist(), model.evaluate(*sequences())]


@pytest.mark.parametrize(
    ("kind", "fitted"), [("forecast", forecaster), ("language", text_model), ("classify", classifier)]
)
def test_estimators_give_the_same(kind, fitted, tmp_path):
    model = fitted()
    expected = answers(kind, model)
    model.save(tmp_path / "model.safetensors")
    with on_meta():
        assert answers(kind, model) == expected
        assert answers(kind, gw.load(tmp_path / "model.safetensors"))[0] == expected[0]
        assert answers(kind, fitted())[0] == expected[0]


@pytest.mark.parametrize(
    ("options", "write"), [(FORECAST, write_table), (LANGUAGE, write_text)], ids=["forecast", "language"]
)
def test_a_run_comes_to_the_same_bits(options, write, tmp_path):
    source = write(tmp_path / ("load.csv" if write is write_table else "plays.txt"))
    train(source, options, run=tmp_path / "before", console=quiet())
    with on_meta():
        train(source, options, run=tmp_path / "now", console=quiet())
    before, now = (weights(tmp_path / name) for name in ("before", "now"))
    assert {name for name in before if before[name] != now[name]} == set()
