"""From what a user names to the kind of model that learns from it.  Importing it loads no torch and no polars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewright.data.source_files import has_shards, is_run, require_file
from gatewright.data.text_sources import has_texts
from gatewright.tasks import registry
from gatewright.tasks.base import Kind
from gatewright.tasks.options import Options

if TYPE_CHECKING:
    from gatewright.data.table import TrainingSource


def learned_from(source: Any, kind: str, options: Options) -> tuple[Kind[Any], TrainingSource]:
    """Return the kind that learns from a source, and the source as a path or as a value to read repeatedly.

    Args:
        source: the path of a file, or a value in memory.
        kind: name of the kind; empty where the source or an option says it.
        options: what is not left to the defaults.

    Raises:
        GatewrightError: if no kind learns from it, or the file does not exist.
    """
    kind = kind or registry.kind_named_by(options.data)
    if isinstance(source, (list, tuple)) and len(source) and all(isinstance(each, Path) for each in source):
        paths = tuple(source)
        if len(paths) > 1 or paths[0].is_dir():
            learned = registry.kind_of_files(paths, kind)
            return learned, learned.files(paths)
        source = paths[0]
    if not isinstance(source, (str, Path)):
        return registry.kind_of_value(source, kind)
    path = Path(source)
    if path.is_dir() and not is_run(path) and (kind or has_texts(path) or has_shards(path)):
        learned = registry.kind_of_files((path,), kind)
        return learned, learned.files((path,))
    require_file(path)
    return registry.kind_of_source(path, kind), path
