"""Calibration of quantiles, against quantiles in NumPy, printed tables and the model before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.errors import GatewrightError, ModelFileError
from gatewright.evaluation.report import evaluate_run
from gatewright.files import model_file
from gatewright.nn.model import Model, load
from gatewright.spec import ModelSpec, QuantileHead, Scaler, SeriesEncoder, StackSpec, TableSpec
from gatewright.tasks import registry
from gatewright.tasks.forecast.calibration import (
    LARGEST_WIDTH,
    Calibration,
    calibrated,
    calibration_of,
    folded,
    independent,
    misses,
    recency,
    uncertain,
    weighted_quantile,
)
from gatewright.tasks.forecast.quantile_function import student_t
from gatewright.tasks.options import Options, TrainingOptions
from gatewright.train.launch import resume, train
from tests.support.training_runs import FORECAST, quiet, write_table

LEVELS = (0.1, 0.5, 0.9)

#: All windows of `sample` count alike.
EQUAL = np.ones(60)


def sample(
    windows: int = 60, targets: int = 2, levels: tuple[float, ...] = LEVELS
) -> tuple[np.ndarray, np.ndarray]:
    """Forecasts of four steps that are too narrow by half, and what came, with gaps."""
    draw = np.random.default_rng(0)
    target = draw.normal(size=(windows, 4, targets)) * np.arange(1, 5)[:, None]
    narrow = 0.5 * np.arange(1, 5)[:, None, None] * np.linspace(-1.28, 1.28, len(levels))
    forecast = (
        np.broadcast_to(narrow, (windows, 4, targets, len(levels)))
        + draw.normal(size=(windows, 4, targets, 1)) * 0.1
    )
    target[draw.random(target.shape) < 0.1] = np.nan
    return forecast, target


def judged(values: np.ndarray, share: float, weights: np.ndarray) -> float:
    """The quantile at a share of weighted values, step by step: each value stands at the middle of its weight."""
    pairs = sorted((value, weight) for value, weight in zip(values, weights, strict=True) if np.isfinite(value))
    total, below = sum(weight for _, weight in pairs), 0.0
    before = (pairs[0][0], 0.0)
    for value, weight in pairs:
        place = (below + weight / 2) / total
        if place >= share:
            return value + (before[0] - value) * (place - share) / (place - before[1])
        before, below = (value, place), below + weight
    return before[0]


#: Quantile 0.9 of Student's t over that of the normal distribution, from printed tables, by degrees of freedom.
STUDENT = {3: 1.637744 / 1.281552, 5: 1.475884 / 1.281552, 10: 1.372184 / 1.281552, 100: 1.290075 / 1.281552}


@pytest.mark.parametrize("freedom", sorted(STUDENT))
def test_an_estimated_width_is_wider_by_the_quantile_of_students_t(freedom: int) -> None:
    assert uncertain(0.9, freedom - 2.0) == pytest.approx(STUDENT[freedom], abs=1e-6)
    assert student_t(0.1, freedom) == pytest.approx(-student_t(0.9, freedom), rel=1e-12)


def test_widths_are_weighted_quantiles_shrunk_by_the_number_of_independent_windows() -> None:
    forecast, target = sample()
    windows = np.array([60.0, 30.5, 20.7, 15.75])
    weights = np.random.default_rng(1).choice([0.5, 1.0, 2.0], 60)
    widths = calibrated("width", forecast, target, LEVELS, windows, weights).widths
    worth = windows * weights.sum() ** 2 / (60 * (weights**2).sum())
    for number in range(2):
        low, median, high = np.moveaxis(forecast[:, :, number], -1, 0)
        error = target[:, :, number] - median
        factor = np.where(error > 0, error / (high - median), -error / (median - low))
        of_all = judged(factor.ravel(), 0.8, np.repeat(weights, 4))
        common = of_all ** (worth[-1] / (worth[-1] + 10))
        for step in range(4):
            own = judged(factor[:, step], 0.8, weights)
            expected = common * (own / common) ** (worth[step] / (worth[step] + 20)) * uncertain(0.9, worth[-1])
            assert widths[step, number] == pytest.approx(expected, rel=1e-12)
    assert (widths > 1.3).all()  # a factor of 2, shrunk


def test_equal_weights_give_the_quantile_of_hazen() -> None:
    values = np.array([3.0, 1.0, np.nan, 7.0, 4.0])
    for share in (0.0, 0.3, 0.8, 1.0):
        expected = np.quantile(values[[0, 1, 3, 4]], share, method="hazen")
        assert weighted_quantile(values, share, np.full(5, 0.3)) == pytest.approx(expected, rel=1e-12)


def test_a_window_counts_half_after_a_quarter_of_the_validation_part_of_its_series() -> None:
    found = recency([np.arange(100, 140), np.array([], np.int64), np.array([7, 9])])
    assert found[[39, 29, 19, 9]].tolist() == [1.0, 0.5, 0.25, 0.125]
    assert found[40:].tolist() == pytest.approx([2 ** (-4 * 2 / 3), 1.0])
    assert recency([]).shape == (0,)


def inside(growth: float, windows: int, weigh: bool) -> float:
    """Share of what comes next in intervals, over 400 validation parts whose errors grow by a factor."""
    draw, shares = np.random.default_rng(2), []
    forecast = np.broadcast_to(np.array([-1.2816, 0.0, 1.2816]), (windows, 1, 1, 3))
    for _ in range(400):
        # The validation part, and half as many windows after it.
        errors = draw.normal(size=windows * 3 // 2) * growth ** (np.arange(windows * 3 // 2) / windows - 0.5)
        weights = recency([np.arange(windows)]) if weigh else np.ones(windows)
        target, count = errors[:windows, None, None], np.array([float(windows)])
        widths = calibrated("width", forecast, target, LEVELS, count, weights).widths
        shares.append((np.abs(errors[windows:]) <= 1.2816 * widths[0, 0]).mean())
    return float(np.mean(shares))


@pytest.mark.parametrize("growth", [1.4, 1 / 1.4])
def test_the_latest_windows_tell_most_where_errors_grow_or_shrink(growth: float) -> None:
    alike, latest = (abs(inside(growth, 100, weigh=weigh) - 0.8) for weigh in (False, True))
    assert alike == pytest.approx(0.108, abs=0.012)
    assert latest == pytest.approx(0.081, abs=0.012)


def test_intervals_hold_their_share_where_nothing_changes_and_windows_are_few() -> None:
    shares = [inside(1.0, windows, weigh=True) for windows in (2, 6, 20, 60)]
    assert shares == sorted(shares, reverse=True)  # the fewer, the wider
    assert shares == pytest.approx([0.87, 0.85, 0.81, 0.8], abs=0.015)


def test_offsets_are_one_sided_conformal_quantiles() -> None:
    forecast, target = sample()
    windows = np.array([60.0, 30.5, 20.7, 15.75])
    offsets = calibrated("conformal", forecast, target, LEVELS, windows, EQUAL).offsets
    carried = windows[-1] / (windows[-1] + 5)
    for step, number in np.ndindex(4, 2):
        share = 0.9 * (1 + 1 / windows[step])
        over = np.nanquantile(target[:, step, number] - forecast[:, step, number, 2], share, method="hazen")
        under = np.nanquantile(forecast[:, step, number, 0] - target[:, step, number], share, method="hazen")
        np.testing.assert_allclose(offsets[step, number], [-under * carried, 0, over * carried], rtol=1e-12)


@pytest.mark.parametrize("method", ["width", "conformal"])
@pytest.mark.parametrize("levels", [(0.1, 0.5, 0.9), (0.05, 0.3, 0.5, 0.7), (0.5, 0.9), (0.2, 0.5)])
def test_calibrated_intervals_hold_their_share_of_many_windows(levels: tuple[float, ...], method: str) -> None:
    forecast, target = sample(4000, 1, levels)
    result = calibrated(method, forecast, target, levels, np.full(4, 4000.0), np.ones(4000)).apply(
        forecast, levels
    )
    inside = (result[..., 0] <= target) | (levels[0] == 0.5)
    inside &= (target <= result[..., -1]) | (levels[-1] == 0.5)
    share = (levels[-1] if levels[-1] > 0.5 else 1.0) - (levels[0] if levels[0] < 0.5 else 0.0)
    for step in range(4):
        seen = np.isfinite(target[:, step])
        assert inside[:, step][seen].mean() == pytest.approx(share, abs=0.01)
    assert (np.diff(result, axis=-1) >= 0).all()
    np.testing.assert_array_equal(
        result[..., levels.index(0.5)] if method == "width" else 0.0,
        forecast[..., levels.index(0.5)] if method == "width" else 0.0,
    )


def test_nothing_changes_without_an_interval_or_an_observation() -> None:
    forecast, target = sample()
    windows = np.full(4, 60.0)
    for changed in (
        calibrated("none", forecast, target, LEVELS, windows, EQUAL),
        calibrated("width", forecast[..., 1:2], target, (0.5,), windows, EQUAL),
        calibrated("conformal", forecast, np.full_like(target, np.nan), LEVELS, windows, EQUAL),
    ):
        assert (changed.widths == 1).all()
        assert not changed.offsets.any()


def test_a_step_without_an_observation_has_the_width_of_the_others() -> None:
    forecast, target = sample()
    target[:, 2] = np.nan
    widths = calibrated("width", forecast, target, LEVELS, np.full(4, 60.0), EQUAL).widths
    scores = misses(forecast, target, LEVELS)[..., 0]
    common = np.nanquantile(scores, 0.8, method="hazen") ** (60 / 70)
    assert widths[2, 0] == pytest.approx(common * uncertain(0.9, 60.0))


def test_a_target_without_an_observation_keeps_its_width() -> None:
    forecast, target = (np.concatenate([each, each], axis=2) for each in sample())
    target[:, :, 1] = np.nan
    widths = calibrated("width", forecast, target, LEVELS, np.full(4, 60.0), EQUAL).widths
    np.testing.assert_array_equal(widths[:, 1], 1.0)
    alone = calibrated("width", *sample(), LEVELS, np.full(4, 60.0), EQUAL).widths
    np.testing.assert_array_equal(widths[:, 0], alone[:, 0])


def test_a_width_of_zero_is_bounded() -> None:
    forecast, target = sample()
    forecast = np.repeat(forecast[..., 1:2], 3, axis=-1)
    widths = calibrated("width", forecast, target, LEVELS, np.full(4, 60.0), EQUAL).widths
    assert np.isfinite(widths).all()
    assert (widths <= LARGEST_WIDTH).all()


def test_windows_that_share_rows_count_as_one() -> None:
    assert independent([np.arange(24), np.array([], np.int64), np.array([7, 9])], 12).tolist() == [
        24 + 2, 12.5 + 2, *(1 + 23 / ahead + 1 + 2 / ahead for ahead in range(3, 13)),
    ]  # fmt: skip
    assert independent([], 3).tolist() == [0, 0, 0]


def small_model(levels: tuple[float, ...] = LEVELS) -> Model:
    torch.manual_seed(0)
    spec = ModelSpec(SeriesEncoder(("a", "b"), context=6), StackSpec(8), QuantileHead(3, levels))
    model = Model(spec, scaler=Scaler(("a", "b"), (0.0, 0.0), (1.0, 1.0), (1.0, 1.0))).eval()
    torch.nn.init.normal_(model.head.weight)
    torch.nn.init.normal_(model.head.bias)
    return model


@torch.no_grad()
def test_a_folded_head_gives_what_the_formula_says() -> None:
    model, draw = small_model(), np.random.default_rng(1)
    found = Calibration(draw.uniform(0.5, 2, (3, 2)), draw.normal(size=(3, 2, 3)) * [1, 0, 1])
    y = model(torch.randn(6, 5, 4)).y
    torch.manual_seed(2)
    x = torch.randn(6, 5, 4)
    before = model(x).y.double().numpy()
    file = folded(model.file(), found)
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in file.tensors.items()})
    after = model(x).y.numpy()
    expected = before[..., [1]] + found.widths[..., None] * (before - before[..., [1]]) + found.offsets
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-5)
    assert y.shape == after.shape
    np.testing.assert_allclose(found.apply(before, LEVELS), np.sort(expected, axis=-1), rtol=1e-12)
    ordered = np.sort(before, axis=-1)
    widths = replace(found, offsets=np.zeros((3, 2, 3)))
    np.testing.assert_allclose(widths.undo(widths.apply(ordered, LEVELS), LEVELS), ordered, rtol=1e-9)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("calibration")
    source = write_table(folder / "table.csv")
    for method in ("none", "width"):
        options = replace(FORECAST, training=replace(FORECAST.training, calibrate=method, steps=20))
        train(source, options, run=folder / method, console=quiet())
    return {method: folder / method for method in ("none", "width")}


@pytest.mark.slow
def test_the_best_model_is_the_uncalibrated_one_with_other_widths(runs: dict[str, Path]) -> None:
    plain, wide = (model_file.read(runs[method] / "model.safetensors") for method in ("none", "width"))
    found = calibration_of(wide.spec, wide.table)
    assert found is not None
    assert calibration_of(plain.spec, plain.table) is None
    assert not np.allclose(found.widths, 1)
    again = folded(plain, found)
    for name, value in wide.tensors.items():
        np.testing.assert_array_equal(value, again.tensors[name])
    assert not load(runs["width"]).is_new


@pytest.mark.slow
def test_an_evaluation_shows_the_intervals_before_and_after(runs: dict[str, Path]) -> None:
    plain, wide = (evaluate_run(runs[method])[1]["targets"]["load"] for method in ("none", "width"))
    assert "uncalibrated" not in plain
    for name, value in plain["model"]["overall"].items():
        assert wide["uncalibrated"]["overall"][name] == pytest.approx(value, rel=1e-4), name
    assert wide["model"]["overall"]["mae"] == pytest.approx(plain["model"]["overall"]["mae"], rel=1e-5)
    assert wide["model"]["overall"]["coverage"] != plain["model"]["overall"]["coverage"]


@pytest.mark.slow
def test_a_resumed_run_calibrates_its_best_model_once(runs: dict[str, Path], tmp_path: Path) -> None:
    source = write_table(tmp_path / "table.csv")
    options = replace(FORECAST, training=replace(FORECAST.training, steps=10))
    train(source, options, run=tmp_path / "run", console=quiet())
    resume(tmp_path / "run", Options(training=TrainingOptions(steps=20)), console=quiet())
    resume(tmp_path / "run", Options(training=TrainingOptions(steps=20)), console=quiet())
    again = replace(FORECAST, training=replace(FORECAST.training, steps=10, calibrate="none"))
    train(source, again, run=tmp_path / "plain", console=quiet())
    resume(tmp_path / "plain", Options(training=TrainingOptions(steps=20)), console=quiet())
    plain, wide = (model_file.read(tmp_path / name / "model.safetensors") for name in ("plain", "run"))
    found = calibration_of(wide.spec, wide.table)
    assert found is not None
    np.testing.assert_array_equal(wide.tensors["head.weight"], folded(plain, found).tensors["head.weight"])


def test_a_file_with_another_number_of_widths_is_refused() -> None:
    model = small_model()
    texts = dict.fromkeys(
        (
            "time",
            "time_format",
            "time_zone",
            "resample",
            "aggregate",
            "thousands",
            "fill",
            "valid",
            "test",
            "source",
        ),
        "",
    )
    model.table = TableSpec(**texts, id=(), decimal=".", missing=(), season=1, trained_until="", widths=(1.5,))
    with pytest.raises(ModelFileError, match=r"table\.widths: expected 6 numbers or none, got 1"):
        model.file()


def test_a_kind_without_intervals_has_no_such_option() -> None:
    options = Options(training=TrainingOptions(calibrate="width"))
    with pytest.raises(GatewrightError, match="--calibrate: expected no such option for a language model"):
        registry.kind("language").resolve(options)
