"""Labels: their text and their order, and a label for each step of sequences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.data.array_numbers import without_torch
from gatewright.errors import DataError, shorten

#: Number of a step without a label.
UNLABELLED = -1

#: Types of the values of pandas that stand for nothing.
_NOTHING_OF_PANDAS = ("NAType", "NaTType")


def label_text(label: Any) -> str:
    """Return a label as text; "" for a missing one.

    >>> label_text(2.0), label_text(float("nan")), label_text(" walk ")
    ('2', '', 'walk')
    """
    if label is None or type(label).__name__ in _NOTHING_OF_PANDAS:
        return ""
    if isinstance(label, (float, np.floating)) and not np.isfinite(label):
        return ""
    if isinstance(label, (float, np.floating)) and float(label).is_integer():
        return str(int(label))
    return str(label).strip()


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the different labels in order: by number if all are numbers, else by text.

    >>> in_order(("10", "2", "10"))
    ('2', '10')
    """
    names = sorted(set(labels))
    try:
        names.sort(key=float)
    except ValueError:
        names.sort()
    return tuple(names)


@dataclass(frozen=True, eq=False)
class StepLabels:
    """A label for each step of sequences.

    Attributes:
        names: the different labels, as `in_order` returns them.
        numbers: for each sequence the number of each step's label in ``names`` (T,); `UNLABELLED` without one.
    """

    names: tuple[str, ...]
    numbers: tuple[NDArray[np.int64], ...]

    @classmethod
    def of_codes(cls, texts: Sequence[str], codes: Sequence[NDArray[np.int64]]) -> StepLabels:
        """Return step labels from codes, each the place of a text in ``texts``; the text "" stands for none."""
        names = in_order(text for text in texts if text)
        place = {name: number for number, name in enumerate(names)}
        table = np.array([place.get(text, UNLABELLED) for text in texts] or [UNLABELLED], np.int64)
        return cls(names, tuple(table[each] for each in codes))

    def take(self, chosen: Iterable[int]) -> StepLabels:
        """Return those of some sequences."""
        return StepLabels(self.names, tuple(self.numbers[number] for number in chosen))

    def joined(self, other: StepLabels) -> StepLabels:
        """Return these and those of other sequences of the same source, which has the same names."""
        return StepLabels(self.names, (*self.numbers, *other.numbers))

    def as_numbers_of(self, classes: Sequence[str]) -> tuple[NDArray[np.int64], ...]:
        """Return the number of each step's label among classes, which have all of ``names`` that occur.

        Raises:
            ValueError: if a label that occurs is none of the classes.
        """
        counts = self.counts()
        table = [classes.index(name) if counts[n] else UNLABELLED for n, name in enumerate(self.names)]
        places = np.array([*table, UNLABELLED], np.int64)  # -1 is the last place
        return tuple(places[each] for each in self.numbers)

    def counts(self) -> NDArray[np.int64]:
        """Return the number of steps with each label."""
        every = np.concatenate([*self.numbers, np.empty(0, np.int64)])
        return np.bincount(every[every >= 0], minlength=len(self.names))

    def parts(self) -> Iterator[bytes]:
        """Yield the content as bytes, for a digest."""
        yield repr(self.names).encode("utf-8", "surrogatepass")
        for numbers in self.numbers:
            yield numbers.astype("<i8").tobytes()


def step_labels_of(y: Any, lengths: Sequence[int]) -> tuple[StepLabels, dict[str, Any]]:
    """Return labels of steps from arrays, and the labels themselves by their text.

    Args:
        y: for each sequence its labels (T,): a list of arrays or lists, or an array (n, T).  None, NaN and empty
            text stand for a step without a label.
        lengths: number of steps of each sequence.

    Raises:
        DataError: if they do not fit the sequences, or two labels differ, but not as text.

    >>> labels, _ = step_labels_of([["rest", "walk", None]], [3])
    >>> labels.names, labels.numbers[0].tolist()
    (('rest', 'walk'), [0, 1, -1])
    """
    expected = f"labels of each step for {len(lengths)} sequences: a list of arrays (T,), or an array (n, T)"
    if isinstance(y, (str, bytes, dict)) or not hasattr(y, "__iter__") or getattr(y, "ndim", 1) == 0:
        raise DataError("y", expected, f"a {type(y).__name__}")
    y = without_torch(y)
    rows = list(y.to_numpy() if getattr(y, "ndim", 1) == 2 and hasattr(y, "to_numpy") else y)
    if len(rows) != len(lengths):
        raise DataError("y", expected, f"{len(rows)} of them")
    texts: dict[str, int] = {}
    values: dict[str, Any] = {}
    codes = []
    for number, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        labels = _listed(row, number)
        if len(labels) != length:
            raise DataError(f"y[{number}]", f"{length} labels, as X[{number}] has steps", str(len(labels)))
        own = np.empty(length, np.int64)
        seen: dict[Any, int] = {}  # texts of labels, worked out once for each
        for t, label in enumerate(labels):
            key = (type(label), label)
            if key not in seen:
                text = label_text(label)
                if text and values.setdefault(text, label) != label:
                    got = f"{values[text]!r} and {label!r}"
                    raise DataError("y", "labels that differ as text", got)
                seen[key] = texts.setdefault(text, len(texts))
            own[t] = seen[key]
        codes.append(own)
    return StepLabels.of_codes(tuple(texts), codes), values


def _listed(row: Any, number: int) -> list[Any]:
    """Return the labels of a sequence as a list.

    Raises:
        DataError: if they are none.
    """
    row = without_torch(row)
    labels = row.tolist() if hasattr(row, "tolist") else row
    labels = labels.to_list() if hasattr(labels, "to_list") else labels
    if isinstance(labels, (str, bytes, dict, set)) or not hasattr(labels, "__iter__"):
        raise DataError(f"y[{number}]", "a label for each step (T,)", shorten(labels))
    labels = list(labels)
    for label in labels[:1]:
        if isinstance(label, (list, tuple, dict, np.ndarray)):
            raise DataError(f"y[{number}]", "a label for each step (T,)", f"a {type(label).__name__} in it")
    return labels
