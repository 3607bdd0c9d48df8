"""A tagger learns by torch's cross-entropy, predicts as NumPy does, and is measured as by scikit-learn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import gatewright as gw
from gatewright import cli, equations
from gatewright.data.labels import step_labels_of
from gatewright.data.sequences import Sequences, sequences_of
from gatewright.errors import GatewrightError, SpecError
from gatewright.evaluation.quantization import quantize_run
from gatewright.evaluation.report import evaluate_run, predict_run
from gatewright.nn.model import Model, load
from gatewright.progress import SILENT
from gatewright.runs.run import Run
from gatewright.spec.cell import LayerWeights
from gatewright.tasks import registry
from gatewright.tasks.base import Share
from gatewright.tasks.classify.dataset import read_sequences
from gatewright.tasks.classify.predict import predict_proba as predict_sequences
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.settings import NoiseSettings, TrainingSettings
from gatewright.tasks.tag import dataset
from gatewright.tasks.tag.dataset import PieceSettings
from gatewright.tasks.tag.predict import predict_proba
from gatewright.tasks.tag.task import TagTask
from gatewright.train.launch import resume, train
from tests.support.class_models import COLUMNS, class_model, class_rows
from tests.support.lazy import LazyModule
from tests.support.tagged import long_table, step_labels, walks, write_walks
from tests.support.training_runs import quiet

if TYPE_CHECKING:
    from sklearn import metrics as judge
    from sklearn import neighbors
else:
    neighbors = LazyModule("sklearn.neighbors")
    judge = LazyModule("sklearn.metrics")

pytestmark = pytest.mark.slow

KIND = registry.kind("tag")
SMALL = Options(
    DataOptions(),
    ModelOptions(hidden=8, dropout=0.0),
    TrainingOptions(steps=60, batch=16, lr=3e-2, warmup=5, validate_every=20, device="cpu"),
)
TABLE = replace(SMALL, data=DataOptions(id=("who",), label="side", label_per="step", time="t"))


def by_numpy(model: Model, values: np.ndarray) -> np.ndarray:
    """Return the probabilities of each step by the equations of the cell in float64, and plain NumPy."""
    (encoder, _), scaler = model.spec.tagger, model.scaler
    x = (values - np.array(scaler.mean)) / np.array(scaler.scale)
    seen = ~np.isnan(x[:, [encoder.columns.index(name) for name in encoder.missing]])
    x = np.concatenate([np.where(np.isnan(x), 0.0, x), seen], axis=1)[:, None]
    for layer in range(model.spec.lstm.num_layers):
        ways = []
        for reverse in (False, True)[: 1 + model.spec.lstm.bidirectional]:
            weights = model.lstm.layer_weights(layer, reverse)
            wide = (None if W is None else W.detach().numpy().astype(float) for W in weights)
            y, _ = equations.forward(x[::-1] if reverse else x, LayerWeights(*wide))
            ways.append(y[::-1] if reverse else y)
        x = np.concatenate(ways, axis=-1)
    logits = x[:, 0] @ model.head.weight.detach().numpy().T + model.head.bias.detach().numpy()
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("bidirectional", "proj"), [(False, 4), (True, 0)])
def test_predictions_are_those_of_numpy_and_of_each_sequence_alone(
    bidirectional: bool, proj: int, tmp_path: Path
) -> None:
    model = class_model("", bidirectional=bidirectional, proj=proj)
    sequences = sequences_of([class_rows(steps, seed) for seed, steps in enumerate((5, 1, 9))], columns=COLUMNS)
    found = predict_proba(model, sequences)
    for number, values in enumerate(sequences.values):
        np.testing.assert_allclose(found[number], by_numpy(model, values), rtol=0, atol=2e-6)
        np.testing.assert_array_equal(predict_proba(model, sequences.take([number]))[0], found[number])
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert (again.spec, again.fingerprint) == (model.spec, model.fingerprint)
    np.testing.assert_array_equal(predict_proba(again, sequences)[2], found[2])
    with pytest.raises(SpecError, match=r"expected a classifier, with one label a sequence, got .*'step_classes'"):
        predict_sequences(model, sequences)
    with pytest.raises(SpecError, match=r"expected a tagger, with one label a step, got .*'classes'"):
        predict_proba(class_model("last"), sequences)


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("directions", ["forward", "both"])
def test_the_loss_and_its_gradients_are_torchs(directions: str, class_weights: str) -> None:
    options = KIND.resolve(
        Options(
            DataOptions(class_weights=class_weights),
            ModelOptions(hidden=5, dropout=0.0, directions=directions),
            TrainingOptions(batch=8, seed=7),
        )
    )
    data = dataset.read(walks(), options.data)
    torch.manual_seed(0)
    model = KIND.build(data, options)
    cpu, settings = torch.device("cpu"), TrainingSettings.of(options.training)
    task = TagTask(model, data, settings, PieceSettings(10, NoiseSettings(0.0)), Share(0, 1), cpu)
    noisy = PieceSettings(10, NoiseSettings(0.5))
    halves = [TagTask(model, data, settings, noisy, Share(rank, 2), cpu) for rank in range(2)]
    total, count = task.loss(model, 2)
    assert count == sum(half.loss(model, 2).predictions for half in halves)
    total.backward()

    ways = 1 + (directions == "both")
    wide = nn.LSTM(2, 5, bidirectional=ways == 2).double()
    wide.load_state_dict(model.lstm.state_dict())
    head = nn.Linear(5 * ways, 3).double()
    head.load_state_dict(model.head.state_dict())
    labels = data.numbers(data.train)
    chosen = [
        (number, slice(first, first + 10)) for number, own in enumerate(labels) for first in range(0, len(own), 10)
    ]
    numbers = np.random.default_rng((7, 0)).permutation(len(chosen))[16:24]
    logits, targets = [], []
    for number, span in (chosen[n] for n in numbers):
        rows = (data.train.values[number][span] - np.array(data.scaler.mean)) / np.array(data.scaler.scale)
        known = labels[number][span] >= 0
        logits.append(head(wide(torch.from_numpy(rows)[:, None])[0][:, 0])[known])
        targets.append(labels[number][span][known])
    everything = np.concatenate(labels)
    shares = np.bincount(everything[everything >= 0]) / (everything >= 0).sum()
    weights = torch.from_numpy(1 / (3 * shares)) if class_weights == "balanced" else None
    expected = nn.CrossEntropyLoss(weights, reduction="sum")(
        torch.cat(logits), torch.from_numpy(np.concatenate(targets))
    )
    expected.backward()
    assert count == sum(map(len, targets))
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in model.lstm.named_parameters():
        np.testing.assert_allclose(parameter.grad, wide.get_parameter(name).grad, rtol=1e-3, atol=2e-5)
    np.testing.assert_allclose(model.head.weight.grad, head.weight.grad, rtol=1e-3, atol=2e-5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("walks")
    path = write_walks(folder / "walks.csv")
    return train(path, TABLE, run=folder / "run", console=quiet())[0]


def test_it_learns_from_a_table(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert (run.kind, run.plot.name) == ("tag", "evaluation.png")
    data, model = run.data(), run.best_model()
    assert (data.classes, [len(part) for part in data.parts()]) == (("left", "middle", "right"), [28, 6, 6])
    assert (
        sum(part.take([n]).digest() == walks().take([0]).digest() for part in data.parts() for n in range(1)) <= 1
    )
    cli.main(["evaluate", str(run.path)])
    shown = capsys.readouterr().out
    figures = json.loads(run.evaluation.read_text())
    probability = np.concatenate(predict_proba(model, data.test))
    truth = np.concatenate(data.numbers(data.test))
    known = truth >= 0
    assert (figures["steps"], figures["unlabelled_steps"]) == (known.sum(), (~known).sum()) == (known.sum(), 6)
    probability, own = probability[known], truth[known]
    guess, scores = probability.argmax(axis=1), figures["methods"]
    assert scores["model"] == pytest.approx(
        {
            "accuracy": judge.accuracy_score(own, guess),
            "balanced_accuracy": judge.balanced_accuracy_score(own, guess),
            "macro_f1": judge.f1_score(own, guess, average="macro"),
            "roc_auc": judge.roc_auc_score(own, probability, multi_class="ovr"),
            "log_loss": judge.log_loss(own, probability),
            "calibration_error": scores["model"]["calibration_error"],
        }
    )
    assert figures["f1_by_class"] == pytest.approx(judge.f1_score(own, guess, average=None).tolist())
    np.testing.assert_array_equal(figures["confusion"], judge.confusion_matrix(own, guess))
    assert scores["model"]["accuracy"] > 0.8 > scores["majority class"]["accuracy"]

    labels = [step_labels(part) for part in data.parts()]
    before = []
    for row in labels[2]:
        last = max(data.classes, key=[label for row in labels[0] for label in row].count)
        for label in row:
            before += [data.classes.index(last)] if label else []
            last = label or last
    assert scores["true label of the step before"]["accuracy"] == judge.accuracy_score(own, before)
    trained = np.array([label for row in labels[0] for label in row], object)
    scaled = [(np.concatenate(part.values) - data.scaler.mean) / data.scaler.scale for part in data.parts()]
    near = neighbors.KNeighborsClassifier(1).fit(scaled[0][trained != None], trained[trained != None].astype(str))  # noqa: E711
    expected = near.score(scaled[2][known], np.array(data.classes)[own])
    assert scores["nearest neighbour"]["accuracy"] == pytest.approx(expected)
    assert run.plot.read_bytes().startswith(b"\x89PNG")
    for text in (f"test part, {known.sum()} steps", "1-NN of single rows", f"{scores['model']['log_loss']:.4f}"):
        assert text in shown
    valid = np.concatenate(data.numbers(data.valid))
    nats = judge.log_loss(valid[valid >= 0], np.concatenate(predict_proba(model, data.valid))[valid >= 0])
    assert min(score for _, score in run.validations()) == pytest.approx(nats, rel=1e-5)


def test_it_predicts_a_row_for_each_row(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = walks(9, seed=4)
    table = long_table(new).drop("side").sample(fraction=1, shuffle=True, seed=0)
    table.write_csv(tmp_path / "new.csv")
    cli.main(["predict", str(run.path), str(tmp_path / "new.csv"), "--out", str(tmp_path / "out.csv")])
    answer = pl.read_csv(tmp_path / "out.csv")
    assert answer.columns == ["who", "t", "label", "p_left", "p_middle", "p_right"]
    assert answer.select("who", "t").equals(table.select("who", "t"))
    ordered = answer.sort(pl.col("who").str.slice(1).cast(int), "t")
    probability = np.concatenate(predict_proba(run.best_model(), new))
    np.testing.assert_allclose(ordered.select("p_left", "p_middle", "p_right"), probability, rtol=1e-6)
    assert ordered["label"].to_list() == [("left", "middle", "right")[n] for n in probability.argmax(axis=1)]
    text, _ = predict_run(run, new)
    assert text.splitlines()[:2][0] == "id,step,label,p_left,p_middle,p_right"
    assert text.splitlines()[1].startswith("w0,0,")
    clash = table.rename({"who": "label"})
    clash.write_csv(tmp_path / "clash.csv")
    with pytest.raises(GatewrightError, match="columns: expected a column of id or time with another name"):
        KIND.predict(run.best_model(), tmp_path / "clash.csv", replace(run.options().data, id=("label",)), SILENT)
    capsys.readouterr()


def test_it_resumes_and_streams_and_is_looked_at(run: Run, tmp_path: Path) -> None:
    source = run.unchanged_source()
    few = replace(TABLE, training=replace(TABLE.training, steps=30))
    stopped, _ = train(source, few, run=tmp_path / "run", console=quiet())
    half = stopped.best_model().fingerprint
    again, progress = resume(stopped, Options(training=TrainingOptions(steps=40)))
    assert progress.step == 40
    assert again.best_model().fingerprint != half
    model, data = run.best_model(), run.data()
    kept = quantize_run(run, source)
    sequences, _ = read_sequences(source, data.options)
    truth = np.concatenate(data.numbers(sequences))
    probability = np.concatenate(predict_proba(model, sequences))
    assert kept[0].metrics["accuracy"] == (probability.argmax(axis=1) == truth)[truth >= 0].mean()
    assert kept[0].metrics["nats/step"] == pytest.approx(
        judge.log_loss(truth[truth >= 0], probability[truth >= 0])
    )
    recording = gw.look(run)
    for row, (own, steps) in enumerate(zip(data.numbers(data.test), data.test.lengths, strict=True)):
        np.testing.assert_array_equal(recording.targets[:steps, row], own)
        expected = predict_proba(model, data.test)[row]
        np.testing.assert_allclose(recording.predictions[:steps, row], expected, rtol=0, atol=1e-6)
    errors, own = recording.error(), data.numbers(data.test)[0]
    assert np.isnan(errors[: len(own), 0][own < 0]).all()
    t = int((own >= 0).argmax())
    assert errors[t, 0] == pytest.approx(-np.log(recording.predictions[t, 0, own[t]]), rel=1e-5)


def test_one_sequence_is_split_in_time_and_cut_into_pieces(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=200)
    frame = pl.DataFrame({"x": x, "state": np.where(x > 0, "on", "off")})
    frame = frame.with_columns(state=pl.when(pl.int_range(200) % 50 < 45).then("state"))
    options = replace(SMALL, data=DataOptions(label="state", label_per="step", context=40))
    shown = quiet()
    run, _ = train(frame, options, run=tmp_path / "run", console=shown)
    data = run.data()
    assert [int(part.lengths[0]) for part in data.parts()] == [140, 30, 30]
    np.testing.assert_array_equal(np.concatenate([part.values[0] for part in data.parts()])[:, 0], x)
    assert evaluate_run(run)[1]["methods"]["model"]["accuracy"] > 0.9
    lines = shown.file.getvalue()
    for text in (
        "a label for each step; 1 + 1 + 1 sequences",
        "its first steps are the training part",
        "10 of 140 training steps have no label",
        "learns from 4 pieces of at most 40 steps",
        "goes through a sequence forward, decides at each step",
        "reads x",
    ):
        assert text in lines.replace("\n", " ")


def tagged(values: list[list[float]], labels: list[list[object]]) -> Sequences:
    sequences = sequences_of(values)
    return replace(sequences, steps=step_labels_of(labels, sequences.lengths.tolist())[0])


def test_what_cannot_be_learned_is_refused(tmp_path: Path) -> None:
    path = write_walks(tmp_path / "walks.csv", 6)
    unlabelled = long_table(walks(6)).with_columns(side=pl.lit(None, pl.String))
    named = DataOptions(label="side", label_per="step", id=("who",))
    three, odd = [[1.0, 2.0, 0.5]] * 4, tmp_path / "odd.csv"
    long_table(walks(3)).with_columns(side=pl.lit("up")).write_csv(odd)
    for source, data, message in (
        (
            path,
            DataOptions(label_per="step", id=("who",)),
            "--label: expected the column of the label of each step",
        ),
        (
            path,
            replace(named, test=str(odd)),
            r"odd.csv, step 0 of sequence 'w0'.*: expected a class of the training part, .* got 'up'",
        ),
        (unlabelled, named, "labels: expected at least two classes to tell apart, got none"),
        (sequences_of(three), DataOptions(label_per="step"), "labels: expected a label for each step, got none"),
        (
            tagged(three[:2], [["a", "b", "a"]] * 2),
            DataOptions(label_per="step"),
            "sequences: expected at least 3, one for each part, or a single one, got 2",
        ),
        (
            tagged([[1.0, 2.0] * 10], [["a", "b"] + [None] * 18]),
            DataOptions(label_per="step"),
            "validation part: expected a step with a label, got none in 3 steps",
        ),
        (path, replace(named, valid="0"), "--valid: expected a share above 0"),
        (path, replace(named, horizon=2), "--horizon: expected no such option for a tag model"),
    ):
        with pytest.raises(GatewrightError, match=message):
            train(source, Options(data), run=tmp_path / "run", console=quiet())
    assert not (tmp_path / "run").exists()
    for kind, own, message in (
        ("classify", named, "--label-per: expected 'sequence' for a classify model, got 'step'"),
        ("tag", replace(named, label_per="sequence"), "--label-per: expected 'step' for a tag model"),
        ("forecast", named, "--label: expected no such option for a forecast model"),
        ("classify", replace(named, label_per=None), "row|line"),
    ):
        with pytest.raises(GatewrightError, match=message):
            train(path, Options(own), run=tmp_path / "run", kind=kind, console=quiet())
    with pytest.raises(GatewrightError, match="--pooling: expected no such option for a tag model"):
        KIND.resolve(Options(model=ModelOptions(pooling="max")))


def test_sequences_without_any_label_are_left_out() -> None:
    whole = walks(10)
    labels = [[None] * len(row) if n in (2, 5) else row for n, row in enumerate(step_labels(whole))]
    some = replace(whole, steps=step_labels_of(labels, whole.lengths.tolist())[0])
    data = dataset.read(some, KIND.resolve(SMALL).data)
    assert sorted(name for part in data.parts() for name in part.names) == [
        f"w{n}" for n in range(10) if n not in (2, 5)
    ]
    assert data.notes == ("left out, without any label: 2 of 10 sequences",)


def test_a_class_without_a_training_step_is_named(tmp_path: Path) -> None:
    sequence = tagged([[1.0, -1.0] * 10], [["a", "b"] * 8 + ["c"] * 4])
    shown = quiet()
    run, _ = train(sequence, replace(SMALL, training=replace(SMALL.training, steps=4)), run=tmp_path / "r",
                   kind="tag", console=shown)  # fmt: skip
    assert run.data().classes == ("a", "b", "c")
    assert "no training step of the classes: c" in shown.file.getvalue()
    assert evaluate_run(run)[1]["methods"]["majority class"]["log_loss"] > 30


def test_training_goes_on_from_a_trained_model(run: Run, tmp_path: Path) -> None:
    few = replace(TABLE, model=ModelOptions(), training=replace(TABLE.training, steps=2, lr=1e-6))
    other = write_walks(tmp_path / "other.csv", 8, seed=5)
    warm, _ = train(other, few, run=tmp_path / "warm", console=quiet(), initial=run.best_model())
    model, initial = warm.best_model(), run.best_model()
    assert (model.spec, model.scaler) == (initial.spec, initial.scaler)
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, initial.state_dict()[name], rtol=0, atol=1e-4)
    assert warm.data().encoder == initial.spec.encoder
    table = long_table(walks(8, seed=5))
    unknown = table.with_columns(side=pl.col("side").replace("left", "up"))
    with pytest.raises(
        GatewrightError, match=r"step . of sequence 'w.*: expected a class of the model, out of 'left'"
    ):
        train(unknown, few, run=tmp_path / "x", console=quiet(), initial=initial)
    with pytest.raises(GatewrightError, match="init: expected a tag model, got a classify model"):
        train(other, few, run=tmp_path / "x", console=quiet(), initial=class_model("last"))
    sizes = replace(few, model=ModelOptions(directions="both"))
    with pytest.raises(GatewrightError, match="--directions: expected 'forward', as the initial model has it"):
        train(other, sizes, run=tmp_path / "x", console=quiet(), initial=initial)
