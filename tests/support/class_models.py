"""Small classifiers and taggers with random weights, and sequences for them."""

from __future__ import annotations

import numpy as np
import torch

from gatewright.nn.model import Model
from gatewright.spec import Category, ClassHead, FeatureEncoder, ModelSpec, Scaler, StackSpec, StepClassHead

COLUMNS, CLASSES = ("a", "b", "c"), ("x", "y", "z")


KINDS = Category("c", ("7", "8", "9", "10"), 3)


def class_model(
    pooling: str = "max",
    *,
    bidirectional: bool = False,
    proj: int = 0,
    layers: int = 2,
    categories: bool = False,
) -> Model:
    """Return a classifier of three columns, of which b may be missing, and c may hold the categories `KINDS`.

    It is a tagger if the pooling is empty.
    """
    torch.manual_seed(3)
    stack = StackSpec(9, layers, proj_size=proj, bidirectional=bidirectional)
    head = ClassHead(CLASSES, pooling) if pooling else StepClassHead(CLASSES)
    spec = ModelSpec(FeatureEncoder(COLUMNS, ("b",), (KINDS,) if categories else ()), stack, head)
    scale = (2.0, 0.5, 1.0 if categories else 10.0)
    model = Model(spec, scaler=Scaler(COLUMNS, (1.0, -2.0, 0.0), scale, ())).eval()
    torch.nn.init.normal_(model.head.weight)
    if model.pool is not None and model.pool.weight is not None:
        torch.nn.init.normal_(model.pool.weight)
    return model


def class_rows(steps: int, seed: int = 0) -> np.ndarray:
    """Return a sequence (steps, 3) with gaps in column b."""
    rows = np.random.default_rng(seed).normal(size=(steps, 3)) * (1.0, 1.0, 10.0)
    rows[np.random.default_rng(seed).random(steps) < 0.3, 1] = np.nan
    return rows
