"""Text from a language model, a character at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gatewright.data.text import encode_text
from gatewright.errors import GatewrightError, SpecError
from gatewright.model import Model


def generate(model: Model, prompt: str, length: int, temperature: float = 1.0, seed: int = 0) -> Iterator[str]:
    """Continue a text.

    Args:
        model: a trained language model.
        prompt: text to continue; characters that the model does not know are read as the unknown symbol.
        length: characters to write.
        temperature: 1 draws from the model's own distribution, less prefers likely characters, 0 always takes
            the likeliest.
        seed: of the draws; the same seed draws the same text.

    Yields:
        Characters, as they are drawn; the unknown symbol is never drawn.

    Raises:
        SpecError: if the model does not write text.
        GatewrightError: if an argument is out of range.

    >>> from gatewright.spec import UNKNOWN, ModelSpec, StackSpec, SymbolEncoder, SymbolHead, Vocabulary
    >>> spec = ModelSpec(SymbolEncoder(symbols=2, embedding_size=4), StackSpec(8), SymbolHead())
    >>> "".join(generate(Model(spec, vocabulary=Vocabulary((UNKNOWN, "a"))), prompt="b", length=3))
    'aaa'
    """
    if model.vocabulary is None:
        raise SpecError(
            "model", "a language model", f"a model with an encoder of kind {model.spec.encoder.kind!r}"
        )
    if length < 0:
        raise GatewrightError("--length", "a whole number of at least 0", str(length))
    if not 0 <= temperature < float("inf"):
        raise GatewrightError("--temperature", "a number of at least 0", str(temperature))
    if not 0 <= seed < 2**63:
        raise GatewrightError("--seed", f"a whole number from 0 to {2**63 - 1}", str(seed))
    return _characters(model.eval(), model.vocabulary.symbols, prompt or "\n", length, temperature, seed)


@torch.inference_mode()
def _characters(
    model: Model, symbols: tuple[str, ...], prompt: str, length: int, temperature: float, seed: int
) -> Iterator[str]:
    assert model.vocabulary is not None
    device = next(model.parameters()).device
    draws = torch.Generator().manual_seed(seed)
    read = torch.from_numpy(encode_text(prompt, model.vocabulary)).to(device)
    state = None
    for _ in range(length):
        y, state, _record = model(read.unsqueeze(1), state, last=1)
        scores = y[0, 0].double().cpu()
        scores[0] = -torch.inf
        if temperature > 0:
            # Against the highest score, so that no temperature however low overflows.
            chosen = torch.multinomial(((scores - scores.max()) / temperature).softmax(0), 1, generator=draws)
        else:
            chosen = scores.argmax().unsqueeze(0)
        yield symbols[int(chosen)]
        read = chosen.to(device)
