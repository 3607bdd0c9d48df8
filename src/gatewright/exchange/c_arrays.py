"""Arrays, numbers and texts as C source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


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


def numbers(declaration: str, values: Iterable[float], suffix: str = "") -> str:
    """Return the definition of an array of numbers, to the bit."""
    return block(declaration, [exact(value) + suffix for value in values])


def names(declaration: str, texts: Iterable[str]) -> str:
    """Return the definition of an array of string constants."""
    lines = "\n".join(f"    {text(each)}," for each in texts)
    return f"const char* const {declaration} = {{\n{lines}\n}};\n"


def identifier(name: str) -> str:
    """Return the name of a tensor as that of an array."""
    return name.replace(".", "_")


def exact(number: float) -> str:
    """Return the one hexadecimal constant of C99 that is this number.

    >>> exact(-0.75), exact(1.0), exact(-0.0)
    ('-0x1.8p-1', '0x1p+0', '-0x0p+0')
    """
    mantissa, exponent = number.hex().split("p")  # always with a point
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}"


def text(content: str) -> str:
    r"""Return a string constant of C in UTF-8; names may hold anything.

    >>> print(text('°C "now"?'))
    "\302\260C \042now\042\077"
    """
    # A question mark could begin a trigraph.
    plain = set(range(0x20, 0x7F)) - set(b'"\\?')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in content.encode("utf-8")) + '"'
