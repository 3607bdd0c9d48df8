"""Seasons that a person sets, and those that the training part shows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from gatewright.errors import GatewrightError
from gatewright.runs.run import Run
from gatewright.tasks import registry
from gatewright.tasks.forecast import dataset
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.options import DataOptions, ModelOptions, Options


def read(path: Path, values: np.ndarray[Any, Any], step: str = "h", **options: Any) -> SeriesData:
    times = np.datetime64("2024-01-01T00:00") + np.arange(len(values)) * np.timedelta64(1, step)
    rows = [f"{time},{'' if value != value else value}" for time, value in zip(times, values, strict=True)]
    path.write_text("\n".join(["time,y", *rows]) + "\n")
    told = registry.kind("forecast").resolve(Options(DataOptions(**{"fill": "mean", **options})))
    return dataset.read(path, told.data)


def hourly(days: int, daily: float, weekly: float, noise: float = 1.0) -> np.ndarray[Any, Any]:
    """A random walk with profiles of a day and a week."""
    rng = np.random.default_rng(0)
    rows = np.arange(24 * days)
    profile, week = rng.normal(size=24), rng.normal(size=168)
    walk = 0.3 * noise * rng.normal(size=len(rows)).cumsum()
    return 20 + walk + daily * profile[rows % 24] + weekly * week[rows % 168] + noise * rng.normal(size=len(rows))


@pytest.mark.parametrize(
    ("daily", "weekly", "found"),
    [(0, 0, ()), (3, 0, (24,)), (3, 3, (24, 168))],
)
def test_seasons_are_found_where_the_training_part_shows_them(
    daily: float, weekly: float, found: tuple[int, ...], tmp_path: Path
) -> None:
    data = read(tmp_path / "a.csv", hourly(80, daily, weekly), horizon=6)
    assert data.sizes.seasons == found
    assert data.sizes.season == 24
    assert data.sizes.read == (168 + 48 if 168 in found else 96)
    assert data.options.season == (tuple(map(str, found)) or ("none", "24"))
    for season in (24, 168) if found else (24,):
        assert f"{season} (correlation " in data.seasons
    assert data.seasons.startswith(
        "seasonal differences: " if found else "no seasonal differences; left out: 24 (correlation "
    )


def test_missing_values_hide_no_season(tmp_path: Path) -> None:
    values = hourly(60, 3, 0)
    values[np.random.default_rng(1).random(len(values)) < 0.2] = np.nan
    values[:5] = np.nan
    assert read(tmp_path / "a.csv", values).sizes.seasons == (24,)


def test_a_short_table_has_the_seasons_that_fit(tmp_path: Path) -> None:
    values = hourly(60, 3, 3)
    data = read(tmp_path / "a.csv", values[: 24 * 24], valid="96", test="96")
    assert data.sizes.seasons == (24,)
    assert "168 (the training part is too short)" in data.seasons
    data = read(tmp_path / "a.csv", values, context=48)
    assert data.sizes.seasons == (24,)
    assert "168 (--context 48 is too short)" in data.seasons


def test_what_is_found_is_read_again_as_it_was(tmp_path: Path) -> None:
    values = hourly(80, 3, 3)
    for seasons in (None, ("168", "24"), ("none",), ("none", "7"), ("5",)):
        data = read(tmp_path / "a.csv", values, season=seasons)
        again = read(tmp_path / "a.csv", values, season=data.options.season)
        assert again.sizes.seasons == data.sizes.seasons
        assert again.sizes.season == data.sizes.season == {("168", "24"): 168, ("none", "7"): 7, ("5",): 5}.get(
            seasons or (), 24
        )  # fmt: skip
        assert again.options.season == data.options.season


def test_set_seasons(tmp_path: Path) -> None:
    values = hourly(40, 0, 0)
    data = read(tmp_path / "a.csv", values, season=("10", "3"))
    assert (data.sizes.season, data.sizes.seasons) == (10, (3, 10))
    spec, _ = dataset.build(data, registry.kind("forecast").resolve(Options()))
    assert spec.encoder.seasons == (3, 10)
    assert data.seasons == "seasonal differences: 10, 3, as set"
    data = read(tmp_path / "a.csv", values, season=("10", "3"), reads="nothing")
    assert (data.sizes.season, data.sizes.seasons) == (10, ())
    assert "season 10 of the baseline alone" in data.seasons
    assert read(tmp_path / "a.csv", hourly(40, 3, 0), reads="nothing").sizes.seasons == ()
    assert read(tmp_path / "a.csv", values, season=("10",), context=11).sizes.read == 11
    with pytest.raises(GatewrightError, match=r"--context: expected at least 11 for a season of 10 steps \(or"):
        read(tmp_path / "a.csv", values, season=("3", "10"), context=10)


def test_options_of_an_older_run_mean_what_they_meant() -> None:
    kind = registry.kind("forecast")
    old = kind.of_earlier(Options(DataOptions(season=("7",)), ModelOptions(hidden=8)))
    assert (old.data.season, old.model.start) == (("none", "7"), "zero")
    new = kind.resolve(Options(DataOptions(season=("7",), category=("none",))))
    assert kind.of_earlier(new) == new
    assert new.model.start == "data"


def test_a_run_of_an_older_build_keeps_the_digest_of_its_options(tmp_path: Path) -> None:
    """What its checkpoint holds is a digest of its config.toml, whose season was one number."""
    tables: dict[str, dict[str, Any]] = {
        "data": {
            "target": ["y"],
            "past": [],
            "season": 24,
            "horizon": 3,
            "quantiles": [0.1, 0.5, 0.9],
            "test": "0.1",
        },
        "model": {"hidden": 8, "dropout": 0.2},
        "training": {"steps": 30, "lr": 0.001, "seed": 0, "patience": 5},
    }
    (tmp_path / "config.toml").write_text(tomli_w.dumps(tables))
    (tmp_path / "source.json").write_text(json.dumps({"kind": "forecast", "source": "", "sha256": ""}))
    run = Run.open(tmp_path)
    assert (run.options().data.season, run.options().model.start) == (("none", "24"), "zero")
    fixed = {**tables, "training": {"lr": 0.001, "seed": 0}}
    assert run.told() == hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()
