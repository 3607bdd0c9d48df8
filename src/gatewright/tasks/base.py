"""The interfaces of a kind of model and of its training task; this file imports no torch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from gatewright.data.source_files import require_file
from gatewright.errors import GatewrightError
from gatewright.tasks import options as options_of_runs
from gatewright.tasks.cell_words import same_cell
from gatewright.tasks.options import DataOptions, Options
from gatewright.tasks.recipes import Recipe, RollingValidation
from gatewright.tasks.search_space import Space

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from rich.table import Table
    from torch import Tensor

    from gatewright.data.table import TrainingSource
    from gatewright.data.text_sources import TextFiles
    from gatewright.files.model_file import ModelFile
    from gatewright.nn.model import Model, State
    from gatewright.progress import Waits
    from gatewright.runtime.stream import Stream
    from gatewright.spec import ModelSpec
    from gatewright.tasks.inputs import InputBatch

#: A dataset of a kind: read, checked and split.
Data = TypeVar("Data")


class Share(NamedTuple):
    """Which part of each batch a process takes: the ``rank``-th of ``world`` equal parts."""

    rank: int
    world: int

    def of(self, batch: int) -> slice:
        """Rows of a batch that are this process's."""
        return slice(self.rank * batch // self.world, (self.rank + 1) * batch // self.world)


#: The share of the only process.
ALONE = Share(0, 1)


@dataclass(frozen=True)
class SamplePaths:
    """Sample paths that are wanted of a forecaster.

    Attributes:
        count: number of paths of each series.
        seed: random seed.
    """

    count: int
    seed: int = 0


class Loss(NamedTuple):
    """Loss of a batch: the sum over what was predicted, and how much that was."""

    total: Tensor
    predictions: int


class Task(Protocol):
    """A model, its data, and a loss.  A batch is a function of the step alone."""

    model: Model
    batch: int
    steps_per_epoch: int
    #: Whether states go on from each step to the next.
    carries: bool
    #: Whether the model is worth a validation before the first step.
    starts_ready: bool
    #: What the loss and the validation score are measured in.
    unit: str
    #: What is learned from what, in lines for a person.
    summary: str

    def loss(self, model: torch.nn.Module, step: int) -> Loss:
        """Run the model (perhaps wrapped) over this process's rows of the batch of a step."""

    def start(self, *, forecasting: bool) -> None:
        """Set the weights that a new model starts with, before the first step.

        Args:
            forecasting: whether those that are best without training, or those that training goes on from.
        """

    def start_peer(self, peer: Any, states: Callable[[Tensor], Tensor]) -> None:
        """Start another network with a head like the model's in the same way.

        Args:
            peer: the network.
            states: returns what its head reads of inputs (T, B, D), (T, B, P).
        """

    def validate(self) -> float:
        """Return the score of the validation part; lower is better."""

    def measures(self, score: float) -> dict[str, float | None]:
        """Return other measures of the same validation, by name; None for one that is undefined."""

    def file(self) -> ModelFile:
        """Return what the file of the best model has, for the model as `validate` scored it."""

    def refitted(self, best: ModelFile) -> ModelFile:
        """Return the file of the model after a refit, with what only a validation tells from the best model."""

    def inputs(self, step: int) -> tuple[Tensor, State | None]:
        """Return what the model read at a step, to look for the cause of a NaN."""

    def rows(self, step: int, rows: NDArray[np.int64]) -> str:
        """Say where rows of the batch of a step come from."""

    @property
    def carried(self) -> State | None:
        """States that go on into the next step, of this process's rows."""

    def carry(self, state: State | None) -> None:
        """Go on from these states."""


class Evaluation(NamedTuple):
    """The test part, scored.

    Attributes:
        figures: as they go into ``evaluation.json``; ``kind`` is the name of the kind.
        draw: writes a plot to a path; None for kinds without one.
    """

    figures: dict[str, Any]
    draw: Callable[[Path], None] | None = None


class StreamScore(NamedTuple):
    """Data ready to be scored by a stream.

    Attributes:
        x: inputs of one session, step by step.
        times: the time of each step, for models that read the calendar; else None.
        metrics: scores a stream of `SESSIONS` sessions; the metrics by name.
    """

    x: NDArray[Any]
    times: NDArray[Any] | None
    metrics: Callable[[Stream], dict[str, float]]


#: Sessions of a stream that is scored.
SESSIONS = 64


class Kind(Protocol[Data]):
    """A kind of model: its options, its data, its training, its evaluation.

    An implementation inherits from this class, imports torch and polars in its methods only, and is entered in
    `gatewright.tasks.registry.KINDS`.
    """

    #: Its name on the command line and in files.
    name: str
    #: The unit of the loss and of the validation score.
    unit: str
    #: Endings of the names of files that it learns from, ``.gz`` aside; empty where ``--kind`` has to name it.
    suffixes: tuple[str, ...] = ()
    #: Defaults of its options; one of data or model that has none does not exist for it.
    defaults: Options
    #: Options whose defaults depend on the data.
    by_data: tuple[str, ...] = ()
    #: Name of the file with the plot of an evaluation.
    plot: str = "forecast.png"
    #: Entries of the search space of `gatewright tune`, where the user has none (`tasks.search_space`).
    searched: tuple[str, ...] = ()
    #: Whether its data decides the unit of the validation score, so that a search settles it: `settled`.
    settles: bool = False
    #: Whether its models forecast the rows after a table: `forecast`, and ``windows`` of an evaluation.
    forecasts: bool = False
    #: Whether a refit takes as many steps as the run, over which the learning rate falls to 0; else it takes those
    #: of the best model.
    refit_anneals: bool = False
    #: Whether it learns from several files, and from directories.
    several: bool = False
    #: Whether its models predict a label for each sequence or for each step: `predict`.
    classifies: bool = False

    def fits(self, spec: ModelSpec) -> bool:
        """Whether a model of this specification can be of this kind."""
        ...

    def named_by(self, options: DataOptions) -> bool:
        """Whether options of the data name the kind, whatever the ending of a file's name says."""
        return False

    def resolve(self, options: Options) -> Options:
        """Fill in the defaults, and check every value that does not depend on the data.

        Raises:
            GatewrightError: names the option.
        """
        return options_of_runs.resolve(options, self.name, self.defaults, self.by_data)

    def check_head(self, path: Path, options: DataOptions, fixed: bool = False) -> None:
        """Check what the first bytes of a file show, before slow work.

        Args:
            path: the file.
            options: how it is read.
            fixed: whether a trained model fixes the columns.

        Raises:
            DataError: as the reader of the whole file does.
        """
        if not path.is_dir():
            require_file(path)

    def unit_of(self, options: Options) -> str:
        """Return the unit of the loss and of the validation score of a run."""
        return self.unit

    def of_earlier(self, options: Options) -> Options:
        """Return the options of a run as this build says the same: a run may be older than an option."""
        return options

    def agrees(self, option: str, value: Any, fixed: Any) -> bool:
        """Whether the value of an option fits that of an initial model or of a run that goes on."""
        if option == "cell":
            return same_cell(value, fixed)
        if option == "hidden" and isinstance(value, tuple) and len(set(value)) == 1:
            return bool(value[0] == fixed)  # the number of layers is another option
        return bool(value == fixed)

    def files(self, paths: tuple[Path, ...]) -> TextFiles:
        """Return several files and directories as a source, for kinds with ``several``."""
        from gatewright.data.text_sources import TextFiles

        return TextFiles(paths)

    def source_of(self, value: Any) -> TrainingSource | None:
        """Return a value in memory as a source that can be read repeatedly; None if it is none of this kind's.

        Raises:
            GatewrightError: if it cannot be read.
        """
        return None

    def read(self, source: TrainingSource, options: DataOptions, spec: ModelSpec | None = None) -> Data:
        """Read, check and split what a run learns from.

        Args:
            source: the path of a file, or what `source_of` returned.
            options: the resolved options.
            spec: of the model that is to read it; None before there is one.

        Raises:
            GatewrightError: if it cannot be used.
        """
        ...

    def complete(self, options: Options, data: Data) -> Options:
        """Return the options with those that depend on the data."""
        return options

    def search_entries(self, data: Data, options: Options) -> tuple[str, ...]:
        """Return the entries of the search space for data; `searched`, and those that depend on the data.

        Args:
            data: read with the options.
            options: as `settled` returns them.
        """
        return self.searched

    def settled(self, data: Data, options: Options) -> Options:
        """Return options with what the data decides of the unit of the validation score, for all trials.

        Args:
            data: read with the options.
            options: as the user set them.
        """
        return options

    def require_comparable(self, data: Data, options: Options, space: Space) -> None:
        """Check that the scores of all trials of a search can be compared.

        Args:
            data: as for `settled`.
            options: its result.
            space: the search space, whose values are checked.

        Raises:
            GatewrightError: if values have scores in different units, or of different windows.
        """
        return

    def recipes(self, data: Data, options: Options) -> tuple[Recipe, ...]:
        """Return the recipes that `train --auto` chooses among, the default first; none for most kinds.

        Args:
            data: read with the options.
            options: as the user set them; what is set stays.
        """
        return ()

    def steps_read(self, data: Data, options: Options) -> int:
        """Return how many steps a model with these options reads of the data; 0 if the data does not allow it."""
        return 0

    def rolling(self, data: Data) -> RollingValidation:
        """Return the folds of the validation part that recipes are scored in; kinds without recipes refuse.

        Raises:
            GatewrightError: if the kind has no recipes.
        """
        raise GatewrightError("--auto", "a kind of model with recipes", self.name)

    def build(self, data: Data, options: Options) -> Model:
        """Return a new model for the data, with random weights, on the CPU."""
        ...

    def continued(self, model: Model, data: Data, options: Options) -> Model:
        """Return a copy of a trained model whose training goes on with other data.

        Args:
            model: the model; it is not changed.
            data: the other data.
            options: with those that the model fixes.
        """
        copied = copy.deepcopy(model)
        copied.is_new = False
        return copied

    def fixed_by(self, model: Model) -> Options:
        """Return the options that a trained model fixes when its training goes on with other data.

        Raises:
            GatewrightError: if models of this kind cannot go on.
        """
        raise GatewrightError("init", "a kind of model whose training can go on with other data", self.name)

    def require_sizes(self, model: Model, options: Options) -> None:
        """Check sizes that `fixed_by` does not say: those that are set agree with a trained model's.

        Raises:
            GatewrightError: names the option.
        """
        return  # there are none

    def task(self, model: Model, data: Data, options: Options, share: Share, device: torch.device) -> Task:
        """Return the training task of a model, which is on the device."""
        ...

    def with_validation(self, data: Data) -> Data:
        """Return data whose training part has the validation part in it, for a refit.

        Raises:
            GatewrightError: if models of this kind are not refitted.
        """
        raise GatewrightError("--refit", "a kind of model that can be refitted", self.name)

    def evaluate(self, model: Model, data: Data, windows: int | None, waits: Waits) -> Evaluation:
        """Score a model on the test part.

        Args:
            model: the model.
            data: what its run learned from.
            windows: maximum number of windows, drawn evenly, for kinds that forecast; all if None.
            waits: reports progress.

        Raises:
            GatewrightError: if the test part cannot be scored.
        """
        ...

    def evaluate_next_to(
        self, baselines: Sequence[str], model: Model, data: Data, windows: int | None, waits: Waits
    ) -> Evaluation:
        """Score a model on the test part, next to models of other packages; kinds without any refuse their names.

        Args:
            baselines: names of the models; none for `evaluate` alone.
            model: as for `evaluate`.
            data: as for `evaluate`.
            windows: as for `evaluate`.
            waits: as for `evaluate`.

        Raises:
            GatewrightError: if a model cannot be fitted, or its package is not installed.
        """
        if baselines:
            raise GatewrightError("--baselines", "a run that forecasts", f"a {self.name} model")
        return self.evaluate(model, data, windows, waits)

    def tables(self, figures: dict[str, Any]) -> Iterator[Table]:
        """Lay out the figures of an evaluation for a terminal."""
        ...

    def inputs(
        self, model: Model, data: Any, span: slice, title: str, fill: str, options: DataOptions | None = None
    ) -> InputBatch:
        """Return the inputs of a model to look at it with.

        Args:
            model: the model.
            data: a path, or what the kind reads as a value.
            span: steps that are read.
            title: of the recording; the name of the file if empty.
            fill: how missing inputs are filled: "", "forward" or "mean".
            options: of the model's run, if it has one.

        Raises:
            GatewrightError: if the data does not fit the model.
        """
        ...

    def part_inputs(self, model: Model, data: Data, part: str, span: slice, title: str) -> InputBatch:
        """Return inputs of a part of what a run learned from, "valid" or "test"; arguments as for `inputs`."""
        ...

    def predictions(self, model: Model, batch: InputBatch, output: Tensor) -> Tensor:
        """Return what a recording has as predictions.

        Args:
            model: the model.
            batch: its inputs.
            output: what it gave, (T, B, ...) with the axes of `ModelSpec.output_shape`.
        """
        ...

    def stream_score(self, file: ModelFile, source: Path, options: DataOptions) -> StreamScore:
        """Read data that a stream of a model is scored on.

        Args:
            file: the model.
            source: the data.
            options: of the model's run.

        Raises:
            GatewrightError: if the data does not fit the model.
        """
        ...

    def forecast(
        self,
        model: Model,
        source: Path,
        options: DataOptions,
        horizon: int | None,
        waits: Waits,
        paths: SamplePaths | None = None,
    ) -> tuple[str, list[str]]:
        """Forecast the rows after a table, as CSV; and notes for a person.  Kinds without ``forecasts`` refuse.

        Args:
            model: the model.
            source: the table.
            options: of the model's run.
            horizon: steps to forecast; all that the model can if None.
            waits: reports progress.
            paths: sample paths in place of quantiles, if they are wanted.

        Raises:
            GatewrightError: if the table does not fit the model.
        """
        raise GatewrightError("run", "a run that forecasts", f"a {self.name} model")

    def note_on(self, file: ModelFile, options: Options) -> str:
        """Return a line for a person on the best model of a training that ends; empty for nothing to say.

        Args:
            file: the model.
            options: of its run.
        """
        return ""

    def predict(self, model: Model, source: Any, options: DataOptions, waits: Waits) -> tuple[str, list[str]]:
        """Predict the classes of sequences, as CSV; and notes for a person.  Others than ``classifies`` refuse.

        Args:
            model: the model.
            source: the sequences.
            options: of the model's run.
            waits: reports progress.

        Raises:
            GatewrightError: if the sequences do not fit the model.
        """
        raise GatewrightError("run", "a run that classifies", f"a {self.name} model")
