"""From the hidden state to a forecast in the targets' units, in C99."""

from __future__ import annotations

from gatewright.exchange.c99 import distributions
from gatewright.exchange.c99.source import Source
from gatewright.files.model_file import ModelFile

_SEASONAL = """\
/* How a target went on one season before, for each season times its weight: the row of the step ahead less the
 * row now, both one season before, in units of scale. */
static float seasonal(const model_state* s, int ahead, int target$unit)
{
    static const int season[$count] = {$seasons};
    float sum = 0.0f;
    for (int k = 0; k < $count; ++k) {
        const int place = (s->place + MODEL_RECENT - season[k]) % MODEL_RECENT;
        const float before = s->recent[place][target];
        const float after = s->recent[(place + ahead % season[k] + 1) % MODEL_RECENT][target];
        if (!isnan(before)) sum += season_weight[k][ahead][target] * $difference;
    }
    return sum;
}
"""

_SORT = """\
static void sort(float* z, int count)
{
    for (int k = 1; k < count; ++k) {
        const float value = z[k];
        int place = k;
        for (; place > 0 && z[place - 1] > value; --place) z[place] = z[place - 1];
        z[place] = value;
    }
}
"""

_OF_DISTRIBUTION = """\
const float deviation = 1e-4f + exp_less(z[1] > 20.0f ? 20.0f : z[1], 0.0f);
            float quantile[MODEL_QUANTILES];
            standard(z + 2, quantile);"""

_DECODE = """\
/* Gives the forecast of each step ahead and target: $what, in the targets' own units. */
static void decode(const float* y, const model_number* centre$unit_parameter$state, model_number* forecast)
{
    for (int j = 0; j < MODEL_HORIZON; ++j)
        for (int k = 0; k < MODEL_TARGETS; ++k) {
            float z[$outputs];
            for (int q = 0; q < $outputs; ++q) {
                z[q] = head_bias[j][k][q];
                for (int p = 0; p < $P; ++p) z[q] += head_weight[j][k][q][p] * y[p];
            }
            $seasonal
            $prepared
            for (int q = 0; q < MODEL_QUANTILES; ++q) {
                model_number value = $back;
                $minimum
                $maximum
                *forecast++ = value;
            }
        }
}
"""


def add(source: Source, file: ModelFile) -> None:
    """Add the head, and the function from what it gives to forecasts."""
    assert file.spec.forecaster is not None
    encoder, head = file.spec.forecaster
    T, outputs = len(encoder.targets), len(head.output_names)
    shape = (head.horizon, T, outputs)
    source.weights("head_weight", file.tensors["head.weight"].reshape(*shape, -1))
    source.weights("head_bias", file.tensors["head.bias"].reshape(shape))
    unit = "unit[k]" if encoder.window else "target_scale[k]"
    family, quantiles = head.family, len(head.quantiles)
    if encoder.seasons:
        _add_seasons(source, file)
    if family is not None:
        distributions.add(source, head)
        prepared = _OF_DISTRIBUTION
        value = f"((model_number)z[0] + (model_number)(deviation * quantile[q])) * {unit} + centre[k]"
    else:
        if quantiles > 1:
            source.functions.append(_SORT)
        prepared = "sort(z, MODEL_QUANTILES);" if quantiles > 1 else ""
        value = f"(model_number)z[q] * {unit} + centre[k]"
    for name, bounds in (("minimum", head.minimum), ("maximum", head.maximum)):
        if bounds:
            source.numbers(name, bounds)
    arguments = f"s, j, k{', unit[k]' if encoder.window else ''}"
    moved = "z[0] += " if family is not None or quantiles == 1 else "const float moved = "
    rest = (
        "" if family is not None or quantiles == 1 else " for (int q = 0; q < MODEL_QUANTILES; ++q) z[q] += moved;"
    )
    source.function(
        _DECODE,
        what=f"quantiles of a distribution, {head.distribution}" if family is not None else "quantiles in order",
        unit_parameter=", const model_number* unit" if encoder.window else "",
        state=", const model_state* s" if encoder.seasons else "",
        outputs=outputs,
        P=file.spec.lstm.output_size,
        seasonal=f"{moved}seasonal({arguments});{rest}" if encoder.seasons else "",
        prepared=prepared,
        back=f"in_units({value}, k)" if encoder.transform else value,
        minimum="if (value < minimum[k]) value = minimum[k];" if head.minimum else "",
        maximum="if (value > maximum[k]) value = maximum[k];" if head.maximum else "",
    )


def _add_seasons(source: Source, file: ModelFile) -> None:
    """Add the weights of the seasonal differences, and the function that sums them up."""
    seasons = file.spec.encoder.seasons
    source.weights("season_weight", file.tensors["season.weight"])
    difference = "(after - before)"
    window = file.spec.encoder.window > 0
    source.function(
        _SEASONAL,
        count=len(seasons),
        seasons=", ".join(map(str, seasons)),
        unit=", double unit" if window else "",
        difference=f"(float)((double){difference} * (target_scale[target] / unit))" if window else difference,
    )
