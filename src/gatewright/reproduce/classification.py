"""Classification of time series by the product's classifier: the UCR and UEA archives, MNIST-1D."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gatewright.data.sequences import Sequences
from gatewright.data.ts_reader import read_ts
from gatewright.errors import DataError
from gatewright.estimators import SequenceClassifier
from gatewright.progress import Waits
from gatewright.reproduce.data import packaged
from gatewright.reproduce.estimator import Counted, uninterrupted, validations
from gatewright.reproduce.experiment import Experiment, Measure, Outcome, Paper

INCEPTION_TIME = Paper(
    "Ismail Fawaz et al.", 2020, "InceptionTime: Finding AlexNet for Time Series Classification, DMKD 34",
    "https://doi.org/10.1007/s10618-020-00710-y",
)  # fmt: skip
MNIST_1D = Paper(
    "Greydanus & Kobak", 2024, "Scaling Down Deep Learning with MNIST-1D, ICML 2024",
    "https://arxiv.org/abs/2011.14439",
)  # fmt: skip

#: Accuracy in % of InceptionTime, an ensemble of five networks, as its authors' repository has it
#: (hfawaz/InceptionTime: results-InceptionTime-128.csv, results-mts.csv), and bars of our own.
ARCHIVE: dict[str, tuple[float, float | None]] = {
    "ItalyPowerDemand": (96.50, None),
    "GunPoint": (100.0, None),
    "ArrowHead": (84.57, None),
    "OSULeaf": (94.21, None),
    "ACSF1": (92.0, None),
    "JapaneseVowels": (99.19, 98.0),
}

#: Number of updates where the default takes many minutes a seed: sequences of 1,460 steps.
UPDATES = {"ACSF1": 200}


@dataclass(frozen=True)
class Settings:
    """Data and parameters of the classifier; None is its default.

    Attributes:
        data: name of the data set in the archive, or "MNIST-1D".
        hidden: H, units of a layer and direction.
        layers: number of layers.
        steps: number of updates.
        lr: maximum learning rate.
        patience: validations without a better one before the training stops; 0 for no limit.
        pooling: how steps become one vector.
        sequences: number of sequences of each part; 0 for all.
        networks: number of classifiers, each with a seed and a validation part of its own, whose probabilities are
            averaged.
    """

    data: str
    hidden: int | None = None
    layers: int | None = None
    steps: int | None = None
    lr: float | None = None
    patience: int | None = None
    pooling: str | None = None
    sequences: int = 0
    networks: int = 1

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the classifier that are set."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in ("data", "sequences", "networks") and value is not None
        }


@dataclass(frozen=True)
class Refitted(Settings):
    """The same of a classifier that learns training and validation part together, in the end."""

    refit: bool = True


def read(data: str, part: str) -> tuple[list[Any], list[str]]:
    """Return sequences and labels of a part of an archive's data set: "TRAIN" or "TEST"."""
    path = packaged("aeon", f"datasets/data/{data}/{data}_{part}.ts")
    sequences: Sequences = read_ts(path)
    if sequences.labels is None:
        raise DataError(str(path), "labels", "none")
    return list(sequences.values), list(sequences.labels)


def read_mnist1d(part: str) -> tuple[list[Any], list[str]]:
    """Return sequences and labels of MNIST-1D as its package makes them, with its seed."""
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ModuleNotFoundError as error:
        expected = "the package mnist1d, which makes the data (pip install mnist1d)"
        raise DataError("MNIST-1D", expected, f"no {error.name}") from None
    state = np.random.get_state()  # noqa: NPY002 - the package seeds the global generator
    try:
        dataset = make_dataset(get_dataset_args())
    finally:
        np.random.set_state(state)  # noqa: NPY002
    suffix = "_test" if part == "TEST" else ""
    return list(dataset[f"x{suffix}"]), [str(label) for label in dataset[f"y{suffix}"]]


def _part(settings: Settings, part: str) -> tuple[list[Any], list[str]]:
    values, labels = read_mnist1d(part) if settings.data == "MNIST-1D" else read(settings.data, part)
    if settings.sequences:  # evenly spaced, since files may be sorted by class
        chosen = np.linspace(0, len(values) - 1, min(len(values), settings.sequences)).astype(int)
        values, labels = [values[n] for n in chosen], [labels[n] for n in chosen]
    return values, labels


def train(settings: Settings, seed: int, waits: Waits) -> Outcome:
    """Fit the classifiers on the training part, and test them once, together and alone."""
    learn, (X, y) = _part(settings, "TRAIN"), _part(settings, "TEST")
    models = []
    for number in range(settings.networks):
        own = seed * settings.networks + number
        model = SequenceClassifier(seed=own, split_seed=own, **settings.parameters())
        with uninterrupted():
            models.append(model.fit(*learn, callbacks=[Counted(waits, settings.data)]))
    probabilities = [model.predict_proba(X) for model in models]
    figures = {"accuracy": _accuracy(models[0].classes_, np.mean(probabilities, axis=0), y)}
    figures["steps"] = float(np.mean([model.n_steps_ for model in models]))
    if settings.networks > 1:
        figures["single"] = float(np.mean([_accuracy(models[0].classes_, each, y) for each in probabilities]))
    curves = {f"network {number + 1}": validations(model) for number, model in enumerate(models)}
    return Outcome(dict(figures), curves if settings.networks > 1 else {"LSTM": validations(models[0])})


def _accuracy(classes: Any, probability: Any, labels: list[str]) -> float:
    """Return the accuracy in %."""
    return 100 * float(np.mean(classes[probability.argmax(axis=1)] == np.array(labels)))


#: How the classifier stops by default.
STOPPING = (
    "The classifier's: 15% of the training part, class by class, drawn by the seed, are for validation; the "
    "weights of the best validation loss count, and the training ends after 10 validations without a better one."
)


#: What a refit adds to it.
REFIT = (
    " Then a new model learns all of the training part for as many steps, and its last weights count. The refit, "
    "and the shifts of whole sequences, now a default, were chosen by cross-validation within the training part."
)


def _archive(data: str, networks: int = 1) -> Experiment:
    published, required = ARCHIVE[data]
    multivariate, together, steps = data == "JapaneseVowels", networks > 1, UPDATES.get(data)
    refit = multivariate and not together
    form = Refitted if refit else Settings
    measures = {
        "accuracy": Measure(
            "test accuracy in %", "higher", published, "InceptionTime, in its repository", required, digits=2
        ),
        "steps": Measure("updates until the training stopped", "lower"),
    }
    if together:
        measures["single"] = Measure("mean test accuracy of one of the networks in %", "higher", digits=2)
    return Experiment(
        name=f"{'uea' if multivariate else 'ucr'}-{data}{f'-{networks}' if together else ''}",
        title=f"{data} of the {'UEA' if multivariate else 'UCR'} archive"
        + (f", {networks} networks" if together else ""),
        paper=INCEPTION_TIME,
        task=f"The archive's own split of {data}, from the files that the package aeon has.",
        training=f"`gatewright.SequenceClassifier` with its defaults{' and `refit=True`' if refit else ''}, "
        + (f"but {steps} updates, since the sequences are long, " if steps else "")
        + (
            f"{networks} networks of different seeds and validation parts, whose probabilities are averaged, as "
            "InceptionTime does. This was tried after the test figure of one network had been seen."
            if together
            else "one network; InceptionTime is five together."
        ),
        stopping=STOPPING + (REFIT if refit else ""),
        measures=measures,
        settings=form(data, steps=steps, networks=networks),
        short=form(data, hidden=8, steps=20, sequences=40, networks=min(networks, 2)),
        train=train,
        trainings=lambda settings: settings.networks,
        axes=("updates", "validation loss"),
        needs="aeon",
    )


def _mnist1d(settings: Settings) -> Experiment:
    parameters = ", ".join(f"{name}={value!r}" for name, value in settings.parameters().items())
    return Experiment(
        name="mnist-1d",
        title="MNIST-1D",
        paper=MNIST_1D,
        task="4,000 and 1,000 sequences of 40 values, ten classes, made by the package mnist1d with its own seed.",
        training=f"`gatewright.SequenceClassifier({parameters})`, all else its defaults.",
        stopping=STOPPING,
        measures={
            "accuracy": Measure("test accuracy in %", "higher", 91, "GRU; CNN 94", 93, digits=1),
            "steps": Measure("updates until the training stopped", "lower"),
        },
        settings=settings,
        short=Settings("MNIST-1D", hidden=8, steps=20, sequences=100),
        train=train,
        trainings=lambda settings: settings.networks,
        axes=("updates", "validation loss"),
        needs="mnist1d",
    )


EXPERIMENTS = (
    _mnist1d(Settings("MNIST-1D", hidden=64, steps=3000, lr=0.004)),
    *map(_archive, ARCHIVE),
    _archive("JapaneseVowels", networks=5),
)
