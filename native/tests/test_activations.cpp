// sigmoid, tanh, exp(-a) and log sigmoid at their special values, over all magnitudes, and at every count of
// lanes; and which target runs.
#include <algorithm>
#include <cfloat>

#include "check.h"
#include "kernels/plan.h"

namespace gatewright::tests {

namespace {

using Reference = long double (*)(long double);

long double right_sigmoid(long double x) {
    return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}
long double right_tanh(long double x) { return std::tanh(x); }
long double right_exp_minus(long double a) { return std::exp(-a); }
long double right_log_sigmoid(long double x) { return (x < 0 ? x : 0) - std::log1p(std::exp(-std::abs(x))); }

// |y - right| in units of the last place of right.
template <class T>
double ulps(T y, long double right) {
    if (y == right) return 0;
    int exponent = 0;
    std::frexp(right, &exponent);
    using Limits = std::numeric_limits<T>;
    const int last = std::max(exponent - Limits::digits, Limits::min_exponent - Limits::digits);
    return static_cast<double>(std::abs(static_cast<long double>(y) - right) / std::ldexp(1.0L, last));
}

template <class T>
std::vector<T> points() {
    using Limits = std::numeric_limits<T>;
    std::vector<T> all{0, Limits::denorm_min(), Limits::min(), Limits::epsilon(), Limits::max(), 1e4, 20, 88, 104};
    for (int exponent = Limits::min_exponent - Limits::digits; exponent <= 12; exponent += exponent < -30 ? 37 : 1)
        for (int k = 0; k < 16; ++k) all.push_back(static_cast<T>(std::ldexp(1 + (k + 0.37) / 16, exponent)));
    const std::size_t count = all.size();
    for (std::size_t k = 0; k < count; ++k) all.push_back(-all[k]);
    return all;
}

template <class T>
void test_function(void (*function)(const T*, T*, int64_t), Reference right, const char* name,
                   bool negative = true) {
    std::vector<T> x = points<T>();
    for (T& each : x)
        if (!negative) each = std::abs(each);
    Output<T> y(x.size());
    function(x.data(), y.data(), x.size());
    y.check_written(name);
    double worst = 0;
    for (std::size_t k = 0; k < x.size(); ++k) worst = std::max(worst, ulps(y.data()[k], right(x[k])));
    CHECK_SAYING(worst <= 2.5, std::string(name) + ": off by " + std::to_string(worst) + " ULP");
}

template <class T>
void test_special(const Kernels<T>& kernels) {
    const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
    const std::vector<T> x{nan, -nan, infinity, -infinity, T(0), T(-0.0), T(1e4), T(-1e4)};
    std::vector<T> y(x.size());
    kernels.sigmoid(x.data(), y.data(), x.size());
    CHECK(std::isnan(y[0]) && std::isnan(y[1]));
    CHECK(y[2] == 1 && y[3] == 0 && y[4] == T(0.5) && y[5] == T(0.5) && y[6] == 1 && y[7] == 0);
    kernels.tanh(x.data(), y.data(), x.size());
    CHECK(std::isnan(y[0]) && std::isnan(y[1]));
    CHECK(y[2] == 1 && y[3] == -1 && y[4] == 0 && y[5] == 0 && y[6] == 1 && y[7] == -1);
    CHECK(!std::signbit(y[4]) && std::signbit(y[5]));
    kernels.log_sigmoid(x.data(), y.data(), x.size());
    CHECK(std::isnan(y[0]) && std::isnan(y[1]));
    CHECK(y[2] == 0 && y[3] == -infinity && y[4] == y[5] && y[6] == 0 && y[7] == T(-1e4));
    const std::vector<T> a{nan, infinity, T(0), T(1e4)};
    kernels.exp_minus(a.data(), y.data(), a.size());
    CHECK(std::isnan(y[0]) && y[1] == 0 && y[2] == 1 && y[3] == 0);
}

// A lane computes the same wherever it stands; and no lane is read or written past the count.
template <class T>
void test_counts(const Kernels<T>& kernels) {
    for (int64_t count = 0; count <= 2 * kernels.width + 1; ++count) {
        const std::vector<T> x(count, T(-0.7));
        Output<T> y(count);
        kernels.tanh(x.data(), y.data(), count);
        y.check_written("tanh");
        for (int64_t k = 1; k < count; ++k) CHECK(y.data()[k] == y.data()[0]);
    }
}

template <class T>
void test_type() {
    for_all_kernels<T>([](const Target& target, const Kernels<T>& kernels) {
        context = std::string(target.name) + " V=" + std::to_string(kernels.width) +
                  (sizeof(T) == 4 ? " float" : " double");
        test_function<T>(kernels.sigmoid, right_sigmoid, "sigmoid");
        test_function<T>(kernels.tanh, right_tanh, "tanh");
        test_function<T>(kernels.exp_minus, right_exp_minus, "exp(-a)", false);
        test_function<T>(kernels.log_sigmoid, right_log_sigmoid, "log sigmoid");
        test_special(kernels);
        test_counts(kernels);
        CHECK(kernels.fma_rounds(10) > 0);
    });
    context.clear();
}

}  // namespace

void test_activations() {
    test_type<float>();
    test_type<double>();
}

void test_dispatch() {
    int running = 0;
    for (const Target* const* each = targets(); *each; ++each) {
        running += supported(**each);
        CHECK(select((*each)->name) == supported(**each));
        for (const int64_t H : {1, 5, 8, 12, 16, 257}) {
            CHECK(H + (*each)->f32[0]->width > kernels_for<float>(**each, H).width);
            CHECK(kernels_for<double>(**each, H).width >= 2);
            // Forward with as few lanes, or with as few vectors.
            const int64_t width = forward_kernels_for<float>(**each, H).width,
                          least = kernels_for<float>(**each, H).width;
            CHECK((H + width - 1) / width <= (H + least - 1) / least);
        }
    }
    CHECK(running > 0);
    CHECK(!select("no such target"));
    CHECK(select(nullptr) && !forced());
    // Weights of 33 MB: each thread reads its part of them; of 5 MB: all.
    CHECK(forward_split({64, 64, 1024, 1024, 1024, false}, Split::automatic, 4) == Split::units);
    CHECK(forward_split({128, 64, 128, 512, 512, false}, Split::automatic, 4) == Split::automatic);
    CHECK(forward_split({64, 64, 1024, 1024, 1024, false}, Split::rows, 4) == Split::rows);
    for (const std::size_t element : {4, 8})
        for (const int64_t B : {0, 1, 7, 100'000})
            for (const int64_t H : {1, 100, 5000}) {
                const Sizes sizes{10, B, 3, H, H, false};
                Sizes longer = sizes;
                longer.T = 1'000'000;
                CHECK(chunk_steps(sizes, element) >= 1);
                CHECK(chunk_steps(sizes, element) == chunk_steps(longer, element));
            }
}

}  // namespace gatewright::tests
