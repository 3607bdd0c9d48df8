"""The targets of a forecaster in C99: transforms, what a session remembers of them, the scale of a window."""

from __future__ import annotations

from typing import Any

from gatewright.exchange.c99.source import Source, filled
from gatewright.spec import Scaler, SeriesEncoder

#: Changes that a window has seen before its first row, in effect: `native/stream/window_scale.h`.
_PRIOR = 32

_FORWARD = {
    "none": "return y;",
    "log": "return y > 0.0$f && y <= 1e38$f ? log$f(y) : (model_number)NAN;",
    "log1p": "return copysign$f(log1p$f(fabs$f(y) / $n), y);",
    "asinh": "return asinh$f(y / $n);",
    "boxcox": "return y > 0.0$f && y <= 1e38$f ? expm1$f($n * log$f(y)) / $n : (model_number)NAN;",
}

_BACK = {
    "none": "return z;",
    "log": "return largest(exp$f(z));",
    "log1p": "return largest(copysign$f($n * expm1$f(fabs$f(z)), z));",
    "asinh": "return largest($n * sinh$f(z));",
    "boxcox": "return $n * z <= -1.0$f ? $end : largest(exp$f(log1p$f($n * z) / $n));",
}

_TRANSFORMS = """\
/* A target as it is computed with; NaN for a value that its transform does not allow. */
static model_number transformed(model_number y, int target)
{
    switch (target) {
$forward
    }
}

/* At most 1e38, which a float holds. */
static model_number largest(model_number y)
{
    return y > 1e38$f ? 1e38$f : y < -1e38$f ? -1e38$f : y;
}

/* A target in its own units. */
static model_number in_units(model_number z, int target)
{
    switch (target) {
$back
    }
}
"""

_GLOBAL = """\
    for (int k = 0; k < MODEL_TARGETS; ++k) {
        $change
        if (!isnan(z[k])) s->last[k] = z[k];
        $level
        $observed
        $recent
        centre[k] = isnan(s->last[k]) ? target_mean[k] : s->last[k];
    }"""

_WINDOW = """\
    for (int k = 0; k < MODEL_TARGETS; ++k) {
        model_window* const w = &s->window[k];
        const double before = isnan(s->last[k]) ? z[k] : s->last[k];
        if (!isnan(z[k])) {
            if (isnan(s->last[k])) {
                w->origin = z[k];
            } else if (w->count >= $rows.0) {  /* older rows count less from here on */
                w->moved *= 1.0 - 1.0 / $rows.0;
                w->size *= 1.0 - 1.0 / $rows.0;
                w->drift *= 1.0 - 1.0 / $rows.0;
                w->count = $rows.0 - 1.0;
            }
            w->moved += fabs(z[k] - before);
            w->size += fabs(z[k]);
            w->drift += z[k] - w->origin;
            w->count += 1.0;
            s->last[k] = z[k];
        }
        double move = fmax(least_scale[k], change_scale[k]);
        centre[k] = target_mean[k];
        $change_none
        $level_none
        if (!isnan(s->last[k])) {
            const double expected = fmax(least_scale[k], scale_ratio[k] * (w->size / w->count));
            move = fmax(least_scale[k], (w->moved + $prior.0 * expected) / (w->count - 1.0 + $prior.0));
            centre[k] = s->last[k];
            $change
            $level
        }
        unit[k] = scale_factor[k] * move;
        $observed
        $recent
    }"""

_WINDOW_TYPE = """\
/* What a session has seen of a target: its first value; sums of the sizes of changes, of the sizes of values and
 * of their differences from the first one; and their number. */
typedef struct model_window {
    double origin, moved, size, drift, count;
} model_window;
"""


def add(source: Source, encoder: SeriesEncoder, scaler: Scaler) -> None:
    """Add the numbers of the targets, their transforms, and what a session remembers of them."""
    T = len(encoder.targets)
    source.numbers("target_mean", scaler.mean[:T])
    source.numbers("target_scale", scaler.scale[:T])
    if encoder.transform:
        parts = {
            "forward": _cases(source, encoder, scaler, _FORWARD),
            "back": _cases(source, encoder, scaler, _BACK),
        }
        source.function(_TRANSFORMS, f=source.suffix, **parts)
    if not encoder.reads_targets:
        return
    if encoder.window or encoder.reads in ("change", "both"):
        source.numbers("change_scale", scaler.change_scale)
    source.state.append("model_number last[MODEL_TARGETS];  /* observed value, NaN before the first */")
    source.reset.append("for (int k = 0; k < MODEL_TARGETS; ++k) state->last[k] = (model_number)NAN;")
    if encoder.window:
        source.types.append(_WINDOW_TYPE)
        source.state.append("model_window window[MODEL_TARGETS];")
        for name in ("least_scale", "scale_ratio", "scale_factor"):
            source.numbers(name, getattr(scaler, name))
    if encoder.seasons:
        source.sizes["RECENT"] = encoder.recent
        source.state.append("float recent[MODEL_RECENT][MODEL_TARGETS];  /* of the last rows, in turn */")
        source.state.append("int32_t place;  /* of the next row among them */")
        source.reset += [
            "for (int k = 0; k < MODEL_RECENT; ++k)",
            "    for (int j = 0; j < MODEL_TARGETS; ++j) state->recent[k][j] = NAN;",
        ]


def _cases(source: Source, encoder: SeriesEncoder, scaler: Scaler, texts: dict[str, str]) -> str:
    """Return the case of each target."""
    lines = []
    for k, (name, number) in enumerate(zip(encoder.transform, scaler.transform_number, strict=True)):
        kind = "log" if name == "boxcox" and number == 0 else name
        end = source.literal(0.0 if number > 0 else 1e38)
        text = filled(texts[kind], f=source.suffix, n=source.literal(number), end=end)
        lines.append(f"    {'default' if k == len(encoder.targets) - 1 else f'case {k}'}: {text}")
    return "\n".join(lines)


def reads(encoder: SeriesEncoder) -> str:
    """Return the statements that read the targets of a row, and change what a session remembers of them."""
    T = len(encoder.targets)
    change, level = encoder.reads in ("change", "both"), encoder.reads in ("level", "both")
    levels, observed = T * change, T * (change + level)
    places = {"change": "x[k]", "level": f"x[{levels} + k]" if levels else "x[k]"}
    parts: dict[str, Any] = {"observed": f"x[{observed} + k] = isnan(z[k]) ? 0.0f : 1.0f;", "recent": ""}
    if encoder.window:
        parts |= {"change_none": f"{places['change']} = 0.0f;" if change else ""}
        parts |= {"level_none": f"{places['level']} = 0.0f;" if level else ""}
        off = "(s->last[k] - w->origin - w->drift / w->count) / (scale_factor[k] * move)"
        parts["change"] = f"{places['change']} = (float)((s->last[k] - before) / move);" if change else ""
        parts["level"] = f"{places['level']} = (float)({off});" if level else ""
        if encoder.seasons:
            value = "(float)((s->last[k] - w->origin) / target_scale[k])"
            parts["recent"] = f"s->recent[s->place][k] = isnan(s->last[k]) ? NAN : {value};"
        return filled(_WINDOW, rows=encoder.window, prior=_PRIOR, **parts)
    none = "isnan(z[k]) || isnan(s->last[k]) ? 0.0f"
    parts["change"] = (
        f"{places['change']} = {none} : (float)((z[k] - s->last[k]) / change_scale[k]);" if change else ""
    )
    scaled = "(float)((s->last[k] - target_mean[k]) / target_scale[k])"
    parts["level"] = f"{places['level']} = isnan(s->last[k]) ? 0.0f : {scaled};" if level else ""
    if encoder.seasons:
        parts["recent"] = f"s->recent[s->place][k] = isnan(s->last[k]) ? NAN : {scaled};"
    return filled(_GLOBAL, **parts)
