"""The evaluation against loops: the same windows and the same observed values for all, and nothing from later."""

from __future__ import annotations

import io
import json
import math
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gatewright.data.text import TextParts, encode_text
from gatewright.errors import DataError, GatewrightError
from gatewright.tasks.forecast import evaluate
from gatewright.tasks.forecast.evaluate import METHODS, choose, evaluate_forecast
from gatewright.tasks.forecast.metrics import MEASURES, measure, naive_error
from gatewright.tasks.forecast.tables import tables
from gatewright.tasks.language.dataset import TextData
from gatewright.tasks.language.evaluate import evaluate_language
from tests.support.evaluations import evaluation_of, forecast_test_part
from tests.support.lazy import LazyModule
from tests.support.small_models import DATA, forecaster, language_model, rows_of, write_cells, write_sites
from tests.tasks.test_baselines import last_season, last_value, on_the_line, witten_bell

if TYPE_CHECKING:
    from sklearn import metrics
else:
    metrics = LazyModule("sklearn.metrics")

#: One series: its static column does not vary.
ONE = replace(DATA, static=())

LEVELS = (0.05, 0.3, 0.5, 0.9)

#: That of the seasonal-naive baseline.
SEASON = int((DATA.season or ("",))[-1])


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    data, model = forecaster(write_sites(tmp_path_factory.mktemp("sites") / "sites.csv"))
    return data, model, forecast_test_part(model, data)


def efficiency_of_kling_gupta(pairs):
    """1 - the distance of correlation, spread and mean from those of the truth (Gupta et al. 2009, equation 9)."""
    truth, point = (np.array(column) for column in zip(*pairs, strict=True))
    if len(set(truth)) == 1 or len(set(point)) == 1 or truth.mean() == 0:
        return None
    r = np.corrcoef(truth, point)[0, 1]
    return 1 - math.dist((r, point.std() / truth.std(), point.mean() / truth.mean()), (1, 1, 1))


def mean(values, kind=statistics.fmean):
    return kind(values) if values else None


def measured_by_loop(truth, forecast, levels, scale, windows=None, naive_errors=None):
    """Every measure, a value at a time."""
    errors, losses, inside, efficiencies, gupta, mase, scaled = [], [], [], [], [], [], []
    symmetric, widths, magnitude = [], [], 0.0
    for number, (values, answers) in enumerate(zip(truth, forecast, strict=True)):
        pairs = [(value, list(answer)) for value, answer in zip(values, answers, strict=True) if value == value]
        middle = levels.index(0.5) if len(answers[0]) > 1 else 0
        before = len(errors), len(losses)
        for value, answer in pairs:
            point = answer[middle]
            errors.append(value - point)
            every = answer if len(answer) > 1 else answer * len(levels)
            losses += [
                level * (value - one) if value > one else (1 - level) * (one - value)
                for level, one in zip(levels, every, strict=True)
            ]
            inside.append(answer[0] <= value <= answer[-1])
            widths.append(answer[-1] - answer[0])
            symmetric.append(0.0 if value == point else 200 * abs(value - point) / (abs(value) + abs(point)))
            magnitude += abs(value)
        naive = None if naive_errors is None else naive_errors[number]
        if pairs and naive:
            mase.append(statistics.fmean(map(abs, errors[before[0] :])) / naive)
            scaled.append(statistics.fmean(losses[before[1] :]) / naive)
        kling = efficiency_of_kling_gupta([(value, answer[middle]) for value, answer in pairs]) if pairs else None
        gupta += [] if kling is None else [kling]
        centre = statistics.fmean(value for value, _ in pairs) if pairs else 0.0
        spread = sum((value - centre) ** 2 for value, _ in pairs)
        if len({value for value, _ in pairs}) > 1:
            squares = sum((value - answer[middle]) ** 2 for value, answer in pairs)
            efficiencies.append(1 - squares / spread)
    interval = len(forecast[0][0]) > 1
    windows = len(errors) if windows is None else windows
    mae = statistics.fmean(map(abs, errors))
    mse = statistics.fmean(error**2 for error in errors)
    return {
        "observed": len(errors),
        "windows": windows,
        "mae": mae,
        "rmse": math.sqrt(mse),
        "mse": mse,
        "mae_standardised": mae / scale,
        "rmse_standardised": math.sqrt(mse) / scale,
        "mse_standardised": mse / scale / scale,
        "mase": mean(mase),
        "smape": statistics.fmean(symmetric),
        "nse": mean(efficiencies, statistics.median),
        "kge": mean(gupta, statistics.median),
        "quantile_loss": statistics.fmean(losses),
        "scaled_quantile_loss": mean(scaled),
        "wql": 2 * sum(losses) / len(levels) / magnitude if magnitude else None,
        "coverage": statistics.fmean(inside) if interval else None,
        "coverage_expected": levels[-1] - levels[0] if interval else None,
        "interval_width": statistics.fmean(widths) if interval else None,
        "few_windows": windows < 30 if interval else None,
    }


def in_sample_error(cells, season):
    """The mean absolute difference from the value a season before, a pair at a time."""
    pairs = [(cells[row], cells[row - season]) for row in range(season, len(cells))]
    return mean([abs(one - other) for one, other in pairs if one == one and other == other])


def close(measures):
    """The same but for the order of sums."""
    return {name: value if value is None else pytest.approx(value, rel=1e-12) for name, value in measures.items()}


@given(st.data(), st.booleans())
def test_measures_are_their_definitions(data, interval):
    value = st.integers(-40, 40).map(lambda whole: whole / 8)
    truth, forecast = [], []
    for _ in range(data.draw(st.integers(1, 3))):
        rows = data.draw(st.integers(1, 6))
        truth.append(np.array([data.draw(st.one_of(st.just(math.nan), value)) for _ in range(rows)]))
        wide = len(LEVELS) if interval else 1
        forecast.append(np.sort([[data.draw(value) for _ in range(wide)] for _ in range(rows)], axis=1))
    naive = [data.draw(st.sampled_from([math.nan, 0.5, 3.0])) for _ in truth]
    found = measure(truth, forecast, LEVELS, 2.5, naive)
    assert tuple(found) == MEASURES
    if all(np.isnan(one).all() for one in truth):
        assert found == {**dict.fromkeys(MEASURES), "observed": 0, "windows": 0}
    else:
        known = [None if error != error else error for error in naive]
        expected = measured_by_loop(truth, forecast, LEVELS, 2.5, None, known)
        assert found == pytest.approx(expected, nan_ok=False, abs=1e-9)


def test_a_measure_that_does_not_exist_is_none():
    assert np.full(7, 0.1).mean() != 0.1  # so that the mean of a constant leaves a spread
    constant = measure([np.full(7, 0.1)], [np.full((7, 1), 0.3)], LEVELS, 1.0)
    assert constant["nse"] is None
    assert constant["mae"] == pytest.approx(0.2)
    huge = measure([np.array([1e300, -1e300])], [np.array([[0.0], [0.0]])], LEVELS, 1e-300)
    assert huge["mse"] is None
    assert huge["mae"] == 1e300
    json.dumps(huge, allow_nan=False)


def test_scaled_and_symmetric_errors_are_those_of_sktime():
    """The examples of its documentation of MeanAbsoluteScaledError and MeanAbsolutePercentageError."""
    train, truth = np.array([5, 0.5, 4, 6, 3, 5, 2]), np.array([3, -0.5, 2, 7, 2])
    forecast = np.array([2.5, 0.0, 2, 8, 1.25])
    found = measure([truth], [forecast[:, None]], (0.5,), 1.0, [float(naive_error(train[:, None], 1)[0])])
    assert found["mase"] == pytest.approx(0.18333333333333335)
    assert found["smape"] == pytest.approx(55.53379953379953)
    assert found["scaled_quantile_loss"] == pytest.approx(0.18333333333333335 / 2)
    assert found["wql"] == pytest.approx(np.abs(truth - forecast).sum() / np.abs(truth).sum())


def test_a_scale_of_zero_and_a_mean_of_zero_leave_measures_undefined():
    constant = naive_error(np.full((9, 1), 0.1), 2)
    assert np.isnan(constant).all()
    assert np.isnan(naive_error(np.arange(3.0)[:, None], 3)).all()
    truth = np.array([-1.0, 1.0])
    found = measure([truth], [np.array([[0.5], [0.0]])], (0.5,), 1.0, constant.tolist())
    assert (found["mase"], found["scaled_quantile_loss"], found["kge"]) == (None, None, None)
    zeros = measure([np.zeros(3)], [np.zeros((3, 1))], (0.5,), 1.0)
    assert (zeros["wql"], zeros["smape"]) == (None, 0.0)
    # A series without a scale does not hide that of others.
    both = measure([truth, truth], [np.zeros((2, 1))] * 2, (0.5,), 1.0, [math.nan, 4.0])
    assert both["mase"] == 0.25


def test_pinball_losses_by_level_and_step_are_scikit_learns(tested):
    data, model, found = tested
    pinball = evaluation_of(model, data)["targets"]["load"]["model"]["pinball"]
    assert list(pinball) == [f"{level:g}" for level in model.spec.head.quantiles]
    for place, level in enumerate(model.spec.head.quantiles):
        for steps, loss in [(slice(None), pinball[f"{level:g}"]["overall"])] + [
            (slice(step, step + 1), value) for step, value in enumerate(pinball[f"{level:g}"]["by_step"])
        ]:
            truth = np.concatenate([one[:, steps, 0].ravel() for one in found.truth])
            answer = np.concatenate([one[:, steps, 0, place].ravel() for one in found.forecasts["model"]])
            seen = np.isfinite(truth)
            assert loss == pytest.approx(
                metrics.mean_pinball_loss(truth[seen], answer[seen], alpha=level), rel=1e-12
            )


def test_perfect_and_mean_forecasts_have_the_efficiency_they_should():
    truth = [np.array([1.0, 2.0, 6.0])]
    assert measure(truth, [truth[0][:, None]], (0.5,), 1.0)["nse"] == 1
    assert measure(truth, [np.full((3, 1), 3.0)], (0.5,), 1.0)["nse"] == pytest.approx(0)
    assert measure(truth, [truth[0][:, None]], (0.5,), 1.0)["kge"] == pytest.approx(1)
    doubled = measure(truth, [2 * truth[0][:, None]], (0.5,), 1.0)["kge"]  # r = 1, spread and mean twice as large
    assert doubled == pytest.approx(1 - math.sqrt(2))


def test_every_window_of_the_test_part_is_forecast_and_no_other(tested):
    data, model, found = tested
    context, horizon = model.spec.encoder.context, model.spec.head.horizon
    for number, (one, part) in enumerate(zip(data.table.series, data.parts, strict=True)):
        rows = len(one.values)
        assert (part.test, part.end) == (rows - 20, rows)
        expected = [
            origin
            for origin in range(rows)
            if origin >= context - 1
            and origin + 1 >= part.test
            and origin + horizon < part.end
            and np.isfinite(one.values[origin + 1 : origin + 1 + horizon, :2]).any()
        ]
        assert found.origins[number].tolist() == expected
        for place, origin in enumerate(expected):
            np.testing.assert_equal(found.truth[number][place], one.values[origin + 1 : origin + 1 + horizon, :2])
        for method in METHODS:
            assert found.forecasts[method][number].shape[:3] == found.truth[number].shape
            assert np.isfinite(found.forecasts[method][number]).all()


def test_baselines_are_of_the_same_windows(tested):
    data, _, found = tested
    for number, one in enumerate(data.table.series):
        for method in METHODS[1:]:
            answers = found.forecasts[method][number][..., 0]
            for place, step, column in np.ndindex(*answers.shape):
                cells, origin = one.values[:, column], int(found.origins[number][place])
                expected = {
                    "persistence": last_value(cells, origin),
                    "seasonal-naive": last_season(cells, origin, step + 1, SEASON),
                    "drift": pytest.approx(on_the_line(cells, origin, step + 1), rel=1e-12),
                }[method]
                assert answers[place, step, column] == expected


def test_before_the_first_value_a_baseline_knows_the_mean_of_the_training_part(tmp_path):
    cells = rows_of("late", 100, 1)
    for row in range(100):  # flow comes late
        cells[row][3] = "" if row < 95 else f"{row}.5"
    data, model = forecaster(write_cells(tmp_path / "late.csv", cells + rows_of("x", 100, 2)))
    found = forecast_test_part(model, data)
    mean = model.scaler.mean[1]
    origins = found.origins[0]
    for method in METHODS[1:]:
        answers = found.forecasts[method][0][:, 0, 1, 0]
        assert (answers[origins < 95] == mean).all()
        assert (answers[origins >= 95] != mean).all()
    # Where the season before is missing, but not the rows since, the last observed value counts.
    assert found.forecasts["seasonal-naive"][0][origins == 96, 2, 1, 0] == 96.5


def test_no_forecast_knows_what_comes_after_its_origin(tested):
    data, model, before = tested
    number, place = 0, 5
    row = int(before.origins[number][place]) + 1
    one = data.table.series[number]
    values = one.values.copy()
    values[row:, :3] += 50.0  # targets and past inputs; the known input is known
    series = (replace(one, values=values), *data.table.series[1:])
    after = forecast_test_part(model, replace(data, table=replace(data.table, series=series)))
    for method in METHODS:
        was, now = before.forecasts[method][number], after.forecasts[method][number]
        np.testing.assert_array_equal(now[: place + 1], was[: place + 1])
        assert (now[place + 1 :] != was[place + 1 :]).any()


@pytest.mark.parametrize("reads", ["change", "level", "both"])
def test_an_untrained_forecaster_is_persistence(tmp_path, reads):
    data, model = forecaster(write_sites(tmp_path / "sites.csv"), replace(DATA, reads=reads), head=False)
    found = forecast_test_part(model, data)
    for answers, steady in zip(found.forecasts["model"], found.forecasts["persistence"], strict=True):
        np.testing.assert_allclose(answers, np.broadcast_to(steady, answers.shape), rtol=1e-5)


def test_an_evaluation_measures_by_target_step_and_series(tested):
    data, model, found = tested
    evaluation = evaluation_of(model, data)
    assert json.loads(json.dumps(evaluation, allow_nan=False)) == evaluation
    assert evaluation["windows"] == sum(map(len, found.origins))
    assert evaluation["series_without_windows"] == []
    levels, scale = model.spec.head.quantiles, model.scaler.scale

    naive = [
        [in_sample_error(one.values[: part.valid, column], SEASON) for column in range(2)]
        for one, part in zip(data.table.series, data.parts, strict=True)
    ]

    def expected(method, target, steps, series):
        truth = [found.truth[one][:, steps, target].ravel() for one in series]
        answers = [found.forecasts[method][one][:, steps, target] for one in series]
        flat = [one.reshape(-1, one.shape[-1]) for one in answers]
        windows = sum(int(np.isfinite(found.truth[one][:, steps, target]).any(axis=1).sum()) for one in series)
        own = [naive[one][target] for one in series]
        return close(measured_by_loop(truth, flat, levels, scale[target], windows, own))

    for index, target in enumerate(DATA.target):
        for method in METHODS:
            part = evaluation["targets"][target][method]
            assert part["overall"] == expected(method, index, [0, 1, 2], [0, 1])
            for step in range(3):
                assert part["by_step"][step] == expected(method, index, [step], [0, 1])
            for number, name in enumerate(("north", "south")):
                assert part["by_series"][name] == expected(method, index, [0, 1, 2], [number])
        counts = {evaluation["targets"][target][method]["overall"]["observed"] for method in METHODS}
        assert len(counts) == 1


@pytest.mark.parametrize("numbers", [1, 500, 1500])
def test_a_batch_of_any_size_gives_the_same_figures(tested, monkeypatch, numbers):
    data, model, _ = tested
    whole = evaluation_of(model, data)
    monkeypatch.setattr(evaluate, "BATCH_NUMBERS", numbers)
    sizes = [len(batch.truth) for batch in evaluate.forecast_batches(model, data, choose(model, data))]
    assert len(sizes) > 2
    parts = evaluation_of(model, data)
    for target in whole["targets"]:
        for method in METHODS:
            assert parts["targets"][target][method]["overall"] == close(
                whole["targets"][target][method]["overall"]
            )


def test_values_far_from_zero_keep_their_efficiency():
    """Sums of squares would have lost the spread."""
    truth = [1e9 + np.array([0.0, 1.0, 3.0, 2.0]), -1e9 + np.array([5.0, 1.0, 3.0])]
    forecast = [one[:, None] + 0.25 for one in truth]
    expected = measured_by_loop(truth, forecast, (0.5,), 1.0)
    assert measure(truth, forecast, (0.5,), 1.0)["nse"] == pytest.approx(expected["nse"], rel=1e-9)


@pytest.mark.parametrize("windows", [1, 2, 7, 33])
def test_windows_are_drawn_evenly_over_all_series(tested, windows):
    data, model, found = tested
    whole = [(number, int(origin)) for number, origins in enumerate(found.origins) for origin in origins]
    chosen = choose(model, data, windows)
    places = [
        whole.index((number, int(origin))) for number, origins in enumerate(chosen.origins) for origin in origins
    ]
    assert len(set(places)) == windows == chosen.count
    assert chosen.available == len(whole)
    gaps = np.diff([*places, len(whole) - 1 + len(whole) // windows] if windows == 1 else places)
    assert gaps.max() - gaps.min() <= 1
    # The figures are those of the windows that were drawn.
    evaluation = evaluation_of(model, data, windows)
    assert (evaluation["windows"], evaluation["windows_available"]) == (windows, len(whole))
    without = [name for name, origins in zip(("north", "south"), chosen.origins, strict=True) if not len(origins)]
    assert evaluation["series_not_sampled"] == without
    truth, answers = [], []
    for number, origins in enumerate(chosen.origins):
        mine = np.isin(found.origins[number], origins)
        truth.append(found.truth[number][mine][..., 0].ravel())
        answers.append(found.forecasts["model"][number][mine][:, :, 0].reshape(-1, 3))
    count = sum(int(np.isfinite(one.reshape(-1, 3)).any(axis=1).sum()) for one in truth)
    some = [number for number, one in enumerate(truth) if len(one)]
    assert evaluation["targets"]["load"]["model"]["overall"] == pytest.approx(
        measured_by_loop([truth[n] for n in some], [answers[n] for n in some], model.spec.head.quantiles,
                         model.scaler.scale[0], count,
                         [in_sample_error(data.table.series[n].values[: data.parts[n].valid, 0], SEASON)
                          for n in some])
    )  # fmt: skip


def test_more_windows_than_there_are_are_all_and_none_is_an_error(tested):
    data, model, found = tested
    chosen = choose(model, data, 10_000)
    assert chosen.count == chosen.available == sum(map(len, found.origins))
    for windows in (0, -3):
        with pytest.raises(
            GatewrightError, match=rf"--windows: expected a whole number of at least 1, got {windows}"
        ):
            choose(model, data, windows)


def test_an_interval_from_few_windows_is_marked(tmp_path):
    """In the JSON for each part of the figures, in the table next to the share."""
    cells = rows_of("a", 100, 1) + rows_of("b", 100, 2)
    data, model = forecaster(write_cells(tmp_path / "s.csv", cells), replace(DATA, valid="20", test="20"))
    evaluation = evaluation_of(model, data)
    load = evaluation["targets"]["load"]
    assert load["model"]["overall"]["windows"] >= 30
    assert load["model"]["overall"]["few_windows"] is False
    assert load["model"]["by_series"]["a"]["few_windows"] is True
    assert load["persistence"]["overall"]["few_windows"] is None  # it has no interval
    shown = written(evaluation)
    assert "%*" not in shown
    shown = written(evaluation_of(model, data, 12))
    assert "load: test part, 12 of 36 windows, drawn evenly, 3 steps ahead" in shown
    assert "%*" in shown
    assert "* from 12 windows: too few to judge an interval by" in shown


def written(evaluation):
    console = Console(file=io.StringIO(), width=200)
    for table in tables(evaluation):
        console.print(table)
    return console.file.getvalue()


def test_a_series_without_windows_is_named_and_left_out(tmp_path):
    cells = rows_of("empty", 100, 3)
    for row in cells[80:]:
        row[2] = row[3] = ""
    cells += rows_of("short", 48, 4)
    path = write_cells(tmp_path / "sites.csv", cells)
    data, model = forecaster(path)
    found = forecast_test_part(model, data)
    assert (found.names, found.without) == (["short"], ["empty"])
    evaluation = evaluation_of(model, data)
    assert evaluation["series_without_windows"] == ["empty"]
    assert list(evaluation["targets"]["load"]["model"]["by_series"]) == ["short"]
    write_cells(path, cells[:100])
    data, model = forecaster(path, replace(DATA, static=()))
    with pytest.raises(DataError, match="test part: expected at least 3 rows"):
        forecast_test_part(model, data)


def test_a_target_that_was_not_observed_has_no_measures(tmp_path):
    cells = rows_of("a", 100, 3)
    for row in cells[75:]:
        row[3] = ""
    data, model = forecaster(write_cells(tmp_path / "a.csv", cells), ONE)
    evaluation = evaluation_of(model, data)
    flow = evaluation["targets"]["flow"]["model"]
    assert flow["overall"] == {**dict.fromkeys(MEASURES), "observed": 0, "windows": 0}
    assert evaluation["targets"]["load"]["model"]["overall"]["observed"] > 0


def test_one_quantile_has_no_coverage(tmp_path):
    data, model = forecaster(write_sites(tmp_path / "sites.csv"), replace(DATA, quantiles=(0.5,)))
    overall = evaluation_of(model, data)["targets"]["load"]["model"]["overall"]
    assert overall["coverage"] is overall["coverage_expected"] is None
    assert overall["quantile_loss"] == pytest.approx(overall["mae"] / 2)


PLOTS = {
    "one target": replace(ONE, target=("flow",)),
    "a step ahead, no timestamps": replace(ONE, target=("flow",), horizon=1, time="none"),
    "one quantile": replace(ONE, target=("flow",), quantiles=(0.5,)),
    "two odd targets of two series": replace(DATA, target=("a $x^2 < $", "流量")),
}


def plot(path, model, data, windows=None):
    from gatewright.tasks.forecast.plot import plot_forecasts

    chosen = choose(model, data, windows)
    _, drawn = evaluate_forecast(model, data, chosen)
    plot_forecasts(path, model, data, drawn, len([origins for origins in chosen.origins if len(origins)]))


@pytest.mark.slow
@pytest.mark.parametrize("case", PLOTS)
def test_the_plot_is_a_picture(tmp_path, case):
    options = PLOTS[case]
    header, cells = "", rows_of("n $ $", 100, 1)
    if options.static:
        header = "site,time,a $x^2 < $,流量,wind,heat,height"
        cells += rows_of("s" * 300, 100, 2)
    data, model = forecaster(write_cells(tmp_path / "sites.csv", cells, header), options)
    plot(tmp_path / "plot.png", model, data)
    raw = (tmp_path / "plot.png").read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    panels = len(options.target) * len(data.table.series)
    size = (int.from_bytes(raw[16:20]), int.from_bytes(raw[20:24]))
    assert size == (1320, int(110 * (0.8 + 2.9 * panels)))
    from matplotlib.image import imread

    picture = imread(tmp_path / "plot.png")[..., :3]
    for colour in ("#0072B2", "#E69F00", "#999999", "#CC79A7", "#000000"):
        wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        assert (np.abs(picture - wanted).max(axis=-1) < 0.02).sum() > 50, colour


@pytest.mark.slow
def test_the_plot_says_that_it_does_not_show_all(tmp_path):
    cells = [row for seed in range(6) for row in rows_of(f"s{seed}", 80, seed)]
    data, model = forecaster(write_cells(tmp_path / "sites.csv", cells), replace(DATA, valid="15", test="15"))
    plot(tmp_path / "plot.png", model, data, windows=20)
    raw = (tmp_path / "plot.png").read_bytes()
    assert int.from_bytes(raw[20:24]) == int(110 * (0.8 + 2.9 * 4))


def test_a_text_is_scored_as_a_loop_does(monkeypatch):
    monkeypatch.setattr("gatewright.tasks.language.score.SCORE_STREAMS", 3)
    model = language_model("abcd")
    draw = np.random.default_rng(0)
    letters = "".join(draw.choice(list("abcd€"), 400, p=[0.4, 0.3, 0.2, 0.05, 0.05]))
    parts = TextParts(letters[:300], letters[300:340], letters[340:])
    evaluation = evaluate_language(model, TextData(parts))
    train, test = encode_text(parts.train, model.vocabulary), encode_text(parts.test, model.vocabulary)
    before = encode_text(letters[:340], model.vocabulary)
    symbols, length = len(model.vocabulary.symbols), 60 // 3
    nats = {name: [] for name in ("model", "unigram", "5-gram")}
    for stream in range(3):
        for place in range(stream * length + 1, (stream + 1) * length):
            read = torch.from_numpy(test[stream * length : place]).unsqueeze(1)
            chances = model(read).y[-1, 0].detach().double().softmax(0)
            nats["model"].append(-math.log(chances[test[place]]))
            text = [*before, *test[:place]]
            for name, order in (("unigram", 1), ("5-gram", 5)):
                context = tuple(int(one) for one in text[len(text) - order + 1 :])
                chance = witten_bell([int(one) for one in train], context, int(test[place]), symbols)
                nats[name].append(-math.log(chance))
    assert evaluation["characters"] == len(nats["model"]) == 57
    scored = [place for place in range(60) if place % length]
    assert evaluation["unknown"] == sum(int(test[place]) == 0 for place in scored)
    for name, values in nats.items():
        assert evaluation["nats_per_character"][name] == pytest.approx(statistics.fmean(values), rel=1e-5)
        bits = evaluation["nats_per_character"][name] / math.log(2)
        assert evaluation["bits_per_character"][name] == pytest.approx(bits)
        size = sum(len(parts.test[place].encode()) for place in scored)
        assert evaluation["bytes"] == size > len(scored)
        assert evaluation["bits_per_byte"][name] == pytest.approx(sum(values) / math.log(2) / size, rel=1e-5)
        assert evaluation["perplexity"][name] == pytest.approx(math.exp(statistics.fmean(values)), rel=1e-5)
    json.dumps(evaluation, allow_nan=False)


def test_a_test_part_too_short_to_score():
    model = language_model("abcd")
    with pytest.raises(DataError, match="test part: expected at least 2 characters, got 1"):
        evaluate_language(model, TextData(TextParts("abcabc", "ab", "c")))
