"""The command that compares two models: verify."""

from __future__ import annotations

import sys
from pathlib import Path

from gatewright.cli.app import app, errors, print_table, say
from gatewright.progress import Waits


@app.command
def verify(a: Path, b: Path, /, *, data: Path, run: Path | None = None, tolerance: float = 1e-5) -> None:
    """Compare two models on data, output by output; the exit status is 1 where they differ.

    Example: gatewright verify runs/load runs/load/onnx/model.onnx --data load.csv

    Every output of every step is compared: of forecasts those of windows spread over the table, of texts the first
    200,000 characters, of labelled sequences the first ones.

    Args:
        a: Directory of a run, a model file, or an ONNX file that gatewright export wrote.
        b: Likewise.
        data: A table or a text like that of the training; for ONNX files of other programs, an .npz file with the
            arrays of their inputs by name.
        run: Directory of the run whose options say how the data is read, where neither model is in one.
        tolerance: Largest difference of models that agree, relative to the largest value of each output
            (default: 0.00001).
    """
    from gatewright.evaluation.verification import lines
    from gatewright.evaluation.verification import verify as compare

    with Waits(errors).during(f"reading {data}, and running both models over it"):
        result = compare(a, b, data, run=run, tolerance=tolerance)
    print_table(lines(result))
    worst = result.largest
    verdict = "agree" if result.agrees else "differ"
    say(f"A and B {verdict}: the largest difference is {worst.relative:.2e} of the scale, tolerance {tolerance:g}")
    if not result.agrees:
        sys.exit(1)
