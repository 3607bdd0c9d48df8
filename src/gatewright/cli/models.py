"""The commands on a trained model without torch: generate, export; and info."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gatewright.cli.app import UsageError, app, complain, on_a_line, say


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
        length: Number of characters, bytes or tokens to generate (default: 500).
        temperature: Below 1 favours likely characters; 0 takes the most likely one (default: 1).
        seed: Random seed for sampling (default: 0).
    """
    from gatewright.runs.run import Run
    from gatewright.runtime.sampling import generate as characters
    from gatewright.runtime.stream import Stream

    stream = Stream.load(Run.open(run).require_model())
    drawn = characters(stream, prompt, length, temperature, seed)
    assert stream.tokenizer is not None  # or no text could be drawn
    unknown = sorted(set(prompt) - set(stream.symbols)) if stream.tokenizer.unit == "char" else []
    if unknown:
        complain("note", f"the model does not know {', '.join(map(repr, unknown))}: read as the unknown symbol")
    sys.stdout.write(prompt)
    for character in drawn:
        sys.stdout.write(character)
        sys.stdout.flush()
    sys.stdout.write("\n")


@app.command
def export(
    run: Path, /, *, to: str, out: Path | None = None, weights: str = "float32", force: bool = False
) -> None:
    """Export a model to another program or language.

    Example: gatewright export runs/load --to c --out firmware/model

    --to c writes model.h and model.c, for native/c/gatewright.h; --to c99 writes them with the code of this one
    model, for microcontrollers: no library, no allocation; --to c99-int8 does so with weights in int8. --to onnx
    writes model.onnx, the whole model with its states as inputs and outputs, once ONNX Runtime has given what the
    model does. --to wasm writes model.wasm, model.js and a page that runs the model in a browser; it needs clang
    and lld. --to rtneural writes model.json for RTNeural, of taggers, and of forecasters that read no past targets
    (--reads nothing).

    Args:
        run: Directory of a run, or a model file.
        to: Format: "c", "c99", "c99-int8", "onnx", "rtneural" or "wasm".
        out: Directory to write into (default: the format's name, in the run or next to the file).
        weights: How --to onnx keeps the weights of the gates: "float32", "bf16-float32" in a half of the space, or
            "int8-float32" in a quarter (default: float32).
        force: Replace existing files.
    """
    from gatewright.exchange.formats import FORMATS

    if to not in FORMATS:
        raise UsageError("--to", " or ".join(FORMATS), repr(to))
    if weights != "float32" and to != "onnx":
        raise UsageError("--weights", f"float32 with --to {to}", repr(weights))
    from gatewright.files import model_file
    from gatewright.files.model_path import require_model_file

    path = require_model_file(run)
    folder = path.parent / to if out is None else out
    options = {"weights": weights} if to == "onnx" else {}
    written = FORMATS[to].writer()(model_file.read(path), folder, overwrite=force, **options)
    say(f"wrote {' and '.join(map(str, written))}")
    if note := getattr(written, "note", ""):
        say(note)


@app.command
def info(run: Path | None = None, /) -> None:
    """Show what a model is; without one, which kernels run on this machine, on how many threads, and why.

    Example: gatewright info runs/load

    Args:
        run: Directory of a run, or a model file (default: this machine).
    """
    if run is not None:
        say(_described(run))
        return
    if importlib.util.find_spec("torch"):
        importlib.import_module("gatewright.nn")  # training asks torch for its threads
    from gatewright import kernels

    say(f"version   {importlib.metadata.version('gatewright')}\n{kernels.info()}")


def _units(sizes: int | tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes[:-1])) + f" and {sizes[-1]}" if isinstance(sizes, tuple) else str(sizes)


def _described(run: Path) -> str:
    """Return what a model is, in lines: its kind, its layers and their cell, its size."""
    from gatewright.files import model_file
    from gatewright.files.model_path import require_model_file
    from gatewright.tasks.cell_words import words_of
    from gatewright.tasks.registry import kind_of

    path = require_model_file(run)
    file = model_file.read(path)
    stack = file.spec.lstm
    count = f"{stack.num_layers} layer{'s' if stack.num_layers > 1 else ''} of {_units(stack.hidden_size)} units"
    projected = f"projected to {stack.proj_size}" if stack.proj_size else ""
    both = "in both directions" if stack.bidirectional else ""
    lines = {
        "file": on_a_line(str(path)),
        "kind": kind_of(file.spec).name,
        "layers": ", ".join(filter(None, (count, projected, both, "residual" if stack.residual else ""))),
        "cell": " ".join(words_of(stack)),
        "dropout": f"{stack.dropout:g}",
        "weights": f"{sum(tensor.size for tensor in file.tensors.values()):,}",
    }
    return "\n".join(f"{name:<9} {value}" for name, value in lines.items())
