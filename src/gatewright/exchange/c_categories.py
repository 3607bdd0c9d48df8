"""What the C source of a forecaster has for its inputs of categories."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gatewright.runtime.native_args import category_inputs
from gatewright.runtime.signature import Signature
from gatewright.spec import SeriesEncoder

EXTRAS = """\


/* The inputs of categories: which columns of a row have one, and its values in UTF-8.  A row has the index of a
 * value in this list: a whole number from 1 on, or 0 for a value that is not in it or that is missing. */
typedef struct model_category {
    int64_t column, columns; /* the first of a row, and their number */
    int64_t count;           /* indices: the values and 0 */
    const char* const* values;
} model_category;
extern const model_category model_categories[MODEL_CATEGORIES];"""

#: Members of the columns.
COLUMNS = """\
    .category_count = {count},
    .categories = categories,
"""


def arrays(encoder: SeriesEncoder, signature: Signature, text: Callable[[str], str]) -> Iterator[str]:
    """Yield the definitions of the categories of a forecaster.

    Args:
        encoder: the encoder.
        signature: that of the model's steps.
        text: returns a string constant of C.
    """
    parts, listed = [], []
    places = zip(encoder.categories, category_inputs(encoder), signature.categories, strict=True)
    for number, (category, place, (_, columns)) in enumerate(places):
        weight = f"encoder_category_{number}_weight"
        parts.append(f"    {{{place}, {category.count}, {category.size}, {weight}}},")
        names = "\n".join(f"    {text(value)}," for value in ("", *category.values))
        yield f"static const char* const values_{number}[{category.count}] = {{\n{names}\n}};\n"
        first = columns.start + (2 * len(encoder.calendar) if category.column in encoder.known else 0)
        count = columns.stop - columns.start
        listed.append(f"    {{{first}, {count}, {category.count}, values_{number}}},")
    for declaration, lines in (
        ("static const gatewright_category categories", parts),
        ("const model_category model_categories", listed),
    ):
        body = "\n".join(lines)
        yield f"{declaration}[{len(lines)}] = {{\n{body}\n}};\n"
