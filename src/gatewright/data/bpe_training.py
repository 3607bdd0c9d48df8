"""Byte pair encodings from a text, by the package `tokenizers`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gatewright.data.byte_pairs import PATTERN
from gatewright.errors import GatewrightError
from gatewright.spec import BYTE_NAMES
from gatewright.spec.vocabulary import LONGEST_TOKEN


def merges_of(documents: Sequence[str], size: int) -> tuple[str, ...]:
    """Return the merges of a byte pair encoding, in order, as `gatewright.spec.Vocabulary` has them.

    A pair that occurs only once is not merged, so a short text gives fewer.

    Args:
        documents: the training part.
        size: maximum number of tokens, the 256 bytes included.

    Raises:
        GatewrightError: if the package `tokenizers` is not installed.
    """
    try:
        from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    except ImportError:
        raise GatewrightError(
            "--tokens bpe", "the package tokenizers: pip install 'gatewright[bpe]'", "none"
        ) from None
    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, initial_alphabet=list(BYTE_NAMES), show_progress=False,
        max_token_length=LONGEST_TOKEN,
    )  # fmt: skip
    tokenizer.train_from_iterator(documents, trainer)
    return tuple(" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"])
