"""A training neither depends on the state of the process nor changes it, and what fails leaves no trace."""

from __future__ import annotations

import copy
import pickle
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import gatewright as gw
from gatewright.errors import GatewrightError
from gatewright.train.callback import Callback

pytestmark = pytest.mark.slow

LOAD = np.sin(np.arange(60) / 4)
SMALL: dict[str, Any] = {
    "horizon": 2,
    "hidden": 4,
    "layers": 2,
    "dropout": 0.3,
    "context": 8,
    "batch": 8,
    "seed": 3,
    "transform": "none",
    "scale": "global",
}


def forecaster(**more: Any) -> gw.Forecaster:
    return gw.Forecaster(**{**SMALL, "steps": 4, **more})


@pytest.fixture(scope="module")
def fingerprint() -> str:
    return forecaster().fit(LOAD).model_.fingerprint


def test_random_numbers_of_the_process_stay_as_they_are() -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index]  # noqa: NPY002
    model = forecaster().fit(LOAD)
    model.predict(LOAD)
    model.evaluate(LOAD)
    model.cross_validate(LOAD, windows=1)
    gw.LanguageModel(hidden=4, context=8, batch=4, steps=3).fit("to be or not to be. " * 30).generate(
        "to ", length=5
    )
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]  # noqa: NPY002
    assert random.getstate() == before[2]


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("state", [torch.no_grad, torch.inference_mode, float64, nullcontext])
def test_the_state_of_torch_makes_no_difference(state: Any, fingerprint: str, tmp_path: Path) -> None:
    with state():
        model = forecaster().fit(LOAD)
        assert model.model_.fingerprint == fingerprint
        model.save(tmp_path / "m.safetensors")
        assert gw.load(tmp_path / "m.safetensors").model_.fingerprint == fingerprint
        answer = model.predict(LOAD)
    np.testing.assert_array_equal(answer, model.predict(LOAD))


def test_threads_train_to_the_same_bits(fingerprint: str) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(forecaster().fit(LOAD).model_.fingerprint)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [fingerprint] * 3


def test_a_training_within_another_makes_no_difference(fingerprint: str) -> None:
    class Nested(Callback):
        def step(self, step: int, *_: float) -> None:
            if step == 1:
                forecaster(seed=9).fit(LOAD)

    assert forecaster().fit(LOAD, callbacks=[Nested()]).model_.fingerprint == fingerprint


@pytest.mark.parametrize("where", ["start", "begin", "step", "validation", "validated", "close"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_training_that_ends_with_an_error_changes_nothing(
    where: str, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = forecaster(steps=2).fit(LOAD)
    before = dict(vars(model))
    callback = Callback()
    setattr(callback, where, refuse)
    with pytest.raises(error):
        model.fit(3 * LOAD + 1, callbacks=[callback])
    assert {name: id(value) for name, value in vars(model).items()} == {
        name: id(value) for name, value in before.items()
    }
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(GatewrightError):
        model.fit(LOAD[:1])
    assert vars(model) == before


def test_a_second_training_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    again = forecaster(steps=2).fit(np.stack([LOAD, LOAD**2], axis=1), run_dir=tmp_path / "run").fit(LOAD)
    fresh = forecaster(steps=2).fit(LOAD)
    assert again.model_.fingerprint == fresh.model_.fingerprint
    for name in ("options_", "history_", "best_score_", "n_steps_", "run_", "n_features_in_"):
        assert getattr(again, name) == getattr(fresh, name), name
    assert list(again.feature_names_in_) == ["y"]


def test_copies_answer_the_same(fingerprint: str, tmp_path: Path) -> None:
    model = forecaster().fit(LOAD, run_dir=tmp_path / "run")
    expected = model.predict(LOAD)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.model_.fingerprint == fingerprint
        np.testing.assert_array_equal(other.predict(LOAD), expected)
        assert other.evaluate(LOAD) == model.evaluate(LOAD)
    model.set_params(horizon=7, hidden=99, quantiles=[0.5])
    np.testing.assert_array_equal(model.predict(LOAD), expected)


def test_a_run_is_found_from_another_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = forecaster().fit(LOAD, run_dir="run")
    opened = gw.load("run")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    for each in (model, opened):
        assert each.run_.best_model().fingerprint == model.model_.fingerprint
        assert (each.n_steps_, each.history_, each.best_score_) == (4, model.history_, model.best_score_)


WRONG: dict[str, tuple[Any, str]] = {
    "a horizon that is no whole number": (lambda model: model.predict(LOAD, horizon=1.0), "^horizon: .*got 1.0"),
    "a horizon of text": (lambda model: model.predict(LOAD, horizon="2"), "^horizon: .*got '2'"),
    "a horizon too long": (lambda model: model.predict(LOAD, horizon=3), "^horizon: expected 1 to 2 steps"),
    "windows of text": (lambda model: model.evaluate(LOAD, windows="2"), "^windows: .*got '2'"),
    "half a window": (lambda model: model.evaluate(LOAD, windows=1.5), "^windows: .*got 1.5"),
    "no rows": (lambda model: model.plot(LOAD, rows=0), "^rows: .*got 0"),
    "rows of text": (lambda model: model.plot(LOAD, rows="a"), "^rows: .*got 'a'"),
    "no callbacks": (lambda model: model.fit(LOAD, callbacks=None), "^callbacks: expected a list of .*got None"),
    "other callbacks": (lambda model: model.fit(LOAD, callbacks=[print]), "^callbacks: expected a list of "),
    "a set": (
        lambda model: model.fit(pl.DataFrame({"a": LOAD}), target={"a"}),
        "^target: expected names in an order",
    ),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_refused(call: Any, message: str) -> None:
    with pytest.raises(GatewrightError, match=message):
        call(forecaster(steps=1).fit(LOAD))


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
              torch.OutOfMemoryError("CUDA out of memory")],
    ids=["Python", "torch", "GPU"],
)  # fmt: skip
def test_where_memory_ends_the_options_that_need_it_are_named(error: Exception) -> None:
    class Full(Callback):
        def step(self, *_: Any) -> None:
            raise error

    with pytest.raises(
        GatewrightError, match=r"^memory: expected .* fit into it \(hidden, layers, batch and context"
    ):
        forecaster().fit(LOAD, callbacks=[Full()])


def test_numbers_of_numpy_are_numbers() -> None:
    model = forecaster(steps=np.int64(4), verbose=np.int64(0)).fit(LOAD)
    np.testing.assert_array_equal(model.predict(LOAD, horizon=np.int64(1)), model.predict(LOAD)[:1])
    text = gw.LanguageModel(hidden=4, context=8, batch=4, steps=3).fit("to be or not to be. " * 30)
    own = text.generate("to ", length=np.int64(9), temperature=np.float32(0.5), seed=np.int64(4))  # type: ignore[arg-type]
    assert own == text.generate("to ", length=9, temperature=0.5, seed=4)
    with pytest.raises(
        GatewrightError, match=r"^X: .*what looks like the name of a file, 'books/shakespeare.txt'"
    ):
        text.fit("books/shakespeare.txt")


def folds(cells: pl.DataFrame, refit: bool) -> pl.DataFrame:
    estimator = forecaster(steps=2, fill="forward")
    answer = estimator.cross_validate(
        cells, windows=2, refit=refit, target="load", past="temp", known="price", time="none"
    )
    return answer.filter(pl.col("cutoff") == pl.col("cutoff").min()).select(pl.selectors.contains("_q"))


@pytest.mark.parametrize("refit", [True, False])
def test_no_fold_sees_what_comes_later(refit: bool) -> None:
    row, cut = pl.int_range(pl.len()), len(LOAD) - 4
    cells = pl.DataFrame({"load": LOAD, "temp": LOAD**2, "price": np.cos(np.arange(len(LOAD)))})
    expected = folds(cells, refit)
    for name, first in (("load", cut), ("temp", cut), ("price", cut + 2)):
        other = cells.with_columns(pl.when(row >= first).then(50 * pl.col(name) + 3).otherwise(name).alias(name))
        assert folds(other, refit).equals(expected), name
    known = cells.with_columns(
        pl.when(row >= cut).then(50 * pl.col("price") + 3).otherwise("price").alias("price")
    )
    assert not folds(known, refit).equals(expected)


def test_an_initial_model_of_another_step_is_refused_before_training() -> None:
    hours = pl.Series(np.datetime64("2024-01-01", "us") + np.arange(60) * np.timedelta64(1, "h"))
    table = pl.DataFrame({"ts": hours, "load": LOAD})
    model = forecaster(steps=1).fit(table)
    slower = table.with_columns(ts=pl.col("ts").min() + 2 * (pl.col("ts") - pl.col("ts").min()))
    with pytest.raises(
        GatewrightError, match=r"^time: expected one row every 1h, as in training, got one every 2h"
    ):
        gw.Forecaster(steps=1).fit(slower, init=model)


def test_times_of_targets_are_not_lost() -> None:
    pd = pytest.importorskip("pandas")
    times = pd.date_range("2024-01-01", periods=60, freq="h")
    y = pd.Series(LOAD, index=times, name="load")
    for X in (LOAD[:, None], pl.DataFrame({"temp": LOAD}), pd.DataFrame({"temp": LOAD})):
        with pytest.raises(GatewrightError, match=r"^y: expected the index of X, got times that X lacks"):
            forecaster().fit(X, y)
    frame = pd.DataFrame({"temp": LOAD}, index=times)
    answer = forecaster(steps=1).fit(frame, y, past="temp").predict(frame, y)
    assert list(answer.index) == list(pd.date_range(times[-1], periods=3, freq="h")[1:])
