"""Remarks on the series of a large table, gathered from its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gatewright.data.window_checks import listed

#: Maximum number of different remarks that are shown.
MOST_NOTES = 20


class Notes:
    """Remarks, each with the names of the series that it is about, or with none."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, notes: Mapping[str, Iterable[str]]) -> None:
        """Take remarks of another part."""
        for note, names in notes.items():
            self._names.setdefault(note, []).extend(names)

    def by_note(self) -> dict[str, list[str]]:
        """Return each remark with its names."""
        return self._names

    def lines(self) -> list[str]:
        """Return the remarks for a person.

        >>> notes = Notes()
        >>> notes.add({"left out": ["a"], "reversed": []}), notes.add({"left out": ["b"]})
        (None, None)
        >>> notes.lines()
        ['left out: a, b', 'reversed']
        """
        lines = [f"{note}: {listed(names)}" if names else note for note, names in self._names.items()]
        more = len(lines) - MOST_NOTES
        return lines if more <= 0 else [*lines[:MOST_NOTES], f"and {more} more notes like these"]
