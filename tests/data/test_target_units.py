"""Transforms of targets: values next to NumPy's formulas in float64, their inverses, bounds, refusals."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from gatewright.data.target_units import (
    LARGEST,
    Transform,
    by_transforms,
    fitted_number,
    guerrero,
    in_table_units,
    require_allowed,
    require_precise,
    transformed,
)
from gatewright.data.time_series import Series
from gatewright.errors import DataError, GatewrightError
from gatewright.spec import QuantileHead, Scaler, SeriesEncoder

#: Each transform and its inverse, as NumPy has them.
FORMULAS = {
    "none": (lambda y, _: y, lambda z, _: z),
    "log": (lambda y, _: np.log(y), lambda z, _: np.exp(z)),
    "log1p": (
        lambda y, u: np.sign(y) * np.log1p(np.abs(y) / u),
        lambda z, u: np.sign(z) * u * np.expm1(np.abs(z)),
    ),
    "asinh": (lambda y, u: np.arcsinh(y / u), lambda z, u: u * np.sinh(z)),
    "boxcox": (lambda y, p: (y**p - 1) / p, lambda z, p: np.maximum(p * z + 1, 0) ** (1 / p)),
}
CASES = [("none", 0.0), ("log", 0.0), ("log1p", 3.0), ("asinh", 0.25), ("boxcox", 0.4), ("boxcox", -0.5)]


def parts(name: str, number: float, **bounds: tuple[float, ...]) -> tuple[SeriesEncoder, Scaler, QuantileHead]:
    """A forecaster of one target with a transform."""
    transform = () if name == "none" else (name,)
    numbers = ((number,), (1.0,)) if transform else ((), ())
    encoder, scaler = SeriesEncoder(("y",), transform=transform), Scaler(("y",), (0.0,), (1.0,), (1.0,), *numbers)
    return encoder, scaler, QuantileHead(**bounds)


@pytest.mark.parametrize(("name", "number"), CASES)
def test_values_and_inverses_are_those_of_the_formulas(name: str, number: float) -> None:
    encoder, scaler, head = parts(name, number)
    values = np.array([1e-3, 0.5, 1.0, 7.25, 1e4, np.nan])
    if name in ("none", "log1p", "asinh"):
        values = np.concatenate([values, -values, [0.0]])
    forward, back = FORMULAS[name]
    found = transformed(values[:, None], encoder, scaler)[:, 0]
    np.testing.assert_allclose(found, forward(values, number), rtol=1e-12)
    inverse = in_table_units(found[None], encoder, scaler, head)[0]
    np.testing.assert_allclose(inverse, values, rtol=1e-12)
    z = np.linspace(0.1, 1.5, 7)
    np.testing.assert_allclose(in_table_units(z[None], encoder, scaler, head)[0], back(z, number), rtol=1e-12)


@pytest.mark.parametrize(("name", "number"), CASES[1:])
def test_forecasts_far_out_stay_finite_and_in_order(name: str, number: float) -> None:
    z = np.array([-1e300, -1e30, -800.0, -90.0, -3.0, 0.0, 3.0, 90.0, 800.0, 1e30, 1e300])
    found = in_table_units(z[None], *parts(name, number))[0]
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()
    assert np.abs(found).max() == LARGEST


def test_bounds_hold_in_the_units_of_the_table() -> None:
    z = np.log([[[0.5, 2.0, 9.0]]])
    found = in_table_units(z, *parts("log", 0.0, minimum=(1.0,), maximum=(5.0,)))
    np.testing.assert_allclose(found, [[[1.0, 2.0, 5.0]]])
    assert in_table_units(np.array([[-3.0]]), *parts("none", 0.0, minimum=(0.0,))) == 0.0


def test_each_target_has_its_own_transform() -> None:
    columns = by_transforms(
        np.array([[2.0, 2.0, 2.0]]), [Transform("log"), Transform("none"), Transform("asinh", 2.0)]
    )
    np.testing.assert_allclose(columns, [[np.log(2), 2.0, np.arcsinh(1.0)]])


@pytest.mark.parametrize("name", ["log", "boxcox"])
@pytest.mark.parametrize("value", [0.0, -1.5])
def test_a_value_that_a_transform_does_not_allow_is_named(name: str, value: float) -> None:
    series = Series("", None, np.array([[2.0], [np.nan], [value]]), np.array([2, 3, 4]))
    with pytest.raises(DataError, match=rf"column 'y', line 4: expected a value above 0, for --transform {name}"):
        require_allowed(series, (name,), ("y",))
    require_allowed(series, ("log1p",), ("y",))
    require_allowed(series, ("none",), ("y",))


def test_units_follow_the_units_of_the_table() -> None:
    """The same series in other units has the same transformed values."""
    values = np.array([0.0, 4.0, 1.0, 30.0, np.nan])
    for name in ("log1p", "asinh"):
        numbers = [fitted_number(Transform(name), [values * unit], 2) for unit in (1.0, 1e-6)]
        assert numbers[0] == 4.0
        small, large = (
            by_transforms(values[:, None] * unit, [Transform(name, number)])
            for unit, number in zip((1.0, 1e-6), numbers, strict=True)
        )
        np.testing.assert_allclose(small, large, rtol=1e-12)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_power_makes_deviations_independent_of_the_level(power: float) -> None:
    """Series whose deviations grow as level^(1 - power), of several scales."""
    rng = np.random.default_rng(0)
    levels = np.exp(np.linspace(3, 8, 40))
    pattern = rng.normal(size=(40, 12))
    pattern = (pattern - pattern.mean(axis=1, keepdims=True)) / pattern.std(axis=1, keepdims=True)
    series = levels[:, None] + 0.3 * levels[:, None] ** (1 - power) * pattern
    scales = (1.0, 1e6) if power in (0.0, 1.0) else (1.0,)
    assert guerrero([(series * scale).ravel() for scale in scales], 12) == pytest.approx(power, abs=0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sqrt", "expected one of none, log, log1p, asinh, boxcox, got 'sqrt'"),
        ("log:2", "expected log without a number"),
        ("boxcox:3", "expected boxcox: and a power from -2 to 2"),
        ("asinh:0", "expected asinh: and a unit above 0"),
        ("log1p:x", "expected log1p: and a unit above 0"),
    ],
)
def test_other_texts_are_no_transforms(text: str, message: str) -> None:
    with pytest.raises(GatewrightError, match=message):
        Transform.of(text)
    for good in ("none", "boxcox:0.3", "asinh:2.5"):
        assert str(Transform.of(good)) == good


@pytest.mark.parametrize("scale", [1e-12, 1e-8, 1e-7, 1e-5, 1.0, 1e5, 1e12, 1e30])
@pytest.mark.parametrize("power", [2.0, 0.5, -2.0])
def test_a_power_that_loses_the_values_in_rounding_is_refused(scale, power):
    """The judge: exact arithmetic of the difference of two neighbours, next to that of the transform."""
    values = scale * np.array([1.0, 1.01, 2.0, 3.0])
    transform = Transform("boxcox", power)
    there = by_transforms(values[:, None], [transform])[:, 0]
    exact = [(Decimal(v) ** Decimal(power) - 1) / Decimal(power) for v in values.tolist()]
    step, true = there[1] - there[0], float(exact[1] - exact[0])
    lost = abs(step - true) > 0.02 * abs(true) or max(map(abs, exact)) > 1e38
    if lost:
        with pytest.raises(DataError, match=rf"column 'y': expected values that --transform boxcox:{power:g} can"):
            require_precise(values, transform, "y")
    elif abs(step - true) < 1e-7 * abs(true):
        require_precise(values, transform, "y")


def test_the_power_that_is_found_tells_the_values_apart():
    level = np.repeat(np.arange(1.0, 9.0), 4)
    values = level + np.tile([0.1, 0.2, -0.1, -0.2], 8) / level  # a deviation as 1 / level: their squares have one
    assert guerrero([values], 4) == 2.0
    found = guerrero([values * 1e-9], 4)
    assert found < 2.0
    require_precise(values * 1e-9, Transform("boxcox", found), "y")
