"""``python -m benchmarks.forecasts``: trains forecasters with the default recipe on real series and scores them.

Each run has a process of its own, with one thread.  Its result is a line of JSON in RESULTS; a run that is there
already is not repeated.  Options of ``gatewright train`` after ``--`` change the recipe, under a label of its own:

    python -m benchmarks.forecasts --tasks ten --label log -- --transform log
    python -m benchmarks.forecasts --tasks ten --references
    python -m benchmarks.forecasts --tasks ten --seeds 0 --neuralforecast
    python -m benchmarks.forecasts --table
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.forecasts import neuralforecast_peer, results, tasks
from benchmarks.forecasts.series import write_table
from gatewright.errors import GatewrightError

HERE = Path(__file__).parent


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.forecasts", description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["ten"], help="names, or ten, or untouched")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--label", default="default", help="name of the recipe in the results")
    parser.add_argument(
        "--references", action="store_true", help="score models of other packages, and train nothing"
    )
    parser.add_argument(
        "--neuralforecast", action="store_true", help="train the LSTM of that package, with each of its settings"
    )
    parser.add_argument("--table", action="store_true", help="print the results that are there, and run nothing")
    parser.add_argument("--results", type=Path, default=HERE / "results.jsonl")
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "gatewright-forecasts")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("options", nargs="*", help="options of gatewright train, after --")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    try:
        if options.run:
            print(json.dumps(_one(options)))
            return 0
        if not options.table:
            _all(options)
        print(results.table(results.read(options.results)))
    except GatewrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _all(options: argparse.Namespace) -> None:
    """Run what is missing in the results, each in a process of its own."""
    done = {(line["task"], line["label"], line["seed"]) for line in results.read(options.results)}
    labels, seeds = [options.label], options.seeds
    if options.references:
        labels, seeds = [results.REFERENCES], [0]
    elif options.neuralforecast:
        labels = list(neuralforecast_peer.SETTINGS)
    for task in tasks.named(options.tasks):
        write_table(task.name, options.data)
        for label, seed in itertools.product(labels, seeds):
            if (task.name, label, seed) in done:
                continue
            print(f"{task.name}, {label}, seed {seed}", file=sys.stderr, flush=True)
            line = _in_a_process(options, task.name, label, seed)
            line = {"task": task.name, "label": label, "seed": seed, "options": options.options, **line}
            with options.results.open("a") as file:
                file.write(json.dumps(line) + "\n")


def _in_a_process(options: argparse.Namespace, task: str, label: str, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.forecasts", "--run", task, "--label", label, "--seeds", str(seed)]
    command += ["--data", str(options.data)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [*command, "--", *options.options], check=False, capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise GatewrightError(task, "a run that ends well", done.stderr.strip()[-2000:])
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _one(options: argparse.Namespace) -> dict[str, Any]:
    [task] = tasks.named([options.run])
    path = write_table(task.name, options.data)
    if options.label in neuralforecast_peer.SETTINGS:
        return neuralforecast_peer.trained(task, path, options.seeds[0], options.label)

    from benchmarks.forecasts import training  # not in a process whose time and memory are the peer's

    if options.label == results.REFERENCES:
        return training.references(task, path)
    return training.trained(task, path, options.seeds[0], options.options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
