"""Widths of the vectors of categories: by the number of values, one for all, or of a column's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatewright.errors import GatewrightError, nearest, shorten
from gatewright.spec import Category
from gatewright.spec.categories import default_size
from gatewright.tasks.options import ModelOptions


def categories_of(values: Mapping[str, tuple[str, ...]], options: ModelOptions) -> tuple[Category, ...]:
    """Return categories with vectors of the widths that options set.

    Without one the width depends on the number of values (`default_size`).

    Args:
        values: the values of each column of categories, in the order in which a model reads the columns.
        options: ``embedding``, a width for all columns, and ``category_size``, widths of some.

    Raises:
        GatewrightError: at a width of a column that holds no categories.

    >>> categories_of({"kind": ("rain", "sun")}, ModelOptions(category_size=("kind=5",)))[0].size
    5
    """
    if options.embedding is not None and not values:
        raise GatewrightError("--embedding", "a column of categories with it", f"{options.embedding} without one")
    own = dict(map(_pair, options.category_size or ()))
    for name in own:
        if name not in values:
            expected = f"columns of categories, out of {', '.join(map(shorten, values)) or 'none'}"
            raise GatewrightError("--category-size", expected, f"{shorten(name)}{nearest(name, values)}")
    return tuple(
        Category(name, each, own.get(name) or options.embedding or default_size(len(each)))
        for name, each in values.items()
    )


def require_sizes_of(categories: Sequence[Category], options: ModelOptions) -> None:
    """Check that the widths that options set are those of a trained model.

    Args:
        categories: of the model.
        options: ``embedding`` and ``category_size``, as for `categories_of`; None for the model's own.

    Raises:
        GatewrightError: at another width, or that of a column that is no category of the model.

    >>> require_sizes_of((Category("kind", ("rain", "sun"), 5),), ModelOptions(embedding=5))
    """
    own = dict(map(_pair, options.category_size or ()))
    wanted = categories_of({each.column: each.values for each in categories}, options)
    for each, other in zip(categories, wanted, strict=True):
        name = each.column
        if name in own and own[name] != each.size:
            expected = f"{name}={each.size}, as the initial model has it"
            raise GatewrightError("--category-size", expected, f"{name}={own[name]}")
        if name not in own and options.embedding not in (None, each.size):
            expected = f"{each.size} for {shorten(name)}, as the initial model has it"
            raise GatewrightError("--embedding", expected, str(other.size))


def _pair(text: str) -> tuple[str, int]:
    name, _, size = text.rpartition("=")
    return name, int(size)
