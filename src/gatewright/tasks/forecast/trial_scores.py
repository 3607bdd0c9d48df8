"""What trials of a search are scored by: the unit of their validation loss, and its windows.

Scores are compared only where both are the same for all trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import NamedTuple

from gatewright.errors import GatewrightError
from gatewright.tasks.forecast import dataset
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.options import AUTO, Options
from gatewright.tasks.search_space import Space, Value, with_values

#: Options that a search may change and that may change the unit or the windows.
_DECIDING = ("context", "season", "reads")


class ScoredBy(NamedTuple):
    """What a validation loss is measured by.

    Attributes:
        windows: number of windows of each series in the validation part.
        context: steps that are read, where the unit depends on them; else 0.
        season: rows in a season, likewise.
    """

    windows: tuple[int, ...]
    context: int
    season: int

    @classmethod
    def of(cls, data: SeriesData, options: Options) -> ScoredBy | None:
        """Return what trials with options are scored by; None where the table does not allow them.

        Args:
            data: the table.
            options: resolved, the scale settled.
        """
        try:
            own = dataset.read(data.table, options.data)
        except GatewrightError:
            return None
        windows = tuple(map(int, own.windows[:, 1]))
        # The scale of a window is that of the rows that are read.
        context = own.sizes.read if own.units.scale == "window" else 0
        return cls(windows, context, own.sizes.season if _unit_of_season(options) else 0)


def _unit_of_season(options: Options) -> str:
    """Return the option that makes the unit of the loss depend on the season; empty for none."""
    if options.training.loss == "mase":
        return "--loss mase"
    return "--transform boxcox without a power" if "boxcox" in (options.data.transform or ()) else ""


def settled(data: SeriesData, options: Options, resolved: Options) -> Options:
    """Return options with the transforms and the scale that were chosen for a table.

    Args:
        data: the table, read with the options.
        options: as the user set them.
        resolved: with the defaults.
    """
    chosen, left_open = options.data, resolved.data
    if AUTO in (left_open.transform or ()):
        chosen = replace(chosen, transform=data.options.transform)
    if left_open.scale == AUTO:
        chosen = replace(chosen, scale=data.units.scale)
    return replace(options, data=chosen)


def require_comparable(
    data: SeriesData, options: Options, space: Space, resolve: Callable[[Options], Options]
) -> None:
    """Check that all values of a search space have scores in one unit, of the same windows.

    Args:
        data: the table.
        options: those that all trials have, transforms and scale settled.
        space: the search space, checked.
        resolve: fills in the defaults.

    Raises:
        GatewrightError: names the option whose values do not.
    """
    first: tuple[Mapping[str, Value], ScoredBy] | None = None
    for values in _combinations(space):
        own = resolve(with_values(options, values))
        scored = ScoredBy.of(data, own)
        if scored is None:  # such a trial fails, and has no score
            continue
        if first is None:
            first = values, scored
        elif scored != first[1]:
            raise _refusal(own, first, (values, scored))


def _combinations(space: Space) -> Iterator[dict[str, Value]]:
    names = [name for name in _DECIDING if name in space]
    domains = [space[name].ends for name in names]
    if "reads" in names:  # "nothing" alone has no seasonal differences
        different = {value == "nothing": value for value in domains[-1]}
        domains[-1] = tuple(different.values())
    return (dict(zip(names, values, strict=True)) for values in product(*domains))


def _refusal(
    options: Options, one: tuple[Mapping[str, Value], ScoredBy], other: tuple[Mapping[str, Value], ScoredBy]
) -> GatewrightError:
    (values, scored), (others, scored_otherwise) = one, other
    names = [name for name in values if values[name] != others[name]]
    if scored.context != scored_otherwise.context:
        expected = "as many steps read by all trials with --scale window, whose unit that is, or --scale global"
    elif scored.season != scored_otherwise.season:
        expected = f"seasons with the same first one with {_unit_of_season(options)}, whose unit depends on it"
    else:
        expected = "contexts short enough for all trials to be scored on the same windows of the validation part"
    got = " and ".join(", ".join(f"{name} {each[name]}" for name in names) for each in (values, others))
    return GatewrightError(f"--search {names[0]}", expected, got)
