"""The rows of whole sequences, held against the bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks import bars
from benchmarks.bars import Bar, Judged
from benchmarks.cases import CASES
from benchmarks.contenders import OPENVINO, OURS_BF16, OURS_BF16_SAVING_FLOAT32, TORCH, TORCH_BF16
from benchmarks.outcomes import BF16_PEERS, Outcome, Row
from benchmarks.timing import geometric_mean

#: Large enough for a kernel to come near the peak.
NEAR_PEAK = ("charlm", "nanopore", "large", "hydro256")

#: Errors of gradients, by what is saved for them.
ERRORS = {bars.BF16_ERROR: OURS_BF16, bars.BF16_ERROR_SAVING_FLOAT32: OURS_BF16_SAVING_FLOAT32}


def judge(rows: Sequence[Row], threads: int) -> list[Judged]:
    """Hold the rows against the bars; those of bfloat16 only where it was measured."""
    some = bars.only([row.case.name for row in rows], len(CASES))
    if not all(OPENVINO in row.forward.timed for row in rows):
        some = ", ".join(filter(None, [some, "without OpenVINO"]))
    one = threads == 1
    training = _values(rows, lambda row: row.training.over(TORCH))
    forward = _values(rows, lambda row: row.forward.over_best())
    judged = [
        _mean(bars.TRAINING_MEAN_ONE if one else bars.TRAINING_MEAN_MORE, threads, training, some),
        _lowest(bars.TRAINING_LOWEST_ONE if one else bars.TRAINING_LOWEST_MORE, threads, training),
    ]
    if not one:
        judged += [
            _mean(bars.FORWARD_MEAN, threads, forward, some),
            _lowest(bars.FORWARD_LOWEST, threads, forward),
        ]
    if all(OURS_BF16 in row.forward.timed for row in rows):
        judged += _bf16(rows, threads, some)
    near = [row for row in rows if row.case.name in NEAR_PEAK]
    if near:
        judged += [
            _lowest(bars.FORWARD_PEAK, threads, _values(near, lambda row: row.forward.of_peak)),
            _lowest(bars.TRAINING_PEAK, threads, _values(near, lambda row: row.training.of_peak)),
        ]
    return judged


def _bf16(rows: Sequence[Row], threads: int, some: str) -> list[Judged]:
    def over_best(outcome: Outcome) -> float:
        return outcome.over_best(BF16_PEERS, OURS_BF16)

    forward = _values(rows, lambda row: over_best(row.forward))
    training = _values(rows, lambda row: over_best(row.training))
    over_float32 = _values(rows, lambda row: row.training.over(TORCH, OURS_BF16))
    return [
        _mean(bars.BF16_FORWARD_MEAN, threads, forward, some),
        _lowest(bars.BF16_FORWARD_LOWEST, threads, forward),
        _mean(bars.BF16_TRAINING_MEAN, threads, training, some),
        _lowest(bars.BF16_TRAINING_LOWEST, threads, training),
        _mean(bars.BF16_TRAINING_FLOAT32, threads, over_float32, some),
        *(_highest(bar, threads, _gradient_errors(rows, name)) for bar, name in ERRORS.items()),
    ]


def gradient_error(training: Outcome, ours: str) -> float:
    """Return our error over torch bfloat16's, of the gradient where that is highest.

    Errors are those against torch's float32, which is exact by a thousand times as much.
    """
    pairs = zip(training.errors[ours][1:], training.errors[TORCH_BF16][1:], strict=True)  # without y
    return max(error / other for error, other in pairs)


def _gradient_errors(rows: Sequence[Row], ours: str) -> dict[str, float]:
    return _values(rows, lambda row: gradient_error(row.training, ours))


def _values(rows: Sequence[Row], value: Callable[[Row], float]) -> dict[str, float]:
    return {row.case.name: value(row) for row in rows}


def _mean(bar: Bar, threads: int, values: Mapping[str, float], note: str) -> Judged:
    return Judged(bar, threads, geometric_mean(values.values()), note)


def _highest(bar: Bar, threads: int, values: Mapping[str, float]) -> Judged:
    name = max(values, key=values.__getitem__)
    return Judged(bar, threads, values[name], name)


def _lowest(bar: Bar, threads: int, values: Mapping[str, float]) -> Judged:
    name = min(values, key=values.__getitem__)
    return Judged(bar, threads, values[name], name)
