// Python's way into models of streams: layers, columns and head, checked.
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <cmath>

#include "python/cell_args.h"
#include "python/stream_bindings.h"
#include "stream/stream.h"

namespace gatewright {

namespace {

using Given = std::shared_ptr<Model>;
// targets, past, statics, phases, known, horizon, quantiles; change, level, observed; mean, scale, change_scale;
// seasons, and their weights in order; transforms of the targets with their numbers; bounds of forecasts;
// of each category its input and its vectors; rows of a window, or 0, with the least scale and the ratio of a
// target; the family of a distribution, and the levels of the quantiles.
using Counts = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t>;
using Window = std::tuple<int64_t, std::vector<double>, std::vector<double>, std::vector<double>>;
using ColumnsGiven =
    std::tuple<Counts, std::tuple<bool, bool, bool>, std::vector<double>, std::vector<double>, std::vector<double>,
               std::vector<int64_t>, std::vector<float>, std::vector<int64_t>, std::vector<double>,
               std::vector<double>, std::vector<double>, std::vector<std::tuple<int64_t, Array>>, Window,
               std::tuple<int64_t, std::vector<double>>>;

std::vector<TargetTransform> transforms_of(const std::vector<int64_t>& kinds, const std::vector<double>& numbers) {
    if (kinds.size() != numbers.size())
        refuse("transform", std::to_string(kinds.size()) + " numbers", std::to_string(numbers.size()));
    std::vector<TargetTransform> transforms;
    for (size_t k = 0; k < kinds.size(); ++k) {
        if (kinds[k] < 0 || kinds[k] > static_cast<int64_t>(Transform::boxcox))
            refuse("transform", "a number from 0 to 4", std::to_string(kinds[k]));
        transforms.push_back({static_cast<Transform>(kinds[k]), numbers[k]});
    }
    return transforms;
}

std::vector<Category> categories_of(const std::vector<std::tuple<int64_t, Array>>& given) {
    std::vector<Category> all;
    for (const auto& [input, vectors] : given) {
        if (vectors.ndim() != 2) refuse("categories", "vectors (values, size)", shape_of(vectors));
        const int64_t count = int64_t(vectors.shape(0)), size = int64_t(vectors.shape(1));
        const float* const data = dense<float>("categories", vectors, {count, size});
        all.push_back({input, count, size, {data, data + count * size}});
    }
    return all;
}

WindowScale window_of(const Window& given, int64_t targets) {
    const auto& [rows, least, ratio, factor] = given;
    const size_t needed = rows == 0 ? 0 : static_cast<size_t>(targets);
    if (rows < 0 || least.size() != needed || ratio.size() != needed || factor.size() != needed)
        refuse("window", "rows, and three numbers for each target", std::to_string(rows));
    return {rows, least, ratio, factor};
}

Distribution distribution_of(int64_t family, const std::vector<double>& levels) {
    if (family < 0 || family > kLastFamily)
        refuse("family", "a number from 0 to " + std::to_string(kLastFamily), std::to_string(family));
    if (!std::all_of(levels.begin(), levels.end(), [](double each) { return each > 0 && each < 1; }))
        refuse("levels", "numbers between 0 and 1", "others");
    return {static_cast<Family>(family), levels};
}

Columns columns_of(const std::optional<ColumnsGiven>& given) {
    if (!given) return {};
    const auto& [counts, reads, mean, scale, change_scale, seasons, season_weight, kinds, numbers, minimum,
                 maximum, categories, window, distribution] = *given;
    const auto& [targets, past, statics, phases, known, horizon, quantiles] = counts;
    const auto& [change, level, observed] = reads;
    if (season_weight.size() != seasons.size() * static_cast<size_t>(horizon * targets))
        refuse("season_weight",
               std::to_string(seasons.size() * static_cast<size_t>(horizon * targets)) + " weights",
               std::to_string(season_weight.size()));
    for (const size_t size : {kinds.size(), minimum.size(), maximum.size()})
        if (size != 0 && size != static_cast<size_t>(targets))
            refuse("transform, bounds", "none, or one a target", std::to_string(size));
    Columns columns{targets, past,     statics, phases, known,        horizon, quantiles,    change,
                    level,   observed, mean,    scale,  change_scale, seasons, season_weight};
    columns.transforms = transforms_of(kinds, numbers);
    columns.minimum = minimum;
    columns.maximum = maximum;
    columns.categories = categories_of(categories);
    columns.window = window_of(window, targets);
    columns.distribution = distribution_of(std::get<0>(distribution), std::get<1>(distribution));
    return columns;
}

// Values (rows, K) by the transforms of their columns, or back, in a new array.
nb::object transform(nb::handle values, const std::vector<int64_t>& kinds, const std::vector<double>& numbers,
                     bool inverse) {
    const std::vector<TargetTransform> transforms = transforms_of(kinds, numbers);
    const Array x = array_of("values", values);
    const int64_t columns = static_cast<int64_t>(transforms.size());
    const int64_t rows = x.ndim() == 2 ? static_cast<int64_t>(x.shape(0)) : 0;
    need<double>("values", x, {rows, columns}, true);
    const double* const from = static_cast<const double*>(x.data());
    Result<double> result({rows, columns});
    for (int64_t k = 0; k < rows * columns; ++k) {
        const TargetTransform& own = transforms[k % columns];
        result.data[k] = inverse ? own.invert(from[k]) : own.apply(from[k]);
    }
    return result.array;
}

// Quantiles (rows, K, levels) of distributions from the outputs of a head (rows, K, outputs of the family), in
// units of the head, or of the table for whole numbers: units (K).
nb::object quantiles(nb::handle outputs, int64_t family, const std::vector<double>& levels,
                     const std::vector<double>& units) {
    const Distribution distribution = distribution_of(family, levels);
    const Array x = array_of("outputs", outputs);
    const int64_t rows = x.ndim() == 3 ? static_cast<int64_t>(x.shape(0)) : 0;
    const int64_t columns = static_cast<int64_t>(units.size()), size = outputs_of(distribution.family);
    const int64_t count = static_cast<int64_t>(levels.size());
    if (size == 0) refuse("family", "a number from 1 to " + std::to_string(kLastFamily), std::to_string(family));
    need<float>("outputs", x, {rows, columns, size}, true);
    const float* const from = static_cast<const float*>(x.data());
    Result<double> result({rows, columns, count});
    for (int64_t k = 0; k < rows * columns; ++k)
        distribution.quantiles(from + k * size, units[k % columns], result.data + k * count);
    return result.array;
}

// Of the features of a row: how many there are, and of each category its place and its vectors.
using FeaturesGiven = std::tuple<int64_t, std::vector<std::tuple<int64_t, Array>>>;

Columns features_of(const std::optional<FeaturesGiven>& given) {
    Columns columns{};
    if (!given) return columns;
    const auto& [width, categories] = *given;
    columns.past = width;
    columns.categories = categories_of(categories);
    return columns;
}

Pooling pooling_of(const std::string& name) {
    if (name == "mean") return Pooling::mean;
    if (name == "max") return Pooling::max;
    if (name == "attention") return Pooling::attention;
    if (name != "") refuse("pooling", "'', 'mean', 'max' or 'attention'", "'" + name.substr(0, 80) + "'");
    return Pooling::none;
}

// Values (T, B, targets), transformed, as a model reads them that starts at the first row: change and level, the
// last observed values and the scales; and what seasonal differences are of.  All (T, B, targets).
nb::tuple in_windows(nb::handle values, const Window& window, const std::vector<double>& mean,
                     const std::vector<double>& scale, const std::vector<double>& change_scale) {
    const Array z = array_of("values", values);
    if (z.ndim() != 3) refuse("values", "shape (T, B, targets)", shape_of(z));
    const int64_t T = int64_t(z.shape(0)), B = int64_t(z.shape(1)), targets = int64_t(z.shape(2));
    need<double>("values", z, {T, B, targets}, true);
    const WindowScale of = window_of(window, targets);
    if (!of) refuse("window", "at least one row", "0");
    for (const size_t size : {mean.size(), scale.size(), change_scale.size()})
        if (size != static_cast<size_t>(targets))
            refuse("scaler", std::to_string(targets) + " numbers of each kind", std::to_string(size));
    const double* const from = static_cast<const double*>(z.data());
    Result<float> change({T, B, targets}), level({T, B, targets}), recent({T, B, targets});
    Result<double> last({T, B, targets}), unit({T, B, targets});
    const int64_t sessions = B * targets;
    std::vector<double> memories(sessions * kWindowNumbers, std::nan(""));
    std::vector<double> before(sessions, std::nan(""));
    for (int64_t place = 0; place < T * sessions; ++place) {
        const int64_t session = place % sessions, k = session % targets;
        const Placed at = of.read(k, from[place], before[session], mean[k], change_scale[k], scale[k],
                                  memories.data() + session * kWindowNumbers);
        if (!std::isnan(from[place])) before[session] = from[place];
        change.data[place] = static_cast<float>(at.change);
        level.data[place] = static_cast<float>(at.level);
        last.data[place] = at.last;
        unit.data[place] = at.scale;
        recent.data[place] = at.recent;
    }
    return nb::make_tuple(change.array, level.array, last.array, unit.array, recent.array);
}

Kept kept_of(const std::string& name) {
    if (name == "float32") return Kept::float32;
    if (name == "bf16") return Kept::bfloat16;
    if (name == "bf16-float32") return Kept::bfloat16_float32;
    if (name == "int8") return Kept::int8;
    if (name == "int8-float32") return Kept::int8_float32;
    refuse("weights", "'float32', 'bf16', 'bf16-float32', 'int8' or 'int8-float32'",
           "'" + name.substr(0, 80) + "'");
}

Given make_model(const std::vector<nb::object>& layers, const Maybe& embedding, const Maybe& head_W,
                 const Maybe& head_b, const std::optional<ColumnsGiven>& columns, const std::string& kept,
                 const std::optional<FeaturesGiven>& features, const std::string& pooling, const Maybe& pool_W,
                 int64_t cell, const nb::object& rates, bool residual) {
    ModelParts parts{};
    parts.kept = kept_of(kept);
    parts.reads = columns ? Reads::series : embedding ? Reads::symbols : Reads::features;
    if (layers.empty()) refuse("layers", "at least one", "none");
    std::vector<LayerArrays> arrays;  // held until the weights are copied
    arrays.reserve(layers.size());
    for (const nb::object& layer : layers) {
        const Problem<float> problem(arrays.emplace_back(layer), cell);
        const Sizes& n = problem.sizes;
        if (!parts.layers.empty() && n.D != parts.layers.back().P)
            refuse("W_ih", "a width of " + std::to_string(parts.layers.back().P) + ", that of the layer below",
                   std::to_string(n.D));
        if (residual && !parts.layers.empty() && n.D != n.P)
            refuse("residual", "layers after the first that give what they read in width, " + std::to_string(n.D),
                   std::to_string(n.P));
        if (!sums_fit(parts.kept, n.D, n.P))
            refuse("weights",
                   "'float32', 'bf16' or 'int8-float32' for sums of more than " + std::to_string(kMostBytes) +
                       " numbers",
                   "'int8' for " + std::to_string(std::max(n.D, n.P)));
        const auto variant = variant_of<float>(cell, rates, arrays.back(), n);
        if (variant.general && parts.kept != Kept::float32 && parts.kept != Kept::bfloat16)
            refuse("weights", "'float32' or 'bf16' for another cell than the plain one", "'" + kept + "'");
        parts.layers.push_back({n.D, n.H, n.P, problem.weights, variant, n.head});
    }
    const int64_t D = parts.layers.front().D, P = parts.layers.back().P;
    if (embedding) {
        if (embedding->ndim() != 2) refuse("embedding", "shape (symbols, D)", shape_of(*embedding));
        parts.symbols = int64_t(embedding->shape(0));
        parts.embedding = dense<float>("embedding", embedding, {parts.symbols, D});
    }
    if (head_W) {
        if (head_W->ndim() != 2 || head_W->shape(0) == 0) refuse("head", "weights (O, P)", shape_of(*head_W));
        parts.out = int64_t(head_W->shape(0));
        parts.head_W = dense<float>("head", head_W, {parts.out, P});
        parts.head_b = dense<float>("head", head_b, {parts.out});
    }
    parts.residual = residual;
    parts.pooling = pooling_of(pooling);
    if (parts.pooling == Pooling::attention) parts.pool_W = dense<float>("pool_W", pool_W, {P});
    parts.columns = columns ? columns_of(columns) : features_of(features);
    if ((columns || features) && parts.columns.encoded_width() != D)
        refuse("W_ih", "a width of " + std::to_string(parts.columns.encoded_width()) + ", that of the columns",
               std::to_string(D));
    const int64_t out = parts.columns.horizon * parts.columns.targets * parts.columns.outputs();
    if (columns && parts.out != out)
        refuse("head", std::to_string(out) + " outputs, those of the columns", std::to_string(parts.out));
    return std::make_shared<Model>(parts);
}

}  // namespace

void bind_models(nb::module_& m) {
    nb::class_<Model>(m, "Model")
        .def_prop_ro("weight_bytes", &Model::weight_bytes)
        .def_prop_ro("input_width", &Model::input_width)
        .def_prop_ro("output_width", &Model::output_width);
    m.def("model", &make_model, nb::arg("layers"), nb::arg("embedding").none(), nb::arg("head_W").none(),
          nb::arg("head_b").none(), nb::arg("columns").none(), nb::arg("kept"), nb::arg("features").none(),
          nb::arg("pooling"), nb::arg("pool_W").none(), nb::arg("cell"), nb::arg("rates"), nb::arg("residual"));
    m.def("transform", &transform, nb::arg("values").none(), nb::arg("kinds"), nb::arg("numbers"),
          nb::arg("inverse"));
    m.def("in_windows", &in_windows, nb::arg("values").none(), nb::arg("window"), nb::arg("mean"),
          nb::arg("scale"), nb::arg("change_scale"));
    m.def("quantiles", &quantiles, nb::arg("outputs").none(), nb::arg("family"), nb::arg("levels"),
          nb::arg("units"));
}

}  // namespace gatewright
