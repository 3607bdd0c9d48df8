#include "c/parts.h"

#include <algorithm>
#include <cmath>

namespace gatewright {

namespace {

void need(bool good, gatewright_status status) {
    if (!good) throw Refused{status};
}

template <class T>
void need_numbers(const T* data, int64_t count) {
    need(data, GATEWRIGHT_NULL_POINTER);
    need(count >= 0, GATEWRIGHT_SIZE);
    need(finite(data, count), GATEWRIGHT_WEIGHT);
}

void need_scales(const double* data, int64_t count) {
    need_numbers(data, count);
    need(std::all_of(data, data + count, [](double scale) { return scale > 0; }), GATEWRIGHT_WEIGHT);
}

// heads: of an sLSTM; 0: an LSTM.
ModelParts::Layer layer_of(const gatewright_layer& given, int64_t heads) {
    const int64_t D = given.D, H = given.H, P = given.P;
    for (const int64_t size : {D, H, P}) need(is_size(size), GATEWRIGHT_SIZE);
    need(given.W_hr ? P < H : P == H, GATEWRIGHT_SIZE);
    need(heads == 0 || (!given.W_hr && H % heads == 0), GATEWRIGHT_SIZE);
    const int64_t read = heads ? H / heads : P;
    need((given.b_ih == nullptr) == (given.b_hh == nullptr), GATEWRIGHT_NULL_POINTER);
    need_numbers(given.W_ih, product(4, H, D));
    need_numbers(given.W_hh, product(4, H, read));
    if (given.b_ih) need_numbers(given.b_ih, 4 * H);
    if (given.b_hh) need_numbers(given.b_hh, 4 * H);
    if (given.W_hr) need_numbers(given.W_hr, product(P, H));
    return {D, H, P, {given.W_ih, given.W_hh, given.b_ih, given.b_hh, given.W_hr}, {}, heads > 1 ? read : 0};
}

Activation activation_of(gatewright_activation given, gatewright_activation last) {
    const auto number = static_cast<int32_t>(given);
    need(number >= GATEWRIGHT_SMOOTH && number <= last, GATEWRIGHT_SIZE);
    return static_cast<Activation>(number);
}

void read_cell_weights(const gatewright_cell_weights& given, int64_t H, Variant<float>& variant) {
    const bool normed = given.w_ln != nullptr;
    need((given.w_ln_cell != nullptr) == normed && (given.b_ln_cell != nullptr) == normed,
         GATEWRIGHT_NULL_POINTER);
    if (given.w_ch) need_numbers(given.w_ch, 3 * H);
    if (normed) {
        need_numbers(given.w_ln, 4 * H);
        need_numbers(given.w_ln_cell, H);
        need_numbers(given.b_ln_cell, H);
    }
    variant.peepholes = given.w_ch;
    variant.gains = given.w_ln;
    variant.cell_gain = given.w_ln_cell;
    variant.cell_bias = given.b_ln_cell;
}

// Heads of an sLSTM, 0 of another cell, which that of parts before version 6 is.
int64_t heads_of(const gatewright_cell& given) {
    const auto kind = static_cast<int32_t>(given.kind);
    need(kind == GATEWRIGHT_LSTM || kind == GATEWRIGHT_SLSTM, GATEWRIGHT_SIZE);
    if (kind == GATEWRIGHT_SLSTM)
        need(is_size(given.heads), GATEWRIGHT_SIZE);
    else
        need(given.heads == 0 && !given.exponential_forget_gate, GATEWRIGHT_SIZE);
    return given.heads;
}

// Reads what an sLSTM has, and requires that it has nothing of an LSTM.
void read_slstm(const gatewright_cell& given, ModelParts& parts) {
    need(parts.kept == Kept::float32 || parts.kept == Kept::bfloat16, GATEWRIGHT_SIZE);
    const bool plain = !given.coupled && !given.no_input_gate && !given.no_forget_gate && !given.no_output_gate &&
                       given.gate == GATEWRIGHT_SMOOTH && given.candidate == GATEWRIGHT_SMOOTH &&
                       given.output == GATEWRIGHT_SMOOTH;
    need(plain && given.cell_clip == 0 && given.zoneout_cell == 0 && given.zoneout_hidden == 0 && !given.weights,
         GATEWRIGHT_SIZE);
    for (ModelParts::Layer& layer : parts.layers) {
        layer.variant.general = layer.variant.slstm = true;
        layer.variant.exponential_forget = given.exponential_forget_gate != 0;
    }
}

// Reads the cell of all layers, which parts before version 5 do not have.
void read_cell(const gatewright_cell& given, ModelParts& parts) {
    need(parts.kept == Kept::float32 || parts.kept == Kept::bfloat16, GATEWRIGHT_SIZE);
    need(!given.coupled || !(given.no_input_gate || given.no_forget_gate), GATEWRIGHT_SIZE);
    need(std::isfinite(given.cell_clip) && given.cell_clip >= 0, GATEWRIGHT_SIZE);
    for (const double rate : {given.zoneout_cell, given.zoneout_hidden})
        need(rate >= 0 && rate < 1, GATEWRIGHT_SIZE);
    Variant<float> variant{};
    variant.general = true;
    variant.coupled = given.coupled != 0;
    variant.no_input_gate = given.no_input_gate != 0;
    variant.no_forget_gate = given.no_forget_gate != 0;
    variant.no_output_gate = given.no_output_gate != 0;
    variant.gate = activation_of(given.gate, GATEWRIGHT_HARD);
    variant.candidate = activation_of(given.candidate, GATEWRIGHT_IDENTITY);
    variant.output = activation_of(given.output, GATEWRIGHT_IDENTITY);
    variant.cell_clip = given.cell_clip;
    variant.rates[static_cast<int>(Purpose::zoneout_cell)] = given.zoneout_cell;
    variant.rates[static_cast<int>(Purpose::zoneout_hidden)] = given.zoneout_hidden;
    for (std::size_t k = 0; k < parts.layers.size(); ++k) {
        ModelParts::Layer& layer = parts.layers[k];
        need(!layer.weights.W_hr || given.zoneout_hidden == 0, GATEWRIGHT_SIZE);
        layer.variant = variant;
        if (given.weights) read_cell_weights(given.weights[k], layer.H, layer.variant);
    }
}

// Reads the seasons of a forecaster, which parts of version 1 do not have.
void read_seasons(const gatewright_columns& given, Columns& columns) {
    need(is_size(given.season_count, 0), GATEWRIGHT_SIZE);
    if (given.season_count == 0) return;
    need(given.seasons, GATEWRIGHT_NULL_POINTER);
    need(given.observed, GATEWRIGHT_SIZE);
    int64_t before = 0;
    for (int64_t k = 0; k < given.season_count; before = given.seasons[k++])
        need(is_size(given.seasons[k]) && given.seasons[k] > before, GATEWRIGHT_SIZE);
    const int64_t weights = product(given.season_count, given.horizon, given.targets);
    need_numbers(given.season_weight, weights);
    columns.seasons.assign(given.seasons, given.seasons + given.season_count);
    columns.season_weight.assign(given.season_weight, given.season_weight + weights);
}

// Reads transforms of the targets and bounds of their forecasts, which parts before version 3 do not have.
void read_target_units(const gatewright_columns& given, Columns& columns) {
    const int64_t targets = given.targets;
    if (given.transform) {
        need_numbers(given.transform_number, targets);
        for (int64_t k = 0; k < targets; ++k) {
            const auto kind = static_cast<int32_t>(given.transform[k]);
            const double number = given.transform_number[k];
            need(kind >= GATEWRIGHT_NONE && kind <= GATEWRIGHT_BOXCOX, GATEWRIGHT_SIZE);
            need(number > 0 || (kind != GATEWRIGHT_LOG1P && kind != GATEWRIGHT_ASINH), GATEWRIGHT_WEIGHT);
            columns.transforms.push_back({static_cast<Transform>(kind), number});
        }
    }
    const auto not_a_number = [](double bound) { return std::isnan(bound); };
    const auto read = [&](const double* from, std::vector<double>& to) {
        if (!from) return;
        to.assign(from, from + targets);
        need(std::none_of(to.begin(), to.end(), not_a_number), GATEWRIGHT_WEIGHT);
    };
    read(given.minimum, columns.minimum);
    read(given.maximum, columns.maximum);
    if (given.minimum && given.maximum)
        for (int64_t k = 0; k < targets; ++k) need(given.minimum[k] <= given.maximum[k], GATEWRIGHT_SIZE);
}

// Reads the scale of a window, which parts before version 4 do not have.
void read_window(const gatewright_columns& given, Columns& columns) {
    need(is_size(given.window, 0), GATEWRIGHT_SIZE);
    if (given.window == 0) return;
    need(given.observed, GATEWRIGHT_SIZE);
    need_scales(given.least_scale, given.targets);
    need_scales(given.scale_factor, given.targets);
    need_numbers(given.scale_ratio, given.targets);
    need(
        std::all_of(given.scale_ratio, given.scale_ratio + given.targets, [](double ratio) { return ratio >= 0; }),
        GATEWRIGHT_WEIGHT);
    columns.window = {given.window,
                      {given.least_scale, given.least_scale + given.targets},
                      {given.scale_ratio, given.scale_ratio + given.targets},
                      {given.scale_factor, given.scale_factor + given.targets}};
}

// Reads the sizes of the categories of a forecaster, which parts of earlier versions do not have.
void read_categories(const gatewright_columns& given, Columns& columns) {
    need(is_size(given.category_count, 0), GATEWRIGHT_SIZE);
    if (given.category_count == 0) return;
    need(given.categories, GATEWRIGHT_NULL_POINTER);
    int64_t before = -1;
    for (int64_t k = 0; k < given.category_count; ++k) {
        const gatewright_category& each = given.categories[k];
        need(each.input > before && each.input < given.past + given.statics + given.known, GATEWRIGHT_SIZE);
        need(is_size(each.count, 2) && is_size(each.size), GATEWRIGHT_SIZE);
        columns.categories.push_back({each.input, each.count, each.size, {}});
        // Of a table as wide as this no model can be made, and encoded_width() would overflow.
        need(product(each.size, columns.steps(columns.categories.back())) >= 0, GATEWRIGHT_SIZE);
        before = each.input;
    }
}

// Reads the distribution of the forecasts, which parts before version 4 do not have.
void read_distribution(const gatewright_columns& given, Columns& columns) {
    const auto family = static_cast<int32_t>(given.distribution);
    need(family >= GATEWRIGHT_QUANTILES && family <= kLastFamily, GATEWRIGHT_SIZE);
    if (family == GATEWRIGHT_QUANTILES) return;
    need(given.levels, GATEWRIGHT_NULL_POINTER);
    const double* const end = given.levels + given.quantiles;
    need(std::all_of(given.levels, end, [](double each) { return each > 0 && each < 1; }), GATEWRIGHT_SIZE);
    columns.distribution = {static_cast<Family>(family), {given.levels, end}};
    const bool plain = given.season_count == 0 && !given.transform && given.window == 0;
    need(plain || !counts(columns.distribution.family), GATEWRIGHT_SIZE);
}

// Checks columns against what stands around them: D of the first layer, and the width of the head, 0 without one.
Columns columns_of(const gatewright_columns& given, int64_t version, int64_t D, int64_t out) {
    for (const int64_t count : {given.targets, given.horizon, given.quantiles})
        need(is_size(count), GATEWRIGHT_SIZE);
    for (const int64_t count : {given.past, given.statics, given.phases, given.known})
        need(is_size(count, 0), GATEWRIGHT_SIZE);
    need(product(given.known, given.horizon) >= 0, GATEWRIGHT_SIZE);
    Columns columns{given.targets,
                    given.past,
                    given.statics,
                    given.phases,
                    given.known,
                    given.horizon,
                    given.quantiles,
                    given.change != 0,
                    given.level != 0,
                    given.observed != 0,
                    {},
                    {},
                    {},
                    {},
                    {}};
    if (version > 3) read_distribution(given, columns);
    need(out == product(given.horizon, given.targets, columns.outputs()), GATEWRIGHT_SIZE);
    need(product(given.horizon, given.targets, given.quantiles) >= 0, GATEWRIGHT_SIZE);
    if (version > 2) read_categories(given, columns);
    need(D == columns.encoded_width(), GATEWRIGHT_SIZE);
    for (std::size_t k = 0; k < columns.categories.size(); ++k) {
        const float* const vectors = given.categories[k].vectors;
        const int64_t size = product(given.categories[k].count, given.categories[k].size);
        need_numbers(vectors, size);
        columns.categories[k].vectors.assign(vectors, vectors + size);
    }
    const int64_t scaled = given.targets + given.past + given.known + given.statics;
    need_numbers(given.mean, scaled);
    need_scales(given.scale, scaled);
    need_scales(given.change_scale, given.targets);
    columns.mean.assign(given.mean, given.mean + scaled);
    columns.scale.assign(given.scale, given.scale + scaled);
    columns.change_scale.assign(given.change_scale, given.change_scale + given.targets);
    if (version > 1) read_seasons(given, columns);
    if (version > 2) read_target_units(given, columns);
    if (version > 3) read_window(given, columns);
    return columns;
}

// Reads the pooling of the steps and the categories of features, which parts of earlier versions do not have.
void read_features(const gatewright_parts& given, ModelParts& parts) {
    const int32_t pooling = static_cast<int32_t>(given.pooling);
    need(pooling >= GATEWRIGHT_LAST && pooling <= GATEWRIGHT_ATTENTION, GATEWRIGHT_SIZE);
    need(is_size(given.category_count, 0), GATEWRIGHT_SIZE);
    if (pooling == GATEWRIGHT_LAST && given.category_count == 0) return;
    need(parts.reads == Reads::features, GATEWRIGHT_SIZE);
    if (pooling != GATEWRIGHT_LAST) need(parts.head_W, GATEWRIGHT_NULL_POINTER);
    if (pooling == GATEWRIGHT_ATTENTION) need_numbers(given.pool_weight, parts.layers.back().P);
    parts.pooling = static_cast<Pooling>(pooling);
    parts.pool_W = given.pool_weight;
    if (given.category_count == 0) return;
    need(given.categories, GATEWRIGHT_NULL_POINTER);
    int64_t width = parts.layers.front().D, before = -1;
    for (int64_t k = 0; k < given.category_count; ++k) {
        const gatewright_category& each = given.categories[k];
        need(each.input > before && is_size(each.count, 2) && is_size(each.size), GATEWRIGHT_SIZE);
        width -= each.size - 1;
        before = each.input;
    }
    need(width > before, GATEWRIGHT_SIZE);
    parts.columns.past = width;
    for (int64_t k = 0; k < given.category_count; ++k) {
        const gatewright_category& each = given.categories[k];
        const int64_t size = product(each.count, each.size);
        need_numbers(each.vectors, size);
        parts.columns.categories.push_back(
            {each.input, each.count, each.size, {each.vectors, each.vectors + size}});
    }
}

Kept kept_of(gatewright_kept kept) {
    switch (kept) {
        case GATEWRIGHT_FLOAT32:
            return Kept::float32;
        case GATEWRIGHT_BFLOAT16:
            return Kept::bfloat16;
        case GATEWRIGHT_INT8:
            return Kept::int8;
        case GATEWRIGHT_BFLOAT16_FLOAT32:
            return Kept::bfloat16_float32;
        case GATEWRIGHT_INT8_FLOAT32:
            return Kept::int8_float32;
    }
    throw Refused{GATEWRIGHT_SIZE};
}

}  // namespace

ModelParts parts_of(const gatewright_parts& given) {
    need(given.version >= 1 && given.version <= GATEWRIGHT_VERSION, GATEWRIGHT_ANOTHER_VERSION);
    need(!given.embedding || !given.columns, GATEWRIGHT_SIZE);
    need(is_size(given.layer_count), GATEWRIGHT_SIZE);
    need(given.layers, GATEWRIGHT_NULL_POINTER);
    ModelParts parts{};
    parts.residual = given.version > 5 && given.residual;
    const int64_t heads = given.version > 5 && given.cell ? heads_of(*given.cell) : 0;
    for (int64_t k = 0; k < given.layer_count; ++k) {
        parts.layers.push_back(layer_of(given.layers[k], heads));
        need(k == 0 || parts.layers[k].D == parts.layers[k - 1].P, GATEWRIGHT_SIZE);
        need(k == 0 || !parts.residual || parts.layers[k].D == parts.layers[k].P, GATEWRIGHT_SIZE);
    }
    const int64_t D = parts.layers.front().D, P = parts.layers.back().P;
    if (given.embedding) {
        need(is_size(given.symbols), GATEWRIGHT_SIZE);
        need_numbers(given.embedding, product(given.symbols, D));
        parts.embedding = given.embedding;
        parts.symbols = given.symbols;
    }
    if (given.head_W) {
        need(is_size(given.out), GATEWRIGHT_SIZE);
        need_numbers(given.head_W, product(given.out, P));
        if (given.head_b) need_numbers(given.head_b, given.out);
        parts.head_W = given.head_W;
        parts.head_b = given.head_b;
        parts.out = given.out;
    }
    if (given.columns) parts.columns = columns_of(*given.columns, given.version, D, parts.out);
    parts.kept = kept_of(given.kept);
    for (const ModelParts::Layer& layer : parts.layers)
        need(sums_fit(parts.kept, layer.D, layer.P), GATEWRIGHT_SIZE);
    parts.reads = given.columns ? Reads::series : given.embedding ? Reads::symbols : Reads::features;
    if (given.version > 3) read_features(given, parts);
    if (heads)
        read_slstm(*given.cell, parts);
    else if (given.version > 4 && given.cell)
        read_cell(*given.cell, parts);
    return parts;
}

}  // namespace gatewright
