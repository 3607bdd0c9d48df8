"""The forecaster: a table in, quantiles of the next values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewright.data.table import Table, table_of
from gatewright.data.window_checks import listed
from gatewright.errors import DataError, GatewrightError, shorten
from gatewright.estimators.arguments import Columns, by_role, names, whole
from gatewright.estimators.path_sampling import PathSampling
from gatewright.estimators.python_names import python_names
from gatewright.estimators.recipe import choose_recipe
from gatewright.estimators.rolling_origins import RollingOrigins
from gatewright.estimators.table_input import TableInput, require_distinct_ids, table_input, with_codes
from gatewright.nn.model import Model
from gatewright.runs.run import digest
from gatewright.spec import CellSpec, TableSpec
from gatewright.tasks.forecast.dataset import SeriesData, data_options, roles
from gatewright.tasks.forecast.fitted_table import fitted, forecastable, late_targets, require_forecaster
from gatewright.tasks.forecast.predict import forecast
from gatewright.tasks.options import Options
from gatewright.train.callback import Callback

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from gatewright.insight.recording import Recording
    from gatewright.tasks.inputs import InputBatch


class Forecaster(PathSampling, RollingOrigins):
    """Quantiles of the next values of one series, or of many.

    Parameters and fitted attributes follow scikit-learn's conventions.  None stands for the default, which
    `gatewright train --help` lists; the parameters are the options of the same name there.

    Args:
        horizon: number of steps to forecast (default: 1).
        quantiles: quantile levels; 0.5 is the point forecast (default: 0.1, 0.5, 0.9).
        context: number of steps that the model reads before a forecast.
        season: lengths of seasons in steps, such as (24, 168); "none" for no seasonal differences.
        transform: transform of the targets: "log", "log1p", "asinh", "boxcox" or "none", for all or one each
            (default: "auto").
        scale: scale of the targets: "global", of the training part, or "window", how much each series moves from
            row to row in the rows that are read (default: "auto").
        head: "quantiles" (default), or a distribution that gives them: "normal", "student-t", "mixture" (of three
            normals), for whole numbers "negative-binomial" or "zero-inflated-negative-binomial".
        minimum: lower bound of forecasts, for all targets or one each.
        maximum: upper bound of forecasts, likewise.
        calendar: calendar inputs.
        holidays: countries, or parts of them such as "DE-BY", whose public holidays are known in advance.
        reads: inputs from past targets: "change", "level", "both" or "nothing".
        hidden: units of each LSTM layer (default: 64); a list, such as
            ``[128, 64, 32]``, for layers of several sizes.
        layers: LSTM layers (default: 1), or as many as ``hidden`` lists.
        dropout: dropout rate (default: 0.2).
        proj: width of the projected hidden state; 0 for none.
        residual: whether each layer after the first adds its input to its output.
        cell: features of the LSTM cell (``docs/variants.md``): a dict such as
            ``{"layer_norm": True, "zoneout_cell": 0.1}``, a `gatewright.CellSpec`, or words of the command line,
            such as "layer_norm zoneout_cell=0.1" or "slstm heads=4"; the plain cell if None.
        embedding: width of the vector of a category; None for 3 to 50, by the number of its values.
        category_size: widths of some categories, such as ``{"store": 8}``; those of others as above.
        forget_bias: initial bias of the forget gates.
        chrono: longest dependencies in steps, for chrono initialization in place of ``forget_bias``; 0 for none.
        start: start of the weights: "data" (default) or "zero".
        time_format: format of the timestamps.
        time_zone: time zone of the timestamps.
        resample: width of the steps that rows are aggregated into.
        aggregate: aggregate of the rows of such a step.
        decimal: decimal mark of numbers in text.
        thousands: thousands separator of numbers in text.
        missing: words and numbers for a missing value.
        fill: how missing inputs are filled: "forward" or "mean".
        valid: validation part: a share, a number of rows or its first date (default: 0.15).
        test: test part, which `evaluate` scores; 0 for none (default: 0.15).
        epochs: passes over the training part.
        steps: optimizer steps, in place of epochs (default: 1000).
        batch: windows in a step (default: 64).
        lr: maximum learning rate (default: 0.001).
        schedule: decay of the learning rate.
        warmup: steps of the linear warm-up.
        weight_decay: decoupled weight decay.
        clip: maximum norm of the gradient; 0 for no clipping.
        loss: "quantile" (default), or for one value "mae", "mse", "huber", "nse" or "mase"; "nll", the negative
            log-likelihood, with a ``head`` that has a distribution.
        calibrate: calibration of the intervals on the validation part, after training: "width" (default),
            "conformal" or "none".
        refit: whether to train a new model on training and validation part, for the steps of the best one; by
            default with fewer than 2,000 training windows.
        patience: validations without improvement before the training stops; 0 for no limit.
        validate_every: steps between validations.
        checkpoint_every: steps between checkpoints.
        seed: random seed for weights, order and dropout (default: 0).
        precision: of the products of the LSTM layers in training: "float32", or "bf16", which is faster on
            processors with bf16 instructions (default: float32).
        device: "auto", "cpu", "cuda", "mps" or "xpu".
        verbose: 0 prints nothing, 1 shows the progress.

    Attributes:
        feature_names_in_: the columns that the model reads, the targets first.
        n_features_in_: their number.
        recipe_: the options that ``fit(auto=...)`` chose, by name; None without ``auto``.
        recipes_: its trials, a polars DataFrame with a row for each training; None without ``auto``.

    >>> import gatewright, numpy as np
    >>> series = np.sin(np.arange(200) * 2 * np.pi / 12)
    >>> model = gatewright.Forecaster(horizon=3, hidden=8, context=24, steps=20).fit(series)
    >>> model.predict(series).shape
    (3, 3)
    """

    _kind = "forecast"

    feature_names_in_: Any
    n_features_in_: int
    recipe_: dict[str, Any] | None
    recipes_: Any

    def __init__(
        self, *, horizon: int | None = None, quantiles: Sequence[float] | None = None, head: str | None = None,
        context: int | None = None,
        season: int | str | Sequence[int | str] | None = None, transform: str | Sequence[str] | None = None,
        scale: str | None = None,
        minimum: float | str | Sequence[float | str] | None = None,
        maximum: float | str | Sequence[float | str] | None = None, calendar: str | Sequence[str] | None = None,
        holidays: str | Sequence[str] | None = None, reads: str | None = None,
        hidden: int | Sequence[int] | None = None, layers: int | None = None, dropout: float | None = None,
        proj: int | None = None, residual: bool | None = None,
        cell: CellSpec | Mapping[str, Any] | str | Sequence[str] | None = None, embedding: int | None = None,
        category_size: Mapping[str, int] | Sequence[str] | None = None,
        forget_bias: float | None = None, chrono: int | None = None,
        start: str | None = None,
        time_format: str | None = None,
        time_zone: str | None = None, resample: str | None = None, aggregate: str | None = None,
        decimal: str | None = None, thousands: str | None = None, missing: Sequence[str] | None = None,
        fill: str | None = None, valid: float | str | None = None, test: float | str | None = None,
        epochs: int | None = None, steps: int | None = None, batch: int | None = None, lr: float | None = None,
        schedule: str | None = None, warmup: int | None = None, weight_decay: float | None = None,
        clip: float | None = None, loss: str | None = None, calibrate: str | None = None,
        refit: bool | None = None,
        patience: int | None = None, validate_every: int | None = None, checkpoint_every: int | None = None,
        seed: int | None = None, precision: str | None = None, device: str | None = None, verbose: int = 0,
    ) -> None:  # fmt: skip
        self.horizon, self.quantiles, self.head, self.context = horizon, quantiles, head, context
        self.season, self.calendar, self.holidays, self.reads = season, calendar, holidays, reads
        self.transform, self.scale = transform, scale
        self.minimum, self.maximum = minimum, maximum
        self.hidden, self.layers, self.dropout = hidden, layers, dropout
        self.proj, self.residual, self.cell = proj, residual, cell
        self.embedding, self.category_size = embedding, category_size
        self.forget_bias, self.chrono, self.start = forget_bias, chrono, start
        self.time_format = time_format
        self.time_zone, self.resample, self.aggregate = time_zone, resample, aggregate
        self.decimal, self.thousands, self.missing = decimal, thousands, missing
        self.fill, self.valid, self.test = fill, valid, test
        self.epochs, self.steps, self.batch, self.lr = epochs, steps, batch, lr
        self.schedule, self.warmup, self.weight_decay = schedule, warmup, weight_decay
        self.clip, self.loss, self.calibrate, self.refit = clip, loss, calibrate, refit
        self.patience, self.validate_every = patience, validate_every
        self.checkpoint_every, self.seed = checkpoint_every, seed
        self.precision, self.device = precision, device
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        run_dir: str | Path | None = None,
        resume: bool = False,
        init: Forecaster | Model | str | Path | None = None,
        callbacks: Sequence[Callback] = (),
        auto: float | None = None,
        **columns: Unpack[Columns],
    ) -> Self:
        """Train on a table, and keep the best model.

        Ctrl-C ends the training and keeps the best model so far.

        Args:
            X: the table: a polars or pandas DataFrame, an Arrow table, the path of a file, an array (rows,) or
                (rows, columns), or a list of such arrays, one for each series.
            y: the targets (rows,) or (rows, targets), where they are no columns of ``X``; the columns of an array
                ``X`` are past inputs then.
            run_dir: directory that keeps the run: checkpoints, metrics, the best model.
            resume: go on with the run in ``run_dir``, to the same bits as without the interruption.
            init: a fitted forecaster, or its file, to start from instead of random weights: other rows and series,
                the same columns.
            callbacks: instances of `gatewright.train.callback.Callback`.
            auto: seconds to choose a recipe in, before the training: what is read of the targets, seasons, size,
                context and dropout, by rolling validation.  Parameters that are not None stay; none is changed.
            **columns: ``target``, ``time``, ``id``, ``known``, ``past``, ``static``, ``category``: a name or
                several. ``target`` may be left out if a single numeric column is left, ``time`` if it can be
                found. ``category`` names the inputs that hold codes; text, Booleans and categorical types are
                categories by themselves.

        Returns:
            The estimator.

        Raises:
            GatewrightError: at a parameter or data that cannot be used, before anything is trained.
            NonFiniteError: at a NaN or infinity while training.
        """
        with python_names():
            source, options = self._learned_from(X, y, columns)
            chosen = None
            if auto is not None:
                if resume or init is not None:
                    raise GatewrightError("auto", "no resume and no init with it", "resume" if resume else "init")
                chosen = choose_recipe(self._learned, source, options, auto, run_dir, self._say)
                options, callbacks = chosen.options, (*callbacks, chosen.keeper)
            self._train(source, options, run_dir=run_dir, resume=resume, init=init, callbacks=callbacks)
            self.recipe_ = None if chosen is None else dict(chosen.recipe.values)
            self.recipes_ = None if chosen is None else chosen.frame()
        return self

    def _learned_from(self, X: Any, y: Any, columns: Mapping[str, Any]) -> tuple[Any, Options]:
        given = table_input(X, y)
        options = self._options(by_role(given, columns))
        require_distinct_ids(given, X, options.data.id or ())
        return with_codes(given, options.data.category or ()).source, options

    def _adopt(self, model: Model) -> None:
        super()._adopt(model)
        self.feature_names_in_ = np.array(model.spec.encoder.columns, dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)

    @property
    def table_(self) -> TableSpec:
        """How the model reads tables.

        Raises:
            GatewrightError: if the model comes from a file that does not say so.
        """
        table = self._fitted().table
        if table is None:
            expected = "a model whose file says how its tables are read: the run directory, or a file of version 3"
            raise GatewrightError("model", expected, "one of an older version")
        return table

    def predict(self, X: Any, y: Any = None, *, horizon: int | None = None) -> Any:
        """Forecast what follows the last observed target of each series.

        Args:
            X: a table in one of the forms that `fit` takes, with the columns of the training.  Inputs known in
                advance go on for as many rows as the model forecasts.
            y: the targets, if `fit` was given them apart from ``X``.
            horizon: number of steps; that of the training if None.

        Returns:
            Of a frame, a frame of the same library: ids, time, and each quantile of each target as
            ``<target>_q<level>``, in the target's units and with the time zone of the table.  Of an array,
            an array ([series,] horizon, [targets,] quantiles).

        Raises:
            NotFittedError: before `fit`.
            GatewrightError: if the table does not fit the model.
        """
        model = self._fitted()
        with python_names():
            require_forecaster(model, whole("horizon", horizon), self.table_.fill)
            given = table_input(X, y)
            table = self._forecastable(self._table(given, X))
            with self._waits().during(f"forecasting {len(table.series):,} series"):
                return given.answer(forecast(model, table, horizon, self.table_.fill), table)

    @property
    def _context(self) -> int:
        return require_forecaster(self._fitted(), None, "")[0].context

    def _table(self, given: TableInput, X: Any) -> Table:
        """Read a table as the model does.

        Raises:
            GatewrightError: if the table does not fit the model.
        """
        encoder, head = require_forecaster(self._fitted(), None, "")
        options = data_options(self.table_, self.model_.spec)
        if not given.framed:
            present, needed = given.columns["target"] + given.columns["past"], encoder.columns
            if present != needed:
                expected = f"the columns of the training, {listed(list(map(shorten, needed)))}"
                got = f"arrays with columns that count as {listed(list(map(shorten, present)))}"
                if not given.columns["past"] and encoder.past:
                    got += "; y takes the targets"
                raise GatewrightError("X", expected, got)
            options = replace(options, id=given.columns.get("id", ()))
        require_distinct_ids(given, X, options.id or ())
        given = self._coded(given)
        with self._waits().during("reading the table"):
            table = table_of(given.source, roles(options, fixed=True), self.table_.fill, encoder.step)
        known = len(table.notes)
        table = fitted(table, encoder, head)
        for note in table.notes[known:]:
            self._warn(note)
        return table

    def _coded(self, given: TableInput) -> TableInput:
        """Return arrays whose columns of codes are whole numbers."""
        encoder = require_forecaster(self._fitted(), None, "")[0]
        return with_codes(given, [each.column for each in encoder.categories])

    def evaluate(
        self, X: Any = None, y: Any = None, *, windows: int | None = None, baselines: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Measure forecasts of rows that the training has not seen, next to simple baselines.

        Args:
            X: a table, as for `predict`.  Of what the model was fitted on, the test part is scored; of another
                table with timestamps, the rows after the last one that training and validation saw; of one without
                timestamps, all rows.
            y: the targets, if `fit` was given them apart from ``X``.
            windows: maximum number of windows, evenly spaced; all if None.
            baselines: models of other packages to compare with: "autoets" and "autoarima" (package statsforecast),
                "lightgbm"; fitted on the rows before those that are scored.

        Returns:
            Figures of each target for the model and each baseline, overall, by step and by series, as in the
            ``evaluation.json`` of a run.

        Raises:
            NotFittedError: before `fit`.
            GatewrightError: if the table does not fit the model, or no row is left to score.
        """
        return self._figures(X, y, whole("windows", windows), names(baselines, "baselines") or (), warn=True)

    def _figures(
        self, X: Any, y: Any, windows: int | None, baselines: Sequence[str] = (), *, warn: bool
    ) -> dict[str, Any]:
        model = self._fitted()
        with python_names():
            data = self._unseen(X, y, warn)
            return dict(self._learned.evaluate_next_to(baselines, model, data, windows, self._waits()).figures)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the negative quantile loss of `evaluate`, in standard deviations of the target; higher is better.

        It is the mean over the targets that have a value in the rows that are scored.

        Args:
            X: as for `evaluate`.
            y: as for `evaluate`.

        Raises:
            NotFittedError: before `fit`.
            GatewrightError: as of `evaluate`, or if no target has a value to score.
        """
        figures, scaler = self._figures(X, y, None, warn=False)["targets"], self.model_.scaler
        assert scaler is not None
        losses = [each["model"]["overall"]["quantile_loss"] for each in figures.values()]
        scored = [loss / scale for loss, scale in zip(losses, scaler.deviations, strict=False) if loss is not None]
        if not scored:
            what = f"a value of {' or '.join(map(shorten, figures))} in the rows to score"
            raise DataError("X", what, "none")
        return -float(np.mean(scored))

    def look(
        self, X: Any, y: Any = None, *, start: int = 0, steps: int | None = None, title: str = ""
    ) -> Recording:
        """Run the model over a table and return a recording of every gate and state: `gatewright.look`.

        Args:
            X: a table, as for `predict`.
            y: the targets, if `fit` was given them apart from ``X``.
            start: first row that is read.
            steps: maximum number of rows; all if None.
            title: title of the recording.
        """
        from gatewright.insight.recorder import record

        return record(*self.look_inputs(X, y, start=start, steps=steps, title=title))

    def look_inputs(
        self, X: Any, y: Any = None, *, start: int = 0, steps: int | None = None, title: str = ""
    ) -> tuple[Model, InputBatch]:
        """Return the model, and its inputs from a table; arguments as for `look`."""
        from gatewright.insight.inputs import gather

        model = self._fitted()
        with python_names():
            given = table_input(X, y)
            title = title or (given.source.name if isinstance(given.source, Path) else "")
            table = self._table(given, X)
            return model, gather(model, table, start=start, steps=steps, title=title, fill=self.table_.fill)

    def _unseen(self, X: Any, y: Any, warn: bool) -> SeriesData:
        """Return the rows of a table that the training has not seen, as the test part of a dataset."""
        from gatewright.estimators.backtest import unseen

        given = self._coded(table_input(X, y))
        table = self._table(given, X)
        same = digest(given.source) == self.table_.source
        if warn and not same and (table.series[0].times is None or not self.table_.trained_until):
            self._warn("rows without timestamps are all scored, as ones that the training has not seen")
        data = unseen(table, self.table_, self.model_.spec, same)
        seen = [each.name for each, part in zip(table.series, data.parts, strict=True) if part.test == part.end]
        if warn and seen and not same:
            until = f"no row after {self.table_.trained_until}, the last that the training saw of any series"
            self._warn(f"left out, {until}: {listed(seen)}")
        return data

    def plot(self, X: Any, y: Any = None, *, horizon: int | None = None, rows: int | None = None) -> Any:
        """Draw the forecast of a table after its last rows, with its interval.

        Args:
            X: a table, as for `predict`.
            y: the targets, if `fit` was given them apart from ``X``.
            horizon: number of steps; that of the training if None.
            rows: number of rows before the forecast to draw; the model's context if None.

        Returns:
            A `matplotlib.figure.Figure`, a row for each target of each of the first four series.
        """
        from gatewright.estimators.forecast_plot import forecast_figure

        model = self._fitted()
        with python_names():
            require_forecaster(model, whole("horizon", horizon), self.table_.fill)
            shown = whole("rows", rows) or self._context
            table = self._forecastable(self._table(table_input(X, y), X))
            return forecast_figure(model, table, horizon, self.table_.fill, shown)

    def _forecastable(self, table: Table) -> Table:
        """Leave out the series that are too short to forecast, and say which."""
        model = self._fitted()
        table, short = forecastable(model, table)
        reasons = ((table.empty, "no observed target"), (short, f"fewer than {self._context} rows"))
        for series, reason in reasons:
            if series:
                self._warn_of("left out", series, reason)
        for note in late_targets(table, model.spec):
            self._warn(note)
        return table
