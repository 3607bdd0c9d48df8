"""Training in bf16: the layers compute in it while they learn, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright import kernels
from gatewright.errors import GatewrightError
from gatewright.files import model_file
from gatewright.nn import direct_call, precision
from gatewright.nn.model import load
from gatewright.runs.run import Run
from gatewright.tasks.options import Options, TrainingOptions
from gatewright.train import nonfinite
from gatewright.train.launch import reopen, resume, train
from tests.support.classified import digits
from tests.support.tagged import walks
from tests.support.training_runs import FORECAST, LANGUAGE, quiet, weights, write_table, write_text


def changed(options: Options, **training: Any) -> Options:
    return replace(options, training=replace(options.training, **training))


KINDS = {
    "forecast": (write_table, changed(FORECAST, steps=8, validate_every=4)),
    "language": (write_text, changed(LANGUAGE, steps=24, validate_every=8)),
}


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The arithmetic of each pass of a layer, and whether it kept what a backward pass needs."""
    calls: list[str] = []
    forward = kernels.forward

    def noted(*arrays: Any, keep: bool = False, **options: Any) -> kernels.Forward:
        calls.append(f"{arrays[4].compute}{' kept' if keep else ''}")
        return forward(*arrays, keep=keep, **options)

    native = direct_call._kernels
    direct = native.tensor_forward

    def noted_directly(*arguments: Any) -> bool:
        taken: bool = direct(*arguments)
        if taken:
            compute = "full" if arguments[-1] == precision.FULL else "bf16"
            calls.append(f"{compute}{'' if arguments[7] is None else ' kept'}")
        return taken

    monkeypatch.setattr(kernels, "forward", noted)
    monkeypatch.setattr(native, "tensor_forward", noted_directly)
    return calls


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_bf16_goes_on_to_the_same_bits_and_leaves_a_float32_model(
    kind: str, tmp_path: Path, computed: list[str]
) -> None:
    write, options = KINDS[kind]
    source = write(tmp_path / "source.csv" if kind == "forecast" else tmp_path / "plays.txt")
    steps = options.training.steps or 0
    in_bf16 = changed(options, precision="bf16", schedule="constant")
    train(source, in_bf16, run=tmp_path / "bf16", console=quiet())
    assert computed.count("bf16 kept") == steps * (options.model.layers or 1)
    assert "bf16" not in computed  # validations are in float32

    stopped = tmp_path / "stopped"
    train(source, changed(in_bf16, steps=steps // 2), run=stopped, console=quiet())
    resume(stopped, Options(training=TrainingOptions(steps=steps)), console=quiet())
    assert weights(stopped) == weights(tmp_path / "bf16")
    with pytest.raises(GatewrightError, match=r"--precision: expected the run's own value with --resume, 'bf16'"):
        resume(stopped, Options(training=TrainingOptions(precision="float32")), console=quiet())

    file = model_file.read(tmp_path / "bf16" / "model.safetensors")
    assert {tensor.dtype for tensor in file.tensors.values()} == {np.dtype(np.float32)}
    if kind == "language":
        # What the training printed is what the model file says, to the last bit.
        _, task = reopen(Run.open(tmp_path / "bf16"))
        task.model.load_state_dict(load(tmp_path / "bf16").state_dict())
        assert task.model.eval().lstm.compute == "full"
        assert task.validate() == min(scores(tmp_path / "bf16"))

        del computed[:]
        train(source, changed(in_bf16, precision="float32"), run=tmp_path / "float32", console=quiet())
        assert not {"bf16", "bf16 kept"} & set(computed)
        found, expected = scores(tmp_path / "bf16"), scores(tmp_path / "float32")
        assert found != expected
        assert np.abs(np.subtract(found, expected)).max() < 0.005  # nats


def scores(run: Path) -> list[float]:
    """The validation scores of a run."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["valid"] for line in lines if "valid" in line]


def test_a_nan_is_traced_in_bf16_too(tmp_path: Path) -> None:
    source = write_table(tmp_path / "load.csv")
    broken = changed(FORECAST, steps=9, validate_every=9, lr=1e38, warmup=0, clip=0.0, precision="bf16")
    with pytest.raises(GatewrightError, match="the last good checkpoint"):
        train(source, broken, run=tmp_path / "run", console=quiet())
    _, task = reopen(Run.open(tmp_path / "run"))
    task.model.lstm.compute = "bf16"
    with torch.no_grad():
        task.model.lstm.weight_ih_l1[16 + 5] = float("nan")
    message = str(nonfinite.error(task, 0, "loss", float("nan"), last_good=0))
    assert "first in the candidate of layer 1, at step 1 of the sequence" in message


def test_every_estimator_has_it(computed: list[str]) -> None:
    few: dict[str, Any] = {"hidden": 6, "steps": 2, "batch": 8, "validate_every": 2, "precision": "bf16"}
    rows = np.sin(np.arange(200) / 3)
    walked, drawn = walks(), digits(60, 3)
    fits = {
        "forecast": lambda: gw.Forecaster(horizon=2, context=8, refit=False, season="none", **few).fit(rows),
        "language": lambda: gw.LanguageModel(context=8, **few).fit("to be or not to be. " * 60),
        "classify, refitted": lambda: gw.SequenceClassifier(refit=True, **few).fit(
            list(drawn.values), list(drawn.labels)
        ),
        "tag": lambda: gw.SequenceTagger(**few).fit(list(walked.values), step_names(walked)),
    }
    for name, fit in fits.items():
        del computed[:]
        fit()
        assert computed.count("bf16 kept") == (2 * 2 * 2 if name == "classify, refitted" else 2), name
        assert not {"full kept", "bf16"} & set(computed), name


def step_names(sequences: Any) -> list[Any]:
    from tests.support.tagged import step_labels

    return step_labels(sequences)


def test_other_devices_have_no_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate.Accelerator.device", torch.device("cuda"))
    source = write_table(tmp_path / "load.csv")
    options = changed(FORECAST, precision="bf16", device="auto")
    with pytest.raises(GatewrightError, match=r"^--precision: expected float32 on other devices than the CPU"):
        train(source, options, run=tmp_path / "run", console=quiet())
    assert not (tmp_path / "run").exists()
