"""What is said of a table before training: missing targets, and numbers that may stand for missing values."""

from __future__ import annotations

import numpy as np
import pytest

from gatewright.data.data_warnings import far_and_repeated, missing_targets, suspects
from gatewright.data.table import Roles
from tests.support.tables import read

ROWS = 2000


def draws(seed=0):
    """Columns as they are, none of which has a value that means missing."""
    rng = np.random.default_rng(seed)
    rain = np.where(rng.random(ROWS) < 0.8, 0, np.round(rng.gamma(0.5, 12, ROWS), 1))
    hours = np.arange(ROWS)
    return {
        "rain": rain,
        "rain, seldom": np.where(rng.random(ROWS) < 0.99, 0, rain),
        "wet half the time": np.where(rng.random(ROWS) < 0.5, 0, np.round(rng.lognormal(1, 1.5, ROWS), 1)),
        "temperature": np.round(10 + 15 * np.sin(hours / 700) + rng.normal(0, 3, ROWS), 1),
        "capped": np.minimum(rng.lognormal(2, 1, ROWS), 50),
        "capped far out": np.minimum(rng.lognormal(0, 2.5, ROWS), 400),
        "floored": np.maximum(rng.normal(0, 1, ROWS), -0.5),
        "flag": rng.integers(0, 2, ROWS).astype(float),
        "rare flag": (rng.random(ROWS) < 0.01).astype(float),
        "flag of 100": 100 * (rng.random(ROWS) < 0.01).astype(float),
        "rating": rng.integers(1, 6, ROWS).astype(float),
        "weekday": hours % 7.0,
        "counts": rng.poisson(3, ROWS).astype(float),
        "rare counts": rng.poisson(0.02, ROWS).astype(float),
        "sales": np.where(hours % 7 == 6, 0, np.round(rng.lognormal(8, 0.4, ROWS))),
        "heavy tails": rng.standard_t(2, ROWS),
        "rounded heavy tails": np.round(rng.standard_t(1.5, ROWS)),
        "degrees": np.round(rng.uniform(0, 360, ROWS)),
        "percent": np.minimum(100, np.round(rng.normal(80, 20, ROWS))),
        "prices": rng.choice([0.99, 1.99, 2.49, 4.99, 9.99, 19.99], ROWS),
        "walk": rng.normal(size=ROWS).cumsum(),
        "level shift": np.where(hours < 1000, 10, 200) + rng.normal(size=ROWS),
        "solar": np.round(np.maximum(0, np.sin(hours / 24 * 2 * np.pi)) * rng.uniform(0, 900, ROWS)),
        "constant": np.full(ROWS, 7.0),
        "missing": np.full(ROWS, np.nan),
    }


@pytest.mark.parametrize("seed", range(5))
def test_columns_as_they_are_raise_no_alarm(seed):
    assert {name: found for name, values in draws(seed).items() if (found := far_and_repeated(values))} == {}


@pytest.mark.parametrize(
    "column", ["rain", "temperature", "sales", "heavy tails", "degrees", "counts", "solar", "walk"]
)
@pytest.mark.parametrize("value", [-999.0, -9999.0, -999.9, 99999.0, -1e6])
@pytest.mark.parametrize("share", [0.005, 0.1, 0.3])
def test_numbers_that_stand_for_missing_values_are_seen(column, value, share):
    values = draws()[column]
    if column == "counts":
        values = values + np.arange(ROWS) % 3  # more than ten different ones
    values = np.where(np.random.default_rng(1).random(ROWS) < share, value, values)
    assert far_and_repeated(values) == [value]


def test_several_of_them_and_too_few():
    values = draws()["temperature"]
    values[5:15], values[40:60], values[100:107] = -999, -9999, 9999
    assert sorted(far_and_repeated(values)) == [-9999, -999, 9999]
    once = draws()["temperature"]
    once[[3, 30, 300, 1000]] = -999
    assert far_and_repeated(once) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def rows(series):
    return "".join(f"{name},{cell:g},1\n" for name, cells in series.items() for cell in cells)


def test_the_note_names_the_option_and_the_rows(folder):
    values = np.round(np.random.default_rng(0).normal(10, 2, 200), 2)
    values[20:28] = -999
    table = read(folder, "id,y,x\n" + rows({"a": values}), Roles(("y",), past=("x",), time="none"))
    told = "y: -999 repeats in 8 rows, far from all other values; --missing -999 if it stands for a missing one"
    assert suspects(table) == [told]


def test_the_level_of_a_series_is_no_alarm(folder):
    series = {name: np.random.default_rng(number).normal(10, 2, 100) for number, name in enumerate("abc")}
    roles = Roles(("y",), time="none", series=("id",))
    steady = read(folder, "id,y,x\n" + rows({**series, "d": [5000] * 100}), roles)
    assert suspects(steady) == []
    series["b"][10:20] = 5000
    assert len(suspects(read(folder, "id,y,x\n" + rows(series), roles))) == 1


def test_missing_targets_are_counted_up_to_the_last_observed_one(folder):
    content = "id,y,z\n" + "a,1,1\na,,2\na,3,\na,,\n" + "b,,1\nb,2,2\nb,,3\nb,,\n"
    table = read(folder, content, Roles(("y", "z"), time="none", series=("id",)))
    assert missing_targets(table) == ["missing targets: y in 3 of 6 rows (50.0%), z in 1 of 6 rows (16.7%)"]
    whole = read(folder, "y\n1\n2\n", Roles(("y",), time="none"))
    assert missing_targets(whole) == []
    long = read(folder, "y,x\n" + "1,1\n" * 5000 + ",1\n1,1\n", Roles(("y",), time="none"))
    assert missing_targets(long) == ["missing targets: y in 1 of 5,002 rows (under 0.1%)"]
