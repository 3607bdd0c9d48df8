"""Rows that come in pieces, gathered into frames of whole series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from gatewright.data.frame import ids_in, starts_of
from gatewright.data.roles import missing_column
from gatewright.errors import DataError, shorten

#: What helps where the rows of a series do not stand together.
REMEDY = "sort the table by series and time, as with polars.scan_parquet(...).sort(...).sink_parquet(...)"


class Seen:
    """The series that have come: 8 bytes of each, and those of a set."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids, self._hashes = list(ids), set[int]()
        self._last: tuple[object, ...] | None = None

    def add(self, cells: pl.DataFrame) -> tuple[object, ...] | None:
        """Take the next rows; return the ids of a series that comes again, None if none does."""
        own = ids_in(cells, self._ids)
        starts = starts_of(own)
        if not self._ids or not len(starts):
            return None
        first = own[starts]
        keys = first.hash_rows().to_list()
        going_on = self._last is not None and first.row(0) == self._last
        self._last = first.row(-1)
        for place, key in enumerate(keys[1:] if going_on else keys, start=going_on):
            if key in self._hashes:
                return first.row(place)
            self._hashes.add(key)
        return None


def whole_series(
    frames: Iterable[pl.DataFrame], ids: Sequence[str], rows: int, *, together: bool = False
) -> Iterator[pl.DataFrame]:
    """Yield frames of whole series, each of about as many rows; the rows of a series stand together.

    Args:
        frames: the rows, in pieces of any size.
        ids: columns that name the series; without any, all rows are of one series.
        rows: number of rows of a frame, or more where a series has more.
        together: whether the rows of each series are known to stand together.

    Raises:
        DataError: if the rows of a series do not stand together, or a column is not there.

    >>> pieces = [pl.DataFrame({"site": ["a", "a"]}), pl.DataFrame({"site": ["a", "b"]})]
    >>> [len(each) for each in whole_series(pieces, ["site"], rows=1)]
    [3, 1]
    """
    seen, held, count = Seen(ids), [], 0
    for frame in frames:
        if not len(frame):
            continue
        for name in ids:
            if name not in frame.columns:
                raise missing_column("id", name, frame.columns, fixed=True)
        if not together and (again := seen.add(frame)) is not None:
            name = " / ".join(map(str, again))
            raise DataError(f"series {shorten(name)}", "all of its rows together", f"rows after others; {REMEDY}")
        held.append(frame)
        count += len(frame)
        if count < rows or not ids:
            continue
        gathered = pl.concat(held)
        last = int(starts_of(ids_in(gathered, ids))[-1])
        if last:
            yield gathered[:last]
        held = [gathered[last:]]
        count = len(held[0])
    if held:
        yield pl.concat(held)
