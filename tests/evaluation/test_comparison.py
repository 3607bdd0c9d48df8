"""Comparisons of runs against loops: the same windows, and the Diebold-Mariano statistic by its definition."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright import cli
from gatewright.errors import GatewrightError
from gatewright.evaluation.comparison import compare_runs
from gatewright.evaluation.diebold_mariano import diebold_mariano
from gatewright.evaluation.report import evaluate_run
from gatewright.runs.run import Run
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train.launch import train
from tests.support.evaluations import forecast_test_part
from tests.support.lazy import LazyModule
from tests.support.small_models import rows_of, write_cells
from tests.support.training_runs import LANGUAGE, quiet, write_text

if TYPE_CHECKING:
    from scipy import stats

    from gatewright.evaluation import comparison_plot
else:
    comparison_plot = LazyModule("gatewright.evaluation.comparison_plot")
    stats = LazyModule("scipy.stats")

SHORT = TrainingOptions(steps=4, batch=8, validate_every=4, checkpoint_every=4, warmup=1, device="cpu")
OPTIONS = Options(
    DataOptions(target=("load",), context=8, horizon=3, season=("5",), valid="40", test="40",
                transform=("none",), scale="global"),
    ModelOptions(hidden=4),
    SHORT,
)  # fmt: skip


def by_definition(differences, places, horizon):
    """The statistic and its p-value, a pair of forecasts at a time."""
    count, mean = len(differences), math.fsum(differences) / len(differences)
    variance = math.fsum(
        (differences[i] - mean) * (differences[j] - mean) / count
        for i in range(count)
        for j in range(count)
        if abs(places[i] - places[j]) < horizon
    )
    h = 1 + max(j - i for i in range(count) for j in range(i, count) if places[j] - places[i] < horizon)
    corrected = math.sqrt((count + 1 - 2 * h + h * (h - 1) / count) / count)
    statistic = corrected * mean / math.sqrt(variance / count)
    return statistic, 2 * stats.t.sf(abs(statistic), count - 1)


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(12, 40), st.booleans())
def test_the_statistic_is_its_definition(seed, horizon, count, gaps):
    draw = np.random.default_rng(seed)
    # A moving average of the order that overlapping forecasts have, so that the variance is positive.
    noise = draw.normal(size=count + horizon)
    differences = 0.2 + np.convolve(noise, np.ones(horizon), "valid")[:count]
    places = np.sort(draw.choice(3 * count, count, replace=False)) if gaps else np.arange(count)
    found = diebold_mariano(differences, horizon, places)
    if found.kernel == "bartlett":
        return
    statistic, p = by_definition(differences.tolist(), places.tolist(), horizon)
    half = stats.t.ppf(0.975, count - 1) * abs(found.difference / statistic)
    assert (found.low, found.high) == pytest.approx((found.difference - half, found.difference + half), rel=1e-6)
    assert found.statistic == pytest.approx(statistic, rel=1e-9)
    assert found.p_value == pytest.approx(p, rel=1e-6, abs=1e-12)
    assert found.difference == pytest.approx(differences.mean())
    swapped = diebold_mariano(-differences, horizon, places)
    assert (swapped.statistic, swapped.p_value) == (-found.statistic, found.p_value)


def test_the_statistic_of_one_step_is_students_t():
    """The correction for one step makes it the t-test of a mean of zero."""
    differences = np.random.default_rng(3).normal(0.3, 1.0, 25)
    found, expected = diebold_mariano(differences, 1), stats.ttest_1samp(differences, 0.0)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_the_variance_is_that_of_statsmodels():
    """Figures of OLS on a constant with HAC errors, kernel "uniform", of statsmodels, times the correction."""
    draw = np.random.default_rng
    differences = draw(0).normal(size=80).cumsum() * 0.1 + 0.3 + draw(1).normal(size=80)
    for horizon, expected in ((1, 3.320057674064537), (3, 2.6632591389360543), (5, 2.04830957459543)):
        assert diebold_mariano(differences, horizon).statistic == pytest.approx(expected, rel=1e-9)


def test_a_variance_that_is_not_positive_is_bartletts():
    differences = np.array([1.0, -1.0] * 10) + 0.01 * np.arange(20)
    found = diebold_mariano(differences, 2)
    centred = differences - differences.mean()
    variance = (centred @ centred + centred[1:] @ centred[:-1]) / 20
    assert found.kernel == "bartlett"
    assert found.statistic == pytest.approx(
        differences.mean() / math.sqrt(variance / 20) * math.sqrt((21 - 4 + 2 / 20) / 20)
    )


@pytest.mark.parametrize("differences", [[], [1.0], [0.1] * 7, [1.0, 2.0]])
def test_what_has_no_statistic_has_none(differences):
    found = diebold_mariano(np.array(differences), 3)
    assert (found.statistic, found.p_value) == (None, None)


def test_losses_that_are_not_finite_are_refused():
    with pytest.raises(GatewrightError, match="differences: expected finite losses"):
        diebold_mariano(np.array([1.0, math.nan]), 1)
    with pytest.raises(GatewrightError, match="horizon: expected at least 1 step, got 0"):
        diebold_mariano(np.array([1.0, 2.0]), 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of one table of a series and of one of two, with other contexts and sizes."""
    folder = tmp_path_factory.mktemp("runs")
    one = write_cells(folder / "one.csv", rows_of("a", 200, 1), "site,time,load,flow,wind,heat,height")
    two = write_cells(folder / "two.csv", rows_of("a", 200, 1) + rows_of("b", 160, 2))

    def make(name, source, **changes):
        data = {key: value for key, value in changes.items() if key in DataOptions.__dataclass_fields__}
        options = replace(OPTIONS, data=replace(OPTIONS.data, **data))
        training = replace(SHORT, seed=changes.get("seed", 0))
        options = replace(options, model=replace(options.model, start="zero"), training=training)
        train(source, options, run=folder / name, console=quiet())

    make("small", one, id=("site",))
    make("large", one, id=("site",), context=20, seed=2)
    make("third", one, id=("site",), season=("7",), seed=3)
    make("two", two, id=("site",))
    make("also", two, id=("site",), seed=4)
    for name, changes in {
        "horizon": {"horizon": 2}, "split": {"test": "30"}, "targets": {"target": ("flow",)},
        "quantiles": {"quantiles": (0.5,)}, "step": {"resample": "2h", "valid": "20", "test": "20"},
    }.items():  # fmt: skip
        make(name, one, id=("site",), **changes)
    train(
        write_text(folder / "plays.txt"), replace(LANGUAGE, training=SHORT), run=folder / "text", console=quiet()
    )
    return folder


def losses_of(path, series):
    """The quantile loss of each window of a series, a value at a time, by origin."""
    run = Run.open(path)
    model = run.best_model()
    found = forecast_test_part(model, run.data())
    losses = {}
    for place, origin in enumerate(found.origins[series]):
        terms = []
        for value, answers in zip(
            found.truth[series][place, :, 0], found.forecasts["model"][series][place, :, 0], strict=True
        ):
            if value == value:
                pairs = zip(model.spec.head.quantiles, answers, strict=True)
                terms.append(np.mean([max(p * (value - q), (p - 1) * (value - q)) for p, q in pairs]))
        losses[int(origin)] = float(np.mean(terms))
    return losses


@pytest.mark.slow
def test_runs_are_scored_as_each_alone_and_tested_by_pair(folder):
    figures = compare_runs([folder / "small", folder / "large", folder / "third"])
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    methods = figures["targets"]["load"]
    assert list(methods) == ["small", "large", "third", "persistence", "seasonal-naive", "drift"]
    for name in ("small", "large"):
        alone = evaluate_run(folder / name)[1]["targets"]["load"]
        assert methods[name]["overall"] == pytest.approx(alone["model"]["overall"])
        assert methods["drift"]["overall"] == pytest.approx(alone["drift"]["overall"])
    # Another season scales the MASE of the run alone, but not here.
    alone = evaluate_run(folder / "third")[1]["targets"]["load"]["model"]["overall"]
    assert methods["third"]["overall"]["mae"] == pytest.approx(alone["mae"])
    scale = methods["small"]["overall"]["mae"] / methods["small"]["overall"]["mase"]
    assert methods["third"]["overall"]["mae"] / methods["third"]["overall"]["mase"] == pytest.approx(scale)
    tests = figures["tests"]["load"]
    assert [(test["first"], test["second"]) for test in tests] == [
        ("small", "large"), ("small", "third"), ("large", "third"),
    ]  # fmt: skip
    for test in tests:
        one, two = losses_of(folder / test["first"], 0), losses_of(folder / test["second"], 0)
        assert one.keys() == two.keys()
        places = sorted(one)
        differences = [one[place] - two[place] for place in places]
        assert test["origins"] == len(places)
        assert test["difference"] == pytest.approx(np.mean(differences), rel=1e-6)
        if test["kernel"] == "rectangular":
            statistic, p = by_definition(differences, places, 3)
            assert (test["statistic"], test["p_value"]) == pytest.approx((statistic, p), rel=1e-5)


def test_several_series_are_scaled_and_averaged_at_each_origin(folder):
    figures = compare_runs([folder / "two", folder / "also"])
    [test] = figures["tests"]["load"]
    data = Run.open(folder / "two").data()
    means = {}
    for number, (series, part) in enumerate(zip(data.table.series, data.parts, strict=True)):
        values = series.values[: part.valid, 0]
        scale = np.nanmean(np.abs(values[5:] - values[:-5]))
        one, two = losses_of(folder / "two", number), losses_of(folder / "also", number)
        for origin, loss in one.items():
            means.setdefault(series.times[origin], []).append((loss - two[origin]) / scale)
    differences = [np.mean(means[when]) for when in sorted(means)]
    assert test["origins"] == len(differences)
    assert test["difference"] == pytest.approx(np.mean(differences), rel=1e-5)
    places = [int((when - min(means)) / np.timedelta64(1, "h")) for when in sorted(means)]
    statistic, _ = by_definition(differences, places, 3)
    assert test["statistic"] == pytest.approx(statistic, rel=1e-4)


def test_windows_are_drawn_for_all_alike(folder):
    figures = compare_runs([folder / "small", folder / "large"], windows=9)
    assert (figures["windows"], figures["tests"]["load"][0]["origins"]) == (9, 9)
    observed = {methods["overall"]["observed"] for methods in figures["targets"]["load"].values()}
    assert len(observed) == 1


REFUSED = {
    "two": "expected a run of the data of .*small, got a run of other data",
    "horizon": "expected the horizon of .*small: 3, got 2",
    "split": "expected the split of .*small: valid 40, test 40, got valid 40, test 30",
    "targets": "expected the targets of .*small: load, got flow",
    "quantiles": r"expected the quantiles of .*small: 0.1, 0.5, 0.9, got 0.5",
    "step": "expected the step between rows of .*small: 1h, got 2h",
    "text": "runs: expected runs that forecast, got .*text, a language model",
}


@pytest.mark.parametrize("name", REFUSED)
def test_runs_that_cannot_be_compared_are_refused_by_name(folder, name):
    with pytest.raises(GatewrightError, match=REFUSED[name]):
        compare_runs([folder / "small", folder / name])


def test_one_run_is_none_to_compare(folder):
    with pytest.raises(GatewrightError, match="runs: expected at least two runs to compare, got 1"):
        compare_runs([folder / "small"])
    with pytest.raises(GatewrightError, match="runs: expected runs that differ"):
        compare_runs([folder / "small", folder / "small"])
    with pytest.raises(GatewrightError, match="--windows: expected a whole number of at least 1, got 0"):
        compare_runs([folder / "small", folder / "large"], windows=0)


def test_the_picture_shows_losses_and_intervals(folder, tmp_path):
    figures = compare_runs([folder / "small", folder / "large", folder / "third"])
    losses, differences = comparison_plot.comparison_figure(figures).axes
    methods = figures["targets"]["load"]
    assert [line.get_label() for line in losses.lines] == list(methods)
    for line, method in zip(losses.lines, methods.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_allclose(line.get_ydata(), [step["quantile_loss"] for step in method["by_step"]])
    tests = figures["tests"]["load"]
    drawn = [line.get_xdata() for line in differences.lines]
    expected = [values for test in tests for values in ([test["low"], test["high"]], [test["difference"]])]
    assert [list(map(float, np.atleast_1d(line))) for line in drawn] == [*expected, [0, 0]]
    names = [label.get_text() for label in differences.get_yticklabels()]
    assert names == ["small -\nlarge", "small -\nthird", "large -\nthird"]
    assert losses.get_title(loc="left") == "load, 38 windows of the test part"
    assert losses.get_ylabel() == "quantile loss, units of load"
    # Several series, of unlike scales: the scaled loss.
    several = compare_runs([folder / "two", folder / "also"])
    [losses, differences] = comparison_plot.comparison_figure(several).axes
    scaled = [step["scaled_quantile_loss"] for step in several["targets"]["load"]["two"]["by_step"]]
    np.testing.assert_allclose(losses.lines[0].get_ydata(), scaled)
    assert "scaled" in differences.get_xlabel()
    with pytest.raises(GatewrightError, match="figures: expected those of compare_runs, got 'forecast'"):
        comparison_plot.comparison_figure({"kind": "forecast"})


@pytest.mark.parametrize(("name", "begins"), [("c.png", b"\x89PNG"), ("c.SVG", b"<?xml")])
def test_the_command_draws_the_picture(folder, tmp_path, capsys, name, begins):
    path = tmp_path / name
    cli.main(["compare", str(folder / "small"), str(folder / "large"), "--plot", str(path)])
    out, err = capsys.readouterr()
    assert (err, out.splitlines()[-1]) == ("", f"wrote {path}")
    assert path.read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("c.jpg", "--plot: expected a file whose name ends in .png or .svg, got "),
        ("no/c.png", "--plot: expected a file in a directory that exists, got "),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_first(tmp_path, capsys, path, message):
    with pytest.raises(SystemExit):
        cli.main(["compare", "no", "run", "--plot", str(tmp_path / path)])
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_the_command_prints_tables_and_writes_the_figures(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    cli.main(["compare", str(folder / "small"), str(folder / "large"), "--out", str(tmp_path / "c.json")])
    out, err = capsys.readouterr()
    assert err == ""
    figures = json.loads((tmp_path / "c.json").read_text())
    [test] = figures["tests"]["load"]
    assert figures == compare_runs([folder / "small", folder / "large"])
    [line] = [line.split() for line in out.splitlines() if line.startswith("small - large")]
    assert float(line[4]) == pytest.approx(test["statistic"], rel=1e-2)
    assert "load: test part, 38 windows, 3 steps ahead" in out
    assert max(map(len, out.splitlines()[:8])) <= 100
