"""What all estimators share: parameters as scikit-learn has them, a training, a model file, a stream."""

from __future__ import annotations

import inspect
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from rich.console import Console

from gatewright.data.text_sources import TextFiles
from gatewright.errors import GatewrightError, nearest, path_of, shorten
from gatewright.errors import GatewrightWarning as GatewrightWarning
from gatewright.estimators.isolation import isolated
from gatewright.estimators.python_names import option_of, parameter_of
from gatewright.nn.model import Model, load
from gatewright.progress import SILENT, Waits
from gatewright.runs.run import Run
from gatewright.runtime.packed_model import WeightFormat
from gatewright.runtime.stream import Stream
from gatewright.tasks import registry
from gatewright.tasks.base import Kind
from gatewright.tasks.option_values import options_of
from gatewright.tasks.options import Options
from gatewright.train import launch
from gatewright.train.callback import Callback
from gatewright.train.checkpoint import Progress

if TYPE_CHECKING:
    from typing_extensions import Self


class NotFittedError(GatewrightError, AttributeError):
    """An estimator that has no model yet."""


def _not_fitted() -> type[NotFittedError]:
    """Return the class of the error: also one of scikit-learn's, for a caller that has loaded it."""
    if "sklearn" not in sys.modules:
        return NotFittedError
    from sklearn import exceptions

    return type("NotFittedError", (NotFittedError, exceptions.NotFittedError), {})


class Estimator:
    """A model that is fitted; base class of the estimators.

    The constructor stores its parameters as they are; `fit` checks them.  None stands for the default of the
    kind of model, which `gatewright train --help` lists.

    Attributes:
        model_: the best model of the training, a `torch.nn.Module`, in evaluation mode on the CPU.
        options_: the options of the training with everything that the data decided.
        history_: step and score of each validation, in order.
        best_score_: score of the best validation; lower is better.
        n_steps_: optimizer steps that `fit` took.
        run_: the run, if ``run_dir`` named its directory; else None.

    A model that comes from a file, not from `fit` or a run, has no ``history_``, ``best_score_`` and ``n_steps_``.
    """

    #: Name of the kind of model.
    _kind: ClassVar[str]

    model_: Model
    options_: Options
    history_: list[tuple[int, float]]
    best_score_: float
    n_steps_: int
    run_: Run | None
    verbose: int

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        """Return names and defaults of the constructor's parameters."""
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """Return the constructor's parameters by name.

        Args:
            deep: is there for scikit-learn; no parameter is an estimator.
        """
        return {name: getattr(self, name) for name in sorted(self._defaults())}

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the constructor by name; return the estimator.

        Raises:
            GatewrightError: if there is no such parameter.
        """
        names = self._defaults()
        for name in params:
            if name not in names:
                got = f"{shorten(name)}{nearest(name, names)}"
                raise GatewrightError("set_params", f"a parameter of {type(self).__name__}", got)
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        own = self.get_params()
        said = [f"{name}={own[name]!r}" for name, value in self._defaults().items() if not _same(own[name], value)]
        return f"{type(self).__name__}({', '.join(said)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn has to know about the estimator; it calls this itself."""
        from sklearn.utils import InputTags, Tags, TargetTags

        inputs = InputTags(two_d_array=False, string=True, allow_nan=True)
        return Tags(estimator_type=None, target_tags=TargetTags(required=False), input_tags=inputs)

    @property
    def _learned(self) -> Kind[Any]:
        return registry.kind(self._kind)

    def _fitted(self) -> Model:
        """Return the model.

        Raises:
            NotFittedError: before `fit`.
        """
        if not hasattr(self, "model_"):
            raise _not_fitted()(type(self).__name__, "a fitted model: call fit first", "one without a model")
        return self.model_

    def _waits(self) -> Waits:
        return Waits(self._console()) if self.verbose else SILENT

    def _console(self) -> Console | None:
        return Console() if self.verbose else None

    def _say(self, text: str) -> None:
        """Print a line, if the estimator prints any."""
        if (console := self._console()) is not None:
            console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _options(self, data: Mapping[str, Any]) -> Options:
        """Return the constructor's parameters and more options of the data as options of a training.

        Raises:
            GatewrightError: names the parameter that has a wrong type.
        """
        values = {**self.get_params(), **data}
        if not isinstance(self.verbose, (bool, int, np.integer, np.bool_)):
            raise GatewrightError("verbose", "a whole number: 0 prints nothing", shorten(self.verbose))
        del values["verbose"]
        try:
            return options_of({option_of(name): value for name, value in values.items() if value is not None})
        except GatewrightError as error:
            raise type(error)(parameter_of(error.argument), error.expected, error.got) from None

    def _learned_from(self, X: Any, y: Any, columns: Mapping[str, Any]) -> tuple[Any, Options]:
        """Return the source of a training and its options, checked; arguments as for `fit`.

        Raises:
            GatewrightError: if they cannot be used.
        """
        raise NotImplementedError

    def _train(
        self,
        source: Any,
        options: Options,
        *,
        run_dir: str | Path | None,
        resume: bool,
        init: Estimator | Model | str | Path | None,
        callbacks: Sequence[Callback],
    ) -> Self:
        """Train, and take over the best model of the run."""
        _require_callbacks(callbacks)
        initial = None if init is None else model_of(init, "init")
        if resume and (run_dir is None or initial is not None):
            expected = "run_dir with it, and no init"
            raise GatewrightError("resume", expected, "no run_dir" if run_dir is None else "init")
        with ExitStack() as stack:
            stack.enter_context(isolated())
            if run_dir is None:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gatewright-"))
                path = Path(folder, "run")
            else:
                path = path_of(run_dir, "run_dir", "the path of a directory").absolute()
            if resume:
                before = Run.open(path, None if isinstance(source, (Path, TextFiles)) else source)
                run, progress = launch.resume(before, options, console=self._console(), callbacks=callbacks)
            else:
                run, progress = launch.train(
                    source, options, run=path, kind=self._kind, console=self._console(),
                    callbacks=callbacks, initial=initial, temporary=run_dir is None,
                )  # fmt: skip
            self._take(run, progress, run if run_dir is not None else None)
        return self

    def _take(self, run: Run, progress: Progress, kept: Run | None) -> None:
        """Take over the best model of a run."""
        self._adopt(run.best_model())
        self.options_ = run.options()
        self.history_ = run.validations()
        self.best_score_, self.n_steps_, self.run_ = progress.best, progress.step, kept
        if not progress.finished:
            self._warn(f"stopped at step {progress.step}: this is the best model so far")

    def _adopt(self, model: Model) -> None:
        """Take over a model."""
        self.model_ = model.eval()

    @classmethod
    def of_model(cls, model: Model, run: Run | None = None) -> Self:
        """Return a fitted estimator of a trained model.

        Args:
            model: the model.
            run: the run that it comes from, or None; its options become the parameters.
        """
        kind = registry.kind(cls._kind)
        options = kind.fixed_by(model) if run is None else run.options()
        names = cls._defaults()
        values = {name: value for table in options.plain().values() for name, value in table.items()}
        estimator = cls(**{name: value for name, value in values.items() if name in names})
        estimator._adopt(model)
        estimator.options_, estimator.run_ = options, run
        if run is not None:
            estimator.history_ = run.validations()
            estimator.best_score_ = min((score for _, score in estimator.history_), default=float("inf"))
            estimator.n_steps_ = max((step for step, _ in estimator.history_), default=0)
        return estimator

    def _warn(self, text: str) -> None:
        warnings.warn(text, GatewrightWarning, stacklevel=4)

    def stream(self, *, sessions: int = 1, threads: int = 1, weights: WeightFormat = "float32") -> Stream:
        """Return a `gatewright.Stream` that advances the model step by step, in microseconds and without torch.

        Args:
            sessions: number of sessions.
            threads: maximum number of threads of a call.
            weights: "float32", "bf16" or "int8".
        """
        return self._fitted().stream(sessions=sessions, threads=threads, weights=weights)

    def save(self, path: str | Path) -> None:
        """Write the model as one file, which `gatewright.load` reads (``docs/model-file.md``).

        Raises:
            GatewrightError: if the path cannot be written.
        """
        from gatewright.files.atomic import writing
        from gatewright.files.model_file import write

        path = path_of(path, "path", "the path of the file to write")
        with writing(path):
            write(path, self._fitted().file())


def model_of(value: Any, argument: str) -> Model:
    """Return the `torch.nn.Module` of a fitted estimator, of a model file or run directory, or of itself.

    Raises:
        GatewrightError: if it is none of these, or not fitted.
    """
    if isinstance(value, Estimator):
        return value._fitted()
    if isinstance(value, Model):
        return value
    expected = "a fitted estimator, a gatewright.Model, or the path of a model file"
    return load(path_of(value, argument, expected))


def _require_callbacks(callbacks: Any) -> None:
    """Check that callbacks are some.

    Raises:
        GatewrightError: if they are none, or no sequence.
    """
    if not isinstance(callbacks, Sequence) or not all(isinstance(each, Callback) for each in callbacks):
        raise GatewrightError("callbacks", "a list of gatewright.train.callback.Callback", shorten(callbacks))


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, np.ndarray):
        return False
    return value is default or (type(value) is type(default) and bool(value == default))
