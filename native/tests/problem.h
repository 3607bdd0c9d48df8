// A problem with all its inputs, each allocated to the element so that AddressSanitizer sees a read past its end.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <random>

#include "check.h"
#include "kernels/sequence.h"

namespace gatewright::tests {

enum class Lie { dense, gaps, batch_first };  // how the rows of (T, B, width) arrays lie in memory

// What a cell has beyond the plain one.
struct Cell {
    bool peephole = false, coupled = false, no_input_gate = false, no_forget_gate = false, no_output_gate = false;
    Activation gate = Activation::smooth, candidate = Activation::smooth, output = Activation::smooth;
    bool layer_norm = false;
    double clip = 0, rates[kPurposes] = {};
    bool drawn = false;  // random factors, not expectations
    int64_t heads = 0;   // of an sLSTM; 0: none
    bool exponential_forget = false;
    bool operator==(const Cell&) const = default;
};

struct Case {
    int64_t T, B, D, H;
    int64_t P = 0;  // 0: no projection
    bool reverse = false, packed = false;
    Lie lie = Lie::dense;
    bool bias = true, state = true;
    bool shown = true;    // whether y has an adjoint
    bool record = false;  // whether gates and cells have adjoints of their own
    bool need_x = true, need_weights = true;
    bool held = false;       // whether some gates are held
    double saturation = 0;   // added to the biases with either sign
    int64_t checkpoint = 1;  // chunks between checkpoints
    Cell cell = {};
    bool table = false;  // whether rows have lengths, masks and resets of their own

    std::string text() const {
        std::string all = "T=" + std::to_string(T) + " B=" + std::to_string(B) + " D=" + std::to_string(D) +
                          " H=" + std::to_string(H) + " P=" + std::to_string(P);
        const auto add = [&](bool there, const char* name) { all += there ? name : ""; };
        add(reverse, " reverse");
        add(packed, " packed");
        add(lie == Lie::gaps, " gaps");
        add(lie == Lie::batch_first, " batch_first");
        add(!bias, " no bias");
        add(!state, " no state");
        add(!shown, " no dy");
        add(record, " record");
        add(held, " held");
        add(table, " table");
        return all;
    }
};

// Values by name; (T, B, width) arrays as (rows, width) in the order of packed steps.
template <class V>
using Named = std::map<std::string, std::vector<V>>;

template <class T, class Visit>
void each_row(const Steps& steps, const Rows<T>& rows, Visit&& visit) {
    for (int64_t t = 0; t < steps.T; ++t)
        for (int64_t b = 0; b < steps.rows(t); ++b) visit(rows.at(steps, t, b), steps.start(t) + b);
}

template <class T>
class Problem {
  public:
    const Case of;
    Sizes sizes{};
    Steps steps{};
    int64_t rows = 0, every = 0;
    std::vector<T> W_ih, W_hh, b_ih, b_hh, W_hr, h_0, c_0, dh_n, dc_n, clamps, peepholes, gains, cell_gain,
        cell_bias, h_reset, c_reset;
    std::vector<int64_t> row_ids, lengths;
    std::vector<uint8_t> mask, reset;  // (T, B)
    std::unique_ptr<const StepPlan> plan;
    Rows<const T> x{}, dy{}, dgates{}, dcell{};

    explicit Problem(const Case& given) : of(given), random_(17) {
        const int64_t P = given.P ? given.P : given.H;
        const bool slstm = given.cell.heads > 0;
        sizes = {given.T, given.B, given.D, given.H, P, given.P != 0};
        if (given.cell.heads > 1) sizes.head = given.H / given.cell.heads;
        const int64_t cell_width = (slstm ? 3 : 1) * given.H;
        cut_steps();
        every = given.checkpoint * chunk_steps(sizes, sizeof(T));
        const double scale = 1 / std::sqrt(static_cast<double>(given.H));
        W_ih = values(4 * given.H * given.D, 2 / std::sqrt(static_cast<double>(given.D)));
        W_hh = values(4 * given.H * sizes.read(), 2 * scale);
        if (given.bias) b_ih = values(4 * given.H, scale), b_hh = values(4 * given.H, scale);
        for (std::size_t k = 0; k < b_ih.size(); ++k) b_ih[k] += (k % 2 ? 1 : -1) * T(given.saturation);
        if (given.P) W_hr = values(P * given.H, scale);
        h_0 = given.state ? values(given.B * P, 1) : std::vector<T>(given.B * P);
        c_0 = given.state ? values(given.B * cell_width, 1) : std::vector<T>(given.B * cell_width);
        for (int64_t k = 0; slstm && given.state && k < given.B * cell_width; ++k)
            if (k / given.H % 3 == 1) c_0[k] += T(1.5);  // n
        if (given.state) dh_n = values(given.B * P, 1), dc_n = values(given.B * cell_width, 1);
        x = input(given.D);
        if (given.shown) dy = input(P);
        if (given.record) dgates = input(4 * given.H), dcell = input(given.H);
        if (given.held) clamps = some_held();
        if (given.cell.peephole) peepholes = values(3 * given.H, 1);
        if (given.cell.layer_norm) {
            gains = values(4 * given.H, 1.5), cell_gain = values(given.H, 1.5), cell_bias = values(given.H, 1);
        }
        for (int64_t b = 0; b < given.B; ++b) row_ids.push_back(5 * b + 2);
        if (given.table) tabulate();
    }
    Problem(const Problem&) = delete;
    Problem& operator=(const Problem&) = delete;

    // Of a table: whether time t is before the end of row b, whether it has a step, and whether its state is
    // reset.
    bool within(int64_t t, int64_t b) const { return lengths.empty() || t < lengths[b]; }
    bool has_step(int64_t t, int64_t b) const { return within(t, b) && (mask.empty() || mask[t * of.B + b]); }
    bool resets(int64_t t, int64_t b) const { return within(t, b) && !reset.empty() && reset[t * of.B + b]; }

    Weights<T> weights() const {
        const auto or_null = [](const std::vector<T>& v) { return v.empty() ? nullptr : v.data(); };
        return {W_ih.data(), W_hh.data(), or_null(b_ih), or_null(b_hh), or_null(W_hr)};
    }

    Variant<T> variant() const {
        const auto or_null = [](const std::vector<T>& v) { return v.empty() ? nullptr : v.data(); };
        const Cell& cell = of.cell;
        Variant<T> v{};
        v.general = of.held || !(cell == Cell{});
        v.slstm = cell.heads > 0, v.exponential_forget = cell.exponential_forget;
        v.coupled = cell.coupled;
        v.no_input_gate = cell.no_input_gate, v.no_forget_gate = cell.no_forget_gate;
        v.no_output_gate = cell.no_output_gate;
        v.gate = cell.gate, v.candidate = cell.candidate, v.output = cell.output;
        v.peepholes = or_null(peepholes);
        v.gains = or_null(gains), v.cell_gain = or_null(cell_gain), v.cell_bias = or_null(cell_bias);
        v.clamps = or_null(clamps);
        v.cell_clip = cell.clip;
        std::copy_n(cell.rates, kPurposes, v.rates);
        v.draws = {cell.drawn, 0x123456789abcdefu, row_ids.data(), 3, 0x28};
        return v;
    }

    // Strides of rows of `width` in this case, and how many elements they span.
    Rows<T> place(int64_t width, int64_t* size) const {
        const int64_t gap = of.lie == Lie::gaps ? 3 : 0;
        Rows<T> r{nullptr, steps.B * (width + gap) + gap, width + gap};
        if (of.lie == Lie::batch_first && !of.packed) r = {nullptr, width, steps.T * width};
        *size = 0;
        for (int64_t t = 0; t < steps.T && steps.B > 0; ++t) {
            const int64_t first = steps.starts ? steps.starts[t] * r.row : t * r.step;
            *size = std::max(*size, first + (steps.rows(t) - 1) * r.row + width);
        }
        return r;
    }

  private:
    std::mt19937 random_;
    std::vector<int64_t> batch_sizes_, starts_;
    std::vector<std::vector<T>> held_;

    double uniform(double scale) { return scale * (random_() * 0x1p-31 - 1); }
    std::vector<T> values(int64_t size, double scale) {
        std::vector<T> all(size);
        for (T& each : all) each = static_cast<T>(uniform(scale));
        return all;
    }

    // A third of all gates: at their limits and between.
    std::vector<T> some_held() {
        std::vector<T> all = values(4 * of.H, 1);
        for (int64_t k = 0; k < 4 * of.H; ++k) {
            if (k / of.H != 2) all[k] = std::abs(all[k]);
            if (random_() % 3 == 0) all[k] = std::round(all[k]);
            if (random_() % 3 != 0) all[k] = std::numeric_limits<T>::quiet_NaN();
        }
        return all;
    }

    void cut_steps() {
        steps = {of.T, of.B, nullptr, nullptr, of.reverse};
        rows = of.T * of.B;
        if (!of.packed) return;
        batch_sizes_ = std::vector<int64_t>(of.T, of.B);
        starts_ = std::vector<int64_t>(of.T + 1, 0);
        for (int64_t t = 0; t < of.T; ++t) {
            if (t > 0) batch_sizes_[t] = std::max<int64_t>(1, batch_sizes_[t - 1] - random_() % 2);
            starts_[t + 1] = starts_[t] + batch_sizes_[t];
        }
        rows = starts_[of.T];
        steps.sizes = batch_sizes_.data();
        steps.starts = starts_.data();
    }

    void tabulate() {
        const int64_t T_ = of.T, B = of.B;
        for (int64_t b = 0; b < B; ++b)
            lengths.push_back(b == 0 ? T_ : b == 1 ? 0 : static_cast<int64_t>(random_() % (T_ + 1)));
        for (int64_t k = 0; k < T_ * B; ++k)
            mask.push_back(random_() % 3 != 0), reset.push_back(random_() % 4 == 0);
        h_reset = values(B * sizes.P, 1), c_reset = values(B * (of.cell.heads > 0 ? 3 : 1) * of.H, 1);
        for (std::size_t k = 0; of.cell.heads > 0 && k < c_reset.size(); ++k)
            if (static_cast<int64_t>(k) / of.H % 3 == 1) c_reset[k] += T(1.5);  // n
        for (int64_t t = 0; t < T_; ++t)
            for (int64_t b = 0; b < B; ++b)
                if (!has_step(t, b)) std::fill_n(const_cast<T*>(x.at(steps, t, b)), of.D, untouched<T>());
        plan = std::make_unique<const StepPlan>(T_, B, lengths.data(), mask.data(), reset.data(), of.reverse);
    }

    Rows<const T> input(int64_t width) {
        int64_t size = 0;
        Rows<T> r = place(width, &size);
        held_.emplace_back(size, untouched<T>());  // gaps stay NaN, so that a wrong stride shows
        r.data = held_.back().data();
        each_row(steps, r, [&](T* row, int64_t) {
            for (int64_t k = 0; k < width; ++k) row[k] = static_cast<T>(uniform(1));
        });
        return {r.data, r.step, r.row};
    }
};

enum class Keep { nothing, record, checkpoints };

struct How {
    int threads = 1;
    Split split = Split::automatic;
    Keep keep = Keep::record;
};

// Forward, and backward where anything was kept; all outputs, of which every element has been written and none
// beside.
template <class T, class S>
Named<T> run(const Kernels<T, S>& kernels, const Problem<T>& problem, const How& how);

// What run() is to give, from plain loops in a wider type.
template <class T>
Named<long double> reference(const Problem<T>& problem);

}  // namespace gatewright::tests
