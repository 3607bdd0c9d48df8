"""Parts of a Parquet file scored by actors of Ray Data, on one or several machines.

The file is divided into spans of whole series before the work begins.  Each span is a row of a dataset of Ray,
which a pool of actors maps; Ray starts an actor again that was killed, and runs its spans again.  A span is a
function of the file and the model alone, and the parts are taken in order, each once: this is checked.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from gatewright import errors
from gatewright.errors import GatewrightError
from gatewright.scoring.file_job import Files, Parts, columns_of
from gatewright.scoring.parquet_rows import Layout, rows_between
from gatewright.scoring.parts import Part, scored_part
from gatewright.scoring.scorer import Scorer
from gatewright.scoring.writers import is_parquet

#: Rows of a span.
SPAN = 262_144

#: The address that starts a cluster on this machine, which ends with the job.
LOCAL = "local"


def parts_by(address: str, rows: int = SPAN) -> Callable[[Scorer, Files, Layout], Parts]:
    """Return what yields the parts of a file, scored by a cluster.

    Args:
        address: of the cluster; "auto" for the one of this machine, "local" to start one for the job.  A cluster
            that this process is connected to is used, whatever the address.
        rows: number of rows of a span, about.

    Raises:
        GatewrightError: if Ray is not installed.
    """
    try:
        import ray.data  # noqa: F401
    except ModuleNotFoundError:
        raise GatewrightError("--ray", "the package ray: pip install 'gatewright[ray]'", "none") from None

    def parts(scorer: Scorer, files: Files, layout: Layout) -> Parts:
        spans = layout.spans(rows)
        with _connected(address):
            yield from _in_order(_rows_of(scorer, files, spans), spans)

    return parts


class _connected:  # noqa: N801  (a context manager)
    """A connection to a cluster for a job; one that was there before stays."""

    def __init__(self, address: str) -> None:
        self._address, self._own = address, False

    def __enter__(self) -> None:
        import ray

        if ray.is_initialized():
            return
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address == LOCAL:
            quiet["include_dashboard"] = False
        try:
            ray.init(address=self._address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            expected = "the address of a Ray cluster, such as ray://host:10001 or auto, or local"
            raise GatewrightError("--ray", expected, f"{self._address}: {error}"[:300]) from None
        self._own = True

    def __exit__(self, *_: object) -> None:
        import ray

        if self._own:
            ray.shutdown()


def _rows_of(scorer: Scorer, files: Files, spans: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Yield what the actors give for each span, in order."""
    import ray

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    items = [{"number": number, "first": first, "end": end} for number, (first, end) in enumerate(spans)]
    actors = max(1, min(len(spans), int(ray.cluster_resources().get("CPU", 1))))
    arguments = (
        scorer,
        str(files.source.absolute()),
        None if files.snapshots is None else str(files.snapshots.absolute()),
    )
    scored = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Worker,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
        fn_constructor_args=(*arguments, not is_parquet(files.out)),
        num_cpus=1,
    )
    yield from scored.iter_rows()


def _in_order(rows: Iterator[dict[str, Any]], spans: list[tuple[int, int]]) -> Parts:
    """Yield parts, and require each span once and in order.

    Raises:
        GatewrightError: of a part that could not be scored.
    """
    expected = 0
    for row in rows:
        if row["error"]:
            name, *words = json.loads(row["error"])
            raise getattr(errors, name, GatewrightError)(*words)
        if row["number"] != expected:
            raise GatewrightError("--ray", f"part {expected} of {len(spans)}", f"part {row['number']}")
        first, end = spans[expected]
        expected += 1
        yield (
            Part(_frame(row["forecasts"]), _frame(row["states"]), row["series"], json.loads(row["notes"])),
            end - first,
        )
    if expected < len(spans):
        raise GatewrightError("--ray", f"{len(spans)} parts", f"{expected}")


class Worker:
    """An actor that scores spans of a file.

    Args:
        scorer: the model.
        source: path of the file, which each machine has to reach.
        snapshots: path of the snapshots; None for none.
        as_text: as of `scored_part`.
    """

    def __init__(self, scorer: Scorer, source: str, snapshots: str | None, as_text: bool) -> None:
        from pathlib import Path

        self._scorer, self._source, self._as_text = scorer, Path(source), as_text
        self._snapshots = None
        if snapshots is not None:
            self._snapshots = scorer.snapshots(snapshots if Path(snapshots).exists() else None)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Score the span of a batch of one row."""
        number, first, end = (int(batch[name][0]) for name in ("number", "first", "end"))
        answer: dict[str, Any] = {"number": number, "forecasts": b"", "states": b"", "series": 0, "notes": "{}"}
        try:
            pieces = rows_between(self._source, first, end, columns_of(self._scorer))
            model = (self._scorer.model, self._scorer.reading)
            part = scored_part(*model, pl.concat(list(pieces)), self._snapshots, as_text=self._as_text)
        except GatewrightError as error:
            words = [type(error).__name__, error.argument, error.expected, error.got]
            answer["error"] = json.dumps(words)
        else:
            answer["forecasts"], answer["states"] = _content(part.forecasts), _content(part.states)
            answer["series"], answer["notes"], answer["error"] = part.series, json.dumps(part.notes), ""
        return {name: [value] for name, value in answer.items()}


def _content(frame: pl.DataFrame | None) -> bytes:
    """Return a frame as an Arrow stream; b"" for none."""
    if frame is None:
        return b""
    file = io.BytesIO()
    frame.write_ipc_stream(file, compression="zstd")
    return file.getvalue()


def _frame(content: bytes) -> pl.DataFrame | None:
    return pl.read_ipc_stream(io.BytesIO(content)) if content else None
