"""Characters of Shakespeare by the product's language model, with its defaults."""

from __future__ import annotations

from dataclasses import dataclass

from gatewright.estimators import LanguageModel
from gatewright.progress import Waits
from gatewright.reproduce.data import SHAKESPEARE
from gatewright.reproduce.estimator import Counted, uninterrupted, validations
from gatewright.reproduce.experiment import Experiment, Measure, Outcome, Paper

PAPER = Paper(
    "Karpathy", 2022, "nanoGPT, a character transformer of 10.7 million weights",
    "https://github.com/karpathy/nanoGPT",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Parameters that differ from the defaults.

    Attributes:
        steps: number of updates; None for the default.
        hidden: units; None for the default.
        characters: length of the text; 0 for all of it.
    """

    steps: int | None = None
    hidden: int | None = None
    characters: int = 0


def train(settings: Settings, seed: int, waits: Waits) -> Outcome:
    """Fit on the first nine tenths of the text; the last tenth is for validation, but for two characters."""
    text = SHAKESPEARE.path().read_text("utf-8")[: settings.characters or None]
    tenth = len(text) - int(0.9 * len(text))
    # A language model has a test part, if only a small one.
    model = LanguageModel(valid=tenth - 2, test=2, steps=settings.steps, hidden=settings.hidden, seed=seed)
    with uninterrupted():
        model.fit(text, callbacks=[Counted(waits, "tinyshakespeare")])
    return Outcome({"nats": model.best_score_, "steps": model.n_steps_}, {"LSTM": validations(model)})


EXPERIMENTS = (
    Experiment(
        name="tinyshakespeare",
        title="tinyshakespeare",
        paper=PAPER,
        task="1,115,394 characters: the next one. The first 90% to learn from, the last 10% (but for two "
        "characters) for validation.",
        training="`gatewright.LanguageModel` with its defaults.",
        stopping="The defaults' number of updates; the best validation, as in nanoGPT. There is no test part: the "
        "figure is that of the part that chose the weights, as the published one is.",
        measures={
            "nats": Measure(
                "best validation loss, nats a character", "lower", 1.47, "transformer, its README", digits=3
            ),
            "steps": Measure("updates", "lower"),
        },
        settings=Settings(),
        short=Settings(steps=10, hidden=16, characters=20_000),
        train=train,
        axes=("updates", "validation nats a character"),
    ),
)
