"""A model's parts as the native module takes them: layers from their names, a forecaster's columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError
from gatewright.files.model_file import ModelFile
from gatewright.spec import TRANSFORMS, SeriesEncoder
from gatewright.spec.cell import PLAIN_WEIGHTS, WEIGHTS, CellSpec, LayerWeights

Array = NDArray[Any]

#: Digits of the largest number of a layer.
_DIGITS = 6


def sorted_by_layer(weights: Mapping[str, Array]) -> list[LayerWeights]:
    """Sort weights by layer.

    Raises:
        GatewrightError: if there are other names, or layers of unequal size, or a weight is not finite float32.
    """
    count = 0
    for name, array in weights.items():
        kind, _, number = name.rpartition("_l")
        layer = int(number) if number.isdecimal() and len(number) <= _DIGITS else -1
        if kind not in PLAIN_WEIGHTS or number != str(layer):
            if kind in WEIGHTS and kind not in PLAIN_WEIGHTS:
                raise GatewrightError("weights", "those of a plain LSTM cell for a stream", repr(name)[:80])
            hint = "; a stream cannot read from the end" if name.endswith("_reverse") else ""
            raise GatewrightError("weights", "names such as weight_ih_l0", repr(name)[:80] + hint)
        if array.dtype != np.float32:
            raise GatewrightError(name, "float32", str(array.dtype))
        if not np.isfinite(array).all():
            raise GatewrightError(name, "finite weights", "NaN or infinity")
        count = max(count, layer + 1)
    layers = []
    for layer in range(max(count, 1)):
        for kind in CellSpec(bias=False).weights(1, 1):
            if f"{kind}_l{layer}" not in weights:
                raise GatewrightError("weights", f"{kind}_l{layer}", "none of that name")
        first, own = weights["weight_hh_l0"].shape, weights[f"weight_hh_l{layer}"].shape
        if own != first:
            raise GatewrightError(f"weight_hh_l{layer}", f"shape {first}, as in layer 0", f"{own}")
        arrays = [weights.get(f"{kind}_l{layer}") for kind in PLAIN_WEIGHTS]
        layers.append(LayerWeights(*(None if each is None else np.ascontiguousarray(each) for each in arrays)))
    return layers


def native_columns(file: ModelFile) -> tuple[Any, ...] | None:
    """Return a forecaster's columns as the native module takes them; None for other models."""
    if file.spec.forecaster is None or file.scaler is None:
        return None
    (encoder, head), scaler = file.spec.forecaster, file.scaler
    counts = (len(encoder.targets), len(encoder.past), len(encoder.static), 2 * len(encoder.calendar))
    reads = encoder.reads
    return (
        (*counts, len(encoder.known), head.horizon, len(head.quantiles)),
        (reads in ("change", "both"), reads in ("level", "both"), encoder.reads_targets),
        *(list(numbers) for numbers in (scaler.mean, scaler.scale, scaler.change_scale)),
        list(encoder.seasons),
        file.tensors["season.weight"].ravel().tolist() if encoder.seasons else [],
        [TRANSFORMS.index(name) for name in encoder.transform],
        *(list(numbers) for numbers in (scaler.transform_number, head.minimum, head.maximum)),
        [
            (place, file.tensors[f"encoder.category.{number}.weight"])
            for number, place in enumerate(category_inputs(encoder))
        ],
        (encoder.window, *map(list, scaler.windows)),
        (0 if head.family is None else head.family.number, list(head.quantiles)),
    )


def native_features(file: ModelFile) -> tuple[int, list[tuple[int, Array]]] | None:
    """Return the features of a classifier or a tagger with categories as the native module takes them, else None.

    They are the width of a row, and of each category its place in it and its vectors.
    """
    if file.spec.labeller is None or not file.spec.encoder.categories:
        return None
    encoder, _ = file.spec.labeller
    categories = [
        (encoder.columns.index(each.column), file.tensors[f"encoder.category.{number}.weight"])
        for number, each in enumerate(encoder.categories)
    ]
    return encoder.row_size, categories


def pool_weight(tensors: Mapping[str, Array]) -> Array | None:
    """Return the query of attention pooling, (P,); None for a model without one."""
    weight = tensors.get("pool.weight")
    return None if weight is None else np.ascontiguousarray(weight.reshape(-1))


def category_inputs(encoder: SeriesEncoder) -> list[int]:
    """Return the places of a forecaster's categories among its past, static and known inputs."""
    inputs = encoder.past + encoder.static + encoder.known
    return [inputs.index(each.column) for each in encoder.categories]
