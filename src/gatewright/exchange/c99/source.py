"""The parts of a C99 source, gathered piece by piece, and how its numbers and functions are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.exchange.c_arrays import exact

#: Numbers on one line of an array.
_ON_A_LINE = 6


@dataclass
class Source:
    """What a model's ``model.h`` and ``model.c`` consist of.

    Attributes:
        number: C type of the numbers of a row: "float" or "double".
        int8: whether the weights of the gates are whole numbers of one byte, in units of their row.
        sizes: constants of the header, by name without ``MODEL_``.
        types: definitions of types that the state has.
        state: members of the state.
        reset: statements that put it to the beginning, once it is all zeros.
        declarations: further declarations of the header.
        constants: definitions of arrays.
        functions: definitions of functions, in order.
        step: statements of a step.
        uses: parts of `arithmetic` that the functions call.
        includes: headers of the C library.
    """

    number: str = "float"
    int8: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    types: list[str] = field(default_factory=list)
    state: list[str] = field(default_factory=list)
    reset: list[str] = field(default_factory=list)
    declarations: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    step: list[str] = field(default_factory=list)
    uses: set[str] = field(default_factory=set)
    includes: set[str] = field(default_factory=set)

    @property
    def suffix(self) -> str:
        """Suffix of constants, and of functions of the C library, of the type of a row's numbers."""
        return "f" if self.number == "float" else ""

    def literal(self, value: float) -> str:
        """Return a constant of the type of a row's numbers."""
        return literal(value) if self.suffix else exact(value)

    def weights(self, name: str, array: NDArray[Any]) -> None:
        """Add an array of weights, of its own shape."""
        self.constants.append(nested(f"static const float {name}", array, literal))

    def whole_numbers(self, name: str, array: NDArray[Any]) -> None:
        """Add an array of whole numbers of one byte."""
        self.constants.append(nested(f"static const int8_t {name}", array, lambda value: str(int(value))))

    def numbers(self, name: str, values: Sequence[float]) -> None:
        """Add an array of the type of a row's numbers."""
        self.constants.append(nested(f"static const {self.number} {name}", np.array(values), self.literal))

    def function(self, text: str, **parts: Any) -> None:
        """Add a function; ``$name`` in it stands for a part."""
        self.functions.append(filled(text, **parts))


def filled(text: str, **parts: Any) -> str:
    r"""Return a text with its parts; lines that consist of an empty part alone are left out.

    >>> filled("a$b;\n    $c\nd", b=1, c="")
    'a1;\nd'
    """
    lines = []
    for line in text.split("\n"):
        done = Template(line).substitute(parts)
        if done.strip() or not line.strip():
            lines.append(done)
    return "\n".join(lines)


def literal(value: float) -> str:
    """Return the constant of C99 that is the nearest float.

    >>> literal(0.75), literal(0.1)
    ('0x1.8p-1f', '0x1.99999ap-4f')
    """
    return exact(float(np.float32(value))) + "f"


def nested(declaration: str, array: NDArray[Any], written: Any) -> str:
    """Return the definition of an array with an axis of braces for each of its axes.

    >>> print(nested("const float W", np.eye(2), literal))
    const float W[2][2] = {
        {0x1p+0f, 0x0p+0f},
        {0x0p+0f, 0x1p+0f},
    };
    <BLANKLINE>
    """
    sizes = "".join(f"[{size}]" for size in array.shape)
    if array.ndim == 1:
        lines = _lines(array, written, 4)
    else:
        lines = ",\n".join(_braces(each, written, 4) for each in array) + ","
    return f"{declaration}{sizes} = {{\n{lines}\n}};\n"


def _braces(array: NDArray[Any], written: Any, indent: int) -> str:
    space = " " * indent
    if array.ndim > 1:
        inner = ",\n".join(_braces(each, written, indent + 4) for each in array)
        return f"{space}{{\n{inner},\n{space}}}"
    if len(array) <= _ON_A_LINE:
        return f"{space}{{{', '.join(written(float(each)) for each in array)}}}"
    return f"{space}{{\n{_lines(array, written, indent + 4)}\n{space}}}"


def _lines(array: NDArray[Any], written: Any, indent: int) -> str:
    values = [written(float(each)) for each in array]
    rows = (", ".join(values[at : at + _ON_A_LINE]) for at in range(0, len(values), _ON_A_LINE))
    return "\n".join(f"{' ' * indent}{row}," for row in rows)
