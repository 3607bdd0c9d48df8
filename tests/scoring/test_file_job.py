"""Files scored by row groups: the forecasts of the whole table, whatever the pieces; whole files or none."""

from __future__ import annotations

import polars as pl
import pyarrow.parquet as pq
import pytest

from gatewright.errors import DataError, GatewrightError
from gatewright.scoring import file_job, parquet_rows, partitions
from gatewright.scoring.file_job import Files, forecast_file
from gatewright.scoring.parquet_rows import layout_of, rows_between
from gatewright.scoring.scorer import Scorer
from tests.scoring.models import next_rows, saved
from tests.scoring.test_scorer import quiet


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def small(monkeypatch):
    """Pieces of few rows, as those of a large file."""
    monkeypatch.setattr(parquet_rows, "BATCH", 17)
    monkeypatch.setattr(file_job, "ROWS", 50)
    monkeypatch.setattr(partitions, "_ROWS", 40)


@pytest.mark.parametrize("order", ["together", "interleaved"])
@pytest.mark.parametrize("group", [10, 45, 1000])
def test_row_groups_give_the_forecasts_of_the_whole_table(plain, small, tmp_path, order, group):
    _, path, frame = plain
    scorer, table = Scorer(path), tmp_path / "table.parquet"
    rows = frame if order == "together" else frame.sort("time", maintain_order=True)
    rows.write_parquet(table, row_group_size=group)
    assert layout_of(table, scorer.ids).together == (order == "together")
    result = forecast_file(scorer, Files(table, tmp_path / "out.parquet"))
    expected = quiet(scorer.score, frame)
    answer = pl.read_parquet(tmp_path / "out.parquet")
    assert (result.series, result.rows) == (3, 9)
    if order == "together":
        assert answer.equals(expected)
    assert answer.sort("site", "time").equals(expected.sort("site", "time"))
    forecast_file(scorer, Files(table, tmp_path / "out.csv"))
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("site,time,load_q0.1")


def test_jobs_go_on_from_snapshots(plain, small, tmp_path):
    _, path, frame = plain
    scorer, read = Scorer(path), {}
    files = Files(tmp_path / "table.parquet", tmp_path / "out.parquet", tmp_path / "states.parquet")
    for end in (40, 60, 1000):
        next_rows(frame, read, end).write_parquet(files.source)
        forecast_file(scorer, files)
    whole = quiet(scorer.advance, frame)
    assert pl.read_parquet(files.out).equals(whole.forecasts)
    assert pl.read_parquet(files.snapshots).equals(whole.states)


def test_an_error_leaves_the_files_as_they_were(plain, small, tmp_path):
    _, path, frame = plain
    scorer = Scorer(path)
    files = Files(tmp_path / "table.parquet", tmp_path / "out.parquet", tmp_path / "states.parquet")
    frame.write_parquet(files.source)
    forecast_file(scorer, files)
    before = [each.read_bytes() for each in files[1:]]
    wrong = (pl.col("site") == "west") & (pl.int_range(pl.len()) == len(frame) - 20)
    later = frame.with_columns(
        pl.col("time").dt.offset_by("93h"), wind=pl.when(wrong).then(1e90).otherwise("wind")
    )
    for bad in (frame, later):  # overlaps with what was read; a value that no model reads
        bad.write_parquet(files.source)
        with pytest.raises(DataError):
            forecast_file(scorer, files)
    assert [each.read_bytes() for each in files[1:]] == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.parquet", "states.parquet", "table.parquet"]


def test_series_without_rows_enough_are_left_out_even_if_they_fill_a_part(plain, small, tmp_path):
    _, path, frame = plain
    short = frame.filter(pl.col("site") == "west").with_columns(site=pl.lit("young")).head(5)
    empty = frame.filter(pl.col("site") == "west").with_columns(site=pl.lit("zero"), load=None, flow=None)
    types = [pl.col(name).cast(frame[name].dtype) for name in ("load", "flow")]
    rows = pl.concat([frame, short, empty.with_columns(types)])
    rows.write_parquet(tmp_path / "table.parquet", row_group_size=30)
    scorer = Scorer(path)
    result = forecast_file(scorer, Files(tmp_path / "table.parquet", tmp_path / "out.parquet"))
    assert pl.read_parquet(tmp_path / "out.parquet").equals(quiet(scorer.score, frame))
    notes = "\n".join(result.notes.lines())
    assert "left out, no observed target: zero" in notes
    assert "(the model's context) up to the last observed target: young" in notes
    short.write_parquet(tmp_path / "table.parquet")
    with pytest.raises(DataError, match=r"a series that is long enough to forecast, got .*young"):
        forecast_file(scorer, Files(tmp_path / "table.parquet", tmp_path / "none.parquet"))
    assert not (tmp_path / "none.parquet").exists()


def test_rows_between_are_those_of_the_file(plain, small, tmp_path):
    _, _, frame = plain
    frame.write_parquet(tmp_path / "table.parquet", row_group_size=23)
    layout = layout_of(tmp_path / "table.parquet", ("site",))
    assert layout.starts.tolist() == [0, 90, 183]
    assert layout.spans(100) == [(0, 183), (183, 279)]
    for first, end in ((0, 279), (0, 1), (22, 24), (90, 183), (278, 279), (5, 5)):
        pieces = list(rows_between(tmp_path / "table.parquet", first, end))
        assert pl.concat([frame[:0], *pieces]).equals(frame[first:end])
    (tmp_path / "table.parquet").write_bytes(b"none")
    with pytest.raises(DataError, match="expected a Parquet file, got a file that is damaged"):
        layout_of(tmp_path / "table.parquet", ("site",))
    frame.rename({"site": "place"}).write_parquet(tmp_path / "table.parquet")
    with pytest.raises(GatewrightError, match="the column 'site', the id column in training"):
        layout_of(tmp_path / "table.parquet", ("site",))


@pytest.mark.parametrize("order", ["together", "interleaved"])
def test_spaces_around_the_name_of_a_series_are_none_of_it(plain, small, tmp_path, order):
    _, path, frame = plain
    later = pl.int_range(pl.len()).over("site") >= 45
    spaced = frame.with_columns(pl.when(later).then(pl.col("site") + " ").otherwise(pl.col("site")).alias("site"))
    rows = spaced if order == "together" else spaced.sort("time", maintain_order=True)
    files = Files(tmp_path / "table.parquet", tmp_path / "out.parquet", tmp_path / "states.parquet")
    rows.write_parquet(files.source)
    assert forecast_file(Scorer(path), files).series == 3
    assert sorted(pl.read_parquet(files.snapshots)["site"]) == ["north", "south", "west"]


def test_a_name_of_two_columns_is_refused(plain, tmp_path):
    _, path, frame = plain
    rows = frame.to_arrow()
    pq.write_table(rows.append_column("load", rows["load"]), tmp_path / "table.parquet")
    with pytest.raises(DataError, match="each name once"):
        forecast_file(Scorer(path), Files(tmp_path / "table.parquet", tmp_path / "out.parquet"))
    with pytest.raises(DataError, match="each name once"):
        Scorer(path).score(tmp_path / "table.parquet")


def test_errors_name_the_row_of_the_file(plain, small, tmp_path):
    _, path, frame = plain
    row = len(frame) - 20
    wrong = pl.when(pl.int_range(pl.len()) == row).then(1e200).otherwise(pl.col("load")).alias("load")
    frame.with_columns(wrong).write_parquet(tmp_path / "table.parquet")
    with pytest.raises(DataError, match=rf"column 'load', row {row + 1}: expected"):
        forecast_file(Scorer(path), Files(tmp_path / "table.parquet", tmp_path / "out.parquet"))
