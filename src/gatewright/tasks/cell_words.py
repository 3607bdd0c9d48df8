"""The cell of a model in words, such as ``layer_norm`` and ``zoneout_cell=0.1``, as options have it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from gatewright.errors import GatewrightError, nearest, shorten
from gatewright.spec.cell import CellSpec
from gatewright.spec.cell_features import KINDS, CellFeatures

#: The word for a cell without any feature.
PLAIN = "plain"

_DEFAULTS = {feature.name: feature.default for feature in fields(CellFeatures)}
#: Kinds that are words of their own.
_KINDS = KINDS[1:]
#: What an error shows as the value of a number.
_EXAMPLES = {"cell_clip": 3, "heads": 4}
_TRUTHS = {"true": True, "false": False}


def features_of(words: Iterable[str], proj_size: int = 0) -> CellFeatures:
    """Return the cell that words name.

    Args:
        words: each one feature, or several with spaces or commas between them; "plain" for none, "slstm" for the
            kind of that name.
        proj_size: width of the projection of the layers, which does not go with every feature.

    Raises:
        GatewrightError: names ``--cell``, and the feature where that is known.

    >>> features_of(["layer_norm", "zoneout_cell=0.1"]).features()
    ('layer_norm', 'zoneout_cell')
    >>> features_of(["slstm heads=4"]).heads
    4
    """
    each = [word for text in words for word in re.split(r"[\s,]+", text) if word]
    values: dict[str, Any] = {}
    for word in each if each != [PLAIN] else ():
        written, _, value = (f"kind={word}" if word in _KINDS else word).partition("=")
        name = written.replace("-", "_")
        if name not in _DEFAULTS:
            known = f"{PLAIN} alone, or features out of {', '.join((*_KINDS, *_DEFAULTS))}"
            raise GatewrightError("--cell", known, f"{shorten(written)}{nearest(name, (*_KINDS, *_DEFAULTS))}")
        if name in values:
            raise GatewrightError(f"--cell {name}", "each feature once", "twice")
        values[name] = _value(name, value)
    try:
        return CellSpec(proj_size=proj_size, **values)
    except GatewrightError as error:
        flag = "--proj" if error.argument == "proj_size" else f"--cell {error.argument}"
        raise GatewrightError(flag, error.expected, error.got) from None


def _value(name: str, text: str) -> Any:
    """Return the value of a feature; a word without one is enough where the plain cell does not have it."""
    flag, default = f"--cell {name}", _DEFAULTS[name]
    if isinstance(default, bool):
        value = _TRUTHS.get(text.lower()) if text or default else True
        if value is None:
            expected = f"{name}=false for a cell without it" if default else f"{name}, or {name}=false"
            raise GatewrightError(flag, expected, shorten(text) if text else "no value")
        return value
    if isinstance(default, str):
        if not text:
            raise GatewrightError(flag, f"a value, such as {name}={default}", "none")
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        expected = f"a number, such as {name}={_EXAMPLES.get(name, 0.1)}"
        raise GatewrightError(flag, expected, shorten(text))
    return int(number) if isinstance(default, int) and number.is_integer() else number


def words_of(cell: CellFeatures) -> tuple[str, ...]:
    """Return the words for a cell, its kind first, then in order of the features, as a run keeps them.

    >>> words_of(CellSpec(zoneout_cell=0.1, output_gate=False, peephole=True, cell_clip=3))
    ('peephole', 'output_gate=false', 'cell_clip=3', 'zoneout_cell=0.1')
    >>> words_of(CellSpec(kind="slstm", heads=4, weight_drop=0.5))
    ('slstm', 'weight_drop=0.5', 'heads=4')
    >>> words_of(CellSpec())
    ('plain',)
    """
    names = sorted(cell.features(), key=lambda name: name != "kind")
    return tuple(_word(name, getattr(cell, name)) for name in names) or (PLAIN,)


def _word(name: str, value: Any) -> str:
    if value is True:
        return name
    if value in _KINDS:
        return str(value)
    text = repr(float(value)).removesuffix(".0") if isinstance(value, float | int) else str(value)
    return f"{name}={'false' if value is False else text}"


def words_from(value: Any) -> Any:
    """Return the words for a cell that a caller in Python has as a dict or a `CellSpec`; other values as they are.

    Raises:
        GatewrightError: if a `CellSpec` has what is no feature: no bias, or a projection.

    >>> words_from({"layer_norm": True, "zoneout_cell": 0.1})
    ['layer_norm=True', 'zoneout_cell=0.1']
    """
    if isinstance(value, CellSpec):
        if not value.bias:
            raise GatewrightError("cell", "a cell with bias, as the layers of a model have", "bias=False")
        if value.proj_size:
            raise GatewrightError("cell", "one without proj_size, which is proj", f"proj_size={value.proj_size}")
    if isinstance(value, CellFeatures):
        return list(words_of(value))
    if isinstance(value, Mapping):
        return [f"{name}={feature}" for name, feature in value.items()] or [PLAIN]
    return value


def same_cell(words: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether words name the same cell.

    >>> same_cell(["layer_norm, peephole"], ["peephole", "layer-norm"])
    True
    """
    return words_of(features_of(words)) == words_of(features_of(other))
