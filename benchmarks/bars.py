"""What the kernels have to reach, and whether they do."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple


class Bar(NamedTuple):
    """A bar: what must be reached, and what is aimed at.

    Attributes:
        what: a ratio, in words.
        must: the least that will do, or the most, where less is better.
        aim: what is aimed at.
        at_most: whether less is better.
    """

    what: str
    must: float
    aim: float
    at_most: bool = False

    def verdict(self, value: float) -> str:
        """Return "aim", "pass" or "MISS"; a value that is not a number misses.

        >>> [RECORD.verdict(value) for value in (1.0, 1.04, 1.06)]
        ['aim', 'pass', 'MISS']
        """
        if value <= self.aim if self.at_most else value >= self.aim:
            return "aim"
        return "pass" if (value <= self.must if self.at_most else value >= self.must) else "MISS"


TRAINING_MEAN_ONE = Bar("float32 training over torch, geometric mean", 1.75, 1.9)
TRAINING_MEAN_MORE = Bar("float32 training over torch, geometric mean", 2.1, 2.3)
TRAINING_LOWEST_ONE = Bar("float32 training over torch, lowest case", 1.08, 1.15)
TRAINING_LOWEST_MORE = Bar("float32 training over torch, lowest case", 1.05, 1.15)
FORWARD_MEAN = Bar("float32 forward over the best peer, geometric mean", 1.25, 1.32)
FORWARD_LOWEST = Bar("float32 forward over the best peer, lowest case", 1.0, 1.05)
BF16_FORWARD_MEAN = Bar("bf16 forward over the best bf16 peer, geometric mean", 1.35, 1.5)
BF16_FORWARD_LOWEST = Bar("bf16 forward over the best bf16 peer, lowest case", 1.05, 1.12)
BF16_TRAINING_MEAN = Bar("bf16 training over torch's best bf16, geometric mean", 2.2, 2.45)
BF16_TRAINING_LOWEST = Bar("bf16 training over torch's best bf16, lowest case", 1.6, 1.8)
BF16_TRAINING_FLOAT32 = Bar("bf16 training over torch float32, geometric mean", 3.2, 3.6)
BF16_ERROR = Bar("bf16 gradients' error over torch bf16's, highest", 1.0, 0.95, at_most=True)
BF16_ERROR_SAVING_FLOAT32 = Bar("... with float32 saved, highest", 1.0, 0.7, at_most=True)
BF16_STEPS = Bar("train --precision bf16 over float32, steps a second", 1.6, 1.9)
BF16_LOSS = Bar("... its validation loss less float32's, nats", 0.005, 0.005, at_most=True)
PROCESSES = Bar("training in two processes over one, one thread each", 1.8, 1.9)
FORWARD_PEAK = Bar("float32 forward, fraction of FMA peak, worst case", 0.80, 0.90)
TRAINING_PEAK = Bar("float32 training, fraction of FMA peak, worst case", 0.70, 0.85)
RECORD = Bar("record on, over training forward", 1.05, 1.02, at_most=True)
RECOMPUTED = Bar("record from hidden states over torch's forward, T=500 B=16 H=256", 4, 3, at_most=True)
LENGTHS_PADDED = Bar("lengths uniform in 1 to T, over the padded run", 0.6, 0.55, at_most=True)
LENGTHS_PACKED = Bar("... over torch's packed sequence", 3, 4)
RESET_PLAIN = Bar("resets before 1% of steps, over a plain run", 1.05, 1.02, at_most=True)
RESET_CELLS = Bar("... over a loop of torch.nn.LSTMCell", 20, 25)
VARIANT = Bar("other cells over the plain one, forward + backward, worst", 1.3, 1.15, at_most=True)
LAYER_NORM = Bar("... with layer norm", 1.6, 1.4, at_most=True)
SLSTM = Bar("... of the sLSTM, 4 heads", 1.6, 1.4, at_most=True)
VARIANT_LOOPS = Bar("loops of torch's operations over other cells, lowest", 10, 15)
MEMORY = Bar("peak memory of a training step over torch's", 0.75, 0.6, at_most=True)
BUSY = Bar("forward + backward over torch, all cores busy", 1.5, 2.5)
STEP_TORCH = Bar("Stream.step, D = H = 64, over torch", 40, 50)
STEP_ORT = Bar("Stream.step, D = H = 64, over ONNX Runtime", 8, 10)
RUN_16 = Bar("Stream.run, D = H = 16, microseconds a step", 0.25, 0.15, at_most=True)
RUN_32 = Bar("Stream.run, D = H = 32, microseconds a step", 0.7, 0.32, at_most=True)
RUN_64 = Bar("Stream.run, D = H = 64, microseconds a step", 2.2, 1.1, at_most=True)
INSTALLED = Bar("installed without dependencies, MB", 5, 3, at_most=True)
IMPORT = Bar("import of gatewright.Stream, seconds", 0.12, 0.1, at_most=True)
LOOK = Bar("a recording of T=10,000, H=512 over a training forward", 1.1, 1.02, at_most=True)
PAGE = Bar("its page painted, seconds", 2, 1, at_most=True)
SERVE = Bar("serve, 200 WebSocket sessions, H = 128, steps a second", 3000, 6000)
SERVE_P99 = Bar("... 99th percentile of an answer, milliseconds", 60, 30, at_most=True)
FIRST_LINE = Bar("train, 1.5 M rows of 1,000 series: first line, seconds", 10, 2, at_most=True)
FIRST_STEP = Bar("... first step, with its validation, seconds", 15, 10, at_most=True)
EVALUATE = Bar("... evaluate, 202,000 windows, seconds", 60, 30, at_most=True)


class Judged(NamedTuple):
    """A value held against a bar.

    Attributes:
        bar: the bar.
        threads: with how many threads.
        value: what came.
        note: which cases it is of.
    """

    bar: Bar
    threads: int
    value: float
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        verdict = self.bar.verdict(self.value)
        return {**self.bar._asdict(), **self._asdict(), "bar": self.bar.what, "verdict": verdict}


def only(names: Collection[str], of: int) -> str:
    """Say which cases a value is of, where it is not of all that the bar means."""
    return "" if len(names) == of else f"only {', '.join(names)}"


def show(judged: Iterable[Judged]) -> None:
    """Print a line for each bar."""
    print(f"\n{'bars':54} threads    value  must      aim")
    for bar, threads, value, note in judged:
        sign = "<=" if bar.at_most else ">="
        print(f"{bar.what:54} {threads:7} {value:8.3f}  {sign} {bar.must:<6g} {sign} {bar.aim:<6g}", end="")
        print(f"  {bar.verdict(value):4}  {note}".rstrip())
