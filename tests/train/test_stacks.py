"""Training of models with layers of unequal size and with residual connections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright import cli
from gatewright.errors import GatewrightError
from gatewright.files import model_file
from gatewright.nn.model import load
from gatewright.runs.run import Run
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.registry import KINDS
from gatewright.tasks.search_space import checked, entries_of, space_of, with_values
from gatewright.train.launch import resume, train
from tests.support.classified import digits
from tests.support.tagged import walks
from tests.support.training_runs import FORECAST, LANGUAGE, weights, write_table, write_text

FEW = TrainingOptions(steps=4, batch=4, validate_every=2, seed=3, device="cpu", schedule="constant", refit=False)
#: Sizes of each kind, and what layers they are.
SIZES: dict[str, dict[str, Any]] = {
    "forecast": {"hidden": (6, 4, 3)},
    "language": {"hidden": (6, 4)},
    "classify": {"hidden": (4, 4), "residual": True},
    "tag": {"hidden": (5, 4), "proj": 3, "residual": True, "cell": ("peephole",)},
}


def case(kind: str, folder: Path) -> tuple[Any, Options]:
    """Source and options of a small training of a kind."""
    sizes = {"layers": None, "dropout": 0.2, **SIZES[kind]}
    if kind in ("forecast", "language"):
        base = FORECAST if kind == "forecast" else LANGUAGE
        write = write_table if kind == "forecast" else write_text
        source = write(folder / f"{kind}.csv", 200 if kind == "forecast" else 2000)
        training = replace(base.training, steps=4, validate_every=2, schedule="constant", epochs=None)
        return source, replace(base, model=replace(base.model, **sizes), training=training)
    if kind == "classify":
        return digits(30, 2), Options(DataOptions(), ModelOptions(**sizes), FEW)
    return walks(12), Options(DataOptions(label_per="step"), ModelOptions(**sizes), FEW)


@pytest.mark.parametrize("kind", ["forecast", "language", "classify", "tag"])
def test_a_run_goes_on_to_the_same_bits(kind: str, tmp_path: Path) -> None:
    source, options = case(kind, tmp_path)
    run, _ = train(source, options, run=tmp_path / "whole", kind=kind)
    first = replace(options, training=replace(options.training, steps=2))
    train(source, first, run=tmp_path / "parts", kind=kind)
    torch.manual_seed(99)  # what was drawn before does not matter
    parts = Run.open(tmp_path / "parts", None if isinstance(source, Path) else source)
    resume(parts, Options(training=TrainingOptions(steps=4)))
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    file = model_file.read(run.model)
    sizes = SIZES[kind]["hidden"]
    assert file.spec.lstm.hidden_sizes == sizes
    assert file.spec.lstm.residual == SIZES[kind].get("residual", False)
    assert file.spec.version() == 6
    assert run.options().model.layers == len(sizes)
    model = load(run.model)
    assert model.lstm.hidden_sizes == sizes
    assert model.lstm.residual == file.spec.lstm.residual
    recording = gw.look(run, steps=12)
    assert [layer.cell.shape[-1] for layer in recording.layers] == list(sizes)
    ledger = recording.ledger(len(sizes) - 1, -1)
    np.testing.assert_allclose(ledger.total, ledger.cell, rtol=0, atol=1e-5)


def test_what_a_recording_predicts_is_what_the_model_gives(tmp_path: Path) -> None:
    """The head reads sums where connections are residual."""
    source, options = case("language", tmp_path)
    options = replace(options, model=replace(options.model, hidden=4, layers=2, residual=True))
    run, _ = train(source, options, run=tmp_path / "run", kind="language")
    recording = gw.look(run, steps=12)
    model = load(run.model)
    assert recording.symbols is not None
    with torch.no_grad():
        y = model(torch.from_numpy(recording.symbols)).y.log_softmax(-1)
    np.testing.assert_allclose(recording.predictions, y, rtol=0, atol=1e-5)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, options = (
        str(write_table(tmp_path / "load.csv", 200)),
        ["--target", "load", "--steps", "1", "--context", "12"],
    )
    run = str(tmp_path / "run")
    cli.main(["train", source, "--run", run, "--hidden", "6,4,3", "--no-refit", *options])
    cli.main(["info", run])
    assert "layers    3 layers of 6, 4 and 3 units\n" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["look", run, "--plain-rnn", "--save", str(tmp_path / "test.safetensors")])
    assert "--plain-rnn: expected a model with layers of one size, got (6, 4, 3)" in capsys.readouterr().err
    for wrong, message in (
        (
            ["--hidden", "6,4", "--residual"],
            "--residual: expected one size for all layers, or --proj, with it, got",
        ),
        (["--residual"], "--residual: expected --layers 2 or more with it, got one layer"),
        (["--hidden", "6,4", "--layers", "3"], "--layers: expected 2, as many as --hidden has, or none, got 3"),
        (["--hidden", "6,0"], "--hidden: expected a whole number from 1 to 2147483647, or one for each layer"),
        (["--hidden", "6,x"], "Invalid value for --hidden: expected a whole number, or several such as 128,64,32"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["train", source, "--run", str(tmp_path / "no"), *wrong, *options])
        assert message in capsys.readouterr().err


def test_an_estimator_takes_and_keeps_them(tmp_path: Path) -> None:
    x = np.sin(np.arange(80) * 2 * np.pi / 12)
    model = gw.Forecaster(context=12, hidden=[6, 4], steps=2, refit=False).fit(x)
    assert model.model_.lstm.hidden_sizes == (6, 4)
    model.save(tmp_path / "model.safetensors")
    assert gw.load(tmp_path / "model.safetensors").get_params()["hidden"] == (6, 4)
    equal = [
        gw.Forecaster(context=12, hidden=form, layers=layers, residual=True, steps=1, refit=False).fit(x)
        for form, layers in (([4, 4], None), (4, 2), (np.array([4, 4]), 2))
    ]
    assert len({each.model_.fingerprint for each in equal}) == 1
    assert equal[0].get_params()["residual"]
    with pytest.raises(GatewrightError, match=r"^residual: expected one size for all layers, or proj, with it"):
        gw.Forecaster(hidden=[6, 4], residual=True).fit(x)
    with pytest.raises(GatewrightError, match=r"^hidden: expected a whole number, or one for each layer"):
        gw.Forecaster(hidden=[6, 4.5]).fit(x)


def test_a_search_tries_them() -> None:
    space = space_of(["hidden=8,6+4", "residual=true,false"])
    assert entries_of(space) == ["hidden=8,6+4", "residual=true,false"]
    tried = with_values(Options(), {"hidden": "6+4", "residual": "true"}).model
    assert (tried.hidden, tried.residual) == ((6, 4), True)
    assert with_values(Options(), {"hidden": 8}).model.hidden == 8
    assert str(space_of(["hidden=8:64:log"])["hidden"]) == "8:64:log"
    for wrong in ("hidden=8,x", "hidden=8,8", "residual=yes"):
        with pytest.raises(GatewrightError, match=r"^--search"):
            space_of([wrong])
    x = np.sin(np.arange(80) * 2 * np.pi / 12)
    forecaster = gw.Forecaster(context=12, steps=1, refit=False, transform="none", scale="global")
    found = gw.tune(forecaster, x, trials=2, search={"hidden": [[3, 2], [4, 4]], "residual": [True, False]})
    assert found.best_params_["hidden"] in ((3, 2), (4, 4))
    space = space_of(["residual=true", "layers=2:3"])  # which one layer alone would not allow
    assert checked(KINDS["forecast"].resolve, Options(), space, tuple(space)) == space
    options = Options(model=ModelOptions(hidden=(6, 4)))
    assert list(checked(KINDS["forecast"].resolve, options, space_of(["layers=1:2", "lr=0.1,0.2"]))) == ["lr"]
