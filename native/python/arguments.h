// The objects of a call from Python, and its sizes and steps, checked.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/sequence.h"
#include "python/arrays.h"
#include "python/gil.h"

namespace gatewright {

// The bit of `CellSpec.code` of the sLSTM, whose weights and states have shapes of their own.
constexpr int64_t kSlstm = 8192;

// The weights of one layer: `LayerWeights` of Python.
struct LayerArrays {
    Array W_ih, W_hh;
    Maybe b_ih, b_hh, W_hr, w_ch, w_ln, w_ln_cell, b_ln_cell;

    explicit LayerArrays(nb::handle weights) {
        static const Attribute W_ih_("W_ih"), W_hh_("W_hh"), b_ih_("b_ih"), b_hh_("b_hh"), W_hr_("W_hr"),
            w_ch_("w_ch"), w_ln_("w_ln"), w_ln_cell_("w_ln_cell"), b_ln_cell_("b_ln_cell");
        const auto of = [&](const Attribute& attribute) {
            return attribute.of("weights", "LayerWeights", weights);
        };
        W_ih = array_of("W_ih", of(W_ih_));
        W_hh = array_of("W_hh", of(W_hh_));
        b_ih = maybe_of("b_ih", of(b_ih_));
        b_hh = maybe_of("b_hh", of(b_hh_));
        W_hr = maybe_of("W_hr", of(W_hr_));
        w_ch = maybe_of("w_ch", of(w_ch_));
        w_ln = maybe_of("w_ln", of(w_ln_));
        w_ln_cell = maybe_of("w_ln_cell", of(w_ln_cell_));
        b_ln_cell = maybe_of("b_ln_cell", of(b_ln_cell_));
    }
};

inline Split split_of(const std::string& name) {
    if (name == "rows") return Split::rows;
    if (name == "units") return Split::units;
    if (!name.empty()) refuse("split", "'rows', 'units' or ''", "'" + name + "'");
    return Split::automatic;
}

// Whether products are made of bfloat16.
inline bool in_bfloat16(const std::string& compute) {
    if (compute != "full" && compute != "bf16") refuse("compute", "'full' or 'bf16'", "'" + compute + "'");
    return compute == "bf16";
}

// What a pass multiplies.
enum class Compute { full, bfloat16, int8 };

inline Compute compute_of(const std::string& compute) {
    if (compute == "int8") return Compute::int8;
    if (compute == "bf16") return Compute::bfloat16;
    if (compute != "full") refuse("compute", "'full', 'bf16' or 'int8'", "'" + compute + "'");
    return Compute::full;
}

inline bool kept_in_bfloat16(const std::string& kept) {
    if (kept != "float32" && kept != "bf16") refuse("kept", "'float32' or 'bf16'", "'" + kept + "'");
    return kept == "bf16";
}

// Which steps rows have, and where their states are reset: `Steps` of Python.
struct StepArrays {
    Maybe lengths, mask, reset, h_reset, c_reset;

    StepArrays() = default;
    explicit StepArrays(nb::handle steps) {
        static const Attribute lengths_("lengths"), mask_("mask"), reset_("reset"), h_reset_("h_reset"),
            c_reset_("c_reset");
        const auto of = [&](const Attribute& attribute) {
            return maybe_of(attribute.name(), attribute.of("steps", "Steps or None", steps));
        };
        lengths = of(lengths_);
        mask = of(mask_);
        reset = of(reset_);
        h_reset = of(h_reset_);
        c_reset = of(c_reset_);
    }
    bool any() const {
        if (!reset && (h_reset || c_reset)) refuse("reset", "the steps at which the state is reset", "None");
        return lengths || mask || reset;
    }

    // (T, B), contiguous; empty where there is none.
    static std::vector<uint8_t> flags(const char* name, const Maybe& array, int64_t T, int64_t B) {
        std::vector<uint8_t> all;
        if (!array) return all;
        if (array->dtype() != nb::dtype<bool>()) refuse(name, "an array of bool", "another type");
        if (array->ndim() != 2 || int64_t(array->shape(0)) != T || int64_t(array->shape(1)) != B)
            refuse(name, "shape " + shape_of({T, B}), shape_of(*array));
        all.reserve(T * B);
        const auto* const data = static_cast<const uint8_t*>(array->data());
        for (int64_t t = 0; t < T; ++t)
            for (int64_t b = 0; b < B; ++b) all.push_back(data[t * array->stride(0) + b * array->stride(1)] != 0);
        return all;
    }

    static std::vector<int64_t> counts(const Maybe& array, int64_t T, int64_t B) {
        std::vector<int64_t> all;
        if (!array) return all;
        if (array->dtype() != nb::dtype<int64_t>()) refuse("lengths", "an array of int64", "another type");
        if (array->ndim() != 1 || int64_t(array->shape(0)) != B)
            refuse("lengths", shape_of({B}), shape_of(*array));
        for (int64_t b = 0; b < B; ++b) {
            all.push_back(static_cast<const int64_t*>(array->data())[b * array->stride(0)]);
            if (all.back() < 0 || all.back() > T)
                refuse("lengths", "numbers from 0 to " + std::to_string(T) + ", the steps of x",
                       std::to_string(all.back()) + " for row " + std::to_string(b));
        }
        return all;
    }
};

// How a sequence is walked: `SequenceArgs` of Python.
struct SequenceArgs {
    std::optional<std::vector<int64_t>> batch_sizes;
    bool reverse;
    int64_t checkpoint;
    int threads;
    Split split;
    Maybe clamps;
    Compute compute;
    bool kept_in_bfloat16;
    int64_t cell;  // `CellSpec.code`
    nb::object rates, draws;
    StepArrays rows;
    bool fill;

    explicit SequenceArgs(nb::handle args) {
        static const Attribute batch_sizes_("batch_sizes"), reverse_("reverse"), checkpoint_("checkpoint"),
            threads_("threads"), split_("split"), clamps_("clamps"), compute_("compute"), kept_("kept"),
            cell_("cell"), rates_("rates"), draws_("draws"), steps_("steps"), fill_("fill");
        const auto of = [&](const Attribute& attribute) { return attribute.of("args", "SequenceArgs", args); };
        batch_sizes = batch_sizes_of(of(batch_sizes_));
        reverse = flag_of("reverse", of(reverse_));
        checkpoint = whole_of("checkpoint", of(checkpoint_), 0);
        threads = threads_of(of(threads_));
        split = split_of(text_of("split", of(split_)));
        clamps = maybe_of("clamps", of(clamps_));
        compute = compute_of(text_of("compute", of(compute_)));
        kept_in_bfloat16 = gatewright::kept_in_bfloat16(text_of("kept", of(kept_)));
        cell = whole_of("cell", of(cell_), 0);
        rates = of(rates_);
        draws = of(draws_);
        const nb::object steps = of(steps_);
        if (!steps.is_none()) rows = StepArrays(steps);
        fill = flag_of("fill", of(fill_));
    }
};

// What the backward pass goes back from: `OutputGradients` of Python.
struct OutputGradients {
    Maybe dy, dh_n, dc_n, dgates, dcell;

    explicit OutputGradients(nb::handle d) {
        static const Attribute dy_("dy"), dh_n_("dh_n"), dc_n_("dc_n"), dgates_("dgates"), dcell_("dcell");
        const auto of = [&](const Attribute& attribute) {
            return maybe_of(attribute.name(), attribute.of("d", "OutputGradients", d));
        };
        dy = of(dy_);
        dh_n = of(dh_n_);
        dc_n = of(dc_n_);
        dgates = of(dgates_);
        dcell = of(dcell_);
    }
};

// What a forward pass read and left behind: `Inputs` and `Kept` of Python.
struct KeptArrays {
    Array x, h_0, c_0, y, cell;
    Maybe gates, extra, c_n;

    KeptArrays(nb::handle inputs, nb::handle kept) {
        static const Attribute x_("x"), h_0_("h_0"), c_0_("c_0"), y_("y"), gates_("gates"), cell_("cell"),
            extra_("extra"), c_n_("c_n");
        const auto input = [&](const Attribute& attribute) {
            return array_of(attribute.name(), attribute.of("inputs", "Inputs", inputs));
        };
        const auto of = [&](const Attribute& attribute) {
            return maybe_of(attribute.name(), attribute.of("kept", "Kept, or a result of forward", kept));
        };
        x = input(x_);
        h_0 = input(h_0_);
        c_0 = input(c_0_);
        const Maybe y_kept = of(y_), cell_kept = of(cell_);
        if (!y_kept || !cell_kept) refuse("kept", "what forward gives with keep=True", "a pass that kept nothing");
        y = *y_kept;
        cell = *cell_kept;
        gates = of(gates_);
        extra = of(extra_);
        c_n = of(c_n_);
    }
};

// Sizes and steps of a call, read off its arguments and checked.
template <class T, class S = T>
struct Problem {
    Sizes sizes{};
    Steps steps{};
    Weights<T, S> weights{};
    std::vector<int64_t> batch_sizes, starts;
    int64_t rows = 0;
    std::unique_ptr<const StepPlan> plan;  // of steps that rows have for themselves, or null
    int64_t times = 0;                     // steps of x, where a walk may have fewer
    bool slstm = false;

    explicit Problem(const LayerArrays& layer, int64_t cell = 0) : slstm(cell & kSlstm) {
        const auto& [W_ih, W_hh, b_ih, b_hh, W_hr, w_ch, w_ln, w_ln_cell, b_ln_cell] = layer;
        if (W_hh.ndim() != 2 || W_hh.shape(0) == 0 || W_hh.shape(0) % 4 != 0 || W_hh.shape(1) == 0)
            refuse("W_hh", "shape (4H, H), or (4H, P) with a projection", shape_of(W_hh));
        if (W_ih.ndim() != 2 || W_ih.shape(1) == 0) refuse("W_ih", "shape (4H, D)", shape_of(W_ih));
        const int64_t H = W_hh.shape(0) / 4;
        sizes.D = W_ih.shape(1);
        sizes.H = H;
        sizes.P = W_hh.shape(1);
        sizes.projected = W_hr.has_value();
        if (slstm) {
            if (sizes.projected) refuse("W_hr", "None with the sLSTM", shape_of(*W_hr));
            if (H % sizes.P != 0)
                refuse("W_hh", "a number of columns that divides H = " + std::to_string(H), shape_of(W_hh));
            if (sizes.P != H) sizes.head = sizes.P;
            sizes.P = H;
        }
        if (!sizes.projected && sizes.P != H)
            refuse("W_hh", "shape " + shape_of({4 * H, H}) + " without W_hr", shape_of(W_hh));
        if (b_ih.has_value() != b_hh.has_value())
            refuse(b_ih ? "b_hh" : "b_ih", "both biases, or neither", "one of them");
        weights = {dense<S>("W_ih", W_ih, {4 * H, sizes.D}), dense<S>("W_hh", W_hh, {4 * H, sizes.read()}),
                   dense<S>("b_ih", b_ih, {4 * H}), dense<S>("b_hh", b_hh, {4 * H}),
                   dense<S>("W_hr", W_hr, {sizes.P, H})};
    }

    Problem(const Array& x, const LayerArrays& layer, const SequenceArgs& args) : Problem(layer, args.cell) {
        const auto& given_batch_sizes = args.batch_sizes;
        const bool reverse = args.reverse;
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
        sizes.B = steps.B;
        times = steps.T;
        if (args.rows.any()) plan_steps(args);
        sizes.T = steps.T;
    }

    // Sizes with all the steps of x.
    Sizes whole() const {
        Sizes all = sizes;
        all.T = times;
        return all;
    }
    // Numbers of a row's cell state.
    int64_t cell_width() const { return slstm ? 3 * sizes.H : sizes.H; }
    // The table of a walk, or null.
    const StepTable* table() const { return plan ? &plan->table() : nullptr; }
    bool packed() const { return steps.starts != nullptr && !plan; }

    // An argument of (T, B, width), or (rows, width) where steps are packed.
    RowsIn<S> rows_of(const char* name, const Maybe& array, int64_t width, bool whole = false) const {
        if (!array) return {nullptr, 0, 0};
        if (packed()) {
            need<S>(name, *array, {rows, width}, whole);
            return {elements_of<S>(*array), 0, array->stride(0)};
        }
        need<S>(name, *array, {times, steps.B, width}, whole);
        return {elements_of<S>(*array), array->stride(0), array->stride(1)};
    }

    // Such a result of another type.
    template <class Element>
    Result<Element> result_of(const char* name, const Room& room, int64_t width) const {
        if (packed()) return Result<Element>(name, room, {rows, width});
        return Result<Element>(name, room, {times, steps.B, width});
    }
    RowsOut<S> rows_in(typename Stored<S>::Out data, int64_t width) const {
        return {data, steps.B * width, width};
    }
    Result<S> result_rows(const char* name, const Room& room, int64_t width, bool narrow = false) const {
        if (packed()) return Result<S>(name, room, {rows, width}, narrow);
        return Result<S>(name, room, {times, steps.B, width}, narrow);
    }

  private:
    void plan_steps(const SequenceArgs& args) {
        if (args.batch_sizes) refuse("batch_sizes", "None next to steps", "batch sizes");
        if (steps.T > INT32_MAX || steps.B > INT32_MAX)
            refuse("x", "at most 2^31 - 1 steps and rows next to steps", shape_of({steps.T, steps.B}));
        const auto lengths = StepArrays::counts(args.rows.lengths, steps.T, steps.B);
        const auto mask = StepArrays::flags("mask", args.rows.mask, steps.T, steps.B);
        const auto reset = StepArrays::flags("reset", args.rows.reset, steps.T, steps.B);
        plan = std::make_unique<const StepPlan>(steps.T, steps.B, args.rows.lengths ? lengths.data() : nullptr,
                                                args.rows.mask ? mask.data() : nullptr,
                                                args.rows.reset ? reset.data() : nullptr, args.reverse);
        if (!plan->table().order) return;
        steps = {plan->steps(), steps.B, plan->sizes(), plan->starts(), false};
    }
};

// Steps between checkpoints: as wished, but whole chunks, and no more than there are.
inline int64_t steps_between(int64_t wish, const Sizes& n, size_t element) {
    const int64_t unit = chunk_steps(n, element), most = n.T > 0 ? n.T : 1;
    return ((wish < most ? wish : most) + unit - 1) / unit * unit;
}

// The places of results that the caller has; none where it has none.
class Rooms {
  public:
    Rooms(nb::handle out, size_t results) {
        const std::string expected = std::to_string(results) + " arrays or None";
        nb::sequence given;
        if (!nb::try_cast(out, given)) refuse("out", expected, described(out));
        const size_t count = nb::len(given);
        if (count != 0 && count != results) refuse("out", expected, std::to_string(count));
        rooms_.reserve(results);
        for (size_t n = 0; n < results; ++n)
            rooms_.push_back(count ? room_of("out", nb::object(given[n])) : Room());
    }
    const Room& operator[](size_t n) const { return rooms_[n]; }

  private:
    std::vector<Room> rooms_;
};

}  // namespace gatewright
