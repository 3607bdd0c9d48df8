"""Sequences in, classes out: the same model as the run of the command line, in the form of the question."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright.errors import GatewrightError
from gatewright.tasks.classify.predict import predict_proba
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train.launch import train
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    import pandas as pd
    from sklearn import metrics, model_selection
else:
    metrics, model_selection = LazyModule("sklearn.metrics"), LazyModule("sklearn.model_selection")
    pd = LazyModule("pandas")

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"hidden": 6, "steps": 40, "batch": 16, "lr": 0.02, "warmup": 2, "validate_every": 20}


def sequences(count: int = 40, seed: int = 0) -> tuple[list[np.ndarray[Any, Any]], list[str]]:
    """Sequences of unequal length with two features; the label is the sign of the mean of the first."""
    random = np.random.default_rng(seed)
    labels = ["up" if n % 2 else "down" for n in range(count)]
    X = [
        random.normal((1.2 if label == "up" else -1.2, 0.0), size=(int(random.integers(4, 12)), 2))
        for label in labels
    ]
    return X, labels


def long_table(X: list[np.ndarray[Any, Any]], labels: list[str]) -> pl.DataFrame:
    rows = [
        {"who": f"s{n}", "step": t, "a": float(row[0]), "b": float(row[1]), "move": labels[n]}
        for n, values in enumerate(X)
        for t, row in enumerate(values)
    ]
    return pl.DataFrame(rows)


@pytest.fixture(scope="module")
def fitted() -> gw.SequenceClassifier:
    return gw.SequenceClassifier(**SMALL).fit(*sequences())


def test_it_learns_what_the_run_of_a_table_does(fitted: gw.SequenceClassifier, tmp_path: Path) -> None:
    X, y = sequences()
    table = long_table(X, y)
    table.write_parquet(tmp_path / "moves.parquet")
    options = Options(
        DataOptions(id=("who",), label="move", features=("a", "b"), time="step", test="0"),
        ModelOptions(hidden=6),
        TrainingOptions(steps=40, batch=16, lr=0.02, warmup=2, validate_every=20),
    )
    run = train(tmp_path / "moves.parquet", options, run=tmp_path / "run")[0]
    roles = {"id": "who", "label": "move", "features": ["a", "b"], "time": "step"}
    own = gw.SequenceClassifier(**SMALL).fit(table, **roles)
    assert own.model_.fingerprint == run.best_model().fingerprint
    weights, expected = own.model_.state_dict(), fitted.model_.state_dict()
    assert all(np.array_equal(weights[name].numpy(), value.numpy()) for name, value in expected.items())
    by_path = gw.SequenceClassifier(**SMALL).fit(tmp_path / "moves.parquet", **roles)
    assert by_path.model_.fingerprint == own.model_.fingerprint
    answer = own.predict_proba(table)
    assert answer.columns == ["who", "p_down", "p_up"]
    assert own.predict(table).columns == ["who", "label"]
    assert answer["who"].to_list() == [f"s{n}" for n in range(len(X))]
    np.testing.assert_array_equal(answer.drop("who").to_numpy(), fitted.predict_proba(X))
    assert own.predict(table)["label"].to_list() == fitted.predict(X).tolist()
    # Rows in another order: the time puts them right, and the sequences come as they appear.
    shuffled = table.sample(fraction=1, shuffle=True, seed=1)
    assert own.predict_proba(shuffled).sort("who").equals(answer.sort("who"))
    pandas = pd.DataFrame({name: table[name].to_list() for name in table.columns})
    assert own.predict_proba(pandas).equals(answer)
    assert own.predict_proba(table.drop("move")).equals(answer)
    assert own.evaluate(table, label="move") == fitted.evaluate(X, y)
    loaded = gw.load(run.path)
    assert isinstance(loaded, gw.SequenceClassifier)
    assert loaded.predict_proba(table).equals(answer)
    # Each column of several keeps its name and its type.
    day = table["who"].str.slice(1).cast(pl.Int64)
    two = loaded.predict(table.with_columns((day % 2).alias("site"), day=day), id=["site", "day"])
    assert two.schema == {"site": pl.Int64, "day": pl.Int64, "label": pl.String}
    assert two.rows() == [(n % 2, n, label) for n, label in enumerate(fitted.predict(X))]
    with pytest.raises(
        GatewrightError, match="columns: expected a column of id or time with another name than 'la"
    ):
        loaded.predict(table.rename({"who": "label"}), id="label")


def test_probabilities_are_those_of_the_model(fitted: gw.SequenceClassifier, tmp_path: Path) -> None:
    from gatewright.data.sequences import sequences_of

    X, _ = sequences(10, seed=3)
    answer = fitted.predict_proba(X)
    np.testing.assert_array_equal(answer, predict_proba(fitted.model_, sequences_of(X)))
    np.testing.assert_allclose(answer.sum(axis=1), 1.0, rtol=1e-12)
    assert fitted.predict(X).tolist() == fitted.classes_[answer.argmax(axis=1)].tolist()
    np.testing.assert_allclose(fitted.predict_proba(X[3:4])[0], answer[3], rtol=1e-6)
    fitted.save(tmp_path / "m.safetensors")
    loaded = gw.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(X), answer)
    assert loaded.predict(X).tolist() == fitted.predict(X).tolist()
    recording = gw.look(loaded, X)
    np.testing.assert_array_equal(recording.predictions, fitted.look(X).predictions)


def test_figures_are_those_of_scikit_learn(fitted: gw.SequenceClassifier) -> None:
    X, y = sequences(30, seed=5)
    figures, answer = fitted.evaluate(X, y), fitted.predict_proba(X)
    guess = fitted.predict(X)
    assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(y, guess))
    assert figures["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(y, guess))
    assert figures["confusion"] == metrics.confusion_matrix(y, guess, labels=fitted.classes_).tolist()
    assert figures["f1_by_class"] == pytest.approx(
        metrics.f1_score(y, guess, labels=fitted.classes_, average=None).tolist()
    )
    assert figures["log_loss"] == pytest.approx(metrics.log_loss(y, answer, labels=fitted.classes_))
    assert fitted.score(X, y) == figures["accuracy"] >= 0.9


def test_a_loaded_model_does_not_read_the_rows_of_a_long_frame_as_sequences(tmp_path: Path) -> None:
    table = long_table(*sequences(12))
    table = table.with_columns(kind=pl.when(pl.col("a") > 0).then(pl.lit("p")).otherwise(pl.lit("q")))
    few = {**SMALL, "steps": 2, "validate_every": 2}
    for features in (["a"], ["a", "b"], ["a", "kind"]):
        fitted = gw.SequenceClassifier(**few).fit(table, id="who", label="move", time="step", features=features)
        fitted.save(tmp_path / "m.safetensors")
        loaded = gw.load(tmp_path / "m.safetensors")
        assert isinstance(loaded, gw.SequenceClassifier)
        own = table.select("who", "step", *features)
        labels = np.repeat("up", len(table))
        pandas = pd.DataFrame({name: own[name].to_list() for name in own.columns})
        for frame in (own, own.drop("who"), pandas):
            for ask in (loaded.predict, loaded.predict_proba, partial(loaded.score, y=labels)):
                with pytest.raises(GatewrightError, match=r"^id: expected the column that names the sequence"):
                    ask(frame)
        assert loaded.predict_proba(own, id="who", time="step").equals(fitted.predict_proba(own))
        with pytest.raises(GatewrightError, match=r"^id: "):  # its labels are of sequences, not of rows
            fitted.score(own, labels)
    # A model of arrays reads a frame of steps in columns, by whatever names, but none with its own next to others.
    X = np.stack([np.full(6, 1.0 if n % 2 else -1.0) + 0.1 * n for n in range(20)])
    model = gw.SequenceClassifier(**few).fit(X, np.arange(20) % 2)
    for prefix in ("x", "t"):
        frame = pd.DataFrame(X, columns=[f"{prefix}{n}" for n in range(6)])
        assert model.predict(frame).tolist() == model.predict(X).tolist()
    with pytest.raises(GatewrightError, match=r"^id: "):
        model.predict(pd.DataFrame({"id": np.arange(20), "x0": X[:, 0]}))


@pytest.mark.parametrize("labels", [np.array([3, 1]), np.array([True, False]), np.array([1.5, -2.0]), ["b", "a"]])
def test_labels_come_back_with_their_type(labels: Any) -> None:
    X = np.stack([np.full(6, 1.0 if n % 2 else -1.0) + 0.1 * n for n in range(20)])
    y = [labels[n % 2] for n in range(20)]
    model = gw.SequenceClassifier(**SMALL).fit(X, y if isinstance(labels, list) else np.array(y))
    assert set(model.predict(X).tolist()) <= set(np.array(y).tolist())
    assert model.predict(X).dtype.kind == np.array(y).dtype.kind
    assert model.score(X, y) == 1.0
    frame = pd.DataFrame(X)
    np.testing.assert_array_equal(model.predict(frame), model.predict(X))
    refit = gw.SequenceClassifier(**SMALL).fit(frame, pd.Series(y))
    np.testing.assert_array_equal(refit.predict_proba(X), model.predict_proba(X))


def test_a_grid_search() -> None:
    X = np.random.default_rng(0).normal(size=(36, 5, 2))
    y = (X[:, :, 0].mean(axis=1) > 0).astype(int)
    search = model_selection.GridSearchCV(
        gw.SequenceClassifier(**{**SMALL, "steps": 10}), {"hidden": [3, 4]}, cv=2
    ).fit(X, y)
    assert search.best_estimator_.predict(X).shape == (36,)


X_, Y_ = sequences()
TABLE = long_table(X_, Y_)
BAD: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "no labels": (X_, None, {}, "^y: expected a label for each sequence, got None"),
    "too few labels": (X_, Y_[:-1], {}, "^y: expected 40 labels"),
    "one class": (X_, ["up"] * 40, {}, "class"),
    "a missing label": (X_, [*Y_[:-1], None], {}, r"^y\[39\]: expected a label, got nothing"),
    "labels that are equal as text": (X_, [1, "1"] * 20, {}, "^y: expected labels that differ as text, got 1 and"),
    "an empty sequence": ([*X_[:-1], np.empty((0, 2))], Y_, {}, r"^X\[39\]"),
    "another width": ([*X_[:-1], np.zeros((4, 3))], Y_, {}, r"^X\[39\]: expected 2 numbers a row"),
    "infinite": ([*X_[:-1], np.full((4, 2), np.inf)], Y_, {}, r"^X\[39\], row 0, column 0"),
    "a frame without id": (TABLE, None, {}, "^id: expected the column that names the sequence"),
    "a frame with a label alone": (TABLE, None, {"label": "move"}, "^(y|id): "),
    "a frame and y": (TABLE, ["up"] * len(TABLE), {"id": "who"}, "^y: expected no y with a long table"),
    "no such column": (TABLE, None, {"id": "whom", "label": "move"}, "^id: expected a column out of"),
    "no such role": (TABLE, None, {"ids": "who"}, "^columns: expected a role out of .*did you mean 'id'"),
    "a role for arrays": (X_, Y_, {"id": "who"}, "^id: expected a name only for columns of a table"),
    "text": ("none.csv", None, {"id": "who", "label": "move"}, "the file does not exist"),
    "a number": (3, [1], {}, "^X: expected"),
}  # fmt: skip


@pytest.mark.parametrize(("X", "y", "columns", "message"), BAD.values(), ids=BAD)
def test_wrong_input_is_refused_in_one_sentence(X: Any, y: Any, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(GatewrightError, match=message) as refused:
        gw.SequenceClassifier(**SMALL).fit(X, y, **columns)
    assert "--" not in str(refused.value)


def test_what_does_not_fit_the_model_is_refused(fitted: gw.SequenceClassifier) -> None:
    X, y = sequences(6)
    for call, message in (
        (lambda: fitted.predict_proba([values[:, :1] for values in X]), "column"),
        (
            lambda: fitted.evaluate(X, ["up"] * 5 + ["left"]),
            "^label of sequence '5': expected one of .*got 'left'",
        ),
        (lambda: fitted.evaluate(X), "^y: expected a label for each sequence"),
        (lambda: fitted.predict([np.full((3, 2), np.nan)]), "expected a number, as in the whole training part"),
    ):
        with pytest.raises(GatewrightError, match=message):
            call()
    with pytest.raises(GatewrightError, match="init: expected a forecast model, got a classify model"):
        gw.Forecaster(steps=1).fit(np.arange(99.0), init=fitted)
    assert y


def test_training_goes_on_from_a_fitted_classifier(fitted: gw.SequenceClassifier, tmp_path: Path) -> None:
    X, y = sequences(20, seed=7)
    few: dict[str, Any] = {"steps": 2, "lr": 1e-7}
    fitted.save(tmp_path / "m.safetensors")
    for init in (fitted, fitted.model_, tmp_path / "m.safetensors"):
        warm = gw.SequenceClassifier(**few).fit(X, y, init=init)
        np.testing.assert_allclose(warm.predict_proba(X), fitted.predict_proba(X), atol=1e-4)
        assert warm.classes_.tolist() == fitted.classes_.tolist()
    with pytest.raises(GatewrightError, match=r"sequence '.*: expected a class of the model, .* got 'left'"):
        gw.SequenceClassifier(**few).fit(X, [*y[:-4], *["left"] * 4], init=fitted)
    with pytest.raises(GatewrightError, match="columns: expected the column 'x1'"):
        gw.SequenceClassifier(**few).fit([values[:, :1] for values in X], y, init=fitted)
    numbers = gw.SequenceClassifier(**few).fit(X, [7 if label == "up" else 3 for label in y])
    warm = gw.SequenceClassifier(**few).fit(X, [3.0 if label == "down" else 7.0 for label in y], init=numbers)
    assert warm.classes_.tolist() == [3, 7]
