"""Specifications: what a model and a recording are, as frozen dataclasses that go to JSON and back."""

from gatewright.spec.categories import LONGEST_VALUE, MOST_VALUES, NO_CATEGORY, Category
from gatewright.spec.cell import CellSpec, LayerWeights
from gatewright.spec.distributions import FAMILIES, LARGEST_COUNT
from gatewright.spec.encoders import (
    CALENDAR,
    FILLS,
    LONGEST_SEASON,
    MOST_SEASONS,
    READS,
    TRANSFORMS,
    FeatureEncoder,
    SeriesEncoder,
    SymbolEncoder,
    holiday_column,
    seasonal_rows,
)
from gatewright.spec.heads import POOLINGS, ClassHead, QuantileHead, StepClassHead, SymbolHead
from gatewright.spec.model import AGGREGATES, ModelSpec, Scaler, StackSpec
from gatewright.spec.table import TableSpec
from gatewright.spec.vocabulary import BYTE_NAMES, SEPARATOR, TOKENS, UNKNOWN, Vocabulary

__all__ = [
    "AGGREGATES",
    "BYTE_NAMES",
    "CALENDAR",
    "FAMILIES",
    "FILLS",
    "LARGEST_COUNT",
    "LONGEST_SEASON",
    "LONGEST_VALUE",
    "MOST_SEASONS",
    "MOST_VALUES",
    "NO_CATEGORY",
    "POOLINGS",
    "READS",
    "SEPARATOR",
    "TOKENS",
    "TRANSFORMS",
    "UNKNOWN",
    "Category",
    "CellSpec",
    "ClassHead",
    "FeatureEncoder",
    "LayerWeights",
    "ModelSpec",
    "QuantileHead",
    "Scaler",
    "SeriesEncoder",
    "StackSpec",
    "StepClassHead",
    "SymbolEncoder",
    "SymbolHead",
    "TableSpec",
    "Vocabulary",
    "holiday_column",
    "seasonal_rows",
]
