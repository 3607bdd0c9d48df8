"""One table from every kind of source: a CSV file judges frames of polars and pandas, and Arrow tables."""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import zoneinfo
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.data.sources import Text, digest, frame_of
from gatewright.data.table import NO_TIME, Roles, read_table, table_of
from gatewright.data.text import read_text, text_of
from gatewright.errors import DataError
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = LazyModule("pandas")

HOURS = [datetime(2024, 2, 27) + timedelta(hours=hour) for hour in range(48)]
DAYS = [datetime(2024, 2, 27) + timedelta(days=day) for day in range(20)]
TARGET = Roles(targets=("load",))


class ArrowTable:
    """A table that has the Arrow PyCapsule interface, and nothing else."""

    def __init__(self, frame: pl.DataFrame):
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema=None):
        return self._frame.__arrow_c_stream__(requested_schema)


def of_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({name: frame[name].to_numpy() for name in frame.columns})


def sources(frame: pl.DataFrame, time: str = "") -> dict[str, object]:
    """The same table as every kind of source but a file."""
    columns = of_pandas(frame)
    every = {"polars": frame, "pandas": columns, "Arrow": ArrowTable(frame), "frame": frame_of(frame)}
    if time:
        every["index"] = columns.set_index(time)
    try:
        import pyarrow
    except ImportError:
        return every
    return every | {"pyarrow": pyarrow.table(frame), "batch": pyarrow.table(frame).to_batches()[0]}


def assert_same(table, judge):
    """The two agree in all but the name for the place of a row."""
    assert (table.roles, table.step, table.empty, table.clock) == (
        judge.roles,
        judge.step,
        judge.empty,
        judge.clock,
    )
    assert (table.zoned, table.notes, set(table.unused)) == (judge.zoned, judge.notes, set(judge.unused))
    assert len(table.series) == len(judge.series)
    for series, other in zip(table.series, judge.series, strict=True):
        assert (series.name, series.ids, series.clock) == (other.name, other.ids, other.clock)
        assert series.values.tobytes() == other.values.tobytes()
        assert (series.times is None) == (other.times is None)
        if series.times is not None:
            np.testing.assert_array_equal(series.times, other.times)
        assert (series.unit, other.unit) == ("row", "line")
        np.testing.assert_array_equal(np.where(series.lines > 0, series.lines + 1, 0), other.lines)  # the header


def check(tmp_path, frame, roles, time="", fill="", csv=None):
    path = tmp_path / "table.csv"
    (frame if csv is None else csv).write_csv(path)
    judge = read_table(path, roles, fill)
    assert_same(replace_unit(table_of(str(path), roles, fill)), judge)
    for kind, source in sources(frame, time).items():
        try:
            assert_same(table_of(source, roles, fill), judge)
        except AssertionError as error:
            raise AssertionError(f"{kind}: {error}") from error
    return judge


def replace_unit(table):
    series = (replace(each, unit="row", lines=np.maximum(each.lines - 1, 0)) for each in table.series)
    return replace(table, series=tuple(series))


def noise(rows: int, seed: int = 0) -> list[float]:
    return np.random.default_rng(seed).normal(size=rows).tolist()


def test_one_series(tmp_path):
    frame = pl.DataFrame({"when": HOURS, "load": noise(48), "wind": noise(48, 1), "spare": noise(48, 2)})
    table = check(tmp_path, frame, Roles(targets=("load",), past=("wind",)), "when")
    assert (table.step, table.roles.time, table.unused) == ("1h", "when", ("spare",))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.one_of(st.none(), st.floats(-1e99, 1e99, allow_nan=False), st.floats(-10, 10)), min_size=8, max_size=20
    ).filter(lambda cells: sum(cell is not None for cell in cells) >= 5)
)
def test_any_numbers_to_the_bit(tmp_path_factory, cells):
    frame = pl.DataFrame({"day": DAYS[: len(cells)], "load": pl.Series(cells, dtype=pl.Float64)})
    check(tmp_path_factory.mktemp("any"), frame, TARGET, "day")


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt16, pl.Int64, pl.Boolean, pl.Float64])
def test_types_of_numbers(tmp_path, dtype):
    numbers = [1, 0, 0, 1, 1, 0, 1, 1] if dtype == pl.Boolean else [1, 0, 7, 127, 3, 4, 9, 2]
    check(tmp_path, pl.DataFrame({"day": DAYS[:8], "load": pl.Series(numbers).cast(dtype)}), TARGET, "day")


@pytest.mark.parametrize("ids", [["a", "b", "c"], [3, 1, 2]])
def test_many_series_gaps_and_statics(tmp_path, ids):
    rows = [(name, day, area) for name, area in zip(ids, (0.5, 2.0, 4.0), strict=True) for day in DAYS]
    frame = pl.DataFrame(rows, schema=["site", "day", "area"], orient="row")
    frame = frame.with_columns(pl.Series("load", noise(60)), pl.Series("rain", noise(60, 1)))
    frame = frame.filter(~pl.arange(pl.len()).is_in([5, 27, 28]))
    roles = Roles(targets=("load",), past=("rain",), static=("area",), series="site")
    table = check(tmp_path, frame, roles, fill="forward")
    assert [series.name for series in table.series] == [str(name) for name in ids]
    assert all(len(series.values) == 20 for series in table.series)


def test_resampled(tmp_path):
    times = [
        datetime(2024, 1, 1) + timedelta(minutes=minutes) for minutes in (np.arange(200) ** 2 % 6007).tolist()
    ]
    frame = pl.DataFrame({"t": sorted(set(times))})
    frame = frame.with_columns(pl.Series("load", noise(len(frame))))
    check(tmp_path, frame, Roles(targets=("load",), resample="2h", aggregate="sum"), "t", fill="mean")


def test_rows_without_times(tmp_path):
    table = check(tmp_path, pl.DataFrame({"load": noise(9)}), Roles())
    assert (table.step, table.roles.time, table.roles.targets) == ("row", NO_TIME, ("load",))


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S", "%d.%m.%Y %H:%M", "%b %d, %Y %I:%M %p"])
def test_times_and_numbers_as_text(tmp_path, form):
    cells = {"t": [hour.strftime(form) for hour in HOURS], "load": [f"{number:.3f}" for number in noise(48)]}
    frame = pl.DataFrame(cells)
    path = tmp_path / "table.csv"
    frame.write_csv(path)
    judge = read_table(path, TARGET)
    for source in (
        frame,
        pd.DataFrame(cells),
        pd.DataFrame(cells, dtype=object),
        pd.DataFrame(cells).set_index("t"),
    ):
        assert_same(table_of(source, TARGET), judge)
    assert judge.step == "1h"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_units_of_pandas(tmp_path, unit):
    frame = pl.DataFrame({"t": HOURS, "load": noise(48)})
    columns = of_pandas(frame)
    columns["t"] = columns["t"].to_numpy().astype(f"datetime64[{unit}]")
    assert str(columns["t"].dtype) == f"datetime64[{unit}]"
    frame.write_csv(tmp_path / "table.csv")
    judge = read_table(tmp_path / "table.csv", TARGET)
    assert_same(table_of(columns, TARGET), judge)
    assert_same(table_of(columns.set_index("t"), TARGET), judge)


ZONES = {
    "UTC": timezone.utc,
    "+02:00": timezone(timedelta(hours=2)),
    "-03:30": timezone(-timedelta(hours=3, minutes=30)),
    "Europe/Berlin": zoneinfo.ZoneInfo("Europe/Berlin"),
}


@pytest.mark.parametrize("zone", ZONES)
def test_zones_of_pandas(tmp_path, zone):
    """Hours around the end of summer time, as a CSV file has them with offsets."""
    index = pd.date_range("2024-10-26", periods=60, freq="h", tz="UTC").tz_convert(ZONES[zone]).rename("t")
    frame = pd.DataFrame({"load": noise(60)}, index=index)
    cells = [time.isoformat(sep=" ") for time in index]
    pl.DataFrame({"t": cells, "load": noise(60)}).write_csv(tmp_path / "table.csv")
    judge = read_table(tmp_path / "table.csv", replace(TARGET, time_zone=zone))
    for source in (frame, frame.reset_index()):
        table = table_of(source, TARGET)
        assert (table.clock.zone, table.zoned) == (zone, True)
        assert_same(replace(table, roles=judge.roles), judge)


def test_types_of_pandas():
    columns = {
        "masked": pd.array([1, None, 3], "Int16"),
        "real": pd.array([1.5, None, 3.0], "Float64"),
        "truth": pd.array([True, None, False], "boolean"),
        "words": pd.Series(["1", None, "x"], dtype="str"),
        "mixed": pd.Series(["a", 1.1, None], dtype=object),
        "classes": pd.Categorical(["x", None, "y"]),
        "numbers": pd.Categorical([30, None, 10]),
        "half": np.array([1.5, np.nan, -3.0], "float16"),
        "sparse": pd.arrays.SparseArray([0.0, 0.0, 1.0]),
        "quarter": pd.PeriodIndex(["2024Q1", "NaT", "2024Q3"], freq="Q"),
        "waits": pd.to_timedelta([1, None, 3], unit="h"),
        "dates": [date(2024, 1, 1), None, date(2024, 1, 3)],
    }
    cells = frame_of(pd.DataFrame(columns)).cells
    assert cells["masked"].to_list() == [1, None, 3]
    assert cells["real"].to_list() == [1.5, None, 3.0]
    assert cells["truth"].to_list() == [True, None, False]
    assert cells["words"].to_list() == ["1", None, "x"]
    assert cells["mixed"].to_list() == ["a", "1.1", None]
    assert cells["classes"].to_list() == ["x", None, "y"]
    assert cells["numbers"].to_list() == [30, None, 10]
    assert [str(value) for value in cells["half"]] == ["1.5", "nan", "-3.0"]
    assert cells["sparse"].to_list() == [0.0, 0.0, 1.0]
    assert cells["quarter"].to_list() == [datetime(2024, 1, 1), None, datetime(2024, 7, 1)]
    assert cells["waits"].to_list() == [timedelta(hours=1), None, timedelta(hours=3)]
    assert cells["dates"].to_list() == ["2024-01-01", None, "2024-01-03"]


def test_a_time_that_does_not_fit_is_refused_not_wrapped():
    times = np.array(["2024-01-01", "290000000000-01-01"], "datetime64[s]")
    frame = pd.DataFrame({"t": times, "load": [1.0, 2.0]})
    with pytest.raises(DataError, match="time column 't', row 2: expected a timestamp"):
        table_of(frame, replace(TARGET, time="t"))


def test_an_index_of_times_is_the_time_column():
    days = pd.date_range("2024-01-01", periods=6, freq="D")
    frame = pd.DataFrame({"date": days[::-1], "load": noise(6)}, index=days)
    table = table_of(frame, TARGET)  # without the index, "date" would be found
    assert (table.roles.time, table.unused, table.notes) == ("time", ("date",), ())
    assert table_of(frame.rename_axis("when"), TARGET).roles.time == "when"
    assert table_of(frame, replace(TARGET, time="date")).notes  # in order of time: turned round
    assert table_of(frame, replace(TARGET, time=NO_TIME)).step == "row"
    months = pd.DataFrame({"load": noise(6)}, index=pd.period_range("2024-01", periods=6, freq="M"))
    assert table_of(months, TARGET).step == "1mo"
    assert str(table_of(months, TARGET).series[0].times[5])[:10] == "2024-06-01"


def test_other_indices_of_pandas():
    frame = pd.DataFrame({"load": [1.0, 2.0, 3.0]})
    assert frame_of(frame).cells.columns == ["load"]
    assert frame_of(frame.iloc[[2, 0, 1]]).cells["load"].to_list() == [3.0, 1.0, 2.0]
    assert frame_of(frame.set_axis(["b", "c", "a"])).cells.columns == ["load"]
    assert frame_of(frame.set_axis(pd.Index(["b", "c", "a"], name="site"))).cells.columns == ["site", "load"]
    assert frame_of(frame.set_axis([7], axis=1)).cells.columns == ["7"]
    assert frame_of(frame.assign(more=1.0).set_axis(["load", None], axis=1)).cells.columns == ["load", "column_2"]


def test_a_frame_without_a_name_for_a_column_is_read_as_a_csv_file_is(tmp_path):
    cells = {"": [0, 1, 2, 3], "day": DAYS[:4], "load": noise(4)}
    table = check(tmp_path, pl.DataFrame(cells), Roles())
    assert (table.roles.targets, table.unused) == (("load",), ("column_1",))
    pl.DataFrame({"": DAYS[:4], "load": noise(4)}).write_parquet(tmp_path / "a.parquet")
    assert table_of(tmp_path / "a.parquet", TARGET).roles.time == "column_1"


def levels() -> pd.MultiIndex:
    return pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])


TEXTS = ["2024-01-01", "2024-01-02", "2024-01-03"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
            "columns of the data frame: expected each name once, got 'a' 2 times",
        ),
        (lambda: pd.DataFrame([[1, 2]], columns=[1, "1"]), "got '1' 2 times"),
        (pl.DataFrame({"": [1], "column_1": [2]}), "got 'column_1' 2 times"),
        (
            lambda: pd.DataFrame({"a": [1.0]}, index=pd.Index([1], name="a")),
            "index of the data frame: expected a name that no column has, got 'a'; frame.reset_index(drop=True)",
        ),
        (
            lambda: pd.DataFrame([[1, 2]], columns=levels()),
            "one name for each column, got a MultiIndex; frame.columns",
        ),
        (
            lambda: pd.DataFrame({"a": [1, 2]}, index=levels()),
            "got a MultiIndex; frame.reset_index() makes columns",
        ),
        (
            lambda: pd.DataFrame({"a": [1, 2, 3]}, index=TEXTS),
            "look like times, such as '2024-01-01'; frame.rename_axis(",
        ),
        (
            lambda: pd.DataFrame({"time": [1, 2, 3]}, index=pd.to_datetime(TEXTS)),
            "next to a column 'time'; frame.",
        ),
        (pl.DataFrame(), "expected a data frame with rows, got one without any"),
        (lambda: pd.DataFrame({"a": []}), "expected a data frame with rows, got one without any"),
        (pl.LazyFrame({"a": [1]}), "a LazyFrame; .collect() makes a DataFrame of it"),
        (pl.Series("a", [1]), "a Series; .to_frame() makes a data frame of it"),
        (lambda: pd.Series([1.0], name="a"), "Series; .to_frame() makes a data frame of it"),
        ({"a": [1]}, "an object of type dict; polars.DataFrame(...) makes a data frame of it"),
        (np.zeros((3, 2)), "an object of type ndarray; polars.DataFrame(...) makes a data frame of it"),
        (None, "an Arrow table, got an object of type NoneType"),
        ("a,b\n1,2\n", "got text of 2 lines; a file holds a table, or polars.read_csv reads it"),
        ("", "got an empty text"),
    ],
)
def test_what_is_no_table_says_so(source, message):
    source = source() if callable(source) else source  # pandas is imported here, and not while tests are collected
    with pytest.raises(DataError) as error:
        table_of(source, TARGET)
    assert message in str(error.value)


def test_a_source_is_not_changed():
    frame = pl.DataFrame({"day": DAYS, "load": noise(20)})
    columns = of_pandas(frame).set_index("day")
    before = columns.copy(deep=True)
    for source in (frame, columns):
        table_of(source, TARGET).series[0].values[:] = 0
    pd.testing.assert_frame_equal(columns, before)
    assert frame["load"].to_list() == noise(20)


def of_column(name, dtype, missing, *content) -> bytes:
    return json.dumps([name, dtype]).encode() + b"\n" + np.packbits(missing).tobytes() + b"".join(content)


def test_the_digest_of_a_frame():
    """Written out again from names, types and values."""
    frame = pl.DataFrame(
        {
            "t": pl.Series([datetime(1970, 1, 1), None, datetime(1970, 1, 2)], dtype=pl.Datetime("us", "UTC")),
            "load": [1.5, math.nan, None],
            "site": ["ä", None, "bc"],
            "on": [True, False, None],
        }
    )
    nan = struct.unpack("<Q", struct.pack("<d", np.nan))[0]
    expected = b"table 3 4\n"
    expected += of_column("t", "Datetime us UTC", [0, 1, 0], struct.pack("<qqq", 0, 0, 86_400_000_000))
    expected += of_column("load", "Float64", [0, 0, 1], struct.pack("<dQd", 1.5, nan, 0))
    expected += of_column("site", "String", [0, 1, 0], struct.pack("<QQQ", 2, 0, 2), "äbc".encode())
    expected += of_column("on", "Boolean", [0, 0, 1], bytes([1, 0, 0]))
    assert digest(frame) == hashlib.sha256(expected).hexdigest()


def test_the_digest_covers_content_and_nothing_else():
    frame = pl.DataFrame({"day": DAYS, "load": noise(20), "site": ["a", "b"] * 10})
    own = digest(frame)
    pieces = pl.concat([frame[:7], frame[7:]], rechunk=False)
    texts = frame.with_columns(pl.col("site").cast(pl.Categorical))
    for same in (frame.clone(), pieces, texts, ArrowTable(frame), frame_of(frame), of_pandas(frame)):
        assert digest(same) == own
    assert digest(of_pandas(frame).set_index("day")) == own
    different = [
        frame.rename({"load": "lead"}),
        frame.select("load", "day", "site"),
        frame[:-1],
        frame.reverse(),
        frame.with_columns(pl.col("load").cast(pl.Float32)),
        frame.with_columns(pl.Series("load", [*noise(19), None])),
        frame.with_columns(pl.col("load") * (1 + 1e-15)),
        frame.with_columns(pl.col("day").dt.replace_time_zone("UTC")),
        frame.with_columns(pl.Series("site", ["ab", ""] * 10)),
    ]
    assert len({own, *map(digest, different)}) == len(different) + 1


def test_the_digest_of_nested_columns():
    cells = {
        "list": [[1, 2], [], None, [None]],
        "struct": [{"x": 1, "y": "a"}, {"x": None, "y": "b"}, None, {"x": 2, "y": None}],
        "array": pl.Series([[1.0, 2.0]] * 4, dtype=pl.Array(pl.Float64, 2)),
        "bytes": [b"a", None, b"", b"bc"],
        "nothing": [None] * 4,
        "price": pl.Series(["1.50", "2.25", None, "-1"]).cast(pl.Decimal(10, 2)),
    }
    frame = pl.DataFrame(cells)
    assert digest(frame) == digest(pl.concat([frame[:1], frame[1:]], rechunk=False))
    others = [
        [[1], [2], None, [None]],
        [[1, 2], None, [], [None]],
        [[1, 2], [], None, []],
        [[1, 2], [], None, [0]],
    ]
    changed = [frame.with_columns(pl.Series("list", other, dtype=pl.List(pl.Int64))) for other in others]
    changed.append(frame.with_columns(pl.Series("bytes", [b"ab", None, b"", b"c"])))
    assert len({digest(frame), *map(digest, changed)}) == 6


def test_the_digest_of_files_and_texts(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("ä\r\nb".encode() * 400_000)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest(path) == digest(str(path)) == digest(Text(read_text(path))) == expected
    with pytest.raises(DataError, match=r"none\.csv: the file does not exist"):
        digest(tmp_path / "none.csv")


def test_a_text_as_a_source(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("ä\r\nb".encode())
    assert text_of(path) == text_of(str(path)) == text_of(Text("ä\r\nb")) == "ä\r\nb"
    for source, message in (
        (
            "a\nb",
            r"expected the path of a text, or Text\(...\), got text of 2 lines; Text\(...\) makes a source of",
        ),
        (Text(""), "expected a text, got an empty one"),
        (Text("a\ud800"), "expected text that UTF-8 can write, got half of a surrogate pair at character 1"),
    ):
        with pytest.raises(DataError, match=message):
            text_of(source)


HALF_HOUR = "the time zone '+05:30'; cast to UTC, they are read on that clock with the time zone +05:30"


class AtHalfAnHour:
    """An Arrow table whose time zone polars refuses, in its words, without pyarrow, which makes such tables."""

    column_names = ("time", "load")

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        raise pl.exceptions.ComputeError("unable to parse time zone: '+05:30'. Please check the Time Zone ...")


def test_an_offset_that_polars_cannot_hold_is_named():
    with pytest.raises(DataError, match=re.escape(HALF_HOUR)):
        frame_of(AtHalfAnHour())


def test_an_offset_of_pyarrow_that_polars_cannot_hold_is_named():
    pyarrow = pytest.importorskip("pyarrow")
    times = pyarrow.array([0, 1], pyarrow.timestamp("us", "+05:30"))
    with pytest.raises(DataError, match=re.escape(HALF_HOUR)):
        frame_of(pyarrow.table({"time": times, "load": [1.0, 2.0]}))
