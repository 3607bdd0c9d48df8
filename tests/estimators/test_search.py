"""Searches of estimators' parameters: the best is what `fit` makes of the same parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright.errors import GatewrightError
from gatewright.estimators.base import GatewrightWarning
from tests.estimators.test_backtest import COLUMNS, panel
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    from sklearn import base

    from gatewright.tuning import search as loop
else:
    loop = LazyModule("gatewright.tuning.search")
    base = LazyModule("sklearn.base")

SIZES = {
    "horizon": 2,
    "context": 12,
    "season": 6,
    "steps": 6,
    "batch": 4,
    "warmup": 1,
    "validate_every": 2,
    "transform": "none",
    "scale": "global",
}
SEARCH = {"hidden": (2, 8, "log"), "lr": [1e-3, 1e-2, 1e-1], "reads": ["change", "level"]}


@pytest.mark.slow
def test_the_best_is_what_fit_makes_of_its_parameters(tmp_path):
    table, model = panel((120, 90)), gw.Forecaster(**SIZES)
    found = gw.tune(model, table, trials=3, search=SEARCH, storage=tmp_path / "s", **COLUMNS)
    assert model.get_params() == gw.Forecaster(**SIZES).get_params()
    assert not hasattr(model, "model_")
    best = found.best_estimator_
    assert best.get_params() == {**model.get_params(), **found.best_params_}
    alone = base.clone(model).set_params(**found.best_params_).fit(table, **COLUMNS)
    assert (best.best_score_, best.history_) == (alone.best_score_, alone.history_)
    assert found.best_score_ == alone.best_score_ == found.trials_["score"].min()
    assert best.predict(table).equals(alone.predict(table))
    assert best.run_.path == tmp_path / "s" / "trials" / f"{found.trials_['score'].arg_min():04d}"
    assert found.trials_.columns[-4:] == ["hidden", "lr", "reads", "error"]
    # The same arguments go on with the study, others are refused.
    more = gw.tune(model, table, trials=3, search=SEARCH, storage=tmp_path / "s", **COLUMNS)
    assert more.trials_.equals(found.trials_)
    with pytest.raises(GatewrightError, match=r"^storage: expected a new directory, or the command that began"):
        gw.tune(base.clone(model).set_params(steps=7), table, search=SEARCH, storage=tmp_path / "s", **COLUMNS)


@pytest.mark.slow
def test_classes_and_texts_are_searched_alike():
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(40, 8)), np.arange(40) % 2
    classifier = gw.SequenceClassifier(steps=4, batch=4, validate_every=2)
    found = gw.tune(classifier, X, y, trials=1, search={"hidden": [2, 3], "pooling": ["last", "mean"]})
    alone = base.clone(classifier).set_params(**found.best_params_).fit(X, y)
    np.testing.assert_array_equal(found.best_estimator_.predict_proba(X), alone.predict_proba(X))
    assert found.best_estimator_.classes_.tolist() == [0, 1]  # as fit was given them, not as text
    assert found.best_estimator_.run_ is None
    text = "to be or not to be. " * 40
    language = gw.LanguageModel(context=8, batch=4, steps=2)
    found = gw.tune(language, text, trials=1, search=["hidden=4:8", "embedding=2,3"])
    alone = base.clone(language).set_params(**found.best_params_).fit(text)
    assert found.best_score_ == alone.best_score_


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_so_far(monkeypatch):
    plain, begun = loop.Job.train, []

    def train(job, *arguments):
        begun.append(arguments)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return plain(job, *arguments)

    monkeypatch.setattr(loop.Job, "train", train)
    with pytest.warns(GatewrightWarning, match="stopped after 3 trials: this is the best so far"):
        found = gw.tune(gw.Forecaster(**SIZES), panel((120,)), trials=4, search=SEARCH, **COLUMNS)
    assert found.trials_["state"].to_list() == ["finished", "cut", "waiting"]
    assert found.best_score_ == found.trials_["score"][0]
    begun[:] = [()]
    with pytest.raises(KeyboardInterrupt):
        gw.tune(gw.Forecaster(**SIZES), panel((120,)), trials=4, search=SEARCH, **COLUMNS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"search": {"hiden": [4]}}, "^search: expected an option of the training, .*did you mean 'hidden'"),
        ({"search": {"hidden": 4}}, r"^search: expected \(low, high\), .* or a list for hidden, got 4"),
        ({"search": {"hidden": (4, 8, "ln")}}, r"^search: expected \(low, high\)"),
        ({"search": {"horizon": [1, 2]}}, "^search: expected an option that leaves what is scored"),
        ({"search": {"lr": [1e-3], "steps": [3, 4]}}, "^search steps: expected an option without a value"),
        ({"search": "hidden=4:8"}, "^search: expected a dict"),
        ({"trials": 0}, "^trials: expected a whole number of at least 1, got 0"),
        ({"seconds": "5"}, "^seconds: expected a number above 0, got '5'"),
        ({"storage": 3}, "^storage: expected the path of a directory, got a value of type int"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(arguments, message):
    with pytest.raises(GatewrightError, match=message):
        gw.tune(
            gw.Forecaster(**SIZES), panel((120,)), **{"search": SEARCH, "time": "ts", "id": "site", **arguments}
        )


def test_what_is_no_estimator_is_refused():
    with pytest.raises(
        GatewrightError, match="estimator: expected an estimator of gatewright, got an object of type str"
    ):
        gw.tune("model", pl.DataFrame())
    with pytest.raises(GatewrightError, match="columns: expected none for a text, got 'target'"):
        gw.tune(gw.LanguageModel(), "to be or not", target="x")
