"""Models of other packages as baselines, against those packages' own calls; skipped where they are missing."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from gatewright.errors import GatewrightError
from gatewright.progress import SILENT
from gatewright.tasks import registry
from gatewright.tasks.forecast.lag_trees import LagTrees
from gatewright.tasks.forecast.reference_models import REFERENCES, Statistical, require_references
from tests.support.small_models import DATA, forecaster, language_model, rows_of, write_cells, write_sites
from tests.tasks.test_baselines import last_season, last_value

QUANTILES = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    return forecaster(write_sites(tmp_path_factory.mktemp("sites") / "sites.csv"))


def filled(column):
    """The series with each gap as long as the value before it lasts, from its first value on."""
    values = [last_value(column, row) for row in range(len(column))]
    first = next(row for row, value in enumerate(values) if value == value)
    return first, np.array(values)


def fitted(name, data, series=(0, 1)):
    done = []
    return Statistical(name, data, series, done.append), done


@pytest.mark.parametrize("name", ["autoets", "autoarima"])
def test_statistical_models_are_those_of_statsforecast(sites, name):
    models = pytest.importorskip("statsforecast.models")
    data, _ = sites
    reference, done = fitted(name, data)
    assert sum(done) == 2
    cls = {"autoets": models.AutoETS, "autoarima": models.AutoARIMA}[name]
    for number, (series, part) in enumerate(zip(data.table.series, data.parts, strict=True)):
        answer = reference.forecast(number, np.array([part.test - 1, part.test + 4]))
        assert answer.shape == (2, DATA.horizon, 2, len(QUANTILES))
        for target in range(2):
            first, column = filled(series.values[:, target])
            model = cls(season_length=data.sizes.season).fit(column[first : part.test])
            expected = model.predict(h=DATA.horizon, level=[80])
            later = model.forward(column[first : part.test + 5], h=DATA.horizon, level=[80])
            for place, own in enumerate((expected, later)):
                columns = np.stack([np.asarray(own[key]) for key in ("lo-80", "mean", "hi-80")], axis=-1)
                np.testing.assert_allclose(answer[place, :, target], columns, rtol=1e-6)


def test_lag_trees_read_what_a_loop_reads(sites):
    pytest.importorskip("lightgbm")
    data, _ = sites
    trees = LagTrees("lightgbm", data, (0, 1), lambda _: None)
    season, lags = data.sizes.season, 7
    cells, origins = data.table.series[1].values[:, 0], np.array([30, 41])
    known = cells[: data.parts[1].test]
    scale = np.nanmean(np.abs(known[season:] - known[:-season]))
    inputs, level = trees._inputs(1, origins, 0)
    for place, origin in enumerate(origins):
        last = last_value(cells, origin)
        assert level[place] == last
        for ahead in range(1, DATA.horizon + 1):
            phase = 2 * np.pi * (origin + ahead) / season
            expected = [(cells[origin - lag] - last) / scale for lag in range(lags)]
            expected += [(last_season(cells, origin, ahead, season) - last) / scale]
            expected += [ahead, np.sin(phase), np.cos(phase)]
            np.testing.assert_allclose(inputs[place * DATA.horizon + ahead - 1], expected, rtol=1e-9, atol=1e-12)


def test_lag_trees_learn_a_pattern_and_its_spread(tmp_path):
    pytest.importorskip("lightgbm")
    draw = np.random.default_rng(0)
    rows = 600
    cells = rows_of("a", rows, 1)
    wave = 100 * np.sin(np.arange(rows) * 2 * np.pi / 5) + draw.normal(size=rows)
    for row in range(rows):
        cells[row][2] = f"{wave[row]:.4f}"
    path = write_cells(tmp_path / "a.csv", cells)
    data, _ = forecaster(path, replace(DATA, static=(), target=("load",), valid="60", test="200"))
    trees = LagTrees("lightgbm", data, (0,), lambda _: None)
    origins = np.arange(data.parts[0].test - 1, rows - 4)
    answer = trees.forecast(0, origins)[:, :, 0]
    truth = wave[origins[:, None] + np.arange(1, 4)]
    assert np.abs(answer[..., 1] - truth).mean() < 1.5  # the noise itself has 0.8
    assert 0.55 < ((answer[..., 0] <= truth) & (truth <= answer[..., 2])).mean() < 0.95
    assert (np.diff(answer, axis=-1) >= 0).all()


@pytest.mark.parametrize("name", ["autoets", "autoarima", "lightgbm"])
def test_no_reference_knows_what_comes_after_its_origin(sites, name):
    pytest.importorskip(REFERENCES[name].package)
    data, _ = sites
    number, row = 0, data.parts[0].test + 6
    series = data.table.series[number]
    values = series.values.copy()
    values[row:, :2] += 50.0
    changed = replace(data.table, series=(replace(series, values=values), *data.table.series[1:]))
    origins = np.arange(data.parts[0].test - 1, row + 3)

    def answers(of):
        reference = REFERENCES[name].fit(name, of, (0,), lambda _: None)
        return reference.forecast(0, origins)

    before, after = answers(data), answers(replace(data, table=changed))
    early = origins < row
    np.testing.assert_array_equal(before[early], after[early])
    assert (before[~early] != after[~early]).any()


@pytest.mark.parametrize("name", ["autoets", "lightgbm"])
def test_an_evaluation_scores_them_on_the_same_windows(sites, name):
    pytest.importorskip(REFERENCES[name].package)
    data, model = sites
    kind = registry.kind("forecast")
    figures = kind.evaluate_next_to([name, name], model, data, 7, SILENT).figures["targets"]
    for methods in figures.values():
        assert list(methods) == ["model", "persistence", "seasonal-naive", "drift", name]
        assert len({method["overall"]["observed"] for method in methods.values()}) == 1
        assert methods[name]["overall"]["coverage"] is not None
    plain = kind.evaluate(model, data, 7, SILENT).figures["targets"]
    for target, methods in plain.items():
        for method in methods:
            assert figures[target][method] == methods[method]


def test_a_series_too_short_to_fit_is_named(tmp_path):
    pytest.importorskip("statsforecast")
    cells = rows_of("a", 100, 1) + rows_of("late", 100, 2)
    for row in cells[100:179]:
        row[2] = ""
    data, _ = forecaster(write_cells(tmp_path / "s.csv", cells), replace(DATA, target=("load",)))
    with pytest.raises(GatewrightError, match=r"autoets: expected at least 2 observed rows .* 'late'"):
        fitted("autoets", data)


def test_what_cannot_be_fitted_is_refused(monkeypatch, sites):
    with pytest.raises(
        GatewrightError, match="--baselines: expected autoets or autoarima or lightgbm, got 'arima'"
    ):
        require_references(["arima"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        GatewrightError, match=r"lightgbm: expected the package lightgbm: .*baselines\]', got none"
    ):
        registry.kind("forecast").evaluate_next_to(["lightgbm"], *reversed(sites), None, SILENT)
    with pytest.raises(GatewrightError, match="--baselines: expected a run that forecasts, got a language model"):
        registry.kind("language").evaluate_next_to(["autoets"], language_model("ab"), None, None, SILENT)
