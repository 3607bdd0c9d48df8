"""Forecasts from rolling origins: `Forecaster.cross_validate` and `Forecaster.backtest`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gatewright.data.frame import Frame
from gatewright.data.window_checks import listed
from gatewright.estimators.arguments import Columns, by_role, names
from gatewright.estimators.base import Estimator
from gatewright.estimators.isolation import isolated
from gatewright.estimators.python_names import python_names
from gatewright.estimators.table_answer import typed
from gatewright.estimators.table_input import TableInput, require_distinct_ids, table_input, with_codes
from gatewright.tasks.forecast.dataset import data_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gatewright.estimators.backtest import Backtest


class RollingOrigins(Estimator):
    """The methods of a forecaster that train copies of it on the rows before some origins."""

    def cross_validate(
        self,
        X: Any,
        y: Any = None,
        *,
        windows: int = 5,
        step: int | None = None,
        refit: bool = True,
        **columns: Unpack[Columns],
    ) -> Any:
        """Forecast the last rows of a table from several origins, each from the rows before it only.

        Rolling-origin evaluation (Tashman 2000).  The estimator itself is neither fitted nor changed: copies with
        its parameters, and no test part, learn.

        Args:
            X: the table, as for `fit`.
            y: the targets, as for `fit`.
            windows: number of origins.
            step: rows between two origins; the horizon if None.
            refit: whether to train anew at each origin, or once, at the first.
            **columns: as for `fit`; of a fitted estimator those of the fit, unless they are named.

        Returns:
            Of a frame, a frame of the same library, of anything else one of polars: ids, time, ``cutoff`` (the
            last row before the forecast), each target as observed, and its quantiles as ``<target>_q<level>``.

        Raises:
            GatewrightError: if the table cannot be used, or has too few rows before the first origin.
            KeyboardInterrupt: at Ctrl-C.
        """
        given, result = self._backtest(X, y, (windows, step, refit), columns)
        if isinstance(given.source, Frame) and not given.framed:
            return typed(result.forecasts, result.table, given.source)
        return given.answer(result.forecasts, result.table)

    def backtest(
        self,
        X: Any,
        y: Any = None,
        *,
        windows: int = 5,
        step: int | None = None,
        refit: bool = True,
        baselines: Sequence[str] = (),
        **columns: Unpack[Columns],
    ) -> dict[str, Any]:
        """Measure the forecasts of `cross_validate`, next to simple baselines from the same origins.

        Args:
            X: as for `cross_validate`.
            y: as for `cross_validate`.
            windows: as for `cross_validate`.
            step: as for `cross_validate`.
            refit: as for `cross_validate`.
            baselines: models of other packages to compare with, as for `evaluate`; fitted at each origin, or once
                without ``refit``.
            **columns: as for `cross_validate`.

        Returns:
            Figures as of `evaluate`; MASE is scaled by the rows before the first origin.

        Raises:
            GatewrightError: as of `cross_validate`.
        """
        return self._backtest(X, y, (windows, step, refit), columns, baselines)[1].figures

    def plot_backtest(
        self,
        X: Any,
        y: Any = None,
        *,
        windows: int = 5,
        step: int | None = None,
        refit: bool = True,
        baselines: Sequence[str] = (),
        **columns: Unpack[Columns],
    ) -> Any:
        """Draw the errors of `backtest` by origin and by step ahead, with their spread, next to the baselines.

        Args:
            X: as for `backtest`.
            y: as for `backtest`.
            windows: as for `backtest`.
            step: as for `backtest`.
            refit: as for `backtest`.
            baselines: as for `backtest`.
            **columns: as for `cross_validate`.

        Returns:
            A `matplotlib.figure.Figure`, two panels for each of the first three targets.

        Raises:
            GatewrightError: as of `backtest`.
        """
        from gatewright.estimators.backtest_plot import backtest_figure

        return backtest_figure(self._backtest(X, y, (windows, step, refit), columns, baselines)[1])

    def _backtest(
        self,
        X: Any,
        y: Any,
        places: tuple[int, int | None, bool],
        columns: Columns,
        baselines: Sequence[str] = (),
    ) -> tuple[TableInput, Backtest]:
        """Forecast from rolling origins, with copies of the estimator."""
        from gatewright.estimators.backtest import Origins, backtest_source

        with python_names():
            given, origins, others = table_input(X, y), Origins(*places), names(baselines, "baselines") or ()
            options = self._options(self._with_roles_of_fit(given, by_role(given, columns)))
            given = with_codes(given, options.data.category or ())
            require_distinct_ids(given, X, options.data.id or ())
            with isolated():
                result = backtest_source(given.source, options, origins, self._console(), self._waits(), others)
            short = result.figures["series_without_windows"]
            reasons = ((result.table.empty, "no observed target"), (short, "too few rows before an origin"))
            for series, reason in reasons:
                if series:
                    self._warn_of("left out", series, reason)
            return given, result

    def _with_roles_of_fit(self, given: TableInput, named: dict[str, Any]) -> dict[str, Any]:
        """Return columns by role, those of `fit` where a caller of a fitted estimator names none."""
        model = getattr(self, "model_", None)
        if model is None or model.table is None or not given.framed:
            return named
        data, roles = data_options(model.table, model.spec), dict(named)
        taken = {column for value in named.values() for column in ([value] if isinstance(value, str) else value)}
        for role in Columns.__annotations__:
            value = getattr(data, role) or ()
            if role not in named and isinstance(value, str) and value not in taken:
                roles[role] = value
            elif role not in named and not isinstance(value, str):
                roles[role] = tuple(column for column in value if column not in taken) or None
        return {role: value for role, value in roles.items() if value is not None}

    def _warn_of(self, what: str, series: Sequence[str], reason: str) -> None:
        self._warn(f"{what}, {reason}: {listed(list(series))}")
