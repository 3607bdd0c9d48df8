"""The dependence of a forecast's errors over steps ahead and targets: the correlation of a Gaussian copula.

The quantiles of each step say nothing of a sum over the steps, of a maximum or of a change between two of them.
The rolling forecasts of the validation part do: what came has a normal score in each, and the correlation of these
scores is kept in the model file.

Few windows show a correlation only roughly.  Each number is therefore shrunk, by the number of windows that do not
overlap: to the mean of its lag over all steps (Schäfer & Strimmer 2005), and that to AR(1) processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gatewright.files.model_file import ModelFile
from gatewright.spec import ModelSpec, TableSpec
from gatewright.spec.table import LARGEST_CORRELATION, LARGEST_LAG_CORRELATION
from gatewright.tasks.forecast.quantile_function import scores_of

Values = NDArray[np.float64]

#: Number of independent windows at which half of a lag's correlation is its own, half that of an AR(1) process.
#: Half of that is the process that suits the windows best, half one with the `USUAL` decay.
SHRINK = 5.0

#: Decay over the horizon, exp(-USUAL), of correlations of which little is known.  Few windows of the part that
#: chose and calibrated a model show less dependence than what follows.
USUAL = 2.5

#: Quantiles that show the dependence of a model of distributions which forecasts a single one.
DEPENDENCE_LEVELS = (0.1, 0.5, 0.9)

#: Maximum number of windows that a model with many outputs is estimated from.
_WINDOWS = 512

#: Coefficients of AR(1) processes that are compared; where nothing tells them apart, 0 is taken.
_COEFFICIENTS = sorted((np.arange(-38, 41) / 40).tolist(), key=abs)

#: Smallest eigenvalue of a correlation matrix.
_LEAST = 1e-3

#: Digits of a correlation behind the point, in a model file.
_DIGITS = 4


def correlation(scores: Values, windows: Values) -> Values:
    """Return the correlation of normal scores, positive definite, (horizon * targets, horizon * targets).

    Args:
        scores: of what came in each forecast (windows, horizon, targets), NaN where missing.
        windows: number of independent windows for each step ahead (horizon,).
    """
    products, squares = _sums(scores)
    common = of_lags(_lags(products, squares, float(windows[-1])))
    own = _ratio(products, squares, squares.transpose(2, 3, 0, 1))
    counts = np.maximum(np.minimum.outer(windows, windows), 1.0)[:, None, :, None]
    off = np.isfinite(own) & (common < 1.0)
    distance, noise = (own - common)[off] ** 2, ((1 - common**2) ** 2 / counts)[off]
    trusted = max(0.0, 1 - float(noise.sum() / distance.sum())) if distance.any() else 0.0
    change = np.where(np.isfinite(own), own - common, 0.0)
    return positive(_square(common + trusted * change))


def correlation_by_lag(scores: Values, windows: Values) -> Values:
    """Return the correlation of a target and of another one some steps later, (horizon, targets, targets).

    Args:
        scores: as for `correlation`; of many windows, some are taken.
        windows: as for `correlation`.
    """
    return _lags(*_sums(scores[:: max(1, -(-len(scores) // _WINDOWS))]), float(windows[-1]))


def _square(numbers: Values) -> Values:
    """Return (horizon, targets, horizon, targets) as a matrix."""
    size = numbers.shape[0] * numbers.shape[1]
    return numbers.reshape(size, size)


def _sums(scores: Values) -> tuple[Values, Values]:
    """Return sums over windows, (horizon, targets, horizon, targets): of products, and of squares seen together.

    At [i, j] are the squares of i in the windows that have j, too.
    """
    _, horizon, targets = scores.shape
    flat = scores.reshape(-1, horizon * targets)
    seen = np.isfinite(flat).astype(np.float64)
    flat = np.nan_to_num(flat)
    shape = (horizon, targets, horizon, targets)
    return (flat.T @ flat).reshape(shape), ((flat**2).T @ seen).reshape(shape)


def _ratio(products: Values, left: Values, right: Values) -> Values:
    """Return correlations of scores whose mean is known to be 0; NaN where none were seen together."""
    scale = np.sqrt(left * right)
    return np.divide(products, scale, out=np.full_like(products, np.nan), where=scale > 0)


def _lags(products: Values, squares: Values, windows: float) -> Values:
    """Return the correlation of target a at a step and of b some steps later, (lags, targets, targets).

    Args:
        products: sums of products (horizon, targets, horizon, targets).
        squares: sums of the squares that belong to them.
        windows: number of independent windows.
    """
    horizon, targets = products.shape[:2]
    own = np.empty((horizon, targets, targets))
    for lag in range(horizon):
        total, first = (np.diagonal(sums, lag, 0, 2).sum(axis=-1) for sums in (products, squares))
        own[lag] = _ratio(total, first, np.diagonal(squares, -lag, 0, 2).sum(axis=-1).T)
    share = windows / (windows + SHRINK)
    between = np.nan_to_num(share * own[0])
    np.fill_diagonal(between, 1.0)
    # A pair of steps counts once in the mean of its lag.
    pairs = np.arange(horizon, 0, -1)
    seen = np.diagonal(own, axis1=1, axis2=2)
    lags = np.arange(horizon)
    losses = [float(np.nansum(pairs[:, None] * (seen - (phi**lags)[:, None]) ** 2)) for phi in _COEFFICIENTS]
    best = _COEFFICIENTS[int(np.argmin(losses))]
    process = (share * best**lags + (1 - share) * np.exp(-USUAL * lags / horizon))[:, None, None] * between
    mixed = np.where(np.isfinite(own), share * own + (1 - share) * process, process)
    mixed[0] = between
    return mixed


def of_lags(lags: Values) -> Values:
    """Return the matrix (horizon, targets, horizon, targets) of correlations by lag (lags, targets, targets).

    >>> of_lags(np.array([1.0, 0.5, 0.2]).reshape(3, 1, 1)).reshape(3, 3).tolist()
    [[1.0, 0.5, 0.2], [0.5, 1.0, 0.5], [0.2, 0.5, 1.0]]
    """
    steps = np.arange(len(lags))
    ahead = steps - steps[:, None]
    pairs = lags[np.abs(ahead)]
    turned = np.where((ahead >= 0)[..., None, None], pairs, pairs.swapaxes(2, 3))
    return turned.transpose(0, 2, 1, 3)


def positive(matrix: Values) -> Values:
    """Return the matrix with no eigenvalue below a small one, and ones in its diagonal.

    >>> positive(np.array([[1.0, 1.0], [1.0, 1.0]])).round(3).tolist()
    [[1.0, 0.999], [0.999, 1.0]]
    """
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < _LEAST:
        matrix = (vectors * np.maximum(values, _LEAST)) @ vectors.T
    scale = np.sqrt(np.diagonal(matrix))
    return matrix / scale / scale[:, None]


def with_dependence(
    file: ModelFile, forecast: Values, target: Values, windows: Values, levels: Sequence[float] = ()
) -> ModelFile:
    """Return the file of a forecaster that has the correlation which forecasts of a validation part show.

    Args:
        file: the model; it is not changed.  One without quantiles or without a table stays as it is.
        forecast: in the head's units (windows, horizon, targets, quantiles), in order.
        target: what came (windows, horizon, targets), NaN where missing.
        windows: number of independent windows for each step ahead (horizon,).
        levels: of the quantiles; those of the model if there are none.
    """
    assert file.spec.forecaster is not None
    levels, (_, horizon, targets, quantiles) = levels or file.spec.forecaster[1].quantiles, forecast.shape
    size = horizon * targets
    if file.table is None or quantiles == 1 or not 1 < size <= LARGEST_LAG_CORRELATION:
        return file
    scores = scores_of(forecast, target, levels)
    if size > LARGEST_CORRELATION:
        lags = _listed(correlation_by_lag(scores, windows))
        return replace(file, table=replace(file.table, lag_correlation=lags))
    upper = correlation(scores, windows)[np.triu_indices(size, 1)]
    return replace(file, table=replace(file.table, correlation=_listed(upper)))


def with_dependence_of(file: ModelFile, best: ModelFile) -> ModelFile:
    """Return a file that has the correlation of another one."""
    if file.table is None or best.table is None:
        return file
    own, lags = best.table.correlation, best.table.lag_correlation
    return replace(file, table=replace(file.table, correlation=own, lag_correlation=lags))


def _listed(numbers: Values) -> tuple[float, ...]:
    return tuple((numbers.round(_DIGITS) + 0.0).ravel().tolist())  # not -0.0


def dependence_of(spec: ModelSpec, table: TableSpec | None) -> Values:
    """Return the correlation that a model file has, (horizon * targets, horizon * targets).

    Args:
        spec: the model.
        table: its table, with a correlation unless there is one output.
    """
    horizon, targets = spec.output_shape[:2]
    size = horizon * targets
    if size == 1:
        return np.ones((1, 1))
    assert table is not None
    if table.correlation:
        upper = np.zeros((size, size))
        upper[np.triu_indices(size, 1)] = table.correlation
        return positive(upper + upper.T + np.eye(size))
    lags = np.array(table.lag_correlation).reshape(horizon, targets, targets)
    return positive(_square(of_lags(lags)))
