"""How a table is written: said on the command line or in config.toml, and held for every table read later."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from gatewright.cli import app, main
from gatewright.files import model_file
from gatewright.tasks.config_file import read_config
from gatewright.tasks.options import DataOptions

ROWS = 160
WAVE = np.round(1000 + 500 * np.sin(np.arange(ROWS) / 3), 1)
SMALL = "--time none --context 8 --hidden 4 --steps 2 --season 4 --missing -999 bad --decimal , --thousands ."


def german(number: float) -> str:
    return f"{number:,.1f}".replace(",", "G").replace(".", ",").replace("G", ".")


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """The same table written in two ways, and a run of each."""
    folder = tmp_path_factory.mktemp("twins")
    cells = [german(number) for number in WAVE]
    cells[20], cells[30], cells[31] = "-999", "BAD", "-999,0"
    (folder / "german.csv").write_text("y;n\n" + "".join(f"{cell};1\n" for cell in cells))
    wave = [None if row in (20, 30, 31) else number for row, number in enumerate(WAVE)]
    pl.DataFrame({"y": wave}).write_csv(folder / "plain.csv")
    main(["train", str(folder / "german.csv"), "--target", "y", "--run", str(folder / "german"), *SMALL.split()])
    plain = SMALL.partition(" --missing")[0].split()
    main(["train", str(folder / "plain.csv"), "--target", "y", "--run", str(folder / "plain"), *plain])
    return folder


def test_both_learn_the_same(twins):
    models = [model_file.read(twins / name / "model.safetensors") for name in ("german", "plain")]
    assert models[0].fingerprint == models[1].fingerprint  # the files differ in how tables are read
    config = read_config(twins / "german" / "config.toml").data
    assert (config.decimal, config.thousands, config.missing) == (",", ".", ("-999", "bad"))


@pytest.mark.slow
def test_evaluate_forecast_quantize_and_look_read_it_alike(twins, capsys):
    answers = {}
    for name in ("german", "plain"):
        run = str(twins / name)
        main(["evaluate", run])
        capsys.readouterr()
        main(["forecast", run, str(twins / f"{name}.csv")])
        answers[name] = [capsys.readouterr().out, json.loads((twins / name / "evaluation.json").read_text())]
        main(["quantize", run, str(twins / f"{name}.csv")])
        main(["look", run, str(twins / f"{name}.csv"), "--save", str(twins / f"{name}.safetensors")])
    assert answers["german"] == answers["plain"]
    import gatewright.insight as insight

    german, plain = (insight.Recording.load(twins / f"{name}.safetensors") for name in ("german", "plain"))
    np.testing.assert_array_equal(german.inputs, plain.inputs)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "--decimal . --thousands .",
            "--decimal and --thousands: expected two different characters, got '.' for both",
        ),
        ("--decimal x", "--decimal: expected a point or a comma, got 'x'"),
        (
            "--thousands 5",
            "--thousands: expected a point, a comma, a space, an apostrophe or an underscore, got '5'",
        ),
    ],
)
def test_marks_that_cannot_be(tmp_path, capsys, said, message):
    (tmp_path / "a.csv").write_text("y\n1\n2\n")
    with pytest.raises(SystemExit):
        main(["train", str(tmp_path / "a.csv"), "--run", str(tmp_path / "run"), *said.split()])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_missing_words_on_the_command_line_and_in_a_file(tmp_path):
    _, bound, _ = app.parse_args(["train", "a.csv", "--missing", "-999", "NA", "-1e9", "--decimal", ","])
    assert bound.arguments["data"] == DataOptions(missing=("-999", "NA", "-1e9"), decimal=",")
    (tmp_path / "c.toml").write_text("[data]\nmissing = [-999, 'NA', -1.5]\nthousands = ' '\n")
    assert read_config(tmp_path / "c.toml").data == DataOptions(missing=("-999", "NA", "-1.5"), thousands=" ")
