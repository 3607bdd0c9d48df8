"""The conventions of scikit-learn, by its own tools."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gatewright as gw
from gatewright.errors import GatewrightError
from gatewright.estimators.base import Estimator
from gatewright.estimators.loading import ESTIMATORS
from gatewright.estimators.python_names import option_of
from gatewright.tasks import registry
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    import pandas as pd
    from sklearn import base, exceptions, model_selection, preprocessing
    from sklearn import pipeline as pipelines
    from sklearn.utils import estimator_checks, validation
else:
    base, exceptions = LazyModule("sklearn.base"), LazyModule("sklearn.exceptions")
    model_selection, preprocessing = LazyModule("sklearn.model_selection"), LazyModule("sklearn.preprocessing")
    pipelines = LazyModule("sklearn.pipeline")
    estimator_checks = LazyModule("sklearn.utils.estimator_checks")
    validation = LazyModule("sklearn.utils.validation")
    pd = LazyModule("pandas")

pytestmark = pytest.mark.slow

ALL = list(ESTIMATORS.values())
SMALL: dict[str, Any] = {
    "horizon": 2, "context": 8, "steps": 3, "hidden": 4, "transform": "none", "scale": "global",
}  # fmt: skip


def table(rows: int = 120) -> pd.DataFrame:
    t = np.arange(rows)
    return pd.DataFrame(
        {"day": pd.date_range("2020-01-01", periods=rows), "load": np.sin(t / 3), "wind": np.cos(t / 5)}
    )


@pytest.mark.parametrize("cls", ALL)
def test_parameters_are_those_of_the_constructor(cls: type[Estimator]) -> None:
    estimator = cls()
    names = list(inspect.signature(cls).parameters)
    assert set(estimator.get_params()) == set(names)
    values = {name: object() for name in names}
    assert cls(**values).get_params() == values
    assert estimator.set_params(seed=7) is estimator
    assert estimator.seed == 7  # type: ignore[attr-defined]
    assert repr(estimator) == f"{cls.__name__}(seed=7)"
    assert repr(base.clone(estimator)) == repr(estimator)
    with pytest.raises(GatewrightError, match=r"set_params: expected a parameter of .*did you mean 'hidden'"):
        estimator.set_params(hiden=3)
    with pytest.raises(exceptions.NotFittedError):
        validation.check_is_fitted(estimator)
    with pytest.raises(exceptions.NotFittedError):
        estimator.stream()


@pytest.mark.parametrize("cls", ALL)
def test_every_option_of_the_kind_is_a_parameter_and_documented(cls: type[Estimator]) -> None:
    kind = registry.kind(cls._kind)
    own = {
        option.name
        for name, table in (("data", DataOptions), ("model", ModelOptions), ("training", TrainingOptions))
        for option in fields(table)
        if option.name in {*kind.by_data, "steps", "epochs", "validate_every"}
        or getattr(getattr(kind.defaults, name), option.name) is not None
    }
    columns = {"target", "past", "known", "static", "time", "id", "label", "label_per", "features", "category"}
    assert set(map(option_of, inspect.signature(cls).parameters)) == own - columns | {"verbose"}
    described = re.findall(r"^    (\w+): ", inspect.cleandoc(cls.__doc__ or ""), re.M)
    assert set(inspect.signature(cls).parameters) <= set(described)


@pytest.mark.parametrize("cls", ALL)
def test_the_defaults_that_a_docstring_states_are_those_of_the_kind(cls: type[Estimator]) -> None:
    defaults: Options = registry.kind(cls._kind).defaults
    plain = {name: value for values in defaults.plain().values() for name, value in values.items()}
    stated = re.findall(r"^    (\w+): .*?\(default: ([^)]*)\)", inspect.cleandoc(cls.__doc__ or ""), re.M)
    assert len(stated) >= 8
    for name, value in stated:
        own = plain[name]
        assert value == (", ".join(map(str, own)) if isinstance(own, tuple) else str(own)), name


#: The checks of scikit-learn that ask nothing of a matrix of independent rows.
CHECKS = (
    "no_attributes_set_in_init",
    "parameters_default_constructible",
    "get_params_invariance",
    "set_params",
    "estimator_cloneable",
    "estimator_repr",
    "estimator_tags_renamed",
    "valid_tag_types",
    "mixin_order",
)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("cls", ALL)
def test_the_checks_of_scikit_learn_that_apply(cls: type[Estimator], check: str) -> None:
    getattr(estimator_checks, f"check_{check}")(cls.__name__, cls())


#: Checks of matrices of independent rows: here a row of an array is a sequence, its columns are steps.
SEQUENCES_ARE_NO_MATRIX = (
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_fit2d_predict1d",
    "check_classifiers_train",
)
#: Checks of the wording of errors, and of inputs that scikit-learn converts and we refuse.
OTHER_WORDS = (
    "check_complex_data",
    "check_dtype_object",
    "check_estimators_empty_data_messages",
    "check_estimator_sparse_tag",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_classifier_data_not_an_array",
    "check_classifiers_regression_target",
    "check_supervised_y_2d",
    "check_fit2d_1sample",
    "check_requires_y_none",
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_classifier_passes_the_checks_of_data() -> None:
    estimator = gw.SequenceClassifier(hidden=3, steps=1, batch=8)
    left_out = dict.fromkeys((*SEQUENCES_ARE_NO_MATRIX, *OTHER_WORDS), "does not apply")
    results = estimator_checks.check_estimator(
        estimator, expected_failed_checks=left_out, on_skip=None, on_fail=None
    )
    failed = {result["check_name"] for result in results if result["status"] == "failed"}
    assert failed == set()
    assert sum(result["status"] == "passed" for result in results) >= 30


def test_a_grid_search_over_time() -> None:
    search = model_selection.GridSearchCV(
        gw.Forecaster(**SMALL), {"hidden": np.array([3, 5]), "seed": [0, 1]}, cv=model_selection.TimeSeriesSplit(2)
    )
    search.fit(table(), target="load", time="day", past=["wind"])
    assert search.best_params_.keys() == {"hidden", "seed"}
    folds = list(model_selection.TimeSeriesSplit(2).split(table()))
    best = gw.Forecaster(**{**SMALL, **search.best_params_})
    scores = [
        best.fit(table().iloc[learned], target="load", past=["wind"]).score(table().iloc[held])
        for learned, held in folds
    ]
    assert search.best_score_ == pytest.approx(np.mean(scores), rel=1e-6)
    assert len(search.predict(table())) == 2


def test_a_pipeline() -> None:
    double = preprocessing.FunctionTransformer(lambda frame: frame.assign(load=2 * frame["load"]))
    pipeline = pipelines.Pipeline([("double", double), ("forecast", gw.Forecaster(**SMALL))])
    pipeline.fit(table(), forecast__target="load", forecast__past="wind")
    alone = gw.Forecaster(**SMALL).fit(table().assign(load=2 * table()["load"]), target="load", past="wind")
    pd.testing.assert_frame_equal(
        pipeline.predict(table()), alone.predict(table().assign(load=2 * table()["load"]))
    )
    assert list(alone.feature_names_in_) == ["load", "wind"]
    assert alone.n_features_in_ == 2
