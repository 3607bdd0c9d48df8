"""Plain loops over rows judge splitting, scaling, encoding and the choice of windows."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gatewright.data import frequency, preprocessing, split
from gatewright.data.preprocessing import Parts
from gatewright.data.table import Roles, Series, Table, read_table
from gatewright.errors import DataError, GatewrightError
from gatewright.spec import READS, Scaler, SeriesEncoder

DATA = Path(__file__).parents[3] / "shared" / "data"
NAN = math.nan


def make(values, name="", times=False):
    values = np.array(values, dtype=np.float64)
    stamps = np.datetime64("2020-01-30", "us") + np.arange(len(values)) * np.timedelta64(6, "h") if times else None
    return Series(name, stamps, values, np.arange(2, len(values) + 2))


def table(parts, **roles):
    return Table(Roles(**roles), tuple(make(values, f"s{i}") for i, values in enumerate(parts)), "row", ())


@pytest.mark.parametrize(
    ("valid", "test", "expected"),
    [
        ("0.15", "0.15", (70, 85)),
        ("20", "10", (70, 90)),
        ("0.2", "10", (70, 90)),
        ("1e1", "2e1", (70, 80)),
        ("2020-02-11", "2020-02-20", (48, 84)),  # four rows a day from 2020-01-30
        ("2020-02-11 05:00", "5", (49, 95)),
        ("2020-02-11T06:00:01", "2020-02", None),  # before the validation part
        ("2020-02", "5", (8, 95)),
        ("49", "50", (1, 50)),
    ],
)
def test_the_split_is_in_time_order(valid, test, expected):
    one = make(np.zeros((100, 1)), times=True)
    if expected is None:
        with pytest.raises(
            GatewrightError, match="--valid and --test: expected sizes that leave rows in all three"
        ):
            split.split([one], valid, test)
    else:
        assert split.split([one], valid, test) == (Parts(*expected, 100),)


def test_a_test_part_of_0_is_none():
    assert split.split([make(np.zeros((100, 1)))], "0.2", "0") == (Parts(80, 100, 100),)
    with pytest.raises(GatewrightError, match="expected sizes that leave rows in all three parts"):
        split.split([make(np.zeros((2, 1)))], "2", "0")


UNREADABLE = ["x", "", "-3", "1.5", "nan", "inf", "1e999", "2020-02-31", "2020-13", "today", "NaT", "2020-02Z"]


@pytest.mark.parametrize(
    ("name", "size"), [("valid", "0"), *((name, size) for name in ("valid", "test") for size in UNREADABLE)]
)
def test_a_size_that_cannot_be_read(name, size):
    with pytest.raises(GatewrightError) as error:
        split.split([make(np.zeros((100, 1)), times=True)], **{"valid": "0.1", "test": "0.1", name: size})
    assert error.value.argument == f"--{name}"
    assert error.value.got == repr(size)


def test_a_date_needs_timestamps():
    with pytest.raises(
        GatewrightError, match=r"^--valid: .* \(with timestamps\) a start date .* got '2020-02-11'"
    ):
        split.split([make(np.zeros((100, 1)))], "2020-02-11", "5")


@pytest.mark.parametrize(
    ("valid", "test"), [("60", "40"), ("50", "60"), ("0.5", "0.5"), ("1000", "1"), ("1", "1000"), ("0.001", "5"),
                        ("2019-01", "5"), ("5", "2029-01")],
)  # fmt: skip
def test_a_part_without_rows(valid, test):
    with pytest.raises(GatewrightError) as error:
        split.split([make(np.zeros((100, 1)), "a", times=True)], valid, test)
    assert error.value.argument == "--valid and --test"
    assert error.value.got == f"{valid} and {test} of 100 rows of series 'a'"


# Values with a decimal or two, so that the judge's sums and NumPy's cannot differ by more than rounding.
CELLS = st.just(NAN) | st.integers(-500, 500).map(lambda number: number / 8)


@st.composite
def columns_of(draw: st.DrawFn, width: int, least: int = 1, most: int = 12) -> list[list[float]]:
    rows = draw(st.integers(least, most))
    return draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=rows, max_size=rows))


@settings(deadline=None)
@given(st.lists(columns_of(3, least=3), min_size=1, max_size=3), st.data())
def test_the_scaler_is_of_the_training_part(parts, data):
    ends = [data.draw(st.integers(1, len(rows) - 1)) for rows in parts]
    training = [
        [row[column] for rows, end in zip(parts, ends, strict=True) for row in rows[:end]] for column in range(3)
    ]
    seen = [[value for value in column if not math.isnan(value)] for column in training]
    assume(all(len(set(column)) > 1 for column in seen))
    changes: list[list[float]] = [[], []]
    for rows, end in zip(parts, ends, strict=True):
        for column in range(2):
            last = NAN
            for row in rows[:end]:
                if not math.isnan(row[column]):
                    if not math.isnan(last):
                        changes[column].append(row[column] - last)
                    last = row[column]
    source = table(parts, targets=("a", "b"), past=("c",))
    scaler = preprocessing.fit_scaler(
        source, [Parts(end, len(rows) - 1, len(rows)) for end, rows in zip(ends, parts, strict=True)]
    )
    assert scaler.columns == ("a", "b", "c")
    np.testing.assert_allclose(scaler.mean, [statistics.fmean(column) for column in seen], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scaler.scale, [statistics.pstdev(column) for column in seen], rtol=1e-9)
    for got, column, scale in zip(scaler.change_scale, changes, scaler.scale, strict=False):
        deviation = statistics.pstdev(column) if column else 0.0
        np.testing.assert_allclose(got, deviation or scale, rtol=1e-9)
    # What comes later is never looked at.
    for rows, end in zip(parts, ends, strict=True):
        for row in rows[end:]:
            row[:] = [1e9, NAN, -1e9]
    later = table(parts, targets=("a", "b"), past=("c",))
    assert (
        preprocessing.fit_scaler(
            later, [Parts(end, len(rows), len(rows)) for end, rows in zip(ends, parts, strict=True)]
        )
        == scaler
    )


NEARLY = (
    "numbers from 1000000000.0 to 1000000000.000001, which differ too little for their size; subtract a constant"
)


@pytest.mark.parametrize(
    ("column", "expected", "got"),
    [
        ([5.0, NAN, 5.0, 7.0], "values that vary in the training part", "5 in every row of it"),
        ([1e9, 1e9 + 1e-6, 1e9, 0.0], "values that vary in the training part", NEARLY),
        ([NAN, NAN, NAN, 7.0], "numbers in the training part", "none"),
    ],
)
def test_a_column_without_spread_in_the_training_part(column, expected, got):
    rows = [[i, value] for i, value in enumerate(column)]
    with pytest.raises(DataError) as error:
        preprocessing.fit_scaler(table([rows], targets=("y",), past=("a\nb",)), [Parts(3, 4, 4)])
    assert str(error.value) == f"column 'a\\nb': expected {expected}, got {got}"


def test_a_ramp_and_a_target_seen_once_a_series_can_be_scaled():
    ramp = preprocessing.fit_scaler(table([[[0.1 * i] for i in range(50)]], targets=("y",)), [Parts(50, 50, 50)])
    assert ramp.change_scale == ramp.scale
    once = preprocessing.fit_scaler(table([[[1.0]], [[3.0]]], targets=("y",)), [Parts(1, 1, 1)] * 2)
    assert once.change_scale == once.scale == (1.0,)


@settings(deadline=None)
@given(columns_of(5), st.sampled_from(READS), st.sampled_from(["", "forward", "mean"]))
def test_the_encoding(rows, reads, fill):
    """Columns: two targets, a past input, a known one, a static one."""
    one = make(rows, times=True)
    parts = ("day_of_week", "hour_of_day")
    encoder = SeriesEncoder(("a", "b"), ("p",), ("k",), ("s",), calendar=parts, reads=reads)
    mean, scale, change_scale = (1.0, -2.0, 0.5, 0.0, 3.0), (2.0, 4.0, 0.5, 8.0, 1.0), (0.25, 0.5)
    encoded = preprocessing.encode(one, encoder, Scaler(encoder.columns, mean, scale, change_scale), fill)
    phases = frequency.calendar(one.times, parts)
    last = [NAN] * 5
    for t, row in enumerate(rows):
        seen = [not math.isnan(value) for value in row]
        change = [
            (row[i] - last[i]) / change_scale[i] if seen[i] and not math.isnan(last[i]) else 0.0 for i in (0, 1)
        ]
        last = [value if here else before for value, here, before in zip(row, seen, last, strict=True)]
        given_ = last if fill == "forward" else row
        scaled = [(value - m) / s for value, m, s in zip(given_, mean, scale, strict=True)]
        inputs = [0.0 if math.isnan(value) else value for value in scaled]
        level = [0.0 if math.isnan(last[i]) else (last[i] - mean[i]) / scale[i] for i in (0, 1)]
        observed = [float(seen[i]) for i in (0, 1)]
        read = {"change": change + observed, "level": level + observed, "both": change + level + observed}
        expected = [*read.get(reads, []), inputs[2], inputs[4], *phases[t]]
        np.testing.assert_allclose(encoded.inputs[t], expected, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(encoded.known[t], inputs[3:4], rtol=1e-6)
        np.testing.assert_allclose(encoded.level[t], level, rtol=1e-6)
        target = [(row[i] - mean[i]) / scale[i] for i in (0, 1)]
        np.testing.assert_allclose(encoded.target[t], target, rtol=1e-6)


@settings(deadline=None)
@given(columns_of(4, least=2), st.data())
def test_what_comes_later_changes_nothing_before(rows, data):
    encoder = SeriesEncoder(("a", "b"), ("p",), ("k",), reads="both")
    scaler = Scaler(encoder.columns, (0.0,) * 4, (1.0,) * 4, (1.0,) * 2)
    fill = data.draw(st.sampled_from(["forward", "mean"]))
    row = data.draw(st.integers(1, len(rows) - 1))
    before = preprocessing.encode(make(rows), encoder, scaler, fill)
    for later in rows[row:]:
        later[:] = data.draw(st.lists(CELLS, min_size=4, max_size=4))
    after = preprocessing.encode(make(rows), encoder, scaler, fill)
    for name in ("inputs", "level", "known", "target"):
        np.testing.assert_array_equal(getattr(before, name)[:row], getattr(after, name)[:row])


def test_what_cannot_be_encoded():
    encoder = SeriesEncoder(("a",), calendar=("hour_of_day",))
    scaler = Scaler(("a",), (0.0,), (1e-3,), (1.0,))
    with pytest.raises(DataError, match="time: expected timestamps, for hour_of_day, got a table without any"):
        preprocessing.encode(make([[1.0]]), encoder, scaler)
    with pytest.raises(DataError) as error:  # float32 would make an infinity of it
        preprocessing.encode(make([[1.0], [3e38]], times=True), encoder, scaler)
    expected = "a value within 1e+20 standard deviations of the training part"
    assert str(error.value) == f"column 'a', line 3: expected {expected}, got 3e+38"


@settings(deadline=None)
@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=20),
    st.integers(1, 6), st.integers(1, 5), st.integers(0, 20), st.integers(0, 20), st.data(),
)  # fmt: skip
def test_the_windows_of_a_part(rows, context, horizon, start, size, data):
    end = min(start + size, len(rows))
    supervised = data.draw(st.integers(1, context))
    target = np.array(rows, dtype=np.float32).reshape(-1, 2)
    expected = []
    for origin in range(len(rows)):
        forecast = {
            step + ahead for step in range(origin - supervised + 1, origin + 1) for ahead in range(1, horizon + 1)
        }
        whole = origin - context + 1 >= 0 and all(start <= row < end for row in forecast)
        if whole and any(not math.isnan(value) for row in forecast for value in rows[row]):
            expected.append(origin)
    assert preprocessing.origins(target, context, horizon, start, end, supervised).tolist() == expected


def test_a_short_series_has_no_rows_in_some_parts():
    """Among others it is no error: its rows fall where the sizes and dates put them."""
    whole, short, single = (
        make(np.zeros((rows, 1)), name, times=True) for rows, name in ((100, "a"), (12, "b"), (1, "c"))
    )
    assert split.split([whole, short, single], "20", "10") == (
        Parts(70, 90, 100),
        Parts(0, 2, 12),
        Parts(0, 0, 1),
    )
    assert split.split([single, whole], "0.2", "0.1") == (Parts(1, 1, 1), Parts(70, 90, 100))
    ended = split.split([whole, short], "2020-02-11", "2020-02-20")[1]
    assert ended == Parts(12, 12, 12)  # all of it is before the validation part
    with pytest.raises(GatewrightError) as error:
        split.split([short, single], "5", "60")
    assert error.value.got == "5 and 60 of 12 rows of series 'b', the longest series"


@pytest.mark.skipif(not (DATA / "ETTh1.csv").exists(), reason=f"{DATA} is not there")
def test_the_usual_scaler_of_etth1():
    """The split and scaling that papers report on: 12, 4 and 4 months of 30 days."""
    source = read_table(DATA / "ETTh1.csv", Roles(targets=("OT",), past=("HUFL",)))
    one = source.series[0]
    [part] = split.split([one], "2880", str(17420 - 8640 - 2880))
    assert (part.valid, part.test) == (8640, 11520)
    lines = (DATA / "ETTh1.csv").read_text().splitlines()[1 : 1 + 8640]
    scaler = preprocessing.fit_scaler(source, [part])
    for index, column in enumerate((7, 1)):
        training = [float(line.split(",")[column]) for line in lines]
        assert scaler.mean[index] == pytest.approx(statistics.fmean(training), rel=1e-12)
        assert scaler.scale[index] == pytest.approx(statistics.pstdev(training), rel=1e-12)
