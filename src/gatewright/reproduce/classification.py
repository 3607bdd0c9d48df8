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
    """

    data: str
    hidden: int | None = None
    layers: int | None = None
    steps: int | None = None
    lr: float | None = None
    patience: int | None = None
    pooling: str | None = None
    sequences: int = 0

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the classifier that are set."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in ("data", "sequences") and value is not None
        }


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
    """Fit the classifier on the training part, and test it once."""
    model = SequenceClassifier(seed=seed, split_seed=seed, **settings.parameters())
    with uninterrupted():
        model.fit(*_part(settings, "TRAIN"), callbacks=[Counted(waits, settings.data)])
    X, y = _part(settings, "TEST")
    right = 100 * float(np.mean(model.predict(X) == np.array(y)))
    return Outcome({"accuracy": right, "steps": model.n_steps_}, {"LSTM": validations(model)})


#: How the classifier stops by default.
STOPPING = (
    "The classifier's: 15% of the training part, class by class, drawn by the seed, are for validation; the "
    "weights of the best validation loss count, and the training ends after 10 validations without a better one."
)


def _archive(data: str, published: float, required: float | None) -> Experiment:
    settings = Settings(data)
    return Experiment(
        name=f"ucr-{data}" if data != "JapaneseVowels" else f"uea-{data}",
        title=f"{data} of the {'UEA' if data == 'JapaneseVowels' else 'UCR'} archive",
        paper=INCEPTION_TIME,
        task=f"The archive's own split of {data}, from the files that the package aeon has.",
        training="`gatewright.SequenceClassifier` with its defaults, one network; InceptionTime is five together.",
        stopping=STOPPING,
        measures={
            "accuracy": Measure(
                "test accuracy in %", "higher", published, "InceptionTime, in its repository", required, digits=2
            ),
            "steps": Measure("updates until the training stopped", "lower"),
        },
        settings=settings,
        short=Settings(data, hidden=8, steps=20, sequences=40),
        train=train,
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
        axes=("updates", "validation loss"),
        needs="mnist1d",
    )


EXPERIMENTS = (
    _mnist1d(Settings("MNIST-1D", hidden=64, steps=3000, lr=0.004)),
    *(_archive(data, published, required) for data, (published, required) in ARCHIVE.items()),
)
