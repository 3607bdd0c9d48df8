"""Small tables, read, or refused with one clear error."""

from __future__ import annotations

import polars as pl
import pytest

from gatewright.data.table import Roles, Table, read_table
from gatewright.errors import DataError

DAYS = ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"]
VALUES = [1.0, 2.5, -3.0, 400.0]
SIMPLE = "t,y\n2020-01-01,1\n2020-01-02,2.5\n2020-01-03,-3\n2020-01-04,4e2\n"


def read(folder, content, roles=None, fill="", name="a.csv", **more) -> Table:
    path = folder / name
    if isinstance(content, pl.DataFrame):
        path = folder / "a.parquet"
        content.write_parquet(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, roles or Roles(**{"targets": ("y",), **more}), fill)


def refused(folder, content, *arguments, **more) -> str:
    with pytest.raises(DataError) as error:
        read(folder, content, *arguments, **more)
    return str(error.value).replace(str(folder / "a.csv"), "FILE")


def values(table, column=0):
    [one] = table.series
    return one.values[:, column].tolist()


def days(table):
    [one] = table.series
    return [str(stamp) for stamp in one.times.astype("datetime64[D]")]


def with_times(times, numbers=(1, 2, 4, 3, 5, 7)):
    return "t;y\n" + "".join(f"{stamp};{value}\n" for stamp, value in zip(times, numbers, strict=False))
