"""`gatewright forecast --ray`: the file of one process, also where a worker is killed on the way."""

from __future__ import annotations

import signal
from pathlib import Path

import polars as pl
import pytest

from gatewright.errors import DataError
from gatewright.scoring.file_job import Files, forecast_file
from gatewright.scoring.scorer import Scorer
from tests.scoring.models import cells, saved, without_targets

pytest.importorskip("ray.data")
psutil = pytest.importorskip("psutil")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore"),  # of Ray's own packages
]

SERIES = 60


@pytest.fixture(scope="module")
def cluster():
    import ray

    ray.init(num_cpus=2, object_store_memory=100_000_000, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A scorer, and a Parquet file of many series in several row groups."""
    folder = tmp_path_factory.mktemp("ray")
    _, path, _ = saved(folder)
    table = folder / "table.parquet"
    names = [f"site {number:02}" for number in range(SERIES)]
    header = ("site", "time", "load", "flow", "wind", "heat", "height", "kind")
    rows = pl.DataFrame(cells(names, 40), schema=dict.fromkeys(header, pl.String), orient="row")
    numbers = [pl.col(name).replace("", None).cast(pl.Float64) for name in header[2:7]]
    rows = rows.with_columns(pl.col("time").str.to_datetime(), *numbers)
    without_targets(rows).write_parquet(table, row_group_size=500)
    return Scorer(path), table


def pids() -> list[int]:
    """The actors that score, of the cluster that this process started."""
    every = psutil.Process().children(recursive=True)
    return [each.pid for each in every if "MapWorker" in " ".join(each.cmdline())]


def test_a_killed_worker_loses_nothing_and_repeats_nothing(cluster, job, tmp_path):
    from gatewright.scoring.ray_job import parts_by

    scorer, table = job
    own, rays = (Files(table, tmp_path / f"{name}.csv", tmp_path / f"{name}.parquet") for name in ("own", "ray"))
    one = forecast_file(scorer, own)
    killed: list[int] = []

    def parts(*arguments):
        for number, part in enumerate(parts_by("auto", rows=100)(*arguments)):
            if number == 1:
                killed.extend(pids()[:1])
                for pid in killed:
                    psutil.Process(pid).send_signal(signal.SIGKILL)
            yield part

    two = forecast_file(scorer, rays, parts_of=parts)
    assert killed
    assert (one.series, one.rows) == (two.series, two.rows) == (SERIES, SERIES * 3)
    assert own.out.read_bytes() == rays.out.read_bytes()
    assert pl.read_parquet(own.snapshots).equals(pl.read_parquet(rays.snapshots))
    assert one.notes.lines() == two.notes.lines()


def test_an_error_of_a_worker_names_the_series(cluster, job, tmp_path):
    from gatewright.scoring.ray_job import parts_by

    scorer, table = job
    wrong = pl.col("wind").is_not_null() & (pl.col("site") == "site 41")
    bad = tmp_path / "bad.parquet"
    pl.read_parquet(table).with_columns(wind=pl.when(wrong).then(1e90).otherwise(pl.col("wind"))).write_parquet(
        bad
    )
    out = tmp_path / "out.parquet"
    with pytest.raises(DataError, match=r"column 'wind', .*1e\+20 standard deviations"):
        forecast_file(scorer, Files(bad, out), parts_of=parts_by("auto", rows=200))
    assert not list(tmp_path.glob("*out*"))
    pl.read_parquet(table).sort("time").write_parquet(Path(bad))
    with pytest.raises(DataError, match="a Parquet file sorted by series"):
        forecast_file(scorer, Files(bad, out), parts_of=parts_by("auto"))
