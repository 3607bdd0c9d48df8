"""Classifiers: one label for each sequence."""

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
    from gatewright.tasks.classify.dataset import ClassData, SequenceSource


#: Noise on the inputs while training, and shifts of whole sequences, where the training part has fewer sequences.
NOISE, SHIFT, FEW_SEQUENCES = 0.3, 1.0, 1000


class Classify(SequenceKind["ClassData"]):
    """Classifiers of whole sequences."""

    name = "classify"
    unit = "nats/sequence"
    suffixes = (".ts",)
    defaults = Options(
        DataOptions(
            label="", label_per="sequence", features=(), id=(), time="", time_format="", decimal=".", thousands="",
            missing=(), fill="", valid="0.15", test="0.15", split_seed=0, class_weights="none",
        ),
        replace(MODEL_DEFAULTS, hidden=64, dropout=0.2, pooling="max", directions="both"),
        replace(TRAINING_DEFAULTS, steps=1000, batch=32, lr=2e-3, validate_every=50, patience=10, refit=False),
    )  # fmt: skip
    by_data = ("noise", "shift", "category", "embedding", "category_size")
    searched = (
        "hidden=16:128:log", "layers=1:3", "pooling=last,mean,max,attention", "dropout=0:0.5", "lr=5e-4:2e-2:log",
        "batch=8,16,32,64",
    )  # fmt: skip

    def named_by(self, options: DataOptions) -> bool:
        """Whether there is a label, of each sequence."""
        return bool(options.label) and options.label_per != "step"

    def resolve(self, options: Options) -> Options:
        """Fill in the defaults; a label for each step is refused."""
        require_label_per(options.data, "sequence", self.name)
        return super().resolve(options)

    def of_earlier(self, options: Options) -> Options:
        """Return the options of a run of an earlier version: without ``noise`` and ``shift`` it had none."""
        options = super().of_earlier(options)
        noise, shift = (0.0 if value is None else value for value in (options.model.noise, options.model.shift))
        return replace(options, model=replace(options.model, noise=noise, shift=shift))

    def fits(self, spec: ModelSpec) -> bool:
        """Whether a model gives one label a sequence."""
        return spec.classifier is not None

    def read(self, source: TrainingSource, options: DataOptions, spec: ModelSpec | None = None) -> ClassData:
        """Read and split labelled sequences."""
        from gatewright.tasks.classify import dataset

        return dataset.read(cast("SequenceSource", source), options, spec)

    def complete(self, options: Options, data: ClassData) -> Options:
        """Return the options with what the data decides."""
        few, model = len(data.train) < FEW_SEQUENCES, options.model
        noise = (NOISE if few else 0.0) if model.noise is None else model.noise
        shift = (SHIFT if few else 0.0) if model.shift is None else model.shift
        return replace(options, data=data.options, model=replace(model, noise=noise, shift=shift))

    def build(self, data: ClassData, options: Options) -> Model:
        """Return a new classifier."""
        from gatewright.nn.model import Model
        from gatewright.tasks.classify import dataset

        spec = dataset.build(data, options)
        return Model(spec, scaler=data.scaler, **vars(BiasSettings.of(options.model)))

    def fixed_by(self, model: Model) -> Options:
        """Return the columns, the sizes, and how a sequence is read."""
        spec = model.spec
        assert spec.classifier is not None
        from gatewright.tasks.classify.encoding import as_read_by

        directions = "both" if spec.lstm.bidirectional else "forward"
        size = replace(stack_options(spec.lstm), pooling=spec.classifier[1].pooling, directions=directions)
        return Options(as_read_by(spec.classifier[0], DataOptions()), size)

    def task(self, model: Model, data: ClassData, options: Options, share: Share, device: torch.device) -> Task:
        """Return whole sequences in random order."""
        from gatewright.tasks.classify.task import ClassifyTask

        settings, noise = TrainingSettings.of(options.training), NoiseSettings.of(options.model)
        return ClassifyTask(model, data, settings, noise, share, device)

    def evaluate(self, model: Model, data: ClassData, windows: int | None, waits: Waits) -> Evaluation:
        """Score the test part, next to the majority class and the nearest neighbour."""
        from gatewright.tasks.classify.evaluate import evaluate_classes
        from gatewright.tasks.classify.plot import plot_classes
        from gatewright.tasks.classify.predict import require_classifier

        figures, outcome = evaluate_classes(model, data, waits)
        classes = require_classifier(model)[1].classes
        return Evaluation(figures, lambda path: plot_classes(path, classes, outcome))

    def stream_score(self, file: ModelFile, source: Path, options: DataOptions) -> StreamScore:
        """Read labelled sequences, which are scored by accuracy and nats a sequence."""
        from gatewright.tasks.classify.stream_score import stream_score

        return stream_score(file, source, options)

    def predict(self, model: Model, source: Any, options: DataOptions, waits: Waits) -> tuple[str, list[str]]:
        """Predict the class of each sequence."""
        from gatewright.tasks.classify.csv_output import predict_table

        return predict_table(model, source, options, waits)
