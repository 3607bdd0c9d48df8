r"""Which unit of a language model knows when a line ends?  Looked for in two ways, and checked by ablation.

    gatewright train tinyshakespeare.txt --hidden 256 --steps 1500 --run runs/lines \
        --context 128 --batch 32 --lr 0.002 --dropout 0.2 --forget-bias 1
    python examples/line_ends.py runs/lines

`docs/look.md` tells what came of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatewright.insight import Recording, diagnose, intervene, look
from gatewright.spec.recording import TextMetadata

STEPS = 4000
#: Lines of at least so many characters are verse or prose, and not the names of speakers.
LINE = 20

Array = NDArray[np.float64]


def columns(text: str) -> NDArray[np.int64]:
    """Return the place of each character in its line, from 1; 0 for the end of a line."""
    found, column = [], 0
    for character in text:
        column = 0 if character == "\n" else column + 1
        found.append(column)
    return np.array(found)


def damage(run: Path, before: Recording, unit: int, ends: NDArray[np.bool_]) -> tuple[float, float]:
    """Ablate a unit; return by how many nats the ends of lines become worse, and all other characters."""
    worse = intervene(run, steps=STEPS, ablate={0: unit}).difference(before).error[:, 0]
    return float(worse[ends].mean()), float(np.nanmean(worse[~ends]))


def main(run: Path) -> None:
    """Print what was found."""
    recording = look(run, steps=STEPS)
    assert isinstance(recording.about.data, TextMetadata)
    assert recording.symbols is not None
    text = "".join(recording.about.data.symbols[symbol] for symbol in recording.symbols[:, 0])
    column = columns(text)
    newline = np.array([character == "\n" for character in text])
    ends = newline & (np.concatenate([[0], column[:-1]]) >= LINE)
    error = recording.error()[:, 0]
    record = recording.layers[0].forward
    cell = record.cell[:, 0]
    half_life = diagnose(recording).layers[0].half_life_overall
    print(f"{len(text)} characters, {ends.sum()} ends of lines: {np.nanmean(error):.3f} nats a character, "
          f"{error[ends].mean():.3f} at the ends of lines")  # fmt: skip

    def told(unit: int) -> str:
        at_end, else_ = (float(record.forget_gate[where, 0, unit].mean()) for where in (newline, ~newline))
        worse, others = damage(run, recording, unit, ends)
        return (
            f"unit {unit:3}: half-life over all steps {half_life[unit]:5.2f}, forget gate {at_end:.4f} at ends of "
            f"lines and {else_:.3f} elsewhere; ablated, ends of lines {worse:+.3f} nats, others {others:+.4f}"
        )

    alike = np.array([abs(np.corrcoef(cell[:, unit], column)[0, 1]) for unit in range(cell.shape[1])])
    print("\nlargest |correlation| of the cell state with the column:")
    for unit in np.argsort(-alike)[:5].tolist():
        print(f"  {alike[unit]:.2f}  {told(unit)}")

    costs = np.array([damage(run, recording, unit, ends)[0] for unit in range(cell.shape[1])])
    print("\nlargest damage at the ends of lines, of all units:")
    for unit in np.argsort(-costs)[:5].tolist():
        print(f"  {told(unit)}")
    print(f"the other {len(costs) - 5}: median {np.median(costs):+.3f} nats")

    best = int(costs.argmax())
    t = int(np.flatnonzero(ends)[30]) - 1
    ledger = recording.ledger(0, t, units=best)
    line = text[t - column[t] + 1 : t + 1]
    ours = float(ledger.shares[-int(column[t]) :].sum())
    start = float(ledger.shares[-int(column[t]) - 1, 0])
    print(f"\nunit {best} before the end of {line!r}: c = {ledger.cell[0]:.3f}; of it, from the characters of "
          f"this line {ours:.3f}, from the end of the line before {start:.3f}, from all that is older "
          f"{float(ledger.total[0]) - ours - start:.4f}")  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/line_ends.py RUN")
    main(Path(sys.argv[1]))
