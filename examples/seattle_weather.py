"""Forecast a week of Seattle's daily highs, and compare with two simple forecasts.

The data are real: four years of daily weather measured by NOAA.  The package ``vega-datasets`` carries them, so
nothing is downloaded when this runs.
"""

import shutil
from pathlib import Path

import polars as pl
from vega_datasets import local_data

from gatewright.cli import main as gatewright

RUN = Path("runs/seattle_weather")
TABLE = Path("runs/seattle_weather.csv")


def run(*arguments: str) -> None:
    """Run the command, as in a terminal."""
    print(f"\n$ gatewright {' '.join(arguments)}", flush=True)
    gatewright(list(arguments))


if __name__ == "__main__":
    TABLE.parent.mkdir(exist_ok=True)
    shutil.rmtree(RUN, ignore_errors=True)
    pl.read_csv(local_data.seattle_weather.filepath).write_csv(TABLE)
    inputs = ("--past", "temp_min", "precipitation", "wind")
    run("train", str(TABLE), "--target", "temp_max", *inputs, "--horizon", "7", "--run", str(RUN))
    run("evaluate", str(RUN))
    run("forecast", str(RUN), str(TABLE))
    print(
        f"""
{RUN / "forecast.png"} shows the forecasts over what came.  To try next:

  gatewright look {RUN}                         inside the model, in a browser
  gatewright train YOUR.csv --target COLUMN --horizon 24      your own series
  gatewright train YOUR.txt                                   a text, continued by `gatewright generate`
  gatewright train --help                                     everything that can be set"""
    )
