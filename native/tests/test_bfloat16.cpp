// Products in bfloat16 of every target: steps against plain loops, bits of every way to run them, and the places
// that outputs are written to.
#include <algorithm>
#include <random>

#include "check.h"
#include "kernels/sequence.h"

namespace gatewright::tests {

namespace {

constexpr uint16_t kUntouched = 0xffff;  // a NaN that no rounding makes

float rounded(float value) { return to_float(to_bfloat16(value)); }

struct Shape {
    int64_t T, B, D, H, P;  // P = 0: no projection
    bool packed, reverse;
    std::string text() const {
        return "T=" + std::to_string(T) + " B=" + std::to_string(B) + " D=" + std::to_string(D) +
               " H=" + std::to_string(H) + " P=" + std::to_string(P) + (packed ? " packed" : "") +
               (reverse ? " reverse" : "");
    }
};

struct Inputs {
    Sizes sizes;
    Steps steps;
    int64_t rows;
    std::vector<int64_t> batch_sizes, starts;
    std::vector<float> W_ih, W_hh, b_ih, b_hh, W_hr, x, h_0, c_0;

    explicit Inputs(const Shape& s) {
        const int64_t P = s.P ? s.P : s.H;
        sizes = {s.T, s.B, s.D, s.H, P, s.P != 0};
        steps = {s.T, s.B, nullptr, nullptr, s.reverse};
        rows = s.T * s.B;
        if (s.packed) {
            starts.push_back(0);
            for (int64_t t = 0; t < s.T; ++t) {
                batch_sizes.push_back(std::max<int64_t>(1, s.B - t));
                starts.push_back(starts.back() + batch_sizes.back());
            }
            rows = starts.back();
            steps.sizes = batch_sizes.data();
            steps.starts = starts.data();
        }
        W_ih = values(4 * s.H * s.D);
        W_hh = values(4 * s.H * P);
        b_ih = values(4 * s.H);
        b_hh = values(4 * s.H);
        if (s.P) W_hr = values(P * s.H);
        x = values(rows * s.D);
        h_0 = values(s.B * P);
        c_0 = values(s.B * s.H);
    }
    Inputs(const Inputs&) = delete;
    Inputs& operator=(const Inputs&) = delete;

  private:
    std::mt19937 random_{7};
    std::vector<float> values(int64_t size) {
        std::vector<float> all(size);
        for (float& each : all) each = static_cast<float>(random_() * 0x1p-31 - 1);
        return all;
    }
};

// A result in bfloat16, between zones that nobody may write.
struct NarrowOutput {
    static constexpr int64_t kZone = 64;
    std::vector<uint16_t> memory;
    explicit NarrowOutput(int64_t size) : memory(size + 2 * kZone, kUntouched) {}
    BFloat16* data() { return reinterpret_cast<BFloat16*>(memory.data() + kZone); }
    void check(const std::vector<float>& wide, const char* name) const {
        bool good = true;
        for (int64_t k = 0; k < static_cast<int64_t>(memory.size()); ++k) {
            const bool inside = k >= kZone && k < kZone + static_cast<int64_t>(wide.size());
            good = good && memory[k] == (inside ? to_bfloat16(wide[k - kZone]).bits : kUntouched);
        }
        CHECK_SAYING(good, std::string(name) + ": not the rounded numbers, or written outside");
    }
};

struct Found {
    std::vector<float> y, h_n, c_n, gates, cell;
    bool operator==(const Found& other) const {
        return same_bits(y, other.y) && same_bits(h_n, other.h_n) && same_bits(c_n, other.c_n) &&
               (gates.empty() || other.gates.empty() || same_bits(gates, other.gates)) &&
               (cell.empty() || other.cell.empty() || same_bits(cell, other.cell));
    }
};

using Entries = Kernels<float, BFloat16>;

ForwardCall<float, BFloat16> call_of(const Inputs& in, int threads, Split split) {
    const Sizes& n = in.sizes;
    ForwardCall<float, BFloat16> call{};
    call.sizes = n;
    call.steps = in.steps;
    call.weights = {in.W_ih.data(), in.W_hh.data(), in.b_ih.data(), in.b_hh.data(),
                    n.projected ? in.W_hr.data() : nullptr};
    call.x = {in.x.data(), n.B * n.D, n.D};
    call.h_0 = in.h_0.data();
    call.c_0 = in.c_0.data();
    call.threads = threads;
    call.split = split;
    return call;
}

Found run(const Entries& kernels, const Inputs& in, int threads, Split split, bool keep) {
    const Sizes& n = in.sizes;
    Output<float> y(in.rows * n.P), h_n(n.B * n.P), c_n(n.B * n.H), gates(keep ? in.rows * 4 * n.H : 0),
        cell(keep ? in.rows * n.H : 0);
    auto call = call_of(in, threads, split);
    call.y = {y.data(), n.B * n.P, n.P};
    call.h_n = h_n.data();
    call.c_n = c_n.data();
    if (keep) call.gates = gates.data(), call.cell = cell.data();
    run_forward(kernels, call);
    const auto taken = [](const char* name, Output<float>& output) {
        output.check_written(name);
        return std::vector<float>(output.data(), output.data() + output.size());
    };
    return {taken("y", y), taken("h_n", h_n), taken("c_n", c_n), taken("gates", gates), taken("cell", cell)};
}

void check_narrow(const Entries& kernels, const Inputs& in, const Found& wide) {
    const Sizes& n = in.sizes;
    NarrowOutput y(in.rows * n.P), gates(in.rows * 4 * n.H), cell(in.rows * n.H);
    Output<float> h_n(n.B * n.P), c_n(n.B * n.H);
    auto call = call_of(in, 2, Split::automatic);
    std::vector<BFloat16> x(in.x.size());
    std::transform(in.x.begin(), in.x.end(), x.begin(), [](float value) { return to_bfloat16(value); });
    call.x.data = x.data();
    call.y = {y.data(), n.B * n.P, n.P};
    call.h_n = h_n.data();
    call.c_n = c_n.data();
    call.gates = gates.data();
    call.cell = cell.data();
    run_forward(kernels, call);
    y.check(wide.y, "y");
    gates.check(wide.gates, "gates");
    cell.check(wide.cell, "cell");
    CHECK(std::equal(wide.h_n.begin(), wide.h_n.end(), h_n.data()));
}

bool has_tiles(const Target& target) { return std::strncmp(target.name, "amx", 3) == 0; }

// sum + W a, as the contract says: pairs, the upper one first.  With tile registers before that whole 16 pairs:
// lower ones, upper ones, then all.
float chain(float sum, const float* a, const float* w, int64_t count, bool tiles) {
    int64_t k = 0;
    for (; tiles && k + 30 < count; k += 32) {
        float sums[2] = {};
        for (int64_t n = k; n < std::min(count, k + 32); ++n)
            sums[n % 2] = std::fma(rounded(a[n]), rounded(w[n]), sums[n % 2]);
        sum += sums[0] + sums[1];
    }
    for (; k < count; k += 2) {
        if (k + 1 < count) sum = std::fma(rounded(a[k + 1]), rounded(w[k + 1]), sum);
        sum = std::fma(rounded(a[k]), rounded(w[k]), sum);
    }
    return sum;
}

// Each step from the state that the kernels had before it, so that no rounding of h turns over.
void check_steps(const Inputs& in, const Found& found, bool tiles) {
    const Sizes& n = in.sizes;
    const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
    double worst = 0;
    for (int64_t s = 0; s < n.T; ++s) {
        const int64_t t = in.steps.time(s);
        for (int64_t b = 0; b < in.steps.rows(t); ++b) {
            const int64_t place = in.steps.start(t) + b;
            const bool first = s == 0 || b >= in.steps.rows(in.steps.time(s - 1));
            const int64_t before = first ? b : in.steps.start(in.steps.time(s - 1)) + b;
            const float* const h = (first ? in.h_0 : found.y).data() + before * n.P;
            const float* const c = (first ? in.c_0 : found.cell).data() + before * n.H;
            std::vector<float> hidden(n.H);
            for (int64_t u = 0; u < n.H; ++u) {
                double gate[4];
                for (int64_t j = 0; j < 4; ++j) {
                    const int64_t row = j * n.H + u;
                    float sum = chain(in.b_ih[row] + in.b_hh[row], in.x.data() + place * n.D,
                                      in.W_ih.data() + row * n.D, n.D, tiles);
                    sum = chain(sum, h, in.W_hh.data() + row * n.P, n.P, tiles);
                    gate[j] = j == 2 ? std::tanh(double(sum)) : sigmoid(sum);
                    worst = std::max(worst, std::abs(gate[j] - found.gates[(place * 4 + j) * n.H + u]));
                }
                const double next = gate[1] * c[u] + gate[0] * gate[2];
                worst = std::max(worst, std::abs(next - found.cell[place * n.H + u]));
                hidden[u] = static_cast<float>(gate[3] * std::tanh(next));
                if (!n.projected) worst = std::max(worst, double(std::abs(hidden[u] - found.y[place * n.P + u])));
            }
            // A rounding of `hidden` may turn over here: half a unit of bfloat16 of one term.
            for (int64_t p = 0; n.projected && p < n.P; ++p) {
                const double y = chain(0, hidden.data(), in.W_hr.data() + p * n.H, n.H, tiles);
                CHECK(std::abs(y - found.y[place * n.P + p]) < 8e-3);
            }
        }
    }
    CHECK_SAYING(worst < 2e-6, "off by " + std::to_string(worst * 1e9) + "e-9");
}

void test_shape(const Shape& shape) {
    const Inputs in(shape);
    for_all_kernels<float, BFloat16>([&](const Target& target, const Entries& kernels) {
        context = std::string(target.name) + " bfloat16 " + shape.text();
        soil_memory();
        const Found found = run(kernels, in, 1, Split::automatic, true);
        check_steps(in, found, has_tiles(target));
        check_narrow(kernels, in, found);
        CHECK(run(kernels, in, 1, Split::automatic, false) == found);
        CHECK(run(kernels, in, 2, Split::rows, true) == found);
        CHECK(run(kernels, in, 3, Split::units, true) == found);
    });
    context.clear();
}

void test_linear_in_bfloat16(int64_t in, int64_t out, int64_t rows) {
    std::mt19937 random(3);
    const auto values = [&](int64_t size) {
        std::vector<float> all(size);
        for (float& each : all) each = static_cast<float>(random() * 0x1p-31 - 1);
        return all;
    };
    const auto W = values(out * in), b = values(out), x = values(rows * in);
    for_all_kernels<float, BFloat16>([&](const Target& target, const Entries& kernels) {
        context =
            std::string(target.name) + " bfloat16 linear " + std::to_string(in) + " to " + std::to_string(out);
        std::vector<float> expected(rows * out);
        bool close = true;
        for (int threads = 1; threads <= 2; ++threads) {
            Output<float> y(rows * out);
            run_linear(kernels, LinearCall<float, BFloat16>{W.data(), b.data(), in, out, rows, x.data(), y.data(),
                                                            threads});
            y.check_written("y");
            for (int64_t k = 0; k < rows * out; ++k) {
                expected[k] =
                    chain(b[k % out], x.data() + k / out * in, W.data() + k % out * in, in, has_tiles(target));
                close = close && std::abs(expected[k] - y.data()[k]) <= 1e-6f * static_cast<float>(in);
            }
        }
        CHECK(close);
        NarrowOutput narrow(rows * out);
        Output<float> y(rows * out);
        LinearCall<float, BFloat16> call{W.data(), b.data(), in, out, rows, x.data(), y.data(), 1};
        run_linear(kernels, call);
        call.y = narrow.data();
        run_linear(kernels, call);
        narrow.check({y.data(), y.data() + y.size()}, "y");
    });
    context.clear();
}

void test_rounding() {
    const float infinity = std::numeric_limits<float>::infinity();
    CHECK(rounded(1.00390625f) == 1.0f);  // a tie, to even
    CHECK(rounded(1.01171875f) == 1.015625f);
    CHECK(rounded(3.4e38f) == infinity && rounded(-infinity) == -infinity);
    CHECK(std::isnan(rounded(std::nanf(""))));
    CHECK(to_bfloat16(-1e-40f).bits == 0x8000);
    // Those of the targets, of every exponent.
    std::vector<float> all;
    for (uint32_t bits = 0; bits < 0xffff0000u; bits += 0x00013579u) all.push_back(std::bit_cast<float>(bits));
    for_all_kernels<float, BFloat16>([&](const Target& target, const Entries& kernels) {
        context = std::string(target.name) + " to bfloat16";
        for (const int64_t width : {int64_t(all.size()), int64_t(1), int64_t(33)}) {
            const int64_t pairs = (width + 1) / 2, rows = static_cast<int64_t>(all.size()) / width;
            std::vector<uint32_t> got(rows * pairs);
            kernels.operands(all.data(), width, width, got.data(), rows);
            bool same = true;
            for (int64_t k = 0; k < rows * pairs; ++k) {
                const int64_t first = k / pairs * width + k % pairs * 2;
                const uint32_t upper = k % pairs * 2 + 1 < width ? to_bfloat16(all[first + 1]).bits : 0;
                same = same && got[k] == (to_bfloat16(all[first]).bits | upper << 16);
            }
            CHECK(same);
        }
    });
    context.clear();
}

}  // namespace

void test_bfloat16() {
    test_rounding();
    for (const bool packed : {false, true})
        for (const bool reverse : {false, true}) {
            test_shape({5, 7, 5, 33, 0, packed, reverse});
            test_shape({4, 3, 8, 9, 7, packed, reverse});
        }
    test_shape({9, 1, 33, 16, 0, false, true});
    test_shape({1, 2, 1, 1, 0, false, false});
    test_shape({0, 2, 3, 4, 0, false, false});
    test_shape({40, 5, 64, 40, 0, false, false});  // enough work for threads to be woken
    test_shape({2, 19, 70, 45, 37, false, false});
    for (const int64_t out : {1, 16, 70}) test_linear_in_bfloat16(out + 4, out, 7);
}

}  // namespace gatewright::tests
