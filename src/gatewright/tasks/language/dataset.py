"""Texts, split, as a language model learns from them; and the model that fits them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from gatewright.data.sources import TextSource
from gatewright.data.text import TextParts, build_vocabulary, split_text, text_of
from gatewright.spec import ModelSpec, SymbolEncoder, SymbolHead, Vocabulary
from gatewright.tasks.options import DataOptions, Options
from gatewright.tasks.settings import ModelSettings, PartSettings, Settings


@dataclass(frozen=True)
class LanguageSettings(ModelSettings):
    """Size of the layers and of what they read."""

    embedding: int


@dataclass(frozen=True)
class TokenSettings(Settings):
    """What a text is cut into."""

    tokens: str = "characters"
    vocabulary_size: int = 0


@dataclass(frozen=True)
class TextData:
    """A text, split.

    Attributes:
        parts: the parts.
        tokens: what they are cut into.
    """

    parts: TextParts
    tokens: TokenSettings = TokenSettings()

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """That of a new model, from the training part.

        Raises:
            GatewrightError: if the package that finds a byte pair encoding is not installed.
        """
        return build_vocabulary(self.parts.train, self.tokens.tokens, self.tokens.vocabulary_size)


def read(source: TextSource, options: DataOptions) -> TextData:
    """Read and split a text.

    Raises:
        GatewrightError: see `text_of` and `split_text`.
    """
    sizes, tokens = PartSettings.of(options), TokenSettings.of(options)
    text = text_of(source, raw=tokens.tokens == "bytes")
    return TextData(split_text(text, sizes.valid, sizes.test), tokens)


def build(data: TextData, options: Options) -> ModelSpec:
    """Return the specification of the model for a text."""
    size = LanguageSettings.of(options.model)
    symbols = len(data.vocabulary.symbols)
    return ModelSpec(SymbolEncoder(symbols, size.embedding), size.stack(), SymbolHead())
