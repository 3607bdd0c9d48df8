// Python's way in: checks shapes and types, releases the GIL, calls.  No maths.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <initializer_list>
#include <optional>
#include <string>

#include "dispatch.h"
#include "sequence.h"
#include "threads.h"
#include "workspace.h"

namespace nb = nanobind;
using namespace gatewright;

namespace {

using Array = nb::ndarray<nb::ro, nb::device::cpu>;
using Maybe = std::optional<Array>;

[[noreturn]] void refuse(const std::string& argument, const std::string& expected, const std::string& got) {
    const nb::object error = nb::module_::import_("gatewright.errors").attr("GatewrightError");
    PyErr_SetObject(error.ptr(), error(argument, expected, got).ptr());
    throw nb::python_error();
}

std::string shape_of(const Array& array) {
    std::string text = "(";
    for (size_t k = 0; k < array.ndim(); ++k) text += (k ? ", " : "") + std::to_string(array.shape(k));
    return text + (array.ndim() == 1 ? ",)" : ")");
}

std::string shape_of(std::initializer_list<int64_t> shape) {
    std::string text = "(";
    for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + (shape.size() == 1 ? ",)" : ")");
}

template <class T>
const char* type_name() {
    return sizeof(T) == 4 ? "float32" : "float64";
}

template <class T>
void need_type(const char* name, const Array& array) {
    if (array.dtype() != nb::dtype<T>())
        refuse(name, std::string(type_name<T>()) + ", as the other arguments", "another type");
}

// The last dimension has to be contiguous; the others need not.
template <class T>
void need(const char* name, const Array& array, std::initializer_list<int64_t> shape, bool whole) {
    need_type<T>(name, array);
    bool good = array.ndim() == shape.size();
    for (size_t k = 0; good && k < shape.size(); ++k)
        good = static_cast<int64_t>(array.shape(k)) == shape.begin()[k];
    if (!good) refuse(name, "shape " + shape_of(shape), shape_of(array));
    if (array.size() == 0) return;
    int64_t dense = 1;
    for (size_t k = shape.size(); k-- > 0;) {
        const bool last = k + 1 == shape.size();
        if ((whole || last) && array.shape(k) > 1 && array.stride(k) != dense)
            refuse(name, whole ? "a contiguous array" : "a contiguous last dimension", "other strides");
        dense *= shape.begin()[k];
    }
}

template <class T>
const T* dense(const char* name, const Maybe& array, std::initializer_list<int64_t> shape) {
    if (!array) return nullptr;
    need<T>(name, *array, shape, true);
    return static_cast<const T*>(array->data());
}

// A new array in memory that goes back to the workspaces when Python drops it.
template <class T>
struct Fresh {
    T* data = nullptr;
    nb::object array = nb::none();

    Fresh() = default;
    explicit Fresh(std::initializer_list<size_t> shape) {
        size_t size = 1;
        for (const size_t each : shape) size *= each;
        data = static_cast<T*>(take_memory((size ? size : 1) * sizeof(T)));
        const nb::capsule owner(data, [](void* block) noexcept { give_memory(block); });
        array = nb::cast(nb::ndarray<nb::numpy, T>(data, shape.size(), shape.begin(), owner));
    }
};

// Sizes and steps of a call, read off its arguments and checked.
template <class T>
struct Problem {
    Sizes sizes{};
    Steps steps{};
    Weights<T> weights{};
    std::vector<int64_t> batch_sizes, starts;
    int64_t rows = 0;

    Problem(const Array& W_ih, const Array& W_hh, const Maybe& b_ih, const Maybe& b_hh, const Maybe& W_hr) {
        if (W_hh.ndim() != 2 || W_hh.shape(0) == 0 || W_hh.shape(0) % 4 != 0 || W_hh.shape(1) == 0)
            refuse("W_hh", "shape (4H, H), or (4H, P) with a projection", shape_of(W_hh));
        if (W_ih.ndim() != 2 || W_ih.shape(1) == 0) refuse("W_ih", "shape (4H, D)", shape_of(W_ih));
        const int64_t H = W_hh.shape(0) / 4;
        sizes.D = W_ih.shape(1);
        sizes.H = H;
        sizes.P = W_hh.shape(1);
        sizes.projected = W_hr.has_value();
        if (!sizes.projected && sizes.P != H)
            refuse("W_hh", "shape " + shape_of({4 * H, H}) + " without W_hr", shape_of(W_hh));
        if (b_ih.has_value() != b_hh.has_value())
            refuse(b_ih ? "b_hh" : "b_ih", "both biases, or neither", "one of them");
        weights = {dense<T>("W_ih", W_ih, {4 * H, sizes.D}), dense<T>("W_hh", W_hh, {4 * H, sizes.P}),
                   dense<T>("b_ih", b_ih, {4 * H}), dense<T>("b_hh", b_hh, {4 * H}),
                   dense<T>("W_hr", W_hr, {sizes.P, H})};
    }

    Problem(const Array& x, const Array& W_ih, const Array& W_hh, const Maybe& b_ih, const Maybe& b_hh,
            const Maybe& W_hr, const std::optional<std::vector<int64_t>>& given_batch_sizes, bool reverse)
        : Problem(W_ih, W_hh, b_ih, b_hh, W_hr) {
        const size_t dimensions = given_batch_sizes ? 2 : 3;
        if (x.ndim() != dimensions || int64_t(x.shape(dimensions - 1)) != sizes.D)
            refuse("x", (given_batch_sizes ? "shape (rows, " : "shape (T, B, ") + std::to_string(sizes.D) + ")",
                   shape_of(x));
        if (!given_batch_sizes) {
            steps = {int64_t(x.shape(0)), int64_t(x.shape(1)), nullptr, nullptr, reverse};
            rows = steps.T * steps.B;
        } else {
            batch_sizes = *given_batch_sizes;
            starts.push_back(0);
            for (size_t t = 0; t < batch_sizes.size(); ++t) {
                if (batch_sizes[t] < 1 || (t > 0 && batch_sizes[t] > batch_sizes[t - 1]))
                    refuse("batch_sizes", "whole numbers of at least 1, none above the one before it",
                           std::to_string(batch_sizes[t]) + " at step " + std::to_string(t));
                starts.push_back(starts.back() + batch_sizes[t]);
            }
            rows = starts.back();
            if (rows != int64_t(x.shape(0)))
                refuse("batch_sizes", "a sum of " + std::to_string(x.shape(0)) + ", the rows of x",
                       std::to_string(rows));
            const int64_t T_ = int64_t(batch_sizes.size());
            steps = {T_, T_ ? batch_sizes[0] : 0, batch_sizes.data(), starts.data(), reverse};
        }
        sizes.T = steps.T;
        sizes.B = steps.B;
    }

    bool packed() const { return steps.starts != nullptr; }

    // An argument of (T, B, width), or (rows, width) where steps are packed.
    Rows<const T> rows_of(const char* name, const Maybe& array, int64_t width, bool whole = false) const {
        if (!array) return {nullptr, 0, 0};
        const auto* const data = static_cast<const T*>(array->data());
        if (packed()) {
            need<T>(name, *array, {rows, width}, whole);
            return {data, 0, array->stride(0)};
        }
        need<T>(name, *array, {steps.T, steps.B, width}, whole);
        return {data, array->stride(0), array->stride(1)};
    }

    Rows<T> rows_in(T* data, int64_t width) const { return {data, steps.B * width, width}; }
    Fresh<T> fresh_rows(int64_t width) const {
        if (packed()) return Fresh<T>({size_t(rows), size_t(width)});
        return Fresh<T>({size_t(steps.T), size_t(steps.B), size_t(width)});
    }
};

// Steps between checkpoints: as wished, but whole chunks, and no more than there are.
int64_t steps_between(int64_t wish, const Sizes& n, size_t element) {
    const int64_t unit = chunk_steps(n, element), most = n.T > 0 ? n.T : 1;
    return ((wish < most ? wish : most) + unit - 1) / unit * unit;
}

Split split_of(const std::string& name) {
    if (name == "rows") return Split::rows;
    if (name == "units") return Split::units;
    if (!name.empty()) refuse("split", "'rows', 'units' or ''", "'" + name + "'");
    return Split::automatic;
}

void check_numbers(int threads, int64_t checkpoint) {
    if (threads < 1) refuse("threads", "at least 1", std::to_string(threads));
    if (checkpoint < 0) refuse("checkpoint", "at least 0", std::to_string(checkpoint));
}

template <class T>
nb::tuple forward_of(const Array& x, const Maybe& h_0, const Maybe& c_0, const Array& W_ih, const Array& W_hh,
                     const Maybe& b_ih, const Maybe& b_hh, const Maybe& W_hr,
                     const std::optional<std::vector<int64_t>>& batch_sizes, bool reverse, bool keep,
                     int64_t checkpoint, int threads, const std::string& split) {
    const Problem<T> problem(x, W_ih, W_hh, b_ih, b_hh, W_hr, batch_sizes, reverse);
    const Sizes& n = problem.sizes;
    ForwardCall<T> call{};
    call.sizes = n;
    call.steps = problem.steps;
    call.weights = problem.weights;
    call.x = problem.rows_of("x", x, n.D);
    call.h_0 = dense<T>("h_0", h_0, {n.B, n.P});
    call.c_0 = dense<T>("c_0", c_0, {n.B, n.H});
    const Fresh<T> y = problem.fresh_rows(n.P), h_n({size_t(n.B), size_t(n.P)}), c_n({size_t(n.B), size_t(n.H)});
    Fresh<T> gates, cell;
    call.y = problem.rows_in(y.data, n.P);
    call.h_n = h_n.data;
    call.c_n = c_n.data;
    if (keep && checkpoint > 0) {
        call.every = steps_between(checkpoint, n, sizeof(T));
        cell = Fresh<T>({size_t((n.T + call.every - 1) / call.every), size_t(n.B), size_t(n.H)});
        call.checkpoints = cell.data;
    } else if (keep) {
        gates = problem.fresh_rows(4 * n.H);
        cell = problem.fresh_rows(n.H);
        call.gates = gates.data;
        call.cell = cell.data;
    }
    call.threads = threads;
    call.split = split_of(split);
    {
        const nb::gil_scoped_release released;
        run_forward(kernels_for<T>(target(), n.H), call);
    }
    return nb::make_tuple(y.array, h_n.array, c_n.array, gates.array, cell.array);
}

template <class T>
nb::tuple backward_of(const Maybe& dy, const Maybe& dh_n, const Maybe& dc_n, const Maybe& dgates,
                      const Maybe& dcell, const Array& x, const Array& h_0, const Array& c_0, const Array& y,
                      const Maybe& gates, const Array& cell, const Array& W_ih, const Array& W_hh,
                      const Maybe& b_ih, const Maybe& b_hh, const Maybe& W_hr,
                      const std::optional<std::vector<int64_t>>& batch_sizes, bool reverse, int64_t checkpoint,
                      bool need_x, bool need_weights, int threads, const std::string& split) {
    const Problem<T> problem(x, W_ih, W_hh, b_ih, b_hh, W_hr, batch_sizes, reverse);
    const Sizes& n = problem.sizes;
    const size_t B = n.B, D = n.D, H = n.H, P = n.P;
    BackwardCall<T> call{};
    call.sizes = n;
    call.steps = problem.steps;
    call.weights = problem.weights;
    call.x = problem.rows_of("x", x, n.D);
    call.y = problem.rows_of("y", y, n.P);
    call.h_0 = dense<T>("h_0", h_0, {n.B, n.P});
    call.c_0 = dense<T>("c_0", c_0, {n.B, n.H});
    if (gates) {
        call.gates = problem.rows_of("gates", gates, 4 * n.H, true).data;
        call.cell = problem.rows_of("cell", cell, n.H, true).data;
    } else {
        if (checkpoint < 1)
            refuse("checkpoint", "at least 1 where gates are not given", std::to_string(checkpoint));
        call.every = steps_between(checkpoint, n, sizeof(T));
        call.checkpoints = dense<T>("cell", cell, {(n.T + call.every - 1) / call.every, n.B, n.H});
    }
    call.dy = problem.rows_of("dy", dy, n.P);
    call.dgates = problem.rows_of("dgates", dgates, 4 * n.H);
    call.dcell = problem.rows_of("dcell", dcell, n.H);
    call.dh_n = dense<T>("dh_n", dh_n, {n.B, n.P});
    call.dc_n = dense<T>("dc_n", dc_n, {n.B, n.H});
    const Fresh<T> dh_0({B, P}), dc_0({B, H});
    Fresh<T> dx, dW_ih, dW_hh, db, dW_hr;
    if (need_x) dx = problem.fresh_rows(n.D);
    if (need_weights) {
        dW_ih = Fresh<T>({4 * H, D});
        dW_hh = Fresh<T>({4 * H, P});
        db = Fresh<T>({4 * H});
        if (n.projected) dW_hr = Fresh<T>({P, H});
    }
    call.dh_0 = dh_0.data;
    call.dc_0 = dc_0.data;
    call.dx = problem.rows_in(dx.data, n.D);
    call.dW_ih = dW_ih.data;
    call.dW_hh = dW_hh.data;
    call.db = db.data;
    call.dW_hr = dW_hr.data;
    call.threads = threads;
    call.split = split_of(split);
    {
        const nb::gil_scoped_release released;
        run_backward(kernels_for<T>(target(), n.H), call);
    }
    return nb::make_tuple(dx.array, dh_0.array, dc_0.array, dW_ih.array, dW_hh.array, db.array, dW_hr.array);
}

// Calls Function<float> or Function<double> by the type of x.
#define GATEWRIGHT_BY_TYPE(array, call)           \
    if ((array).dtype() == nb::dtype<float>()) {  \
        using T = float;                          \
        return call;                              \
    }                                             \
    if ((array).dtype() == nb::dtype<double>()) { \
        using T = double;                         \
        return call;                              \
    }                                             \
    refuse(#array, "float32 or float64", "another type")

nb::tuple forward(const Array& x, const Maybe& h_0, const Maybe& c_0, const Array& W_ih, const Array& W_hh,
                  const Maybe& b_ih, const Maybe& b_hh, const Maybe& W_hr,
                  const std::optional<std::vector<int64_t>>& batch_sizes, bool reverse, bool keep,
                  int64_t checkpoint, int threads, const std::string& split) {
    check_numbers(threads, checkpoint);
    GATEWRIGHT_BY_TYPE(x, forward_of<T>(x, h_0, c_0, W_ih, W_hh, b_ih, b_hh, W_hr, batch_sizes, reverse, keep,
                                        checkpoint, threads, split));
}

nb::tuple backward(const Maybe& dy, const Maybe& dh_n, const Maybe& dc_n, const Maybe& dgates, const Maybe& dcell,
                   const Array& x, const Array& h_0, const Array& c_0, const Array& y, const Maybe& gates,
                   const Array& cell, const Array& W_ih, const Array& W_hh, const Maybe& b_ih, const Maybe& b_hh,
                   const Maybe& W_hr, const std::optional<std::vector<int64_t>>& batch_sizes, bool reverse,
                   int64_t checkpoint, bool need_x, bool need_weights, int threads, const std::string& split) {
    check_numbers(threads, checkpoint);
    GATEWRIGHT_BY_TYPE(
        x, backward_of<T>(dy, dh_n, dc_n, dgates, dcell, x, h_0, c_0, y, gates, cell, W_ih, W_hh, b_ih, b_hh, W_hr,
                          batch_sizes, reverse, checkpoint, need_x, need_weights, threads, split));
}

// Weights of one layer, packed once for the target of that moment; a later change of the weights does not show.
struct Packed {
    Packed() = default;
    Packed(const Packed&) = delete;
    Packed& operator=(const Packed&) = delete;
    virtual ~Packed() = default;
    virtual nb::tuple step(const Array& x, const Array& h, const Array& c) const = 0;
};

template <class T>
class PackedOf final : public Packed {
  public:
    explicit PackedOf(const Problem<T>& problem)
        : sizes_(problem.sizes),
          kernels_(kernels_for<T>(target(), sizes_.H)),
          memory_(kernels_.panels_size(sizes_, true, false)),
          panels_(pack_weights(kernels_, sizes_, problem.weights, memory_.get())) {}

    nb::tuple step(const Array& x, const Array& h, const Array& c) const override {
        if (x.ndim() != 1 && x.ndim() != 2)
            refuse("x", "shape " + shape_of({sizes_.D}) + " or (B, " + std::to_string(sizes_.D) + ")",
                   shape_of(x));
        Sizes n = sizes_;
        const bool single = x.ndim() == 1;
        n.B = single ? 1 : int64_t(x.shape(0));
        const auto check = [&](const char* name, const Array& array, int64_t width) {
            single ? need<T>(name, array, {width}, true) : need<T>(name, array, {n.B, width}, true);
            return static_cast<const T*>(array.data());
        };
        const T* const x_data = check("x", x, n.D);
        const T* const h_data = check("h", h, n.P);
        const T* const c_data = check("c", c, n.H);
        const auto fresh = [&](size_t width) {
            return single ? Fresh<T>({width}) : Fresh<T>({size_t(n.B), width});
        };
        const Fresh<T> h_next = fresh(n.P), c_next = fresh(n.H);
        {
            const nb::gil_scoped_release released;
            run_step(kernels_, n, panels_, x_data, h_data, c_data, h_next.data, c_next.data);
        }
        return nb::make_tuple(h_next.array, c_next.array);
    }

  private:
    const Sizes sizes_;
    const Kernels<T>& kernels_;
    const Workspace<T> memory_;
    const Panels<T> panels_;
};

template <class T>
Packed* pack_of(const Array& W_ih, const Array& W_hh, const Maybe& b_ih, const Maybe& b_hh, const Maybe& W_hr) {
    return new PackedOf<T>(Problem<T>(W_ih, W_hh, b_ih, b_hh, W_hr));
}

template <class T>
nb::object activation_of(const Array& x, bool sigmoid) {
    need<T>("x", x, {int64_t(x.size())}, true);
    const Fresh<T> y({x.size()});
    const Kernels<T>& kernels = kernels_for<T>(target(), 1 << 10);
    (sigmoid ? kernels.sigmoid : kernels.tanh)(static_cast<const T*>(x.data()), y.data, int64_t(x.size()));
    return y.array;
}

nb::object activation(const Array& x, bool sigmoid) { GATEWRIGHT_BY_TYPE(x, activation_of<T>(x, sigmoid)); }

// FLOP/s of multiply-adds in registers, all threads together.
template <class T>
double fma_peak(int threads, double seconds) {
    const Kernels<T>& kernels = kernels_for<T>(target(), 1 << 10);
    const nb::gil_scoped_release released;
    std::vector<double> rates(threads, 0.0);
    run_team(threads, [&](int rank, Team& team) {
        using clock = std::chrono::steady_clock;
        team.barrier();
        const auto begin = clock::now();
        double done = 0, elapsed = 0;
        while (elapsed < seconds) {
            done += kernels.fma_rounds(100'000);
            elapsed = std::chrono::duration<double>(clock::now() - begin).count();
        }
        rates[rank] = done / elapsed;
    });
    double sum = 0;
    for (const double rate : rates) sum += rate;
    return sum;
}

}  // namespace

NB_MODULE(_kernels, m) {
    m.def("forward", &forward, nb::arg("x"), nb::arg("h_0").none(), nb::arg("c_0").none(), nb::arg("W_ih"),
          nb::arg("W_hh"), nb::arg("b_ih").none(), nb::arg("b_hh").none(), nb::arg("W_hr").none(),
          nb::arg("batch_sizes").none(), nb::arg("reverse"), nb::arg("keep"), nb::arg("checkpoint"),
          nb::arg("threads"), nb::arg("split"));
    m.def("backward", &backward, nb::arg("dy").none(), nb::arg("dh_n").none(), nb::arg("dc_n").none(),
          nb::arg("dgates").none(), nb::arg("dcell").none(), nb::arg("x"), nb::arg("h_0"), nb::arg("c_0"),
          nb::arg("y"), nb::arg("gates").none(), nb::arg("cell"), nb::arg("W_ih"), nb::arg("W_hh"),
          nb::arg("b_ih").none(), nb::arg("b_hh").none(), nb::arg("W_hr").none(), nb::arg("batch_sizes").none(),
          nb::arg("reverse"), nb::arg("checkpoint"), nb::arg("need_x"), nb::arg("need_weights"),
          nb::arg("threads"), nb::arg("split"));
    nb::class_<Packed>(m, "Packed").def("step", &Packed::step);
    m.def(
        "pack",
        [](const Array& W_ih, const Array& W_hh, const Maybe& b_ih, const Maybe& b_hh,
           const Maybe& W_hr) -> Packed* { GATEWRIGHT_BY_TYPE(W_hh, pack_of<T>(W_ih, W_hh, b_ih, b_hh, W_hr)); },
        nb::arg("W_ih"), nb::arg("W_hh"), nb::arg("b_ih").none(), nb::arg("b_hh").none(), nb::arg("W_hr").none(),
        nb::rv_policy::take_ownership);
    m.def("chunk_steps", [](int64_t B, int64_t H, int64_t element) {
        if (B < 0) refuse("B", "at least 0", std::to_string(B));
        if (H < 1) refuse("H", "at least 1", std::to_string(H));
        return chunk_steps({0, B, 0, H, 0, false}, size_t(element));
    });
    m.def("activation", &activation);
    m.def("fma_peak", [](bool single, int threads, double seconds) {
        check_numbers(threads, 0);
        return single ? fma_peak<float>(threads, seconds) : fma_peak<double>(threads, seconds);
    });
    m.def("target", [] { return target().name; });
    m.def("targets", [] {
        nb::list list;
        for (const Target* const* each = targets(); *each; ++each)
            list.append(nb::make_tuple((*each)->name, supported(**each)));
        return list;
    });
    m.def("select", [](const std::string& name) { return select(name.c_str()); });
    m.def("forced", &forced);
    m.def("refused_target", [] {
        const char* const name = refused_target();
        return std::string(name ? name : "");
    });
    m.def("share_openmp", &share_openmp);
    m.def("shares_openmp", &shares_openmp);
    m.def("pool_size", &pool_size);
    m.def("kept_memory", &kept_memory);
    m.def("release_memory", &release_memory);
}
