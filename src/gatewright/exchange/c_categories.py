"""What the C source of a model has for its inputs of categories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from gatewright.runtime.native_args import category_inputs
from gatewright.runtime.signature import Signature
from gatewright.spec import Category, FeatureEncoder, SeriesEncoder

EXTRAS = """\


/* The inputs of categories: which columns of a row have one, and its values in UTF-8.  A row has the index of a
 * value in this list: a whole number from 1 on, or 0 for a value that is not in it or that is missing. */
typedef struct model_category {
    int64_t column, columns; /* the first of a row, and their number */
    int64_t count;           /* indices: the values and 0 */
    const char* const* values;
} model_category;
extern const model_category model_categories[MODEL_CATEGORIES];"""

#: Members of the columns of a forecaster, or of the parts of a classifier or a tagger.
COLUMNS = """\
    .category_count = {count},
    .categories = categories,
"""


class Place(NamedTuple):
    """Where a row has a category.

    Attributes:
        category: the category.
        input: its number among the inputs of the model.
        column: the first number of a row that is an index of it.
        columns: how many there are.
    """

    category: Category
    input: int
    column: int
    columns: int


def of_series(encoder: SeriesEncoder, signature: Signature) -> Iterator[Place]:
    """Yield the places of a forecaster's categories.

    Args:
        encoder: the encoder.
        signature: that of the model's steps, whose rows do not have the calendar.
    """
    inputs = zip(encoder.categories, category_inputs(encoder), signature.categories, strict=True)
    for category, number, (_, columns) in inputs:
        first = columns.start + (2 * len(encoder.calendar) if category.column in encoder.known else 0)
        yield Place(category, number, first, columns.stop - columns.start)


def of_features(encoder: FeatureEncoder) -> Iterator[Place]:
    """Yield the places of the categories of a classifier or a tagger."""
    for category, place in encoder.category_places():
        yield Place(category, place.start, place.start, 1)


def arrays(places: Iterable[Place], text: Callable[[str], str]) -> Iterator[str]:
    """Yield the definitions of the categories of a model.

    Args:
        places: of its categories.
        text: returns a string constant of C.
    """
    parts, listed = [], []
    for number, (category, place, column, columns) in enumerate(places):
        weight = f"encoder_category_{number}_weight"
        parts.append(f"    {{{place}, {category.count}, {category.size}, {weight}}},")
        names = "\n".join(f"    {text(value)}," for value in ("", *category.values))
        yield f"static const char* const values_{number}[{category.count}] = {{\n{names}\n}};\n"
        listed.append(f"    {{{column}, {columns}, {category.count}, values_{number}}},")
    for declaration, lines in (
        ("static const gatewright_category categories", parts),
        ("const model_category model_categories", listed),
    ):
        body = "\n".join(lines)
        yield f"{declaration}[{len(lines)}] = {{\n{body}\n}};\n"
