"""`Scorer` gives the numbers of `gatewright forecast`, whatever the model, the library and the pieces."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import numpy as np
import polars as pl
import pytest

import gatewright
from gatewright.data.table import table_of
from gatewright.errors import DataError, GatewrightError, GatewrightWarning, StateError
from gatewright.tasks.forecast.dataset import data_options, roles
from gatewright.tasks.forecast.fitted_table import forecastable
from gatewright.tasks.forecast.predict import forecast
from tests.scoring.models import next_rows, saved

#: Options of a model; they are those that a stream, a window and a head compute by.
MODELS = {
    "changes": {"zone": "Z"},
    "window": {"scale": "window", "transform": ("asinh", "none")},
    "transforms": {"transform": ("log1p", "boxcox"), "reads": "both", "time_zone": "Europe/Berlin", "zone": "Z"},
    "normal": {"head": "normal", "scale": "window", "min": ("0", "none")},
    "mixture": {"head": "mixture", "known": ()},
    "counts": {"head": "negative-binomial", "season": ("none",), "fill": "forward", "gaps": True},
    "inputs": {"reads": "nothing", "season": ("none",), "fill": "mean", "gaps": True, "holidays": ("DE-BY",)},
}


@pytest.fixture(scope="module", params=MODELS)
def scored(request, tmp_path_factory):
    return saved(tmp_path_factory.mktemp(request.param), **MODELS[request.param])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("plain"))


def quiet(call, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GatewrightWarning)
        return call(*arguments, **options)


def by_torch(model, frame):
    """The forecast of the whole table by the torch modules."""
    encoder = model.spec.encoder
    options = data_options(model.table, model.spec)
    table = table_of(frame, roles(options, fixed=True), options.fill or "", encoder.step)
    return forecast(model, forecastable(model, table)[0], None, options.fill or "")


def test_the_forecasts_are_those_of_the_torch_modules(scored):
    model, path, frame = scored
    expected, answer = by_torch(model, frame), quiet(gatewright.Scorer(path).score, frame)
    assert answer.columns == expected.columns
    assert answer["site"].equals(expected["site"])
    numbers = [name for name in answer.columns if "_q" in name]
    np.testing.assert_allclose(answer.select(numbers), expected.select(numbers), rtol=1e-6)


def test_rows_in_several_calls_have_the_bits_of_one_call(scored):
    _, path, frame = scored
    scorer = gatewright.Scorer(path)
    whole = quiet(scorer.advance, frame)
    states, read = None, {}
    for end in (5, 40, 46, 1000):
        part = next_rows(frame, read, end)
        if end == 5:  # fewer rows than the context: they are read
            with pytest.raises(DataError, match="at least 8 rows"):
                quiet(scorer.advance, part)
            read.clear()
            continue
        forecasts, states = quiet(scorer.advance, part, states)
    assert forecasts.equals(whole.forecasts)
    assert states.sort("site").equals(whole.states.sort("site"))


def test_the_context_alone_has_the_forecast_of_a_snapshot_that_begins_with_it(scored):
    model, path, frame = scored
    observed = pl.any_horizontal(pl.col("load", "flow").is_not_null())
    place = pl.int_range(pl.len())
    begins = place > (place.filter(observed).max() - model.spec.encoder.context)
    context = frame.filter(begins.over("site"))
    scorer = gatewright.Scorer(path)
    assert quiet(scorer.advance, context).forecasts.equals(quiet(scorer.score, context))


def test_every_library_and_any_pieces_give_the_same(plain):
    _, path, frame = plain
    scorer = pickle.loads(pickle.dumps(gatewright.Scorer(path.read_bytes(), threads=2)))
    expected = quiet(gatewright.Scorer(path).score, frame)
    assert quiet(scorer.score, frame).equals(expected)
    table = frame.to_arrow()
    assert pl.DataFrame(quiet(scorer.score, table)).equals(expected)
    pandas = quiet(scorer.score, frame.to_pandas())
    assert list(pandas.columns) == expected.columns
    np.testing.assert_array_equal(pandas["load_q0.5"], expected["load_q0.5"])
    batches = [table.schema.empty_table(), *table.to_batches(7), frame.clear().to_pandas()]
    for rows in (1, 100, 10_000):
        pieces = list(quiet(lambda rows=rows: list(scorer.score_batches(batches, rows))))
        assert pl.concat(map(pl.DataFrame, pieces)).equals(expected)
    forecasts, states = quiet(scorer.advance, table)
    assert type(forecasts) is type(states) is type(table)
    read: dict[str, int] = {}
    first = quiet(scorer.advance, next_rows(frame, read, 40).to_arrow())
    second = quiet(scorer.advance, next_rows(frame, read, 1000).to_arrow(), first.states)
    assert second.forecasts.equals(forecasts)


def test_fewer_steps_and_the_bytes_of_a_pickle(plain):
    _, path, frame = plain
    scorer = gatewright.Scorer(path, horizon=2)
    assert quiet(scorer.score, frame).height == 2 * 3
    assert path.read_bytes() in pickle.dumps(scorer)
    assert quiet(pickle.loads(pickle.dumps(scorer)).score, frame).height == 2 * 3


def test_no_torch_is_loaded(plain):
    _, path, frame = plain
    frame.write_parquet(path.with_name("table.parquet"))
    code = (
        "import sys, gatewright\n"
        f"scorer = gatewright.Scorer({str(path)!r})\n"
        f"print(scorer.advance({str(path.with_name('table.parquet'))!r}).forecasts.height, 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["9", "False"]


def test_rows_have_to_follow_upon_the_snapshot(plain):
    _, path, frame = plain
    scorer, read = gatewright.Scorer(path), {}
    states = quiet(scorer.advance, next_rows(frame, read, 40)).states
    later = next_rows(frame, read, 1000)
    south = pl.col("site") == "south"
    with pytest.raises(DataError, match=r"series 'south'.* the row after its snapshot, got .*a gap"):
        quiet(scorer.advance, later.filter(~south | (pl.int_range(pl.len()).over("site") > 0)), states)
    with pytest.raises(DataError, match=r"series 'north'.*the row after its snapshot, got .*rows that were read"):
        quiet(scorer.advance, frame, states)
    other = pl.when(south).then(pl.col("height") + 1).otherwise(pl.col("height")).alias("height")
    with pytest.raises(DataError, match=r"static column 'height': expected one value in series 'south'"):
        quiet(scorer.advance, later.with_columns(other), states)
    # A series without new rows keeps its snapshot, and a new one begins.
    some = quiet(scorer.advance, later.filter(~south), states).states
    kept = [frame.filter(south)["gatewright_state"][0] for frame in (some, states)]
    assert kept[0] == kept[1]
    began = quiet(scorer.advance, later, states.filter(~south))
    assert sorted(began.states["site"]) == ["north", "south", "west"]


def test_states_of_another_model_or_damaged_ones_are_refused(plain, tmp_path):
    _, path, frame = plain
    scorer, read = gatewright.Scorer(path), {}
    states = quiet(scorer.advance, next_rows(frame, read, 40)).states
    later = next_rows(frame, read, 1000)
    _, other, _ = saved(tmp_path, reads="level")
    with pytest.raises(StateError, match="states, series 'north': expected a state of the model"):
        quiet(gatewright.Scorer(other).advance, later, states)
    content = pl.col("gatewright_state")
    for wrong, match in (
        (states.with_columns(content.bin.slice(1)), "expected a state that Gatewright wrote"),
        (states.with_columns(content.bin.head(-1) + b"x"), "expected a whole snapshot"),
        (pl.concat([states, states]), "expected a row for each series, got several of series"),
        (states.drop("gatewright_inputs"), "expected the columns"),
        (states.with_columns(pl.lit("x").alias("gatewright_state")), "column gatewright_state: expected Binary"),
    ):
        with pytest.raises(StateError, match=match):
            quiet(scorer.advance, later, wrong)


def test_refused_arguments_and_tables(plain, tmp_path):
    _, path, frame = plain
    scorer = gatewright.Scorer(path)
    for call, match in (
        (lambda: gatewright.Scorer(3), "model: expected the directory of a run"),
        (lambda: gatewright.Scorer(tmp_path / "none"), "which does not exist"),
        (lambda: gatewright.Scorer(path, horizon=9), "horizon: expected 1 to 3 steps"),
        (lambda: gatewright.Scorer(path, fill="zero"), "fill: expected forward"),
        (lambda: gatewright.Scorer(path, threads=0), "threads: expected a whole number"),
        (lambda: scorer.score(np.zeros((9, 3))), "table: expected a polars or pandas DataFrame"),
        (lambda: scorer.score(frame.drop("wind")), "expected the column 'wind', an input of the model"),
        (lambda: scorer.score(frame.drop("site")), "expected the column 'site', the id column in training"),
        (lambda: scorer.score(frame.group_by("site").head(7)), "at least 8 rows up to the last observed target"),
        (lambda: scorer.score(frame.with_columns(wind=pl.lit(1e90))), r"column 'wind', row .*within 1e\+20"),
        (lambda: list(scorer.score_batches([frame, frame])), "series 'north': expected all of its rows together"),
    ):
        with pytest.raises(GatewrightError, match=match):
            quiet(call)


def test_series_that_are_left_out_are_named(plain):
    _, path, frame = plain
    short = pl.concat([frame.filter(pl.col("site") != "west"), frame.filter(pl.col("site") == "west").head(5)])
    with pytest.warns(GatewrightWarning, match="fewer than 8 rows .*: west"):
        answer = gatewright.Scorer(path).score(short)
    assert answer["site"].unique().sort().to_list() == ["north", "south"]
