"""Sequences in, a class for each step out: the model of the command line, answers in the form of the question."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright.data.sequences import sequences_of
from gatewright.errors import GatewrightError
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.tag.predict import predict_proba
from gatewright.train.launch import train
from tests.support.lazy import LazyModule
from tests.support.tagged import COLUMNS, long_table, step_labels, walks

if TYPE_CHECKING:
    import pandas as pd
    from sklearn import metrics
else:
    metrics = LazyModule("sklearn.metrics")
    pd = LazyModule("pandas")

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"hidden": 6, "steps": 40, "batch": 16, "lr": 0.03, "warmup": 2, "validate_every": 20}
TRAINED = walks(24)
X, Y = list(TRAINED.values), step_labels(TRAINED)
ROLES: dict[str, Any] = {"id": "who", "label": "side", "time": "t", "features": COLUMNS}


@pytest.fixture(scope="module")
def fitted() -> gw.SequenceTagger:
    return gw.SequenceTagger(**SMALL).fit(X, Y)


def test_it_learns_what_the_run_of_a_table_does(fitted: gw.SequenceTagger, tmp_path: Path) -> None:
    table = long_table(TRAINED)
    table.write_csv(tmp_path / "walks.csv")
    data = DataOptions(id=("who",), label="side", features=COLUMNS, time="t", test="0", label_per="step")
    options = Options(data, ModelOptions(hidden=6), TrainingOptions(steps=40, batch=16, lr=0.03, warmup=2,
                                                                    validate_every=20))  # fmt: skip
    run = train(tmp_path / "walks.csv", options, run=tmp_path / "run")[0]
    weights, expected = run.best_model().state_dict(), fitted.model_.state_dict()
    assert all(np.array_equal(weights[name].numpy(), value.numpy()) for name, value in expected.items())

    own = gw.load(run.path)
    assert isinstance(own, gw.SequenceTagger)
    probability = np.concatenate(fitted.predict_proba(X))
    guess = np.concatenate(fitted.predict(X)).tolist()
    answer = own.predict_proba(table)
    assert answer.columns == ["who", "t", "p_left", "p_middle", "p_right"]
    np.testing.assert_array_equal(answer.drop("who", "t").to_numpy(), probability)
    mixed = table.drop("side").with_row_index("row").sample(fraction=1, shuffle=True, seed=1)
    labels = own.predict(mixed.drop("row"))
    assert labels.select("who", "t").equals(mixed.select("who", "t"))
    assert labels["label"].gather(mixed["row"].arg_sort()).to_list() == guess
    pandas = pd.DataFrame({name: table[name].to_list() for name in table.columns}, index=range(7, 7 + len(table)))
    found = own.predict(pandas)
    assert (list(found), found.index.tolist()) == (["who", "t", "label"], pandas.index.tolist())
    assert found["label"].tolist() == guess
    assert own.predict(tmp_path / "walks.csv")["label"].to_list() == guess
    assert own.evaluate(table, label="side") == fitted.evaluate(X, Y)
    alone = own.predict(table.filter(pl.col("who") == "w3").drop("who"), id=[])
    assert alone["label"].to_list() == fitted.predict(X[3:4])[0].tolist()


def test_probabilities_are_those_of_the_model_and_of_a_stream(fitted: gw.SequenceTagger, tmp_path: Path) -> None:
    answer = fitted.predict_proba(X[:3])
    for found, expected in zip(answer, predict_proba(fitted.model_, sequences_of(X[:3])), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(fitted.stream().run(X[1]), answer[1])
    even = np.stack([value[:12] for value in X[:5]])
    assert fitted.predict_proba(even).shape == (5, 12, 3)
    np.testing.assert_array_equal(fitted.predict(even)[1], fitted.predict(X[1:2])[0][:12])
    fitted.save(tmp_path / "m.safetensors")
    loaded = gw.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(X[:3])[2], answer[2])
    np.testing.assert_array_equal(loaded.look(X[:2]).predictions, gw.look(fitted, X[:2]).predictions)
    with pytest.raises(GatewrightError, match="id: expected the column that names the sequence of a row, or "):
        loaded.predict(long_table(TRAINED))


def test_figures_are_those_of_scikit_learn(fitted: gw.SequenceTagger) -> None:
    new = walks(9, seed=3)
    figures, guess = fitted.evaluate(new.values, step_labels(new)), np.concatenate(fitted.predict(new.values))
    truth = [label for row in step_labels(new) for label in row]
    known = np.array([label is not None for label in truth])
    own = np.array(truth)[known].tolist()
    assert figures["steps"] == known.sum()
    assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(own, guess[known]))
    assert figures["f1_by_class"] == pytest.approx(metrics.f1_score(own, guess[known], average=None).tolist())
    assert figures["confusion"] == metrics.confusion_matrix(own, guess[known], labels=fitted.classes_).tolist()
    assert fitted.score(new.values, step_labels(new)) == figures["accuracy"]


def test_labels_come_back_with_their_type_and_training_goes_on() -> None:
    values = np.random.default_rng(0).normal(size=(20, 6))
    y = np.where(values > 0, 7, 3)
    model = gw.SequenceTagger(**{**SMALL, "steps": 30}).fit(values, y)
    assert (model.classes_.tolist(), model.predict(values).dtype.kind) == ([3, 7], "i")
    assert model.score(values, y) > 0.9
    few = {"steps": 2, "lr": 1e-6}
    warm = gw.SequenceTagger(**few).fit(values[:8], np.where(values > 0, 7, np.nan)[:8], init=model)
    assert warm.classes_.tolist() == [3, 7]
    np.testing.assert_allclose(warm.predict_proba(values), model.predict_proba(values), atol=1e-3)
    with pytest.raises(GatewrightError, match=r"^step . of .*: expected a class of the model, out of '3'"):
        gw.SequenceTagger(**few).fit(values, y + 1, init=model)
    with pytest.raises(GatewrightError, match="init: expected a tag model, got a classify model"):
        gw.SequenceTagger().fit(values, y, init=gw.SequenceClassifier(**few).fit(values, y[:, 0]))


TABLE = long_table(TRAINED)
BAD: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "no labels": (X, None, {}, "^labels: expected a label for each step"),
    "too few labels": (X, Y[:-1], {}, "^y: expected labels of each step for 24 sequences.*got 23"),
    "a label for each sequence": (X, ["up"] * 24, {}, r"^y\[0\]: expected a label for each step"),
    "another length": (X, [*Y[:-1], ["left"]], {}, r"^y\[23\]: expected 15 labels, as X\[23\] has steps, got 1"),
    "a frame and y": (TABLE, Y, {"id": "who"}, "^y: expected None with a table: label names its column"),
    "no label column": (TABLE, None, {"id": "who"}, "^label: expected the column of the label of each step"),
    "no such column": (TABLE, None, {"id": "who", "label": "sides"}, "^label: expected a column out of"),
    "a role for arrays": (X, Y, {"id": "who"}, "^id: expected a name only for columns of a table"),
    "no file": ("none.csv", None, {"label": "side"}, "the file does not exist"),
    "a number": (3, [1], {}, "^X: expected"),
}


@pytest.mark.parametrize(("source", "y", "columns", "message"), BAD.values(), ids=BAD)
def test_wrong_input_is_refused_in_one_sentence(
    source: Any, y: Any, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(GatewrightError, match=message) as refused:
        gw.SequenceTagger(**SMALL).fit(source, y, **columns)
    assert "--" not in str(refused.value)


def test_what_does_not_fit_the_model_is_refused(fitted: gw.SequenceTagger) -> None:
    for call, message in (
        (lambda: fitted.predict([values[:, :1] for values in X]), "column"),
        (lambda: fitted.evaluate(X), "^y: expected a label for each step, or the column label"),
        (lambda: fitted.evaluate(X[:1], [["up"] * 12]), "^labels: expected classes of the model, .*got 'up'"),
        (lambda: fitted.evaluate(X[:1], [[None] * 12]), "^y: expected a step with a label, got none"),
        (lambda: gw.SequenceClassifier(**SMALL).fit(TABLE, **ROLES), r"gatewright\.SequenceTagger, learns"),
    ):
        with pytest.raises(GatewrightError, match=message):
            call()
