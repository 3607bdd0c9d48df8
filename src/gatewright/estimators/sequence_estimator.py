"""What the classifier and the tagger share: classes as fitted attributes, accuracy as the score, recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gatewright.data.sequence_categories import notes_on_unknown
from gatewright.data.sequences import Sequences
from gatewright.estimators.base import Estimator
from gatewright.estimators.python_names import python_names
from gatewright.estimators.sequence_input import SequenceColumns
from gatewright.nn.model import Model
from gatewright.tasks.classify.metrics import confusion, f1_by_class, measure

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gatewright.insight.recording import Recording
    from gatewright.tasks.inputs import InputBatch


class SequenceEstimator(Estimator):
    """An estimator whose model reads sequences and gives classes, of each sequence or of each step."""

    classes_: NDArray[Any]
    feature_names_in_: NDArray[Any]
    n_features_in_: int
    fill: str | None

    def _adopt(self, model: Model) -> None:
        super()._adopt(model)
        assert model.spec.labeller is not None
        encoder, head = model.spec.labeller
        self.classes_ = np.array(head.classes)
        self.feature_names_in_ = np.array(encoder.columns, dtype=object)
        self.n_features_in_ = len(encoder.columns)

    def _head_classes(self) -> tuple[str, ...]:
        """Return the classes as the model has them: as text, whatever the labels of the training were."""
        labeller = self._fitted().spec.labeller
        assert labeller is not None
        return labeller[1].classes

    def _sequences(self, X: Any, columns: SequenceColumns, y: Any = None) -> Sequences:
        """Read sequences as the model does; labels of a table only if it has a column for them."""
        raise NotImplementedError

    def _with_warnings(self, sequences: Sequences) -> Sequences:
        """Return sequences; warn of values of categories that the model does not know."""
        labeller = self._fitted().spec.labeller
        assert labeller is not None
        encoder = labeller[0]
        for note in notes_on_unknown(sequences.select(encoder.columns), encoder.categories):
            self._warn(note)
        return sequences

    def _measures(self, truth: NDArray[np.int64], probability: NDArray[Any]) -> dict[str, Any]:
        """Return the measures of predictions: numbers of the true classes (n,), probabilities (n, classes)."""
        classes, guess = self._head_classes(), probability.argmax(axis=1)
        matrix = confusion(truth, guess, len(classes))
        more = {"f1_by_class": f1_by_class(matrix), "classes": list(classes), "confusion": matrix.tolist()}
        return {**measure(truth, guess, probability, len(classes)), **more}

    def evaluate(self, X: Any, y: Any = None, **columns: Unpack[SequenceColumns]) -> dict[str, Any]:
        """Score labelled sequences that the training has not seen."""
        raise NotImplementedError

    def score(self, X: Any, y: Any = None, **columns: Unpack[SequenceColumns]) -> float:
        """Return the accuracy; arguments as for `evaluate`."""
        return float(self.evaluate(X, y, **columns)["accuracy"])

    def look(self, X: Any, *, start: int = 0, steps: int | None = None, title: str = "") -> Recording:
        """Run the model over sequences and return a recording of every gate and state: `gatewright.look`.

        Args:
            X: sequences, in one of the forms that `fit` takes.
            start: first step that is read of each sequence.
            steps: maximum number of steps; all if None.
            title: title of the recording.
        """
        from gatewright.insight.recorder import record

        return record(*self.look_inputs(X, start=start, steps=steps, title=title))

    def look_inputs(
        self, X: Any, *, start: int = 0, steps: int | None = None, title: str = ""
    ) -> tuple[Model, InputBatch]:
        """Return the model, and its inputs from sequences; arguments as for `look`."""
        from gatewright.insight.inputs import gather

        model = self._fitted()
        with python_names():
            sequences = self._sequences(X, {})
            return model, gather(model, sequences, start=start, steps=steps, title=title, fill=self.fill or "")
