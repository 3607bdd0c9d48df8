// Activations that are stored in fewer bits than the arithmetic has: the walk with float rows and double
// arithmetic.
//
// The kernels are compiled here once more, as a target of their own.
#define GATEWRIGHT_TARGET storage_test
#include <algorithm>
#include <random>

#include "check.h"
#include "kernels/general_forward.h"
#include "kernels/panels.h"
#include "kernels/slstm_forward.h"

namespace gatewright::tests {

namespace {

constexpr int V = 16 / sizeof(double);

std::vector<double> values(std::mt19937& random, int64_t size) {
    std::vector<double> all(size);
    for (double& each : all) each = static_cast<float>(random() * 0x1p-31 - 1);  // as float holds them
    return all;
}

std::vector<float> rounded(const std::vector<double>& all) { return {all.begin(), all.end()}; }

// What a walk leaves behind, and where it writes it.
template <class S>
struct Walked {
    std::vector<S> y, h, gates, cell;
    std::vector<double> c;

    Walked(const Sizes& n, const std::vector<double>& h_0, const std::vector<double>& c_0)
        : y(n.T * n.B * n.P),
          h(h_0.begin(), h_0.end()),
          gates(n.T * n.B * 4 * n.H),
          cell(n.T * n.B * n.H),
          c(c_0) {
        h.resize(2 * n.B * n.P);
    }
    Forward<double, S> call(const Sizes& n, const Panels<double>& panels, const S* x) {
        Forward<double, S> f{};
        f.sizes = n;
        f.steps = {n.T, n.B, nullptr, nullptr, false};
        f.end = n.T;
        f.panels = panels;
        f.x = {x, n.B * n.D, n.D};
        f.y = {y.data(), n.B * n.P, n.P};
        f.h[0] = h.data();
        f.h[1] = h.data() + n.B * n.P;
        f.c = c.data();
        f.gates = gates.data();
        f.cell = cell.data();
        return f;
    }
};

// The judge: all in double, a step at a time, whose h is rounded before the next one reads it.
void check_walk(const Sizes& n, bool ahead) {
    std::mt19937 random(41);
    const auto W_ih = values(random, 4 * n.H * n.D), W_hh = values(random, 4 * n.H * n.P),
               b = values(random, 4 * n.H), x = values(random, n.T * n.B * n.D), h_0 = values(random, n.B * n.P),
               c_0 = values(random, n.B * n.H);
    std::vector<double> memory(storage_test::panels_size<double, V>(n, true, false));
    const Panels<double> panels = storage_test::layout<double, V>(n, memory.data(), true, false);
    const Weights<double> weights{W_ih.data(), W_hh.data(), b.data(), b.data(), nullptr};
    storage_test::pack<double, V>(n, weights, panels, true, false, 0, 1);
    const int64_t blocks = storage_test::blocks_of<V>(n.H);
    const Share share{0, 1, 0, n.B, 0, blocks};

    Walked<float> narrow(n, h_0, c_0);
    const std::vector<float> narrow_x = rounded(x);
    Forward<double, float> f = narrow.call(n, panels, narrow_x.data());
    f.ahead_steps = ahead ? 3 : 0;
    f.ahead_size = f.ahead_steps * n.B * blocks * 4 * V;
    std::vector<double> start(f.ahead_size);
    f.ahead = ahead ? start.data() : nullptr;
    storage_test::forward<double, float, V>(f, share, nullptr);

    Walked<double> wide(n, h_0, c_0);
    Forward<double> judge = wide.call(n, panels, x.data());
    for (int64_t s = 0; s < n.T; ++s) {
        judge.begin = s;
        judge.end = s + 1;
        storage_test::forward<double, double, V>(judge, share, nullptr);
        for (int64_t k = 0; k < n.B * n.P; ++k) judge.h[1 - s % 2][k] = static_cast<float>(judge.h[1 - s % 2][k]);
    }
    CHECK(narrow.y == rounded(wide.y));
    CHECK(narrow.h == rounded(wide.h));
    CHECK(narrow.gates == rounded(wide.gates));
    CHECK(narrow.cell == rounded(wide.cell));
    CHECK(narrow.c == wide.c);
}

}  // namespace

void test_storage() {
    for (const bool ahead : {false, true})
        for (const int64_t B : {1, 2, 7}) {
            context = "B=" + std::to_string(B) + (ahead ? ", ahead" : "");
            check_walk({8, B, 3, 5, 5, false}, ahead);
        }
}

}  // namespace gatewright::tests
