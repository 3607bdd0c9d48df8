"""Classes of sequences and of steps, next to the torch modules."""

from __future__ import annotations

import pickle

import numpy as np
import polars as pl
import pytest

import gatewright
from gatewright.errors import DataError, GatewrightError, SpecError
from gatewright.nn.model import Model
from gatewright.spec import CellSpec
from tests.scoring.test_scorer import quiet
from tests.support.class_models import CLASSES, COLUMNS, class_model, class_rows
from tests.support.small_models import language_model

MODELS = {
    "last": {"pooling": "last", "bidirectional": True},
    "max": {"pooling": "max", "bidirectional": True, "proj": 4},
    "mean": {"pooling": "mean", "categories": True},
    "attention": {"pooling": "attention", "bidirectional": True},
    "tagger": {"pooling": "", "bidirectional": True, "categories": True},
}
LENGTHS = (7, 1, 12, 5)


def table(categories: bool) -> pl.DataFrame:
    """Four sequences as a long table."""
    rows = np.concatenate([class_rows(length, seed) for seed, length in enumerate(LENGTHS)])
    frame = pl.DataFrame(rows, schema=list(COLUMNS)).with_columns(
        who=pl.Series(np.repeat(["u", "v", "w", "x"], LENGTHS)),
        t=pl.Series(np.concatenate([np.arange(length) for length in LENGTHS])),
    )
    codes = pl.Series(np.resize([7, 8, 9, 11, 10], len(frame)))
    return frame.with_columns(c=codes) if categories else frame


@pytest.mark.parametrize("name", MODELS)
def test_classes_are_those_of_the_torch_modules(name, tmp_path, monkeypatch):
    options = MODELS[name]
    model = class_model(**options)
    model.save(tmp_path / "model.safetensors")
    frame = table(options.get("categories", False))
    scorer = gatewright.Scorer(tmp_path / "model.safetensors", id="who", time="t")
    answer = quiet(scorer.score, frame)
    parts = frame.partition_by("who", maintain_order=True)
    shares = [f"p_{label}" for label in CLASSES]
    rows = [part.select(COLUMNS).to_numpy().astype(np.float64) for part in parts]
    if "categories" in options:  # the values of the model have indices from 1 on, others 0
        for each in rows:
            each[:, 2] = np.where(each[:, 2] <= 10, each[:, 2] - 6, 0)
    expected = expected_of(model, rows)
    np.testing.assert_allclose(answer.select(shares), expected, rtol=1e-6, atol=1e-7)
    assert answer["label"].to_list() == [CLASSES[n] for n in expected.argmax(axis=1)]
    assert answer["who"].to_list() == (frame["who"].to_list() if name == "tagger" else ["u", "v", "w", "x"])
    again = pickle.loads(pickle.dumps(scorer))
    pieces = [frame[k : k + 4] for k in range(0, len(frame), 4)]
    assert pl.concat(quiet(lambda: list(again.score_batches(pieces, rows=8)))).equals(answer)
    monkeypatch.setattr("gatewright.runtime.whole_sequences.BLOCK", 1)  # each sequence by itself
    assert quiet(scorer.score, frame).equals(answer)


def expected_of(model: Model, rows: list[np.ndarray]) -> np.ndarray:
    """Probabilities by the torch modules, for rows whose categories are indices."""
    import torch

    from gatewright.tasks.classify.predict import outputs, softmax

    encoder, scaler = model.spec.encoder, model.scaler
    encoded = []
    for values in rows:
        missing = np.isnan(values)
        scaled = np.nan_to_num((values - scaler.mean) / scaler.scale)
        may_miss = [column in encoder.missing for column in encoder.columns]
        encoded.append(np.concatenate([scaled, ~missing[:, may_miss]], axis=1).astype(np.float32))
    found = [None] * len(rows)
    with torch.no_grad():
        for numbers, y in outputs(model, encoded):
            for place, number in enumerate(numbers):
                one = y[: len(rows[number]), place] if model.spec.tagger else y[0, place][None]
                found[number] = softmax(one)
    return np.concatenate(found)


def test_other_cells_and_stacks(tmp_path):
    model = gatewright.SequenceClassifier(
        hidden=[6, 6], residual=True, cell=CellSpec(peephole=True, coupled=True), steps=1, seed=1
    )
    X = np.random.default_rng(0).normal(size=(24, 9, 2))
    model.fit(X, np.arange(24) % 3)
    model.save(tmp_path / "m.safetensors")
    frame = pl.DataFrame(X.reshape(-1, 2), schema=["x0", "x1"]).with_columns(who=np.repeat(np.arange(24), 9))
    answer = gatewright.Scorer(tmp_path / "m.safetensors", id="who").score(frame)
    np.testing.assert_allclose(answer.select("p_0", "p_1", "p_2"), model.predict_proba(X), rtol=2e-6, atol=1e-7)


def test_what_a_model_of_classes_refuses(tmp_path):
    class_model().save(tmp_path / "m.safetensors")
    language_model().save(tmp_path / "text.safetensors")
    scorer, frame = gatewright.Scorer(tmp_path / "m.safetensors", id="who"), table(False)
    for call, error, match in (
        (lambda: scorer.advance(frame), SpecError, "a model of classes, which has no snapshots"),
        (
            lambda: gatewright.Scorer(tmp_path / "m.safetensors", horizon=2),
            GatewrightError,
            "horizon: expected None",
        ),
        (lambda: scorer.score(frame.drop("b")), DataError, "'b'"),
        (
            lambda: gatewright.Scorer(tmp_path / "text.safetensors"),
            SpecError,
            "a forecaster, a classifier or a tagger",
        ),
    ):
        with pytest.raises(error, match=match):
            quiet(call)
