"""A run: the directory that holds all of one training."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewright.data.text_sources import TextFiles
from gatewright.errors import DataError, MissingColumnError, RunError, path_of, reason, shorten, unusable
from gatewright.files import atomic, lock, model_file, regular_file
from gatewright.files.model_path import no_run
from gatewright.progress import SILENT, Waits
from gatewright.tasks import registry
from gatewright.tasks.config_file import read_config, read_tables
from gatewright.tasks.options import FREE, DataOptions, Options

if TYPE_CHECKING:
    from gatewright.data.table import TrainingSource
    from gatewright.nn.model import Model
    from gatewright.spec import ModelSpec


class Run:
    """The directory of a run: its files, its data, its best model.

    Args:
        path: the directory.
        source: the value that the run learned from, where that was no file.

    Attributes:
        path: the directory.
        temporary: whether it is deleted after the training, so that no line names it.
    """

    temporary = False

    def __init__(self, path: Path, source: TrainingSource | None = None) -> None:
        self.path, self._value = path, source
        self.lock = path / ".lock"
        self.config = path / "config.toml"
        self.source_note = path / "source.json"
        self.model = path / "model.safetensors"
        self.best = path / "best.safetensors"
        self.initial = path / "initial.safetensors"
        self.checkpoint = path / "checkpoint.safetensors"
        self.metrics = path / "metrics.jsonl"
        self.tensorboard = path / "tensorboard"
        self.evaluation = path / "evaluation.json"
        self.snapshots = path / "snapshots"
        self.recipes = path / "recipes.json"
        self.plain_rnn = path / "plain_rnn.safetensors"
        self._spec: ModelSpec | None = None
        self._data: dict[str | None, Any] = {}

    def refit(self, steps: int, total: int) -> Path:
        """Return the path of the checkpoint of a refit.

        Args:
            steps: number of steps that it takes.
            total: steps of the schedule of the learning rate.
        """
        return self.path / f"refit-{steps}-of-{total}.safetensors"

    @staticmethod
    def free_path(source: Path) -> Path:
        """Return a name below ``runs/`` that is not taken, after the file that a run learns from."""
        stem = source.name.split(".")[0] or "run"
        names = (stem if n == 1 else f"{stem}-{n}" for n in range(1, 1_000_000))
        return next(Path("runs", name) for name in names if not Path("runs", name).exists())

    @staticmethod
    def create(
        path: Path, source: TrainingSource, kind: str, options: Options, initial: Model | None = None
    ) -> Run:
        """Create the directory and write the options and the source of the run.

        Args:
            path: where.
            source: the file or the value that the run learns from.
            kind: name of the kind of its model.
            options: the resolved options.
            initial: the model that the training starts from, if its weights are not random.

        Raises:
            RunError: if the directory holds a run already, or cannot be made.
        """
        import tomli_w  # the command line shows its help without it

        run = Run(path, None if isinstance(source, (Path, TextFiles)) else source)
        note = {"kind": kind, "source": _named(source), "sha256": digest(source)}
        run.require_new()
        try:
            path.mkdir(parents=True, exist_ok=True)
            if initial is not None:
                initial.save(run.initial)
            atomic.write_bytes(run.source_note, json.dumps(note, indent=2).encode())
            atomic.write_bytes(run.config, tomli_w.dumps(options.plain()).encode())
        except OSError as error:
            got = f"{path}: {reason(error, writing=True)}"
            raise RunError("--run", "a directory that can be written", got) from None
        return run

    def require_new(self) -> None:
        """Check that the directory holds no run.

        Raises:
            RunError: if it does.
        """
        if _is_file(self.config):
            raise RunError("--run", "a new directory, or --resume to go on", f"{self.path}, which holds a run")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only process that trains in the directory, which is made if it is not there.

        Raises:
            RunError: if another process does, or the directory cannot be written.
        """
        with ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock.held(self.lock))
            except lock.LockedError as error:
                who = f"process {error.holder}" if error.holder else "another one"
                got = f"{self.path}, in which {who} trains"
                raise RunError("--run", "a directory in which no other process trains", got) from None
            except OSError as error:
                got = f"{self.path}: {reason(error, writing=True)}"
                raise RunError("--run", "a directory that can be written", got) from None
            yield

    @staticmethod
    def open(path: Path | str, source: Any = None) -> Run:
        """Return the run in a directory.

        Args:
            path: the directory.
            source: the value that the run learned from, where that was no file: its data is needed to resume,
                evaluate and look.

        Raises:
            RunError: if the run has no model.
            GatewrightError: if the value cannot be read.
        """
        run = Run(path_of(path, "run", "the directory of a run"))
        if not _is_file(run.config) or not _is_file(run.source_note):
            raise RunError("run", "the directory of a run", no_run(run.path))
        if source is not None:
            run._value = registry.kind_of_value(source, run.kind)[1]
        return run

    def options(self) -> Options:
        """Return the options of the run.

        Raises:
            GatewrightError: if its config.toml is damaged.
        """
        kind = registry.kind(self.kind)
        return kind.resolve(kind.of_earlier(read_config(self.config)))

    def told(self) -> str:
        """Return a digest of the options that may not differ when the run goes on.

        Raises:
            GatewrightError: if its config.toml is damaged.
        """
        read_config(self.config)  # which refuses what the tables may not have
        tables = read_tables(self.config)  # as they stand: an option that got another type keeps its digest
        fixed_options = {
            table: {name: value for name, value in values.items() if name not in FREE}
            for table, values in tables.items()
        }
        return hashlib.sha256(json.dumps(fixed_options, sort_keys=True, default=str).encode()).hexdigest()

    def _source(self, key: str) -> str:
        title = self._noted(key)
        if isinstance(title, str):
            return title
        raise RunError(str(self.source_note), f"JSON with a text {key!r}", shorten(title))

    def _noted(self, key: str) -> Any:
        try:
            return json.loads(self.source_note.read_text("utf-8"))[key]
        except OSError as error:
            raise unusable(RunError, self.source_note, error) from None
        except KeyError:
            got = "JSON without it"
        except (ValueError, TypeError, RecursionError):
            got = "a damaged or foreign file"
        raise RunError(str(self.source_note), f"JSON with a text {key!r}", got)

    @property
    def kind(self) -> str:
        """Name of the kind of the model."""
        kind = self._source("kind")
        if kind not in registry.KINDS:
            raise RunError(str(self.source_note), f"a kind out of {', '.join(registry.KINDS)}", shorten(kind))
        return kind

    @property
    def plot(self) -> Path:
        """The plot of the evaluation."""
        return self.path / registry.kind(self.kind).plot

    def unchanged_source(self) -> TrainingSource:
        """Return the file or the value that the run learned from.

        Raises:
            RunError: if it is gone or has changed.
        """
        if self._value is not None:
            if digest(self._value) != self._source("sha256"):
                raise RunError("source", "the data that the run learned from", "data with another content")
            return self._value
        source = self._files()
        if source is None:
            expected = "the data in memory that the run learned from, as in Run.open(path, source)"
            raise RunError("source", expected, "none")
        paths = (source,) if isinstance(source, Path) else source.paths
        what = (
            "the file that the run learned from" if isinstance(source, Path) else "the files that it learned from"
        )
        for path in paths:
            if not (_is_file(path) or (isinstance(source, TextFiles) and path.is_dir())):
                raise RunError("source", what, f"{path}"[:300] + ", which does not exist")
        if digest(source) != self._source("sha256"):
            names = ", ".join(map(str, paths))[:300]
            raise RunError("source", what, f"{names}, which has changed since")
        return source

    def _files(self) -> Path | TextFiles | None:
        """Return the file or the files that the run learned from; None for a value in memory.

        Raises:
            RunError: if the note of the source is damaged.
        """
        names = self._noted("source")
        if isinstance(names, list) and names and all(isinstance(name, str) and name for name in names):
            return registry.kind(self.kind).files(tuple(map(Path, names)))
        name = self._source("source")
        return Path(name) if name else None

    def require_model(self) -> Path:
        """Return the path of the best model.

        Raises:
            RunError: if the run has none yet.
        """
        if not _is_file(self.model):
            raise RunError("run", "a run with a trained model", f"{self.path}, which has none yet")
        return self.model

    def best_model(self) -> Model:
        """Return the best model.

        Raises:
            GatewrightError: if the run has no model, its file is damaged, or it is of another kind than the run.
        """
        from gatewright.nn.model import load

        model = load(self.require_model())
        if not registry.kind(self.kind).fits(model.spec):
            expected = f"a {self.kind} model, as {self.source_note.name} says"
            raise RunError(str(self.model), expected, f"a {registry.kind_of(model.spec).name} model")
        self._spec = model.spec
        return model

    def initial_model(self) -> Model | None:
        """Return the trained model that the run started from; None if it started from random weights.

        Raises:
            GatewrightError: if its file is damaged.
        """
        from gatewright.nn.model import load

        return load(self.initial) if self.initial.exists() else None

    def data(self, fill: str | None = None, waits: Waits = SILENT) -> Any:
        """Return what the run learned from as its model reads it: checked, split, with the run's own options.

        It is read once.

        Args:
            fill: how missing inputs are filled; as in training if None.
            waits: reports progress.

        Returns:
            The dataset of the run's kind.

        Raises:
            GatewrightError: if the source is gone, has changed or cannot be read, or a file of the run is damaged.
        """
        with waits.during("comparing the source with what the run learned from"):
            source = self.unchanged_source()
        if fill not in self._data:
            options = self.options().data
            written = [path for path in (self.model, self.initial) if path.exists()]
            if self._spec is None and written:
                self._spec = model_file.read(written[0]).spec
            with waits.during(f"reading {source.name if isinstance(source, Path) else 'the data'}"):
                read = registry.kind(self.kind).read
                self._data[fill] = read(
                    source, options if fill is None else replace(options, fill=fill), self._spec
                )
        return self._data[fill]

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Raise errors of data that the model is to read in words that help without the options of the training.

        Raises:
            MissingColumnError: says what the run learned from.
            DataError: says of an option of the training that it has to be set there.
        """
        try:
            yield
        except MissingColumnError as error:
            got = f"{error.got}, or take another run: {self.path} learned from {self._source_names()}"
            raise MissingColumnError(error.argument, error.expected, got) from None
        except DataError as error:
            raise _of_training(error) from None

    def _source_names(self) -> str:
        files = self._files()
        paths = (files,) if isinstance(files, Path) else () if files is None else files.paths
        return ", ".join(path.name for path in paths)[:300] or "data in memory"

    def log(self, line: Mapping[str, Any]) -> None:
        """Add a line to the metrics."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def validations(self) -> list[tuple[int, float]]:
        """Return step and score of every validation that the metrics tell of, in order."""
        try:
            lines = [json.loads(line) for line in self.metrics.read_text("utf-8").splitlines()]
            return [(int(line["step"]), float(line["valid"])) for line in lines if "valid" in line]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unusable(RunError, self.metrics, error) from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise RunError(str(self.metrics), "lines of metrics", "a damaged line") from None

    def forget_after(self, step: int) -> None:
        """Drop metrics of steps after a checkpoint, which will be taken again."""
        if not self.metrics.exists():
            return
        lines = []
        for line in _lines(self.metrics):
            try:
                if line.endswith(b"\n") and json.loads(line)["step"] <= step:
                    lines.append(line)
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # half a line of a killed process
        atomic.write_bytes(self.metrics, b"".join(lines))


def digest(source: TrainingSource) -> str:
    """Return the SHA-256 of the content of a file or a value.

    Raises:
        RunError: if a file cannot be read.
    """
    if not isinstance(source, (str, Path)):
        from gatewright.data.table import digest_of  # only here: it loads polars

        return digest_of(source)
    path, sha256 = Path(source), hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                sha256.update(block)
    except OSError as error:
        raise unusable(RunError, path, error) from None
    return sha256.hexdigest()


def _named(source: TrainingSource) -> str | list[str]:
    """Return what the note of a source calls it: a path, several, or nothing for a value in memory."""
    if isinstance(source, TextFiles):
        return [str(path.resolve()) for path in source.paths]
    return str(source.resolve()) if isinstance(source, Path) else ""


#: An option of the data that only a training has.
_FLAG = re.compile(
    "--("
    + "|".join(each.name.replace("_", "-") for each in fields(DataOptions) if each.name != "fill")
    + r")(?![\w-])"
)


def _of_training(error: DataError) -> DataError:
    """Return an error that says of the options that it names that they are those of the training."""
    flags = [match[0] for part in (error.argument, error.expected, error.got) for match in _FLAG.finditer(part)]
    if not flags:
        return error
    got = f"{error.got} ({flags[0]} is an option of the training; here, write the data as the training had it)"
    sentence = f"{error.sentence} ({flags[0]} is an option of the training)" if error.sentence else ""
    return type(error)(error.argument, error.expected, got, sentence=sentence)


def _lines(path: Path) -> list[bytes]:
    try:
        with regular_file.open_file(path) as file:
            return file.readlines()
    except OSError as error:
        raise unusable(RunError, path, error) from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no permission to look, or a name too long
        return False
