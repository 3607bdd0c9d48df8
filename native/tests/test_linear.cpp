// y = b + W x of every target: values, and that a row's bits depend on nothing but the row.
#include <algorithm>
#include <random>

#include "check.h"
#include "kernels/sequence.h"
#include "support/threads.h"

namespace gatewright::tests {

namespace {

template <class T>
constexpr double kTolerance = sizeof(T) == 4 ? 1e-5 : 1e-13;

template <class T>
struct LinearProblem {
    std::mt19937 random{29};  // before what is drawn from it
    int64_t in, out, rows;
    std::vector<T> W, b, x;

    LinearProblem(int64_t in_, int64_t out_, int64_t rows_, bool bias)
        : in(in_), out(out_), rows(rows_), W(values(in * out)), b(values(bias ? out : 0)), x(values(rows * in)) {}

    const T* bias() const { return b.empty() ? nullptr : b.data(); }
    std::string text() const {
        return std::to_string(in) + " to " + std::to_string(out) + ", rows=" + std::to_string(rows) +
               (b.empty() ? ", no bias" : "");
    }
    void check_values(const std::vector<T>& y) const {
        double worst = 0;
        for (int64_t row = 0; row < rows; ++row)
            for (int64_t k = 0; k < out; ++k) {
                double sum = b.empty() ? 0 : b[k];
                for (int64_t j = 0; j < in; ++j) sum += double(W[k * in + j]) * x[row * in + j];
                worst = std::max(worst, std::abs(sum - y[row * out + k]));
            }
        CHECK_SAYING(worst <= kTolerance<T> * std::sqrt(double(in)), "off by " + std::to_string(worst));
    }

  private:
    std::vector<T> values(int64_t size) {
        std::vector<T> all(size);
        for (T& each : all) each = static_cast<T>(random() * 0x1p-31 - 1);
        return all;
    }
};

template <class T>
std::vector<T> written(Output<T>& output) {
    output.check_written("y");
    return {output.data(), output.data() + output.size()};
}

// Each row for itself, in memory of its own; and all of them in pieces, where the others stay untouched.
template <class T>
void check_rows(const Kernels<T>& kernels, const LinearProblem<T>& p, const Linear<T>& linear,
                const std::vector<T>& y) {
    std::vector<T> pieces(p.rows * p.out);
    for (int64_t row = 0; row < p.rows; ++row) {
        const std::vector<T> x(p.x.begin() + row * p.in, p.x.begin() + (row + 1) * p.in);
        Output<T> alone(p.out);
        kernels.linear(linear, x.data(), alone.data(), 0, 1);
        const std::vector<T> got = written(alone);
        std::copy_n(got.begin(), p.out, pieces.begin() + row * p.out);
    }
    CHECK_SAYING(same_bits(pieces, y), "other bits for a row alone");
    for (int64_t cut = 0; cut <= p.rows; cut += 2) {
        Output<T> lower(p.rows * p.out);
        std::vector<char> used(p.rows * p.out, 1);
        std::fill_n(used.begin(), cut * p.out, 0);
        kernels.linear(linear, p.x.data(), lower.data(), cut, p.rows);
        lower.check_written("y from a row on", &used);
        kernels.linear(linear, p.x.data(), lower.data(), 0, cut);
        CHECK_SAYING(same_bits(written(lower), y), "other bits in pieces");
    }
}

template <class T>
void test_case(int64_t in, int64_t out, int64_t rows, bool bias) {
    const LinearProblem<T> p(in, out, rows, bias);
    for_all_kernels<T>([&](const Target& target, const Kernels<T>& kernels) {
        context = std::string(target.name) + " V=" + std::to_string(kernels.width) +
                  (sizeof(T) == 4 ? " float " : " double ") + p.text();
        Output<T> panel(kernels.linear_size(in, out));
        kernels.pack_linear(p.W.data(), p.bias(), in, out, panel.data());
        panel.check_written("panel");
        const Linear<T> linear{in, out, panel.data()};
        Output<T> all(rows * out);
        kernels.linear(linear, p.x.data(), all.data(), 0, rows);
        const std::vector<T> y = written(all);
        p.check_values(y);
        check_rows(kernels, p, linear, y);
        for (int threads = 1; threads <= 3; ++threads) {
            Output<T> shared(rows * out);
            run_linear(kernels,
                       LinearCall<T>{p.W.data(), p.bias(), in, out, rows, p.x.data(), shared.data(), threads});
            CHECK_SAYING(same_bits(written(shared), y), "other bits in threads");
        }
    });
    context.clear();
}

void test_both(int64_t in, int64_t out, int64_t rows, bool bias) {
    test_case<float>(in, out, rows, bias);
    test_case<double>(in, out, rows, bias);
}

}  // namespace

void test_linear() {
    std::mt19937 random(11);
    for (const int64_t in : {1, 3, 8, 17})
        for (const int64_t out : {1, 4, 7, 8, 16, 33, 70})
            test_both(in, out, std::initializer_list<int64_t>{0, 1, 2, 5, 7, 13}.begin()[random() % 6],
                      random() % 4 != 0);
    test_both(129, 130, 67, true);  // enough work for threads to be woken
    CHECK(pool_size() == 2);
}

}  // namespace gatewright::tests
