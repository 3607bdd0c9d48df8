"""The first bytes of a table refuse what the whole table refuses, in the same words, and nothing else."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gatewright.data.columns import columns_of
from gatewright.data.head import HEAD, check_head
from gatewright.data.number_format import PLAIN
from gatewright.data.readers import read_frame
from gatewright.data.roles import Roles, find_roles
from gatewright.errors import DataError

ROWS = "".join(f"2024-01-01 {n % 24:02}:00,{n}\n" for n in range(20))
#: Content of a table, and columns that are there.
TABLES = {
    "plain": (f"time,load\n{ROWS}", ("load",)),
    "a name of a row": (f"time,load\n{ROWS}", ("time", "load")),
    "blank lines first": (f"\n\ntime,load\n{ROWS}", ("load",)),
    "semicolons": ("time;load\n" + ROWS.replace(",", ";"), ("load",)),
    "quotes": ('time,"the ""net"" load,\nin MW"\n' + ROWS, ('the "net" load,\nin MW',)),
    "a nameless column": (f"time,\n{ROWS}", ("column_2",)),
    "names with spaces": (f" time , load \n{ROWS}", ("load",)),
    "longer than what is read": ("time,load\n" + ROWS * (2 * HEAD // len(ROWS)), ("load",)),
    "a header longer than what is read": ("time,load" + ",x" * HEAD + "\n", ("load",)),
}


def full(path: Path, target: str) -> str:
    """Return the error of the reader of the whole table."""
    try:
        find_roles(columns_of(read_frame(path).cells), Roles((target,), time="none"))
    except DataError as error:
        return str(error)
    return ""


def head(path: Path, target: str) -> str:
    try:
        check_head(path, PLAIN, [("target", target)])
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", TABLES)
def test_no_column_that_is_there_is_refused(tmp_path: Path, name: str) -> None:
    content, columns = TABLES[name]
    path = tmp_path / "table.csv"
    for encoded in (content.encode(), content.encode("utf-8-sig"), content.encode("utf-16")):
        path.write_bytes(encoded)
        assert [head(path, column) for column in columns] == [""] * len(columns)
        packed = tmp_path / "table.csv.gz"
        packed.write_bytes(gzip.compress(encoded))
        assert [head(packed, column) for column in columns] == [""] * len(columns)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_a_missing_column_is_refused_as_by_the_whole_table(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    frame = pl.DataFrame({"time": ["a", "b"], "load": [1.0, 2.0]})
    if suffix == ".parquet":
        frame.write_parquet(path)
    else:
        raw = frame.write_csv().encode()
        path.write_bytes(gzip.compress(raw) if suffix.endswith("gz") else raw)
    expected = "--target: expected a column out of 'time', 'load', got 'laod'; did you mean 'load'?"
    assert head(path, "laod") == full(path, "laod") == expected


@pytest.mark.parametrize("content", [b"PK\x03\x04 a sheet\n1\n", b"SQLite format 3\0"])
def test_other_formats_are_refused_as_by_the_whole_table(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    assert head(path, "y") == full(path, "y") != ""


@pytest.mark.parametrize("content", [b"", b"\n", b"a,b\n1,2,3\n", b"\x1f\x8b broken", b"a,b\n\xff,1\n"])
def test_what_only_the_whole_table_explains_passes(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    assert head(path, "a") == ""
    assert full(path, "a") != "" or content.startswith(b"a,b")
