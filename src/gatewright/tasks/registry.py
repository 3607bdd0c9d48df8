"""Every kind of model.  Importing it loads no torch and no polars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewright.data.source_files import has_shards, other_format
from gatewright.data.text_sources import has_texts
from gatewright.errors import GatewrightError, shorten
from gatewright.spec import ModelSpec
from gatewright.tasks.base import Kind
from gatewright.tasks.classify.kind import Classify
from gatewright.tasks.forecast.kind import Forecast
from gatewright.tasks.language.kind import Language
from gatewright.tasks.options import DataOptions
from gatewright.tasks.tag.kind import Tag

if TYPE_CHECKING:
    from gatewright.data.table import TrainingSource

#: The kinds by name.  A new one is a folder next to theirs and an entry here.
KINDS: dict[str, Kind[Any]] = {kind.name: kind for kind in (Forecast(), Language(), Classify(), Tag())}


def kind(name: str) -> Kind[Any]:
    """Return the kind of a name.

    Raises:
        GatewrightError: if no kind has this name.

    >>> kind("language").unit
    'nats/char'
    """
    if name not in KINDS:
        raise GatewrightError("--kind", f"one of {', '.join(KINDS)}", shorten(name))
    return KINDS[name]


def kind_of(spec: ModelSpec) -> Kind[Any]:
    """Return the first kind that a model of this specification can be of.

    >>> from gatewright.spec import StackSpec, SymbolEncoder, SymbolHead
    >>> kind_of(ModelSpec(SymbolEncoder(symbols=3, embedding_size=4), StackSpec(8), SymbolHead())).name
    'language'
    """
    for each in KINDS.values():
        if each.fits(spec):
            return each
    raise GatewrightError(
        "model", f"a model of a kind out of {', '.join(KINDS)}", f"encoder {spec.encoder.kind!r}"
    )


def suffixes() -> dict[str, str]:
    """Return the endings of names of files, each with the name of the kind that learns from it."""
    return {suffix: each.name for each in KINDS.values() for suffix in each.suffixes}


def suffix_of(source: Path) -> str:
    """Return the ending of a file's name, in lower case and without ``.gz``."""
    return Path(source.name.lower().removesuffix(".gz")).suffix


def kind_named_by(options: DataOptions) -> str:
    """Return the name of the kind that an option of the data asks for; "" if none does.

    >>> kind_named_by(DataOptions(label="move")), kind_named_by(DataOptions(label="move", label_per="step"))
    ('classify', 'tag')
    """
    for each in KINDS.values():
        if each.named_by(options):
            return each.name
    return ""


def kind_of_value(value: Any, name: str = "") -> tuple[Kind[Any], TrainingSource]:
    """Return the kind that learns from a value in memory, and the value as a source that can be read repeatedly.

    Args:
        value: a data frame of polars or pandas, an Arrow table, a `gatewright.data.sources.Text` or `Texts`, or
            `gatewright.data.sequences.Sequences`.
        name: of the kind, where several learn from such a value; the first one of these if empty.

    Raises:
        GatewrightError: if no kind learns from it, or it cannot be read.
    """
    for each in [kind(name)] if name else KINDS.values():
        source = each.source_of(value)
        if source is not None:
            return each, source
    expected = (
        "the path of a file, a polars or pandas DataFrame, an Arrow table, gatewright.data.sources.Text, "
        "or gatewright.data.sequences.Sequences"
    )
    raise GatewrightError("source", expected, f"an object of type {type(value).__name__}")


def kind_of_files(paths: Sequence[Path], name: str = "") -> Kind[Any]:
    """Return the kind that learns from several files, and from directories.

    Args:
        paths: the files and directories; of files only the names are looked at, and of what is in directories.
        name: of the kind, where their endings do not say.

    Raises:
        GatewrightError: if there is none.

    >>> kind_of_files([Path("a.txt"), Path("b.txt.gz")]).name
    'language'
    """
    files = [path for path in paths if not path.is_dir()]
    learned = [kind(name)] if name else [kind_of_source(path) for path in files]
    for each in learned:
        if not each.several:
            several = ", ".join(other.name for other in KINDS.values() if other.several)
            got = f"{len(paths)} files or directories" if len(paths) > 1 else f"the directory {paths[0]}"
            raise GatewrightError(
                "source", f"one file for a {each.name} model; several are for --kind {several}", got
            )
    if len({each.name for each in learned}) > 1:
        got = f"{paths[0].name} and others; --kind names the one that learns from all of them"
        raise GatewrightError("source", "files for one kind of model", got)
    if learned:
        return learned[0]
    tables = all(has_shards(path) and not has_texts(path) for path in paths)
    return kind("forecast" if tables else "language")


def kind_of_source(source: Path, name: str = "") -> Kind[Any]:
    """Return the kind that learns from a file.

    Args:
        source: the file; only its name is looked at.
        name: of the kind, where the ending does not say.

    Raises:
        GatewrightError: if no kind learns from such a file, or none has this name.

    >>> kind_of_source(Path("load.csv.gz")).name, kind_of_source(Path("plays.txt")).name
    ('forecast', 'language')
    """
    if name:
        return kind(name)
    by_suffix = suffixes()
    if suffix_of(source) not in by_suffix:
        expected = f"a file whose name ends in {', '.join(by_suffix)}, or the option --kind"
        raise GatewrightError(str(source), expected, other_format(source))
    return KINDS[by_suffix[suffix_of(source)]]
