"""The same moments in many writings: every reader puts them on the clock that the model file names.

Python's `datetime` and `zoneinfo` judge what the clock shows and what its phases are.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
import torch

import gatewright
from gatewright import Model, Stream
from gatewright.data import frequency
from gatewright.data.preprocessing import encode
from gatewright.data.split import split
from gatewright.data.table import Roles, read_table
from gatewright.errors import DataError, GatewrightError, SpecError
from gatewright.evaluation.report import forecast_run
from gatewright.exchange.c import to_c
from gatewright.files import model_file
from gatewright.serve.client import Client
from gatewright.spec import ModelSpec, QuantileHead, Scaler, SeriesEncoder, StackSpec
from gatewright.tasks.forecast.csv_output import to_csv
from gatewright.tasks.forecast.forecast_frame import written as stamps_written
from gatewright.tasks.forecast.predict import forecast
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train.launch import train
from tests.support.local_server import local
from tests.support.training_runs import quiet

BERLIN, UTC = ZoneInfo("Europe/Berlin"), timezone.utc
CALENDAR = ("hour_of_day", "day_of_week", "day_of_year")
ROWS = 40
#: Hours about the night in which Berlin's clocks show the third hour twice.
MOMENTS = [datetime(2024, 10, 26, 12, tzinfo=UTC) + timedelta(hours=hour) for hour in range(ROWS)]
Y = np.random.default_rng(0).normal(size=ROWS).round(3)


def on(zone: Any, form: str) -> list[str]:
    return [moment.astimezone(zone).strftime(form) for moment in MOMENTS]


def seconds(moment: datetime) -> int:
    return round(moment.timestamp())


#: The moments as columns of a table.
TABLES: dict[str, Any] = {
    "offsets": [moment.astimezone(BERLIN).isoformat() for moment in MOMENTS],
    "another offset": [moment.astimezone(timezone(timedelta(hours=5.5))).isoformat() for moment in MOMENTS],
    "Z": on(UTC, "%Y-%m-%dT%H:%M:%SZ"),
    "no zone": on(BERLIN, "%Y-%m-%d %H:%M"),
    "compact": on(UTC, "%Y%m%dT%H%M%SZ"),
    "mail": on(UTC, "%a, %d %b %Y %H:%M:%S GMT"),
    "AM and PM": on(BERLIN, "%m/%d/%Y %I:%M %p %z"),
    "abbreviations": on(BERLIN, "%d.%m.%Y %H:%M %Z"),
    "seconds": [str(seconds(moment)) for moment in MOMENTS],
    "milliseconds": [f"{seconds(moment)}000" for moment in MOMENTS],
    "new to old": on(BERLIN, "%Y-%m-%d %H:%M")[::-1],
    "Parquet, UTC": pl.Series(MOMENTS).dt.cast_time_unit("ms"),
    "Parquet, Berlin": pl.Series(MOMENTS).dt.convert_time_zone("Europe/Berlin"),
    "Parquet, New York": pl.Series(MOMENTS).dt.convert_time_zone("America/New_York"),
    "Parquet, no zone": pl.Series([moment.astimezone(BERLIN).replace(tzinfo=None) for moment in MOMENTS]),
    "Parquet, numbers": pl.Series([seconds(moment) for moment in MOMENTS]),
}
#: The moments as a caller of a stream has them.
CALLS: dict[str, Any] = {
    "datetime, UTC": MOMENTS,
    "datetime, Berlin": [moment.astimezone(BERLIN) for moment in MOMENTS],
    "datetime, Tokyo": [moment.astimezone(ZoneInfo("Asia/Tokyo")) for moment in MOMENTS],
    "datetime, no zone": [moment.astimezone(BERLIN).replace(tzinfo=None) for moment in MOMENTS],
    "polars, New York": pl.Series(MOMENTS).dt.convert_time_zone("America/New_York"),
    "polars, no zone": TABLES["Parquet, no zone"],
    "numpy": np.array([moment.astimezone(BERLIN).replace(tzinfo=None) for moment in MOMENTS], "datetime64[ns]"),
    "numpy, one by one": [
        np.datetime64(moment.astimezone(BERLIN).replace(tzinfo=None), "s") for moment in MOMENTS
    ],
    **{
        name: TABLES[name]
        for name in ("offsets", "another offset", "Z", "no zone", "compact", "mail", "abbreviations")
    },
}


def phases(local: datetime, parts: tuple[str, ...] = CALENDAR) -> list[float]:
    """Sine and cosine of the phases of what a clock shows, as Python's calendar has it."""
    local = local.replace(tzinfo=None)
    day = (local - datetime(local.year, local.month, local.day)) / timedelta(days=1)
    year = datetime(local.year, 1, 1)
    found = {
        "hour_of_day": day,
        "day_of_week": (local.weekday() + day) / 7,
        "day_of_year": (local - year) / (datetime(local.year + 1, 1, 1) - year),
    }
    return [wave(2 * math.pi * found[part]) for part in parts for wave in (math.sin, math.cos)]


EXPECTED = np.array([phases(moment.astimezone(BERLIN)) for moment in MOMENTS])


def model_of(zone: str, step: str = "1h", calendar: tuple[str, ...] = CALENDAR) -> Model:
    torch.manual_seed(0)
    encoder = SeriesEncoder(("y",), calendar=calendar, step=step, context=ROWS, time_zone=zone)
    model = Model(
        ModelSpec(encoder, StackSpec(7), QuantileHead(horizon=2)), scaler=Scaler(("y",), (0.5,), (2.0,), (1.5,))
    )
    torch.nn.init.normal_(model.head.weight)
    return model.eval()


@pytest.fixture(scope="module")
def berlin() -> Model:
    return model_of("Europe/Berlin")


@pytest.fixture(scope="module")
def answer(berlin: Model) -> np.ndarray:
    """What the model says after the last row, with the calendar worked out by Python."""
    change = np.concatenate([[0.0], np.diff(Y)]) / 1.5
    inputs = np.concatenate([change[:, None], np.ones((ROWS, 1)), EXPECTED], axis=1)
    with torch.no_grad():
        y = (
            berlin(torch.from_numpy(inputs[:, None].astype(np.float32)))
            .y[-1, 0]
            .sort(dim=-1)
            .values.double()
            .numpy()
        )
    answer: np.ndarray = y[:, 0] * 2.0 + Y[-1]
    return answer


def written(folder: Path, column: Any) -> Path:
    if isinstance(column, pl.Series):
        path = folder / "table.parquet"
        pl.DataFrame({"time": column, "y": Y}).write_parquet(path)
        return path
    path = folder / "table.csv"
    back = column[0] > column[-1] and column is TABLES["new to old"]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("time", "y"), *zip(column, Y[::-1] if back else Y, strict=True)])
    return path


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_on_the_clock_of_the_model(name: str, berlin: Model, answer: Any, tmp_path: Path) -> None:
    path = written(tmp_path, TABLES[name])
    table = read_table(path, Roles(("y",), time_zone="Europe/Berlin"))
    assert (table.step, table.clock.zone, table.clock.absolute) == ("1h", "Europe/Berlin", True)
    assert isinstance(berlin.spec.encoder, SeriesEncoder)
    assert berlin.scaler is not None
    [series] = table.series
    np.testing.assert_allclose(
        encode(series, berlin.spec.encoder, berlin.scaler).inputs[:, 2:], EXPECTED, atol=1e-6
    )
    frame = forecast(berlin, table)
    np.testing.assert_allclose(frame.select(pl.col("^y_.*$")).to_numpy(), answer, rtol=1e-5, atol=1e-5)
    assert frame["time"].to_list() == [MOMENTS[-1] + timedelta(hours=hour) for hour in (1, 2)]
    assert [line.split(",")[0] for line in to_csv(frame, table).splitlines()] == [
        "time",
        "2024-10-28 05:00:00+01:00",
        "2024-10-28 06:00:00+01:00",
    ]
    recording = gatewright.look(berlin, path)
    np.testing.assert_allclose(recording.inputs[:, 0, 2:], EXPECTED, atol=1e-6)
    local = [moment.astimezone(BERLIN).replace(tzinfo=None) for moment in MOMENTS]
    assert recording.times is not None
    assert recording.times[:, 0].astype("datetime64[us]").tolist() == local


@pytest.mark.parametrize("name", CALLS)
def test_a_stream_reads_the_same_moments(name: str, berlin: Model, answer: Any) -> None:
    stream, times = berlin.stream(), CALLS[name]
    assert stream.time_zone == "Europe/Berlin"
    y = stream.run(Y[:, None], times=times)
    np.testing.assert_allclose(y[-1][:, 0], answer, rtol=1e-5, atol=1e-5)
    stepwise = berlin.stream()
    for row, (value, time) in enumerate(zip(Y, times, strict=True)):
        assert np.array_equal(stepwise.step([value], time=time), y[row])


def test_a_server_and_its_client_read_the_same_moments(berlin: Model, answer: Any, tmp_path: Path) -> None:
    expected = berlin.stream().run(Y[:, None], times=MOMENTS)
    with local(berlin.stream(sessions=2), tmp_path) as server:
        address = f"http://127.0.0.1:{server.port}"
        assert server.http.get("/v1/model").json()["time_zone"] == "Europe/Berlin"
        with Client(address) as client:
            assert client.model()["time_zone"] == "Europe/Berlin"
            for name, times in CALLS.items():
                assert np.array_equal(client.create().run(Y[:, None], times=times), expected), name
        for name in ("offsets", "Z", "no zone", "compact", "mail", "abbreviations"):
            body = {"x": Y[:, None].tolist(), "times": TABLES[name], "outputs": "last"}
            found = server.http.post(f"/v1/sessions/{server.create()}/advance", json=body).json()
            assert np.array_equal(np.array(found["y"])[0], expected[-1]), name


def test_a_c_program_learns_of_the_clock(berlin: Model, tmp_path: Path) -> None:
    berlin.save(tmp_path / "model.safetensors")
    to_c(model_file.read(tmp_path / "model.safetensors"), tmp_path)
    header = (tmp_path / "model.h").read_text()
    [zone] = re.findall(r'#define MODEL_TIME_ZONE "(.*)"', header)
    assert zone == "Europe/Berlin"
    source = (tmp_path / "model.c").read_text()
    names = re.findall(r'"((?:sine|cosine) of \w+)"', source)
    assert names == [f"{wave} of {part}" for part in CALENDAR for wave in ("sine", "cosine")]
    # A caller that works out the phases on that clock gives the numbers that a stream gives itself.
    stream = berlin.stream()
    for moment in MOMENTS:
        read = stream._signature.with_calendar(np.zeros((1, 1, 1)), moment, (), "time")[0, 0, 1:]
        np.testing.assert_allclose(read, phases(moment.astimezone(ZoneInfo(zone))), atol=1e-9)


#: Daily values that hang on the weekday alone, as midnights twelve hours east of Greenwich.
WEEKDAYS = [datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=12))) + timedelta(days=day) for day in range(500)]


@pytest.mark.slow
def test_midnights_elsewhere_are_the_days_there(tmp_path: Path) -> None:
    source, run = tmp_path / "week.csv", tmp_path / "run"
    rows = [f"{day.isoformat()},{10 * day.weekday()}" for day in WEEKDAYS]
    source.write_text("\n".join(["t,y", *rows]) + "\n")
    options = Options(
        DataOptions(reads="nothing", calendar=("day_of_week",), context=8),
        ModelOptions(hidden=16),
        TrainingOptions(steps=150, lr=0.02, validate_every=50, device="cpu"),
    )
    made, _ = train(source, options, run=run, console=quiet())
    assert made.options().data.time_zone == "+12:00"
    text, _ = forecast_run(run, source, None, None)
    [line] = csv.DictReader(io.StringIO(text))
    assert line["t"] == "2025-05-15 00:00:00+12:00"
    assert abs(float(line["y_q0.5"]) - 30) < 2  # a Thursday
    for writing in (str, datetime.isoformat, lambda day: day.astimezone(UTC), lambda day: day.replace(tzinfo=None),
                    lambda day: np.datetime64(day.replace(tzinfo=None)), datetime.date,
                    lambda day: day.strftime("%Y%m%dT%H%M%S%z")):  # fmt: skip
        stream = Stream.load(run)
        y = [stream.step([10.0 * day.weekday()], time=writing(day)) for day in WEEKDAYS[-8:]]
        np.testing.assert_allclose(y[-1].ravel(), [float(line[name]) for name in list(line)[1:]], rtol=1e-5)


def test_dates_of_a_place_need_no_name_for_it(tmp_path: Path) -> None:
    days = [datetime(2024, 10, 20 + day, tzinfo=BERLIN) for day in range(12)]
    path = tmp_path / "days.csv"
    path.write_text("time,y\n" + "".join(f"{day.isoformat()},{day.day}\n" for day in days))
    table = read_table(path, Roles(("y",)))
    assert (table.step, table.clock.zone, table.notes) == ("1d", "local", ())
    model = model_of("local", "1d", ("day_of_week",))
    stream = model.stream()
    expected = stream.step([1.0], time=date(2024, 10, 20))
    for time in (days[0], days[0].isoformat(), "2024-10-20", "2024-10-20T00:00Z", np.datetime64("2024-10-20")):
        assert np.array_equal(model.stream().step([1.0], time=time), expected)
    with pytest.raises(GatewrightError, match=r"^time: expected a date, or a midnight of its own zone, as in"):
        stream.step([1.0], time="2024-10-19T22:00Z")
    # Each is the next day of the dates: no offset is known of those to come.
    model = model_of("local", "1d", ("day_of_week",))
    encoder = model.spec.encoder
    assert isinstance(encoder, SeriesEncoder)
    [series] = table.series
    expected = [phases(day, ("day_of_week",)) for day in days]
    np.testing.assert_allclose(frequency.calendar(series.times, encoder.calendar), expected, atol=1e-9)
    assert stamps_written(pl.Series(frequency.after(series.times[-1], "1d", np.array([1, 2]))), table) == [
        "2024-11-01",
        "2024-11-02",
    ]


def test_columns_of_pandas_keep_their_zone(berlin: Model) -> None:
    pandas = pytest.importorskip("pandas")
    expected = berlin.stream().run(Y[:, None], times=MOMENTS)
    index = pandas.DatetimeIndex(MOMENTS)
    for times in (index, index.tz_convert("Asia/Kolkata"), pandas.Series(index), list(index)):
        assert np.array_equal(berlin.stream().run(Y[:, None], times=times), expected)
    for missing in (pandas.NaT, np.datetime64("NaT"), None):
        with pytest.raises(GatewrightError, match=r"^time: expected a time such as"):
            berlin.stream().step([1.0], time=missing)


def test_the_time_at_fault_is_shown(berlin: Model) -> None:
    for bad in ("2024-03-31T02:30", "soon", "1711845000", "31/03/2024"):
        with pytest.raises(GatewrightError, match=rf"^times: expected .*, got '{bad}'$"):
            berlin.stream().run(Y[:3, None], times=["2024-03-31T01:30", bad, MOMENTS[0]])


def test_times_without_a_zone_take_none(berlin: Model, tmp_path: Path) -> None:
    model = model_of("")
    stream = model.stream()
    y = stream.step([1.0], time="2024-07-01T12:00")
    for time in ("2024-07-01T12:00Z", MOMENTS[0], "2024-07-01T12:00+02:00"):
        with pytest.raises(GatewrightError, match=r"^time: expected a time without a zone, as in the table that"):
            stream.step([1.0], time=time)
    assert stream.state().steps == 1
    assert np.array_equal(model.stream().step([1.0], time=datetime(2024, 7, 1, 12)), y)
    with pytest.raises(DataError, match=r"^time column 'time', row 1: expected a timestamp without a time zone"):
        gatewright.look(model, written(tmp_path, TABLES["Parquet, UTC"]))
    table = read_table(written(tmp_path, TABLES["Z"]), Roles(("y",)))
    for other in (model, berlin):
        with pytest.raises(
            DataError, match=r"^time: expected timestamps .*, as in training, got timestamps on the"
        ):
            forecast(other, table)


def test_a_clock_shows_no_time_that_it_leaves_out(berlin: Model) -> None:
    for time in ("2024-03-31T02:30", np.datetime64("2024-03-31T02:30"), datetime(2024, 3, 31, 2, 30)):
        with pytest.raises(GatewrightError, match="time: expected a time that the clock of Europe/Berlin shows"):
            berlin.stream().step([1.0], time=time)
    berlin.stream().step([1.0], time="2024-03-31T02:30+01:00")


def test_several_offsets_are_read_in_utc_and_said(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, TABLES["offsets"]), Roles(("y",)))
    assert (table.step, table.clock.zone) == ("1h", "UTC")
    [note] = table.notes
    assert note == (
        "timestamps with several offsets (+01:00, +02:00) are read in UTC; --time-zone, such as Europe/Berlin, "
        "reads them on the clock of a place"
    )
    frame = forecast(model_of("UTC"), table)
    assert "\n2024-10-28 04:00:00+00:00," in to_csv(frame, table)
    fixed = read_table(written(tmp_path, TABLES["another offset"]), Roles(("y",)))
    assert (fixed.clock.zone, fixed.notes) == ("+05:30", ())
    frame = forecast(model_of("+05:30"), fixed)
    assert "\n2024-10-28 09:30:00+05:30," in to_csv(frame, fixed)
    assert frame["time"].to_list()[0] == MOMENTS[-1] + timedelta(hours=1)


def test_forecasts_go_on_where_the_clocks_change(berlin: Model, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    last = datetime(2024, 10, 26, 23, tzinfo=UTC)
    rows = [last - timedelta(hours=hour) for hour in range(ROWS)][::-1]
    path.write_text("time,y\n" + "".join(f"{row.astimezone(BERLIN):%Y-%m-%d %H:%M},{row.hour}\n" for row in rows))
    table = read_table(path, Roles(("y",), time_zone="Europe/Berlin"))
    lines = to_csv(forecast(berlin, table), table).splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["2024-10-27 02:00:00+02:00", "2024-10-27 02:00:00+01:00"]
    # A part of the data may begin at a time of that clock.
    [series] = table.series
    assert split([series], "2024-10-26", "2024-10-26 12:00")[0].valid == rows.index(
        datetime(2024, 10, 25, 22, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("zone", "step"),
    [("Europe/Berlin", "1d"), ("Europe/Berlin", "1mo"), ("America/Sao_Paulo", "1d"), ("Europe/Berlin", "24h")],
)
def test_days_are_even_on_the_clock_and_hours_in_utc(zone: str, step: str, tmp_path: Path) -> None:
    place = ZoneInfo(zone)
    first = datetime(2018, 9, 1, tzinfo=place)  # Brazil's summer began on 4 November, at midnight
    stamps = {
        "1d": [datetime(2018, 9, 1) + timedelta(days=day) for day in range(100)],
        "1mo": [datetime(2018 + (8 + month) // 12, (8 + month) % 12 + 1, 1) for month in range(20)],
        "24h": [(first.astimezone(UTC) + timedelta(days=day)).isoformat() for day in range(100)],
    }[step]
    path = tmp_path / "table.csv"
    path.write_text("time,y\n" + "".join(f"{stamp},{row}\n" for row, stamp in enumerate(stamps)))
    table = read_table(path, Roles(("y",), time_zone=zone))
    assert (table.step, table.clock.absolute) == (step, step == "24h")
    [series] = table.series
    assert series.times is not None
    if step != "24h":
        assert series.clock.local(series.times).tolist() == stamps
    else:
        local = [datetime.fromisoformat(stamp).astimezone(place).replace(tzinfo=None) for stamp in stamps]
        assert series.clock.local(series.times).tolist() == local


def test_a_zone_is_named_by_the_spec_too() -> None:
    for zone in ("Europe/../x", "/etc/passwd", "+2", "Europe/Berlin ", "a" * 65, "+00:00:0"):
        with pytest.raises(SpecError, match="time_zone"):
            SeriesEncoder(("y",), time_zone=zone)
    assert json.loads(model_of("America/Argentina/Buenos_Aires").spec.to_json())["encoder"]["time_zone"]


def test_a_zone_that_is_none_is_named(tmp_path: Path) -> None:
    source = written(tmp_path, TABLES["Z"])
    for zone, hint in (("Europe/Berln", "; did you mean 'Europe/Berlin'?"), ("+25", "")):
        with pytest.raises(
            GatewrightError, match=r"^--time-zone: expected a time zone such as Europe/Berlin"
        ) as error:
            train(source, Options(DataOptions(time_zone=zone)), run=tmp_path / "run", console=quiet())
        assert str(error.value).endswith(f"got {zone!r}{hint}")
    assert not (tmp_path / "run").exists()
