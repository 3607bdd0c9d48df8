"""The classifier: sequences in, the probability of each class out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.sequences import Sequences
from gatewright.errors import DataError, shorten
from gatewright.estimators.python_names import python_names
from gatewright.estimators.sequence_estimator import SequenceEstimator
from gatewright.estimators.sequence_input import (
    SequenceColumns,
    distinct_labels,
    is_table,
    roles_of_sequences,
    source_of,
    typed_classes,
)
from gatewright.estimators.step_answer import Asked
from gatewright.nn.model import Model
from gatewright.spec import CellSpec
from gatewright.tasks.classify.answer import joined
from gatewright.tasks.classify.dataset import is_ts, read_sequences, rows_of
from gatewright.tasks.classify.encoding import as_read_by
from gatewright.tasks.classify.predict import predict_proba, require_classifier
from gatewright.tasks.options import Options
from gatewright.train.callback import Callback

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class SequenceClassifier(SequenceEstimator):
    """One label for each sequence.

    Sequences may be of unequal length, of one feature or several, and with missing values.  Parameters and fitted
    attributes follow scikit-learn's conventions.  None stands for the default, which `gatewright train --help`
    lists; the parameters are the options of the same name there.

    Args:
        hidden: units of each LSTM layer and direction (default: 64); a list, such as
            ``[128, 64, 32]``, for layers of several sizes.
        layers: LSTM layers (default: 1), or as many as ``hidden`` lists.
        directions: "both", or "forward" for a model that a stream can run (default: both).
        pooling: how steps become one vector: "last", "mean", "max" or "attention" (default: max).
        dropout: dropout rate (default: 0.2).
        noise: standard deviation of the noise on the inputs while training, in standard deviations of each column;
            0.3 by default with fewer than 1,000 training sequences, else 0.
        shift: random offset of each column of a sequence while training, the same at all of its steps, in standard
            deviations of the mean of a sequence within its class; 1 by default with fewer than 1,000 training
            sequences, else 0.
        proj: width of the projected hidden state; 0 for none.
        residual: whether each layer after the first adds its input to its output.
        cell: features of the LSTM cell (``docs/variants.md``): a dict such as
            ``{"layer_norm": True, "zoneout_cell": 0.1}``, a `gatewright.CellSpec`, or words of the command line,
            such as "layer_norm zoneout_cell=0.1" or "slstm heads=4"; the plain cell if None.
        embedding: width of the vector of a category; None for 3 to 50, by the number of its values.
        category_size: widths of some categories, such as ``{"store": 8}``; those of others as above.
        forget_bias: initial bias of the forget gates.
        chrono: longest dependencies in steps, for chrono initialization in place of ``forget_bias``; 0 for none.
        class_weights: "none", or "balanced" where rare classes count as much as others (default: none).
        fill: "mean" to read missing values as the mean also where the training part had none.
        time_format: format of the timestamps of a table.
        decimal: decimal mark of numbers in text.
        thousands: thousands separator of numbers in text.
        missing: words and numbers for a missing value.
        valid: validation part, by which the best model is chosen: a share of each class (default: 0.15).
        test: test part, which the training leaves out: a share, or the path of a file; none if 0, which it is
            unless it is said.
        split_seed: random seed of the split (default: 0).
        epochs: passes over the training part.
        steps: optimizer steps, in place of epochs (default: 1000).
        batch: sequences in a step (default: 32).
        lr: maximum learning rate (default: 0.002).
        schedule: decay of the learning rate.
        warmup: steps of the linear warm-up.
        weight_decay: decoupled weight decay.
        clip: maximum norm of the gradient; 0 for no clipping.
        refit: whether to train a new model on training and validation part, for as many steps again.
        patience: validations without improvement before the training stops; 0 for no limit (default: 10).
        validate_every: steps between validations (default: 50).
        checkpoint_every: steps between checkpoints.
        seed: random seed for weights, order and dropout (default: 0).
        precision: of the products of the LSTM layers in training: "float32", or "bf16", which is faster on
            processors with bf16 instructions (default: float32).
        device: "auto", "cpu", "cuda", "mps" or "xpu".
        verbose: 0 prints nothing, 1 shows the progress.

    Attributes:
        classes_: the labels in the order of the probabilities; as text in a model that `gatewright.load` read.
        feature_names_in_: the columns that the model reads.
        n_features_in_: their number.

    >>> import gatewright, numpy as np
    >>> X = np.stack([np.sin(np.arange(20) * (1 + n % 2) / 3) for n in range(24)])
    >>> y = np.arange(24) % 2
    >>> model = gatewright.SequenceClassifier(hidden=8, steps=60, lr=0.02).fit(X, y)
    >>> model.predict(X[:4])
    array([0, 1, 0, 1])
    """

    _kind = "classify"

    def __init__(
        self, *, hidden: int | Sequence[int] | None = None, layers: int | None = None,
        directions: str | None = None,
        pooling: str | None = None, dropout: float | None = None, noise: float | None = None,
        shift: float | None = None,
        proj: int | None = None, residual: bool | None = None,
        cell: CellSpec | Mapping[str, Any] | str | Sequence[str] | None = None, embedding: int | None = None,
        category_size: Mapping[str, int] | Sequence[str] | None = None,
        forget_bias: float | None = None, chrono: int | None = None,
        class_weights: str | None = None,
        fill: str | None = None,
        time_format: str | None = None, decimal: str | None = None, thousands: str | None = None,
        missing: Sequence[str] | None = None, valid: float | str | None = None, test: float | str = 0,
        split_seed: int | None = None, epochs: int | None = None, steps: int | None = None,
        batch: int | None = None, lr: float | None = None, schedule: str | None = None,
        warmup: int | None = None, weight_decay: float | None = None, clip: float | None = None,
        refit: bool | None = None,
        patience: int | None = None, validate_every: int | None = None, checkpoint_every: int | None = None,
        seed: int | None = None, precision: str | None = None, device: str | None = None, verbose: int = 0,
    ) -> None:  # fmt: skip
        self.hidden, self.layers, self.directions = hidden, layers, directions
        self.pooling, self.dropout, self.noise, self.shift = pooling, dropout, noise, shift
        self.proj, self.residual, self.cell = proj, residual, cell
        self.embedding, self.category_size = embedding, category_size
        self.forget_bias, self.chrono = forget_bias, chrono
        self.class_weights, self.fill = class_weights, fill
        self.time_format, self.decimal, self.thousands = time_format, decimal, thousands
        self.missing, self.valid, self.test, self.split_seed = missing, valid, test, split_seed
        self.epochs, self.steps, self.batch, self.lr = epochs, steps, batch, lr
        self.schedule, self.warmup, self.weight_decay = schedule, warmup, weight_decay
        self.clip, self.refit = clip, refit
        self.patience, self.validate_every = patience, validate_every
        self.checkpoint_every, self.seed = checkpoint_every, seed
        self.precision, self.device = precision, device
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn has to know about the estimator; it calls this itself."""
        from sklearn.utils import ClassifierTags

        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        tags.target_tags.required = True
        tags.input_tags.two_d_array = tags.input_tags.three_d_array = True
        return tags

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        run_dir: str | Path | None = None,
        resume: bool = False,
        init: SequenceClassifier | Model | str | Path | None = None,
        callbacks: Sequence[Callback] = (),
        **columns: Unpack[SequenceColumns],
    ) -> Self:
        """Train on labelled sequences, and keep the best model.

        Ctrl-C ends the training and keeps the best model so far.

        Args:
            X: sequences: an array (n, T) or (n, T, D), a list of arrays (T,) or (T, D) of any lengths; a data
                frame with a row for each sequence, if ``y`` is there; or a long table with a row for each step (a
                polars or pandas DataFrame, an Arrow table, the path of a file), or the path of a ``.ts`` file.
            y: the labels (n,); None where a column of a long table has them.
            run_dir: directory that keeps the run: checkpoints, metrics, the best model.
            resume: go on with the run in ``run_dir``, to the same bits as without the interruption.
            init: a fitted classifier, or its file, to start from instead of random weights: other sequences, the
                same columns, no class that it does not know.  It fixes sizes and directions, pooling and scaler.
            callbacks: instances of `gatewright.train.callback.Callback`.
            **columns: of a long table: ``id`` and ``label``, and perhaps ``features`` (all other numeric columns
                by default), ``category``, those of them that hold codes (text, Booleans and categorical types
                among ``features`` are categories by themselves), and ``time``, by which the rows of a sequence
                are ordered.  Of arrays ``category`` alone, such as "x0" for the first column.

        Returns:
            The estimator.

        Raises:
            GatewrightError: at a parameter or data that cannot be used, before anything is trained.
            NonFiniteError: at a NaN or infinity while training.
        """
        with python_names():
            source, options = self._learned_from(X, y, columns)
            labels = None if y is None else distinct_labels(y)
            self._train(source, options, run_dir=run_dir, resume=resume, init=init, callbacks=callbacks)
            if labels is not None:
                self.classes_ = typed_classes(self._head_classes(), labels, init)
        return self

    def _learned_from(self, X: Any, y: Any, columns: Mapping[str, Any]) -> tuple[Any, Options]:
        roles = roles_of_sequences(columns)
        source = source_of(X, y, roles)
        if isinstance(source, Sequences) and source.labels is None:
            raise DataError("y", "a label for each sequence", "None")
        return source, self._options(roles)

    def _sequences(self, X: Any, columns: SequenceColumns, y: Any = None) -> Sequences:
        return self._asked(X, columns, y).sequences

    def _asked(self, X: Any, columns: SequenceColumns, y: Any = None) -> Asked:
        """Read sequences as the model does; labels of a table only if it has a column for them."""
        own, roles = roles_of_sequences(columns), self._columns_of_training(X, y)
        roles.update(own)
        source = source_of(X, y, roles, self.feature_names_in_)
        if isinstance(source, Sequences):
            return Asked(X, self._with_warnings(source))
        data = as_read_by(require_classifier(self.model_)[0], self._options(roles).data)
        if is_ts(source):
            return Asked(X, self._with_warnings(read_sequences(source, data, labelled="label" in roles)[0]))
        frame, data = rows_of(source, data)
        sequences = read_sequences(frame, data, labelled="label" in roles)[0]
        return Asked(X, self._with_warnings(sequences), frame, data)

    def _columns_of_training(self, X: Any, y: Any) -> dict[str, Any]:
        """Return id and time of the training's table, if sequences come as a table again."""
        data = self.options_.data
        roles = {name: value for name, value in (("id", data.id), ("time", data.time)) if value}
        return roles if roles and is_table(X, y, roles) else {}

    def predict_proba(self, X: Any, **columns: Unpack[SequenceColumns]) -> Any:
        """Return the probability of each class for each sequence.

        Args:
            X: sequences, in one of the forms that `fit` takes.
            **columns: ``id`` and ``time`` of a long table, if they differ from those of the training.

        Returns:
            (n, classes), in the order of ``classes_``.  Of a long table a polars DataFrame, a row for each
            sequence in the order of appearance: the id columns of the table, and ``p_<class>`` for each class.

        Raises:
            NotFittedError: before `fit`.
            GatewrightError: if the sequences do not fit the model.
        """
        asked, probability = self._answer(X, columns)
        if not self._is_table(X, columns):
            return probability
        shares = {f"p_{name}": pl.Series(probability[:, n]) for n, name in enumerate(self._head_classes())}
        with python_names():
            return joined(asked.keys, shares)

    def _answer(self, X: Any, columns: SequenceColumns) -> tuple[Asked, NDArray[np.float64]]:
        """Return the sequences, and the probability of each class for each of them."""
        model = self._fitted()
        with python_names():
            asked = self._asked(X, columns)
            return asked, predict_proba(model, asked.sequences, self.fill or "")

    def _is_table(self, X: Any, columns: SequenceColumns) -> bool:
        return is_table(X, None, {**self._columns_of_training(X, None), **columns})

    def predict(self, X: Any, **columns: Unpack[SequenceColumns]) -> Any:
        """Return the likeliest class of each sequence.

        Args:
            X: sequences, in one of the forms that `fit` takes.
            **columns: as for `predict_proba`.

        Returns:
            Labels (n,); of a long table a polars DataFrame: the id columns of the table, and ``label``.
        """
        asked, probability = self._answer(X, columns)
        labels = self.classes_[probability.argmax(axis=1)]
        if not self._is_table(X, columns):
            return labels
        with python_names():
            return joined(asked.keys, {"label": pl.Series(labels)})

    def evaluate(self, X: Any, y: Any = None, **columns: Unpack[SequenceColumns]) -> dict[str, Any]:
        """Score labelled sequences that the training has not seen.

        Args:
            X: sequences, in one of the forms that `fit` takes.
            y: their labels; None where the column ``label`` of a long table has them.
            **columns: as for `fit`.

        Returns:
            Accuracy, balanced accuracy, F1, ROC AUC, log loss and calibration error, as in the ``evaluation.json``
            of a run; ``f1_by_class``; and the ``confusion`` matrix: rows are true classes, columns predicted ones.

        Raises:
            NotFittedError: before `fit`.
            GatewrightError: if the sequences do not fit the model, or a label is none of its classes.
        """
        model, classes = self._fitted(), self._head_classes()
        with python_names():
            sequences = self._sequences(X, columns, y)
            if sequences.labels is None:
                raise DataError("y", "a label for each sequence, or the column label of a table", "none")
            for number, label in enumerate(sequences.labels):
                if label not in classes:
                    raise DataError(
                        f"label of {sequences.title(number)}", f"one of {shorten(classes)}", shorten(label)
                    )
            truth = np.array([classes.index(label) for label in sequences.labels], np.int64)
            probability = predict_proba(model, sequences, self.fill or "")
        return self._measures(truth, probability)
