"""The tagger: sequences in, the probability of each class at each step out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewright.data.labels import UNLABELLED, step_labels_of
from gatewright.data.sequences import Sequences, sequences_of
from gatewright.errors import DataError, shorten
from gatewright.estimators.python_names import python_names
from gatewright.estimators.sequence_estimator import SequenceEstimator
from gatewright.estimators.sequence_input import (
    SequenceColumns,
    columns_of_model,
    is_any_table,
    require_no_labels,
    roles_of_sequences,
    table_source,
    typed_classes,
)
from gatewright.estimators.step_answer import Asked, answer_of, as_arrays
from gatewright.nn.model import Model
from gatewright.spec import CellSpec
from gatewright.tasks.classify.dataset import files_of, read_sequences, rows_of
from gatewright.tasks.classify.encoding import as_read_by
from gatewright.tasks.options import Options
from gatewright.tasks.tag.predict import predict_proba, require_tagger
from gatewright.train.callback import Callback

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class SequenceTagger(SequenceEstimator):
    """One label for each step of a sequence.

    Sequences may be of unequal length, of one feature or several, with missing values, and with steps without a
    label.  Parameters and fitted attributes follow scikit-learn's conventions.  None stands for the default, which
    `gatewright train --help` lists; the parameters are the options of the same name there.

    Args:
        hidden: units of each LSTM layer and direction (default: 64); a list, such as
            ``[128, 64, 32]``, for layers of several sizes.
        layers: LSTM layers (default: 1), or as many as ``hidden`` lists.
        directions: "forward" for a label from the steps so far, as a stream gives it; or "both" where the whole
            sequence is there (default: forward).
        dropout: dropout rate (default: 0.2).
        noise: standard deviation of the noise on the inputs while training, in standard deviations of each column
            (default: 0.0).
        shift: random offset of each column of a sequence while training, the same at all of its steps, in standard
            deviations of the mean of a sequence (default: 0.0).
        proj: width of the projected hidden state; 0 for none.
        residual: whether each layer after the first adds its input to its output.
        cell: features of the LSTM cell (``docs/variants.md``): a dict such as
            ``{"layer_norm": True, "zoneout_cell": 0.1}``, a `gatewright.CellSpec`, or words of the command line,
            such as "layer_norm zoneout_cell=0.1" or "slstm heads=4"; the plain cell if None.
        embedding: width of the vector of a category; None for 3 to 50, by the number of its values.
        category_size: widths of some categories, such as ``{"store": 8}``; those of others as above.
        forget_bias: initial bias of the forget gates.
        chrono: longest dependencies in steps, for chrono initialization in place of ``forget_bias``; 0 for none.
        context: longest piece of a sequence that is learned from at once; longer sequences are cut for training
            alone (default: 500).
        class_weights: "none", or "balanced" where rare classes count as much as others (default: none).
        fill: "mean" to read missing values as the mean also where the training part had none.
        time_format: format of the timestamps of a table.
        decimal: decimal mark of numbers in text.
        thousands: thousands separator of numbers in text.
        missing: words and numbers for a missing value.
        valid: validation part, by which the best model is chosen: a share of the sequences, or of the steps of a
            single one (default: 0.15).
        test: test part, which the training leaves out: a share, or the path of a file; none if 0, which it is
            unless it is said.
        split_seed: random seed of the split of several sequences (default: 0).
        epochs: passes over the training part.
        steps: optimizer steps, in place of epochs (default: 1000).
        batch: sequences or pieces in a step (default: 32).
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
    >>> X = np.sign(np.random.default_rng(0).normal(size=(24, 10)))
    >>> y = np.where(np.cumsum(X, axis=1) > 0, "up", "down")
    >>> model = gatewright.SequenceTagger(hidden=8, steps=80, lr=0.03, dropout=0).fit(X, y)
    >>> model.predict(X[:2, :5]).shape
    (2, 5)
    """

    _kind = "tag"

    def __init__(
        self, *, hidden: int | Sequence[int] | None = None, layers: int | None = None,
        directions: str | None = None,
        dropout: float | None = None, noise: float | None = None, shift: float | None = None,
        proj: int | None = None, residual: bool | None = None,
        cell: CellSpec | Mapping[str, Any] | str | Sequence[str] | None = None, embedding: int | None = None,
        category_size: Mapping[str, int] | Sequence[str] | None = None,
        forget_bias: float | None = None, chrono: int | None = None, context: int | None = None,
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
        self.dropout, self.noise, self.shift = dropout, noise, shift
        self.proj, self.residual, self.cell = proj, residual, cell
        self.embedding, self.category_size = embedding, category_size
        self.forget_bias, self.chrono, self.context = forget_bias, chrono, context
        self.class_weights, self.fill, self.time_format = class_weights, fill, time_format
        self.decimal, self.thousands, self.missing = decimal, thousands, missing
        self.valid, self.test, self.split_seed = valid, test, split_seed
        self.epochs, self.steps, self.batch, self.lr = epochs, steps, batch, lr
        self.schedule, self.warmup, self.weight_decay = schedule, warmup, weight_decay
        self.clip, self.refit = clip, refit
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
        init: SequenceTagger | Model | str | Path | None = None,
        callbacks: Sequence[Callback] = (),
        **columns: Unpack[SequenceColumns],
    ) -> Self:
        """Train on sequences with a label for each step, and keep the best model.

        Several sequences are split as wholes into training and validation part; a single one in the order of its
        steps.  Ctrl-C ends the training and keeps the best model so far.

        Args:
            X: sequences: an array (n, T) or (n, T, D), or a list of arrays (T,) or (T, D) of any lengths; or a
                long table, a row for each step (a polars or pandas DataFrame, an Arrow table, the path of a file).
            y: the labels: an array (n, T), or a list of arrays (T,); None, NaN or empty text for a step without a
                label.  None where a column of a long table has them.
            run_dir: directory that keeps the run: checkpoints, metrics, the best model.
            resume: go on with the run in ``run_dir``, to the same bits as without the interruption.
            init: a fitted tagger, or its file, to start from instead of random weights: other sequences, the same
                columns, no class that it does not know.  It fixes sizes and directions, and the scaler.
            callbacks: instances of `gatewright.train.callback.Callback`.
            **columns: of a long table: ``label``, and perhaps ``id`` (without it all rows are one sequence),
                ``features`` (all other numeric columns by default), ``category``, those of them that hold codes
                (text, Booleans and categorical types among ``features`` are categories by themselves), and
                ``time``, by which the rows of a sequence are ordered.  Of arrays ``category`` alone.

        Returns:
            The estimator.

        Raises:
            GatewrightError: at a parameter or data that cannot be used, before anything is trained.
            NonFiniteError: at a NaN or infinity while training.
        """
        with python_names():
            source, options = self._learned_from(X, y, columns)
            labels = None if is_any_table(X) else _labelled(X, y, roles_of_sequences(columns), ())[1]
            self._train(source, options, run_dir=run_dir, resume=resume, init=init, callbacks=callbacks)
            if labels is not None:
                self.classes_ = typed_classes(self._head_classes(), labels, init)
        return self

    def _learned_from(self, X: Any, y: Any, columns: Mapping[str, Any]) -> tuple[Any, Options]:
        roles = roles_of_sequences(columns)
        if is_any_table(X):
            require_no_labels(y)
            source: Any = table_source(X)
        else:
            source, _ = _labelled(X, y, roles, ())
        return source, self._options({**roles, "label_per": "step"})

    def _asked(self, X: Any, columns: SequenceColumns, y: Any = None) -> Asked:
        """Read sequences as the model does; labels of a table only if it has a column for them."""
        roles = roles_of_sequences(columns)
        if not is_any_table(X):
            sequences = _labelled(X, y, roles, self.feature_names_in_)[0]
            return Asked(X, self._with_warnings(sequences))
        require_no_labels(y)
        trained = self.options_.data
        if trained.label:  # the training had a table, too
            own = {"id": trained.id or (), **({"time": trained.time} if trained.time else {})}
            roles = {**own, **roles}
        if "id" not in roles and files_of(X) is None:
            expected = "the column that names the sequence of a row, or [] where all rows are one sequence"
            raise DataError("id", expected, "none; the model does not know it")
        data = self._options({**roles, "label_per": "step"}).data
        data = as_read_by(require_tagger(self._fitted())[0], data)
        source, data = rows_of(table_source(X), data)
        sequences, data = read_sequences(source, data, labelled="label" in roles)
        return Asked(X, self._with_warnings(sequences), source, data)

    def predict_proba(self, X: Any, **columns: Unpack[SequenceColumns]) -> Any:
        """Return the probability of each class at each step.

        Args:
            X: sequences, in one of the forms that `fit` takes.
            **columns: ``id`` and ``time`` of a long table, if they differ from those of the training.

        Returns:
            (n, T, classes) for an array, a list of arrays (T, classes) for a list, in the order of ``classes_``.
            Of a long table a frame of its library with its rows in their order: the columns of id and time, and
            ``p_<class>`` for each class.

        Raises:
            NotFittedError: before `fit`.
            GatewrightError: if the sequences do not fit the model.
        """
        model = self._fitted()
        with python_names():
            asked = self._asked(X, columns)
            probability = predict_proba(model, asked.sequences, self.fill or "")
            if asked.source is None:
                return as_arrays(X, probability)
            names = [f"p_{name}" for name in self._head_classes()]
            return answer_of(asked, names, probability)

    def predict(self, X: Any, **columns: Unpack[SequenceColumns]) -> Any:
        """Return the likeliest class of each step.

        Args:
            X: sequences, in one of the forms that `fit` takes.
            **columns: as for `predict_proba`.

        Returns:
            Labels (n, T) for an array, a list of arrays (T,) for a list; of a long table a frame as for
            `predict_proba`, with the column ``label``.
        """
        model = self._fitted()
        with python_names():
            asked = self._asked(X, columns)
            probability = predict_proba(model, asked.sequences, self.fill or "")
            labels = [self.classes_[each.argmax(axis=1)] for each in probability]
            return as_arrays(X, labels) if asked.source is None else answer_of(asked, ["label"], labels)

    def evaluate(self, X: Any, y: Any = None, **columns: Unpack[SequenceColumns]) -> dict[str, Any]:
        """Score the labelled steps of sequences that the training has not seen.

        Args:
            X: sequences, in one of the forms that `fit` takes.
            y: their labels; None where the column ``label`` of a long table has them.
            **columns: as for `fit`.

        Returns:
            Accuracy, balanced accuracy, F1, ROC AUC, log loss and calibration error of the steps with a label, as
            in the ``evaluation.json`` of a run; ``f1_by_class``; and the ``confusion`` matrix: rows are true
            classes, columns predicted ones.

        Raises:
            NotFittedError: before `fit`.
            GatewrightError: if the sequences do not fit the model, or a label is none of its classes.
        """
        model, classes = self._fitted(), self._head_classes()
        with python_names():
            sequences = self._asked(X, columns, y).sequences
            if sequences.steps is None:
                raise DataError("y", "a label for each step, or the column label of a table", "none")
            for name, count in zip(sequences.steps.names, sequences.steps.counts(), strict=True):
                if count and name not in classes:
                    raise DataError("labels", f"classes of the model, out of {shorten(classes)}", shorten(name))
            truth = np.concatenate(sequences.steps.as_numbers_of(classes))
            labelled = truth != UNLABELLED
            if not labelled.any():
                raise DataError("y", "a step with a label", "none")
            probability = np.concatenate(predict_proba(model, sequences, self.fill or ""))[labelled]
        truth = truth[labelled]
        return {**self._measures(truth, probability), "steps": len(truth)}

    def _sequences(self, X: Any, columns: SequenceColumns, y: Any = None) -> Sequences:
        return self._asked(X, columns, y).sequences


def _labelled(X: Any, y: Any, roles: dict[str, Any], features: Any) -> tuple[Sequences, dict[str, Any]]:
    """Return sequences of arrays with the labels of their steps, and the labels by their text.

    Raises:
        DataError: if they are no sequences, or the labels do not fit them.
    """
    for role in set(roles) - {"category"}:
        raise DataError(role, "a name only for columns of a table", f"a {type(X).__name__}")
    sequences = sequences_of(X, columns=columns_of_model(X, features))
    if y is None:
        return sequences, {}
    steps, labels = step_labels_of(y, sequences.lengths.tolist())
    return replace(sequences, steps=steps), labels
