"""Sample paths: joint draws of all steps ahead and targets of a series, for sums, maxima and changes."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.data.table import Series, Table
from gatewright.data.target_units import quantiles_of
from gatewright.errors import DataError, GatewrightError
from gatewright.nn.model import Model
from gatewright.spec import QuantileHead
from gatewright.spec.table import LARGEST_LAG_CORRELATION
from gatewright.tasks.base import SamplePaths
from gatewright.tasks.forecast.dependence import Values, dependence_of
from gatewright.tasks.forecast.fitted_table import fitted, require_forecaster
from gatewright.tasks.forecast.forecast_frame import forecast_frame
from gatewright.tasks.forecast.predict import window_at_end
from gatewright.tasks.forecast.quantile_function import values_at
from gatewright.tasks.forecast.window_units import Place
from gatewright.tasks.forecast.windows import predict_scaled, quantiles_in_units

#: Name of the column that numbers the paths of a series.
PATH = "path"

#: Number of paths that are drawn at once.
_BLOCK = 64

#: Smallest level of a quantile of a distribution.
LEAST_LEVEL = 1e-15

#: Maximum number of paths of a series.
LARGEST = 1_000_000


def sample_paths(
    model: Model, table: Table, paths: SamplePaths, horizon: int | None = None, fill: str = ""
) -> pl.DataFrame:
    """Draw what may follow the last observed target of each series.

    The paths of a series depend on the model, its rows, its ids, the time of its last row and the seed alone: not
    on the other series of the table or their order.  More paths or steps ahead go on with those of fewer.
    Different series are drawn independently.

    Args:
        model: a trained forecaster of quantiles, whose file has the dependence over steps.
        table: as for `gatewright.tasks.forecast.predict.forecast`.
        paths: their number and the seed.
        horizon: steps to forecast, at most what the model was trained for; that if None.
        fill: "forward" or "mean" to fill missing inputs.

    Returns:
        A row a series, path and step: the series (if a column names it), the timestamp or the number of the row,
        the number of the path from 1 as ``path``, and each target, in its units and within its bounds.

    Raises:
        SpecError: if the model does not forecast.
        GatewrightError: if it has one quantile and no distribution, or no dependence, or a number is out of range.
        DataError: as of `gatewright.tasks.forecast.predict.forecast`.
    """
    encoder, head = require_forecaster(model, horizon, fill)
    require_paths(model, paths)
    root = root_of(model)
    table = fitted(table, encoder, head)
    frames = []
    for one in table.series:
        rows, windows = window_at_end(model, one, table, fill)
        outputs, place = predict_scaled(model, windows, np.array([encoder.context - 1]))
        scores = draws(root, paths.count, key(paths.seed, one, rows))
        place = None if place is None else Place(place.last[0], place.scale[0])
        values = in_units(model, outputs[0], scores, place)[:, : horizon or head.horizon]
        if not np.isfinite(values).all():
            raise DataError(one.title, "values that the model can forecast from", "a forecast that is not finite")
        frames.append(_frame(one, rows, table, values))
    return pl.concat(frames)


def require_paths(model: Model, paths: SamplePaths) -> None:
    """Check that a forecaster gives sample paths.

    Raises:
        GatewrightError: see `sample_paths`.
    """
    assert model.spec.forecaster is not None
    head, size = model.spec.forecaster[1], model.output_sizes[0] * model.output_sizes[1]
    if not 1 <= paths.count <= LARGEST:
        raise GatewrightError("--paths", f"a whole number from 1 to {LARGEST:,}", str(paths.count))
    if paths.seed < 0:
        raise GatewrightError("--seed", "a whole number of at least 0", str(paths.seed))
    if len(head.quantiles) == 1 and head.family is None:
        expected = "a model of several quantiles: train with --loss quantile and at least two --quantiles"
        raise GatewrightError("--paths", expected, f"one that forecasts a {head.point} alone")
    if size > LARGEST_LAG_CORRELATION:
        expected = f"a model of at most {LARGEST_LAG_CORRELATION:,} steps ahead times targets"
        raise GatewrightError("--paths", expected, f"{size:,}")
    table = model.table
    if size > 1 and (table is None or not (table.correlation or table.lag_correlation)):
        expected = "a model whose file says how steps ahead depend on each other: train it again"
        raise GatewrightError("--paths", expected, "a file without it, as earlier versions wrote")


def root_of(model: Model) -> Values:
    """Return the square root of the correlation that a forecaster's file has; see `require_paths`."""
    values, vectors = np.linalg.eigh(dependence_of(model.spec, model.table))
    # The symmetric root: unlike one by the vectors alone, it is a continuous function of the matrix.
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def key(seed: int, one: Series, rows: int) -> int:
    """Return the key of the draws of a series: a function of the seed, the ids and the last row that is read.

    Args:
        seed: random seed.
        one: the series.
        rows: number of rows up to its last observed target.
    """
    last = rows if one.times is None else int(one.times[rows - 1].astype("datetime64[us]").astype(np.int64))
    text = json.dumps([seed, list(one.ids), last])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def draws(root: Values, count: int, key: int) -> Values:
    """Return correlated normal scores (count, size); a larger count goes on with those of a smaller one.

    Args:
        root: square root of the correlation (size, size).
        count: number of draws.
        key: of a counter-based generator (Salmon et al. 2011).
    """
    generator = np.random.Generator(np.random.Philox(key=key))
    # Products of one size: the order of their sums, and so their bits, may depend on the number of rows.
    blocks = [generator.standard_normal((_BLOCK, len(root))) @ root for _ in range(-(-count // _BLOCK))]
    return np.concatenate(blocks)[:count]


def in_units(model: Model, outputs: Tensor, scores: Values, place: Place | None = None) -> Values:
    """Return the values of a forecast at scores, (paths, horizon, targets), in the table's units.

    Args:
        model: the forecaster.
        outputs: sorted quantiles, in the scaler's units or those of their place, or outputs of distributions
            (horizon, targets, outputs).
        scores: (paths, horizon * targets).
        place: of the forecast (targets,), with the scale of a window.
    """
    assert model.spec.forecaster is not None
    head = model.spec.forecaster[1]
    scores = scores.reshape(-1, *outputs.shape[:2])
    if head.family is None:
        values = values_at(outputs.double().numpy(), scores, head.quantiles)
    else:
        values = _of_distributions(model, outputs, scores)
    # The paths take the place of the quantiles.
    laid = np.ascontiguousarray(np.moveaxis(values, 0, -1))
    return np.moveaxis(quantiles_in_units(model, laid, place), -1, 0)


def _of_distributions(model: Model, outputs: Tensor, scores: Values) -> Values:
    """Return the quantiles of distributions at the levels of scores (paths, horizon, targets)."""
    head, scaler = model.spec.head, model.scaler
    assert isinstance(head, QuantileHead)
    assert scaler is not None
    given = outputs.float().cpu().numpy()
    levels = torch.special.ndtr(torch.from_numpy(scores)).clamp(LEAST_LEVEL, 1 - LEAST_LEVEL).numpy()
    values = np.empty_like(levels)
    for step, target in np.ndindex(*levels.shape[1:]):
        some, places = np.unique(levels[:, step, target], return_inverse=True)
        own = quantiles_of(given[step, target : target + 1], head, scaler, some.tolist(), target)
        values[:, step, target] = own[0, places]
    return values


def _frame(one: Series, rows: int, table: Table, values: NDArray[np.float64]) -> pl.DataFrame:
    """Return the paths of a series (paths, horizon, targets) as a frame."""
    paths, horizon = values.shape[:2]
    steps = forecast_frame(one, rows, table, (), values[0][..., None], [(PATH, [1] * horizon)])
    columns = {name: values[..., place].ravel() for place, name in enumerate(table.roles.targets)}
    twice = sorted(set(columns) & set(steps.columns))
    if twice:
        raise DataError(f"column {twice[0]!r}", "a name that no other column of the paths has", "it twice")
    repeated = steps[np.tile(np.arange(horizon), paths)]
    return repeated.with_columns(
        pl.Series(PATH, np.repeat(np.arange(1, paths + 1), horizon)),
        *(pl.Series(name, column) for name, column in columns.items()),
    )
