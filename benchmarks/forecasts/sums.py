"""``python -m benchmarks.forecasts.sums``: intervals of sums and maxima over the horizon, from sample paths.

Paths with the dependence of the model file stand next to paths whose steps are independent, and to paths with one
draw for all steps, on the windows of the test part whose targets are all observed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.forecasts import tasks
from benchmarks.forecasts.series import write_table
from benchmarks.forecasts.training import train
from gatewright.data import preprocessing
from gatewright.errors import GatewrightError
from gatewright.runs.run import Run
from gatewright.tasks.forecast.evaluate import choose
from gatewright.tasks.forecast.sample_paths import draws, in_units, key, root_of
from gatewright.tasks.forecast.window_units import Place
from gatewright.tasks.forecast.windows import Windows, predict_scaled

Values = NDArray[np.float64]

#: Levels of the quantiles that are scored.
LEVELS = (0.1, 0.5, 0.9)

#: How the steps of paths depend on each other.
WAYS = ("independent", "copula", "one draw")

#: What is worked out over the steps of a path.
MEASURES: dict[str, Callable[[Values], Values]] = {"sum": lambda y: y.sum(-1), "maximum": lambda y: y.max(-1)}


def paths_of_windows(run: Run, windows: int | None, paths: int) -> tuple[dict[str, Values], Values]:
    """Return paths of the windows of a test part, (windows, paths, horizon) of each way, and what came.

    Args:
        run: a trained forecaster; its first target is taken.
        windows: number of windows, drawn evenly; all if None.
        paths: number of paths of each window.
    """
    model, data = run.best_model(), run.data()
    assert model.spec.forecaster is not None
    assert model.scaler is not None
    encoder, head = model.spec.forecaster
    root, horizon = root_of(model), head.horizon
    same = np.zeros_like(root)
    same[0] = 1.0  # all steps have the first draw
    roots = dict(zip(WAYS, (np.eye(len(root)), root, same), strict=True))
    found: dict[str, list[Values]] = {name: [] for name in roots}
    came: list[Values] = []
    for one, origins in zip(data.table.series, choose(model, data, windows).origins, strict=True):
        encoded = preprocessing.encode(one, encoder, model.scaler, data.settings.fill)
        target = one.values[origins[:, None] + np.arange(1, horizon + 1), 0]
        seen = np.isfinite(target).all(axis=1)
        read = Windows([encoded], encoder, horizon, "cpu")
        outputs, places = predict_scaled(model, read, origins[seen])
        came += list(target[seen])
        for number, row in enumerate(origins[seen]):
            place = None if places is None else Place(places.last[number], places.scale[number])
            for name, mix in roots.items():
                drawn = draws(mix, paths, key(0, one, int(row) + 1))
                found[name].append(in_units(model, outputs[number], drawn, place)[..., 0])
    return {name: np.array(drawn) for name, drawn in found.items()}, np.array(came)


def scores(drawn: Values, came: Values) -> tuple[float, float]:
    """Return the share inside the outer quantiles of draws, and the mean quantile loss.

    Args:
        drawn: (windows, paths).
        came: (windows,).
    """
    quantiles = np.quantile(drawn, LEVELS, axis=1)
    error = came - quantiles
    losses = [np.maximum(level * own, (level - 1) * own).mean() for level, own in zip(LEVELS, error, strict=True)]
    return float(np.mean((quantiles[0] <= came) & (came <= quantiles[-1]))), float(np.mean(losses))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.forecasts.sums", description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["airpass", "seattle", "rain", "taylor", "etth1_24"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--paths", type=int, default=1000)
    parser.add_argument("--windows", type=int, default=400)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "gatewright-forecasts")
    parser.add_argument("options", nargs="*", help="options of gatewright train, after --")
    options = parser.parse_args(arguments)
    try:
        print("| task | seed | of | " + " | ".join(f"{way}: inside, loss" for way in WAYS) + " |")
        print("|---" * (3 + len(WAYS)) + "|")
        for task in tasks.named(options.tasks):
            path = write_table(task.name, options.data)
            for seed in options.seeds:
                with tempfile.TemporaryDirectory() as directory:
                    run = train(task, path, Path(directory) / "run", ["--seed", str(seed), *options.options])
                    drawn, came = paths_of_windows(run, options.windows, options.paths)
                for name, measure in MEASURES.items():
                    cells = [scores(measure(drawn[way]), measure(came)) for way in drawn]
                    shown = " | ".join(f"{inside:.1%}, {loss:.4g}" for inside, loss in cells)
                    print(f"| {task.name} | {seed} | {name} | {shown} |", flush=True)
    except GatewrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
