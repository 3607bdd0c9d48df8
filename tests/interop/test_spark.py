"""The recipe of docs/scoring.md: `mapInArrow` and `mapInPandas` of Spark with a `Scorer`."""

from __future__ import annotations

import shutil
import sys

import polars as pl
import pytest

from gatewright.scoring.scorer import Scorer
from tests.scoring.models import saved
from tests.scoring.test_scorer import quiet

sql = pytest.importorskip("pyspark.sql")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java"),
    pytest.mark.filterwarnings("ignore"),  # of Spark's own packages
]


@pytest.fixture(scope="module")
def spark():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)  # else any python3 on the path
        yield from _session()


def _session():
    session = (
        sql.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "1g")
        .config("spark.sql.shuffle.partitions", "3")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "50")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture(scope="module")
def given(spark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spark")
    _, path, frame = saved(folder)
    frame.write_parquet(folder / "table.parquet", row_group_size=40)
    expected = quiet(Scorer(path).score, frame).sort("site", "time")
    return Scorer(path), spark.read.parquet(str(folder / "table.parquet")), expected


SCHEMA = "site string, time timestamp_ntz, " + ", ".join(
    f"{target}_q{level} double" for target in ("load", "flow") for level in (0.1, 0.5, 0.9)
).replace("load_q", "`load_q").replace("flow_q", "`flow_q").replace(" double", "` double")


def by_series(table):
    return table.repartition("site").sortWithinPartitions("site", "time")


def same(answer, expected):
    found = pl.from_pandas(answer.toPandas()).sort("site", "time")
    numbers = [name for name in expected.columns if "_q" in name]
    return found["site"].equals(expected["site"]) and found.select(numbers).equals(expected.select(numbers))


def test_map_in_arrow(given):
    scorer, table, expected = given

    def forecast(batches):
        import warnings

        warnings.simplefilter("ignore")
        for answer in scorer.score_batches(batches):
            yield from answer.to_batches()

    assert same(by_series(table).mapInArrow(forecast, SCHEMA), expected)


def test_map_in_pandas(given):
    scorer, table, expected = given

    def forecast(frames):
        import warnings

        warnings.simplefilter("ignore")
        yield from scorer.score_batches(frames)

    assert same(by_series(table).mapInPandas(forecast, SCHEMA), expected)
