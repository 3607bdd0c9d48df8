"""A model's parts as the native module takes them: layers from their names, a forecaster's columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError
from gatewright.files.model_file import ModelFile
from gatewright.spec import TRANSFORMS, SeriesEncoder
from gatewright.spec.cell import PLAIN_WEIGHTS, WEIGHTS, CellSpec, LayerWeights

Array = NDArray[Any]

#: The gates of the plain cell, in the order of their rows.
GATES = CellSpec().gates()

#: Digits of the largest number of a layer.
_DIGITS = 6


def sorted_by_layer(weights: Mapping[str, Array], cell: CellSpec) -> list[LayerWeights]:
    """Sort the weights of a cell by layer, with rows for all four gates: zeros for those that it does not have.

    Raises:
        GatewrightError: if there are other names, or projections of unequal width, or a weight is not finite
            float32.
    """
    count = 0
    required = replace(cell, bias=False, proj_size=0).weights(1, cell.heads)
    kinds = PLAIN_WEIGHTS + tuple(kind for kind in required if kind not in PLAIN_WEIGHTS)
    for name, array in weights.items():
        kind, _, number = name.rpartition("_l")
        layer = int(number) if number.isdecimal() and len(number) <= _DIGITS else -1
        if kind not in kinds or number != str(layer):
            if kind in WEIGHTS and kind not in kinds:
                expected = "the CellSpec of the weights, with peephole or layer_norm"
                raise GatewrightError("cell", expected, f"one without, and {name}"[:80])
            hint = "; a stream cannot read from the end" if name.endswith("_reverse") else ""
            raise GatewrightError("weights", "names such as weight_ih_l0", repr(name)[:80] + hint)
        if array.dtype != np.float32:
            raise GatewrightError(name, "float32", str(array.dtype))
        if not np.isfinite(array).all():
            raise GatewrightError(name, "finite weights", "NaN or infinity")
        count = max(count, layer + 1)
    layers = []
    for layer in range(max(count, 1)):
        for kind in required:
            if f"{kind}_l{layer}" not in weights:
                raise GatewrightError("weights", f"{kind}_l{layer}", "none of that name")
        W_hr = weights.get(f"weight_hr_l{layer}")
        if (W_hr is None) == (cell.proj_size > 0) or (W_hr is not None and W_hr.shape[:1] != (cell.proj_size,)):
            expected = f"{cell.proj_size} rows, as in layer 0" if cell.proj_size else "none, as in layer 0"
            raise GatewrightError(f"weight_hr_l{layer}", expected, "none" if W_hr is None else f"{W_hr.shape}")
        arrays = [weights.get(f"{kind}_l{layer}") if kind in kinds else None for kind in WEIGHTS]
        contiguous = LayerWeights(*(None if each is None else np.ascontiguousarray(each) for each in arrays))
        if cell.features():
            _require_shapes(contiguous, layer, cell)
        layers.append(expanded(contiguous, cell))
    return layers


def _require_shapes(weights: LayerWeights, layer: int, cell: CellSpec) -> None:
    """Require the shapes of a cell; the native module has those of rows for all four gates."""
    D = weights.W_ih.shape[-1] if weights.W_ih.ndim else 0
    if cell.is_slstm:
        H = len(weights.W_ih) // 4 if weights.W_ih.ndim else 0
    else:
        H = next(W.shape[-1] if W.ndim else 0 for W in (weights.W_hr, weights.W_hh) if W is not None)
    for (kind, shape), array in zip(cell.weights(D, H).items(), weights.present(), strict=True):
        if array.shape != shape:
            got = f"{array.shape}, with features {', '.join(cell.features())}"
            raise GatewrightError(f"{kind}_l{layer}", f"shape {shape}", got)


def expanded(weights: LayerWeights, cell: CellSpec) -> LayerWeights:
    """Return the weights with rows for all four gates: zeros for those that the cell does not have.

    >>> weights = LayerWeights(np.ones((6, 3)), np.ones((6, 2)))
    >>> expanded(weights, CellSpec(coupled=True)).W_ih[:, 0]
    array([0., 0., 1., 1., 1., 1., 1., 1.])
    """
    present, H = cell.gates(), weights.hidden_size

    def of_gates(W: Array | None, names: tuple[str, ...], rows: tuple[str, ...]) -> Array | None:
        if W is None or names == rows:
            return W
        parts = {name: W[k * H : (k + 1) * H] for k, name in enumerate(names)}
        return np.concatenate([parts.get(name, np.zeros_like(W[:H])) for name in rows])

    reading, every = (tuple(n for n in names if n != "candidate") for names in (present, GATES))
    four = {
        field: of_gates(getattr(weights, field), present, GATES)
        for field in ("W_ih", "W_hh", "b_ih", "b_hh", "w_ln")
    }
    return weights._replace(**four, w_ch=of_gates(weights.w_ch, reading, every))


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
