"""The ``gatewright`` command: parse, call one function, print."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import App, CycloptsError, Group, Parameter
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement

from gatewright.errors import GatewrightError, reason
from gatewright.progress import Waits
from gatewright.serve.settings import LIMITS, Durability, Limits
from gatewright.tasks.options import NOTHING_SAID, DataOptions, ModelOptions, Options, TrainingOptions, read_config

if TYPE_CHECKING:
    from gatewright.inspector.catalog import Catalog
    from gatewright.inspector.live import Live


def _convert(kind: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """Convert a value as cyclopts does, but refuse to round 8.7 to a whole number."""
    for token in tokens if kind in (int, int | None) else ():
        if not re.fullmatch(r"[+-]?\d+", token.value):
            raise ValueError(f"expected a whole number, got {token.value!r}")
    return cyclopts.convert(kind, tokens)


app = App(
    name="gatewright",
    help="The LSTM you can see through, at full speed.",
    version=lambda: importlib.metadata.version("gatewright"),
    default_parameter=Parameter(converter=_convert, negative=(), consume_multiple=True, show_default=False),
    suppress_keyboard_interrupt=False,
)
console = Console()
errors = Console(stderr=True)


#: Packages that `gatewright[serve]` installs.
_OF_SERVE = ("fastapi", "msgpack", "prometheus_client", "pydantic", "redis")
#: Packages that `gatewright[look]` installs, and `gatewright[serve]` too.
_OF_LOOK = ("httptools", "starlette", "uvicorn")


#: Announcement of the slow first step of most commands.
LOADING = "loading torch"


class UsageError(GatewrightError):
    """Arguments that cannot be combined."""


def _flat(title: str, order: int) -> Parameter:
    return Parameter(name="*", group=Group(title, sort_key=order))


@app.command
def train(
    source: Path | None = None,
    /,
    *,
    run: Path | None = None,
    kind: str = "",
    config: Path | None = None,
    resume: bool = False,
    data: Annotated[DataOptions, _flat("Data", 1)] = NOTHING_SAID.data,
    model: Annotated[ModelOptions, _flat("Model", 2)] = NOTHING_SAID.model,
    training: Annotated[TrainingOptions, _flat("Training", 3)] = NOTHING_SAID.training,
    look: bool = False,
    port: int = 0,
    no_browser: bool = False,
) -> None:
    """Train a model on a table of series or a text.

    Example: gatewright train load.csv --target demand --horizon 24 --known wind

    Ctrl-C stops and keeps the best model so far; --run DIR --resume continues with the same bits.

    Args:
        source: A .csv, .tsv or .parquet table (.gz too), or a .txt text. Not with --resume.
        run: Directory to create (default: runs/NAME), or to resume.
        kind: "forecast" or "language", if the file's suffix does not tell.
        config: TOML file with options in the tables [data], [model] and [training]; the command line wins.
        resume: Continue the training of --run.
        data: Columns, parts and windows of the data.
        model: Size of the model.
        training: Optimization.
        look: Show the inspector in a browser during training, with a slider over the validations.
        port: Port of that page; 0 for any free port (default: 0).
        no_browser: Print the page's URL; do not open a browser.
    """
    if resume and (run is None or source is not None):
        got = "no --run" if run is None else f"the source {source}"
        raise UsageError("--resume", "--run DIR, and no source", got)
    if not resume and source is None:
        raise UsageError("source", "a table or a text to learn from, before the options", "nothing")
    options = Options(data, model, training)
    if config:
        options = options.over(read_config(config))
    with Waits(console).during(LOADING):
        from gatewright.train import launch

    with contextlib.ExitStack() as watching:
        callbacks: list[Live] = []
        if look:
            from gatewright.inspector.live import Live

            callbacks = [watching.enter_context(Live(port, browser=not no_browser))]
        if source is None:
            assert run is not None
            launch.resume(run, options, console=console, callbacks=callbacks)
        else:
            launch.train(source, options, run=run, kind=kind, console=console, callbacks=callbacks)
        for callback in callbacks:
            callback.end()


@app.command
def evaluate(run: Path, /, *, windows: int | None = None) -> None:
    """Evaluate a run on its held-out test part, next to baselines on the same windows.

    Example: gatewright evaluate runs/load

    Writes evaluation.json and, for a forecaster, forecast.png into the run directory.

    Args:
        run: Directory of the run.
        windows: Maximum number of windows of the test part to evaluate, evenly spaced (default: all).
    """
    waits = Waits(errors)
    with waits.during(LOADING):
        from gatewright.data.window_checks import listed
        from gatewright.evaluation.report import evaluate_run
        from gatewright.tasks import registry

    made, evaluation = evaluate_run(run, windows, waits)
    for table in registry.kind(made.kind).tables(evaluation):
        # A table keeps its width where the terminal is narrower: a figure cut short would mislead.
        table.width = Measurement.get(console, console.options.update(max_width=1000), table).maximum
        console.print(table, "", crop=False)
    for name, what in (("series_without_windows", "in the test part"), ("series_not_sampled", "drawn")):
        if evaluation.get(name):
            _say(f"no window {what} of {listed(evaluation[name])}")
    wrote = [made.evaluation] + ([made.plot] if made.plot.exists() else [])
    _say(f"wrote {' and '.join(map(str, wrote))}")


@app.command
def forecast(
    run: Path, data: Path, /, *, horizon: int | None = None, fill: str | None = None, out: Path | None = None
) -> None:
    """Forecast the values after the last observed target of each series, with quantiles, as CSV.

    Example: gatewright forecast runs/load load.csv --horizon 12 --out next.csv

    In a table of several series, those with too few rows are left out and named on standard error.

    Args:
        run: Directory of the run.
        data: A table with the columns of the training table. Inputs known in advance must cover the horizon.
        horizon: Number of steps to forecast (default: the horizon of the training).
        fill: Fill missing inputs: "forward" or "mean" (default: as in training).
        out: File to write (default: standard output).
    """
    waits = Waits(errors)
    with waits.during(LOADING):
        from gatewright.evaluation.report import forecast_run
        from gatewright.files.atomic import writing

    text, notes = forecast_run(run, data, horizon, fill, waits)
    for note in notes:
        _complain("note", note)
    if out is None:
        sys.stdout.write(text)
    else:
        with writing(out):
            out.write_text(text, "utf-8")
        _say(f"wrote {out}")


@app.command
def generate(
    run: Path,
    /,
    *,
    prompt: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    length: int = 500,
    temperature: float = 1.0,
    seed: int = 0,
) -> None:
    """Generate text with a language model.

    Example: gatewright generate runs/plays --prompt "ROMEO:" --temperature 0.8

    Args:
        run: Directory of the run.
        prompt: Text to continue.
        length: Number of characters to generate (default: 500).
        temperature: Below 1 favours likely characters; 0 takes the most likely one (default: 1).
        seed: Random seed for sampling (default: 0).
    """
    from gatewright.runs.run import Run
    from gatewright.runtime.sampling import generate as characters
    from gatewright.runtime.stream import Stream

    stream = Stream.load(Run.open(run).require_model())
    drawn = characters(stream, prompt, length, temperature, seed)
    unknown = sorted(set(prompt) - set(stream.symbols))
    if unknown:
        _complain("note", f"the model does not know {', '.join(map(repr, unknown))}: read as the unknown symbol")
    sys.stdout.write(prompt)
    for character in drawn:
        sys.stdout.write(character)
        sys.stdout.flush()
    sys.stdout.write("\n")


@app.command
def look(
    run: Path | None = None,
    data: Path | None = None,
    /,
    *,
    row: int | None = None,
    start: int = 0,
    steps: int | None = None,
    fill: str | None = None,
    plain_rnn: bool = False,
    export: Path | None = None,
    save: Path | None = None,
    port: int = 0,
    no_browser: bool = False,
) -> None:
    """Look inside a model, in a browser: every gate of every step, what the cell remembers, and what if.

    Example: gatewright look runs/load

    Without a run it opens a small example: an LSTM that remembers a flag, next to a plain RNN that guesses.

    Args:
        run: Directory of a run; or a recording, or a model file.
        data: A table or a text to read (default: the test part of the run's data).
        row: Index of the series to show, in a table of several (default: the first 16 series).
        start: First row or character to read (default: 0).
        steps: Maximum number of steps to read (default: 2000).
        fill: Fill missing inputs: "forward" or "mean" (default: as in training).
        plain_rnn: Train a plain RNN on the same batches, unless the run has one, and show it next to the model.
        export: Write a page that opens without a server, and exit.
        save: Write the recording, for gatewright.insight.Recording.load, and exit.
        port: Port to listen on; 0 for any free port (default: 0).
        no_browser: Print the page's URL; do not open a browser.
    """
    for name, path in (("--export", export), ("--save", save)):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise GatewrightError(name, "a file in a directory that exists", str(path))
    waits = Waits(errors)
    with waits.during(LOADING):
        from gatewright.inspector import loader

    selection = loader.Selection(row, start, steps, fill)
    if run is None:
        catalog, title = loader.open_example(selection, plain_rnn)
    else:
        with waits.during(f"reading {data or run}, and running the model over it"):
            catalog, title = loader.open_path(run, data, selection, plain_rnn, _say)
    if export is None and save is None:
        _serve_page(catalog, title, port, no_browser)
        return
    from gatewright.files.atomic import writing

    shown = catalog.shown()
    if save is not None:
        with writing(save):
            catalog.payload(shown).recording.save(save)
        _say(f"wrote {save}")
    if export is not None:
        from gatewright.inspector.html import export as write

        with writing(export):
            size = write(export, catalog, shown)
        _say(f"wrote {export}, {size / 1e6:.1f} MB")


def _serve_page(catalog: Catalog, title: str, port: int, no_browser: bool) -> None:
    from gatewright.inspector.server import PageServer

    catalog.payload(catalog.shown())  # an error is printed here, not shown on the page
    with PageServer(catalog, f"{title} - Gatewright", port) as server, contextlib.suppress(KeyboardInterrupt):
        _say(f"look at {_on_a_line(title)}: {server.url}\nCtrl-C stops")
        if not no_browser:
            server.open_browser()
        server.wait()


@app.command
def quantize(run: Path, data: Path, /) -> None:
    """Compare weights in 32, 16 and 8 bits: the model's own metric, memory and time.

    Example: gatewright quantize runs/load load.csv

    The model file does not change; gatewright.Stream.load(..., weights="bf16") uses fewer bits.

    Args:
        run: Directory of the run.
        data: A table or a text like that of the training.
    """
    from gatewright.evaluation.quantization import lines, quantize_run

    laid_out = lines(quantize_run(run, data))
    laid_out.width = Measurement.get(console, console.options.update(max_width=1000), laid_out).maximum
    console.print(laid_out, "", crop=False)


@app.command
def export(run: Path, /, *, to: str, out: Path | None = None, force: bool = False) -> None:
    """Export a model to a program in another language.

    Example: gatewright export runs/load --to c --out firmware/model

    --to c writes model.h and model.c, for native/c/gatewright.h.

    Args:
        run: Directory of a run, or a model file.
        to: Format: "c".
        out: Directory to write into (default: c, in the run or next to the file).
        force: Replace existing files.
    """
    if to != "c":
        raise UsageError("--to", "c", repr(to))
    from gatewright.exchange.c import FILES, to_c
    from gatewright.files import model_file

    path = run / "model.safetensors" if run.is_dir() else run
    folder = path.parent / "c" if out is None else out
    to_c(model_file.read(path), folder, overwrite=force)
    _say(f"wrote {' and '.join(str(folder / name) for name in FILES)}")


@app.command
def serve(
    run: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    store: str | None = None,
    durability: Durability = "batch",
    max_delay: float = 2.0,
    weights: Literal["float32", "bf16", "int8"] = "float32",
    threads: int = 1,
    token_file: Path | None = None,
    allow_host: Sequence[str] = (),
    allow_origin: Sequence[str] = (),
    log_level: Literal["debug", "info", "warning", "error"] = "info",
    limits: Annotated[Limits, _flat("Limits", 1)] = LIMITS,
) -> None:
    """Serve a model to many clients over HTTP and WebSocket; acknowledged steps are never lost.

    Example: gatewright serve runs/load --port 8765

    GATEWRIGHT_TOKEN or --token-file set the access tokens; without them only clients on this machine are served.
    SIGHUP loads a new model file; SIGTERM answers pending requests and stops.

    Args:
        run: Directory of a run, or a model file.
        host: Address to listen on (default: 127.0.0.1).
        port: Port to listen on; 0 for any free port (default: 8765).
        store: File of the session store, or URL of a Valkey or Redis server for several replicas (default:
            sessions.db in the run).
        durability: What is stored before an answer is sent. "memory": nothing; "batch": a batch of requests,
            in one commit; "step": each request, in its own commit (default: batch).
        max_delay: Milliseconds that a request waits for others to share its batch (default: 2).
        weights: Storage type of the weights: "float32", "bf16" or "int8" (default: float32).
        threads: Number of threads for a batch (default: 1).
        token_file: File with one line "name: token" for each user.
        allow_host: Host names of this server that clients use, in addition to its addresses.
        allow_origin: Origins of web pages that may connect, such as https://example.org.
        log_level: Minimum level to log: "debug", "info", "warning" or "error" (default: info).
        limits: Resource limits.
    """
    from gatewright.serve.server import Settings
    from gatewright.serve.server import serve as run_server

    run_server(
        Settings(
            run=run,
            host=host,
            port=port,
            store=store,
            durability=durability,
            max_delay=max_delay / 1000,
            weights=weights,
            threads=threads,
            token_file=token_file,
            hosts=tuple(allow_host),
            origins=tuple(allow_origin),
            limits=limits,
            log_level=log_level,
        ),
        started=lambda address: _say(f"serving {run} at {address}"),
    )


@app.command
def info() -> None:
    """Show which kernels run on this machine, on how many threads, and why.

    Example: gatewright info
    """
    if importlib.util.find_spec("torch"):
        importlib.import_module("gatewright.nn")  # training asks torch for its threads
    from gatewright import kernels

    _say(f"version   {importlib.metadata.version('gatewright')}\n{kernels.info()}")


def _say(text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _on_a_line(text: str) -> str:
    """Return a text with all control characters escaped: a name or a cell may hold some."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _complain(kind: str, text: str) -> None:
    """Print an error on one line."""
    errors.print(f"[bold red]{kind}:[/] {escape(_on_a_line(text))}", highlight=False, soft_wrap=True)


def _of_the_machine(error: BaseException) -> str:
    """Return the message for an error of the machine, or "" for an error of the program."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{reason(error, writing=None)}"
    missing = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing not in ("", "gatewright"):
        extra = "serve" if missing in _OF_SERVE else "look" if missing in _OF_LOOK else "train"
        return f"this command needs {missing}: pip install 'gatewright[{extra}]'"
    # torch raises a RuntimeError on the CPU, and a subclass of it on a GPU.
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error)):
        return "memory: expected room for a model of this size, got none; a smaller --hidden or --batch needs less"
    return ""


def main(arguments: list[str] | None = None) -> None:
    """Run the command; the exit status is 0, 1 for an error (one line), 2 for usage, 130 for Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")  # a terminal that lacks a character still shows the rest
    # A warning about torch's own operator, which a user can do nothing about.
    warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except (CycloptsError, UsageError) as error:
        _complain("usage", str(error))
        errors.print("[dim]--help after a command shows its options[/]")
        sys.exit(2)
    except GatewrightError as error:
        _complain("error", str(error))
        sys.exit(1)
    except BrokenPipeError:
        # The reader of the pipe has gone; the rest of the output must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ModuleNotFoundError, MemoryError, RuntimeError) as error:
        message = _of_the_machine(error)
        if not message:
            raise
        _complain("error", message)
        sys.exit(1)
    except KeyboardInterrupt:
        _complain("interrupted", "--resume continues a training from its last checkpoint")
        sys.exit(130)
