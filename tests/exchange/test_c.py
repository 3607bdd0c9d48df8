"""Models as C source in C programs that link the library alone: the bits of Python's streams, and the contract."""

from __future__ import annotations

import functools
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatewright import Model, Stream, kernels
from gatewright.data import frequency
from gatewright.errors import GatewrightError
from gatewright.exchange import c
from gatewright.exchange.c import to_c
from gatewright.exchange.c_arrays import exact
from gatewright.files import model_file
from gatewright.runtime.packed_model import WeightFormat
from gatewright.spec import (
    BYTE_NAMES,
    FAMILIES,
    UNKNOWN,
    Category,
    ModelSpec,
    QuantileHead,
    Scaler,
    SeriesEncoder,
    StackSpec,
    SymbolEncoder,
    SymbolHead,
    Vocabulary,
)
from tests.support.class_models import class_model, class_rows
from tests.support.stream_models import byte_model
from tests.support.variant_cells import TOGETHER

ROOT = Path(__file__).parents[2]
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
TARGETS = [name for name, runs in kernels.info().targets.items() if runs]
SYMBOLS = (UNKNOWN, *'ab"\\?/*\n\0€😀')
#: Names that would end a comment, a string or the line, or begin a trigraph.
COLUMNS = {"targets": ("flow */", 'level "??/'), "past": ("rain\n", "\\n", "Temperatur °C €😀")}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")]


def tool(name: str) -> str:
    """Return the path of a program that came with the environment, or with the system."""
    own = Path(sys.executable).with_name(name)
    return str(own) if own.exists() else name


def run(*command: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="session")
def library() -> Path:
    """The archive of the build of the package, or one that is built as the documentation says, and kept."""
    sources = [ROOT / "CMakeLists.txt", *(ROOT / "native").rglob("*.*")]
    newest = max(source.stat().st_mtime for source in sources if source.parent.name not in ("python", "tests"))
    for archive in (ROOT / "build").glob("*/libgatewright.a"):
        # Those of `make sanitize` and `make neon` are for other programs.
        if archive.stat().st_mtime > newest and archive.parent.name not in ("asan", "tsan", "neon"):
            return archive
    build = ROOT / "build" / "c-library"
    ninja = shutil.which("ninja", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
    run(tool("cmake"), "-S", ROOT, "-B", build, *generator)
    run(tool("cmake"), "--build", build, "--target", "gatewright", "--parallel", os.cpu_count() or 1)
    return build / "libgatewright.a"


def compiled(source: Path, library: Path, folder: Path, *flags: str) -> Path:
    """A C program with the model in a folder, and the library alone."""
    program = folder / source.stem
    includes = [f"-I{ROOT / 'native/c'}", f"-I{folder}"]
    linked = [library, "-lstdc++", "-lpthread", "-lm", "-ldl"]
    run("cc", *STRICT, "-O1", *flags, *includes, source, folder / "model.c", *linked, "-o", program)
    return program


def text_model(**stack: Any) -> Model:
    torch.manual_seed(0)
    spec = ModelSpec(SymbolEncoder(len(SYMBOLS), 5), StackSpec(**{"hidden_size": 24, **stack}), SymbolHead())
    model = Model(spec, vocabulary=Vocabulary(SYMBOLS)).eval()
    with torch.no_grad():  # numbers that text does not always carry
        model.head.weight[0, :5] = torch.tensor([-0.0, 1e-45, -1.1754944e-38, 3e38, 1e-40])
    return model


def series_model(distribution: str = "", **changes: Any) -> Model:
    torch.manual_seed(0)
    encoder = SeriesEncoder(**{"reads": "both", **COLUMNS, **changes})
    rng = np.random.default_rng(1)
    numbers = [rng.uniform(0.3, 9, len(encoder.columns)) for _ in "ms"]
    for category in encoder.categories:
        for array, number in zip(numbers, (0, 1), strict=True):
            array[encoder.columns.index(category.column)] = number
    changes_scale, transformed = tuple(rng.uniform(0.1, 2, len(encoder.targets))), len(encoder.transform)
    windows = len(encoder.targets) if encoder.window else 0
    of_targets = ((3.0,) * transformed, (1.0,) * transformed, (0.5,) * windows, (0.2,) * windows, (3.0,) * windows)
    scaler = Scaler(encoder.columns, *map(tuple, numbers), changes_scale, *of_targets)
    bounds = {"minimum": (-20.0, 0.0), "maximum": (60.0, 70.0)} if transformed else {}
    head = QuantileHead(horizon=3, quantiles=(0.1, 0.5, 0.9), distribution=distribution, **bounds)
    spec = ModelSpec(encoder, StackSpec(20, num_layers=2), head)
    model = Model(spec, scaler=scaler).eval()
    torch.nn.init.normal_(model.head.weight)
    if model.season is not None:
        torch.nn.init.normal_(model.season.weight)
    return model


def exported(model: Model, folder: Path) -> Stream:
    model.save(folder / "model.safetensors")
    file = model_file.read(folder / "model.safetensors")
    to_c(file, folder)
    return Stream.of(file)


def rows(columns: int, targets: int, steps: int = 60) -> np.ndarray[Any, Any]:
    """Rows with gaps in their targets, the first without any."""
    rng = np.random.default_rng(2)
    made = rng.normal(size=(steps, columns)) * 40
    made[:, :targets][rng.random((steps, targets)) < 0.3] = np.nan
    made[0, :targets] = np.nan
    return made


def printed(program: Path, target: str, numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the example prints for steps of input; "nan" is what Python and C both write."""
    text = " ".join(each.hex() if isinstance(each, float) else str(each) for each in numbers.ravel().tolist())
    done = run(program, input=text, env={**os.environ, "GATEWRIGHT_TARGET": target})
    assert done.stderr == f"{len(numbers)} steps on {target}\n"
    return np.array([[float.fromhex(each) for each in line.split()] for line in done.stdout.splitlines()])


def same_bits(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    other = other.reshape(len(other), -1).astype(np.float64)
    return one.shape == other.shape and np.array_equal(one.view(np.int64), other.view(np.int64))


@pytest.mark.parametrize("stack", [{}, {"num_layers": 3, "proj_size": 7}], ids=["one layer", "projected"])
def test_a_text_model_gives_the_bits_of_python(stack: dict[str, int], library: Path, tmp_path: Path) -> None:
    model = text_model(**stack)
    exported(model, tmp_path)
    program = compiled(ROOT / "examples/embed/main.c", library, tmp_path)
    symbols = np.random.default_rng(3).integers(0, len(SYMBOLS), 80)
    for target in TARGETS:
        with kernels.use_target(target):
            expected = Stream.load(tmp_path).run(symbols)
        assert same_bits(printed(program, target, symbols), expected)


@pytest.mark.parametrize(
    ("kept", "weights"),
    [
        ("BFLOAT16", "bf16"),
        ("BFLOAT16_FLOAT32", "bf16-float32"),
        ("INT8", "int8"),
        ("INT8_FLOAT32", "int8-float32"),
    ],
)
def test_weights_of_fewer_bits_give_the_bits_of_python(
    kept: str, weights: WeightFormat, library: Path, tmp_path: Path
) -> None:
    exported(series_model(), tmp_path)
    source = tmp_path / "model.c"
    text = source.read_text()
    source.write_text(text.replace(".kept = GATEWRIGHT_FLOAT32", f".kept = GATEWRIGHT_{kept}"))
    program, xs = compiled(ROOT / "examples/embed/main.c", library, tmp_path), rows(5, 2)
    with kernels.use_target(TARGETS[0]):
        expected = Stream.load(tmp_path, weights=weights).run(xs)
        full = Stream.load(tmp_path).run(xs)
    got = printed(program, TARGETS[0], xs)
    assert same_bits(got, expected)
    assert not same_bits(got, full)


def test_models_of_every_cell_give_the_bits_of_python(library: Path, tmp_path: Path) -> None:
    cells = [
        *({**each, **({"proj_size": 7} if "proj_size" in each else {})} for each in TOGETHER),
        {"forget_gate": False, "candidate_activation": "hard_tanh", "output_activation": "identity",
         "zoneout_hidden": 0.3},
        {"kind": "slstm", "heads": 3},
        {"kind": "slstm", "forget_gate_activation": "exponential", "hidden_dropout": 0.1},
        {"hidden_size": (9, 5)},
        {"hidden_size": (6, 9), "proj_size": 5, "residual": True},
    ]  # fmt: skip
    includes = [f"-I{ROOT / 'native/c'}"]
    files, objects = [], []
    for k, features in enumerate(cells):
        features.pop("bias", None)  # of a stack it is always there
        model = text_model(**{"num_layers": 1 + (k > 0), "hidden_size": 18, **features})
        with torch.no_grad():
            for weight in model.lstm.parameters():
                weight.add_(0.3 * torch.randn_like(weight))
        folder = tmp_path / str(k)
        folder.mkdir()
        exported(model, folder)
        files.append(model.file())
        objects.append(folder / "model.o")
        names = [f"-Dmodel_{name}={name}_{k}" for name in ("parts", "symbols")]
        run("cc", *STRICT, "-c", folder / "model.c", f"-I{folder}", *names, *includes, "-o", objects[-1])
    program = tmp_path / "cells"
    linked = [library, "-lstdc++", "-lpthread", "-lm", "-ldl"]
    run("cc", *STRICT, ROOT / "tests/exchange/c_cells.c", *objects, *includes, *linked, "-o", program)
    symbols = np.arange(40).reshape(20, 2) ** 2 % len(SYMBOLS)
    done = run(program, env={**os.environ, "GATEWRIGHT_TARGET": TARGETS[0]})
    lines = iter(done.stdout.splitlines())
    for file in files:
        for weights in ("float32", "bf16"):
            with kernels.use_target(TARGETS[0]):
                stream = Stream.of(file, sessions=2, weights=weights)  # type: ignore[arg-type]
                expected = [stream.run(symbols), stream.run(np.arange(5) % len(SYMBOLS), 1)]
            for each in expected:
                got = np.array([[float.fromhex(number) for number in next(lines).split()]])
                assert same_bits(got, each.reshape(1, -1))


@pytest.mark.parametrize(
    "reads",
    [
        "both",
        "change",
        "nothing",
        "seasons",
        "transforms",
        "window",
        "student-t",
        "zero-inflated-negative-binomial",
    ],
)
def test_a_forecaster_gives_the_bits_of_python(reads: str, library: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"known": ("holiday", "price"), "static": ("area",)} if reads == "change" else {}
    if reads == "seasons":
        reads, changes = "both", {"seasons": (2, 11), "context": 12}
    if reads == "transforms":
        reads, changes = "both", {"seasons": (2, 11), "context": 12, "transform": ("log1p", "asinh")}
    if reads == "window":
        reads, changes = "both", {"seasons": (2, 11), "context": 12, "scale": "window"}
    if reads in FAMILIES:
        changes = {"distribution": reads} | ({} if FAMILIES[reads].counts else {"seasons": (2,), "context": 12})
        reads = "both"
    stream = exported(series_model(reads=reads, **changes), tmp_path)
    program = compiled(ROOT / "examples/embed/main.c", library, tmp_path)
    xs = rows(len(stream.columns), 2)
    for target in TARGETS:
        with kernels.use_target(target):
            expected = Stream.load(tmp_path).run(xs)
        assert same_bits(printed(program, target, xs), expected)


#: Names of every kind, in all roles; the last column of the row is one of numbers.
CATEGORIES = (
    Category("rain\n", ("??/", '"\\"', "€"), 2), Category("area", ("7", "12"), 3),
    Category("holiday", ("false", "true"), 1),
)  # fmt: skip

_CATEGORIES = r"""
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "model.h"

static gatewright_category other[MODEL_CATEGORIES];

/* The status of a model with columns that have changed. */
static int made(int64_t count, const gatewright_category* categories) {
    gatewright_parts parts = model_parts;
    gatewright_columns columns = *parts.columns;
    gatewright_model* model = NULL;
    parts.columns = &columns;
    columns.category_count = count;
    columns.categories = categories;
    const int status = gatewright_model_create(&parts, &model);
    if ((status == GATEWRIGHT_OK) != (model != NULL)) return -1;
    gatewright_model_destroy(model);
    return status;
}

#define REFUSED(status, change)                                       \
    memcpy(other, model_parts.columns->categories, sizeof other);     \
    change;                                                           \
    if (made(MODEL_CATEGORIES, other) != GATEWRIGHT_##status) return __LINE__

/* Reads names of a category's values and prints their indices, as a caller looks them up. */
int main(void) {
    static const float bad[64] = {NAN};
    char name[256];
    REFUSED(OK, (void)bad);
    REFUSED(SIZE, other[0].input = -1);
    REFUSED(SIZE, other[0].input = other[1].input);
    REFUSED(SIZE, other[MODEL_CATEGORIES - 1].input = INT32_MAX);
    REFUSED(SIZE, other[0].count = 1);
    REFUSED(SIZE, other[0].size = 0);
    REFUSED(SIZE, other[0].size += 1);
    REFUSED(SIZE, other[0].size = INT64_MAX);
    REFUSED(NULL_POINTER, other[0].vectors = NULL);
    REFUSED(WEIGHT, other[0].vectors = bad);
    if (made(-1, other) != GATEWRIGHT_SIZE || made(2, NULL) != GATEWRIGHT_NULL_POINTER) return 2;
    if (made(MODEL_CATEGORIES - 1, other) == GATEWRIGHT_OK) return 3;
    for (int n = 0; n < MODEL_CATEGORIES; ++n) {
        const model_category* const category = &model_categories[n];
        printf("%d %d %d\n", (int)category->column, (int)category->columns, (int)category->count);
        while (fgets(name, sizeof name, stdin) && name[0] != '\n') {
            int64_t index = category->count - 1;
            name[strlen(name) - 1] = 0;
            while (index > 0 && strcmp(category->values[index], name)) --index;
            printf("%d\n", (int)index);
        }
    }
    return 0;
}
"""


def test_a_forecaster_with_categories_gives_the_bits_of_python(library: Path, tmp_path: Path) -> None:
    roles: dict[str, Any] = {"known": ("holiday", "price"), "static": ("area",), "calendar": ("hour_of_day",)}
    stream = exported(series_model(**roles, step="1h", categories=CATEGORIES), tmp_path)
    assert "    .version = 3,\n" in (tmp_path / "model.c").read_text()
    xs, random = rows(len(stream.columns), 2), np.random.default_rng(5)
    places = {"rain\n": slice(2, 3), "area": slice(5, 6), "holiday": slice(6, 9)}
    for category in CATEGORIES:
        place = places[category.column]
        xs[:, place] = random.integers(0, category.count, xs[:, place].shape)
    times = np.datetime64("2023-12-30T22:30", "us") + np.arange(60) * np.timedelta64(1, "h")
    phases = frequency.calendar(times, ("hour_of_day",))
    whole = np.concatenate([xs[:, :6], phases, xs[:, 6:]], axis=1)
    program = compiled(ROOT / "examples/embed/main.c", library, tmp_path)
    for target in TARGETS:
        with kernels.use_target(target):
            expected = Stream.load(tmp_path).run(xs, times=times, indexed=True)
        assert same_bits(printed(program, target, whole), expected)
    whole[3, 2] = 4
    text = " ".join(map(str, whole.ravel().tolist()))
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "step 3: a number of a category in a row is no index of a value\n",
    )
    # The header says where categories are, and what their indices mean.
    (tmp_path / "names.c").write_text(_CATEGORIES)
    names = "".join("\n".join([*each.values, "other"]) + "\n\n" for each in CATEGORIES)
    done = run(compiled(tmp_path / "names.c", library, tmp_path), input=names)
    assert done.stdout.split() == [*"2141230", *"513120", *"833120"]


_CLASSIFIER = r"""
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "model.h"

/* Reads rows of columns, "nan" where a number is missing; prints the probabilities of each step. */
int main(void) {
    gatewright_model* model;
    gatewright_stream* stream;
    float x[MODEL_INPUT], y[MODEL_OUTPUT];
    char word[64];
    if (gatewright_model_create(&model_parts, &model) || gatewright_stream_create(model, 1, &stream)) return 1;
    for (int n = 0; n < MODEL_OUTPUT; ++n) fprintf(stderr, "%s\n", model_classes[n]);
    for (int n = 0; n < MODEL_COLUMNS; ++n) fprintf(stderr, "%s\n", model_columns[n]);
    for (;;) {
        int at = MODEL_COLUMNS;
        for (int n = 0; n < MODEL_COLUMNS; ++n) {
            if (scanf("%63s", word) != 1) return 0;
            const double value = strtod(word, NULL);
            x[n] = isnan(value) ? 0.0f : (float)((value - model_mean[n]) / model_scale[n]);
            if (model_may_miss[n]) x[at++] = isnan(value) ? 0.0f : 1.0f;
        }
        if (at != MODEL_INPUT || gatewright_step_features(stream, 0, x, y)) return 2;
        double most = y[0], sum = 0;
        for (int n = 1; n < MODEL_OUTPUT; ++n) most = y[n] > most ? y[n] : most;
        for (int n = 0; n < MODEL_OUTPUT; ++n) sum += exp(y[n] - most);
        for (int n = 0; n < MODEL_OUTPUT; ++n) printf("%.17g ", exp(y[n] - most) / sum);
        printf("\n");
    }
}
"""


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention", ""])
def test_a_classifier_gives_the_probabilities_of_python(library: Path, tmp_path: Path, pooling: str) -> None:
    categories = pooling in ("attention", "")
    stream = exported(class_model(pooling, categories=categories), tmp_path)
    assert ("by the steps so far" if pooling else "of this step") in (tmp_path / "model.h").read_text()
    (tmp_path / "classes.c").write_text(_CLASSIFIER)
    program = compiled(tmp_path / "classes.c", library, tmp_path)
    xs = class_rows(40)
    if categories:  # column c has four values
        xs[:, 2] = np.random.default_rng(1).integers(0, 5, 40)
    text = " ".join(each.hex() for each in xs.ravel().tolist())
    done = run(program, input=text, env={**os.environ, "GATEWRIGHT_TARGET": TARGETS[0]})
    assert tuple(done.stderr.split()) == (*stream.classes, *stream.columns)
    with kernels.use_target(TARGETS[0]):
        expected = Stream.load(tmp_path).run(xs, indexed=True)
    found = np.array([[float(each) for each in line.split()] for line in done.stdout.splitlines()])
    np.testing.assert_allclose(found, expected, rtol=1e-14)  # exp may differ in the last bit


def test_the_caller_gives_sine_and_cosine_of_a_calendar(library: Path, tmp_path: Path) -> None:
    calendar = ("hour_of_day", "day_of_week", "day_of_year")
    stream = exported(series_model(known=("price",), static=("area",), calendar=calendar, step="1h"), tmp_path)
    times = np.datetime64("2023-12-30T22:30", "us") + np.arange(60) * np.timedelta64(1, "h")
    xs, before = rows(len(stream.columns), 2), 2 + 3 + 1
    phases = frequency.calendar(times, calendar)
    whole = np.concatenate([xs[:, :before], phases, xs[:, before:]], axis=1)
    names = ["sine of hour_of_day", "cosine of hour_of_day", "sine of day_of_week", "cosine of day_of_week"]
    source = (tmp_path / "model.c").read_text()
    assert all(f'    "{name}",\n' in source for name in (*names, "price+1"))
    program = compiled(ROOT / "examples/embed/main.c", library, tmp_path)
    with kernels.use_target(TARGETS[0]):
        expected = Stream.load(tmp_path).run(xs, times=times)
    assert same_bits(printed(program, TARGETS[0], whole), expected)


@pytest.mark.parametrize(
    "changes", [{}, {"seasons": (2, 5)}, {"seasons": (2, 5), "transform": ("asinh", "log1p"), "scale": "window"}]
)
def test_the_contract_holds(changes: dict[str, Any], library: Path, tmp_path: Path) -> None:
    stream = exported(series_model(context=12, **changes), tmp_path)
    glibc = "-DCOUNT_ALLOCATIONS" if os.confstr("CS_GNU_LIBC_VERSION") else "-UCOUNT_ALLOCATIONS"
    done = run(compiled(ROOT / "tests/exchange/c_api.c", library, tmp_path, glibc))
    *names, low, middle, high, context, fingerprint = done.stdout.removesuffix("\n").split("\n")
    assert "\n".join(names) == "\n".join(COLUMNS["targets"] + COLUMNS["past"])
    assert [float.fromhex(level) for level in (low, middle, high)] == [0.1, 0.5, 0.9]
    assert int(context) == stream.context == 12
    assert fingerprint == stream.fingerprint


def test_input_that_is_refused_ends_the_example(library: Path, tmp_path: Path) -> None:
    exported(text_model(), tmp_path)
    program = compiled(ROOT / "examples/embed/main.c", library, tmp_path)
    for text, message in (
        ("1 2 99", "step 2: there is no symbol of that number\n"),
        ("1 b", "step 1: expected 1 numbers, got 0\n"),
    ):
        done = subprocess.run([program], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, message)


CATEGORIES_MODEL = functools.partial(series_model, known=("holiday",), static=("area",), categories=CATEGORIES)


@pytest.mark.parametrize(
    "command", [["cc", *STRICT], ["c++", "-std=c++20", "-x", "c++", "-pedantic", "-Wall", "-Wextra", "-Werror"]]
)
@pytest.mark.parametrize(
    "model",
    [
        text_model,
        series_model,
        functools.partial(class_model, "attention", categories=True),
        CATEGORIES_MODEL,
        functools.partial(text_model, peephole=True, coupled=True),
        functools.partial(text_model, kind="slstm", heads=2),
    ],
)
def test_headers_and_data_are_c99_and_c_plus_plus(command: list[str], model: Any, tmp_path: Path) -> None:
    if not shutil.which(command[0]):
        pytest.skip(f"needs {command[0]}")
    exported(model(), tmp_path)
    for header in ("gatewright.h", "model.h"):  # alone, and twice
        (tmp_path / "main.c").write_text(
            f'#include "{header}"\n#include "{header}"\nint main(void) {{ return 0; }}\n'
        )
        for source in ("main.c", "model.c"):
            output = ["-c", tmp_path / source, "-o", tmp_path / "out.o"]
            run(*command, f"-I{ROOT / 'native/c'}", f"-I{tmp_path}", *output)


def test_symbols_stand_as_code_points(tmp_path: Path) -> None:
    exported(text_model(), tmp_path)
    source = (tmp_path / "model.c").read_text("ascii")
    [numbers] = [part.split("}")[0] for part in source.split("model_symbols[")[1:]]
    assert [int(each, 16) for each in numbers.split("{")[1].split(",")[:-1]] == [ord(each) for each in SYMBOLS]


def test_tokens_stand_as_bytes_and_merges(library: Path, tmp_path: Path) -> None:
    merges = ("a b", "ab a", " ".join((BYTE_NAMES[0xC3], BYTE_NAMES[0xA9])))
    model = byte_model("bpe", merges)
    exported(model, tmp_path)
    (tmp_path / "main.c").write_text(
        """
        #include <stdio.h>
        #include "model.h"
        int main(void) {
            for (int n = 0; n < MODEL_SYMBOLS; n++) {
                uint32_t first = n ? model_token_ends[n - 1] : 0;
                for (uint32_t at = first; at < model_token_ends[n]; at++) printf("%d ", model_token_bytes[at]);
                printf("\\n");
            }
            for (int n = 0; n < 3 * MODEL_MERGES; n++) printf("%d ", (int)model_merges[n]);
            return 0;
        }
        """
    )
    done = run(compiled(tmp_path / "main.c", library, tmp_path))
    *tokens, numbers = done.stdout.split("\n")
    singles = [[byte] for byte in range(256)]
    assert [[int(byte) for byte in token.split()] for token in tokens] == [*singles, *map(list, TOKENS)]
    assert [int(number) for number in numbers.split()] == [97, 98, 256, 256, 97, 257, 0xC3, 0xA9, 258]
    program = compiled(ROOT / "examples/embed/main.c", library, tmp_path)
    symbols = np.random.default_rng(3).integers(0, 259, 40)
    assert same_bits(printed(program, TARGETS[0], symbols), _on(TARGETS[0], tmp_path, symbols))


#: Bytes of the tokens that merges make.
TOKENS = (b"ab", b"aba", "é".encode())


def _on(target: str, folder: Path, symbols: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with kernels.use_target(target):
        return Stream.load(folder).run(symbols)


def test_only_a_model_with_newer_parts_is_of_a_newer_version(tmp_path: Path) -> None:
    for seasons, transform, version in (((), (), 1), ((2, 5), (), 2), ((), ("none", "boxcox"), 3)):
        folder = tmp_path / str(version)
        folder.mkdir()
        exported(series_model(context=12, seasons=seasons, transform=transform), folder)
        source, header = (folder / "model.c").read_text(), (folder / "model.h").read_text()
        assert f"    .version = {version},\n" in source
        assert ("season" in source) == bool(seasons)
        assert ("transform" in source) == ("minimum" in source) == bool(transform)
        assert ("#define MODEL_RECENT 6\n" in header) == bool(seasons)
        assert "distribution" not in source
    exported(series_model("normal"), tmp_path)
    assert "    .version = 4,\n" in (tmp_path / "model.c").read_text()
    for features, version in (
        ({"weight_drop": 0.5, "hidden_dropout": 0.1}, 1),
        ({"coupled": True}, 5),
        ({"kind": "slstm"}, 6),
        ({"hidden_size": (9, 5)}, 1),
        ({"num_layers": 2, "residual": True}, 6),
    ):
        folder = tmp_path / "-".join(features)
        folder.mkdir()
        exported(text_model(**features), folder)
        source = (folder / "model.c").read_text()
        assert f"    .version = {version},\n" in source
        assert ("cell" in source) == (version >= 5 and "residual" not in features)
        assert (".residual = 1" in source) == ("residual" in features)


def test_the_version_is_that_of_the_header() -> None:
    assert f"#define GATEWRIGHT_VERSION {c.VERSION}\n" in (ROOT / "native/c/gatewright.h").read_text()


@given(st.floats(width=64, allow_nan=False, allow_infinity=False))
def test_numbers_are_written_exactly(number: float) -> None:
    text = exact(number)
    assert struct.pack("d", float.fromhex(text)) == struct.pack("d", number)
    assert "p" in text


def test_files_are_replaced_only_if_asked_for(tmp_path: Path) -> None:
    exported(text_model(), tmp_path)
    file = model_file.read(tmp_path / "model.safetensors")
    (tmp_path / "model.c").write_text("mine")
    with pytest.raises(GatewrightError, match=r"--out: .* or --force, got .*, which has model\.h and model\.c"):
        to_c(file, tmp_path)
    assert (tmp_path / "model.c").read_text() == "mine"
    to_c(file, tmp_path, overwrite=True)
    assert (tmp_path / "model.c").read_text() != "mine"
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(GatewrightError, match=r"--out: expected a directory that can be written, got .*taken"):
        to_c(file, tmp_path / "taken")
    with pytest.raises(GatewrightError, match=r"--out: expected a directory that can be written, got .*below"):
        to_c(file, tmp_path / "taken" / "below")


def test_the_command(tmp_path: Path) -> None:
    text_model().save(tmp_path / "model.safetensors")

    def gatewright(*arguments: Any) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "gatewright", "export", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    made = Path("c", "model.h"), Path("c", "model.c")
    assert gatewright(".", "--to", "c") == (0, f"wrote {made[0]} and {made[1]}\n", "")
    code, out, err = gatewright("model.safetensors", "--to", "c")
    assert (code, out) == (1, "")
    assert err.startswith(
        "error: --out: expected a directory without model.h and model.c, or --force, got c, which"
    )
    assert gatewright("model.safetensors", "--to", "c", "--force")[0] == 0
    code, out, err = gatewright("absent", "--to", "c")
    assert (code, out, err) == (
        1,
        "",
        "error: run: expected the directory of a run or a model file, got absent, which does not exist\n",
    )
    code, out, err = gatewright(".", "--to", "c", "--out", "made/there")
    assert (code, err) == (0, "")
    assert (tmp_path / "made/there/model.c").read_text() == (tmp_path / "c/model.c").read_text()
