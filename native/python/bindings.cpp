// Python's way in: checks shapes and types, releases the GIL, calls.  No maths.
#include <chrono>
#include <cmath>

#include "kernels/dispatch.h"
#include "python/arguments.h"
#include "python/cell_args.h"
#include "python/stream_bindings.h"
#include "python/tensors.h"
#include "support/threads.h"

namespace nb = nanobind;
using namespace gatewright;

namespace {

// Requires what a pass with weights of int8 can do.
void need_int8(const ForwardCall<float>& call, const SequenceArgs& args, bool keep) {
    const Sizes& n = call.sizes;
    if (args.clamps) refuse("clamps", "None with compute='int8'", shape_of(*args.clamps));
    if (call.variant.general) refuse("cell", "the plain cell with compute='int8'", "another one");
    if (call.table) refuse("steps", "None with compute='int8'", "steps");
    if (keep && args.checkpoint > 0)
        refuse("checkpoint", "0 with compute='int8'", std::to_string(args.checkpoint));
    for (const int64_t width : {n.D, n.P})
        if (width > kMostBytes)
            refuse("compute", "'full' or 'bf16' for sums of more than " + std::to_string(kMostBytes) + " numbers",
                   "'int8' for " + std::to_string(width));
    if (n.projected || !call.h_0) return;
    for (int64_t k = 0; k < n.B * n.P; ++k)
        if (!(std::abs(call.h_0[k]) <= 1))
            refuse("h_0", "numbers from -1 to 1 with compute='int8', as hidden states are",
                   std::to_string(call.h_0[k]));
}

// T and S: as in ForwardCall.
template <class T, class S = T>
nb::tuple forward_of(const Array& x, nb::handle h_0, nb::handle c_0, const LayerArrays& weights,
                     const SequenceArgs& args, bool keep, nb::handle out) {
    const Problem<T, S> problem(x, weights, args);
    const Sizes& n = problem.sizes;
    const Rooms rooms(out, 6);
    const DrawArgs draws(args.draws);
    ForwardCall<T, S> call{};
    call.sizes = n;
    call.steps = problem.steps;
    call.weights = problem.weights;
    call.x = problem.rows_of("x", x, n.D);
    const Maybe h_0_array = maybe_of("h_0", h_0), c_0_array = maybe_of("c_0", c_0);
    call.h_0 = dense<T>("h_0", h_0_array, {n.B, n.P});
    const int64_t cell_width = problem.cell_width();
    call.c_0 = dense<T>("c_0", c_0_array, {n.B, cell_width});
    call.variant = variant_of<T>(args, draws, weights, n);
    call.table = problem.table();
    call.h_reset = dense<T>("h_reset", args.rows.h_reset, {n.B, n.P});
    call.c_reset = dense<T>("c_reset", args.rows.c_reset, {n.B, cell_width});
    call.fill_kept = args.fill;
    const Result<S> y = problem.result_rows("y", rooms[0], n.P, is_bfloat16(x));
    const Result<T> h_n("h_n", rooms[1], {n.B, n.P}), c_n("c_n", rooms[2], {n.B, cell_width});
    Result<S> gates, cell;
    Result<T> checkpoints, extra;
    call.y = problem.rows_in(y.data, n.P);
    call.h_n = h_n.data;
    call.c_n = c_n.data;
    if (keep && args.checkpoint > 0) {
        call.every = steps_between(args.checkpoint, problem.whole(), kOperandBytes<T, S>);
        checkpoints =
            Result<T>("cell", rooms[4], {(problem.times + call.every - 1) / call.every, n.B, cell_width});
        call.checkpoints = checkpoints.data;
    } else if (keep) {
        gates = problem.result_rows("gates", rooms[3], 4 * n.H, args.kept_in_bfloat16);
        cell = problem.result_rows("cell", rooms[4], n.H, args.kept_in_bfloat16);
        call.gates = gates.data;
        call.cell = cell.data;
        if (call.variant.gains) extra = problem.template result_of<T>("extra", rooms[5], norm_width(n.H));
        call.extra = extra.data;
    }
    call.threads = args.threads;
    call.split = args.split;
    if (args.compute == Compute::int8) {
        if constexpr (std::is_same_v<S, float>) {
            need_int8(call, args, keep);
            const Unlocked released;
            run_int8_forward(target(), call);
        } else {
            refuse("x", "float32 with compute='int8'", "float64");
        }
    } else {
        const Unlocked released;
        run_forward(forward_kernels_for<T, S>(target(), n.H), call);
    }
    return nb::make_tuple(y.array, h_n.array, c_n.array, gates.array,
                          call.checkpoints ? checkpoints.array : cell.array, extra.array);
}

template <class T, class S = T>
nb::tuple backward_of(const OutputGradients& d, const KeptArrays& kept, const LayerArrays& weights,
                      const SequenceArgs& args, bool need_x, bool need_weights, nb::handle out, const Room& dpre) {
    const Problem<T, S> problem(kept.x, weights, args);
    const Sizes& n = problem.sizes;
    const Rooms rooms(out, 13);
    const DrawArgs draws(args.draws);
    BackwardCall<T, S> call{};
    call.variant = variant_of<T>(args, draws, weights, n);
    call.sizes = n;
    call.steps = problem.steps;
    call.weights = problem.weights;
    call.x = problem.rows_of("x", kept.x, n.D);
    call.y = problem.rows_of("y", kept.y, n.P);
    call.h_0 = dense<T>("h_0", kept.h_0, {n.B, n.P});
    const int64_t cell_width = problem.cell_width();
    call.c_0 = dense<T>("c_0", kept.c_0, {n.B, cell_width});
    if (kept.gates) {
        call.gates = problem.rows_of("gates", kept.gates, 4 * n.H, true).data;
        call.cell = problem.rows_of("cell", kept.cell, n.H, true).data;
        if (bytes_of(call.cell) != bytes_of(call.gates)) refuse("cell", "the type of gates", "another type");
        if (call.variant.gains) {
            const int64_t width = norm_width(n.H);
            if (!kept.extra) refuse("extra", "what forward gives with layer norm", "None");
            call.extra = problem.packed() ? dense<T>("extra", kept.extra, {problem.rows, width})
                                          : dense<T>("extra", kept.extra, {problem.times, n.B, width});
        }
    } else {
        if (args.checkpoint < 1)
            refuse("checkpoint", "at least 1 where gates are not given", std::to_string(args.checkpoint));
        call.every = steps_between(args.checkpoint, problem.whole(), kOperandBytes<T, S>);
        call.narrow_kept = kPairs<S> && args.kept_in_bfloat16;
        call.checkpoints =
            dense<T>("cell", kept.cell, {(problem.times + call.every - 1) / call.every, n.B, cell_width});
    }
    call.dy = problem.rows_of("dy", d.dy, n.P);
    call.dgates = problem.rows_of("dgates", d.dgates, 4 * n.H);
    call.dcell = problem.rows_of("dcell", d.dcell, n.H);
    call.dh_n = dense<T>("dh_n", d.dh_n, {n.B, n.P});
    call.dc_n = dense<T>("dc_n", d.dc_n, {n.B, cell_width});
    if (problem.slstm && call.dc_n) {
        if (!kept.c_n) refuse("c_n", "what forward gave, where dc_n is given with the sLSTM", "None");
        call.c_n = dense<T>("c_n", kept.c_n, {n.B, cell_width});
    }
    const Result<T> dh_0("dh_0", rooms[1], {n.B, n.P}), dc_0("dc_0", rooms[2], {n.B, cell_width});
    Result<S> dx;
    Result<T> dW_ih, dW_hh, db, dW_hr, dw_ch, dw_ln, dw_ln_cell, db_ln_cell, dh_reset, dc_reset;
    call.table = problem.table();
    call.h_reset = dense<T>("h_reset", args.rows.h_reset, {n.B, n.P});
    call.c_reset = dense<T>("c_reset", args.rows.c_reset, {n.B, cell_width});
    if (call.table && call.table->reset) {
        if (call.h_reset) dh_reset = Result<T>("dh_reset", rooms[11], {n.B, n.P});
        if (call.c_reset) dc_reset = Result<T>("dc_reset", rooms[12], {n.B, cell_width});
    }
    call.dh_reset = dh_reset.data;
    call.dc_reset = dc_reset.data;
    if (need_x) dx = problem.result_rows("dx", rooms[0], n.D, is_bfloat16(kept.x));
    if (need_weights) {
        dW_ih = Result<T>("dW_ih", rooms[3], {4 * n.H, n.D});
        dW_hh = Result<T>("dW_hh", rooms[4], {4 * n.H, n.read()});
        db = Result<T>("db", rooms[5], {4 * n.H});
        if (n.projected) dW_hr = Result<T>("dW_hr", rooms[6], {n.P, n.H});
        if (call.variant.peepholes) dw_ch = Result<T>("dw_ch", rooms[7], {3 * n.H});
        if (call.variant.gains) {
            dw_ln = Result<T>("dw_ln", rooms[8], {4 * n.H});
            dw_ln_cell = Result<T>("dw_ln_cell", rooms[9], {n.H});
            db_ln_cell = Result<T>("db_ln_cell", rooms[10], {n.H});
        }
    }
    if (dpre) {
        if (call.variant.gains) refuse("wanted.gates", "None with layer norm", shape_of(*dpre));
        if constexpr (kPairs<S>)
            refuse("wanted.gates", "None with compute='bf16'", shape_of(*dpre));
        else
            call.dpre = problem.rows_in(problem.result_rows("wanted.gates", dpre, 4 * n.H).data, 4 * n.H);
    }
    call.dh_0 = dh_0.data;
    call.dc_0 = dc_0.data;
    call.dx = problem.rows_in(dx.data, n.D);
    call.dW_ih = dW_ih.data;
    call.dW_hh = dW_hh.data;
    call.db = db.data;
    call.dW_hr = dW_hr.data;
    call.d_variant = {dw_ch.data, dw_ln.data, dw_ln_cell.data, db_ln_cell.data, nullptr};
    call.threads = args.threads;
    call.split = args.split;
    {
        const Unlocked released;
        run_backward(kernels_for<T, S>(target(), n.H), call);
    }
    return nb::make_tuple(dx.array, dh_0.array, dc_0.array, dW_ih.array, dW_hh.array, db.array, dW_hr.array,
                          dw_ch.array, dw_ln.array, dw_ln_cell.array, db_ln_cell.array, dh_reset.array,
                          dc_reset.array);
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

nb::tuple forward(nb::handle x_given, nb::handle h_0, nb::handle c_0, nb::handle weights, nb::handle args,
                  nb::handle keep, nb::handle out) {
    const Array x = array_of("x", x_given);
    const LayerArrays layer(weights);
    const SequenceArgs sequence(args);
    const bool kept = flag_of("keep", keep);
    if (sequence.compute == Compute::bfloat16)
        return forward_of<float, BFloat16>(x, h_0, c_0, layer, sequence, kept, out);
    GATEWRIGHT_BY_TYPE(x, forward_of<T>(x, h_0, c_0, layer, sequence, kept, out));
}

nb::tuple backward(nb::handle d, nb::handle inputs, nb::handle kept, nb::handle weights, nb::handle args,
                   nb::handle need_x, nb::handle need_weights, nb::handle out, nb::handle dpre) {
    const KeptArrays given(inputs, kept);
    const OutputGradients gradients(d);
    const LayerArrays layer(weights);
    const SequenceArgs sequence(args);
    const bool x_too = flag_of("wanted.x", need_x), weights_too = flag_of("wanted.weights", need_weights);
    const Room room = room_of("dpre", dpre);
    const Array& x = given.x;
    if (sequence.compute == Compute::int8) refuse("compute", "'full' or 'bf16' for a backward pass", "'int8'");
    if (sequence.compute == Compute::bfloat16)
        return backward_of<float, BFloat16>(gradients, given, layer, sequence, x_too, weights_too, out, room);
    GATEWRIGHT_BY_TYPE(x, backward_of<T>(gradients, given, layer, sequence, x_too, weights_too, out, room));
}

template <class T, class S = T>
nb::object linear_of(const Array& x, const Array& W, const Maybe& b, int threads, const Room& room) {
    if (W.ndim() != 2) refuse("W", "shape (O, D)", shape_of(W));
    if (x.ndim() != 2) refuse("x", "shape (rows, D)", shape_of(x));
    const int64_t rows = x.shape(0), out = W.shape(0), in = W.shape(1);
    need<S>("x", x, {rows, in}, true);
    need<S>("W", W, {out, in}, true);
    const auto bias = dense<S>("b", b, {out});
    const Result<S> y("y", room, {rows, out}, is_bfloat16(x));
    {
        const Unlocked released;
        run_linear(kernels_for<T, S>(target(), out),
                   LinearCall<T, S>{elements_of<S>(W), bias, in, out, rows, elements_of<S>(x), y.data, threads});
    }
    return y.array;
}

nb::object linear(nb::handle x_given, nb::handle W_given, nb::handle b_given, nb::handle threads_given,
                  nb::handle out, nb::handle compute) {
    const Array x = array_of("x", x_given), W = array_of("W", W_given);
    const Maybe b = maybe_of("b", b_given);
    const int threads = threads_of(threads_given);
    const Room room = room_of("out", out);
    if (in_bfloat16(text_of("compute", compute))) return linear_of<float, BFloat16>(x, W, b, threads, room);
    GATEWRIGHT_BY_TYPE(x, linear_of<T>(x, W, b, threads, room));
}

// Weights of one layer, packed once for the target of that moment; a later change of the weights does not show.
struct Packed {
    Packed() = default;
    Packed(const Packed&) = delete;
    Packed& operator=(const Packed&) = delete;
    virtual ~Packed() = default;
    virtual nb::tuple step(nb::handle x, nb::handle h, nb::handle c) const = 0;
};

template <class T, class S = T>
class PackedOf final : public Packed {
  public:
    explicit PackedOf(const Problem<T, S>& problem)
        : sizes_(problem.sizes),
          kernels_(forward_kernels_for<T, S>(target(), sizes_.H)),
          memory_(kernels_.panels_size(sizes_, true, false)),
          panels_(pack_weights(kernels_, sizes_, problem.weights, memory_.get())) {}

    nb::tuple step(nb::handle x_given, nb::handle h_given, nb::handle c_given) const override {
        const Array x = array_of("x", x_given), h = array_of("h", h_given), c = array_of("c", c_given);
        if (x.ndim() != 1 && x.ndim() != 2)
            refuse("x", "shape " + shape_of({sizes_.D}) + " or (B, " + std::to_string(sizes_.D) + ")",
                   shape_of(x));
        Sizes n = sizes_;
        const bool single = x.ndim() == 1;
        n.B = single ? 1 : int64_t(x.shape(0));
        const auto check = [&]<class Element>(const char* name, const Array& array, int64_t width, Element) {
            single ? need<Element>(name, array, {width}, true) : need<Element>(name, array, {n.B, width}, true);
            return elements_of<Element>(array);
        };
        const auto x_data = check("x", x, n.D, S());
        const T* const h_data = check("h", h, n.P, T());
        const T* const c_data = check("c", c, n.H, T());
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
    const Kernels<T, S>& kernels_;
    const Workspace<T> memory_;
    const Panels<T, PanelElement<T, S>> panels_;
};

Packed* pack(nb::handle weights, nb::handle compute) {
    const LayerArrays layer(weights);
    if (in_bfloat16(text_of("compute", compute)))
        return new PackedOf<float, BFloat16>(Problem<float, BFloat16>(layer));
    const Array& W_hh = layer.W_hh;
    GATEWRIGHT_BY_TYPE(W_hh, new PackedOf<T>(Problem<T>(layer)));
}

template <class T>
nb::object activation_of(const Array& x, bool sigmoid) {
    need<T>("x", x, {int64_t(x.size())}, true);
    const Result<T> y({int64_t(x.size())});
    const Kernels<T>& kernels = kernels_for<T>(target(), 1 << 10);
    (sigmoid ? kernels.sigmoid : kernels.tanh)(static_cast<const T*>(x.data()), y.data, int64_t(x.size()));
    return y.array;
}

nb::object activation(nb::handle x_given, bool sigmoid) {
    const Array x = array_of("x", x_given);
    GATEWRIGHT_BY_TYPE(x, activation_of<T>(x, sigmoid));
}

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

// What Python may call and with which arguments, by number.  Raise it, and INTERFACE in native_module.py, with
// each change: Python refuses a module of another number, which would ignore arguments that it does not know.
constexpr int kInterface = 17;

NB_MODULE(_kernels, m) {
    m.attr("interface") = kInterface;
    m.def("forward", &forward, nb::arg("x").none(), nb::arg("h_0").none(), nb::arg("c_0").none(),
          nb::arg("weights").none(), nb::arg("args").none(), nb::arg("keep").none(), nb::arg("out").none());
    m.def("backward", &backward, nb::arg("d").none(), nb::arg("inputs").none(), nb::arg("kept").none(),
          nb::arg("weights").none(), nb::arg("args").none(), nb::arg("need_x").none(),
          nb::arg("need_weights").none(), nb::arg("out").none(), nb::arg("dpre").none());
    m.def("linear", &linear, nb::arg("x").none(), nb::arg("W").none(), nb::arg("b").none(),
          nb::arg("threads").none(), nb::arg("out").none(), nb::arg("compute").none());
    nb::class_<Packed>(m, "Packed")
        .def("step", &Packed::step, nb::arg("x").none(), nb::arg("h").none(), nb::arg("c").none());
    m.def("pack", &pack, nb::arg("weights").none(), nb::arg("compute").none(), nb::rv_policy::take_ownership);
    m.attr("least_chunk_rows") = kLeastChunk;
    m.attr("chunk_bytes") = kChunkBytes;
    m.def("chunk_steps", [](int64_t B, int64_t H, int64_t element) {
        if (B < 0) refuse("B", "at least 0", std::to_string(B));
        if (H < 1) refuse("H", "at least 1", std::to_string(H));
        return chunk_steps({0, B, 0, H, 0, false}, size_t(element));
    });
    m.def("activation", &activation, nb::arg("x").none(), nb::arg("sigmoid"));
    m.def("fma_peak", [](bool single, nb::handle threads_given, double seconds) {
        const int threads = threads_of(threads_given);
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
    m.def("memory", [](const std::vector<size_t>& shape, bool single) {
        return single ? Result<float>(shape).array : Result<double>(shape).array;
    });
    m.def("release_memory", &release_memory);
    bind_models(m);
    bind_streams(m);
    bind_step_calls(m);
    bind_tensor_calls(m);
}
