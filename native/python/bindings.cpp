// Python's way in: checks shapes and types, releases the GIL, calls.  No maths.
#include <chrono>

#include "kernels/dispatch.h"
#include "python/arguments.h"
#include "python/stream_bindings.h"
#include "support/threads.h"

namespace nb = nanobind;
using namespace gatewright;

namespace {

template <class T>
nb::tuple forward_of(const Array& x, const Maybe& h_0, const Maybe& c_0, const Array& W_ih, const Array& W_hh,
                     const Maybe& b_ih, const Maybe& b_hh, const Maybe& W_hr,
                     const std::optional<std::vector<int64_t>>& batch_sizes, bool reverse, bool keep,
                     int64_t checkpoint, int threads, const std::string& split, const std::vector<Room>& out) {
    const Problem<T> problem(x, W_ih, W_hh, b_ih, b_hh, W_hr, batch_sizes, reverse);
    const Sizes& n = problem.sizes;
    const Rooms rooms(out, 5);
    ForwardCall<T> call{};
    call.sizes = n;
    call.steps = problem.steps;
    call.weights = problem.weights;
    call.x = problem.rows_of("x", x, n.D);
    call.h_0 = dense<T>("h_0", h_0, {n.B, n.P});
    call.c_0 = dense<T>("c_0", c_0, {n.B, n.H});
    const Result<T> y = problem.result_rows("y", rooms[0], n.P);
    const Result<T> h_n("h_n", rooms[1], {n.B, n.P}), c_n("c_n", rooms[2], {n.B, n.H});
    Result<T> gates, cell;
    call.y = problem.rows_in(y.data, n.P);
    call.h_n = h_n.data;
    call.c_n = c_n.data;
    if (keep && checkpoint > 0) {
        call.every = steps_between(checkpoint, n, sizeof(T));
        cell = Result<T>("cell", rooms[4], {(n.T + call.every - 1) / call.every, n.B, n.H});
        call.checkpoints = cell.data;
    } else if (keep) {
        gates = problem.result_rows("gates", rooms[3], 4 * n.H);
        cell = problem.result_rows("cell", rooms[4], n.H);
        call.gates = gates.data;
        call.cell = cell.data;
    }
    call.threads = threads;
    call.split = split_of(split);
    {
        const Unlocked released;
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
                      bool need_x, bool need_weights, int threads, const std::string& split,
                      const std::vector<Room>& out) {
    const Problem<T> problem(x, W_ih, W_hh, b_ih, b_hh, W_hr, batch_sizes, reverse);
    const Sizes& n = problem.sizes;
    const Rooms rooms(out, 7);
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
    const Result<T> dh_0("dh_0", rooms[1], {n.B, n.P}), dc_0("dc_0", rooms[2], {n.B, n.H});
    Result<T> dx, dW_ih, dW_hh, db, dW_hr;
    if (need_x) dx = problem.result_rows("dx", rooms[0], n.D);
    if (need_weights) {
        dW_ih = Result<T>("dW_ih", rooms[3], {4 * n.H, n.D});
        dW_hh = Result<T>("dW_hh", rooms[4], {4 * n.H, n.P});
        db = Result<T>("db", rooms[5], {4 * n.H});
        if (n.projected) dW_hr = Result<T>("dW_hr", rooms[6], {n.P, n.H});
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
        const Unlocked released;
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
                  int64_t checkpoint, int threads, const std::string& split, const std::vector<Room>& out) {
    check_numbers(threads, checkpoint);
    GATEWRIGHT_BY_TYPE(x, forward_of<T>(x, h_0, c_0, W_ih, W_hh, b_ih, b_hh, W_hr, batch_sizes, reverse, keep,
                                        checkpoint, threads, split, out));
}

nb::tuple backward(const Maybe& dy, const Maybe& dh_n, const Maybe& dc_n, const Maybe& dgates, const Maybe& dcell,
                   const Array& x, const Array& h_0, const Array& c_0, const Array& y, const Maybe& gates,
                   const Array& cell, const Array& W_ih, const Array& W_hh, const Maybe& b_ih, const Maybe& b_hh,
                   const Maybe& W_hr, const std::optional<std::vector<int64_t>>& batch_sizes, bool reverse,
                   int64_t checkpoint, bool need_x, bool need_weights, int threads, const std::string& split,
                   const std::vector<Room>& out) {
    check_numbers(threads, checkpoint);
    GATEWRIGHT_BY_TYPE(
        x, backward_of<T>(dy, dh_n, dc_n, dgates, dcell, x, h_0, c_0, y, gates, cell, W_ih, W_hh, b_ih, b_hh, W_hr,
                          batch_sizes, reverse, checkpoint, need_x, need_weights, threads, split, out));
}

template <class T>
nb::object linear_of(const Array& x, const Array& W, const Maybe& b, int threads, const Room& room) {
    if (W.ndim() != 2) refuse("W", "shape (O, D)", shape_of(W));
    if (x.ndim() != 2) refuse("x", "shape (rows, D)", shape_of(x));
    const int64_t rows = x.shape(0), out = W.shape(0), in = W.shape(1);
    need<T>("x", x, {rows, in}, true);
    need<T>("W", W, {out, in}, true);
    const T* const bias = dense<T>("b", b, {out});
    const Result<T> y("y", room, {rows, out});
    {
        const Unlocked released;
        run_linear(kernels_for<T>(target(), out), static_cast<const T*>(W.data()), bias, in, out,
                   static_cast<const T*>(x.data()), y.data, rows, threads);
    }
    return y.array;
}

nb::object linear(const Array& x, const Array& W, const Maybe& b, int threads, const Room& out) {
    check_numbers(threads, 0);
    GATEWRIGHT_BY_TYPE(x, linear_of<T>(x, W, b, threads, out));
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
        const auto result = [&](int64_t width) { return single ? Result<T>({width}) : Result<T>({n.B, width}); };
        const Result<T> h_next = result(n.P), c_next = result(n.H);
        {
            const Unlocked released;
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
    const Result<T> y({int64_t(x.size())});
    const Kernels<T>& kernels = kernels_for<T>(target(), 1 << 10);
    (sigmoid ? kernels.sigmoid : kernels.tanh)(static_cast<const T*>(x.data()), y.data, int64_t(x.size()));
    return y.array;
}

nb::object activation(const Array& x, bool sigmoid) { GATEWRIGHT_BY_TYPE(x, activation_of<T>(x, sigmoid)); }

// FLOP/s of multiply-adds in registers, all threads together.
template <class T>
double fma_peak(int threads, double seconds) {
    const Kernels<T>& kernels = kernels_for<T>(target(), 1 << 10);
    const Unlocked released;
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
          nb::arg("threads"), nb::arg("split"), nb::arg("out"));
    m.def("backward", &backward, nb::arg("dy").none(), nb::arg("dh_n").none(), nb::arg("dc_n").none(),
          nb::arg("dgates").none(), nb::arg("dcell").none(), nb::arg("x"), nb::arg("h_0"), nb::arg("c_0"),
          nb::arg("y"), nb::arg("gates").none(), nb::arg("cell"), nb::arg("W_ih"), nb::arg("W_hh"),
          nb::arg("b_ih").none(), nb::arg("b_hh").none(), nb::arg("W_hr").none(), nb::arg("batch_sizes").none(),
          nb::arg("reverse"), nb::arg("checkpoint"), nb::arg("need_x"), nb::arg("need_weights"),
          nb::arg("threads"), nb::arg("split"), nb::arg("out"));
    m.def("linear", &linear, nb::arg("x"), nb::arg("W"), nb::arg("b").none(), nb::arg("threads"),
          nb::arg("out").none());
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
    bind_streams(m);
}
