// Python's way into models and streams.  Plain buffers in place of nanobind's arrays: a step takes no longer than
// their conversion would.
#include "python/stream_bindings.h"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <cmath>

#include "python/cell_args.h"
#include "stream/stream.h"

namespace gatewright {

namespace {

// A contiguous buffer of one type and size, held while this lives; or nothing, where the object is not that.
class Buffer {
  public:
    Buffer(nb::handle object, const char* type, int64_t size, bool writable) {
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(object.ptr(), &view_, flags) != 0) {
            PyErr_Clear();
            view_.obj = nullptr;
            return;
        }
        const char code = view_.format && view_.format[1] == '\0' ? view_.format[0] : '?';
        const bool same = type[0] == 'i' ? (code == 'l' || code == 'q') && view_.itemsize == 8
                                         : code == (type[5] == '3' ? 'f' : 'd');
        if (!same || view_.len != size * view_.itemsize) PyBuffer_Release(&view_);  // which sets obj to null
    }
    ~Buffer() {
        if (view_.obj) PyBuffer_Release(&view_);
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    explicit operator bool() const { return view_.obj != nullptr; }
    int dimensions() const { return view_.ndim; }
    template <class T>
    T* as() const {
        return static_cast<T*>(view_.buf);
    }

  private:
    Py_buffer view_{};
};

// The same, where it has to be one.
struct Needed : Buffer {
    Needed(const char* name, nb::handle object, const char* type, int64_t size, bool writable)
        : Buffer(object, type, size, writable) {
        if (!*this)
            refuse(name, "a contiguous array of " + std::to_string(size) + " " + type,
                   Py_TYPE(object.ptr())->tp_name);
    }
};

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
                 int64_t cell, const nb::object& rates) {
    ModelParts parts{};
    parts.kept = kept_of(kept);
    parts.reads = columns ? Reads::series : embedding ? Reads::symbols : Reads::features;
    if (layers.empty()) refuse("layers", "at least one", "none");
    std::vector<LayerArrays> arrays;  // held until the weights are copied
    arrays.reserve(layers.size());
    for (const nb::object& layer : layers) {
        const Problem<float> problem(arrays.emplace_back(layer));
        const Sizes& n = problem.sizes;
        if (!parts.layers.empty() && n.D != parts.layers.back().P)
            refuse("W_ih", "a width of " + std::to_string(parts.layers.back().P) + ", that of the layer below",
                   std::to_string(n.D));
        const auto variant = variant_of<float>(cell, rates, arrays.back(), n);
        if (variant.general && parts.kept != Kept::float32 && parts.kept != Kept::bfloat16)
            refuse("weights", "'float32' or 'bf16' for another cell than the plain one", "'" + kept + "'");
        parts.layers.push_back({n.D, n.H, n.P, problem.weights, variant});
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

std::string described(const Advance& call, const Fault& fault) {
    const std::string place = call.T > 1 ? " at step " + std::to_string(fault.t) : "";
    return place + (call.B > 1 ? " of session " + std::to_string(call.sessions[fault.b]) : "");
}

std::string allowed_by(const Model& model, int64_t target) {
    const Transform kind = model.columns.transforms[target].kind;
    const bool positive = kind == Transform::log || kind == Transform::boxcox;
    return positive ? "a number above 0, at most 1e38" : "a number from -1e38 to 1e38";
}

[[noreturn]] void refuse_fault(const Model& model, const Advance& call, const Fault& fault, int64_t sessions) {
    const std::string session = std::to_string(call.sessions[fault.b]);
    switch (fault.kind) {
        case Fault::Kind::session:
            refuse("sessions", "numbers from 0 to " + std::to_string(sessions - 1), session);
        case Fault::Kind::repeated:
            refuse("sessions", "each session once", session + " twice");
        case Fault::Kind::symbol:
            refuse("x", "symbols from 0 to " + std::to_string(model.symbols - 1),
                   std::to_string(static_cast<const int64_t*>(call.input)[fault.t * call.B + fault.b]) +
                       described(call, fault));
        default:
            break;
    }
    const int64_t at = (fault.t * call.B + fault.b) * model.input_width() + fault.column;
    const bool series = model.reads == Reads::series;
    const double value =
        series ? static_cast<const double*>(call.input)[at] : static_cast<const float*>(call.input)[at];
    const nb::object text = nb::module_::import_("builtins").attr("repr")(value);
    if (series && fault.column < model.columns.targets && std::isfinite(value) &&
        std::isnan(model.columns.transformed(value, fault.column)))
        refuse(
            "x", "a value that the model's transform of the target allows: " + allowed_by(model, fault.column),
            nb::cast<std::string>(text) + " in column " + std::to_string(fault.column) + described(call, fault));
    const char* expected =
        series ? "finite numbers, within 1e20 standard deviations; NaN only for a target" : "finite numbers";
    if (fault.kind == Fault::Kind::category) expected = "the index of a value in each column of categories";
    refuse("x", expected,
           nb::cast<std::string>(text) + " in column " + std::to_string(fault.column) + described(call, fault));
}

// Marks a stream as in use, for as long as this lives.
class Turn {
  public:
    explicit Turn(Stream& stream) : stream_(stream) {
        if (stream_.busy.exchange(true, std::memory_order_acquire))
            refuse("stream", "one call at a time (each thread may have a copy)", "a call from a second thread");
    }
    ~Turn() { stream_.busy.store(false, std::memory_order_release); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

  private:
    Stream& stream_;
};

void advance(Stream& stream, const Advance& call, int threads) {
    const Model& model = stream.model();
    const Fault fault = stream.check(call);
    if (fault.kind != Fault::Kind::none) refuse_fault(model, call, fault, stream.sessions());
    if (call.B * call.T == 1) return stream.advance(call, 1);  // over sooner than another thread could begin
    const Unlocked released;
    stream.advance(call, threads);
}

// One step of session 0.
void advance_first(Stream& stream, const void* x, void* out) {
    constexpr int64_t session = 0;
    advance(stream, {&session, 1, 1, x, out, nullptr, nullptr}, 1);
}

const char* type_of_input(const Model& model) {
    if (model.reads == Reads::symbols) return "int64";
    return model.reads == Reads::series ? "float64" : "float32";
}

const char* type_of_output(const Model& model) { return model.reads == Reads::series ? "float64" : "float32"; }

// One step of session 0; false, and nothing done, where x and out are not the very arrays that it takes.
bool step(Stream& stream, nb::handle x, nb::handle out) {
    const Model& model = stream.model();
    const Turn turn(stream);
    const Buffer input(x, type_of_input(model), model.input_width(), false);
    const Buffer output(out, type_of_output(model), model.output_width(), true);
    if (!input || !output || input.dimensions() != (model.reads == Reads::symbols ? 0 : 1)) return false;
    advance_first(stream, input.as<void>(), output.as<void>());
    return true;
}

// T steps of some sessions; x and out (T, B, width), sessions int64.
// record: arrays for gates and cell, or None.
void run(Stream& stream, nb::handle x, nb::handle out, nb::handle sessions, int64_t T, int64_t B,
         nb::handle record, nb::handle threads_given) {
    const Model& model = stream.model();
    const int threads = threads_of(threads_given);
    const Turn turn(stream);
    const Needed named("sessions", sessions, "int64", B, false);
    const Needed input("x", x, type_of_input(model), T * B * model.input_width(), false);
    const Needed output("out", out, type_of_output(model), T * B * model.output_width(), true);
    const int64_t units = T * B * model.cell_width();
    Advance call{named.as<int64_t>(), B, T, input.as<void>(), output.as<void>(), nullptr, nullptr};
    if (record.is_none()) return advance(stream, call, threads);
    const auto [gates, cell] = nb::cast<std::tuple<nb::object, nb::object>>(record);
    const Needed gates_buffer("gates", gates, "float32", 4 * units, true);
    const Needed cell_buffer("cell", cell, "float32", units, true);
    call.gates = gates_buffer.as<float>();
    call.cell = cell_buffer.as<float>();
    advance(stream, call, threads);
}

int64_t existing(const Stream& stream, int64_t session) {
    if (session < 0 || session >= stream.sessions())
        refuse("session", "a number from 0 to " + std::to_string(stream.sessions() - 1), std::to_string(session));
    return session;
}

template <class T>
Result<T> copied(const T* data, int64_t count) {
    Result<T> fresh({count});
    std::copy_n(data, count, fresh.data);
    return fresh;
}

nb::tuple state(Stream& stream, int64_t session) {
    const Turn turn(stream);
    existing(stream, session);
    const Model& model = stream.model();
    Result<float> recent({model.columns.recent() * model.columns.targets});
    stream.get_recent(session, recent.data);
    return nb::make_tuple(copied(stream.hidden(session), model.hidden_width()).array,
                          copied(stream.cell(session), model.cell_width()).array,
                          copied(stream.last(session), model.last_width()).array, stream.steps(session),
                          recent.array);
}

void set_state(Stream& stream, int64_t session, nb::handle hidden, nb::handle cell, nb::handle last, int64_t steps,
               nb::handle recent) {
    const Turn turn(stream);
    existing(stream, session);
    const Model& model = stream.model();
    const Needed h("hidden", hidden, "float32", model.hidden_width(), false);
    const Needed c("cell", cell, "float32", model.cell_width(), false);
    const Needed l("last", last, "float64", model.last_width(), false);
    const Needed r("recent", recent, "float32", model.columns.recent() * model.columns.targets, false);
    if (model.columns.window && !model.columns.are_windows(l.as<double>()))
        refuse("last", "the last observed values, and what a session has seen of its window", "other numbers");
    std::copy_n(h.as<float>(), model.hidden_width(), stream.hidden(session));
    std::copy_n(c.as<float>(), model.cell_width(), stream.cell(session));
    std::copy_n(l.as<double>(), model.last_width(), stream.last(session));
    stream.steps(session) = steps;
    stream.set_recent(session, r.as<float>());
}

}  // namespace

void step_once(Stream& stream, const void* x, void* out) {
    const Turn turn(stream);
    advance_first(stream, x, out);
}

void bind_streams(nb::module_& m) {
    nb::class_<Model>(m, "Model")
        .def_prop_ro("weight_bytes", &Model::weight_bytes)
        .def_prop_ro("input_width", &Model::input_width)
        .def_prop_ro("output_width", &Model::output_width);
    m.def("model", &make_model, nb::arg("layers"), nb::arg("embedding").none(), nb::arg("head_W").none(),
          nb::arg("head_b").none(), nb::arg("columns").none(), nb::arg("kept"), nb::arg("features").none(),
          nb::arg("pooling"), nb::arg("pool_W").none(), nb::arg("cell"), nb::arg("rates"));
    m.def("transform", &transform, nb::arg("values").none(), nb::arg("kinds"), nb::arg("numbers"),
          nb::arg("inverse"));
    m.def("in_windows", &in_windows, nb::arg("values").none(), nb::arg("window"), nb::arg("mean"),
          nb::arg("scale"), nb::arg("change_scale"));
    m.def("quantiles", &quantiles, nb::arg("outputs").none(), nb::arg("family"), nb::arg("levels"),
          nb::arg("units"));
    nb::class_<Stream>(m, "Stream")
        .def("__init__",
             [](Stream* at, const Given& model, int64_t sessions) {
                 if (sessions < 1) refuse("sessions", "at least 1", std::to_string(sessions));
                 new (at) Stream(model, sessions);
             })
        .def("step", &step, nb::arg("x").none(), nb::arg("out").none())
        .def("run", &run, nb::arg("x"), nb::arg("out"), nb::arg("sessions"), nb::arg("T"), nb::arg("B"),
             nb::arg("record").none(), nb::arg("threads"))
        .def("state", &state)
        .def("set_state", &set_state)
        .def("require", [](const Stream& stream, int64_t session) { existing(stream, session); })
        .def("reset",
             [](Stream& stream, int64_t session) {
                 const Turn turn(stream);
                 stream.reset(existing(stream, session));
             })
        .def(
            "copy",
            [](Stream& stream) {
                const Turn turn(stream);
                return new Stream(stream);
            },
            nb::rv_policy::take_ownership);
}

}  // namespace gatewright
