"""A model as ``model.h`` and ``model.c`` in C99 that need nothing else."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from gatewright.errors import SpecError
from gatewright.exchange.c99 import arithmetic, distributions, features, series, symbols
from gatewright.exchange.c99.source import Source
from gatewright.exchange.written import written
from gatewright.files.model_file import ModelFile
from gatewright.spec import ModelSpec
from gatewright.spec.cell import require_plain

_HEADER = """\
/* A model in C99 alone, written by gatewright {version}.
 *
{comment}
 *
 * A session is a model_state, which belongs to the caller: one for each stream of data.  A copy of it goes on from
 * where it was.  Nothing else is kept, nothing is allocated, and a refused step changes nothing.
 */
#ifndef GATEWRIGHT_MODEL_H
#define GATEWRIGHT_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* SHA-256 of all that decides what the model computes. */
#define MODEL_FINGERPRINT "{fingerprint}"

{sizes}

{types}typedef enum model_status {{
    MODEL_OK = 0,
    {refusals}
}} model_status;

/* What a session remembers. */
typedef struct model_state {{
{state}
}} model_state;

/* Puts a session to the beginning. */
void model_reset(model_state* state);

{declarations}
#ifdef __cplusplus
}}
#endif

#endif
"""

_SOURCE = """\
#include "model.h"
{includes}
#ifdef __FAST_MATH__
#error "-ffast-math loses numbers of a model; compile this file without it"
#endif

{constants}
{functions}"""

_RESET = """\
void model_reset(model_state* state)
{
    static const model_state beginning = {0};
    *state = beginning;
    $reset
}
"""

_NOT_FINITE = (
    "MODEL_NOT_FINITE, /* a number is NaN, infinite or too large, or one that its transform does not allow */"
)
_NO_CATEGORY = "MODEL_NO_CATEGORY, /* a number of a category is no index of a value */"
_NO_SYMBOL = "MODEL_NO_SYMBOL, /* there is no symbol of that number */"


def to_c99(file: ModelFile, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write a model as ``model.h`` and ``model.c`` that need a C99 compiler alone: no library, no allocation.

    Args:
        file: the model.
        folder: where; made if need be.
        overwrite: whether files of these names may be replaced.

    Returns:
        Their paths.

    Raises:
        SpecError: if the model reads in both directions, or its forecasts are of a distribution that is neither
            normal nor a mixture.
        GatewrightError: if they are there and may not be replaced, or cannot be written.

    >>> import tempfile
    >>> import numpy as np
    >>> from gatewright.spec import UNKNOWN, StackSpec, SymbolEncoder, SymbolHead, Vocabulary
    >>> spec = ModelSpec(SymbolEncoder(symbols=3, embedding_size=2), StackSpec(4), SymbolHead())
    >>> weights = {name: np.full(shape, 0.1, np.float32) for name, shape in spec.tensors().items()}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = to_c99(ModelFile(spec, weights, vocabulary=Vocabulary((UNKNOWN, "a", "b"))), Path(folder))
    >>> [path.name for path in paths]
    ['model.h', 'model.c']
    """
    header, source = texts(file)
    return written(folder, {"model.h": header, "model.c": source}, overwrite=overwrite)


def to_c99_int8(file: ModelFile, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write a model as `to_c99` does, with the weights of the gates in a quarter of the memory.

    They are rounded to whole numbers of one byte, in units of their row; nothing else is.  The numbers are those
    of ``Stream.load(..., weights="int8-float32")``.

    Args:
        file: the model.
        folder: where; made if need be.
        overwrite: whether files of these names may be replaced.

    Returns:
        Their paths.

    Raises:
        GatewrightError: see `to_c99`; also if the cell is not the plain one.
    """
    require_plain("weights in int8; --to c99 has them in float", file.spec.lstm.cell.in_evaluation())
    header, source = texts(file, int8=True)
    return written(folder, {"model.h": header, "model.c": source}, overwrite=overwrite)


def texts(file: ModelFile, *, int8: bool = False) -> tuple[str, str]:
    """Return the header and the source of a model.

    Args:
        file: the model.
        int8: whether the weights of the gates are rounded to whole numbers of one byte.

    Raises:
        SpecError: see `to_c99`.
    """
    _require_exportable(file.spec)
    source = Source(int8=int8)
    kind = symbols if file.spec.encoder.symbols else features if file.spec.labeller else series
    comment = kind.add(source, file)
    return _header(source, file, comment), _source(source)


def _require_exportable(spec: ModelSpec) -> None:
    """Require a model that goes on step by step, and a head that needs no more than scores or quantiles."""
    if spec.lstm.bidirectional:
        expected = "a model that reads forward only, as by train --directions forward, for C"
        raise SpecError("model", expected, "one that reads in both directions")
    if spec.forecaster is not None and spec.forecaster[1].distribution not in ("", *distributions.FAMILIES):
        families = " or ".join(distributions.FAMILIES)
        expected = f"quantiles, {families} in C without a library; --to c writes all distributions"
        raise SpecError("head.distribution", expected, spec.forecaster[1].distribution)


def _header(source: Source, file: ModelFile, comment: str) -> str:
    encoder = file.spec.encoder
    types = list(source.types)
    if not encoder.symbols:
        types.insert(0, f"/* Numbers of rows{' and forecasts' if encoder.targets else ''}. */\n"
                        f"typedef {source.number} model_number;\n")  # fmt: skip
    refusals = [_NO_SYMBOL] if encoder.symbols else [_NOT_FINITE, *([_NO_CATEGORY] if encoder.categories else [])]
    return _HEADER.format(
        version=importlib.metadata.version("gatewright"),
        comment=comment,
        fingerprint=file.fingerprint,
        sizes="\n".join(f"#define MODEL_{name} {size}" for name, size in source.sizes.items()),
        types="".join(f"{each}\n" for each in types),
        refusals="\n    ".join(refusals),
        state="\n".join(f"    {each}" for each in source.state),
        declarations="\n".join(source.declarations),
    )


def _source(source: Source) -> str:
    reset = Source()
    reset.function(_RESET, reset="\n    ".join(source.reset))
    functions = [*arithmetic.functions(source.uses), *source.functions, *reset.functions]
    return _SOURCE.format(
        includes="".join(f"\n#include <{each}>\n" for each in sorted(source.includes)),
        constants="\n".join(source.constants),
        functions="\n".join(functions),
    )
