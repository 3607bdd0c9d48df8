"""Files that are no table or no text: one plain sentence says what they are and what to do."""

from __future__ import annotations

import errno
import gzip
import os
import zipfile
import zlib

import polars as pl
import pytest

from gatewright.cli import main
from gatewright.data.table import Roles, read_table
from gatewright.data.text import read_text
from gatewright.errors import DataError, reason
from tests.support.tables import SIMPLE

ROLES = Roles(targets=("y",))
MODEL = "run: expected the directory of a run or a model file, got"
TABLE = "expected a .csv, .tsv, .txt or .parquet file, got"


def said(path, reader=None) -> str:
    with pytest.raises(DataError) as error:
        reader(path) if reader else read_table(path, ROLES)
    return str(error.value).replace(str(path.parent), "HERE")


@pytest.mark.parametrize("name", ["none.csv", "none.parquet", "none.csv.gz", "none.xlsx", "none/none.csv"])
def test_a_file_that_does_not_exist(tmp_path, name):
    assert said(tmp_path / name) == f"HERE/{name.rpartition('/')[2]}: the file does not exist"
    assert said(tmp_path / name, read_text) == f"HERE/{name.rpartition('/')[2]}: the file does not exist"


def test_a_path_through_a_file(tmp_path):
    (tmp_path / "a.csv").write_text(SIMPLE)
    assert said(tmp_path / "a.csv" / "b.csv") == "HERE/b.csv: a directory in its path is a file"
    assert said(tmp_path / ("x" * 300 + ".csv")).endswith(".csv: the name is too long")
    assert said(tmp_path / "a\0b.csv").endswith("its name holds a character that no file name can hold")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission(tmp_path):
    (tmp_path / "a.csv").write_text(SIMPLE)
    (tmp_path / "a.csv").chmod(0)
    assert said(tmp_path / "a.csv") == "HERE/a.csv: you have no permission to read it"


@pytest.mark.parametrize(
    ("name", "got"),
    [
        ("a.xlsx", "a spreadsheet; save the sheet as CSV UTF-8, or in Python:"
                   " pandas.read_excel('HERE/a.xlsx').to_parquet('HERE/a.parquet')"),
        ("A.XLS", "a spreadsheet; save the sheet as CSV UTF-8, or in Python:"
                  " pandas.read_excel('HERE/A.XLS').to_parquet('HERE/A.parquet')"),
        ("a.json", "JSON; in Python: polars.read_json('HERE/a.json').write_parquet('HERE/a.parquet')"),
        ("a.jsonl", "JSON lines; in Python: polars.read_ndjson('HERE/a.jsonl').write_parquet('HERE/a.parquet')"),
        ("a.feather", "Arrow data; in Python: polars.read_ipc('HERE/a.feather').write_parquet('HERE/a.parquet')"),
        ("a.zip", "an archive; unpack it and name the table in it"),
        ("a.docx", "a file named 'a.docx'"),
        ("a", "a file named 'a'"),
    ],
)  # fmt: skip
def test_a_file_of_another_format(tmp_path, name, got):
    (tmp_path / name).write_bytes(b"x")
    assert said(tmp_path / name) == f"HERE/{name}: {TABLE} {got}"


@pytest.mark.parametrize(
    ("ending", "reader"), [("json", "read_json"), ("jsonl", "read_ndjson"), ("feather", "read_ipc")]
)
def test_the_advice_makes_a_table_of_it(tmp_path, ending, reader):
    frame = pl.DataFrame({"y": [1.0, 2.0]})
    path = tmp_path / f"a.{ending}"
    {"json": frame.write_json, "jsonl": frame.write_ndjson, "feather": frame.write_ipc}[ending](path)
    python = said(path).partition("in Python: ")[2].replace("HERE", str(tmp_path))
    assert reader in python
    exec(python, {"polars": pl})
    assert read_table(tmp_path / "a.parquet", ROLES).series[0].values.ravel().tolist() == [1.0, 2.0]


def test_directories(tmp_path):
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    assert said(folder) == "HERE/folder.csv: expected a file, got a directory; name a file in it"
    (folder / "b.csv").write_text(SIMPLE)
    assert said(folder).endswith("got a directory; name a file in it, such as HERE/folder.csv/b.csv")
    (folder / "config.toml").touch()
    (folder / "source.json").touch()
    assert said(folder).endswith("got the directory of a run; name the table or the text to read")
    assert said(folder, read_text).endswith("got the directory of a run; name the table or the text to read")


def test_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    got = "a pipe or a device; write what comes from it into a file first"
    assert said(tmp_path / "a.csv") == f"HERE/a.csv: expected a file, got {got}"


def test_names_that_promise_something_else(tmp_path):
    path = tmp_path / "a.csv"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", SIMPLE)
    sheet = "a spreadsheet or a ZIP archive; save the sheet as CSV UTF-8, or unpack the archive"
    assert said(path) == f"HERE/a.csv: expected text, got {sheet}"
    pl.DataFrame({"y": [1.0]}).write_parquet(path)
    assert said(path) == "HERE/a.csv: expected text, got a Parquet file; let its name end in .parquet"
    for raw in (b"", b"PAR1", SIMPLE.encode(), b"PAR1" + 99 * b"x" + b"PAR1"):
        (tmp_path / "a.parquet").write_bytes(raw)
        assert said(tmp_path / "a.parquet").startswith("HERE/a.parquet: expected a Parquet file, got a")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"t,y\n", "it is not a gzip file, although its name ends in .gz"),
        (b"\x1f\x8b\x08", "the file is cut off: its gzip data ends too early"),
        (gzip.compress(SIMPLE.encode(), mtime=0)[:-9], "the file is cut off: its gzip data ends too early"),
        (gzip.compress(SIMPLE.encode(), mtime=0)[:-8] + 8 * b"x", "its gzip data is damaged"),
        (gzip.compress(SIMPLE.encode(), mtime=0)[:10] + 30 * b"\xff", "its gzip data is damaged"),
    ],
)
def test_damaged_gzip(tmp_path, raw, why):
    (tmp_path / "a.csv.gz").write_bytes(raw)
    assert said(tmp_path / "a.csv.gz") == f"HERE/a.csv.gz: {why}"


def test_encodings(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(SIMPLE.encode("utf-16-le"))
    without = "UTF-16 without a byte order mark; iconv -f utf-16le -t utf-8 converts it"
    assert said(path) == f"HERE/a.csv: expected UTF-8 text, got {without}"
    path.write_bytes(SIMPLE.encode("utf-16")[:-1])
    marked = "expected UTF-16 text, as its byte order mark says, got something else"
    assert said(path).startswith(f"HERE/a.csv: {marked}")
    path.write_bytes("größe".encode("utf-16"))
    assert read_text(path) == "größe"
    path.write_bytes("größe".encode("latin-1"))
    assert "iconv -f windows-1252 -t utf-8" in said(path, read_text)


@pytest.mark.parametrize(
    ("error", "writing", "why"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True, "the disk is full"),
        (OSError(errno.EACCES, "Permission denied"), True, "you have no permission to write it"),
        (OSError(errno.EACCES, "Permission denied"), False, "you have no permission to read it"),
        (OSError(errno.ENOENT, "No such file or directory"), True, "its directory does not exist"),
        (OSError(errno.EISDIR, "Is a directory"), False, "it is a directory, not a file"),
        (OSError(errno.EROFS, "Read-only file system"), True, "its disk is read-only"),
        (OSError(errno.ENOTCONN, "Transport endpoint is not connected"), False,
         "transport endpoint is not connected"),
        (zlib.error("invalid"), False, "its gzip data is damaged"),
        (MemoryError(), False, "there is not enough memory for it"),
    ],
)  # fmt: skip
def test_what_the_system_refuses(error, writing, why):
    assert reason(error, writing=writing) == why


WORDS = {
    "train RUN": "RUN: expected a file, got the directory of a run; name the table or the text to read",
    "train SHEET": "SHEET: expected a file whose name ends in .csv, .tsv, .parquet, .txt, .ts, or the option"
                   " --kind, got a spreadsheet;",
    "train SHEET --kind forecast": f"SHEET: {TABLE} a spreadsheet; save the sheet as CSV UTF-8, or in Python:",
    "forecast RUN RUN": "RUN: expected a file, got the directory of a run; name the table or the text to read",
    "forecast RUN SHEET": f"SHEET: {TABLE} a spreadsheet; save the sheet as CSV UTF-8, or in Python:",
    "forecast TABLE TABLE": "run: expected the directory of a run, got TABLE, a file; the run"
                            " comes before the table or the text",
    "forecast TABLE RUN": "run: expected the directory of a run, got TABLE, a file;",
    "evaluate TABLE": "run: expected the directory of a run, got TABLE, a file;",
    "evaluate RUN/model.safetensors": "run: expected the directory of a run, got"
                                      " RUN/model.safetensors, a file; the run is the directory that holds it",
    "evaluate NONE": "run: expected the directory of a run, got NONE, which does not exist",
    "evaluate FOLDER": "run: expected the directory of a run, got FOLDER, a directory without"
                       " config.toml and source.json",
    "quantize RUN RUN": "RUN: expected a file, got the directory of a run;",
    "quantize RUN SHEET": f"SHEET: {TABLE} a spreadsheet;",
    "quantize RUN NONE": "NONE: the file does not exist",
    "look RUN RUN": "RUN: expected a file, got the directory of a run;",
    "look RUN SHEET": f"SHEET: {TABLE} a spreadsheet;",
    "look RUN FOLDER": "FOLDER: expected a file, got a directory; name a file in it",
    "look TABLE": "RUN: expected a run, a recording or a model file, and data after it, got the data TABLE",
    "look NONE": "run: expected the directory of a run, a recording or a model file, got NONE, which does not"
                 " exist",
    "generate TABLE": "run: expected the directory of a run, got TABLE, a file;",
    "export NONE --to c": f"{MODEL} NONE, which does not exist",
    "export TABLE --to c": f"{MODEL} TABLE, a file of another format",
    "export FOLDER --to c": f"{MODEL} FOLDER, a directory without config.toml and source.json",
    "serve NONE": f"{MODEL} NONE, which does not exist",
    "serve TABLE": f"{MODEL} TABLE, a file of another format",
    "serve FOLDER": f"{MODEL} FOLDER, a directory without config.toml and source.json",
    "compare NONE RUN": "run: expected the directory of a run, got NONE, which does not exist",
    "train TABLE --init NONE": f"--init: {MODEL.removeprefix('run: ')} NONE, which does not exist",
    "train TABLE --init FOLDER": f"--init: {MODEL.removeprefix('run: ')} FOLDER, a directory without config.toml",
}  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    (folder / "table.csv").write_text("y\n" + "".join(f"{number % 7}\n" for number in range(120)))
    (folder / "sheet.xlsx").write_bytes(b"PK\x03\x04")
    (folder / "folder").mkdir()
    main(["train", str(folder / "table.csv"), "--run", str(folder / "run"), "--context", "8", "--season", "2",
          "--steps", "1", "--hidden", "2", "--time", "none"])  # fmt: skip
    return {"RUN": folder / "run", "TABLE": folder / "table.csv", "SHEET": folder / "sheet.xlsx",
            "FOLDER": folder / "folder", "NONE": folder / "none.csv"}  # fmt: skip


@pytest.mark.parametrize("words", WORDS)
def test_every_command_says_what_was_given_in_place_of_what(places, words, capsys):
    arguments = words
    for name, path in places.items():
        arguments = arguments.replace(name, str(path))
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(arguments.split())
    errors = capsys.readouterr().err.splitlines()
    said = errors[-1].removeprefix("error: ")
    for name, path in places.items():
        said = said.replace(str(path), name)
    assert end.value.code == 1
    assert said.startswith(WORDS[words])
