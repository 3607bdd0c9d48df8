"""Several tables as one source: a file is a sequence, its folder may be its label, and their names count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright import cli
from gatewright.data.sources import digest
from gatewright.data.table_files import TableFiles
from gatewright.errors import DataError, GatewrightError
from gatewright.runs.run import Run
from gatewright.tasks.classify.dataset import read_sequences
from gatewright.tasks.options import DataOptions
from tests.support.tagged import long_table, walks

SEQUENCES = walks(12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Walks as files in two folders, one of them packed in another format."""
    for (name,), rows in long_table(SEQUENCES).group_by("who", maintain_order=True):
        path = tmp_path / "data" / ("even" if int(str(name)[1:]) % 2 == 0 else "odd") / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.drop("who").write_csv(path)
    (tmp_path / "data" / ".cache").mkdir()
    (tmp_path / "data" / ".cache" / "x.csv").write_text("a\n1\n")
    (tmp_path / "data" / "notes.md").write_text("not a table")
    return tmp_path / "data"


def test_files_are_sequences_and_folders_may_be_labels(folder: Path) -> None:
    options = DataOptions(label="folder", features=("move", "noise"))
    sequences, read = read_sequences(folder, options)
    assert (read.id, read.time) == (("file",), "t")
    assert sorted(sequences.names)[:2] == ["even/w0.csv", "even/w10.csv"]
    assert {name.split("/")[0] for name in sequences.names} == set(sequences.labels)
    for name, label, values in zip(sequences.names, sequences.labels, sequences.values, strict=True):
        number = SEQUENCES.names.index(name.split("/")[1].removesuffix(".csv"))
        assert label == ("even", "odd")[number % 2]
        np.testing.assert_array_equal(values, SEQUENCES.values[number])
    tags, _ = read_sequences(folder, replace(options, label="side", label_per="step"))
    assert (len(tags), set(tags.steps.names)) == (12, {"left", "middle", "right"})
    some = TableFiles((folder / "even" / "w0.csv", folder / "odd"))
    assert some.names()[:2] == ("w0.csv", "w1.csv")


def test_names_and_contents_count(folder: Path) -> None:
    before = digest(TableFiles((folder,)))
    (folder / "even" / "w0.csv").rename(folder / "odd" / "w0.csv")
    assert digest(TableFiles((folder,))) != before
    (folder / "odd" / "w0.csv").rename(folder / "even" / "w0.csv")
    assert digest(TableFiles((folder,))) == before


def test_wrong_files_are_named(folder: Path) -> None:
    options = DataOptions(label="folder")
    path = folder / "odd" / "w1.csv"
    text = path.read_text()
    for changed, label, message in (
        (text.replace("noise", "noice", 1), "folder", "odd/w1.csv: expected the columns of even/w0.csv, got 'noi"),
        (text.replace("noise", "file", 1), "folder", "odd/w1.csv: expected "),
        (text.replace("\n1,", "\n1,x", 1), "folder", r"column 'move', odd/w1.csv, line 3: expected a number"),
        ("", "folder", "w1.csv: "),
    ):
        path.write_text(changed)
        with pytest.raises(DataError, match=message):
            read_sequences(folder, replace(options, label=label, features=("move",), time="t"))
    path.write_text(text)
    (folder / "loose.csv").write_text(text)
    with pytest.raises(DataError, match=r"loose.csv: expected a folder below .*, which names the label"):
        read_sequences(folder, options)
    (folder / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"empty: expected a directory with files that end in \.csv, .* or \.parquet"
    ):
        read_sequences(folder / "empty", options)
    (folder / "even" / "w1.csv").write_text(text)
    with pytest.raises(DataError, match=r"source: expected files of different names, got 'w1\.csv' twice"):
        TableFiles((folder / "even" / "w1.csv", folder / "odd" / "w1.csv")).names()


@pytest.mark.slow
def test_a_directory_is_learned_predicted_and_read_again(folder: Path, tmp_path: Path) -> None:
    options = ["--label", "side", "--label-per", "step", "--steps", "4", "--hidden", "4", "--device", "cpu"]
    cli.main(["train", str(folder), *options, "--run", str(tmp_path / "run")])
    run = Run.open(tmp_path / "run")
    assert (run.kind, len(run.data().train)) == ("tag", 8)
    cli.main(["evaluate", str(run.path)])
    cli.main(["predict", str(run.path), str(folder), "--out", str(tmp_path / "out.csv")])
    answer = pl.read_csv(tmp_path / "out.csv")
    assert answer.columns[:3] == ["file", "t", "label"]
    assert len(answer) == SEQUENCES.lengths.sum()
    assert gw.load(run.path).predict(folder)["label"].to_list() == answer["label"].to_list()
    classifier = gw.SequenceClassifier(steps=2, hidden=3).fit(folder, label="folder", features=["move"])
    assert classifier.predict(folder)["file"].to_list()[0] == "even/w0.csv"
    (folder / "even" / "w0.csv").rename(folder / "odd" / "w0.csv")
    with pytest.raises(GatewrightError, match="which has changed since"):
        Run.open(run.path).data()
