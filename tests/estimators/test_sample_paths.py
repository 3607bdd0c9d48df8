"""Sample paths of a forecaster: their margins, their order, their form, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from benchmarks.forecasts.sums import WAYS, paths_of_windows, scores

import gatewright as gw
from gatewright.cli import main
from gatewright.errors import GatewrightError
from gatewright.estimators.base import GatewrightWarning
from gatewright.runs.run import Run
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train.launch import train
from tests.estimators.test_forecaster import HORIZON, ahead, as_pandas, panel
from tests.support.training_runs import quiet

pytestmark = pytest.mark.slow

OPTIONS = Options(
    DataOptions(
        target=("load", "temp"), time="ts", id=("site",), known=("price",), horizon=HORIZON, context=24,
        transform=("log1p", "none"), holidays=(), season=("none",),
    ),
    ModelOptions(hidden=4),
    TrainingOptions(steps=12, batch=16, validate_every=6, device="cpu"),
)  # fmt: skip


def table() -> pl.DataFrame:
    return ahead(panel())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("paths")
    panel().write_parquet(directory / "panel.parquet")
    return train(directory / "panel.parquet", OPTIONS, run=directory / "run", console=quiet())[0].path


@pytest.fixture(scope="module")
def model(run: Path) -> gw.Forecaster:
    return gw.load(run)


@pytest.fixture(scope="module")
def drawn(model: gw.Forecaster) -> pl.DataFrame:
    return model.sample_paths(table(), paths=2000, seed=4)


def test_margins_are_the_quantiles_of_the_forecast(model: gw.Forecaster, drawn: pl.DataFrame) -> None:
    assert drawn.columns == ["site", "ts", "path", "load", "temp"]
    assert len(drawn) == 2 * 2000 * HORIZON
    joined = drawn.join(model.predict(table()), on=["site", "ts"])
    assert len(joined) == len(drawn)
    for target in ("load", "temp"):
        for level in (0.1, 0.5, 0.9):
            below = pl.col(target) <= pl.col(f"{target}_q{level}")
            shares = joined.group_by("site", "ts").agg(below.mean())[target].to_numpy()
            # Four standard deviations of a share of 2,000 draws.
            np.testing.assert_allclose(shares, level, atol=4 * np.sqrt(level * (1 - level) / 2000))


def test_paths_have_the_dependence_that_the_model_file_has(model: gw.Forecaster, drawn: pl.DataFrame) -> None:
    kept = model.table_.correlation
    size = 2 * HORIZON
    assert len(kept) == size * (size - 1) // 2
    one = drawn.filter(pl.col("site") == 11)
    values = one.select("load", "temp").to_numpy().reshape(2000, size)
    ranks = np.corrcoef(values.argsort(axis=0).argsort(axis=0).T)  # Spearman's
    expected = 6 / np.pi * np.arcsin(np.array(kept) / 2)
    np.testing.assert_allclose(ranks[np.triu_indices(size, 1)], expected, atol=0.1)
    other = drawn.filter(pl.col("site") == 7)["temp"].to_numpy()
    assert abs(np.corrcoef(one["temp"].to_numpy(), other)[0, 1]) < 0.3  # series are drawn on their own


def test_paths_depend_on_seed_and_series_alone(model: gw.Forecaster, drawn: pl.DataFrame) -> None:
    few = drawn.filter(pl.col("path") <= 70)
    assert model.sample_paths(table(), paths=70, seed=4).equals(few)
    for site in (7, 11):
        alone = model.sample_paths(table().filter(pl.col("site") == site), paths=70, seed=4)
        assert alone.equals(few.filter(pl.col("site") == site))
    turned = model.sample_paths(pl.concat([part for _, part in table().group_by("site")][::-1]), paths=70, seed=4)
    assert turned.sort("site", "path", "ts").equals(few)
    short = model.sample_paths(table(), paths=70, seed=4, horizon=2)
    assert short.equals(few.filter(pl.col("ts").rank("dense").over("site") <= 2))
    assert not model.sample_paths(table(), paths=70, seed=5)["temp"].equals(few["temp"])


def test_answers_have_the_form_of_the_table(model: gw.Forecaster, drawn: pl.DataFrame, tmp_path: Path) -> None:
    few = drawn.filter(pl.col("path") <= 3)
    assert drawn.schema["ts"] == table().schema["ts"]
    assert drawn.schema["site"] == pl.Int32
    of_pandas = model.sample_paths(as_pandas(table()), paths=3, seed=4)
    assert str(of_pandas["ts"].dt.tz) == "Europe/Berlin"
    assert of_pandas["ts"].tolist() == few["ts"].to_list()
    for name in ("site", "path", "load", "temp"):
        np.testing.assert_array_equal(of_pandas[name].to_numpy(), few[name].to_numpy())
    table().write_parquet(tmp_path / "t.parquet")
    assert model.sample_paths(tmp_path / "t.parquet", paths=3, seed=4)["temp"].equals(few["temp"])


def test_arrays_give_arrays() -> None:
    draw = np.random.default_rng(0)
    small: dict[str, Any] = {"horizon": 3, "hidden": 4, "context": 6, "steps": 2}
    y = np.cumsum(draw.normal(size=(120, 2)), axis=0)
    model = gw.Forecaster(**small).fit(y)
    both = model.sample_paths(y, paths=5)
    assert both.shape == (5, 3, 2)
    np.testing.assert_array_equal(model.sample_paths(y, paths=2), both[:2])
    several = gw.Forecaster(**small, scale="window").fit([y[:, 0], 1e6 * y[:90, 1]])
    with pytest.warns(GatewrightWarning, match="left out, fewer than 6 rows: 1"):
        drawn = several.sample_paths([y[:, 0], y[:4, 1], 1e6 * y[:90, 1]], paths=500)
    assert drawn.shape == (3, 500, 3)
    assert np.isfinite(drawn).all(axis=(1, 2)).tolist() == [True, False, True]
    np.testing.assert_array_equal(several.sample_paths([y[:, 0]], paths=5)[0], drawn[0, :5])
    quantiles = several.predict([y[:, 0], 1e6 * y[:90, 1]])  # each in the scale of its window
    for number, own in enumerate((drawn[0], drawn[2])):
        shares = (own[..., None] <= quantiles[number]).mean(axis=0)
        np.testing.assert_allclose(shares, np.tile([0.1, 0.5, 0.9], (3, 1)), atol=0.09)


def test_the_command_writes_the_same_paths(
    run: Path, drawn: pl.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table().write_parquet(tmp_path / "t.parquet")
    words = ["forecast", str(run), str(tmp_path / "t.parquet"), "--paths", "3"]
    main([*words, "--seed", "4", "--out", str(tmp_path / "p.csv")])
    written = pl.read_csv(tmp_path / "p.csv")
    few = drawn.filter(pl.col("path") <= 3)
    assert written.columns == few.columns
    assert written["path"].equals(few["path"])
    assert written["ts"][0] == str(few["ts"][0])
    for name in ("load", "temp"):
        np.testing.assert_allclose(written[name].to_numpy(), few[name].to_numpy(), rtol=1e-6)
    refused = {"--seed": "expected --paths with it", "--paths": "expected a whole number from 1"}
    for option, said in refused.items():
        with pytest.raises(SystemExit) as stopped:
            main([*words[:3], option, "0"])
        assert stopped.value.code != 0
        assert f"{option}: {said}" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit):
        main([*words, "--seed", "-1"])
    assert "--seed: expected a whole number of at least 0, got -1" in " ".join(capsys.readouterr().err.split())


def test_the_benchmark_of_sums_draws_from_the_windows_of_the_test_part(run: Path) -> None:
    drawn, came = paths_of_windows(Run.open(run), 6, 400)
    assert list(drawn) == list(WAYS)
    assert came.shape == (6, HORIZON)
    for paths in drawn.values():
        assert paths.shape == (6, 400, HORIZON)
        np.testing.assert_allclose(np.median(paths, axis=1), np.median(drawn["copula"], axis=1), rtol=0.05)
    spread = {way: paths.sum(axis=-1).std(axis=-1).mean() for way, paths in drawn.items()}
    assert max(spread, key=lambda way: spread[way]) == "one draw"
    inside, loss = scores(np.tile(np.arange(101.0), (3, 1)), np.array([50.0, 95.0, 10.0]))
    assert inside == pytest.approx(2 / 3)
    # By hand: levels 0.1, 0.5 and 0.9 have the quantiles 10, 50 and 90.
    assert loss == pytest.approx(((4 + 0 + 4) + (8.5 + 22.5 + 4.5) + (0 + 20 + 8)) / 9)


@pytest.mark.parametrize("head", ["normal", "negative-binomial"])
def test_a_distribution_gives_paths_whatever_quantiles_it_forecasts(head: str) -> None:
    y = np.random.default_rng(0).poisson(5, 90).astype(float)
    small: dict[str, Any] = {
        "head": head,
        "horizon": 2,
        "hidden": 3,
        "context": 6,
        "steps": 1,
        "calibrate": "none",
    }
    alone, several = (gw.Forecaster(**small, quantiles=levels).fit(y) for levels in ([0.5], [0.1, 0.5, 0.9]))
    assert alone.predict(y).shape == (2, 1)
    drawn = alone.sample_paths(y, paths=70)
    np.testing.assert_array_equal(drawn, several.sample_paths(y, paths=70))  # one distribution, one dependence
    assert len(np.unique(drawn)) > 2
    assert alone.table_.correlation == several.table_.correlation != ()


def test_what_gives_no_paths_is_refused(model: gw.Forecaster) -> None:
    for wrong in ({"paths": 0}, {"paths": 1.5}, {"paths": True}, {"seed": -1}, {"seed": None}, {"horizon": 9}):
        with pytest.raises(GatewrightError, match=next(iter(wrong))):
            model.sample_paths(table(), **wrong)
    with pytest.raises(GatewrightError, match="paths: expected a whole number from 1 to 1,000,000"):
        model.sample_paths(table(), paths=10**7)
    y = np.cumsum(np.ones(90) + np.sin(np.arange(90)))
    small: dict[str, Any] = {"hidden": 4, "context": 6, "steps": 2}
    for options, kind in (({"loss": "mse"}, "mean"), ({"quantiles": [0.5]}, "median")):
        point = gw.Forecaster(horizon=2, **small, **options).fit(y)
        with pytest.raises(GatewrightError, match=f"train with loss quantile and .*quantiles, got .*{kind} alone"):
            point.sample_paths(y)
    named = pl.DataFrame({"path": y})
    with pytest.raises(GatewrightError, match=r"column 'path': .*a name that no other column"):
        gw.Forecaster(horizon=2, **small).fit(named).sample_paths(named)
    step = gw.Forecaster(horizon=1, **small).fit(y)  # a single output depends on nothing
    assert step.sample_paths(y, paths=4).shape == (4, 1)
    module = model.model_
    assert module.table is not None
    kept = module.table
    module.table = replace(kept, correlation=())  # as an earlier version wrote it
    try:
        with pytest.raises(GatewrightError, match=r"paths: .*train it again, got a file without it"):
            model.sample_paths(table())
    finally:
        module.table = kept
