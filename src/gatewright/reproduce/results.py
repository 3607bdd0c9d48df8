"""Results of experiments as JSON: a file for each, with the figures of each seed, mean and spread."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gatewright.errors import GatewrightError, RunError, unusable
from gatewright.files.atomic import write_bytes, writing
from gatewright.reproduce.experiment import Curve, Experiment, Measure

FORMAT = 1


@dataclass(frozen=True)
class SeedResult:
    """The result of one seed.

    Attributes:
        figures: value of each measure; None where the criterion was not met within the budget.
        curves: lines of the picture by legend.
        cpu_seconds: CPU seconds of training and test, of all threads.
        machine: processor, cores, target of the kernels, system.
        versions: versions of Python and packages.
    """

    figures: dict[str, float | None]
    curves: dict[str, Curve]
    cpu_seconds: float
    machine: dict[str, Any]
    versions: dict[str, str]


@dataclass(frozen=True)
class Results:
    """All finished seeds of an experiment with the same settings."""

    experiment: str
    short: bool
    settings: dict[str, Any]
    seeds: dict[int, SeedResult]


@dataclass(frozen=True)
class Summary:
    """A measure over seeds.

    Attributes:
        mean: mean; None if a seed did not meet the criterion.
        spread: standard deviation of the sample; None for fewer than two seeds.
        missed: number of seeds that did not meet the criterion.
        seeds: number of seeds.
    """

    mean: float | None
    spread: float | None
    missed: int
    seeds: int

    def text(self, measure: Measure) -> str:
        """Return mean and spread in words."""
        if not self.seeds:
            return "–"
        if self.mean is None:
            return f"not reached by {self.missed} of {self.seeds}"
        spread = "" if self.spread is None else f" ± {self.spread:,.{measure.digits}f}"
        return f"{self.mean:,.{measure.digits}f}{spread}"


def summary(figures: list[float | None]) -> Summary:
    """Return mean and spread of a measure over seeds.

    >>> summary([1.0, 2.0, 6.0])
    Summary(mean=3.0, spread=2.6457513110645907, missed=0, seeds=3)
    >>> summary([1.0, None]).mean is None
    True
    """
    reached = [figure for figure in figures if figure is not None]
    missed = len(figures) - len(reached)
    if missed or not reached:
        return Summary(None, None, missed, len(figures))
    spread = statistics.stdev(reached) if len(reached) > 1 else None
    return Summary(statistics.fmean(reached), spread, 0, len(reached))


def of_measure(results: Results, name: str) -> list[float | None]:
    """Return the figures of a measure by seed, in the order of the seeds."""
    return [results.seeds[seed].figures.get(name) for seed in sorted(results.seeds)]


def settings_json(settings: Any) -> dict[str, Any]:
    """Return a dataclass of settings as JSON has it: tuples are lists."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return plain


def path_of(out: Path, name: str, short: bool) -> Path:
    """Return the file of an experiment; that of a short version has another name."""
    return out / f"{name}{'.short' if short else ''}.json"


def save(path: Path, experiment: Experiment, results: Results) -> None:
    """Write results.

    Raises:
        RunError: if the file cannot be written.
    """
    data = {
        "gatewright_results": FORMAT,
        "experiment": results.experiment,
        "short": results.short,
        "settings": results.settings,
        "summary": {name: asdict(summary(of_measure(results, name))) for name in experiment.measures},
        "seeds": {
            str(seed): {**asdict(result), "curves": {n: _rounded(c) for n, c in result.curves.items()}}
            for seed, result in sorted(results.seeds.items())
        },
    }
    with writing(path):
        write_bytes(path, (_pretty(data) + "\n").encode())


def _rounded(curve: Curve) -> dict[str, list[float]]:
    return {"x": [float(f"{x:.6g}") for x in curve.x], "y": [float(f"{y:.4g}") for y in curve.y]}


def _pretty(data: Mapping[str, Any]) -> str:
    """Return JSON with lists of numbers on one line."""
    lists: list[str] = []

    def hide(value: Any) -> Any:
        if isinstance(value, list):
            lists.append(json.dumps(value, allow_nan=False))
            return f"@{len(lists) - 1}@"
        return {key: hide(item) for key, item in value.items()} if isinstance(value, dict) else value

    text = json.dumps(hide(data), indent=1, allow_nan=False)
    for number, written in enumerate(lists):
        text = text.replace(f'"@{number}@"', written, 1)
    return text


def load(path: Path) -> Results:
    """Read results that `save` wrote.

    Raises:
        RunError: if the file cannot be read or is not one of them.
    """
    try:
        data = json.loads(path.read_bytes())
        if data["gatewright_results"] != FORMAT:
            raise RunError(str(path), f"results of format {FORMAT}", repr(data["gatewright_results"]))
        seeds = {
            int(seed): SeedResult(
                result["figures"],
                {name: Curve(**curve) for name, curve in result["curves"].items()},
                float(result["cpu_seconds"]),
                result["machine"],
                result["versions"],
            )
            for seed, result in data["seeds"].items()
        }
        return Results(data["experiment"], data["short"], data["settings"], seeds)
    except OSError as error:
        raise unusable(RunError, path, error) from None
    except GatewrightError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RunError(
            str(path), "results that `gatewright reproduce` wrote", "another or a damaged file"
        ) from None
