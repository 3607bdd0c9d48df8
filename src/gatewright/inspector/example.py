"""The built-in example: a flag that must be remembered across many steps."""

from __future__ import annotations

from importlib import resources

from gatewright.insight.recorder import prepare
from gatewright.nn.model import Model, load
from gatewright.tasks.inputs import InputBatch
from gatewright.train import plain_rnn
from gatewright.train.plain_rnn import PlainModel

TITLE = "A flag to remember"
#: Introduction on the page.
INTRO = (
    "Each line shows a flag, L or R, then a long corridor, then ? - and the model must name the flag again. "
    "Unit 5 writes it once, shuts its input gate and holds its forget gate open: 121 steps later 98% of "
    "that write is left (Ledger). A plain RNN of the same size, trained on the same batches, did not "
    "learn it: it guesses. Close unit 5's forget gate for one step (What if), and the LSTM guesses too. "
    "To keep the ledger easy to read, training penalized every write except at a flag."
)
#: The ? of the longest corridor, and the unit that holds the flag.
PLACE = "t=492&units=5&range=360-500&each=1"


def example() -> tuple[Model, InputBatch, PlainModel]:
    """Return a small trained language model, a text that it has not seen, and a plain RNN for comparison.

    Each line of the text shows a flag, L or R, then a corridor of ``.`` and ``:`` at random, a ``?``, and the flag
    again.  `examples/flag.py` trained the models.

    Returns:
        The model, its inputs, and the plain RNN, which was trained on the same batches.

    >>> from gatewright.insight.recorder import record
    >>> model, batch, plain_rnn = example()
    >>> record(model, batch)
    Recording('A flag to remember', text, T=653, B=1, H=12)
    """
    with resources.as_file(resources.files("gatewright.inspector") / "example") as files:
        model = load(files / "model.safetensors")
        _, batch = prepare(model, files / "flag.txt", title=TITLE)
        return model, batch, plain_rnn.load(files / "plain_rnn.safetensors", model)
