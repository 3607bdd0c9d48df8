"""Runs of an experiment: one seed after another, each one kept as soon as it is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from gatewright.errors import GatewrightError, RunError
from gatewright.estimators.isolation import isolated
from gatewright.files import lock
from gatewright.files.atomic import writing
from gatewright.progress import SILENT, Waits
from gatewright.reproduce import results as files
from gatewright.reproduce.experiment import Experiment
from gatewright.reproduce.machine import machine, versions
from gatewright.reproduce.results import Results, SeedResult
from gatewright.reproduce.trainings import Trainings


def reproduce(
    experiment: Experiment,
    out: Path,
    seeds: Sequence[int] = (0, 1, 2),
    *,
    short: bool = False,
    waits: Waits = SILENT,
    report: Callable[[str], None] = lambda _: None,
) -> Results:
    """Run an experiment for some seeds and write a JSON file.

    Seeds that the file already has are not run again.

    Args:
        experiment: the experiment.
        out: directory of the results.
        seeds: random seeds.
        short: run the short version, which writes another file.
        waits: progress.
        report: called with a line after each seed.

    Returns:
        The results of these seeds and of all that the file had before.

    Raises:
        GatewrightError: if seeds repeat or are negative, or data are missing.
        RunError: if the file is of other settings, another process runs the experiment, or it cannot be written.
    """
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise GatewrightError(
            "--seeds", "different whole numbers of at least 0", " ".join(map(str, seeds)) or "none"
        )
    settings = experiment.short if short else experiment.settings
    path = files.path_of(out, experiment.name, short)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        empty = Results(experiment.name, short, files.settings_json(settings), {})
        results = files.load(path) if path.exists() else empty
        if results.experiment != empty.experiment or results.settings != empty.settings:
            expected = f"results of {experiment.name} with the settings of this version (or no file)"
            raise RunError(str(path), expected, "others; move the file away, or choose another --out")
        missing = [seed for seed in seeds if seed not in results.seeds]
        trainings = Trainings(waits, len(missing) * experiment.trainings(settings))
        for seed in seeds:
            if seed in results.seeds:
                report(f"seed {seed}: finished before, kept")
                continue
            result = _run(experiment, settings, seed, trainings)
            results.seeds[seed] = result
            files.save(path, experiment, results)
            report(f"seed {seed}: {_line(experiment, result)}, {result.cpu_seconds:.1f} CPU s")
    return results


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file of results."""
    own = path.with_name(f".{path.name}.lock")
    try:
        with writing(own), lock.held(own):
            yield
    except lock.LockedError as error:
        raise RunError(str(path), "no other process that writes it", f"process {error.holder}") from None


def _run(experiment: Experiment, settings: object, seed: int, waits: Waits) -> SeedResult:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with isolated():
            torch.manual_seed(seed)
            start = time.process_time()
            outcome = experiment.train(settings, seed, waits)
            seconds = time.process_time() - start
    finally:
        torch.set_num_threads(threads)
    return SeedResult(outcome.figures, outcome.curves, round(seconds, 2), machine(), versions(experiment.needs))


def _line(experiment: Experiment, result: SeedResult) -> str:
    """Return the first measure of a seed in words."""
    name, measure = next(iter(experiment.measures.items()))
    value = result.figures.get(name)
    return f"{measure.text} " + ("not reached" if value is None else f"{value:,.{measure.digits}f}")
