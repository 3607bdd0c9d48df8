"""A language model in C99: a symbol in, scores out."""

from __future__ import annotations

from gatewright.exchange import c_symbols
from gatewright.exchange.c99 import stack
from gatewright.exchange.c99.source import Source
from gatewright.files.model_file import ModelFile

_STEP = """\
model_status model_step(model_state* s, int32_t symbol, float* scores)
{
    if (symbol < 0 || symbol >= MODEL_SYMBOLS) return MODEL_NO_SYMBOL;
    const float* const x = embedding[symbol];
$step
    return MODEL_OK;
}
"""

_DECLARED = """\
/* Advances a session by one symbol.  Scores, (MODEL_OUTPUT), are logits of the symbol that follows. */
model_status model_step(model_state* state, int32_t symbol, float* scores);
"""


def add(source: Source, file: ModelFile) -> str:
    """Add a language model.

    Returns:
        What a step reads and gives.
    """
    assert file.vocabulary is not None
    symbols, comment, extras, arrays = c_symbols.of_vocabulary(file.vocabulary)
    source.sizes |= {"OUTPUT": file.spec.output_size, **symbols}
    source.weights("embedding", file.tensors["encoder.weight"])
    source.constants += arrays
    y = stack.add_layers(source, file)
    stack.add_head(source, file)
    source.function(_STEP, step="\n".join([*source.step, f"    head({y}, scores);"]))
    source.declarations += [_DECLARED, extras + "\n"]
    return comment
