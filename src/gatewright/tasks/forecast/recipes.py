"""The recipes of forecasters."""

from __future__ import annotations

from collections.abc import Callable

from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.options import Options
from gatewright.tasks.recipes import Recipe
from gatewright.tasks.search_space import with_values


def every(context: int) -> tuple[Recipe, ...]:
    """Return all recipes, in the order in which they are tried: the first is the default.

    Each changes one thing; those that help are tried together.

    Args:
        context: the default number of steps that a model reads.
    """
    return (
        Recipe("default"),
        Recipe("reads the level", {"reads": "level"}),
        Recipe("128 units", {"hidden": 128}),
        Recipe("logarithms", {"transform": "log1p"}),
        Recipe("no transform", {"transform": "none"}),
        Recipe("no seasonal differences", {"season": "none"}),
        Recipe("no dropout", {"dropout": 0.0}),
        Recipe("half the context", {"context": context // 2}),
        Recipe("reads change and level", {"reads": "both"}),
        Recipe("twice the context", {"context": 2 * context}),
        Recipe("more dropout", {"dropout": 0.4}),
        Recipe("32 units", {"hidden": 32}),
    )


def recipes(
    data: SeriesData, options: Options, steps_read: Callable[[SeriesData, Options], int]
) -> tuple[Recipe, ...]:
    """Return the recipes that a table allows.

    Args:
        data: the table, read with the options.
        options: as the user set them; recipes of other values of these are left out.
        steps_read: of the kind: 0 for options that the table does not allow.
    """
    fixed = {name for table in options.plain().values() for name in table}

    def usable(recipe: Recipe) -> bool:
        if fixed & recipe.values.keys() or ("season" in recipe.values and not data.sizes.seasons):
            return False
        if recipe.values.get("transform") == "none" and not data.units.names:  # which is the default already
            return False
        if (
            int(recipe.values.get("context", data.sizes.read)) <= data.sizes.longest
        ):  # which would leave the season out
            return False
        return steps_read(data, with_values(options, recipe.values)) > 0

    return tuple(filter(usable, every(data.sizes.read)))
