"""Characters of Shakespeare by the product's language model, with its defaults but for the number of updates."""

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
        steps: number of updates.
        validate_every: updates between validations.
        hidden: units; None for the default.
        characters: length of the text; 0 for all of it.
    """

    steps: int
    validate_every: int
    hidden: int | None = None
    characters: int = 0


def train(settings: Settings, seed: int, waits: Waits) -> Outcome:
    """Fit on the first nine tenths of the text; the last tenth is for validation, but for two characters."""
    text = SHAKESPEARE.path().read_text("utf-8")[: settings.characters or None]
    tenth = len(text) - int(0.9 * len(text))
    # A language model has a test part, if only a small one.
    model = LanguageModel(
        valid=tenth - 2, test=2, hidden=settings.hidden, seed=seed,
        steps=settings.steps, validate_every=settings.validate_every,
    )  # fmt: skip
    with uninterrupted():
        model.fit(text, callbacks=[Counted(waits, "tinyshakespeare")])
    return Outcome({"nats": model.best_score_}, {"LSTM": validations(model)})


#: Characters that an update of the defaults reads: 16 streams of 64.
READ = 1024


def _experiment(settings: Settings) -> Experiment:
    steps = settings.steps
    return Experiment(
        name="tinyshakespeare",
        title="tinyshakespeare",
        paper=PAPER,
        task="1,115,394 characters: the next one. The first 90% to learn from, the last 10% (but for two "
        "characters) for validation.",
        training=f"`gatewright.LanguageModel(steps={steps}, validate_every={settings.validate_every})`, all else "
        f"its defaults: {steps * READ:,} characters read, {steps * READ / 1_003_854:.1f} times the training part. "
        "The default number of updates is ten epochs.",
        stopping="The number of updates, at which the learning rate is 0; the best validation, as in nanoGPT. "
        "There is no test part: the figure is that of the part that chose the weights, as the published one is.",
        measures={
            "nats": Measure(
                "best validation loss, nats a character", "lower", 1.47, "transformer, its README", digits=3
            ),
        },
        settings=settings,
        short=Settings(steps=10, validate_every=10, hidden=16, characters=20_000),
        train=train,
        axes=("updates", "validation nats a character"),
    )


EXPERIMENTS = (_experiment(Settings(steps=2300, validate_every=575)),)
