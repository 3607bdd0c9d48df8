"""All models as C99 without a library, by two compilers."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gatewright.files.model_file import ModelFile
from gatewright.spec import QuantileHead, Scaler
from tests.support.c99_models import MODELS
from tests.support.c99_programs import WATCHED, largest_difference
from tests.support.spec_strategies import model_specs, vocabularies
from tests.support.variant_cells import TOGETHER

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", MODELS)
def test_the_numbers_are_those_of_a_stream(name: str, compiler: str, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    flags = WATCHED if compiler == "gcc" else ["-O3", "-ffp-contract=fast"]
    found = largest_difference(MODELS[name]().file(), tmp_path, *flags, compiler=compiler)
    print(f"{name}: {found:.1e}")
    assert found < 1e-5


@st.composite
def files(draw: st.DrawFn) -> ModelFile:
    """Models of any kind, sizes and cell, with weights at random."""
    spec = draw(model_specs().filter(lambda spec: not spec.lstm.bidirectional))
    features = draw(st.sampled_from([{}, {}, *TOGETHER, {"kind": "slstm"}]))
    features = {name: value for name, value in features.items() if name not in ("bias", "proj_size")}
    if not (spec.lstm.proj_size and ("zoneout_hidden" in features or "kind" in features)):
        spec = replace(spec, lstm=replace(spec.lstm, **features))
    if isinstance(spec.head, QuantileHead) and any(
        abs(each) > 50 for each in spec.head.minimum + spec.head.maximum
    ):
        spec = replace(spec, head=replace(spec.head, minimum=(), maximum=()))  # all forecasts would be a bound
    random = np.random.default_rng(draw(st.integers(0, 99)))
    tensors = {name: random.normal(size=shape).astype(np.float32) for name, shape in spec.tensors().items()}
    encoder = spec.encoder
    if encoder.symbols:
        return ModelFile(spec, tensors, vocabulary=draw(vocabularies(encoder.symbols)))
    targets, named = len(encoder.targets), {each.column for each in encoder.categories}
    plain = [name in named for name in encoder.columns]
    mean, scale = (
        [0.0 if each else draw(st.floats(-20, 20)) for each in plain],
        [1.0 if each else 5.0 for each in plain],
    )
    transforms, windows = len(encoder.transform), targets if encoder.window else 0
    of_targets = [(number,) * count for number, count in ((2.0, targets), (0.5, transforms), (1.0, transforms))]
    of_windows = [(number,) * windows for number in (0.5, 0.2, 3.0)]
    return ModelFile(
        spec, tensors, scaler=Scaler(encoder.columns, tuple(mean), tuple(scale), *of_targets, *of_windows)
    )


@settings(
    max_examples=int(os.environ.get("GATEWRIGHT_MODELS", "40")),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink would take minutes
)
@given(files())
def test_random_models(file: ModelFile) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = largest_difference(file, Path(folder), *WATCHED)
    # To normalise a few units magnifies the rounding of both, up to 300 times.
    assert found < (1e-3 if file.spec.lstm.layer_norm else 1e-5)
