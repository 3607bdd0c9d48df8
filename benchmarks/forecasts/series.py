"""The tables of the tasks, made from the data sets of pmdarima, statsmodels, vega_datasets and sktime.

The packages are found, not imported: arrays and tables are read from their files.  ETTh1 and CAMELS are read from
``../shared/data``.
"""

from __future__ import annotations

import ast
import csv
import functools
import gzip
import importlib.util
import io
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError

Values = NDArray[np.float64]
Columns = Mapping[str, Sequence[object] | Values]

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def write_table(name: str, directory: Path) -> Path:
    """Write the table of a task as CSV, unless it is there; return its path.

    Raises:
        GatewrightError: if the package or the file with its data is missing.
    """
    path = directory / f"{name}.csv"
    if not path.exists():
        columns = _TABLES[name]()
        directory.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for row in zip(*columns.values(), strict=True):
                writer.writerow(["" if value != value else value for value in row])
    return path


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise GatewrightError("data", f"the package {package}: pip install --no-deps {package}", "no such package")
    return Path(spec.origin).parent


def _array_of(name: str) -> Values:
    """Return the longest array that stands in the source of a data set of pmdarima."""
    tree = ast.parse((_folder("pmdarima") / "datasets" / f"{name}.py").read_text())
    arrays = [
        node.args[0].elts
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.List)
    ]
    longest = max(arrays, key=len)
    # What is no number there is np.nan.
    values = [
        float("nan") if isinstance(element, ast.Attribute) else ast.literal_eval(element) for element in longest
    ]
    return np.array(values, float)


def _csv(package: str, file: str) -> list[dict[str, str]]:
    with (_folder(package) / file).open(newline="") as lines:
        return list(csv.DictReader(lines))


def _shared(file: str) -> list[dict[str, str]]:
    path = SHARED / file
    if not path.exists():
        raise GatewrightError("data", f"{file} in {SHARED}", "no such file")
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def _months(start: str, count: int, every: int = 1) -> list[str]:
    return [f"{np.datetime64(start, 'M') + every * k}-01" for k in range(count)]


def _every(start: str, count: int, minutes: int) -> list[str]:
    times = np.datetime64(start, "m") + minutes * np.arange(count)
    return [str(time).replace("T", " ") for time in times]


def _monthly(name: str, start: str, every: int = 1) -> Columns:
    values = _array_of(name)
    return {"time": _months(start, len(values), every), "y": values}


def _column(rows: Iterable[Mapping[str, str]], name: str) -> list[str]:
    return [row[name] for row in rows]


def _employ() -> Columns:
    rows = _csv("vega_datasets", "_data/us-employment.csv")
    industries = [name for name in rows[0] if name not in ("month", "nonfarm_change")]
    return {
        "time": _column(rows, "month") * len(industries),
        "industry": [name for name in industries for _ in rows],
        "y": [row[name] for name in industries for row in rows],
    }


def _co2() -> Columns:
    """Return weekly concentrations, gaps filled by a straight line."""
    rows = _csv("statsmodels", "datasets/co2/co2.csv")
    values = np.array([float(row["co2"] or "nan") for row in rows])
    place = np.arange(len(values))
    observed = np.isfinite(values)
    days = [f"{row['date'][:4]}-{row['date'][4:6]}-{row['date'][6:]}" for row in rows]
    return {"time": days, "y": np.interp(place, place[observed], values[observed])}


def _seattle() -> Columns:
    rows = _csv("vega_datasets", "_data/seattle-weather.csv")
    names = ("temp_max", "temp_min", "precipitation", "wind")
    return {"time": _column(rows, "date"), **{name: _column(rows, name) for name in names}}


def _hourly_temperature(file: str) -> Columns:
    rows = _csv("vega_datasets", file)
    return {"time": [row["date"].replace("/", "-") for row in rows], "y": _column(rows, "temp")}


def _etth1() -> Columns:
    rows = _shared("ETTh1.csv")[:14_400]
    return {name: _column(rows, name) for name in rows[0]}


def _camels() -> Columns:
    rows = _shared("camels_4_basins.csv")
    return {name: _column(rows, name) for name in rows[0]}


def _sunspots() -> Columns:
    text = gzip.decompress((_folder("pmdarima") / "datasets/data/sunspots.txt.gz").read_bytes()).decode()
    return {"time": _months("1749-01", len(text.split())), "y": text.split()}


def _msft() -> Columns:
    """Return the last 3,000 closing prices, a row a day without weekends in between."""
    with tarfile.open(_folder("pmdarima") / "datasets/data/msft.tar.gz") as archive:
        file = archive.extractfile("msft.csv")
        assert file is not None
        rows = list(csv.DictReader(io.TextIOWrapper(file)))[-3000:]
    days = np.datetime64("2001-01-01") + np.arange(len(rows))
    return {"time": [str(day) for day in days], "y": _column(rows, "Close")}


def _elnino() -> Columns:
    rows = _csv("statsmodels", "datasets/elnino/elnino.csv")
    values = [value for row in rows for value in list(row.values())[1:13]]
    year = int(float(next(iter(rows[0].values()))))
    return {"time": _months(f"{year}-01", len(values)), "y": values}


def _electrical() -> Columns:
    rows = _csv("statsmodels", "datasets/elec_equip/elec_equip.csv")
    return {"time": _months("1995-01", len(rows)), "y": [list(row.values())[1] for row in rows]}


def _seatbelts() -> Columns:
    rows = _csv("sktime", "datasets/data/seatbelts/seatbelts.csv")
    return {"time": [row[""] for row in rows], "y": _column(rows, "KSI")}


def _consumption() -> Columns:
    rows = _csv("sktime", "datasets/data/Uschange/Uschange.csv")
    return {"time": _months("1970-01", len(rows), 3), "y": _column(rows, "Consumption")}


def _lynx() -> Columns:
    values = _array_of("lynx")
    return {"time": _months("1821-01", len(values), 12), "y": values}


def _unemployment() -> Columns:
    rows = _csv("statsmodels", "datasets/macrodata/macrodata.csv")
    return {"time": _months("1959-01", len(rows), 3), "y": _column(rows, "unemp")}


def _stocks() -> Columns:
    rows = _csv("vega_datasets", "_data/stocks.csv")
    names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    parts = [row["date"].split() for row in rows]
    return {
        "time": [f"{year}-{names.index(month) + 1:02d}-01" for month, _, year in parts],
        "symbol": _column(rows, "symbol"),
        "y": _column(rows, "price"),
    }


_TABLES: Mapping[str, Callable[[], Columns]] = {
    "airpass": functools.partial(_monthly, "airpassengers", "1949-01"),
    "employ": _employ,
    "taylor": lambda: {"time": _every("2000-06-05", len(_array_of("taylor")), 30), "y": _array_of("taylor")},
    "co2": _co2,
    "seattle": _seattle,
    "etth1_24": _etth1,
    "sunspots": _sunspots,
    "msft": _msft,
    "rain": _seattle,
    "camels": _camels,
    "beer": functools.partial(_monthly, "ausbeer", "1956-01", 3),
    "wine": functools.partial(_monthly, "wineind", "1980-01"),
    "yarn": functools.partial(_monthly, "woolyrnq", "1965-01", 3),
    "electrical": _electrical,
    "sanfrancisco": functools.partial(_hourly_temperature, "_data/sf-temps.csv"),
    "elnino": _elnino,
    "seatbelts": _seatbelts,
    "consumption": _consumption,
    "lynx": _lynx,
    "seattle_hourly": functools.partial(_hourly_temperature, "_data/seattle-temps.csv"),
    "unemployment": _unemployment,
    "stocks": _stocks,
}
