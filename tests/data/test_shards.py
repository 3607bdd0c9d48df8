"""Parquet files that are one table, as Spark writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from gatewright import cli
from gatewright.data.shards import Shards
from gatewright.data.sources import digest
from gatewright.data.table import Roles, table_of
from gatewright.errors import DataError, RunError
from gatewright.runs.run import Run
from gatewright.tasks import registry
from gatewright.tasks.base import Share
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train.launch import resume, train
from tests.support.training_runs import quiet

ROLES = Roles(targets=("load",), series=("meter",), time="time")
HOURS, METERS = 60, ("a", "b", "c")


@pytest.fixture(scope="module")
def whole() -> pl.DataFrame:
    """Three series, one after another in order of time."""
    draw = np.random.default_rng(0)
    times = np.datetime64("2024-01-01T00", "us") + np.arange(HOURS).astype("timedelta64[h]")
    parts = [
        pl.DataFrame({"meter": [name] * HOURS, "time": times, "load": draw.normal(size=HOURS)}) for name in METERS
    ]
    return pl.concat(parts)


def written(folder: Path, table: pl.DataFrame, parts: int, seed: int) -> Path:
    """Write the rows of a table in random order into so many files, one of them empty."""
    folder.mkdir()
    shuffled = table.sample(fraction=1.0, shuffle=True, seed=seed)
    ends = np.sort(np.random.default_rng(seed).integers(0, len(table), parts - 1))
    for number, (first, last) in enumerate(zip([0, *ends], [*ends, len(table)], strict=True)):
        shuffled[int(first) : int(last)].write_parquet(folder / f"part-{number:05}-c000.snappy.parquet")
    table.clear().write_parquet(folder / f"part-{parts:05}-c000.snappy.parquet")
    (folder / "_SUCCESS").touch()
    (folder / ".part-00000-c000.snappy.parquet.crc").write_bytes(b"crc")
    return folder


@pytest.mark.parametrize(("parts", "seed"), [(1, 0), (4, 1), (9, 2)])
def test_a_table_is_the_same_in_any_files(tmp_path, whole, parts, seed):
    one, several = table_of(whole, ROLES), table_of(written(tmp_path / "load.parquet", whole, parts, seed), ROLES)
    assert one.step == several.step
    for ours, theirs in zip(one.series, several.series, strict=True):
        assert ours.ids == theirs.ids
        np.testing.assert_array_equal(ours.values, theirs.values)
        np.testing.assert_array_equal(ours.times, theirs.times)


def test_every_window_is_in_one_process_once_an_epoch(tmp_path, whole):
    """Of any number of processes, each reading the files by itself; counted by series and last hour."""
    kind = registry.kind("forecast")
    folder = written(tmp_path / "load.parquet", whole, 5, 3)
    data = DataOptions(
        target=("load",), id=("meter",), context=6, horizon=2, valid="10", test="10", season=("none",)
    )
    options = kind.resolve(Options(data, ModelOptions(hidden=4), TrainingOptions(batch=16)))
    last = HOURS - 20 - 1 - 2  # both steps ahead of it are in the training part
    expected = [(name, hour) for name in METERS for hour in range(5, last + 1)]
    for world in (1, 2, 3):
        seen: list[tuple[str, int]] = []
        for rank in range(world):
            read = kind.read(Shards((folder,)), options.data)
            task = kind.task(kind.build(read, options), read, options, Share(rank, world), torch.device("cpu"))
            for step in range(task.steps_per_epoch):
                places = [task.rows(step, np.array([row])) for row in range(len(task._origins(step)))]
                seen += [(place.split("'")[1], _hour(place)) for place in places]
        assert sorted(seen) == expected


def _hour(place: str) -> int:
    """Return the number of the hour that a title names, such as "series 'a' up to 2024-01-02 03:00"."""
    when = np.datetime64(place.split(" up to ")[1])
    return int((when - np.datetime64("2024-01-01T00")) / np.timedelta64(1, "h"))


def test_directories_name_columns(tmp_path, whole):
    for (name,), part in whole.group_by("meter"):
        (tmp_path / "load" / f"meter={name}").mkdir(parents=True)
        part.drop("meter").write_parquet(tmp_path / "load" / f"meter={name}" / "part-0.parquet")
    one, several = table_of(whole, ROLES), table_of(tmp_path / "load", ROLES)
    assert [each.ids for each in several.series] == [("a",), ("b",), ("c",)]
    for ours, theirs in zip(one.series, several.series, strict=True):
        np.testing.assert_array_equal(ours.values, theirs.values)
    before = digest(Shards((tmp_path / "load",)))
    (tmp_path / "load" / "meter=c").rename(tmp_path / "load" / "meter=d")
    assert digest(tmp_path / "load") != before
    numbers = Shards((tmp_path / "years",))
    for year in ("2023", "2024", "__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / "years" / f"year={year}").mkdir(parents=True)
        whole[:1].write_parquet(tmp_path / "years" / f"year={year}" / "part-0.parquet")
    assert numbers.frame().cells["year"].to_list() == [2023, 2024, None]
    (tmp_path / "years" / "year=2023").rename(tmp_path / "years" / "year=02024")
    assert numbers.frame().cells["year"].to_list() == ["02024", "2024", None]


def test_what_is_refused(tmp_path, whole):
    folder = written(tmp_path / "load", whole, 2, 0)

    def said(message: str, roles: Roles = ROLES) -> None:
        with pytest.raises(DataError, match=message):
            table_of(folder, roles)

    whole[5:6].write_parquet(folder / "part-9.parquet")
    said(r"part-9.parquet, row 1: expected a later timestamp than .*, got .*, which repeats")
    (folder / "part-9.parquet").unlink()
    said("--time: expected the column of the times", Roles(targets=("load",), series=("meter",), time="none"))
    for odd, message in (
        (whole.with_columns(pl.col("load").cast(pl.Float32)), r"part-9.parquet: expected the types of part-00000"),
        (whole.with_columns(more=1.0), r"part-9.parquet: expected the columns of part-00000.*, got 'more' in one"),
    ):
        odd.write_parquet(folder / "part-9.parquet")
        said(message)
        (folder / "part-9.parquet").unlink()
    (folder / "_temporary").mkdir()
    said("expected a directory of Parquet files that is complete, got one with a directory _temporary")


def test_a_run_learns_from_a_directory_goes_on_and_forecasts(tmp_path, whole, capsys):
    folder = written(tmp_path / "load.parquet", whole, 3, 4)
    data = DataOptions(target=("load",), id=("meter",), context=6, valid="10", test="10", season=("none",))
    training = TrainingOptions(steps=2, batch=8, refit=False, device="cpu")
    options = Options(data, ModelOptions(hidden=4), training)
    run, _ = train([folder], options, run=tmp_path / "run", console=quiet())
    longer = Options(training=TrainingOptions(steps=4))
    assert resume(run.path, longer, console=quiet())[1].step == 4
    files = sorted(folder.glob("*.parquet"))
    table = table_of(Shards(tuple(files[::-1])), ROLES)
    np.testing.assert_array_equal(table.series[2].values, Run.open(run.path).data().table.series[2].values)
    assert forecast(run.path, folder, capsys) == forecast(run.path, _one_file(tmp_path, whole), capsys)
    for number, source in enumerate((folder, whole_file := tmp_path / "whole.parquet")):
        whole.write_parquet(whole_file)
        cli.main(["forecast", str(run.path), str(source), "--out", str(tmp_path / f"{number}.parquet")])
    assert pl.read_parquet(tmp_path / "0.parquet").equals(pl.read_parquet(tmp_path / "1.parquet"))
    capsys.readouterr()
    files[0].unlink()
    with pytest.raises(RunError, match=r"the files that it learned from, got .*which has changed since"):
        resume(run.path, longer, console=quiet())


def forecast(run: Path, data: Path, capsys) -> str:
    cli.main(["forecast", str(run), str(data)])
    return capsys.readouterr().out


def _one_file(folder: Path, table: pl.DataFrame) -> Path:
    path = folder / "one.csv"
    table.write_csv(path)
    return path
