"""Training of models whose cell is not the plain one: what is trained, kept, and taken up again."""

from __future__ import annotations

import io
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from rich.console import Console

import gatewright as gw
from gatewright import cli
from gatewright.errors import GatewrightError
from gatewright.files import model_file
from gatewright.insight import Recording, diagnose, intervene
from gatewright.inspector.payload import Payload
from gatewright.nn import random_masks, variant
from gatewright.nn.model import load
from gatewright.runs.run import Run
from gatewright.tasks.forecast.step_counters import LEAST_WIDTH
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train import trainer
from gatewright.train.launch import resume, train
from tests.support.classified import digits
from tests.support.tagged import walks
from tests.support.training_runs import (
    FORECAST,
    LANGUAGE,
    train_in_process,
    weights,
    write_table,
    write_text,
)

#: Every random choice, and gates of other kinds; without dropout between layers, which would set the seed, too.
RANDOM = ("zoneout_cell=0.2", "hidden_dropout=0.2", "candidate_dropout=0.2", "weight_drop=0.2")
RANDOM_HIDDEN = ("hidden_dropout=0.2", "weight_drop=0.2")
FEW = TrainingOptions(steps=4, batch=4, validate_every=2, seed=3, device="cpu", schedule="constant", refit=False)


def options_of(base: Options, *cell: str, **training: Any) -> Options:
    model = replace(base.model, layers=1, dropout=0.0, cell=cell)
    training = {"steps": 4, "validate_every": 2, "schedule": "constant", **training}
    return replace(base, model=model, training=replace(base.training, **training))


def case(kind: str, folder: Path) -> tuple[Any, Options]:
    """Source and options of a small training of a kind, each with features of its own."""
    if kind == "forecast":
        return write_table(folder / "load.csv", 200), options_of(FORECAST, "layer_norm", "peephole", *RANDOM)
    if kind == "language":
        text = write_text(folder / "plays.txt", 2000)
        return text, options_of(LANGUAGE, "coupled", "zoneout_hidden=0.1", *RANDOM, precision="bf16")
    if kind == "slstm":  # of a text, whose states of three parts are carried from batch to batch
        text = write_text(folder / "plays.txt", 2000)
        return text, options_of(LANGUAGE, "slstm", "heads=2", *RANDOM_HIDDEN)
    sizes = {"hidden": 6, "dropout": 0.0}
    if kind == "classify":
        cell = ("cell_clip=2", "gate_activation=hard_sigmoid", *RANDOM)
        return digits(60, 2), Options(DataOptions(), ModelOptions(cell=cell, **sizes), FEW)
    cell = ("forget_gate=false", "candidate_activation=identity", *RANDOM)
    return walks(12), Options(DataOptions(label_per="step"), ModelOptions(cell=cell, **sizes), FEW)


@pytest.mark.parametrize("kind", ["forecast", "language", "slstm", "classify", "tag"])
def test_a_run_with_a_cell_repeats_and_goes_on_to_the_same_bits(kind: str, tmp_path: Path) -> None:
    source, options = case(kind, tmp_path)
    kind = kind.replace("slstm", "language")
    run, _ = train(source, options, run=tmp_path / "whole", kind=kind)
    first = replace(options, training=replace(options.training, steps=2))
    train(source, first, run=tmp_path / "parts", kind=kind)
    torch.manual_seed(99)  # what was drawn before does not matter
    parts = Run.open(tmp_path / "parts", None if isinstance(source, Path) else source)
    resume(parts, Options(training=TrainingOptions(steps=4)))
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    # The masks do: without them the same steps have other weights.
    still = tuple(word for word in options.model.cell or () if word not in (*RANDOM, "zoneout_hidden=0.1"))
    train(source, replace(options, model=replace(options.model, cell=still)), run=tmp_path / "still", kind=kind)
    other = weights(tmp_path / "still")
    assert any(other[name] != value for name, value in weights(tmp_path / "whole").items())
    file = model_file.read(run.model)
    assert set(options.model.cell or ()) == set(run.options().model.cell or ())
    words = {word.partition("=")[0].replace("slstm", "kind") for word in options.model.cell or ()}
    assert words == set(file.spec.lstm.features())
    assert load(run.model).lstm.cell == file.spec.lstm.cell
    looked_into(run)


def looked_into(run: Run) -> None:
    """The run is recorded, split, diagnosed, changed and shown in the cell that it has."""
    recording = gw.look(run, steps=12)
    last = len(recording.layers) - 1
    ledger = recording.ledger(last, -1)
    np.testing.assert_allclose(ledger.total, ledger.cell, rtol=0, atol=1e-5)
    assert recording.about.cell == file_cell(run)
    assert len(diagnose(recording).layers) == len(list(recording.records()))
    changed = intervene(run, steps=12, clamp={last: {"output_gate": (None, 0.0)}})
    np.testing.assert_array_equal(changed.layers[last].cell[0], recording.layers[last].cell[0])
    assert Payload(changed, "a").meta()["cell"]["zoneout_cell"] == recording.about.cell.zoneout_cell


def file_cell(run: Run) -> gw.CellSpec:
    return model_file.read(run.model).spec.lstm.cell.in_evaluation()


def test_processes_draw_other_masks_and_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step of each process has a seed of its own, which a resumed run draws again."""
    source, options = case("language", tmp_path)
    seeds: list[int] = []

    def seen() -> torch.Tensor:
        seeds.append(int(random_masks.new_seed()))
        return torch.tensor(seeds[-1])

    monkeypatch.setattr(variant, "new_seed", seen)
    monkeypatch.setattr(Accelerator, "num_processes", property(lambda _: 2))
    # The other process takes no part here: this one counts for both.
    monkeypatch.setattr(trainer, "Sum", lambda values: SimpleNamespace(wait=lambda: values))
    monkeypatch.setattr(trainer, "gathered", lambda tensor: [tensor, tensor])
    monkeypatch.setattr(trainer, "of_the_first", lambda score: score)
    of_ranks = []
    for rank in (0, 1):
        monkeypatch.setattr(Accelerator, "process_index", property(lambda _, rank=rank: rank))
        for steps in (4, 2):
            own = replace(options, training=replace(options.training, steps=steps))
            train(source, own, run=tmp_path / f"{rank}, {steps}", kind="language")
        resume(tmp_path / f"{rank}, 2", Options(training=TrainingOptions(steps=4)))
        whole, parts = seeds[:4], seeds[4:]
        assert whole == parts
        of_ranks += whole
        seeds.clear()
    assert len(set(of_ranks)) == 8


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    source, options = case("language", tmp_path)
    options = replace(options, training=replace(options.training, checkpoint_every=1))
    train(source, options, run=tmp_path / "whole", kind="language")
    process = train_in_process(source, tmp_path / "killed", options, kill_in_write=14)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / "killed" / "checkpoint.safetensors").exists()
    resume(tmp_path / "killed")
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_what_a_run_says_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_table(tmp_path / "load.csv", 200)
    wide = options_of(FORECAST, "peephole", "layer_norm")
    wide = replace(wide, model=replace(wide.model, hidden=LEAST_WIDTH), training=replace(wide.training, steps=1))
    output = io.StringIO()
    run, _ = train(source, wide, run=tmp_path / "run", console=Console(file=output, width=200))
    text = output.getvalue()
    assert "cell: peephole layer_norm\n" in text
    assert "first rows of a stream: a cell with layer_norm\n" in text
    cli.main(["info", str(run.path)])
    shown = capsys.readouterr().out
    weights_of_all = sum(tensor.size for tensor in model_file.read(run.model).tensors.values())
    for line in (
        "kind      forecast",
        f"layers    1 layer of {LEAST_WIDTH} units",
        "cell      peephole layer_norm",
    ):
        assert f"{line}\n" in shown
    assert shown.endswith(f"weights   {weights_of_all:,}\n")
    cli.main(["look", str(run.path), "--save", str(tmp_path / "test.safetensors")])
    assert Recording.load(tmp_path / "test.safetensors").about.cell == gw.CellSpec(peephole=True, layer_norm=True)
    with pytest.raises(GatewrightError, match=r"int8"):
        gw.Stream.load(run.path / "model.safetensors", weights="int8")
    with pytest.raises(GatewrightError, match=r"^--cell: expected \('peephole', 'layer_norm'\), as the initial"):
        train(source, Options(model=ModelOptions(cell=("peephole",))), run=tmp_path / "b", initial=load(run.model))
    with pytest.raises(GatewrightError, match=r"^--cell: expected the run's own value with --resume"):
        resume(run.path, Options(model=ModelOptions(cell=("plain",))))
    later, _ = train(
        source, Options(DataOptions(), ModelOptions(), FEW), run=tmp_path / "c", initial=load(run.model)
    )
    assert later.options().model.cell == ("peephole", "layer_norm")


def test_an_estimator_trains_a_cell_and_keeps_it(tmp_path: Path) -> None:
    x = np.sin(np.arange(80) * 2 * np.pi / 12)
    cell = gw.CellSpec(layer_norm=True, zoneout_cell=0.1)
    models = [
        gw.Forecaster(context=12, hidden=6, steps=2, refit=False, cell=form).fit(x)
        for form in (cell, {"zoneout_cell": 0.1, "layer_norm": True}, "zoneout_cell=0.1 layer_norm")
    ]
    assert len({model.model_.fingerprint for model in models}) == 1
    assert models[0].model_.lstm.cell == cell
    models[0].save(tmp_path / "model.safetensors")
    assert gw.load(tmp_path / "model.safetensors").get_params()["cell"] == ("layer_norm", "zoneout_cell=0.1")
    with pytest.raises(GatewrightError, match=r"^cell: expected plain alone, or .* did you mean 'layer_norm'"):
        gw.Forecaster(cell={"layernorm": True}).fit(x)
