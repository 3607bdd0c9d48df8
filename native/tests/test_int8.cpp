// Forward passes with weights of int8: each step against sums of integers, the same bits on every target that
// fuses multiply and add, and however a pass is cut.
//
// The target avxvnni runs here also where the processor lacks its instruction: this raises an exception then, and
// a handler does what it would.
#include <bit>

#include "problem.h"

#if defined(__x86_64__) && defined(__linux__)
#include <signal.h>
#include <ucontext.h>
#define GATEWRIGHT_EMULATED_VNNI
#endif

namespace gatewright::tests {

namespace {

using Numbers = std::vector<float>;

std::vector<float> dense(const Problem<float>& p, const Rows<const float>& rows, int64_t width) {
    Numbers all(p.rows * width);
    each_row(p.steps, rows,
             [&](const float* row, int64_t place) { std::copy_n(row, width, all.begin() + place * width); });
    return all;
}

// y, gates, cell, h_n, c_n.
std::vector<Numbers> run_int8(const Target& target, const Problem<float>& p, int threads, Split split) {
    const Sizes& n = p.sizes;
    int64_t size = 0;
    Rows<float> y = p.place(n.P, &size);
    std::vector<Output<float>> out;
    for (const int64_t each : {size, p.rows * 4 * n.H, p.rows * n.H, n.B * n.P, n.B * n.H}) out.emplace_back(each);
    ForwardCall<float> call{};
    call.sizes = n;
    call.steps = p.steps;
    call.weights = p.weights();
    call.x = p.x;
    call.h_0 = p.h_0.data();
    call.c_0 = p.c_0.data();
    y.data = out[0].data();
    call.y = y;
    call.gates = out[1].data();
    call.cell = out[2].data();
    call.h_n = out[3].data();
    call.c_n = out[4].data();
    call.threads = threads;
    call.split = split;
    soil_memory();
    run_int8_forward(target, call);
    std::vector<Numbers> results{dense(p, {y.data, y.step, y.row}, n.P)};
    for (std::size_t k = 1; k < out.size(); ++k) {
        out[k].check_written("result of int8");
        results.emplace_back(out[k].data(), out[k].data() + out[k].size());
    }
    return results;
}

// A row of weights, or of what they multiply, as whole numbers of a unit.
struct Whole {
    std::vector<int64_t> numbers;
    double unit;
};

Whole whole_weights(const float* row, int64_t width) {
    float most = 0;
    for (int64_t k = 0; k < width; ++k) most = std::max(most, std::abs(row[k]));
    Whole all{std::vector<int64_t>(width), most / 127};
    for (int64_t k = 0; k < width && most > 0; ++k)
        all.numbers[k] = std::lround(std::nearbyint(row[k] / (most / 127)));
    return all;
}

Whole whole_operand(const float* row, int64_t width, bool of_one) {
    float most = of_one;
    for (int64_t k = 0; k < width && !of_one; ++k) most = std::max(most, std::abs(row[k]));
    Whole all{std::vector<int64_t>(width), most / 127};
    for (int64_t k = 0; k < width && most > 0; ++k)
        all.numbers[k] = std::lround(std::nearbyint(row[k] * (127 / most)));
    return all;
}

double product(const float* weights, const Whole& operand) {
    const Whole row = whole_weights(weights, operand.numbers.size());
    int64_t sum = 0;
    for (std::size_t k = 0; k < operand.numbers.size(); ++k) sum += row.numbers[k] * operand.numbers[k];
    return sum * row.unit * operand.unit;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Largest error of any step, each taken from the states that the pass itself had before it.
double largest_error(const Problem<float>& p, const std::vector<Numbers>& got) {
    const Sizes& n = p.sizes;
    const Numbers x = dense(p, p.x, n.D);
    const Weights<float> w = p.weights();
    double error = 0;
    const auto compare = [&](double expected, float value) {
        error = std::max(error, value == value ? std::abs(expected - value) : 1e9);
    };
    for (int64_t s = 0; s < n.T; ++s) {
        const int64_t t = p.steps.time(s);
        for (int64_t b = 0; b < p.steps.rows(t); ++b) {
            const int64_t place = p.steps.start(t) + b, before = s == 0 ? 0 : p.steps.time(s - 1);
            const bool first = s == 0 || b >= p.steps.rows(before);
            const float* h = first ? p.h_0.data() + b * n.P : got[0].data() + (p.steps.start(before) + b) * n.P;
            const float* c = first ? p.c_0.data() + b * n.H : got[2].data() + (p.steps.start(before) + b) * n.H;
            const Whole of_x = whole_operand(x.data() + place * n.D, n.D, false);
            const Whole of_h = whole_operand(h, n.P, !n.projected);
            std::vector<double> shown(n.H);
            for (int64_t u = 0; u < n.H; ++u) {
                double gate[4];
                for (int64_t g = 0; g < 4; ++g) {
                    const int64_t row = g * n.H + u;
                    const double sum = (w.b_ih ? double(w.b_ih[row]) + w.b_hh[row] : 0) +
                                       product(w.W_ih + row * n.D, of_x) + product(w.W_hh + row * n.P, of_h);
                    gate[g] = g == 2 ? std::tanh(sum) : sigmoid(sum);
                    compare(gate[g], got[1][place * 4 * n.H + row]);
                }
                const double next = gate[1] * c[u] + gate[0] * gate[2];
                compare(next, got[2][place * n.H + u]);
                shown[u] = gate[3] * std::tanh(next);
            }
            for (int64_t k = 0; k < n.P; ++k) {
                double value = n.projected ? 0 : shown[k];
                for (int64_t u = 0; n.projected && u < n.H; ++u) value += w.W_hr[k * n.H + u] * shown[u];
                compare(value, got[0][place * n.P + k]);
            }
        }
    }
    return error;
}

const std::vector<Case>& cases() {
    static const std::vector<Case> all = {
        {.T = 3, .B = 1, .D = 3, .H = 5},
        {.T = 9, .B = 2, .D = 9, .H = 18, .reverse = true},
        {.T = 3, .B = 13, .D = 20, .H = 33, .lie = Lie::gaps},
        {.T = 4, .B = 7, .D = 6, .H = 21, .P = 7, .lie = Lie::batch_first, .bias = false},
        {.T = 6, .B = 5, .D = 10, .H = 17, .reverse = true, .packed = true},
    };
    return all;
}

}  // namespace

#if defined(GATEWRIGHT_EMULATED_VNNI)

namespace {

std::atomic<int64_t> products{0};

// The registers of AVX in the frame of a signal: their lower halves as SSE has them, the upper ones apart.
class WideRegisters {
  public:
    explicit WideRegisters(ucontext_t* context) : state_(reinterpret_cast<char*>(context->uc_mcontext.fpregs)) {}

    char* half(int n, bool upper) const { return state_ + (upper ? kUpper : kLower) + 16 * n; }
    void mark_used() const {
        uint64_t parts;
        std::memcpy(&parts, state_ + kHeader, sizeof parts);
        if (!(parts & kAvx)) std::memset(state_ + kUpper, 0, 256);
        parts |= kAvx;
        std::memcpy(state_ + kHeader, &parts, sizeof parts);
    }

  private:
    static constexpr int kLower = 160, kHeader = 512, kUpper = 576;
    static constexpr uint64_t kAvx = 4;
    char* const state_;
};

// vpdpbusd of 256 bits with a VEX prefix of three bytes and registers alone.
void emulate(int, siginfo_t*, void* given) {
    auto* const context = static_cast<ucontext_t*>(given);
    greg_t& place = context->uc_mcontext.gregs[REG_RIP];
    const auto* const code = reinterpret_cast<const uint8_t*>(place);
    const bool known = code[0] == 0xc4 && (code[1] & 31) == 2 && (code[2] & 0x87) == 5 && code[3] == 0x50;
    if (!known || code[4] >> 6 != 3) std::abort();
    const int sums = (code[4] >> 3 & 7) | (code[1] & 0x80 ? 0 : 8);
    const int right = (code[4] & 7) | (code[1] & 0x20 ? 0 : 8);
    const int left = ~code[2] >> 3 & 15;
    const WideRegisters registers(context);
    registers.mark_used();
    for (const bool upper : {false, true}) {
        uint8_t without_sign[16];
        int8_t with_sign[16];
        uint32_t sum[4];
        std::memcpy(without_sign, registers.half(left, upper), 16);
        std::memcpy(with_sign, registers.half(right, upper), 16);
        std::memcpy(sum, registers.half(sums, upper), 16);
        for (int k = 0; k < 16; ++k) sum[k / 4] += static_cast<uint32_t>(int{without_sign[k]} * with_sign[k]);
        std::memcpy(registers.half(sums, upper), sum, 16);
    }
    ++products;
    place += 5;
}

}  // namespace

void test_int8_emulated() {
    if (!supported(avx2_target)) return;
    struct sigaction before, now{};
    now.sa_sigaction = emulate;
    now.sa_flags = SA_SIGINFO;
    if (!supported(avxvnni_target)) sigaction(SIGILL, &now, &before);
    for (const Case& each : cases()) {
        context = "avxvnni " + each.text();
        const Problem<float> p(each);
        const auto expected = run_int8(avx2_target, p, 1, Split::automatic);
        const auto got = run_int8(avxvnni_target, p, 2, Split::rows);
        for (std::size_t k = 0; k < got.size(); ++k)
            CHECK_SAYING(same_bits(got[k], expected[k]), "result " + std::to_string(k) + " has other bits");
    }
    context.clear();
    if (supported(avxvnni_target)) return;
    sigaction(SIGILL, &before, nullptr);
    CHECK(products > 1000);
}

#else

void test_int8_emulated() {}

#endif

void test_int8() {
    for (const Case& each : cases()) {
        const Problem<float> p(each);
        std::vector<Numbers> fused;
        for_all_targets([&](const Target& target) {
            context = std::string(target.name) + " " + each.text();
            const auto whole = run_int8(target, p, 1, Split::automatic);
            const double error = largest_error(p, whole);
            CHECK_SAYING(error < 3e-6, "off by " + std::to_string(error));
            for (const auto& [threads, split] : {std::pair{2, Split::rows}, std::pair{3, Split::units}}) {
                const auto cut = run_int8(target, p, threads, split);
                for (std::size_t k = 0; k < cut.size(); ++k)
                    CHECK_SAYING(same_bits(cut[k], whole[k]),
                                 "result " + std::to_string(k) + " depends on threads");
            }
            if (std::strcmp(target.name, "baseline") == 0) return;  // rounds twice
            if (fused.empty()) fused = whole;
            for (std::size_t k = 0; k < whole.size(); ++k)
                CHECK_SAYING(same_bits(whole[k], fused[k]),
                             "result " + std::to_string(k) + " depends on the target");
        });
    }
    context.clear();
}

}  // namespace gatewright::tests
