"""A classifier learns by torch's cross-entropy, predicts as NumPy does, and is measured as by scikit-learn."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

import gatewright as gw
from gatewright import cli, equations
from gatewright.data.sequences import Sequences, sequences_of
from gatewright.errors import GatewrightError, RunError, SpecError
from gatewright.evaluation.quantization import quantize_run
from gatewright.evaluation.report import evaluate_run, forecast_run, predict_run
from gatewright.nn.model import Model, load
from gatewright.runs.run import Run
from gatewright.spec import (
    POOLINGS,
    ClassHead,
    FeatureEncoder,
    ModelSpec,
    Scaler,
    StackSpec,
    SymbolHead,
)
from gatewright.spec.cell import LayerWeights
from gatewright.tasks import registry
from gatewright.tasks.base import Share
from gatewright.tasks.classify import dataset
from gatewright.tasks.classify.dataset import ClassData
from gatewright.tasks.classify.metrics import BINS, measure
from gatewright.tasks.classify.neighbours import nearest, warping
from gatewright.tasks.classify.noise import _OF_NOISE, _OF_SHIFTS, Noise
from gatewright.tasks.classify.predict import predict_proba
from gatewright.tasks.classify.task import ClassifyTask
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.settings import NoiseSettings, TrainingSettings
from gatewright.train.launch import resume, train
from tests.support.classified import COLUMNS, digits, long_table, write_digits
from tests.support.lazy import LazyModule
from tests.support.training_runs import quiet

if TYPE_CHECKING:
    import pandas as pd
    from sklearn import calibration
    from sklearn import metrics as judge
else:
    calibration = LazyModule("sklearn.calibration")
    pd = LazyModule("pandas")
    judge = LazyModule("sklearn.metrics")

pytestmark = pytest.mark.slow

KIND = registry.kind("classify")
SMALL = Options(
    DataOptions(),
    ModelOptions(hidden=12, dropout=0.0, directions="forward", pooling="max"),
    TrainingOptions(steps=60, batch=32, lr=1e-2, warmup=5, validate_every=20, device="cpu"),
)
TABLE = replace(SMALL, data=DataOptions(id=("who",), label="digit", time="t"))


def small_model(pooling: str, bidirectional: bool = False, proj: int = 0, layers: int = 2) -> Model:
    torch.manual_seed(3)
    stack = StackSpec(6, layers, proj_size=proj, bidirectional=bidirectional)
    spec = ModelSpec(FeatureEncoder(("a", "b"), ("b",)), stack, ClassHead(("x", "y", "z"), pooling))
    model = Model(spec, scaler=Scaler(("a", "b"), (1.0, -2.0), (2.0, 0.5), ()))
    if model.pool is not None and model.pool.weight is not None:
        nn.init.normal_(model.pool.weight)
    return model


def some_sequences() -> Sequences:
    random = np.random.default_rng(5)
    values = [random.normal(size=(steps, 2)) for steps in (5, 1, 9, 4, 9)]
    values[0][2, 1] = np.nan
    return sequences_of(values, ["x", "y", "z", "x", "y"], columns=("a", "b"))


def by_numpy(model: Model, values: np.ndarray) -> np.ndarray:
    """Return the probabilities of one sequence by the equations of the cell in float64, and plain NumPy."""
    (encoder, head), scaler = model.spec.classifier, model.scaler
    x = (values - np.array(scaler.mean)) / np.array(scaler.scale)
    seen = ~np.isnan(x[:, [encoder.columns.index(name) for name in encoder.missing]])
    x = np.concatenate([np.where(np.isnan(x), 0.0, x), seen], axis=1)[:, None]
    stack = model.spec.lstm
    P = stack.proj_size or stack.hidden_size
    for layer in range(stack.num_layers):
        ways = []
        for reverse in (False, True)[: 1 + stack.bidirectional]:
            weights = LayerWeights(
                *(
                    None if W is None else W.detach().numpy().astype(float)
                    for W in model.lstm.layer_weights(layer, reverse)
                )
            )
            y, _ = equations.forward(x[::-1] if reverse else x, weights)
            ways.append(y[::-1] if reverse else y)
        x = np.concatenate(ways, axis=-1)
    hidden = x[:, 0]
    if head.pooling == "last":
        pooled = np.concatenate([hidden[-1, :P], hidden[0, P:]])
    elif head.pooling == "attention":
        scores = hidden @ model.pool.weight.detach().numpy()[0].astype(float)
        pooled = np.exp(scores - scores.max()) @ hidden / np.exp(scores - scores.max()).sum()
    else:
        pooled = hidden.mean(axis=0) if head.pooling == "mean" else hidden.max(axis=0)
    logits = model.head.weight.detach().numpy() @ pooled + model.head.bias.detach().numpy()
    return np.exp(logits) / np.exp(logits).sum()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(("bidirectional", "proj"), [(False, 0), (True, 0), (True, 2)])
def test_predictions_are_those_of_numpy_and_of_each_sequence_alone(
    pooling: str, bidirectional: bool, proj: int
) -> None:
    model, sequences = small_model(pooling, bidirectional, proj), some_sequences()
    found = predict_proba(model, sequences)
    for number, values in enumerate(sequences.values):
        np.testing.assert_allclose(found[number], by_numpy(model, values), rtol=0, atol=2e-6)
        np.testing.assert_array_equal(predict_proba(model, sequences.take([number]))[0], found[number])
    wide = replace(sequences, columns=("b", "a"), values=tuple(value[:, ::-1] for value in sequences.values))
    np.testing.assert_array_equal(predict_proba(model, wide), found)


def test_a_model_goes_to_its_file_and_back(tmp_path: Path) -> None:
    model, sequences = small_model("attention", True), some_sequences()
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert (again.spec, again.fingerprint) == (model.spec, model.fingerprint)
    np.testing.assert_array_equal(predict_proba(again, sequences), predict_proba(model, sequences))


def data_of(sequences: Sequences, **options: str) -> ClassData:
    return dataset.read(sequences, KIND.resolve(Options(DataOptions(**options))).data)


def scaled_rows(data: ClassData, number: int) -> np.ndarray:
    rows = data.train.values[number][:, [COLUMNS.index(name) for name in data.encoder.columns]]
    return (rows - np.array(data.scaler.mean)) / np.array(data.scaler.scale)


def spread_within_classes(data: ClassData) -> np.ndarray:
    """The standard deviation of the mean of a sequence about that of its class."""
    means = pd.DataFrame([scaled_rows(data, number).mean(axis=0) for number in range(len(data.train))])
    left = means - means.groupby(list(data.train.labels)).transform("mean")
    return np.sqrt((left.to_numpy() ** 2).sum(axis=0) / (len(left) - len(data.classes)))


@pytest.mark.parametrize(("class_weights", "noise"), [("none", 0.0), ("balanced", 0.4)])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_loss_and_its_gradients_are_torchs(pooling: str, class_weights: str, noise: float) -> None:
    data = data_of(digits(90, 3), class_weights=class_weights)
    options = KIND.resolve(Options(model=ModelOptions(hidden=5, dropout=0.0, pooling=pooling, directions="both")))
    torch.manual_seed(0)
    model = KIND.build(data, options)
    if model.pool.weight is not None:
        nn.init.normal_(model.pool.weight, std=0.3)
    settings = TrainingSettings.of(replace(options.training, batch=16, seed=7))
    noises = NoiseSettings(noise, shift=2 * noise)
    task = ClassifyTask(model, data, settings, noises, Share(0, 1), torch.device("cpu"))
    total, count = task.loss(model, 3)
    total.backward()

    wide = nn.LSTM(model.spec.input_size, 5, bidirectional=True).double()
    wide.load_state_dict(model.lstm.state_dict())
    head = nn.Linear(10, 3).double()
    head.load_state_dict(model.head.state_dict())
    query = None if model.pool.weight is None else model.pool.weight.detach().double().requires_grad_()
    epoch, place = divmod(3, task.steps_per_epoch)
    numbers = np.random.default_rng((7, epoch)).permutation(len(data.train))[place * 16 : place * 16 + 16]
    drawn = np.random.default_rng((_OF_NOISE, 7, 3, 0)).standard_normal(
        (max(data.train.lengths[numbers]), len(numbers), len(data.encoder.columns)), np.float32
    )
    offsets = np.random.default_rng((_OF_SHIFTS, 7, 3, 0)).standard_normal(drawn.shape[1:], np.float32)
    spread = spread_within_classes(data)
    logits, labels = [], []
    for place, number in enumerate(numbers):
        chosen = scaled_rows(data, number) + noise * drawn[: data.train.lengths[number], place]
        chosen += 2 * noise * spread * offsets[place]
        hidden = wide(torch.from_numpy(chosen)[:, None])[0][:, 0]
        pooled = {
            "last": lambda h: torch.cat([h[-1, :5], h[0, 5:]]),
            "mean": lambda h: h.mean(0),
            "max": lambda h: h.amax(0),
            "attention": lambda h: (h @ query[0]).softmax(0) @ h,
        }[pooling](hidden)
        logits.append(head(pooled))
        labels.append(data.classes.index(data.train.labels[number]))
    shares = np.bincount([data.classes.index(label) for label in data.train.labels]) / len(data.train)
    weights = torch.from_numpy(1 / (3 * shares)) if class_weights == "balanced" else None
    expected = nn.CrossEntropyLoss(weights, reduction="sum")(torch.stack(logits), torch.tensor(labels))
    expected.backward()
    assert count == len(numbers)
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in model.lstm.named_parameters():
        np.testing.assert_allclose(parameter.grad, wide.get_parameter(name).grad, rtol=1e-3, atol=2e-5)
    np.testing.assert_allclose(model.head.weight.grad, head.weight.grad, rtol=1e-3, atol=2e-5)
    if query is not None:
        np.testing.assert_allclose(model.pool.weight.grad, query.grad, rtol=1e-3, atol=2e-5)


def test_the_processes_of_a_training_share_a_batch() -> None:
    """Whatever their number, also where it is greater than that of the sequences of a step."""
    data = data_of(digits(90, 3))
    model = KIND.build(data, KIND.resolve(Options(model=ModelOptions(hidden=5, dropout=0.0))))
    settings = TrainingSettings.of(replace(KIND.defaults.training, batch=len(data.train) - 1))
    shares = [Share(rank, world) for world in (1, 2, 3) for rank in range(world)]
    tasks = [
        ClassifyTask(model, data, settings, NoiseSettings(0.2, 0.3), share, torch.device("cpu"))
        for share in shares
    ]
    for step in range(3):  # of one sequence, the second one
        losses = [task.loss(model, step) for task in tasks]
        whole = losses[0]
        for parts in (losses[1:3], losses[3:]):
            assert whole.predictions == sum(part.predictions for part in parts)
            assert whole.total.item() == pytest.approx(sum(part.total.item() for part in parts), rel=1e-5)
            sum(part.total for part in parts).backward()


def test_noise_is_on_observed_values_alone() -> None:
    x = torch.zeros(400, 3, 5)
    x[:, :, 3:] = 1.0
    x[5, 1, 3], x[6, 2, 4] = 0.0, 0.0  # columns b and c are missing there
    encoder = FeatureEncoder(("a", "b", "c"), ("b", "c"))
    noisy = Noise(0.25, encoder).on(x, (1, 2, 0))
    np.testing.assert_array_equal(noisy[..., 3:], x[..., 3:])
    assert (noisy[5, 1, 1], noisy[6, 2, 2]) == (0, 0)
    assert (noisy[..., :3] == 0).sum() == 2
    assert float(noisy[..., :3].std()) == pytest.approx(0.25, rel=0.05)
    torch.testing.assert_close(Noise(0.25, encoder).on(x, (1, 2, 0)), noisy, rtol=0, atol=0)
    assert not torch.equal(Noise(0.25, encoder).on(x, (1, 3, 0)), noisy)
    assert Noise(0.0, encoder).on(x, (1, 2, 0)) is x
    shifted = Noise(0.0, encoder, np.array([0.5, 0.0, 2.0], np.float32)).on(x, (1, 2, 0))[..., :3]
    assert (shifted[6, 2, 2], shifted[..., 1].any()) == (0, False)
    assert (shifted[7:] == shifted[0]).all()
    assert shifted[0, :, [0, 2]].unique().numel() == 6


def test_sequences_that_were_standardised_are_not_shifted() -> None:
    random, encoder = np.random.default_rng(0), FeatureEncoder(("a", "b"), ("b",))
    rows = [random.normal(size=(12, 3)).astype(np.float32) for _ in range(9)]
    for number, own in enumerate(rows):
        own[:, 0] -= own[:, 0].mean()
        own[:, 2] = 1.0
        own[3, 1:] = 0.0  # column b is missing there
        own[:, 1] += (number % 3) * own[:, 2] - own[own[:, 2] > 0, 1].mean() * own[:, 2]  # as its class is
    settings, labels = NoiseSettings(0.0, shift=3.0), np.arange(9) % 3
    assert Noise.of(settings, encoder, rows, labels).shift is None
    across = Noise.of(settings, encoder, rows).shift
    np.testing.assert_allclose(across, [0.0, 3 * np.std(labels, ddof=1)], rtol=1e-5)


def test_a_run_that_is_older_than_the_noise_goes_on_without(run: Run, tmp_path: Path) -> None:
    import shutil

    old = Run(Path(shutil.copytree(run.path, tmp_path / "old")))
    lines = old.config.read_text().splitlines(keepends=True)
    old.config.write_text("".join(line for line in lines if not line.startswith(("noise", "shift"))))
    now, then = run.options().model, old.options().model
    assert (now.noise, now.shift, then.noise, then.shift) == (0.3, 1.0, 0.0, 0.0)


def test_measures_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    for classes in (2, 4):
        truth = random.integers(classes, size=300)
        logits = random.normal(size=(300, classes)) + 1.5 * np.eye(classes)[truth]
        probability = np.exp(logits).round(2)  # with ties
        probability /= probability.sum(axis=1, keepdims=True)
        guess = probability.argmax(axis=1)
        found = measure(truth, guess, probability, classes)
        scores = probability if classes > 2 else probability[:, 1]
        expected = {
            "accuracy": judge.accuracy_score(truth, guess),
            "balanced_accuracy": judge.balanced_accuracy_score(truth, guess),
            "macro_f1": judge.f1_score(truth, guess, average="macro"),
            "roc_auc": judge.roc_auc_score(truth, scores, multi_class="ovr"),
            "log_loss": judge.log_loss(truth, probability),
        }
        top, correct = probability.max(axis=1), guess == truth
        accuracy, confidence = calibration.calibration_curve(correct, top, n_bins=BINS)
        counts = np.bincount(np.digitize(top, np.linspace(0, 1, BINS + 1)[1:-1], right=True))
        expected["calibration_error"] = np.abs(accuracy - confidence) @ counts[counts > 0] / 300
        assert found == pytest.approx(expected)
    alone = measure(np.array([0, 0]), np.array([0, 1]), np.array([[0.7, 0.3], [0.4, 0.6]]), 2)
    assert (alone["roc_auc"], alone["balanced_accuracy"]) == (None, 0.5)
    assert measure(np.array([0]), np.array([0]), None, 2)["log_loss"] is None


def test_warping_is_that_of_the_recurrence() -> None:
    def cost(a: np.ndarray, b: np.ndarray, band: int) -> float:
        T = len(a)
        total = np.full((T + 1, T + 1), np.inf)
        total[0, 0] = 0.0
        for i in range(T):
            for j in range(max(0, i - band), min(T, i + band + 1)):
                best = min(total[i, j], total[i, j + 1], total[i + 1, j])
                total[i + 1, j + 1] = ((a[i] - b[j]) ** 2).sum() + best
        return total[T, T]

    random = np.random.default_rng(0)
    for T, band, D in ((1, 1, 1), (2, 1, 2), (7, 1, 3), (8, 2, 1), (9, 8, 2)):
        a, b = random.normal(size=(3, T, D)), random.normal(size=(4, T, D))
        np.testing.assert_allclose(warping(a, b, band), [[cost(x, y, band) for y in b] for x in a])
    train = [random.normal(size=(20, 1)) for _ in range(5)]
    asked = [np.roll(train[number], 1, axis=0) for number in (3, 0)]
    assert nearest(train, asked).number.tolist() == [3, 0]


def test_the_distance_is_named_and_its_cost_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    train, asked = [np.zeros((4, 1)), np.ones((6, 1))], [np.full((5, 1), 0.9)]
    assert nearest(train, asked) == (np.array([1]), "1-NN DTW, band 1 of sequences resampled to 6 steps")
    monkeypatch.setattr("gatewright.tasks.classify.neighbours.MOST_CELLS", 0)
    assert nearest(train[:1] * 2, train[:1]).method == "1-NN Euclidean distance"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("digits")
    return train(write_digits(folder / "digits.csv"), TABLE, run=folder / "run", console=quiet())[0]


def test_it_learns_from_a_table(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert (run.kind, run.plot.name) == ("classify", "evaluation.png")
    data = run.data()
    assert (data.classes, [len(part) for part in (data.train, data.valid, data.test)]) == (
        ("0", "1", "2"),
        [84, 18, 18],
    )
    cli.main(["evaluate", str(run.path)])
    shown = capsys.readouterr().out
    figures = json.loads(run.evaluation.read_text())
    scores = figures["methods"]
    assert scores["model"]["accuracy"] > 0.8 > scores["majority class"]["accuracy"]
    assert run.plot.read_bytes().startswith(b"\x89PNG")
    assert f"{scores['model']['log_loss']:.4f}" in shown
    assert "1-NN DTW" in shown
    assert f"wrote {run.evaluation} and {run.plot}" in shown.replace("\n", "")
    probability = predict_proba(run.best_model(), data.test)
    truth = data.numbers(data.test)
    assert scores["model"]["log_loss"] == pytest.approx(judge.log_loss(truth, probability))
    np.testing.assert_array_equal(figures["confusion"], judge.confusion_matrix(truth, probability.argmax(axis=1)))
    valid = judge.log_loss(data.numbers(data.valid), predict_proba(run.best_model(), data.valid))
    assert min(score for _, score in run.validations()) == pytest.approx(valid, rel=1e-5)


def test_it_predicts_from_the_command_line(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import polars as pl

    new = digits(20, 3)
    path = tmp_path / "new.csv"
    long_table(new).drop("digit").sample(fraction=1, shuffle=True, seed=0).write_csv(path)
    cli.main(["predict", str(run.path), str(path), "--out", str(tmp_path / "labels.csv")])
    table = pl.read_csv(tmp_path / "labels.csv", schema_overrides={"who": str, "label": str}).sort(
        pl.col("who").cast(int)
    )
    assert table.columns == ["who", "label", "p_0", "p_1", "p_2"]
    probability = predict_proba(run.best_model(), new)
    np.testing.assert_allclose(table.select("p_0", "p_1", "p_2"), probability, rtol=1e-6)
    assert table["label"].to_list() == [str(number) for number in probability.argmax(axis=1)]
    capsys.readouterr()
    cli.main(["predict", str(run.path), str(path)])
    assert capsys.readouterr().out == (tmp_path / "labels.csv").read_text()
    text, _ = predict_run(run, long_table(new))  # a data frame, with labels that are not read
    assert text.splitlines()[1].startswith("0,")
    assert predict_run(run, new)[0] == text.replace("who", "id", 1)  # sequences in memory are rows of no table


def test_it_resumes_to_the_same_bits(run: Run, tmp_path: Path) -> None:
    class Stop:
        """Stops the training in the middle, as Ctrl-C does."""

        def start(self, total: int, unit: str) -> None: ...
        def begin(self, run: Run, say) -> None: ...
        def note(self, text: str) -> None: ...
        def validation(self, *_) -> None: ...
        def validated(self, *_) -> None: ...
        def close(self) -> None: ...

        def step(self, step: int, *_) -> None:
            if step == 33:
                signal.raise_signal(signal.SIGINT)

    stopped, progress = train(run.unchanged_source(), TABLE, run=tmp_path / "run", callbacks=[Stop()])
    assert progress.step < 60
    again, progress = resume(stopped)
    assert progress.step == 60
    assert again.best_model().fingerprint == run.best_model().fingerprint
    assert again.validations() == run.validations()


def test_it_learns_from_sequences_and_frames_in_memory(tmp_path: Path) -> None:
    few = replace(SMALL, training=replace(SMALL.training, steps=20))
    from_arrays, _ = train(digits(90, 3), few, run=tmp_path / "arrays", console=quiet())
    named = replace(few, data=TABLE.data)
    from_frame, _ = train(long_table(digits(90, 3)), named, run=tmp_path / "frame", console=quiet())
    assert from_arrays.best_model().fingerprint == from_frame.best_model().fingerprint
    assert evaluate_run(from_arrays)[1]["sequences"] == 13


def test_a_test_part_may_be_a_file_or_none(tmp_path: Path) -> None:
    path, test = write_digits(tmp_path / "digits.csv"), write_digits(tmp_path / "test.csv", 40)
    few = replace(TABLE, training=replace(TABLE.training, steps=20))
    with_file = replace(few, data=replace(few.data, test=str(test)))
    run, _ = train(path, with_file, run=tmp_path / "a", console=quiet())
    assert [len(part) for part in (run.data().train, run.data().valid, run.data().test)] == [102, 18, 40]
    unknown = write_digits(tmp_path / "unknown.csv", 40, 5)
    with pytest.raises(
        GatewrightError,
        match=r"unknown.csv, .*: expected a class of the training part, out of '0', '1', '2', got '3'",
    ):
        train(path, replace(few, data=replace(few.data, test=str(unknown))), run=tmp_path / "b", console=quiet())
    run, _ = train(path, replace(few, data=replace(few.data, test="0")), run=tmp_path / "c", console=quiet())
    with pytest.raises(GatewrightError, match="test part: expected one to evaluate on"):
        evaluate_run(run)


def test_a_ts_file_needs_no_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def write(path: Path, sequences: Sequences) -> Path:
        lines = [
            ":".join(",".join(map(str, column)) for column in value.T) + f":{label}"
            for value, label in zip(sequences.values, sequences.labels, strict=True)
        ]
        path.write_text("\n".join(["@problemName Digits", "@classLabel true 0 1 2", "@data", *lines]) + "\n")
        return path

    whole = digits(90, 3)
    first, rest = (
        write(tmp_path / "D_TRAIN.ts", whole.take(range(60))),
        write(tmp_path / "D_TEST.ts", whole.take(range(60, 90))),
    )
    options = [
        "--steps",
        "20",
        "--batch",
        "16",
        "--hidden",
        "8",
        "--device",
        "cpu",
        "--features",
        "dim_2",
        "dim_3",
    ]
    cli.main(["train", str(first), "--test", str(rest), "--run", str(tmp_path / "run"), *options])
    run = Run.open(tmp_path / "run")
    assert (run.kind, len(run.data().test)) == ("classify", 30)
    assert run.best_model().spec.encoder.columns == run.options().data.features == ("dim_2", "dim_3")
    capsys.readouterr()
    cli.main(["predict", str(run.path), str(rest)])
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], len(lines)) == ("id,label,p_0,p_1,p_2", 31)
    looked = gw.look(run.best_model(), rest)  # a .ts file says by itself what its sequences are
    assert looked.about.title == "D_TEST.ts"
    np.testing.assert_array_equal(looked.targets[0], run.data().numbers(run.data().test))


def test_missing_values_have_a_column_of_their_own(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = [random.normal(size=(6, 3)) for _ in range(60)]
    labels = ["gap" if number % 2 else "whole" for number in range(60)]
    for number, value in enumerate(values):
        value[:, 2] = 4.0  # says nothing
        if number % 2:
            value[number % 6, 1] = np.nan
    sequences = sequences_of(values, labels)
    run, _ = train(sequences, SMALL, run=tmp_path / "run", console=quiet())
    data = run.data()
    assert (data.encoder.columns, data.encoder.missing) == (("x0", "x1"), ("x1",))
    assert data.notes == ("left out, the same in every row of the training part: x2",)
    assert evaluate_run(run)[1]["methods"]["model"]["accuracy"] >= 0.8
    values[0][0, 0] = np.nan
    new = sequences_of(values[:2], columns=("x0", "x1", "x2"))
    with pytest.raises(
        GatewrightError, match=r"column 'x0', row 1 of sequence '0': expected a number, .* \(--fill mean"
    ):
        predict_proba(run.best_model(), new)
    assert predict_proba(run.best_model(), new, fill="mean").shape == (2, 2)


def test_what_cannot_be_learned_is_refused(tmp_path: Path) -> None:
    path = write_digits(tmp_path / "digits.csv")
    empty = sequences_of([[np.nan, np.nan]] * 9, ["a", "b", "c"] * 3)
    flat = sequences_of([[2.0, 2.0]] * 9, ["a", "b", "c"] * 3)
    for source, data, message in (
        (path, DataOptions(id=("who",)), "--label: expected the column of the label of each sequence, got none"),
        (path, DataOptions(label="digit"), "--id: expected the column that names a row's sequence"),
        (
            path,
            DataOptions(id=("who",), label="digit", horizon=3),
            "--horizon: expected no such option for a classify",
        ),
        (path, DataOptions(id=("who",), label="digit", valid="0"), "--valid: expected a share above 0"),
        (
            path,
            DataOptions(id=("who",), label="digit", test=str(tmp_path / "no.csv")),
            "no.csv: the file does not exist",
        ),
        (sequences_of([[1.0]] * 3), DataOptions(), "labels: expected a label for each sequence, got none"),
        (sequences_of([[1.0]] * 3, [1, 1, 1]), DataOptions(), "labels: expected at least two classes"),
        (empty, DataOptions(), "column 'x0': expected numbers in the training part, got none"),
        (digits(40), DataOptions(label="digit"), "--label: expected no such option with sequences in memory, got"),
        (digits(40), DataOptions(features=("p9",)), "columns: expected the column 'p9', got"),
        (flat, DataOptions(), "features: expected columns that vary in the training part, got none"),
    ):
        with pytest.raises(GatewrightError, match=message):
            train(source, Options(data), run=tmp_path / "run", kind="classify", console=quiet())
    assert not (tmp_path / "run").exists()
    with pytest.raises(GatewrightError, match="--label: expected no such option for a forecast model"):
        train(path, Options(DataOptions(label="digit")), run=tmp_path / "run", kind="forecast", console=quiet())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            Options(model=ModelOptions(pooling="median")),
            "--pooling: expected one of last, mean, max, attention, got",
        ),
        (
            Options(model=ModelOptions(directions="back")),
            "--directions: expected one of both, forward, got 'back'",
        ),
        (
            Options(DataOptions(class_weights="rare")),
            "--class-weights: expected one of none, balanced, got 'rare'",
        ),
        (Options(DataOptions(split_seed=-1)), "--split-seed: expected a whole number from 0 to"),
        (Options(DataOptions(context=3)), "--context: expected no such option for a classify model, got 3"),
        (Options(model=ModelOptions(noise=-0.1)), "--noise: expected a number of at least 0, got -0.1"),
        (
            Options(DataOptions(label_per="row")),
            "--label-per: expected 'sequence' for a classify model, got 'row'",
        ),
    ],
)
def test_options_out_of_range_are_refused(options: Options, message: str) -> None:
    with pytest.raises(GatewrightError, match=message):
        KIND.resolve(options)


def test_what_a_classifier_does_not_do_is_refused(run: Run, tmp_path: Path) -> None:
    source = run.unchanged_source()
    with pytest.raises(RunError, match=r"expected a run that forecasts, got .*run, a classify model"):
        forecast_run(run.path, source, None, None)
    other = tmp_path / "other.csv"
    other.write_text(source.read_text().replace("p3", "q3", 1))
    with pytest.raises(
        GatewrightError, match="columns: expected the column 'p3', which the model reads, got 'who', "
    ):
        predict_run(run, other)
    other.write_text(source.read_text().replace("who", "Who", 1))
    expected = r"columns: expected the column 'who', the id column in training, got .* you mean 'Who'\? Rename it"
    with pytest.raises(GatewrightError, match=expected):
        predict_run(run, other)
    with pytest.raises(GatewrightError, match="--windows: expected a run that forecasts"):
        evaluate_run(run.path, windows=3)
    with pytest.raises(GatewrightError, match="run: expected a run that classifies, got a forecast model"):
        registry.kind("forecast").predict(run.best_model(), source, DataOptions(), None)
    with pytest.raises(GatewrightError, match="columns: expected the column 'p1', got"):
        predict_proba(run.best_model(), sequences_of([[1.0]]))
    with pytest.raises(SpecError, match="head: expected kind 'classes' or 'step_classes' for this encoder"):
        replace(run.best_model().spec, head=SymbolHead())


def test_weights_in_fewer_bits_are_compared(run: Run) -> None:
    kept = quantize_run(run, run.unchanged_source())
    data = run.data()
    sequences, _ = dataset.read_sequences(run.unchanged_source(), data.options)
    truth = data.numbers(sequences)
    probability = predict_proba(run.best_model(), sequences)
    assert kept[0].metrics["accuracy"] == (probability.argmax(axis=1) == truth).mean()
    assert kept[0].metrics["nats/sequence"] == pytest.approx(judge.log_loss(truth, probability))


def test_training_goes_on_from_a_trained_classifier(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    initial, other = run.best_model(), write_digits(tmp_path / "other.csv", 60)
    options = ["--id", "who", "--label", "digit", "--time", "t", "--steps", "2", "--lr", "1e-7", "--device", "cpu"]
    cli.main(["train", str(other), "--init", str(run.path), "--run", str(tmp_path / "warm"), *options])
    warm = Run.open(tmp_path / "warm")
    model, data = warm.best_model(), warm.data()
    assert (model.spec, model.scaler) == (initial.spec, initial.scaler)
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, initial.state_dict()[name], rtol=0, atol=1e-5)
    assert (data.encoder, data.classes) == (initial.spec.encoder, initial.spec.head.classes)
    # It learns from rows that are scaled as the model scales them, not by the numbers of the other table.
    assert data.scaler != initial.scaler
    loss = judge.log_loss(data.numbers(data.valid), predict_proba(initial, data.valid))
    assert warm.validations()[0][1] == pytest.approx(loss, rel=1e-4)
    capsys.readouterr()
    few = replace(TABLE, model=ModelOptions(), training=replace(TABLE.training, steps=2))
    unknown = write_digits(tmp_path / "unknown.csv", 60, 5)
    with pytest.raises(
        GatewrightError, match=r"sequence '.*: expected a class of the model, out of '0', .* got '3'"
    ):
        train(unknown, few, run=tmp_path / "x", console=quiet(), initial=initial)
    fewer = write_digits(tmp_path / "fewer.csv", 60, 2)
    shown = quiet()
    train(fewer, few, run=tmp_path / "fewer", console=shown, initial=initial)
    assert "no training sequence of the classes: 2" in shown.file.getvalue()
    without = long_table(digits(60, 3)).drop("p3")
    with pytest.raises(GatewrightError, match=r"--features: expected a column out of .*, got 'p3'"):
        train(without, few, run=tmp_path / "x", console=quiet(), initial=initial)
    for change, message in (
        (ModelOptions(hidden=9), "--hidden: expected 12, as the initial model has it, got 9"),
        (ModelOptions(pooling="mean"), "--pooling: expected 'max', as the initial model has it, got 'mean'"),
    ):
        with pytest.raises(GatewrightError, match=message):
            train(other, replace(few, model=change), run=tmp_path / "x", console=quiet(), initial=initial)
    assert not (tmp_path / "x").exists()
