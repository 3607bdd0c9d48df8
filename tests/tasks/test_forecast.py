"""Forecasts of what follows a table: the model's own answers, where and when they belong."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from gatewright.data.table import read_table
from gatewright.errors import DataError, GatewrightError, SpecError
from gatewright.nn.model import Model
from gatewright.spec import READS, Scaler
from gatewright.tasks.forecast import dataset as series_data
from gatewright.tasks.forecast.csv_output import to_csv
from gatewright.tasks.forecast.fitted_table import late_targets
from gatewright.tasks.forecast.predict import forecast
from gatewright.tasks.spreadsheet import with_harmless_names
from tests.support.evaluations import forecast_test_part
from tests.support.small_models import DATA, forecaster, language_model, rows_of, write_cells, write_sites

TARGETS = slice(2, 4)
ONE = replace(DATA, static=(), id="", target=("load",), known=(), past=())


def table_of(cells, path, options=DATA, header="", fill=""):
    write_cells(path, cells, header)
    return read_table(path, series_data.roles(options), fill)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return forecaster(write_sites(tmp_path_factory.mktemp("sites") / "sites.csv"))


def test_a_forecast_is_what_the_evaluation_has_for_that_origin(trained, tmp_path):
    data, model = trained
    tested = forecast_test_part(model, data)
    place = 4
    rows, cells = [int(one[place]) + 1 for one in tested.origins], []
    sites = [rows_of("north", 100, 1), rows_of("south", 107, 2)]
    for full, count in zip(sites, rows, strict=True):
        part = full[: count + 3]
        for row in part[count:]:
            row[2] = row[3] = row[4] = ""  # the future: only what is known in advance
        assert any(part[count - 1][TARGETS])
        cells += part
    answer = forecast(model, table_of(cells, tmp_path / "now.csv"))
    assert answer["site"].to_list() == ["north"] * 3 + ["south"] * 3
    for number in range(2):
        series = answer[3 * number : 3 * number + 3]
        expected = tested.forecasts["model"][number][place]
        for target, name in enumerate(DATA.target):
            for index, level in enumerate((0.1, 0.5, 0.9)):
                np.testing.assert_allclose(series[f"{name}_q{level}"], expected[:, target, index], rtol=1e-6)
        times = data.table.series[number].times[rows[number] : rows[number] + 3]
        assert series["time"].to_list() == times.tolist()


def test_a_horizon_cuts_each_series(trained, tmp_path):
    _, model = trained
    cells = rows_of("north", 100, 1) + rows_of("south", 107, 2)
    for row in (*cells[97:100], *cells[-3:]):
        row[2] = row[3] = ""
    table = table_of(cells, tmp_path / "now.csv")
    whole, cut = forecast(model, table), forecast(model, table, horizon=2)
    assert cut.equals(whole[[0, 1, 3, 4]])
    for horizon in (0, 4, -1):
        with pytest.raises(GatewrightError, match=rf"--horizon: expected 1 to 3 steps .*, got {horizon}"):
            forecast(model, table, horizon=horizon)
    with pytest.raises(GatewrightError, match="--fill: expected forward or mean, got 'foo'"):
        forecast(model, table, fill="foo")


@pytest.fixture(scope="module")
def simple(tmp_path_factory):
    cells = rows_of("x", 100, 1)
    return forecaster(write_cells(tmp_path_factory.mktemp("one") / "one.csv", cells), ONE)


def test_rows_of_missing_targets_at_the_end_change_nothing(simple, tmp_path):
    _, model = simple
    cells = rows_of("x", 60, 4)
    cells[-1][2] = "21.5"
    expected = forecast(model, table_of(cells, tmp_path / "a.csv", ONE))
    later = rows_of("x", 75, 4)
    longer = cells + [[*row[:2], "", *row[3:]] for row in later[60:]]
    assert forecast(model, table_of(longer, tmp_path / "b.csv", ONE)).equals(expected)
    assert expected["time"][0].isoformat() == "2024-03-03T17:00:00"


@pytest.mark.slow
@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("fill", ["", "forward", "mean"])
def test_a_forecast_is_the_same_however_much_history_there_is(tmp_path, reads, fill):
    """Also where targets and inputs are missing at the start of the window; a stream that begins there agrees."""
    options = replace(DATA, static=(), id="", target=("load",), reads=reads, fill=fill)
    _, model = forecaster(write_cells(tmp_path / "one.csv", rows_of("x", 100, 1)), options)
    cells = rows_of("x", 63, 4)
    for row in (51, 52, 53):  # the window is rows 52 to 59
        cells[row][2] = ""
        if fill:
            cells[row][4] = cells[row][5] = ""
    cells[59][2] = "21.5"
    for row in cells[60:]:
        row[2] = row[4] = ""
    answers = []
    for begin in (0, 30, 51, 52):
        table = table_of(cells[begin:], tmp_path / "now.csv", options, fill=fill)
        answers.append(forecast(model, table, fill=fill))
    assert all(answer.equals(answers[0]) for answer in answers)
    mean, (window,) = model.scaler.mean, table.series  # of the last table, which begins with the window
    known = np.where(np.isnan(window.values), mean, window.values)
    rows = [[window.values[t, 0], known[t, 1], *known[t + 1 : t + 4, 2]] for t in range(8)]
    y = model.stream().run(rows, times=window.times[:8] if model.spec.encoder.calendar else None)[-1, :, 0]
    np.testing.assert_allclose(answers[0][:, 1:].to_numpy(), y, rtol=1e-6)


def test_a_table_without_timestamps_counts_rows(tmp_path):
    options = replace(ONE, time="none")
    _, model = forecaster(write_cells(tmp_path / "one.csv", rows_of("x", 100, 1)), options)
    cells = rows_of("x", 40, 1)
    cells[-1][2] = "21.5"
    answer = forecast(model, table_of(cells, tmp_path / "now.csv", options))
    assert answer.columns == ["row", "load_q0.1", "load_q0.5", "load_q0.9"]
    assert answer["row"].to_list() == [41, 42, 43]
    named = replace(options, id="row")
    header = "row,time,load,flow,wind,heat,height"
    data, model = forecaster(write_cells(tmp_path / "sites.csv", rows_of("x", 100, 1), header), named)
    with pytest.raises(DataError, match="column 'row': expected a name that no other column of the forecast has"):
        forecast(model, data.table)


def test_one_target_that_lags_goes_on_from_its_last_value(trained, tmp_path):
    options = replace(DATA, static=(), id="", known=(), past=())
    path = write_cells(tmp_path / "one.csv", rows_of("x", 100, 1))
    _, model = forecaster(path, options, head=False)
    cells = rows_of("x", 60, 1)
    cells[-5][3] = "33.5"
    for row in cells[-4:]:
        row[2], row[3] = "21.5", ""
    answer = forecast(model, table_of(cells, tmp_path / "now.csv", options))
    np.testing.assert_allclose(answer["load_q0.5"], 21.5, rtol=1e-6)
    np.testing.assert_allclose(answer["flow_q0.5"], 33.5, rtol=1e-6)


STEPS = {
    "hours": (["2024-01-31 21:00", "2024-01-31 22:00"], ["2024-01-31 23:00:00", "2024-02-01 00:00:00"]),
    "days": (["2024-02-27", "2024-02-28"], ["2024-02-29", "2024-03-01"]),
    "days at six": (["2024-02-27 06:00", "2024-02-28 06:00"], ["2024-02-29 06:00:00", "2024-03-01 06:00:00"]),
    "weeks": (["2024-01-01", "2024-01-08"], ["2024-01-15", "2024-01-22"]),
    "month beginnings": (["2024-11-01", "2024-12-01"], ["2025-01-01", "2025-02-01"]),
    "month ends": (["2023-12-31", "2024-01-31"], ["2024-02-29", "2024-03-31"]),
    "half seconds": (
        ["2024-01-01 00:00:00.000", "2024-01-01 00:00:00.500"],
        ["2024-01-01 00:00:01.000000", "2024-01-01 00:00:01.500000"],
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_timestamps_go_on_and_are_written_plainly(simple, tmp_path, step):
    before, after = STEPS[step]
    cells = [["x", time, value, "", "", "", ""] for time, value in zip(before, ("20.0", "21.5"), strict=True)]
    table = table_of(cells, tmp_path / "now.csv", ONE)
    _, model = simple
    encoder = replace(model.spec.encoder, step=table.step, context=2, calendar=())
    head = replace(model.spec.head, horizon=2)
    other = Model(replace(model.spec, encoder=encoder, head=head), scaler=model.scaler).eval()
    text = to_csv(forecast(other, table), table)
    lines = list(csv.reader(io.StringIO(text)))
    assert lines[0] == ["time", "load_q0.1", "load_q0.5", "load_q0.9"]
    assert [line[0] for line in lines[1:]] == after
    assert [float(line[2]) for line in lines[1:]] == pytest.approx([21.5, 21.5])


def test_names_are_quoted_in_csv(tmp_path):
    odd = 'load, "net"'
    header = 'site,time,"load, ""net""",flow,wind,heat,height'
    options = replace(DATA, target=(odd, "flow"), past=(), known=(), static=())
    names = ['"a, ""b"""', "line"]
    cells = [[name, *row[1:]] for seed, name in enumerate(names) for row in rows_of("", 100, seed)]
    path = write_cells(tmp_path / "sites.csv", cells, header)
    data, model = forecaster(path, options)
    text = to_csv(forecast(model, data.table), data.table)
    lines = list(csv.reader(io.StringIO(text)))
    assert lines[0][2:4] == [f"{odd}_q0.1", f"{odd}_q0.5"]
    assert {line[0] for line in lines[1:]} == {'a, "b"', "line"}
    assert {len(line) for line in lines} == {8}


def test_close_quantiles_keep_their_columns(tmp_path):
    options = replace(ONE, quantiles=(0.1, 0.4999999, 0.5))
    data, model = forecaster(write_cells(tmp_path / "one.csv", rows_of("x", 100, 1)), options)
    answer = forecast(model, data.table)
    assert answer.columns[1:] == ["load_q0.1", "load_q0.4999999", "load_q0.5"]
    assert (answer["load_q0.1"] <= answer["load_q0.5"]).all()


def test_known_inputs_are_needed_for_the_whole_horizon(tmp_path):
    options = replace(DATA, static=(), id="", target=("load",), past=())
    _, model = forecaster(write_cells(tmp_path / "one.csv", rows_of("x", 100, 1)), options)
    cells = rows_of("x", 63, 1)
    cells[59][2] = "21.5"
    for row in cells[60:]:
        row[2] = ""
    forecast(model, table_of(cells, tmp_path / "now.csv", options))
    few = table_of(cells[:62], tmp_path / "few.csv", options)
    expected = (
        "known input 'heat': expected a value in each of the 3 rows after the last observed target of the table, "
        "got none at 2024-03-03 19:00"
    )
    for fill in ("", "forward"):
        with pytest.raises(DataError) as caught:
            forecast(model, few, horizon=1, fill=fill)
        assert str(caught.value) == expected
    # A cell that is missing in a row that is there can be filled in.
    cells[62][5] = ""
    holed = table_of(cells, tmp_path / "holed.csv", options, fill="forward")
    with pytest.raises(DataError, match="got none at 2024-03-03 19:00"):
        forecast(model, holed)
    cells[62][5] = cells[61][5]
    filled = table_of(cells, tmp_path / "filled.csv", options)
    assert forecast(model, holed, fill="forward").equals(forecast(model, filled))


def test_what_cannot_be_forecast(simple, trained, tmp_path):
    _, model = simple
    cells = rows_of("x", 60, 1)
    few = cells[:7]
    few[-1][2] = "20.5"
    with pytest.raises(DataError, match=r"the table: expected at least 8 rows .*\(the model's context\), got 7"):
        forecast(model, table_of(few, tmp_path / "few.csv", ONE))
    half = table_of([[*row[:1], row[1].replace(":00:00", ":00"), *row[2:]] for row in cells[::2]],
                    tmp_path / "half.csv", ONE)  # fmt: skip
    with pytest.raises(DataError, match="time: expected one row every 1h, as in training, got one every 2h"):
        forecast(model, half)
    for fill in ("", "forward"):  # every other row is no gap
        assert read_table(tmp_path / "half.csv", series_data.roles(ONE), fill, "1h").step == "2h"
    other = table_of(cells, tmp_path / "other.csv", replace(ONE, target=("flow",)))
    with pytest.raises(DataError, match="target columns: expected load, got flow"):
        forecast(model, other)
    more = table_of(cells, tmp_path / "more.csv", replace(ONE, past=("wind",)))
    with pytest.raises(DataError, match="past columns: expected none, got wind"):
        forecast(model, more)
    with pytest.raises(
        SpecError, match="model: expected a forecaster, got a model with an encoder of kind 'symbols'"
    ):
        forecast(language_model(), other)


def test_a_forecast_that_is_not_finite_is_an_error(simple, tmp_path):
    _, model = simple
    scaler = Scaler(("load",), (0.0,), (1e308,), (1e-300,))
    other = Model(model.spec, scaler=scaler).eval()
    other.load_state_dict({name: value * 30 for name, value in model.state_dict().items()})
    with pytest.raises(DataError, match="got a forecast that is not finite"), np.errstate(over="ignore"):
        forecast(other, table_of([[*row[:2], "20", *row[3:]] for row in rows_of("x", 60, 1)],
                                 tmp_path / "now.csv", ONE))  # fmt: skip


def test_the_frame_is_typed(simple):
    data, model = simple
    answer = forecast(model, data.table)
    assert answer.dtypes == [pl.Datetime("us"), *[pl.Float64] * 3]


def test_names_are_no_formulas_in_csv(tmp_path):
    header = "site,time,=load,flow,wind,heat,height"
    options = replace(DATA, target=("=load", "flow"), past=(), known=(), static=())
    names = ["=cmd|' /C calc'!A0", "@home", "-1+2", "-5", "north"]
    cells = [[name, *row[1:]] for seed, name in enumerate(names) for row in rows_of("", 100, seed)]
    data, model = forecaster(write_cells(tmp_path / "sites.csv", cells, header), options)
    frame = forecast(model, data.table)
    changed, [note] = with_harmless_names(frame)
    lines = list(csv.reader(io.StringIO(to_csv(changed, data.table))))
    assert lines[0][2:4] == ["'=load_q0.1", "'=load_q0.5"]
    assert {line[0] for line in lines[1:]} == {"'=cmd|' /C calc'!A0", "'@home", "'-1+2", "-5", "north"}
    assert "'" not in "".join(cell for line in lines[1:] for cell in line[1:])  # numbers and times stay
    below = pl.DataFrame({"site": ["=a", None], "y": [-1.5, 2.0]})
    assert with_harmless_names(below)[0].rows() == [("'=a", -1.5), (None, 2.0)]
    assert "=cmd|" in note
    assert "-1+2" in note
    assert "north" not in note
    again, notes = with_harmless_names(
        frame.filter(pl.col("site") == "north").rename(lambda name: name.strip("="))
    )
    assert notes == []
    assert again.columns[2] == "load_q0.1"


def test_a_target_that_is_missing_where_the_forecast_begins_is_told(tmp_path):
    """Its seasonal differences begin at the last row, its level at an earlier one."""
    data, model = forecaster(write_sites(tmp_path / "sites.csv"))
    one, other = data.table.series
    values = one.values.copy()
    values[-1, :2] = (np.nan, 1.0)
    late = replace(one, values=values)
    present = replace(other, values=np.nan_to_num(other.values, nan=3.0))
    table = replace(data.table, series=(late, present))
    spec = replace(model.spec, encoder=replace(model.spec.encoder, seasons=(4,)))
    [note] = late_targets(table, spec)
    assert note.startswith(
        "'load' has no value in the last row before the forecast: the seasonal part of the forecast"
    )
    assert note.endswith(": north")
    # Without a value in the whole context, the mean takes its place, with seasons and without them.
    values = values.copy()
    values[-model.spec.encoder.context :, 0] = np.nan
    unseen = replace(data.table, series=(replace(one, values=values), present))
    expected = (
        f"'load' has no value in the last {model.spec.encoder.context} rows before the forecast: the model takes "
        "the mean of the training part for it; fill it in: north"
    )
    assert late_targets(unseen, spec) == late_targets(unseen, model.spec) == [expected]
    assert late_targets(table, model.spec) == late_targets(replace(table, series=(present,)), spec) == []
