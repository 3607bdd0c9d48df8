"""A text, split, as a language model learns from it; and the model that fits it."""

from __future__ import annotations

from dataclasses import dataclass

from gatewright.data.sources import TextSource
from gatewright.data.text import TextParts, build_vocabulary, split_text, text_of
from gatewright.spec import ModelSpec, StackSpec, SymbolEncoder, SymbolHead, Vocabulary
from gatewright.tasks.options import DataOptions, Options
from gatewright.tasks.settings import ModelSettings, PartSettings


@dataclass(frozen=True)
class LanguageSettings(ModelSettings):
    """Size of the layers and of what they read."""

    embedding: int


@dataclass(frozen=True)
class TextData:
    """A text, split, and its vocabulary."""

    parts: TextParts
    vocabulary: Vocabulary


def read(source: TextSource, options: DataOptions) -> TextData:
    """Read and split a text; the vocabulary comes from the training part.

    Raises:
        GatewrightError: see `text_of` and `split_text`.
    """
    sizes = PartSettings.of(options)
    parts = split_text(text_of(source), sizes.valid, sizes.test)
    return TextData(parts, build_vocabulary(parts.train))


def build(data: TextData, options: Options) -> ModelSpec:
    """Return the specification of the model for a text."""
    size = LanguageSettings.of(options.model)
    symbols = len(data.vocabulary.symbols)
    stack = StackSpec(size.hidden, size.layers, size.dropout, size.proj)
    return ModelSpec(SymbolEncoder(symbols, size.embedding), stack, SymbolHead())
