"""A table in, an answer out: the same numbers as the run of the command line, in the form of the table."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright.errors import DataError, GatewrightError
from gatewright.estimators.base import GatewrightWarning, NotFittedError
from gatewright.evaluation.report import evaluate_run, forecast_run
from gatewright.nn.model import load as load_module
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train.callback import Callback
from gatewright.train.launch import train
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = LazyModule("pandas")

pytestmark = pytest.mark.slow

SITES = (7, 11)
ROWS = 260
HORIZON = 4
COLUMNS: dict[str, Any] = {
    "target": "load", "time": "ts", "id": "site", "known": ["price"], "past": "temp", "static": ["kind"],
}  # fmt: skip
UNITS: dict[str, Any] = {"transform": ("none",), "scale": "global"}  # to choose them takes as long as to train
SMALL: dict[str, Any] = {"horizon": HORIZON, "hidden": 6, "context": 24, "steps": 12, "batch": 16, **UNITS}


def panel(sites: tuple[int, ...] = SITES, rows: int = ROWS, zone: str = "Europe/Berlin") -> pl.DataFrame:
    """Hourly series; the last `HORIZON` rows of each know the price only."""
    start = np.datetime64("2024-03-25T00:00", "us")
    frames = []
    for number, site in enumerate(sites):
        random = np.random.default_rng(site)
        t = np.arange(rows)
        price, temp = np.sin(t / 5), random.normal(size=rows)
        load = 10 * (number + 1) + np.sin(2 * np.pi * t / 24) + 0.3 * price + 0.1 * random.normal(size=rows)
        frames.append(
            pl.DataFrame(
                {
                    "site": pl.Series([site] * rows, dtype=pl.Int32),
                    "ts": pl.Series(start + t * np.timedelta64(1, "h")),
                    "load": load,
                    "price": price,
                    "temp": temp,
                    "kind": float(number),
                }
            )
        )
    cells = pl.concat(frames)
    return (
        cells.with_columns(pl.col("ts").dt.replace_time_zone("UTC").dt.convert_time_zone(zone)) if zone else cells
    )


def ahead(cells: pl.DataFrame) -> pl.DataFrame:
    """The same rows as a table whose last rows are the future."""
    future = pl.int_range(pl.len()).over("site") >= ROWS - HORIZON
    return cells.with_columns(pl.when(~future).then(pl.col(name)).alias(name) for name in ("load", "temp"))


def as_pandas(cells: pl.DataFrame) -> pd.DataFrame:
    frame = pd.DataFrame({name: cells[name].to_numpy() for name in cells.columns if name != "ts"})
    times = pd.Series(cells["ts"].dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy())
    frame.insert(1, "ts", times.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"))
    return frame


@pytest.fixture(scope="module")
def fitted() -> gw.Forecaster:
    return gw.Forecaster(**SMALL).fit(panel(), **COLUMNS)


def test_it_learns_and_answers_what_the_run_of_a_file_does(fitted: gw.Forecaster, tmp_path: Path) -> None:
    panel().write_parquet(tmp_path / "panel.parquet")
    options = Options(
        DataOptions(
            target=("load",), time="ts", id=("site",), known=("price",), past=("temp",), static=("kind",),
            horizon=HORIZON, context=24, **UNITS,
        ),
        ModelOptions(hidden=6),
        TrainingOptions(steps=12, batch=16),
    )  # fmt: skip
    run = train(tmp_path / "panel.parquet", options, run=tmp_path / "run")[0]
    other = load_module(run.path)
    assert other.fingerprint == fitted.model_.fingerprint
    assert evaluate_run(run)[1] == fitted.evaluate(panel())
    ahead(panel()).write_parquet(tmp_path / "ahead.parquet")
    written = pl.read_csv(forecast_run(run, tmp_path / "ahead.parquet", None, None)[0].encode())
    answer = fitted.predict(ahead(panel()))
    for name in ("load_q0.1", "load_q0.5", "load_q0.9"):
        np.testing.assert_allclose(answer[name].to_numpy(), written[name].to_numpy(), rtol=1e-6)
    by_path = gw.Forecaster(**SMALL).fit(tmp_path / "panel.parquet", **COLUMNS)
    assert by_path.model_.fingerprint == other.fingerprint
    quantiles = pl.selectors.starts_with("load_q")
    assert by_path.predict(str(tmp_path / "ahead.parquet")).select(quantiles).equals(answer.select(quantiles))


def test_a_frame_of_polars_gives_one_with_its_types(fitted: gw.Forecaster) -> None:
    table = ahead(panel())
    answer = fitted.predict(table)
    assert answer.schema["site"] == pl.Int32
    assert answer.schema["ts"] == table.schema["ts"]
    expected = panel().filter(pl.int_range(pl.len()).over("site") >= ROWS - HORIZON).select("site", "ts")
    assert answer.select("site", "ts").equals(expected)
    texts = table.with_columns(pl.col("ts").dt.strftime("%Y-%m-%d %H:%M:%S%:z"), site=pl.format("s{}", "site"))
    as_text = fitted.predict(texts)
    assert as_text["ts"].to_list() == [str(when) for when in expected["ts"].to_list()]
    assert as_text["site"].unique(maintain_order=True).to_list() == ["s7", "s11"]
    assert as_text["load_q0.5"].equals(answer["load_q0.5"])
    dates = pl.DataFrame({"day": pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 6, 1), eager=True)})
    dates = dates.with_columns(y=pl.int_range(pl.len()) * 0.5)
    daily = gw.Forecaster(horizon=2, hidden=4, context=8, steps=2).fit(dates)
    assert daily.predict(dates).schema["day"] == pl.Date
    assert daily.predict(dates)["day"].dt.to_string().to_list() == ["2024-06-02", "2024-06-03"]


def test_a_frame_of_pandas_gives_one_with_its_types(fitted: gw.Forecaster) -> None:
    expected, table = fitted.predict(ahead(panel())), as_pandas(ahead(panel()))
    answer = fitted.predict(table)
    assert isinstance(answer, pd.DataFrame)
    assert answer["site"].dtype == table["site"].dtype
    assert answer["ts"].dtype == table["ts"].dtype
    np.testing.assert_array_equal(answer["load_q0.9"].to_numpy(), expected["load_q0.9"].to_numpy())
    assert answer["ts"].iloc[0] == expected["ts"][0]
    one = table[table["site"] == 7].drop(columns=["site", "kind", "price", "temp"]).dropna().set_index("ts")
    model = gw.Forecaster(horizon=3, hidden=4, context=24, steps=2).fit(one)
    indexed = model.predict(one)
    assert isinstance(indexed.index, pd.DatetimeIndex)
    assert (indexed.index.dtype, indexed.index.name) == (one.index.dtype, "ts")
    assert list(indexed.index) == list(pd.date_range(one.index[-1], periods=4, freq="h")[1:])
    periods = one.copy()
    periods.index = pd.period_range("2001-01", periods=len(one), freq="M")
    monthly = gw.Forecaster(horizon=2, hidden=4, context=24, steps=2).fit(periods).predict(periods)
    assert isinstance(monthly.index, pd.PeriodIndex)
    assert monthly.index[0] == periods.index[-1] + 1
    assert monthly.index.name is None


def test_arrays_give_arrays() -> None:
    y = np.sin(np.arange(150) / 4)
    model = gw.Forecaster(horizon=3, hidden=4, context=20, steps=4, quantiles=[0.2, 0.5]).fit(y)
    answer = model.predict(y)
    assert answer.shape == (3, 2)
    np.testing.assert_array_equal(model.predict(list(y)), answer)
    np.testing.assert_array_equal(model.predict(pd.Series(y, name="y")), answer)
    np.testing.assert_array_equal(model.predict([y, y[:100]])[0], answer)
    frame = pl.DataFrame({"y": y})
    np.testing.assert_array_equal(model.predict(frame).select("y_q0.2", "y_q0.5").to_numpy(), answer)
    two = np.stack([y, np.cos(np.arange(150) / 4)], axis=1)
    both = gw.Forecaster(horizon=3, hidden=4, context=20, steps=2).fit(two)
    assert both.predict(two).shape == (3, 2, 3)
    assert both.predict([two, two[50:]]).shape == (2, 3, 2, 3)
    inputs = gw.Forecaster(horizon=3, hidden=4, context=20, steps=2).fit(two, y)
    assert inputs.model_.spec.encoder.columns == ("y", "x0", "x1")
    assert inputs.predict(two, y).shape == (3, 3)


def test_what_was_saved_answers_the_same(fitted: gw.Forecaster, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model.safetensors")
    other = gw.load(tmp_path / "model.safetensors")
    assert isinstance(other, gw.Forecaster)
    assert other.predict(ahead(panel())).equals(fitted.predict(ahead(panel())))
    assert other.evaluate(panel()) == fitted.evaluate(panel())
    assert (other.horizon, other.hidden) == (HORIZON, 6)
    assert gw.load(str(tmp_path / "model.safetensors")).model_.fingerprint == fitted.model_.fingerprint
    recording = gw.look(other, panel(), steps=10)
    np.testing.assert_array_equal(recording.predictions, fitted.look(panel(), steps=10).predictions)
    assert other.stream().fingerprint == fitted.model_.fingerprint


def test_rows_that_training_saw_are_not_scored(fitted: gw.Forecaster) -> None:
    own = fitted.evaluate(panel())
    trained = fitted.table_.trained_until
    end = np.datetime64(trained)
    longer = panel(rows=ROWS + 60)
    figures = fitted.evaluate(longer)
    times = panel().filter(site=7)["ts"].dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
    unseen = int((times > end).sum())
    assert own["windows"] == 2 * (unseen - HORIZON + 1)
    assert figures["windows"] == 2 * (unseen + 60 - HORIZON + 1)
    before = panel().filter(pl.col("ts").dt.convert_time_zone("UTC").dt.replace_time_zone(None) <= end)
    with pytest.raises(
        GatewrightError, match=r"X: expected rows that the training has not seen.*none; the training"
    ):
        fitted.evaluate(before)
    # One bound for all series: that of the one which the training saw longest.
    ends = longer.filter(
        (pl.col("site") != 7) | (pl.col("ts").dt.convert_time_zone("UTC").dt.replace_time_zone(None) <= end)
    )
    with pytest.warns(
        GatewrightWarning, match=f"left out, no row after {trained}, the last that .* any series: 7$"
    ):
        assert fitted.evaluate(ends)["windows"] == unseen + 60 - HORIZON + 1
    series = np.sin(np.arange(200) / 3)
    whole = gw.Forecaster(horizon=2, hidden=4, context=10, steps=2, test=0).fit(series)
    with pytest.raises(GatewrightError, match="X: expected rows that the training has not seen"):
        whole.evaluate(series)
    with pytest.warns(
        GatewrightWarning, match="rows without timestamps are all scored, as ones that the training"
    ):
        assert whole.evaluate(series[:100])["windows"] == 100 - 10 - 2 + 1
    assert np.isfinite(whole.score(series[:100]))


def test_the_score_is_the_quantile_loss_in_standard_deviations(fitted: gw.Forecaster) -> None:
    loss = fitted.evaluate(panel())["targets"]["load"]["model"]["overall"]["quantile_loss"]
    assert fitted.model_.scaler is not None
    assert fitted.score(panel()) == pytest.approx(-loss / fitted.model_.scaler.scale[0])


def test_the_score_is_of_the_targets_that_have_a_value_to_score() -> None:
    y = np.random.default_rng(0).normal(size=(80, 2)) * (1, 10)
    y[70:, 1] = np.nan
    small: dict[str, Any] = {"horizon": 2, "hidden": 3, "context": 6, "steps": 1, "valid": 12, "test": 8}
    model = gw.Forecaster(**small).fit(y)
    first, second = model.evaluate(y)["targets"].values()
    assert second["model"]["overall"]["quantile_loss"] is None
    assert model.model_.scaler is not None
    expected = -first["model"]["overall"]["quantile_loss"] / model.model_.scaler.deviations[0]
    assert model.score(y) == pytest.approx(expected)
    figures = model._figures(y, None, None, warn=False)
    for target in figures["targets"].values():
        target["model"]["overall"]["quantile_loss"] = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "_figures", lambda *_, **__: figures)
        with pytest.raises(DataError, match=r"^X: expected a value of 'y0' or 'y1' in"):
            model.score(y)


@pytest.mark.parametrize("refit", [True, False])
def test_cross_validation_forecasts_from_the_rows_before_an_origin(refit: bool) -> None:
    table = panel()
    estimator = gw.Forecaster(**SMALL)
    folds = estimator.cross_validate(table, windows=2, step=6, refit=refit, **COLUMNS)
    assert not hasattr(estimator, "model_")
    assert folds.columns == ["site", "ts", "cutoff", "load", "load_q0.1", "load_q0.5", "load_q0.9"]
    assert len(folds) == 2 * 2 * HORIZON
    joined = folds.join(table, on=["site", "ts"], suffix="_own")
    assert joined["load"].equals(joined["load_own"])
    # By hand: a model of the rows before each origin, or before the first.
    for number, cut in enumerate((ROWS - HORIZON - 6, ROWS - HORIZON)):
        learned = table.filter(pl.int_range(pl.len()).over("site") < (cut if refit else ROWS - HORIZON - 6))
        model = gw.Forecaster(**SMALL, test=0).fit(learned, **COLUMNS)
        place = pl.int_range(pl.len()).over("site")
        known = table.filter(place < cut + HORIZON).with_columns(
            pl.when(place < cut).then(pl.col(name)).alias(name) for name in ("load", "temp")
        )
        answer = model.predict(known)
        own = folds.filter(pl.col("cutoff") == folds["cutoff"].unique().sort()[number])
        for name in ("load_q0.1", "load_q0.5", "load_q0.9"):
            np.testing.assert_allclose(own[name].to_numpy(), answer[name].to_numpy(), rtol=1e-6)
    pandas = estimator.cross_validate(as_pandas(table), windows=1, **COLUMNS)
    assert isinstance(pandas, pd.DataFrame)


def test_a_run_directory_is_resumed_to_the_same_bits(tmp_path: Path) -> None:
    class Stop(Callback):
        def step(self, step: int, *_: float) -> None:
            if step == 5:
                raise KeyboardInterrupt

    sizes = {**SMALL, "checkpoint_every": 4}
    whole = gw.Forecaster(**sizes).fit(panel(), run_dir=tmp_path / "whole", **COLUMNS)
    with pytest.raises(KeyboardInterrupt):
        gw.Forecaster(**sizes).fit(panel(), run_dir=tmp_path / "run", callbacks=[Stop()], **COLUMNS)
    with pytest.raises(GatewrightError, match="a new directory"):
        gw.Forecaster(**sizes).fit(panel(), run_dir=tmp_path / "run", **COLUMNS)
    with pytest.raises(GatewrightError, match="hidden: expected the run's own value with resume, 6, got 7"):
        gw.Forecaster(**{**sizes, "hidden": 7}).fit(panel(), run_dir=tmp_path / "run", resume=True, **COLUMNS)
    with pytest.raises(GatewrightError, match="source: expected the data that the run learned from"):
        gw.Forecaster(**sizes).fit(panel().head(300), run_dir=tmp_path / "run", resume=True, **COLUMNS)
    resumed = gw.Forecaster(**sizes).fit(panel(), run_dir=tmp_path / "run", resume=True, **COLUMNS)
    assert resumed.model_.fingerprint == whole.model_.fingerprint
    assert resumed.run_ is not None
    assert gw.load(tmp_path / "run").model_.fingerprint == whole.model_.fingerprint
    assert gw.load(tmp_path / "run").evaluate(panel()) == whole.evaluate(panel())


@pytest.mark.parametrize(
    ("options", "columns"),
    [({"transform": "log", "minimum": 0}, {}), ({"season": "none"}, {"past": ["c"], "category": ["c"]})],
)
def test_what_the_table_decides_may_be_said_again_when_a_run_goes_on(
    tmp_path: Path, options: dict[str, Any], columns: dict[str, Any]
) -> None:
    class Stop(Callback):
        def step(self, step: int, *_: float) -> None:
            if step == 5:
                raise KeyboardInterrupt

    rows = np.arange(150)
    table = pl.DataFrame({"y": 10 + np.sin(rows / 3), "c": rows % 3})
    sizes = {**SMALL, "steps": 8, "validate_every": 2, "checkpoint_every": 4, **options}
    columns = {"target": "y", "past": None, **columns}
    whole = gw.Forecaster(**sizes).fit(table, run_dir=tmp_path / "whole", **columns)
    with pytest.raises(KeyboardInterrupt):  # after a first best model
        gw.Forecaster(**sizes).fit(table, run_dir=tmp_path / "run", callbacks=[Stop()], **columns)
    resumed = gw.Forecaster(**sizes).fit(table, run_dir=tmp_path / "run", resume=True, **columns)
    assert resumed.model_.fingerprint == whole.model_.fingerprint
    assert resumed.evaluate(table) == whole.evaluate(table)


def test_a_signal_keeps_the_best_model() -> None:
    import os
    import signal

    class Interrupt(Callback):
        def step(self, step: int, *_: float) -> None:
            if step == 3:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.warns(GatewrightWarning, match="stopped at step 4: this is the best model so far"):
        model = gw.Forecaster(**SMALL).fit(panel(), callbacks=[Interrupt()], **COLUMNS)
    assert model.n_steps_ == 4
    assert len(model.predict(ahead(panel()))) == 2 * HORIZON


def test_training_goes_on_from_a_model_with_other_rows(fitted: gw.Forecaster, tmp_path: Path) -> None:
    other = panel((3, 11, 20), rows=180)
    still = gw.Forecaster(steps=1, lr=1e-30, calibrate="none").fit(other, **COLUMNS, init=fitted)
    for (name, before), after in zip(
        fitted.model_.state_dict().items(), still.model_.state_dict().values(), strict=True
    ):
        np.testing.assert_allclose(before.numpy(), after.numpy(), rtol=1e-6, atol=1e-7, err_msg=name)
    assert still.model_.scaler == fitted.model_.scaler
    assert still.model_.spec == fitted.model_.spec
    assert still.table_.source != fitted.table_.source
    fitted.save(tmp_path / "m.safetensors")
    moved = gw.Forecaster(steps=6).fit(other, **COLUMNS, init=tmp_path / "m.safetensors", run_dir=tmp_path / "run")
    assert moved.model_.fingerprint != fitted.model_.fingerprint
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    checkpoint.unlink()
    (tmp_path / "run" / "model.safetensors").unlink()
    again = gw.Forecaster(steps=6).fit(other, **COLUMNS, run_dir=tmp_path / "run", resume=True)
    assert again.model_.fingerprint == moved.model_.fingerprint
    with pytest.raises(GatewrightError, match="hidden: expected 6, as the initial model has it, got 9"):
        gw.Forecaster(hidden=9).fit(other, **COLUMNS, init=fitted)
    with pytest.raises(GatewrightError, match=r"past: expected .*'temp'.*, as the initial model has it, got "):
        gw.Forecaster().fit(other, **{**COLUMNS, "past": ["kind"], "static": []}, init=fitted)
    with pytest.raises(GatewrightError, match="init: expected a language model, got a forecast model"):
        gw.LanguageModel().fit("to be or not to be\n" * 50, init=fitted)


def test_short_series_are_named_not_dropped_in_silence(fitted: gw.Forecaster) -> None:
    table = ahead(panel())
    short = table.with_columns(site=pl.lit(99, pl.Int32)).tail(HORIZON + 10)
    with pytest.warns(GatewrightWarning, match="left out, fewer than 24 rows: 99"):
        answer = fitted.predict(pl.concat([table, short]))
    assert set(answer["site"]) == set(SITES)


def test_nothing_is_printed_unless_asked(capfd: pytest.CaptureFixture[str]) -> None:
    y = np.sin(np.arange(120) / 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gw.Forecaster(horizon=2, hidden=4, context=10, steps=2).fit(y).predict(y)
    assert capfd.readouterr() == ("", "")
    gw.Forecaster(horizon=2, hidden=4, context=10, steps=2, verbose=1).fit(y)
    shown = capfd.readouterr().out
    assert "best validation" in shown
    assert "gatewright-" not in shown  # the name of a directory that is gone


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no such column": (panel(), {"target": "laod"}, "^target: expected a column out of .*did you mean 'load'"),
    "an option": (panel(), {"target": "load", "fill": "forward"}, r"^fill: .* as in Forecaster\(fill=\.\.\.\)"),
    "no such role": (panel(), {"targets": "load"}, "^columns: expected a role out of .*; did you mean 'target'"),
    "a dictionary": ({"load": [1.0]}, {}, "^X: expected a polars or pandas DataFrame"),
    "a number": (3.0, {}, "^X: expected a polars"),
    "text in an array": (np.array(["a", "b"]), {}, "^X: expected .*got a ndarray of text$"),
    "a lazy frame": (panel().lazy(), {}, "LazyFrame; .collect"),
    "None": (None, {}, "^X: expected a polars"),
    "four axes": (np.zeros((2, 3, 4, 5)), {}, "shape"),
    "no rows": (np.empty(0), {}, "^X: expected at least one row"),
    "series of other widths": ([np.zeros((30, 2)), np.zeros((30, 1))], {}, "^series 1: expected 2 columns"),
    "a target for an array": (np.arange(90.0), {"target": "y"}, "^target: expected a name only for columns"),
    "a number as a role": (panel(), {"target": 3.5}, "^target: expected names of columns"),
    "a missing file": ("no such file.csv", {}, "the file does not exist"),
}  # fmt: skip


@pytest.mark.parametrize(("X", "columns", "message"), BAD.values(), ids=BAD)
def test_a_wrong_table_is_refused_in_one_sentence(X: Any, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(GatewrightError, match=message) as refused:
        gw.Forecaster(**SMALL).fit(X, **columns)
    assert "--" not in str(refused.value)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({"hidden": "many"}, "^hidden: expected a whole number, or one for each layer.*, got 'many'"),
    "zero": ({"horizon": 0}, "^horizon: expected a whole number from 1"),
    "a bool": ({"layers": True}, "^layers: expected a whole number, got True"),
    "two lengths": ({"steps": 3, "epochs": 2}, "^steps and epochs: expected one of them"),
    "levels": ({"quantiles": [0.9, 0.1]}, "^quantiles: expected rising levels"),
    "NaN": ({"lr": float("nan")}, "^lr: expected a number above 0"),
    "verbose": ({"verbose": "yes"}, "^verbose: expected a whole number"),
    "zone": ({"time_zone": "Mars"}, "time_zone"),
}


@pytest.mark.parametrize(("params", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_parameter_is_refused_by_fit(params: dict[str, Any], message: str) -> None:
    estimator = gw.Forecaster(**params)
    with pytest.raises(GatewrightError, match=message):
        estimator.fit(panel(), **COLUMNS)


def test_a_frame_is_refused_where_a_path_belongs(fitted: gw.Forecaster) -> None:
    table = panel()
    for call in (
        lambda: gw.load(table),
        lambda: fitted.save(table),
        lambda: gw.Forecaster().fit(table, **COLUMNS, run_dir=table),
        lambda: gw.Forecaster().fit(table, **COLUMNS, init=table),
        lambda: gw.Stream.load(table),
        lambda: load_module(table),
        lambda: gw.look(table, table),
        lambda: gw.LanguageModel().fit(table),
    ):
        with pytest.raises(GatewrightError):
            call()


def test_before_fit_every_method_says_so() -> None:
    estimator = gw.Forecaster()
    for call in (estimator.predict, estimator.evaluate, estimator.score, estimator.look, estimator.plot):
        with pytest.raises(NotFittedError, match="Forecaster: expected a fitted model: call fit first"):
            call(panel())
    with pytest.raises(NotFittedError):
        estimator.stream()


def test_a_plot_shows_rows_and_forecast(fitted: gw.Forecaster) -> None:
    figure = fitted.plot(ahead(panel()))
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["7", "11"]
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    answer = fitted.predict(ahead(panel())).filter(site=11)
    np.testing.assert_array_equal(lines["median"].get_ydata(), answer["load_q0.5"].to_numpy())
    own = ahead(panel()).filter(site=11)["load"].drop_nulls().tail(24)
    np.testing.assert_array_equal(lines["load"].get_ydata(), own.to_numpy())
