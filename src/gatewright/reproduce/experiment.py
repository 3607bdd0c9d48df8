"""Descriptions of experiments: the paper, the published figures, what ours is, and when its training stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gatewright.progress import Waits


@dataclass(frozen=True)
class Paper:
    """A publication.

    Attributes:
        authors: authors, as cited.
        year: year of publication.
        title: title.
        link: URL of its DOI or on arXiv.
    """

    authors: str
    year: int
    title: str
    link: str


@dataclass(frozen=True)
class Measure:
    """A figure of an experiment, next to the published one.

    Attributes:
        text: description, with its unit.
        better: the direction of better figures.
        published: the published figure; None if the paper has none.
        source: where it is published, and of what model.
        required: bar that ours has to reach; None for the published figure.
        digits: digits after the decimal point.
    """

    text: str
    better: Literal["lower", "higher"]
    published: float | None = None
    source: str = ""
    required: float | None = None
    digits: int = 0

    @property
    def bar(self) -> float | None:
        """The figure that ours has to reach; None for a figure that is only shown."""
        return self.published if self.required is None else self.required

    def reached(self, figure: float) -> bool:
        """Whether a figure is at least as good as the bar."""
        if self.bar is None:
            return True
        return figure <= self.bar if self.better == "lower" else figure >= self.bar


@dataclass(frozen=True)
class Curve:
    """A line of the picture: values ``y`` at ``x``."""

    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class Outcome:
    """The result of one seed.

    Attributes:
        figures: value of each measure by name; None where the stopping criterion was not met within the budget.
        curves: lines of the picture by their legend.
    """

    figures: dict[str, float | None]
    curves: dict[str, Curve] = field(default_factory=dict)


#: Settings, random seed and progress to the result of one seed.
Train = Callable[[Any, int, Waits], Outcome]


@dataclass(frozen=True)
class Experiment:
    """A published result and how ours is measured.

    Attributes:
        name: name on the command line.
        title: title on the page.
        paper: the publication.
        task: the data and what is to be predicted.
        training: how ours is trained.
        stopping: the rule that ends the training and chooses the model; fixed before the test figures were seen.
        measures: figures by name; the first one decides.
        settings: a frozen dataclass of numbers: sizes, learning rate, budget.
        short: the same, of a version that takes seconds; its figures compare with nothing.
        train: function of settings, seed and progress.
        axes: labels of the picture's axes.
        log_y: whether its vertical axis is logarithmic.
        needs: package that has the data, or "".
        trainings: maximum number of trainings of a seed, by the settings.
    """

    name: str
    title: str
    paper: Paper
    task: str
    training: str
    stopping: str
    measures: Mapping[str, Measure]
    settings: Any
    short: Any
    train: Train
    axes: tuple[str, str] = ("", "")
    log_y: bool = False
    needs: str = ""
    trainings: Callable[[Any], int] = lambda _: 1
