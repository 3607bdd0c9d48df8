"""Language models: the next character, byte or token of a text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gatewright.errors import GatewrightError
from gatewright.tasks.base import Evaluation, Kind, Share, StreamScore, Task
from gatewright.tasks.options import MODEL_DEFAULTS, TRAINING_DEFAULTS, DataOptions, Options, stack_options
from gatewright.tasks.settings import BiasSettings

if TYPE_CHECKING:
    import torch
    from rich.table import Table
    from torch import Tensor

    from gatewright.data.sources import TextSource
    from gatewright.data.table import TrainingSource
    from gatewright.files.model_file import ModelFile
    from gatewright.nn.model import Model
    from gatewright.progress import Waits
    from gatewright.spec import ModelSpec
    from gatewright.tasks.inputs import InputBatch
    from gatewright.tasks.language.dataset import TextData


#: Default of ``--vocabulary-size``.
VOCABULARY_SIZE = 2048

#: What a token is called in units of measure.
UNITS = {"characters": "char", "bytes": "byte", "bpe": "token"}


def _shown(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:,.{decimals}f}"


class Language(Kind["TextData"]):
    """Models of the characters, the bytes or the tokens of a text."""

    name = "language"
    unit = "nats/char"
    suffixes = (".txt",)
    several = True
    defaults = Options(
        DataOptions(context=64, reset=0.1, tokens="characters", valid="0.05", test="0.05"),
        replace(MODEL_DEFAULTS, hidden=512, dropout=0.1, embedding=64, forget_bias=0.0),
        replace(TRAINING_DEFAULTS, epochs=10, batch=16, lr=6e-3),
    )
    searched = (
        "hidden=128:1024:log", "layers=1:3", "embedding=32,64,128", "dropout=0:0.5", "lr=5e-4:1e-2:log",
        "batch=16,32,64", "context=64,128,256",
    )  # fmt: skip

    by_data = ("vocabulary_size",)

    def resolve(self, options: Options) -> Options:
        """Fill in the defaults; the size of the vocabulary is an option of a byte pair encoding only."""
        options = super().resolve(options)
        size, tokens = options.data.vocabulary_size, options.data.tokens
        if tokens == "bpe":
            return replace(options, data=replace(options.data, vocabulary_size=size or VOCABULARY_SIZE))
        if size is not None:
            raise GatewrightError("--vocabulary-size", "--tokens bpe with it", f"--tokens {tokens}")
        return options

    def unit_of(self, options: Options) -> str:
        """Return nats a character, byte or token."""
        return f"nats/{UNITS[options.data.tokens or 'characters']}"

    def fits(self, spec: ModelSpec) -> bool:
        """Whether a model reads symbols."""
        return spec.encoder.symbols > 0

    def source_of(self, value: Any) -> TrainingSource | None:
        """Return a `gatewright.data.sources.Text`, or several of them, in memory or in files."""
        from gatewright.data.sources import Text, TextFiles, Texts

        return value if isinstance(value, Text | Texts | TextFiles) else None

    def read(self, source: TrainingSource, options: DataOptions, spec: ModelSpec | None = None) -> TextData:
        """Read and split a text."""
        from gatewright.tasks.language import dataset

        return dataset.read(cast("TextSource", source), options)

    def build(self, data: TextData, options: Options) -> Model:
        """Return a new language model."""
        from gatewright.nn.model import Model
        from gatewright.tasks.language import dataset

        spec = dataset.build(data, options)
        return Model(spec, vocabulary=data.vocabulary, **vars(BiasSettings.of(options.model)))

    def fixed_by(self, model: Model) -> Options:
        """Return the sizes and what the model cuts a text into."""
        spec, vocabulary = model.spec, model.vocabulary
        assert vocabulary is not None
        size = len(vocabulary.own) if vocabulary.tokens == "bpe" else None
        width = spec.encoder.input_size(spec.head.horizon)
        sizes = replace(stack_options(spec.lstm), embedding=width)
        return Options(DataOptions(tokens=vocabulary.tokens, vocabulary_size=size), sizes)

    def task(self, model: Model, data: TextData, options: Options, share: Share, device: torch.device) -> Task:
        """Return parallel streams, whose states are carried from chunk to chunk."""
        from gatewright.tasks.language.task import LanguageTask

        return LanguageTask(model, data, options, share, device)

    def evaluate(self, model: Model, data: TextData, windows: int | None, waits: Waits) -> Evaluation:
        """Score the test part, next to n-gram models."""
        from gatewright.tasks.language.evaluate import evaluate_language

        with waits.during("scoring the test part"):
            return Evaluation(evaluate_language(model, data))

    def tables(self, figures: dict[str, Any]) -> Iterator[Table]:
        """Lay out nats a token, bits a byte and perplexity."""
        from gatewright.tasks.language.measures import plural
        from gatewright.tasks.tables import empty

        nats, bits, perplexity = (figures[name] for name in ("nats_per_token", "bits_per_byte", "perplexity"))
        unit = figures["token"]
        heads = [f"nats/{unit}", "bits/byte", "perplexity"]
        table = empty(f"test part, {figures['tokens']:,} {plural(unit)}", heads)
        for name in nats:
            table.add_row(name, f"{nats[name]:.4f}", _shown(bits[name], 4), _shown(perplexity[name], 3))
        yield table

    def inputs(
        self, model: Model, data: Any, span: slice, title: str, fill: str, options: DataOptions | None = None
    ) -> InputBatch:
        """Return a text, or that of a `Path`."""
        from gatewright.tasks.language.inputs import of_source

        return of_source(model, data, span, title)

    def part_inputs(self, model: Model, data: TextData, part: str, span: slice, title: str) -> InputBatch:
        """Return a part of the text."""
        from gatewright.tasks.language.inputs import of_text

        return of_text(model, getattr(data.parts, part), span, title)

    def predictions(self, model: Model, batch: InputBatch, output: Tensor) -> Tensor:
        """Return log-probabilities of the next symbol, (T, B, symbols)."""
        return output.log_softmax(dim=-1)

    def stream_score(self, file: ModelFile, source: Path, options: DataOptions) -> StreamScore:
        """Read a text, which is scored in nats a token."""
        from gatewright.tasks.language.stream_score import stream_score

        return stream_score(file, source)
