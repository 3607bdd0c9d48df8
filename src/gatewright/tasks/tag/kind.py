"""Taggers: one label for each step of a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gatewright.tasks.base import Evaluation, Kind, Share, StreamScore, Task
from gatewright.tasks.options import (
    MODEL_DEFAULTS,
    TRAINING_DEFAULTS,
    DataOptions,
    Options,
    require_label_per,
    stack_options,
)
from gatewright.tasks.settings import ModelSettings, NoiseSettings, TrainingSettings

if TYPE_CHECKING:
    import torch
    from rich.table import Table
    from torch import Tensor

    from gatewright.data.table import TrainingSource
    from gatewright.data.text_sources import TextFiles
    from gatewright.files.model_file import ModelFile
    from gatewright.nn.model import Model
    from gatewright.progress import Waits
    from gatewright.spec import ModelSpec
    from gatewright.tasks.classify.dataset import SequenceSource
    from gatewright.tasks.inputs import InputBatch
    from gatewright.tasks.tag.dataset import TagData


class Tag(Kind["TagData"]):
    """Taggers of the steps of sequences."""

    name = "tag"
    unit = "nats/step"
    plot = "evaluation.png"
    defaults = Options(
        DataOptions(
            label="", label_per="step", features=(), id=(), time="", time_format="", decimal=".", thousands="",
            missing=(), fill="", context=500, valid="0.15", test="0.15", split_seed=0, class_weights="none",
        ),
        replace(MODEL_DEFAULTS, hidden=64, dropout=0.2, noise=0.0, directions="forward"),
        replace(TRAINING_DEFAULTS, steps=1000, batch=32, lr=2e-3, validate_every=50, patience=10, refit=False),
    )  # fmt: skip
    searched = (
        "hidden=16:128:log", "layers=1:3", "dropout=0:0.5", "lr=5e-4:2e-2:log", "batch=8,16,32,64",
    )  # fmt: skip
    classifies = True
    several = True

    def files(self, paths: tuple[Path, ...]) -> TextFiles:
        """Return several tables as a source: each file is a sequence."""
        from gatewright.data.table_files import TableFiles

        return TableFiles(paths)

    def named_by(self, options: DataOptions) -> bool:
        """Whether labels are those of steps."""
        return options.label_per == "step"

    def resolve(self, options: Options) -> Options:
        """Fill in the defaults; one label for each sequence is refused."""
        require_label_per(options.data, "step", self.name)
        return super().resolve(options)

    def fits(self, spec: ModelSpec) -> bool:
        """Whether a model gives one label a step."""
        return spec.tagger is not None

    def source_of(self, value: Any) -> TrainingSource | None:
        """Return sequences in memory, a data frame or an Arrow table."""
        from gatewright.tasks.classify.dataset import source_of

        return source_of(value)

    def read(self, source: TrainingSource, options: DataOptions, spec: ModelSpec | None = None) -> TagData:
        """Read and split sequences with labels of steps."""
        from gatewright.tasks.tag import dataset

        return dataset.read(cast("SequenceSource", source), options, spec)

    def complete(self, options: Options, data: TagData) -> Options:
        """Return the options with what the data decides."""
        return replace(options, data=data.options)

    def build(self, data: TagData, options: Options) -> Model:
        """Return a new tagger."""
        from gatewright.nn.model import Model
        from gatewright.tasks.tag import dataset

        spec = dataset.build(data, options)
        return Model(spec, scaler=data.scaler, forget_bias=ModelSettings.of(options.model).forget_bias)

    def fixed_by(self, model: Model) -> Options:
        """Return the columns, the sizes, and how a sequence is read."""
        spec = model.spec
        assert spec.tagger is not None
        directions = "both" if spec.lstm.bidirectional else "forward"
        return Options(
            DataOptions(features=spec.tagger[0].columns), replace(stack_options(spec.lstm), directions=directions)
        )

    def task(self, model: Model, data: TagData, options: Options, share: Share, device: torch.device) -> Task:
        """Return sequences, or pieces of them, in random order."""
        from gatewright.tasks.tag.dataset import ContextSettings, PieceSettings
        from gatewright.tasks.tag.task import TagTask

        context, noise = ContextSettings.of(options.data).context, NoiseSettings.of(options.model).noise
        settings = TrainingSettings.of(options.training)
        return TagTask(model, data, settings, PieceSettings(context, noise), share, device)

    def with_validation(self, data: TagData) -> TagData:
        """Return the sequences with those of the validation part in the training part."""
        return data.with_validation()

    def evaluate(self, model: Model, data: TagData, windows: int | None, waits: Waits) -> Evaluation:
        """Score the test part, next to the majority class, the label before, and the nearest single row."""
        from gatewright.tasks.classify.plot import plot_classes
        from gatewright.tasks.tag.evaluate import evaluate_tags

        figures, outcome = evaluate_tags(model, data, waits)
        return Evaluation(figures, lambda path: plot_classes(path, data.classes, outcome))

    def tables(self, figures: dict[str, Any]) -> Iterator[Table]:
        """Lay out the measures of each method, and the confusion matrix."""
        from gatewright.tasks.classify.tables import tables

        return tables(figures)

    def inputs(
        self, model: Model, data: Any, span: slice, title: str, fill: str, options: DataOptions | None = None
    ) -> InputBatch:
        """Return sequences in memory or those of a path."""
        from gatewright.tasks.classify.inputs import of_source

        return of_source(model, data, span, title, fill, options)

    def part_inputs(self, model: Model, data: TagData, part: str, span: slice, title: str) -> InputBatch:
        """Return the first sequences of a part."""
        from gatewright.tasks.classify.inputs import of_part

        return of_part(model, data, part, span, title)

    def predictions(self, model: Model, batch: InputBatch, output: Tensor) -> Tensor:
        """Return probabilities of the classes of each step, (T, B, classes)."""
        return output.softmax(dim=-1)

    def stream_score(self, file: ModelFile, source: Path, options: DataOptions) -> StreamScore:
        """Read sequences with labels of steps, which are scored by accuracy and nats a step."""
        from gatewright.tasks.tag.stream_score import stream_score

        return stream_score(file, source, options)

    def predict(self, model: Model, source: Any, options: DataOptions, waits: Waits) -> tuple[str, list[str]]:
        """Predict the class of each step."""
        from gatewright.tasks.tag.csv_output import predict_table

        return predict_table(model, source, options, waits)
