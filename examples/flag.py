"""Make the built-in example of `gatewright look`: a flag that has to be remembered across many steps.

Each line is a walk: a sign, L or R, at the start of a corridor, up to 120 steps of ``.`` and ``:`` at random, and
at its end the question ``?``, which way to turn.  Who remembers the sign knows the answer (a T-maze, Bakker 2002,
Advances in Neural Information Processing Systems 14).  A small LSTM learns it from corridors that are short at
first and grow longer.  A plain RNN of the same size reads the very same batches, as many of them.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.insight import look, plain
from gatewright.insight.looking import prepare
from gatewright.insight.recording import errors_of
from gatewright.model import Model, load
from gatewright.train import language
from gatewright.train.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train.run import Run
from gatewright.train.start import train
from gatewright.train.task import Share

EXAMPLE = Path(__file__).parents[1] / "src/gatewright/inspector/example"
BATCH, STEPS, CONTEXT = 32, 4000, 128
#: Longest corridor at the beginning and at the end; the part of the training over which it grows.
FIRST, LONGEST, GROWING = 4, 120, 0.6
#: Lengths of the corridors that the page shows.
SHOWN = (40, 110, 60, 90, 50, 120, 80, 70)
OPTIONS = Options(
    DataOptions(context=CONTEXT, valid="20000", test="5000"),
    ModelOptions(hidden=12, embedding=4, dropout=0.0),
    TrainingOptions(steps=STEPS, batch=BATCH, lr=0.01, patience=0, validate_every=500, device="cpu"),
)


def walk(shortest: int, longest: int, draw: np.random.Generator) -> str:
    """Return a sign, a corridor, the question and its answer."""
    sign = "LR"[draw.integers(2)]
    corridor = draw.random(int(draw.integers(shortest, longest + 1))) < 0.1
    return f"{sign}{''.join(np.where(corridor, ':', '.'))}?{sign}\n"


def stream(characters: int, draw: np.random.Generator) -> str:
    """Return what one stream of the batch reads: corridors that grow longer."""
    walks: list[str] = []
    done = 0
    while done < characters:
        longest = FIRST + (LONGEST - FIRST) * min(1, done / characters / GROWING)
        walks.append(walk(0, int(longest), draw))
        done += len(walks[-1])
    return "".join(walks)[:characters]


def course(draw: np.random.Generator) -> str:
    """Return all streams, one behind the other, and long walks to validate with."""
    streams = [stream(STEPS * CONTEXT + 1, draw) for _ in range(BATCH)]
    return "".join([*streams, "".join(walk(40, LONGEST, draw) for _ in range(1000))[:25_000]])


def train_plain(run: Run, model: Model) -> plain.PlainModel:
    """Train a plain RNN on what the LSTM was trained on."""
    options = run.options()
    text = language.read(run.unchanged_source(), options.data)
    task = language.LanguageTask(model, text, options, Share(0, 1), torch.device("cpu"))
    torch.set_flush_denormal(True)  # what a plain RNN's gradients become over a hundred steps
    return plain.train_beside(task, options.training, STEPS, model.fingerprint)


def answers(model: Model, rnn: plain.PlainModel, text: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the errors of both at each answer, in nats."""
    material = prepare(model, text)[1]
    both = plain.with_peer(look(model, text), model, material, rnn)
    assert both.peer is not None
    beside = errors_of(both.peer.predictions, both.targets, both.about)
    places = [t + 1 for t, symbol in enumerate(text[:-1]) if symbol == "?"]
    return both.error()[places, 0], beside[places, 0]


def main() -> None:
    """Make the example, and say what came of it."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        source = Path(folder, "flag.txt")
        source.write_text(course(np.random.default_rng(1)), "utf-8")
        run, _ = train(source, OPTIONS, run=Path(folder, "run"))
        model = load(run.model)
        rnn = train_plain(run, model)
    draw = np.random.default_rng(1)
    # The first walk begins as all others do, after the end of a line.
    shown = "\n" + "".join(walk(length, length, draw) for length in SHOWN)
    EXAMPLE.mkdir(exist_ok=True)
    model.save(EXAMPLE / "model.safetensors")
    plain.save(EXAMPLE / "plain_rnn.safetensors", rnn)
    (EXAMPLE / "flag.txt").write_text(shown, "utf-8")
    for length, lstm, beside in zip(SHOWN, *answers(model, rnn, shown), strict=True):
        print(f"after {length:3} steps: LSTM {lstm:.4f}, plain RNN {beside:.4f} nats")


if __name__ == "__main__":
    main()
