"""n-gram models of a text: what any language model has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gatewright.data.tokens import Symbols


def ngram_nats(train: Symbols, test: Symbols, symbols: int, order: int) -> NDArray[np.float64]:
    """Return each test symbol's negative log-likelihood under an n-gram model, in nats (test symbols,).

    Interpolated Witten-Bell smoothing (Witten & Bell 1991, method C), down to the uniform distribution:
    ``p(w|h) = (count(hw) + kinds(h) p(w|h')) / (count(h) + kinds(h))`` with h' one symbol shorter, and
    ``p(w|h) = p(w|h')`` where h never came.

    Args:
        train: symbols to count.
        test: symbols to score; the end of ``train`` is the context of the first.
        symbols: size of the vocabulary.
        order: n; 1 is a unigram model.

    >>> float(ngram_nats(np.array([1, 1, 1, 1]), np.array([1]), symbols=2, order=1)[0].round(3))
    0.105
    """
    text = np.concatenate([train, test])
    context = np.zeros(len(text), dtype=np.int64)
    probability = np.full(len(test), 1.0 / symbols)
    for length in range(order):
        if length:
            # The context of `length` symbols: the shorter one's number, and the symbol before it.
            before = np.concatenate([np.zeros(length, dtype=np.int64), text])[: len(text)]
            context = np.unique(context * symbols + before, return_inverse=True)[1]
        grams = np.unique(context * symbols + text, return_inverse=True)[1]
        counted = slice(length, len(train))
        gram_count = np.bincount(grams[counted], minlength=grams.max() + 1)
        context_count = np.bincount(context[counted], minlength=context.max() + 1)
        first_of_gram = np.unique(grams[counted], return_index=True)[1] + length
        kinds = np.bincount(context[first_of_gram], minlength=context.max() + 1)
        here = slice(len(train), None)
        seen = context_count[context[here]] + kinds[context[here]]
        mixed = gram_count[grams[here]] + kinds[context[here]] * probability
        probability = np.where(seen > 0, mixed / np.maximum(seen, 1), probability)
    return -np.log(probability)
