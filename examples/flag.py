"""Make the built-in example of `gatewright look`: a flag that has to be remembered across many steps.

Each line is a walk: a sign, L or R, at the start of a corridor, up to 120 steps of ``.`` and ``:`` at random, and
at its end the question ``?``, which way to turn.  Who remembers the sign knows the answer (a T-maze, Bakker 2002,
Advances in Neural Information Processing Systems 14); who does not errs by ln 2 = 0.69 nats.

A small LSTM learns it in 4000 batches, from corridors that grow longer.  It then adds to the sign, little by
little, at every step.  1600 batches more, with a price on what is written at any step but a sign's, make it write
once, and keep that: of 200 walks of 40 to 120 steps that it has not seen, it errs at the answers by 0.005 nats; in
the walks that the page shows by 0.008 at most, and 98 to 99 % of the cell state of the flag's unit (5) is what the
sign wrote.

The plain RNN reads the same 5600 batches and learns none of it, at any of three learning rates: 0.704 nats at
0.001, 0.695 at 0.003, 0.694 at 0.01, which is kept.  That is a matter of learning, not of what it could hold: in
another course, where corridors are of at most 4 steps for 800 batches and then grow by a constant factor for 2000,
it learned the task at rate 0.01 (0.02 to 0.08 nats after 0 to 400 steps).  The LSTM learned from both.

It takes 5 minutes of one core, 6.5 where others were at work too; stages run twice gave the same bits.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gatewright.insight import look
from gatewright.insight.prediction_errors import errors_of
from gatewright.insight.recorder import prepare
from gatewright.insight.recording import Recording
from gatewright.nn.model import Model, load
from gatewright.tasks.base import Task
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.settings import TrainingSettings
from gatewright.train import plain_rnn
from gatewright.train.launch import reopen, train
from gatewright.train.optimizer import learning_rate, new_optimizer, set_rate

EXAMPLE = Path(__file__).parents[1] / "src/gatewright/inspector/example"
BATCH, CONTEXT = 32, 128
#: Batches before writing has a price, and with it; the price, and the learning rate with it.
STEPS, PRICED = 4000, 1600
PRICE, PRICED_RATE = 1.0, 0.02
#: Learning rates that the plain RNN is trained with.
PLAIN_RATES = (0.001, 0.003, 0.01)
#: Longest corridor at the beginning and at the end; the part of the unpriced batches over which it grows.
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


def stream(draw: np.random.Generator) -> str:
    """Return what one stream of the batch reads: corridors that grow longer."""
    characters = (STEPS + PRICED) * CONTEXT + 1
    walks: list[str] = []
    done = 0
    while done < characters:
        longest = FIRST + (LONGEST - FIRST) * min(1, done / (STEPS * CONTEXT * GROWING))
        walks.append(walk(0, int(longest), draw))
        done += len(walks[-1])
    return "".join(walks)[:characters]


def course(draw: np.random.Generator) -> str:
    """Return all streams, one behind the other, and long walks to validate with."""
    streams = [stream(own) for own in draw.spawn(BATCH)]
    return "".join([*streams, "".join(walk(40, LONGEST, draw) for _ in range(1000))[:25_000]])


def unseen(lengths: Iterable[int], draw: np.random.Generator) -> str:
    """Return walks of these lengths; the first begins as all others do, after the end of a line."""
    return "\n" + "".join(walk(length, length, draw) for length in lengths)


def price_writing(task: Task, settings: TrainingSettings) -> None:
    """Go on training with a price on what is written into the cell state at any step but a sign's.

    The record of a pass is part of its graph: what happens inside the cell can be a part of the loss.
    """
    assert task.model.vocabulary is not None
    signs = torch.tensor([task.model.vocabulary.symbols.index(sign) for sign in "LR"])
    optimizer = new_optimizer(task.model, settings)
    for n in range(PRICED):
        set_rate(optimizer, learning_rate(n, PRICED, settings))
        total, count = task.loss(task.model, STEPS + n)
        symbols, state = task.inputs(STEPS + n)
        layer = task.model(symbols, state, record=True).record.layers[0]
        writes = (layer.input_gate * layer.candidate).abs()
        optimizer.zero_grad()
        (total / count + PRICE * writes[~torch.isin(symbols, signs)].mean()).backward()
        nn.utils.clip_grad_norm_(task.model.parameters(), settings.clip)
        optimizer.step()


def beside(model: Model, rnn: plain_rnn.PlainModel, text: str) -> Recording:
    """Return what both did with a text."""
    return plain_rnn.with_peer(look(model, text), model, prepare(model, text)[1], rnn)


def answers(recording: Recording, text: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the errors of LSTM and plain RNN at each answer, in nats."""
    assert recording.peer is not None
    plain_errors = errors_of(recording.peer.predictions, recording.targets, recording.about)
    places = [t + 1 for t, symbol in enumerate(text[:-1]) if symbol == "?"]
    return recording.error()[places, 0], plain_errors[places, 0]


def train_both(source: Path, folder: Path, held_out: str) -> tuple[Model, plain_rnn.PlainModel]:
    """Train the LSTM, and a plain RNN at each rate on the same batches; return the one that answers best."""
    run, _ = train(source, OPTIONS, run=folder)
    options, task = reopen(run)
    model = task.model
    model.load_state_dict(load(run.model).state_dict())
    settings = TrainingSettings.of(options.training)
    price_writing(task, replace(settings, lr=PRICED_RATE))
    model.eval()
    torch.set_flush_denormal(True)  # what a plain RNN's gradients become over a hundred steps
    found = []
    for rate in PLAIN_RATES:
        own = replace(settings, lr=rate)
        rnn = plain_rnn.train_plain_rnn(task, own, STEPS + PRICED, fingerprint=model.fingerprint)
        lstm, error = (errors.mean() for errors in answers(beside(model, rnn, held_out), held_out))
        print(f"held-out answers: LSTM {lstm:.4f}, plain RNN at rate {rate} {error:.4f} nats")
        found.append((error, rnn))
    return model, min(found, key=lambda one: one[0])[1]


def tell(recording: Recording, text: str) -> None:
    """Print how well the answers are known, and what of the flag's unit comes from the sign."""
    questions = [t for t, symbol in enumerate(text) if symbol == "?"]
    signs = [t + 1 for t, symbol in enumerate(text[:-1]) if symbol == "\n"]
    ledgers = [recording.ledger(0, question) for question in questions]
    shares = np.array([ledger.shares[sign] for sign, ledger in zip(signs, ledgers, strict=True)])
    unit = int(abs(shares).min(axis=0).argmax())
    errors = zip(*answers(recording, text), strict=True)
    for sign, question, ledger, (lstm, rnn) in zip(signs, questions, ledgers, errors, strict=True):
        print(
            f"after {question - sign - 1:3} steps: LSTM {lstm:.4f}, plain RNN {rnn:.4f} nats; unit {unit} holds "
            f"{ledger.cell[unit]:+.3f}, of it {ledger.shares[sign, unit]:+.3f} from the sign, of which "
            f"{ledger.survival[sign, unit]:.3f} has survived"
        )


def main() -> None:
    """Make the example, and say what came of it."""
    torch.set_num_threads(1)
    draw = np.random.default_rng(1)
    shown = unseen(SHOWN, draw)
    held_out = unseen(draw.integers(40, LONGEST + 1, 200), draw)
    with TemporaryDirectory() as folder:
        source = Path(folder, "flag.txt")
        source.write_text(course(draw), "utf-8")
        model, rnn = train_both(source, Path(folder, "run"), held_out)
    EXAMPLE.mkdir(exist_ok=True)
    model.save(EXAMPLE / "model.safetensors")
    plain_rnn.save(EXAMPLE / "plain_rnn.safetensors", rnn)
    (EXAMPLE / "flag.txt").write_text(shown, "utf-8")
    tell(beside(model, rnn, shown), shown)


if __name__ == "__main__":
    main()
