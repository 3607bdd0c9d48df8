"""Random specifications, and JSON that is almost right."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from gatewright import spec as s
from gatewright.spec.encoders import SCALES

# Any character.  st.text() would first build a table of them, for seconds.
CHARACTERS = st.sampled_from('ab"\\/\n\0\x7fé\u2028\U0001f600') | st.integers(0, 0x10FFFF).map(chr).filter(
    lambda character: not "\ud800" <= character <= "\udfff"
)
TEXTS = st.lists(CHARACTERS, max_size=4).map("".join)
NAMES = st.lists(CHARACTERS, min_size=1, max_size=4).map("".join)
SIZES = st.integers(1, 5)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)


@st.composite
def series_encoders(draw: st.DrawFn) -> s.SeriesEncoder:
    columns = draw(st.lists(NAMES, min_size=1, max_size=8, unique=True))
    cuts = sorted(draw(st.tuples(*[st.integers(1, len(columns))] * 3)))
    targets, past, known, static = (
        tuple(columns[a:b]) for a, b in zip([0, *cuts], [*cuts, len(columns)], strict=True)
    )
    reads = draw(st.sampled_from(s.READS))
    calendar = tuple(draw(st.lists(st.sampled_from(s.CALENDAR), unique=True)))
    if not (past or known or static or calendar) and reads == "nothing":
        reads = "both"
    step, context = draw(st.sampled_from(["row", "1h", "15m"])), draw(SIZES)
    zone = draw(
        st.sampled_from(["", "local", "UTC", "+05:30", "-11:00", "Europe/Berlin", "America/Port-au-Prince"])
    )
    may = range(1, context) if reads != "nothing" else ()
    seasons = tuple(season for season in may if draw(st.booleans()))
    categories = draw(some_categories((*past, *static, *known)))
    transform = draw(st.just(()) | st.tuples(*[st.sampled_from(s.TRANSFORMS)] * len(targets)))
    transform = transform if set(transform) != {"none"} else ()
    scale = draw(st.sampled_from(SCALES)) if reads != "nothing" else "global"
    numbers = (calendar, step, context, reads, zone, seasons, categories, transform, (), scale)
    return s.SeriesEncoder(targets, past, known, static, *numbers)


@st.composite
def stacks(draw: st.DrawFn) -> s.StackSpec:
    hidden_size = draw(SIZES)
    dropout = draw(st.floats(0, 1, exclude_max=True) | st.just(0))
    return s.StackSpec(hidden_size, draw(st.integers(1, 3)), dropout, draw(st.integers(0, hidden_size - 1)))


@st.composite
def quantile_heads(draw: st.DrawFn, targets: int = 1) -> s.QuantileHead:
    levels = draw(st.sets(st.floats(0, 1, exclude_min=True, exclude_max=True), max_size=3))
    bounds = st.just(()) | st.lists(NUMBERS, min_size=targets, max_size=targets).map(tuple)
    minimum, maximum = draw(bounds), draw(bounds)
    if not all(a < b for a, b in zip(minimum, maximum, strict=False)):
        maximum = ()
    return s.QuantileHead(draw(SIZES), tuple(sorted(levels | {0.5})), minimum, maximum)


@st.composite
def feature_encoders(draw: st.DrawFn) -> s.FeatureEncoder:
    columns = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    categories = draw(some_categories(columns))
    numeric = [name for name in columns if name not in {each.column for each in categories}]
    return s.FeatureEncoder(tuple(columns), tuple(name for name in numeric if draw(st.booleans())), categories)


@st.composite
def some_categories(draw: st.DrawFn, columns: Sequence[str]) -> tuple[s.Category, ...]:
    return tuple(
        s.Category(name, tuple(draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))), draw(SIZES))
        for name in columns
        if draw(st.integers(0, 3)) == 0
    )


@st.composite
def class_heads(draw: st.DrawFn) -> s.ClassHead | s.StepClassHead:
    classes = draw(st.lists(TEXTS, min_size=2, max_size=5, unique=True))
    pooling = draw(st.sampled_from(("", *s.POOLINGS)))
    return s.ClassHead(tuple(classes), pooling) if pooling else s.StepClassHead(tuple(classes))


@st.composite
def model_specs(draw: st.DrawFn) -> s.ModelSpec:
    kind = draw(st.sampled_from(("series", "symbols", "features")))
    if kind == "series":
        encoder = draw(series_encoders())
        return s.ModelSpec(encoder, draw(stacks()), draw(quantile_heads(len(encoder.targets))))
    if kind == "features":
        stack = replace(draw(stacks()), bidirectional=draw(st.booleans()))
        return s.ModelSpec(draw(feature_encoders()), stack, draw(class_heads()))
    encoder = s.SymbolEncoder(draw(st.integers(2, 6)), draw(SIZES))
    return s.ModelSpec(encoder, draw(stacks()), s.SymbolHead())


@st.composite
def scalers(
    draw: st.DrawFn,
    columns: tuple[str, ...] | None = None,
    targets: int = 1,
    categories: tuple[str, ...] = (),
    transform: tuple[str, ...] | None = None,
    window: int = 0,
) -> s.Scaler:
    if columns is None:
        columns = tuple(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))
    means, scales = (
        tuple(draw(st.lists(numbers, min_size=len(columns), max_size=len(columns))))
        for numbers in (NUMBERS, POSITIVE)
    )
    changes = tuple(draw(st.lists(POSITIVE, min_size=targets, max_size=targets)))
    plain = [name in categories for name in columns]
    means = tuple(0.0 if category else mean for mean, category in zip(means, plain, strict=True))
    scales = tuple(1.0 if category else scale for scale, category in zip(scales, plain, strict=True))
    if transform is None:
        transform = draw(st.sampled_from([(), ("log",) * targets]))
    numbers, deviations = (
        tuple(draw(st.lists(POSITIVE, min_size=len(transform), max_size=len(transform)))) for _ in "nd"
    )
    of_window = (
        tuple(draw(st.lists(POSITIVE, min_size=targets, max_size=targets))) if window else () for _ in "lrf"
    )
    return s.Scaler(columns, means, scales, changes, numbers, deviations, *of_window)


@st.composite
def vocabularies(draw: st.DrawFn, size: int | None = None) -> s.Vocabulary:
    characters = CHARACTERS.filter(lambda character: character != s.UNKNOWN)
    least, most = (0, 5) if size is None else (size - 1, size - 1)
    return s.Vocabulary((s.UNKNOWN, *draw(st.lists(characters, min_size=least, max_size=most, unique=True))))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 70)
    | st.sampled_from([2**31 - 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**4000, -(2**70)])
    | st.floats()
    | st.sampled_from([math.nan, math.inf, -0.0, 1e-7])
    | st.sampled_from(["", "series", "symbols", "next_symbol", "1", "2", "\ud800", "a\0b", "F16", "BF16"])
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def changed_json(draw: st.DrawFn, plain: Any) -> Any:
    """Parsed JSON with one node replaced, left out, doubled, renamed or moved."""
    root = [copy.deepcopy(plain)]
    places = list(_places(root))
    # Places first, then what happens there: each place is as likely as any other.
    holder, key = draw(st.sampled_from(places))
    what = draw(st.sampled_from(["replace", "replace", "nudge", "drop", "add", "rename", "swap"]))
    value = holder[key]
    if what == "nudge" and type(value) in (int, float):
        holder[key] = value + draw(st.sampled_from([-1, 1, 0.5, -value, value]))
    elif what == "drop" and holder is not root:
        del holder[key]
    elif what == "add" and isinstance(value, dict):
        value[draw(TEXTS)] = draw(JSON)
    elif what == "add" and isinstance(value, list):
        value.insert(draw(st.integers(0, len(value))), draw(JSON | st.sampled_from([*value, 0])))
    elif what == "rename" and isinstance(holder, dict):
        name = draw(TEXTS | st.sampled_from(list(holder)))
        holder[name] = holder.pop(key)
    elif what == "swap":
        other, other_key = draw(st.sampled_from(places))
        holder[key] = copy.deepcopy(other[other_key])
    else:
        holder[key] = draw(JSON)
    return root[0]


def _places(holder: Any) -> Any:
    for key in range(len(holder)) if isinstance(holder, list) else holder:
        yield holder, key
        if isinstance(holder[key], (list, dict)):
            yield from _places(holder[key])
