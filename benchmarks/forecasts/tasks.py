"""The forecasting tasks: table, horizon, parts, test windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from gatewright.errors import GatewrightError, nearest


@dataclasses.dataclass(frozen=True)
class ForecastTask:
    """A table and what to forecast in it.

    Attributes:
        name: of the task, and of the table that `benchmarks.forecasts.series` makes.
        horizon: rows ahead.
        valid: rows of the validation part, each series' last before the test part.
        test: rows of the test part.
        season: rows in the season of the seasonal-naive forecast, which also scales the losses.
        target: column to forecast.
        past: columns known up to now.
        series: column that names the series of a panel.
        fill: whether rows are missing, whose inputs are filled with the last value.
        windows: number of test windows, drawn evenly; all if None.
        untouched: whether no recipe was designed by looking at the task.
        peer: scaled quantile loss (0.1, 0.5, 0.9) of the best method on these windows that is not among
            the references of `gatewright evaluate`, and its name; None if there is none.
    """

    name: str
    horizon: int
    valid: int
    test: int
    season: int
    target: str = "y"
    past: tuple[str, ...] = ()
    series: str = ""
    fill: bool = False
    windows: int | None = None
    untouched: bool = False
    peer: tuple[float, str] | None = None


_LOADS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL")

TASKS = (
    ForecastTask("airpass", 12, 24, 36, 12, peer=(0.232, "AutoARIMA")),
    ForecastTask("employ", 12, 24, 24, 12, series="industry", peer=(0.0751, "AutoETS")),
    ForecastTask("taylor", 48, 480, 672, 48, windows=79, peer=(0.0659, "LightGBM")),
    ForecastTask("co2", 13, 260, 391, 52, windows=127, peer=(0.1061, "MSTL")),
    ForecastTask(
        "seattle", 7, 219, 219, 7, "temp_max", ("temp_min", "precipitation", "wind"), peer=(0.2425, "LightGBM")
    ),
    ForecastTask("etth1_24", 24, 2880, 2880, 24, "OT", _LOADS, windows=120, peer=(0.1741, "persistence")),
    ForecastTask("sunspots", 12, 420, 420, 12, windows=69, peer=(0.3012, "LightGBM")),
    ForecastTask("msft", 5, 450, 450, 7, windows=90, peer=(0.3831, "persistence")),
    ForecastTask(
        "rain", 7, 219, 219, 7, "precipitation", ("temp_max", "temp_min", "wind"), peer=(0.3115, "LightGBM")
    ),
    ForecastTask(
        "camels",
        7,
        164,
        163,
        7,
        "streamflow_mm",
        ("prcp_mm", "srad_wm2", "tmax_c", "tmin_c", "vp_pa"),
        "basin",
        windows=212,
    ),
    # Looked at after the first recipe, so not untouched any more.
    ForecastTask("beer", 4, 24, 32, 4),
    ForecastTask("wine", 12, 24, 36, 12),
    ForecastTask("yarn", 4, 16, 24, 4),
    ForecastTask("electrical", 12, 24, 48, 12),
    ForecastTask("sanfrancisco", 24, 1200, 1200, 24, fill=True, windows=100),
    ForecastTask("elnino", 12, 84, 120, 12),
    # Chosen before any recipe was tried on them.
    ForecastTask("seatbelts", 12, 24, 36, 12, untouched=True),
    ForecastTask("consumption", 4, 24, 36, 4, untouched=True),
    ForecastTask("lynx", 5, 15, 24, 1, untouched=True),
    ForecastTask("seattle_hourly", 24, 1200, 1200, 24, fill=True, windows=100, untouched=True),
    ForecastTask("unemployment", 4, 24, 40, 4, untouched=True),
    ForecastTask("stocks", 6, 15, 18, 12, series="symbol", untouched=True),
)

#: The ten tasks of the bar.
TEN = tuple(task.name for task in TASKS[:10])


def named(names: Iterable[str]) -> tuple[ForecastTask, ...]:
    """Return tasks by name; "ten" and "untouched" stand for groups.

    Raises:
        GatewrightError: at a name that is no task.
    """
    by_name: dict[str, tuple[ForecastTask, ...]] = {task.name: (task,) for task in TASKS}
    by_name["ten"] = TASKS[:10]
    by_name["untouched"] = tuple(task for task in TASKS if task.untouched)
    for name in names:
        if name not in by_name:
            raise GatewrightError("--tasks", f"names out of {', '.join(by_name)}", name + nearest(name, by_name))
    return tuple(dict.fromkeys(task for name in names for task in by_name[name]))
