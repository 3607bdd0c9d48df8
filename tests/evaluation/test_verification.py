"""`gatewright verify`: what differs, by how much and where, against models that were changed on purpose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gatewright
from gatewright import cli
from gatewright.errors import GatewrightError
from gatewright.evaluation.output_differences import OutputDifferences
from gatewright.evaluation.verification import lines, verify
from gatewright.files import model_file
from gatewright.nn.model import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    rng = np.random.default_rng(0)
    rows = [f"{np.datetime64('2024-01-01') + t},{40 + 5 * np.sin(t / 3) + rng.normal():.4f}" for t in range(220)]
    (folder / "load.csv").write_text("\n".join(["time,load", *rows]) + "\n")
    numbers = ["--hidden", "4", "--steps", "2", "--context", "8", "--batch", "4"]
    cli.main(
        [
            "train",
            str(folder / "load.csv"),
            "--target",
            "load",
            "--horizon",
            "3",
            "--run",
            str(folder / "run"),
            *numbers,
        ]
    )
    cases = [f"{case},{rng.normal():.4f},{'ab'[case % 2]}" for case in range(40) for _ in range(4)]
    (folder / "cases.csv").write_text("\n".join(["case,x,label", *cases]) + "\n")
    options = ["--id", "case", "--label", "label", "--hidden", "4", "--steps", "2", "--batch", "4"]
    cli.main(
        ["train", str(folder / "cases.csv"), "--run", str(folder / "classes"), "--directions", "both", *options]
    )
    return folder


def changed(source: Path, name: str, place: int, by: float, target: Path) -> Path:
    """Write a model with one number of its head changed."""
    file = model_file.read(source / "model.safetensors")
    tensors = {key: array.copy() for key, array in file.tensors.items()}
    tensors[name].reshape(-1)[place] += by
    model_file.write(target, replace(file, tensors=tensors))
    return target


def test_a_changed_bias_is_found_where_it_is(folder: Path, tmp_path: Path) -> None:
    file = model_file.read(folder / "run" / "model.safetensors")
    assert file.scaler is not None
    horizon, targets, levels = file.spec.output_shape
    place = np.ravel_multi_index((1, 0, levels - 1), (horizon, targets, levels))
    other = changed(folder / "run", "head.bias", int(place), 0.25, tmp_path / "other.safetensors")
    found = verify(folder / "run", other, folder / "load.csv")
    assert [each.name for each in found.differences] == ["load 0.1", "load 0.5", "load 0.9"]
    low, middle, high = found.differences
    assert (low.absolute, middle.absolute, high.part) == (0, 0, "t+2")
    # The head's units are those of the scaler; every step of every window differs by as much.
    assert high.absolute == pytest.approx(0.25 * file.scaler.scale[0], rel=1e-5)
    assert high.relative == pytest.approx(high.absolute / high.scale)
    assert high.b - high.a == pytest.approx(high.absolute)
    assert not found.agrees
    assert found.largest == high
    assert found.steps % file.spec.encoder.context == 0
    assert verify(folder / "run", other, folder / "load.csv", tolerance=0.5).agrees
    assert "t+2" in str([list(column.cells) for column in lines(found).columns])


def test_the_command_and_its_exit_status(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = str(folder / "run"), str(folder / "load.csv")
    cli.main(["verify", run, run, "--data", data])
    assert "A and B agree: the largest difference is 0.00e+00 of the scale" in capsys.readouterr().out
    other = str(changed(folder / "run", "head.bias", 0, 0.1, tmp_path / "other.safetensors"))
    with pytest.raises(SystemExit, match="1"):
        cli.main(["verify", other, run, "--data", data])
    assert "A and B differ" in capsys.readouterr().out
    cli.main(["verify", other, other, "--data", data, "--run", run])
    with pytest.raises(SystemExit, match="1"):
        cli.main(["verify", other, other, "--data", data])
    assert "--run: expected the run whose data this is like" in capsys.readouterr().err


def test_a_model_of_both_directions_and_one_in_memory(folder: Path, tmp_path: Path) -> None:
    other = changed(folder / "classes", "head.bias", 0, 1e-3, tmp_path / "other.safetensors")
    model = load(other)
    found = verify(folder / "classes", model, folder / "cases.csv")
    assert [each.name for each in found.differences] == ["a", "b"]
    a, b = found.differences
    # The derivative of a softmax of two: p (1 - p), at the case in which it is largest.
    assert a.absolute == pytest.approx(1e-3 * a.a * (1 - a.a), rel=1e-2)
    assert b.absolute == pytest.approx(a.absolute, abs=1e-7)
    assert found.steps == 40


def test_onnx_files_next_to_their_runs(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import onnx
    from onnx import helper

    from gatewright.exchange.onnx import export
    from tests.support.onnx_models import model_of, values

    for run, data, steps in (("run", "load.csv", None), ("classes", "cases.csv", 40)):
        path = export(folder / run, tmp_path / f"{run}.onnx").path
        found = verify(folder / run, path, folder / data)
        assert found.agrees
        assert found.largest.relative < 1e-6
        assert found.steps == (steps or verify(folder / run, folder / run, folder / data).steps)
        other = changed(folder / run, "head.bias", 0, 0.01, tmp_path / f"{run}.safetensors")
        back = verify(path, other, folder / data, run=folder / run)
        expected = verify(folder / run, other, folder / data).largest
        assert (back.largest.name, back.largest.part) == (expected.name, expected.part)
        assert back.largest.absolute == pytest.approx(expected.absolute, rel=1e-3)
        assert not back.agrees
    with pytest.raises(GatewrightError, match=r"run\.onnx: expected the columns"):
        verify(folder / "classes", tmp_path / "run.onnx", folder / "cases.csv")
    foreign = tmp_path / "foreign.onnx"
    relu = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", [values("x")], [values("y")])
    onnx.save(model_of(relu), foreign)
    with pytest.raises(GatewrightError, match="an ONNX file that gatewright export wrote"):
        verify(folder / "run", foreign, folder / "load.csv")
    assert verify(torch.nn.ReLU(), foreign, np.float32([[-1.0, 2.0]])).agrees
    np.savez(tmp_path / "inputs.npz", x=np.float32([[-1.0, 2.0]]))
    cli.main(["verify", str(foreign), str(foreign), "--data", str(tmp_path / "inputs.npz")])
    np.savez(tmp_path / "others.npz", z=np.float32([[-1.0, 2.0]]))
    with pytest.raises(GatewrightError, match=r"data: expected arrays x for .*, got z"):
        verify(foreign, foreign, tmp_path / "others.npz")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(GatewrightError, match=r"objects\.npy: expected arrays of numbers"):
        verify(foreign, foreign, tmp_path / "objects.npy")
    with pytest.raises(GatewrightError, match="the file does not exist"):
        verify(foreign, foreign, tmp_path / "none.npy")
    with pytest.raises(GatewrightError, match="data: expected arrays for x"):
        verify(foreign, torch.nn.ReLU(), (np.ones(2), np.ones(2)))


def test_models_of_other_data_are_refused(folder: Path) -> None:
    with pytest.raises(GatewrightError, match="B: expected a model with the inputs and outputs of the other"):
        verify(folder / "run", folder / "classes", folder / "load.csv")
    with pytest.raises(
        GatewrightError, match=r"B: expected the directory of a run or a model file, got .*none, which"
    ):
        verify(folder / "load.csv", folder / "none", folder / "load.csv")
    file = model_file.read(folder / "run" / "model.safetensors")
    others = replace(file.spec, head=replace(file.spec.head, quantiles=(0.05, 0.5, 0.95)))  # type: ignore[call-arg]
    model_file.write(folder / "others.safetensors", replace(file, spec=others))
    with pytest.raises(GatewrightError, match=r"quantiles \(0.1, 0.5, 0.9\), got \(0.05"):
        verify(folder / "run", folder / "others.safetensors", folder / "load.csv")
    with pytest.raises(GatewrightError, match="A: expected a run, a model file"):
        verify(len, folder / "run", folder / "load.csv")
    with pytest.raises(GatewrightError, match="tolerance: expected a finite number"):
        verify(folder / "run", folder / "run", folder / "load.csv", tolerance=float("nan"))
    with pytest.raises(GatewrightError, match="a: expected a function, a module or an ONNX file"):
        verify(folder / "run", len, np.ones(2))
    with pytest.raises(GatewrightError, match="an ONNX file, got no file"):
        verify(folder / "none.onnx", len, np.ones(2))


def test_modules_and_functions_on_arrays() -> None:
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(3, 4, num_layers=2, dropout=0.5)
    ours = gatewright.LSTM(3, 4, num_layers=2, dropout=0.5)
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(1).normal(size=(5, 2, 3)).astype(np.float32)
    found = verify(ours, theirs, x)
    assert [each.name for each in found.differences] == ["0", "1.0", "1.1"]
    assert found.agrees
    assert ours.training
    assert theirs.training  # evaluation mode is for the call alone

    def moved(x: Any) -> Any:
        y, states = ours.eval()(torch.from_numpy(x))
        y[3, 1, 2] += 0.5
        return y.detach(), states

    worst = verify(ours, moved, x).largest
    assert (worst.name, worst.part) == ("0", "[3, 1, 2]")
    assert worst.absolute == pytest.approx(0.5)
    with pytest.raises(GatewrightError, match="b: expected 3 arrays, as a gives, got 1"):
        verify(ours, lambda x: x, x)
    with pytest.raises(GatewrightError, match=r"b: expected an output output of shape \(5, 2, 3\)"):
        verify(lambda x: x, lambda x: x[1:], x)


def test_missing_numbers_and_infinities() -> None:
    differences = OutputDifferences(["a", "b", "c", "d"])
    nan, inf = np.nan, np.inf
    ours, theirs = np.array([[[nan, nan, inf, inf]]]), np.array([[[nan, 1.0, inf, -inf]]])
    differences.add(ours, theirs, [0], 0)
    assert [each.absolute for each in differences.by_output()] == [0, inf, 0, inf]
