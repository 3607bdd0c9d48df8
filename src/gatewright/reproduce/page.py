"""The page of published results: a table of all, then each experiment with its figures by seed and its curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatewright.errors import RunError
from gatewright.files.atomic import write_bytes, writing
from gatewright.reproduce.curves import draw
from gatewright.reproduce.experiment import Experiment, Measure
from gatewright.reproduce.registry import EXPERIMENTS
from gatewright.reproduce.results import Results, Summary, load, of_measure, settings_json, summary

#: The page and the folder of its pictures, in a folder of documentation.
PAGE, IMAGES = "results.md", "images/results"

_INTRODUCTION = """\
# Published results, measured again

`gatewright reproduce list` names the experiments, `gatewright reproduce NAME` runs one of them, and
`gatewright reproduce page DIR` writes this page from the JSON files of `--out DIR`.

- Ours: mean ± standard deviation over seeds. A seed that does not meet a stopping criterion within its budget
  counts as "not reached"; there is no mean then.
- Each rule for stopping was fixed before the test figures were seen. Parts for validation come out of the training
  part. Sizes and learning rates come from a few trials: on other random draws where data are generated, by the
  validation part elsewhere.
- CPU seconds: mean over seeds, one thread, of everything in the experiment: training, test, and the plain RNN next
  to ours. The machine was busy; they say how much work an experiment is, not how fast Gatewright is.
- Data: generated; from the packages aeon and mnist1d; or downloaded once, checked by SHA-256, into the folder that
  `GATEWRIGHT_DATA` names (by default `~/.cache/gatewright`), where a file of the same content may lie already.
- Published figures are those of the papers. How our training differs from theirs stands in each section.
"""


@dataclass(frozen=True)
class Entry:
    """An experiment, its results, and its measures over seeds."""

    experiment: Experiment
    results: Results
    summaries: dict[str, Summary]

    def verdict(self, name: str) -> str:
        """Return whether a measure reaches its bar, in a word."""
        measure, mean = self.experiment.measures[name], self.summaries[name].mean
        if measure.bar is None:
            return ""
        return "yes" if mean is not None and measure.reached(mean) else "**no**"

    @property
    def link(self) -> str:
        """The name as a link to its section; anchors are in lower case."""
        return f"[{self.experiment.name}](#{self.experiment.name.lower()})"

    @property
    def cpu_seconds(self) -> float:
        """Mean CPU seconds of a seed."""
        seeds = self.results.seeds.values()
        return sum(result.cpu_seconds for result in seeds) / len(seeds)


def entries(folder: Path) -> list[Entry]:
    """Read the results of a folder, in the order of the registry; short versions are left out.

    Raises:
        RunError: if there are none, one of them is damaged, or its settings are not those of this version.
    """
    measured = []
    for experiment in EXPERIMENTS.values():
        path = folder / f"{experiment.name}.json"
        if not path.exists():
            continue
        results = load(path)
        if not results.seeds:
            raise RunError(str(path), "the result of a seed", "none")
        if results.short or results.settings != settings_json(experiment.settings):
            raise RunError(str(path), "results with the settings of this version", "others; run it again")
        summaries = {name: summary(of_measure(results, name)) for name in experiment.measures}
        measured.append(Entry(experiment, results, summaries))
    if not measured:
        raise RunError(str(folder), "JSON files of `gatewright reproduce`", "none")
    return measured


def write(folder: Path, docs: Path) -> list[Path]:
    """Write the page and its pictures.

    Args:
        folder: directory of the results.
        docs: folder of the documentation.

    Returns:
        The files.

    Raises:
        RunError: as `entries` does, or if a file cannot be written.
    """
    measured = entries(folder)
    images = docs / IMAGES
    with writing(images):
        images.mkdir(parents=True, exist_ok=True)
    files = {docs / PAGE: text(measured).encode()}
    for entry in measured:
        if picture := draw(entry.experiment, entry.results):
            files[images / f"{entry.experiment.name}.svg"] = picture
    for path, data in files.items():
        with writing(path):
            write_bytes(path, data)
    return list(files)


def text(measured: Sequence[Entry]) -> str:
    """Return the page in Markdown."""
    return "\n".join(
        [_INTRODUCTION, *_overview(measured), *_short(measured), *(_section(entry) for entry in measured)]
    )


def _number(value: float | None, measure: Measure) -> str:
    return "not reached" if value is None else f"{value:,.{measure.digits}f}"


def _overview(measured: Sequence[Entry]) -> Iterator[str]:
    yield "## All results\n"
    yield "| experiment | measure | published | to reach | ours | seeds | reached | CPU s |"
    yield "|---|---|---|---|---|---|---|---|"
    for entry in measured:
        for name, measure in entry.experiment.measures.items():
            if measure.bar is None:
                continue
            published = "" if measure.published is None else _number(measure.published, measure)
            sign = "≤" if measure.better == "lower" else "≥"
            cells = (
                f"{entry.link}", measure.text, published,
                f"{sign} {_number(measure.bar, measure)}", entry.summaries[name].text(measure),
                str(len(entry.results.seeds)), entry.verdict(name), f"{entry.cpu_seconds:.0f}",
            )  # fmt: skip
            yield f"| {' | '.join(cells)} |"
    yield ""


def _short(measured: Sequence[Entry]) -> Iterator[str]:
    """Yield what falls short, experiments without results too."""
    yield "## What falls short\n"
    lines = [
        f"- {entry.link}: {measure.text}: "
        f"{entry.summaries[name].text(measure)}, to reach {_number(measure.bar, measure)}."
        for entry in measured
        for name, measure in entry.experiment.measures.items()
        if entry.verdict(name) == "**no**"
    ]
    names = {entry.experiment.name for entry in measured}
    missing = [f"`{name}`" for name in EXPERIMENTS if name not in names]
    if missing:
        lines.append(f"- Not measured yet: {', '.join(missing)}.")
    yield "\n".join(lines or ["Nothing."])
    yield ""


def _section(entry: Entry) -> str:
    experiment, paper = entry.experiment, entry.experiment.paper
    seeds = sorted(entry.results.seeds)
    lines = [
        f"## {experiment.name}",
        f"{experiment.title}. [{paper.authors} ({paper.year}): {paper.title}]({paper.link})",
        f"- **Task.** {experiment.task}\n- **Ours.** {experiment.training}\n- **Stopping.** {experiment.stopping}",
        "\n".join(
            [
                f"| measure | published | ours | {' | '.join(f'seed {seed}' for seed in seeds)} |",
                "|---|---|---|" + "---|" * len(seeds),
                *(_row(entry, name, measure) for name, measure in experiment.measures.items()),
            ]
        ),
    ]
    if any(result.curves for result in entry.results.seeds.values()):
        lines.append(f"![{experiment.title}: the curves of all seeds]({IMAGES}/{experiment.name}.svg)")
    lines.append(f"{_machines(entry.results)} CPU seconds by seed: {_seconds(entry.results)}.")
    return "\n\n".join(lines) + "\n"


def _row(entry: Entry, name: str, measure: Measure) -> str:
    published = "" if measure.published is None else f"{_number(measure.published, measure)} ({measure.source})"
    figures = [_number(figure, measure) for figure in of_measure(entry.results, name)]
    return f"| {measure.text} | {published} | {entry.summaries[name].text(measure)} | {' | '.join(figures)} |"


def _machines(results: Results) -> str:
    """Return machines and versions, each combination once."""
    kinds = dict.fromkeys(
        f"{result.machine['processor']} ({result.machine['target']}, {result.machine['system']}); "
        + ", ".join(f"{name} {number}" for name, number in result.versions.items())
        for result in results.seeds.values()
    )
    return " ".join(f"{kind}." for kind in kinds)


def _seconds(results: Results) -> str:
    return ", ".join(f"{result.cpu_seconds:.1f}" for _, result in sorted(results.seeds.items()))
