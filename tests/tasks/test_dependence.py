"""The dependence of a forecast over its steps, against processes of known sums and SciPy's distributions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gatewright.errors import ModelFileError, SpecError
from gatewright.files import model_file
from gatewright.files.model_file import ModelFile
from gatewright.nn.model import Model
from gatewright.spec import ModelSpec, QuantileHead, Scaler, SeriesEncoder, StackSpec, TableSpec
from gatewright.tasks.forecast.calibration import independent
from gatewright.tasks.forecast.dependence import (
    SHRINK,
    USUAL,
    correlation,
    correlation_by_lag,
    dependence_of,
    with_dependence,
    with_dependence_of,
)
from gatewright.tasks.forecast.quantile_function import LARGEST_SCORE, scores_of, values_at
from gatewright.tasks.forecast.sample_paths import draws, in_units, root_of
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = LazyModule("scipy.stats")

LEVELS = (0.1, 0.5, 0.9)
HORIZON, PHI = 8, 0.8
TABLE = TableSpec("", "", "", (), "", "", ".", "", (), "", 1, "0.15", "0.15", "", "")


def file_of(horizon: int, targets: int, levels: tuple[float, ...] = LEVELS) -> ModelFile:
    """A model of zeros."""
    names = tuple("abc"[:targets])
    spec = ModelSpec(SeriesEncoder(names, context=6), StackSpec(2), QuantileHead(horizon, levels))
    tensors = {name: np.zeros(shape, np.float32) for name, shape in spec.tensors().items()}
    ones = (1.0,) * targets
    return ModelFile(spec, tensors, Scaler(names, (0.0,) * targets, ones, ones), table=TABLE)


def paths_of(file: ModelFile, quantiles: np.ndarray, count: int = 20_000) -> np.ndarray:
    """Paths (count, horizon, targets) of a forecast (horizon, targets, quantiles) by a file's dependence."""
    assert file.spec.forecaster is not None
    values, vectors = np.linalg.eigh(dependence_of(file.spec, file.table))
    scores = draws(vectors * np.sqrt(values) @ vectors.T, count, 1)
    levels = file.spec.forecaster[1].quantiles
    return values_at(quantiles, scores.reshape(count, *quantiles.shape[:2]), levels)


def autoregressive(steps: int, draw: np.random.Generator, phi: float = PHI) -> np.ndarray:
    noise, y = draw.normal(size=steps), np.zeros(steps)
    for step in range(1, steps):
        y[step] = phi * y[step - 1] + noise[step]
    return y


def perfect_forecast(y: np.ndarray, phi: float = PHI) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exact quantiles of an AR(1) process from each row, what came, and the covariance of the errors."""
    origins = np.arange(20, len(y) - HORIZON)
    ahead = np.arange(1, HORIZON + 1)
    spread = np.sqrt((1 - phi ** (2 * ahead)) / (1 - phi**2))
    forecast = (y[origins][:, None] * phi**ahead)[..., None] + spread[:, None] * stats.norm.ppf(LEVELS)
    first = np.minimum.outer(ahead, ahead)
    covariance = phi ** np.abs(np.subtract.outer(ahead, ahead)) * (1 - phi ** (2 * first)) / (1 - phi**2)
    return forecast[:, :, None], y[origins[:, None] + ahead][..., None], covariance


@pytest.mark.parametrize(("rows", "tolerance"), [(20_000, 0.05), (400, 0.2)])
def test_the_sum_of_paths_has_the_variance_of_the_process(rows: int, tolerance: float) -> None:
    forecast, target, covariance = perfect_forecast(autoregressive(rows, np.random.default_rng(5)))
    windows = independent([np.arange(len(forecast))], HORIZON)
    file = with_dependence(file_of(HORIZON, 1), forecast, target, windows)
    found = paths_of(file, forecast[0]) - forecast[0, ..., 1]
    truth, alone = covariance.sum(), np.trace(covariance)
    together = np.sqrt(np.diagonal(covariance)).sum() ** 2
    assert found.sum(axis=1).var() == pytest.approx(truth, rel=tolerance)
    assert alone * 2.5 < truth < together * 0.75  # neither independent nor one draw for all steps
    # Changes from step to step, which the marginal quantiles do not give either.
    change = covariance[4, 4] + covariance[5, 5] - 2 * covariance[4, 5]
    assert (found[:, 5] - found[:, 4]).var() == pytest.approx(change, rel=2 * tolerance)
    assert found[:, 3].var() == pytest.approx(covariance[3, 3], rel=0.05)  # marginals are the forecast's own


def test_targets_depend_on_each_other_as_in_the_validation_part() -> None:
    draw = np.random.default_rng(0)
    common, own = draw.normal(size=(3000, 3, 1)), draw.normal(size=(3000, 3, 2))
    target = np.sqrt(0.6) * common * [1, -1] + np.sqrt(0.4) * own
    target[:, 1:, 0] += target[:, :-1, 0]  # steps of the first target, too
    target[:, 2, 0] = target[:, 1, 0]
    deviations = target.std(axis=0)
    forecast = np.broadcast_to(deviations[..., None] * stats.norm.ppf(LEVELS), (3000, 3, 2, 3))
    file = with_dependence(file_of(3, 2), forecast, target, np.full(3, 3000.0))
    found = np.corrcoef(paths_of(file, forecast[0]).reshape(-1, 6).T)
    np.testing.assert_allclose(found, np.corrcoef(target.reshape(-1, 6).T), atol=0.05)


@pytest.mark.parametrize("levels", [(0.1, 0.5, 0.9), (0.02, 0.2, 0.5, 0.6, 0.99), (0.5, 0.9)])
def test_values_are_linear_in_the_normal_score_and_scores_are_their_inverse(levels: tuple[float, ...]) -> None:
    draw = np.random.default_rng(1)
    forecast = np.sort(draw.normal(size=(4, 2, len(levels))), axis=-1)
    scores = draw.uniform(-2.9, 2.9, size=(200, 4, 2))
    values = values_at(forecast, scores, levels)
    knots = stats.norm.ppf(levels)
    for step, number in np.ndindex(4, 2):
        quantiles, s = forecast[step, number], scores[:, step, number]
        expected = np.interp(s, knots, quantiles)
        for end, (a, b) in ((s < knots[0], (0, 1)), (s > knots[-1], (-2, -1))):
            slope = (quantiles[b] - quantiles[a]) / (knots[b] - knots[a])
            expected[end] = quantiles[a] + slope * (s[end] - knots[a])
        np.testing.assert_allclose(values[:, step, number], expected, rtol=1e-12, atol=1e-12)
    back = scores_of(np.broadcast_to(forecast, (200, *forecast.shape)), values, levels)
    np.testing.assert_allclose(back, scores, atol=1e-6)


def test_values_of_a_normal_distribution_are_its_own_also_in_the_tails() -> None:
    scores = np.array([-3.0, -1.7, 0.3, 2.4])
    np.testing.assert_allclose(
        values_at(5 + 2 * stats.norm.ppf(LEVELS), scores, LEVELS), 5 + 2 * scores, rtol=1e-12
    )


def test_scores_of_equal_quantiles_are_the_middle_and_those_far_out_are_bounded() -> None:
    forecast = np.array([[0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    scores = scores_of(forecast, np.array([0.0, 0.0, 1e30, np.nan]), LEVELS)
    np.testing.assert_allclose(scores, [stats.norm.ppf(0.1) / 2, 0.0, LARGEST_SCORE, np.nan])


@pytest.mark.parametrize(("windows", "missing"), [(1, 0.0), (3, 0.0), (3, 0.5), (40, 0.9), (2, 1.0)])
def test_the_correlation_of_few_windows_is_positive_definite(windows: int, missing: float) -> None:
    draw = np.random.default_rng(2)
    scores = np.cumsum(draw.normal(size=(windows, 24, 2)), axis=1)
    scores[draw.random(scores.shape) < missing] = np.nan
    matrix = correlation(scores, independent([np.arange(windows)], 24))
    np.testing.assert_allclose(np.diagonal(matrix), 1.0)
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-12)
    assert np.linalg.eigvalsh(matrix)[0] > 1e-4
    assert np.abs(matrix).max() < 1 + 1e-9
    if missing == 1.0:  # nothing is known but what is usual: steps depend on each other, targets do not
        usual = np.exp(-USUAL * np.abs(np.subtract.outer(np.arange(24), np.arange(24))) / 24)
        count = independent([np.arange(windows)], 24)[-1]
        share = count / (count + SHRINK)
        expected = (1 - share) * usual + share * np.eye(24)
        np.testing.assert_allclose(matrix, np.kron(expected, np.eye(2)), atol=1e-12)


def test_few_windows_are_shrunk_and_many_are_believed() -> None:
    draw = np.random.default_rng(3)
    first = draw.normal(size=(4000, 1, 1))  # steps 1 and 4 are equal, the others of their own: of no lag
    scores = np.concatenate([first, draw.normal(size=(4000, 2, 1)), first], axis=1)
    many = correlation(scores, np.full(4, 4000.0))
    assert many[0, 3] > 0.99
    assert np.abs(many[0, 1:3]).max() < 0.06
    # Of three windows, the error is less than half of that of the correlations themselves.
    steps = np.arange(8)
    truth = 0.8 ** np.abs(np.subtract.outer(steps, steps))
    few = np.random.default_rng(7).normal(size=(60, 3, 8)) @ np.linalg.cholesky(truth).T
    own = np.einsum("rwi,rwj->rij", few, few)
    deviations = np.sqrt(np.diagonal(own, axis1=1, axis2=2))
    own /= deviations[:, :, None] * deviations[:, None]
    shrunk = np.array([correlation(scores[..., None], np.full(8, 3.0)) for scores in few])
    assert np.square(shrunk - truth).mean() < np.square(own - truth).mean() / 4


def test_the_dependence_survives_its_file_and_misfits_are_refused(tmp_path: Path) -> None:
    scores = np.cumsum(np.random.default_rng(4).normal(size=(90, 300)), axis=1)
    forecast = np.broadcast_to(stats.norm.ppf(LEVELS), (90, 300, 1, 3))
    for horizon, field in ((5, "correlation"), (300, "lag_correlation")):
        plain = file_of(horizon, 1)
        assert plain.table is not None
        assert plain.table.version() == 0
        target = 0.05 * scores[:, :horizon, None]
        file = with_dependence(plain, forecast[:, :horizon], target, np.full(horizon, 90.0))
        model_file.write(tmp_path / "m.safetensors", file)
        back = model_file.read(tmp_path / "m.safetensors")
        assert back.table == file.table
        assert back.table is not None
        assert back.table.version() == 4
        assert back.fingerprint == plain.fingerprint
        matrix = dependence_of(back.spec, back.table)
        assert 0.5 < matrix[-1, -2] < 1
        estimate = correlation if horizon == 5 else correlation_by_lag
        expected = estimate(scores_of(forecast[:, :horizon], target, LEVELS), np.full(horizon, 90.0))
        kept = matrix if horizon == 5 else np.array(file.table.lag_correlation).reshape(expected.shape)
        np.testing.assert_allclose(kept, expected, atol=2e-3)
        assert with_dependence_of(plain, file).table == file.table
        numbers = getattr(file.table, field)
        with pytest.raises(ModelFileError, match=f"table.{field}"):
            replace(file, table=replace(file.table, **{field: numbers[:-1]}))
        with pytest.raises(SpecError, match="from -1 to 1"):
            replace(file.table, **{field: (*numbers[:-1], 1.5)})
    alone = file_of(5, 1, (0.5,))
    assert with_dependence(alone, forecast[:, :5, :, 1:2], 0 * scores[:, :5, None], np.full(5, 90.0)) is alone


def test_paths_are_in_the_units_and_within_the_bounds_of_the_table() -> None:
    head = QuantileHead(2, LEVELS, minimum=(3.0,), maximum=(40.0,))
    spec = ModelSpec(SeriesEncoder(("a",), context=6, transform=("log1p",)), StackSpec(2), head)
    scaler = Scaler(("a",), (2.0,), (0.5,), (1.0,), transform_number=(1.5,), deviation=(1.0,))
    quantiles = np.array([[[-1.0, 0.0, 1.5]], [[-2.0, 1.0, 2.0]]])
    scores = np.random.default_rng(6).normal(size=(500, 2))
    found = in_units(Model(spec, scaler=scaler), torch.from_numpy(quantiles), scores)
    scaled = values_at(quantiles, scores.reshape(500, 2, 1), LEVELS) * 0.5 + 2.0
    expected = np.clip(np.sign(scaled) * 1.5 * np.expm1(np.abs(scaled)), 3.0, 40.0)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert 0.02 < (found == 3.0).mean() < 0.98


def test_a_hostile_correlation_still_has_a_root() -> None:
    file = file_of(3, 1)
    assert file.table is not None
    model = Model(file.spec, scaler=file.scaler, table=replace(file.table, correlation=(1.0, -1.0, 1.0)))
    root = root_of(model)
    assert np.isfinite(root).all()
    np.testing.assert_allclose(np.diagonal(root @ root), 1.0)
