"""Arrays as C source."""

from __future__ import annotations

from collections.abc import Sequence


def block(declaration: str, items: Sequence[str]) -> str:
    """Return the definition of an array.

    >>> print(block("const int sizes", ["1", "2"]))
    const int sizes[2] = {
        1, 2,
    };
    <BLANKLINE>
    """
    lines = [", ".join(items[at : at + 6]) for at in range(0, len(items), 6)]
    body = "\n".join(f"    {line}," for line in lines)
    return f"{declaration}[{len(items)}] = {{\n{body}\n}};\n"
