"""Forecasters whose heads give distributions: the same quantiles through all doors, and honest ones."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright.errors import DataError, GatewrightError
from gatewright.nn import likelihood
from gatewright.spec import FAMILIES, QuantileHead
from gatewright.tasks import registry
from gatewright.tasks.forecast.calibration import Calibration, folded
from gatewright.tasks.forecast.distribution_fit import fitted, lacking
from gatewright.tasks.options import DataOptions, Options, TrainingOptions
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = LazyModule("scipy.stats")

LEVELS = (0.1, 0.5, 0.9)


def series(family: str, rows: int = 400) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    if FAMILIES[family].counts:
        values = rng.negative_binomial(0.7, 0.3, rows).astype(float)
    else:
        values = 10 + 3 * np.sin(np.arange(rows) * 2 * np.pi / 12) + 0.5 * rng.standard_t(3, rows)
    values[50:53] = np.nan
    return values


@pytest.fixture(scope="module", params=FAMILIES)
def trained(request: pytest.FixtureRequest) -> tuple[str, gw.Forecaster]:
    season = None if FAMILIES[request.param].counts else 12
    model = gw.Forecaster(
        head=request.param, horizon=3, hidden=16, context=24, steps=25, season=season, quantiles=LEVELS
    )
    return request.param, model.fit(series(request.param))


def test_all_doors_give_the_same_bits(trained: tuple[str, gw.Forecaster], tmp_path: Path) -> None:
    family, model = trained
    values = series(family)
    forecast = model.predict(values)
    assert forecast.shape == (3, 3)
    assert (np.diff(forecast, axis=1) >= 0).all()
    assert np.array_equal(model.stream().run(values[-24:, None])[-1, :, 0], forecast)
    model.save(tmp_path / "model.safetensors")
    file = gw.load(tmp_path / "model.safetensors")
    assert np.array_equal(file.predict(values), forecast)
    assert file.model_.file().spec.head.distribution == family
    recording = model.look(values, steps=60)
    assert recording.predictions.shape == (60, 1, 3, 1, 3)
    assert np.array_equal(recording.predictions[-1], model.stream().run(values[:60, None])[-1][None])
    names = [f"+{ahead} {name}" for ahead in (1, 2, 3) for name in FAMILIES[family].outputs]
    assert [name.split(" ", 1)[1] for name in recording.about.readouts] == names


def test_intervals_hold_and_counts_are_whole(trained: tuple[str, gw.Forecaster]) -> None:
    family, model = trained
    figures = next(iter(model.evaluate(series(family))["targets"].values()))
    overall = figures["model"]["overall"]
    assert 0.65 < overall["coverage"] < 0.97
    assert overall["quantile_loss"] < 0.8 * figures["persistence"]["overall"]["quantile_loss"]
    assert np.isfinite(figures["model"]["log_likelihood"])
    forecast = model.predict(series(family))
    assert (forecast == np.floor(forecast)).all() == FAMILIES[family].counts
    # Paths are draws of the distributions themselves, beyond the levels too.
    paths = model.sample_paths(series(family), paths=2000)
    assert (paths == np.floor(paths)).all() == FAMILIES[family].counts
    shares = (paths <= np.nextafter(forecast.T[:, None], np.inf)).mean(axis=1)
    least = np.array(LEVELS)[:, None] - 0.035
    assert (shares >= least).all()
    if not FAMILIES[family].counts:
        np.testing.assert_allclose(shares, least + 0.035 + 0 * shares, atol=0.035)


def test_the_log_likelihood_is_that_of_the_tables_units() -> None:
    """Of a normal distribution of arsinh(y / 2), from two of its quantiles and the derivative of the transform."""
    values = series("normal")
    columns = {"transform": "asinh:2", "season": 12, "scale": "global"}
    for more in (columns, {**columns, "transform": "none", "scale": "window"}):
        model = gw.Forecaster(head="normal", horizon=2, hidden=4, context=24, steps=3, **more).fit(values)
        origins = np.arange(len(values) * 85 // 100 - 1, len(values) - 2)
        stream = model.stream()
        forecasts = np.stack([stream.run(values[origin - 23 : origin + 1, None])[-1, :, 0] for origin in origins
                              if stream.reset() is None])  # fmt: skip
        truth = values[origins[:, None] + [1, 2]]
        z, median, upper = truth, forecasts[..., 1], forecasts[..., 2]
        slope = np.ones_like(truth)
        if more["scale"] == "global":
            z, median, upper = (np.arcsinh(each / 2) for each in (truth, median, upper))
            slope = 1 / np.hypot(truth, 2)
        scale = (upper - median) / stats.norm.ppf(0.9)
        expected = (stats.norm(median, scale).logpdf(z) + np.log(slope)).mean()
        found = next(iter(model.evaluate(values)["targets"].values()))["model"]["log_likelihood"]
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("family", ["normal", "student-t"])
def test_a_width_is_a_factor_of_the_scale(family: str) -> None:
    """Folded into the head, it multiplies the distance of each quantile from the median, for each step ahead."""
    head = {"head": family, "calibrate": "none", "horizon": 2, "hidden": 4, "context": 24, "steps": 1}
    model = gw.Forecaster(**head).fit(series(family))
    file = model.model_.file()
    widths = np.array([[1.5], [0.25]])
    wider = gw.Stream.of(folded(file, Calibration(widths, np.zeros((2, 1, 3)))))
    before, after = (stream.run(series(family)[:30, None]) for stream in (gw.Stream.of(file), wider))
    np.testing.assert_allclose(after[..., 1], before[..., 1])
    distance, wide = (each - each[..., [1]] for each in (before, after))
    np.testing.assert_allclose(wide, widths[..., None] * distance, rtol=1e-3, atol=1e-12)


def test_starts_are_likely() -> None:
    """Next to the maximum likelihood that scipy finds, or the distribution that the samples are from."""
    rng, unit = np.random.default_rng(0), torch.tensor([2.0, 2.0])

    def loss(family: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        sample = torch.from_numpy(values)
        outputs = fitted(family, sample, unit)
        logs = likelihood.log_likelihood(family, outputs.expand(*sample.shape, -1), sample, unit)
        return np.asarray(-logs.sum(dim=0).numpy() / np.isfinite(values).sum(axis=0))

    heavy = rng.standard_t(3, (256, 2)) * [1.0, 0.1] + [0.0, 5.0]
    heavy[::7, 0] = np.nan
    columns = [column[np.isfinite(column)] for column in heavy.T]
    found = loss("normal", heavy)
    best = [-stats.norm(*stats.norm.fit(x)).logpdf(x).mean() for x in columns]
    np.testing.assert_allclose(found, best, rtol=1e-3)
    found = loss("student-t", heavy)
    best = [-stats.t(*stats.t.fit(x)).logpdf(x).mean() for x in columns]
    assert (found < np.array(best) + 0.02).all()
    two = np.where(rng.random((256, 2)) < 0.5, -3.0, 3.0) + 0.2 * rng.normal(size=(256, 2))
    assert (loss("mixture", two) < loss("normal", two) - 0.8).all()
    counts = rng.negative_binomial(0.5, 0.2, (256, 2)).astype(float)
    law = -stats.nbinom(0.5, 0.2).logpmf(counts).mean(axis=0)
    assert (loss("negative-binomial", counts) < law + 0.03).all()
    zeros = counts * (rng.random(counts.shape) < 0.3)
    assert (loss("zero-inflated-negative-binomial", zeros) < loss("negative-binomial", zeros) + 0.01).all()
    nothing = fitted("student-t", torch.full((5, 2), torch.nan, dtype=torch.float64), unit)
    assert nothing.isfinite().all()


def test_first_steps_get_location_and_scale() -> None:
    rng = np.random.default_rng(0)
    target = torch.from_numpy(3 + 2 * rng.standard_normal((4000, 1, 1)))
    target[::9] = torch.nan
    outputs = torch.zeros(4000, 1, 1, 2, dtype=torch.float64)
    unit = torch.ones(1, dtype=torch.float64)
    change = lacking(QuantileHead(distribution="normal"), outputs, target, unit)[0, 0]
    np.testing.assert_allclose(change, [3.0, np.log(2)], atol=0.1)
    heavy = torch.from_numpy(3 + 2 * rng.standard_t(4, (4000, 1, 1)))
    raw = torch.zeros(4000, 1, 1, 3, dtype=torch.float64)
    raw[..., 2] = likelihood.inverse_softplus(torch.tensor(2.0))  # 4 degrees of freedom
    change = lacking(QuantileHead(distribution="student-t"), raw, heavy, unit)[0, 0]
    np.testing.assert_allclose(change, [3.0, np.log(2), 0.0], atol=0.1)
    counts = torch.from_numpy(rng.poisson(6.0, (4000, 1, 1)).astype(float))
    outputs[..., 0], outputs[..., 1] = likelihood.inverse_softplus(torch.tensor(2.0)), -3.0
    change = lacking(QuantileHead(distribution="negative-binomial"), outputs, counts, unit)[0, 0]
    mean = likelihood.softplus(outputs[0, 0, 0, 0] + change[0])
    np.testing.assert_allclose([mean, change[1]], [6.0, 0.0], atol=0.2)


def resolved(head: str, **options: Any) -> Options:
    data = {name: value for name, value in options.items() if name not in ("loss", "calibrate")}
    training = {name: value for name, value in options.items() if name in ("loss", "calibrate")}
    asked = Options(DataOptions(head=head, **data), training=TrainingOptions(**training))
    return registry.kind("forecast").resolve(asked)


def test_options_that_go_with_a_head() -> None:
    assert resolved("quantiles").training.loss == "quantile"
    plain = resolved("student-t", quantiles=(0.05, 0.5))
    assert (plain.training.loss, plain.training.calibrate, plain.data.transform) == ("nll", "width", ("auto",))
    counts = resolved("negative-binomial", season=("none", "7"), min=("1",))
    assert (counts.training.calibrate, counts.data.transform, counts.data.reads) == ("none", ("none",), "level")
    assert resolved("negative-binomial", reads="both").data.reads == "both"


@pytest.mark.parametrize(
    ("head", "options", "message"),
    [
        ("quantiles", {"loss": "nll"}, "--loss: expected another one with --head quantiles"),
        ("normal", {"loss": "mse"}, "--loss: expected nll, or none, with --head normal, got 'mse'"),
        ("mixture", {"calibrate": "conformal"}, "--calibrate: expected width or none with --head mixture"),
        ("negative-binomial", {"calibrate": "width"}, "--calibrate: expected none"),
        ("negative-binomial", {"transform": ("log1p",)}, "--transform: expected none"),
        ("zero-inflated-negative-binomial", {"reads": "change"}, "--reads: expected level, both or nothing"),
        ("negative-binomial", {"season": ("7",)}, "--season: expected none, or none and that of the baseline"),
        ("gamma", {}, "--head: expected one of quantiles, normal, student-t, mixture, negative-binomial"),
    ],
)
def test_options_without_sense_are_refused(head: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(GatewrightError, match=message):
        resolved(head, **options)


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.5"), (-1.0, "-1"), (2e9, "2000000000")])
def test_counts_have_to_be_whole_numbers(value: float, text: str) -> None:
    values = series("negative-binomial")
    values[7] = value
    with pytest.raises(DataError, match=rf"row 8: expected a whole number from 0 to 1,000,000,000.*got {text}"):
        gw.Forecaster(head="negative-binomial", steps=1).fit(values)


def test_a_trained_head_of_counts_takes_whole_numbers_alone(trained: tuple[str, gw.Forecaster]) -> None:
    family, model = trained
    values = series(family)
    if not FAMILIES[family].counts:
        assert np.isfinite(model.predict(values - 500)).all()
        return
    for ask in (model.predict, model.evaluate, model.score, model.look, partial(model.sample_paths, paths=2)):
        for wrong, text in ((values + 0.5, r"\d\.5"), (values - 500, "-")):
            with pytest.raises(DataError, match=f"row 1: expected a whole number from 0 to .*, got {text}"):
                ask(wrong)


def test_a_value_that_repeats_suits_no_density(capsys: pytest.CaptureFixture[str]) -> None:
    rain = np.where(np.arange(200) % 5 < 3, 0.0, np.random.default_rng(0).gamma(2, size=200))
    said = {}
    for head, values in (("normal", rain), ("quantiles", rain), ("normal", rain + np.arange(200) / 1e4)):
        gw.Forecaster(head=head, hidden=4, context=24, steps=1, transform="none", verbose=1).fit(values)
        said[head, bool((values == 0).sum() > 1)] = "which no density suits" in "".join(capsys.readouterr())
    assert said == {("normal", True): True, ("quantiles", True): False, ("normal", False): False}


def test_a_head_stays_in_a_warm_start(trained: tuple[str, gw.Forecaster]) -> None:
    family, model = trained
    if family != "student-t":
        return
    values = series(family)
    further = gw.Forecaster(steps=5).fit(values, init=model)
    assert further.model_.spec.head == replace(model.model_.spec.head)
    with pytest.raises(GatewrightError, match=r"head: expected.*student-t"):
        gw.Forecaster(steps=5, head="normal").fit(values, init=model)
