"""Taggers: one label for each step of a sequence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gatewright.tasks.base import Evaluation, Share, StreamScore, Task
from gatewright.tasks.classify.sequence_kind import SequenceKind
from gatewright.tasks.options import (
    MODEL_DEFAULTS,
    TRAINING_DEFAULTS,
    DataOptions,
    Options,
    require_label_per,
    stack_options,
)
from gatewright.tasks.settings import BiasSettings, NoiseSettings, TrainingSettings

if TYPE_CHECKING:
    import torch

    from gatewright.data.table import TrainingSource
    from gatewright.files.model_file import ModelFile
    from gatewright.nn.model import Model
    from gatewright.progress import Waits
    from gatewright.spec import ModelSpec
    from gatewright.tasks.classify.dataset import SequenceSource
    from gatewright.tasks.tag.dataset import TagData


class Tag(SequenceKind["TagData"]):
    """Taggers of the steps of sequences."""

    name = "tag"
    unit = "nats/step"
    defaults = Options(
        DataOptions(
            label="", label_per="step", features=(), id=(), time="", time_format="", decimal=".", thousands="",
            missing=(), fill="", context=500, valid="0.15", test="0.15", split_seed=0, class_weights="none",
        ),
        replace(MODEL_DEFAULTS, hidden=64, dropout=0.2, noise=0.0, shift=0.0, directions="forward"),
        replace(TRAINING_DEFAULTS, steps=1000, batch=32, lr=2e-3, validate_every=50, patience=10, refit=False),
    )  # fmt: skip
    by_data = ("category", "embedding", "category_size")
    searched = (
        "hidden=16:128:log", "layers=1:3", "dropout=0:0.5", "lr=5e-4:2e-2:log", "batch=8,16,32,64",
    )  # fmt: skip

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
        return Model(spec, scaler=data.scaler, **vars(BiasSettings.of(options.model)))

    def fixed_by(self, model: Model) -> Options:
        """Return the columns, the sizes, and how a sequence is read."""
        spec = model.spec
        assert spec.tagger is not None
        from gatewright.tasks.classify.encoding import as_read_by

        directions = "both" if spec.lstm.bidirectional else "forward"
        size = replace(stack_options(spec.lstm), directions=directions)
        return Options(as_read_by(spec.tagger[0], DataOptions()), size)

    def task(self, model: Model, data: TagData, options: Options, share: Share, device: torch.device) -> Task:
        """Return sequences, or pieces of them, in random order."""
        from gatewright.tasks.tag.dataset import ContextSettings, PieceSettings
        from gatewright.tasks.tag.task import TagTask

        context, noise = ContextSettings.of(options.data).context, NoiseSettings.of(options.model)
        settings = TrainingSettings.of(options.training)
        return TagTask(model, data, settings, PieceSettings(context, noise), share, device)

    def evaluate(self, model: Model, data: TagData, windows: int | None, waits: Waits) -> Evaluation:
        """Score the test part, next to the majority class, the label before, and the nearest single row."""
        from gatewright.tasks.classify.plot import plot_classes
        from gatewright.tasks.tag.evaluate import evaluate_tags

        figures, outcome = evaluate_tags(model, data, waits)
        return Evaluation(figures, lambda path: plot_classes(path, data.classes, outcome))

    def stream_score(self, file: ModelFile, source: Path, options: DataOptions) -> StreamScore:
        """Read sequences with labels of steps, which are scored by accuracy and nats a step."""
        from gatewright.tasks.tag.stream_score import stream_score

        return stream_score(file, source, options)

    def predict(self, model: Model, source: Any, options: DataOptions, waits: Waits) -> tuple[str, list[str]]:
        """Predict the class of each step."""
        from gatewright.tasks.tag.csv_output import predict_table

        return predict_table(model, source, options, waits)
