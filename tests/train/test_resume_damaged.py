"""A run whose files are damaged is refused in one line, before any of them is used."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from gatewright import cli
from gatewright.errors import GatewrightError
from gatewright.tasks.options import FREE, Options, TrainingOptions
from gatewright.train import checkpoint
from gatewright.train.launch import resume, train
from tests.support.training_runs import FORECAST, LANGUAGE, quiet, weights, write_table, write_text

pytestmark = pytest.mark.slow

Tensors = dict[str, Tensor]
Progress = dict[str, Any]
STEPS = 4


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind, that has a best model and can go on."""
    folder = tmp_path_factory.mktemp("trained")
    runs = {}
    for kind, options, source in (
        ("forecast", FORECAST, write_table(folder / "load.csv")),
        ("language", LANGUAGE, write_text(folder / "plays.txt")),
    ):
        short = TrainingOptions(steps=STEPS, batch=4, validate_every=2, checkpoint_every=1, seed=3, device="cpu")
        runs[kind] = folder / kind
        train(source, Options(options.data, options.model, short), run=runs[kind], console=quiet())
    return runs


def go_on(run: Path) -> None:
    resume(run, Options(training=TrainingOptions(steps=STEPS + 1)), console=quiet())


def refusal(run: Path) -> str:
    """Return the one line that a resumed run is refused with; nothing has changed then."""
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file() and path.name != ".lock"}
    with pytest.raises(GatewrightError) as caught:
        go_on(run)
    after = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file() and path.name != ".lock"}
    assert after == before
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 500
    return line


def rewrite(run: Path, change: Callable[[Tensors, dict[str, str]], None]) -> None:
    """Change tensors and metadata of a run's checkpoint."""
    path = run / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors, metadata)
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    metadata["digest"] = checkpoint.digest(tensors)
    save_file(tensors, path, metadata)


# --- tensors

CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "shortened": lambda value: value.flatten()[:-1],
    "empty": lambda value: value.flatten()[:0],
    "widened": lambda value: torch.cat([value.flatten(), torch.zeros(1, dtype=value.dtype)]),
    "with an axis more": lambda value: value[None],
    "in float64": lambda value: value.double(),
    "in float16": lambda value: value.half(),
    "in bfloat16": lambda value: value.bfloat16(),
    "in whole numbers": lambda value: value.long(),
    "in bool": lambda value: value.bool(),
    "NaN": lambda value: torch.full_like(value, torch.nan),
    "one NaN": lambda value: value.flatten().index_fill(0, torch.tensor([0]), torch.nan).reshape(value.shape),
    "infinite": lambda value: value - torch.inf,
}
FORECAST_TENSORS = [
    "model.lstm.weight_hh_l1", "model.head.bias", "optimizer.0.exp_avg", "optimizer.0.step", "optimizer.9.step",
    "optimizer.9.exp_avg_sq",
]  # fmt: skip
LANGUAGE_TENSORS = ["model.encoder.weight", "carried.hidden", "carried.cell"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", [*FORECAST_TENSORS, *LANGUAGE_TENSORS])
def test_a_damaged_tensor_is_named(trained: dict[str, Path], tmp_path: Path, name: str, change: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained["language" if name in LANGUAGE_TENSORS else "forecast"], run)
    rewrite(run, lambda tensors, _: tensors.update({name: CHANGES[change](tensors[name])}))
    line = refusal(run)
    assert f"checkpoint.safetensors: {name}: expected" in line


@pytest.mark.parametrize("kind", ["forecast", "language"])
def test_each_tensor_has_to_be_there_and_no_other(trained: dict[str, Path], tmp_path: Path, kind: str) -> None:
    names = sorted(load_file(trained[kind] / "checkpoint.safetensors"))
    assert len(names) == {"forecast": 10 * 4, "language": 7 * 4 + 2}[kind]
    run = tmp_path / "run"
    shutil.copytree(trained[kind], run)
    for name in names:
        shutil.copy(trained[kind] / "checkpoint.safetensors", run)
        rewrite(run, lambda tensors, _, name=name: tensors.pop(name))  # type: ignore[misc]
        assert f"without '{name}'" in refusal(run)
    for extra in ("model.lstm.weight_ih_l2", "optimizer.99.step", "optimizer.0.max_exp_avg_sq", "optimizer.x",
                  "optimizer.-1.step", "carried.other", "rng", "", "model.", "é\n"):  # fmt: skip
        shutil.copy(trained[kind] / "checkpoint.safetensors", run)
        rewrite(run, lambda tensors, _, extra=extra: tensors.update({extra: torch.zeros(3)}))  # type: ignore[misc]
        assert "with " in refusal(run)


def test_states_are_carried_only_where_they_go_on(trained: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)
    rewrite(run, lambda tensors, _: tensors.update({"carried.hidden": torch.zeros(2, 4, 8)}))
    assert "with 'carried.hidden'" in refusal(run)


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("optimizer.3.step", torch.tensor(3.0), "expected the run's 4 steps, got 3"),
        ("optimizer.3.step", torch.tensor(-4.0), "expected the run's 4 steps, got -4"),
        ("optimizer.3.step", torch.tensor(1e30), "expected the run's 4 steps, got 1e+30"),
        ("optimizer.3.exp_avg_sq", torch.tensor(-1e-9), "none below 0, got -1e-09"),
    ],
)
def test_numbers_that_no_run_leaves(
    trained: dict[str, Path], tmp_path: Path, name: str, value: Tensor, part: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)

    def change(tensors: Tensors, _: object) -> None:
        tensors[name] = value.expand(tensors[name].shape)

    rewrite(run, change)
    assert part in refusal(run)


# --- progress

WRONG: dict[str, list[Any]] = {
    "step": [-1, 3, 5, 4.0, "4", None, True, 2**53, 10**30, float("nan"), [4], {}],
    "best": [float("nan"), float("inf"), float("-inf"), 1, "1", None, True, []],
    "best_step": [-1, 5, 2.0, "2", None, True, 10**30, float("nan")],
    "validations_since_best": [-1, 3, 10**30, 0.0, "0", None, False],
    "seconds": [-1.0, float("nan"), float("inf"), 1, "1", None],
    "loss_sum": [float("nan"), float("-inf"), 0, "0", None],
    "loss_steps": [-1, 5, 10**30, 0.0, "0", None, float("nan")],
    "finished": ["yes", 0, None, True, ["steps"], "steps "],
}


def set_progress(run: Path, change: Callable[[Progress], object]) -> None:
    def rewritten(_: Tensors, metadata: dict[str, str]) -> None:
        progress = json.loads(metadata["progress"])
        changed = change(progress)
        metadata["progress"] = changed if isinstance(changed, str) else json.dumps(progress)

    rewrite(run, rewritten)


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_field_of_the_progress_is_named(trained: dict[str, Path], tmp_path: Path, field: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)
    for value in WRONG[field]:
        shutil.copy(trained["forecast"] / "checkpoint.safetensors", run)

        def change(progress: Progress, value: object = value) -> None:
            progress.update({"best_step": 2, "validations_since_best": 0, field: value})

        set_progress(run, change)
        line = refusal(run)
        assert "checkpoint.safetensors: " in line, (value, line)
        if field == "step" and value in (3, 5):
            assert f"expected the run's {value} steps, got 4" in line
        else:
            assert f"progress.{field}" in line or field == "step", (value, line)
    shutil.copy(trained["forecast"] / "checkpoint.safetensors", run)
    set_progress(run, lambda progress: [progress.pop(field)])
    assert "expected the fields step, best, " in refusal(run)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "4", '"step"', "{}", "[" * 100_000, '{"step": ' + "9" * 5000 + "}", "\ud83d"[:0]],
)
def test_progress_that_is_none(trained: dict[str, Path], tmp_path: Path, text: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)
    set_progress(run, lambda _: text)
    assert "progress: expected " in refusal(run)


def test_fields_that_nobody_knows(trained: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)
    set_progress(run, lambda progress: progress.update(rng=1))
    assert "'rng'" in refusal(run)


@pytest.mark.parametrize("value", [None, "1", "3", "", "two"])
def test_another_format(trained: dict[str, Path], tmp_path: Path, value: str | None) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)

    def change(_: Tensors, metadata: dict[str, str]) -> None:
        del metadata["gatewright_checkpoint"]
        if value is not None:
            metadata["gatewright_checkpoint"] = value

    rewrite(run, change)
    assert "expected a checkpoint of format 2" in refusal(run)


# --- files


def damages(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Give what may become of a file's bytes."""
    for size in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        yield f"cut to {size}", whole[:size]
    yield "longer", whole + b"\0"
    yield "zeros", bytes(len(whole))
    yield "a long header", b"\xff" * 8 + whole[8:]
    yield "a header of another length", bytes([whole[0] ^ 1]) + whole[1:]
    yield "not UTF-8", whole[:9] + b"\xff\xfe" + whole[11:]
    yield "text", b"hello\n" * 50


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "model.safetensors"])
def test_a_file_of_tensors_that_is_cut_or_overwritten(trained: dict[str, Path], tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)
    for what, data in damages((run / name).read_bytes()):
        shutil.copy(trained["forecast"] / name, run)
        (run / name).write_bytes(data)
        assert name in refusal(run), what


@pytest.mark.parametrize(
    "name", ["checkpoint.safetensors", "model.safetensors", "config.toml", "source.json", "metrics.jsonl"]
)
@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_something_else_in_a_file_s_place_is_not_waited_for(
    trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)
    monkeypatch.chdir(run)  # the whole path may be longer than that of a socket
    path = run / name
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        make: dict[str, Callable[[], object]] = {
            "folder": path.mkdir,
            "pipe": lambda: os.mkfifo(path),
            "socket": lambda: listening.bind(path.name),
            "device": lambda: path.symlink_to("/dev/zero"),
        }
        make[kind]()
        line = refusal(run)
    assert name in line or "the directory of a run" in line


def test_a_bit_that_is_another_one_is_noticed(trained: dict[str, Path], tmp_path: Path) -> None:
    """In a weight, in the optimizer's state: a number like the others, and another training."""
    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)
    whole = (run / "checkpoint.safetensors").read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")
    for place in (begin, begin + (len(whole) - begin) // 2, len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1
        (run / "checkpoint.safetensors").write_bytes(changed)
        assert "checkpoint.safetensors: expected " in refusal(run)


def test_a_best_model_or_a_checkpoint_that_is_gone(trained: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)
    (run / "model.safetensors").unlink()
    assert "model.safetensors: the file does not exist" in refusal(run)
    shutil.copy(trained["language"] / "model.safetensors", run)
    assert "model.safetensors: expected the best model of this run, got a model of another run" in refusal(run)
    shutil.copy(trained["forecast"] / "model.safetensors", run)
    shutil.copy(trained["language"] / "checkpoint.safetensors", run)
    assert "checkpoint.safetensors: expected the options of config.toml" in refusal(run)
    (run / "checkpoint.safetensors").unlink()
    assert "expected the checkpoint that belongs to model.safetensors, got nothing there" in refusal(run)


TEXTS = [
    b"",
    b"\xff\xfe",
    b"\0",
    b"{",
    b"[",
    b"null",
    b"[]",
    b"{}",
    b"[data]\n[data]\n",
    b"=",
    b"[training]\nsteps = -1\n",
    b"[training]\nsteps = 1.5\n",
    b"[training]\nsteps = '3'\n",
    b"[training]\nlr = nan\n",
    b"[training]\nlr = inf\n",
    b"[training]\nlr = 1" + b"0" * 400 + b"\n",
    b"[training]\nbatch = 0\n",
    b"[training]\nbatch = 5\nrng = 1\n",
    b"[training]\nlr = []\n",
    b"training = 1\n",
    b"[model]\nhidden = 9\n",
    b"[model]\nhidden = 1e3\n",
    b"[model]\nlayers = true\n",
    b"[data]\ntarget = 1979-05-27T07:32:00Z\n",
    b"[data]\ntarget = [[1]]\n",
    b"[data]\nquantiles = ['a']\n",
    b"[data]\nhorizon = 9223372036854775807\n",
    b"[other]\n",
    b"[" * 5000,
    b'{"kind": 1, "source": "x", "sha256": "y"}',
    b'{"kind": "forecast", "source": 1, "sha256": "y"}',
    b'{"kind": "other", "source": "x", "sha256": "y"}',
    b'{"kind": "forecast", "source": "\\u0000", "sha256": "y"}',
    b'{"kind": "forecast", "source": "' + b"a" * 5000 + b'", "sha256": "y"}',
    b'{"kind": "forecast"}',
]


@pytest.mark.parametrize("name", ["config.toml", "source.json"])
def test_what_a_run_was_told_damaged_by_hand(trained: dict[str, Path], tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)
    whole = (run / name).read_bytes()
    for text in [*TEXTS, *(whole[:size] for size in range(0, len(whole), 40)), whole.replace(b"=", b"", 1)[:-3]]:
        (run / name).write_bytes(text)
        refusal(run)


def test_other_options_than_the_run_s_are_refused(trained: dict[str, Path], tmp_path: Path) -> None:
    """A line of config.toml that is gone would mean the default, and another training."""
    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)
    lines = (run / "config.toml").read_text().splitlines(keepends=True)
    refused = 0
    for number, line in enumerate(lines):
        if " = " not in line or line.split()[0] in FREE:
            continue
        (run / "config.toml").write_text("".join(lines[:number] + lines[number + 1 :]))
        refusal(run)
        refused += 1
    assert refused > 20
    (run / "config.toml").write_text("".join(line for line in lines if not line.startswith("patience")))
    go_on(run)


def test_metrics_that_are_damaged_do_not_stop_a_run(trained: dict[str, Path], tmp_path: Path) -> None:
    """They are for people, and what can be read of them stays."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    for copy in (run, whole):
        shutil.copytree(trained["forecast"], copy)
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    bad = [b"\xff\xfe\n", b"[1]\n", b'{"step": "x"}\n', b'{"step": null}\n', b"[" * 100_000 + b"\n", b'{"step": 1']
    (run / "metrics.jsonl").write_bytes(b"".join([*lines, *bad]))
    go_on(run)
    go_on(whole)
    assert weights(run) == weights(whole)
    assert (run / "metrics.jsonl").read_bytes().startswith(b"".join(lines))


# --- two at once, and the command line


def test_of_two_that_train_in_a_run_one_is_refused(trained: dict[str, Path], tmp_path: Path) -> None:
    from gatewright.runs.run import Run

    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)
    source = json.loads((run / "source.json").read_text())["source"]
    with Run(run).alone():
        expected = f"--run: expected a directory in which no other process trains, got {run}, in which process "
        assert refusal(run) == f"{expected}{os.getpid()} trains"
        with pytest.raises(GatewrightError, match="in which no other process trains"):
            train(source, FORECAST, run=run, console=quiet())
    with Run(tmp_path / "new").alone(), pytest.raises(GatewrightError, match="in which no other process trains"):
        train(source, FORECAST, run=tmp_path / "new", console=quiet())
    go_on(run)


def test_the_command_says_it_in_one_line(
    trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An optimizer state that is shorter than the weights once ended the process with SIGSEGV."""
    run = tmp_path / "run"
    shutil.copytree(trained["forecast"], run)
    rewrite(run, lambda tensors, _: tensors.update({"optimizer.0.exp_avg": torch.zeros(1)}))
    with pytest.raises(SystemExit) as end:
        cli.main(["train", "--run", str(run), "--resume", "--steps", "9"])
    assert end.value.code == 1
    output, complaint = capsys.readouterr()
    assert output.replace("loading torch\n", "") == ""
    expected = "error: " + str(run / "checkpoint.safetensors") + ": optimizer.0.exp_avg: expected F32 "
    assert complaint.startswith(expected)
    assert complaint.count("\n") == 1
