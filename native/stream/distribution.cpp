#include "stream/distribution.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

namespace gatewright {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

// Bounds of what the numbers of a head stand for: the likelihood of training has the same (nn/likelihood.py).
constexpr double kLargestLog = 20;        // of a scale
constexpr double kLeastScale = 1e-4;      // in the head's units
constexpr double kLeastComponent = 1e-3;  // scale of a component, in units of that of the mixture
constexpr double kLeastFreedom = 2;       // of Student's t: its variance is finite
constexpr double kLargestFreedom = 1e4;   // above the least; normal from here on
constexpr double kLargestLogDispersion = 10;
constexpr double kLeastDispersion = 1e-6;  // Poisson from here on
constexpr double kLeastMean = 1e-6;        // in units
constexpr double kLargestMean = 1e9;

// Mean of whole numbers above which their distribution is that of a smaller mean, scaled: five digits are
// exact.
constexpr double kExactMean = 1e6;

// Terms of a distribution of whole numbers that are summed up, before the search begins.
constexpr int kSummed = 128;

double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
double exponential(double x, double largest = kLargestLog) { return std::exp(std::min(x, largest)); }

template <std::size_t N>
double polynomial(const std::array<double, N>& falling, double x) {
    double sum = 0;
    for (const double each : falling) sum = sum * x + each;
    return sum;
}

// log(gamma(z + 1)) less Stirling's (z + 1/2) log(z) - z + log(2 pi) / 2.
double stirling_error(double z) {
    constexpr double kOfHalf = 0.15342640972002734529;
    if (z == 0.5) return kOfHalf;
    double sum = 0;
    for (; z < 15; ++z) sum += (z + 0.5) * std::log1p(1 / z) - 1;
    const double s = 1 / (z * z);
    return sum + polynomial<5>({1. / 1188, -1. / 1680, 1. / 1260, -1. / 360, 1. / 12}, s) / z;
}

// x log(x / mean) + mean - x, without cancellation (Loader 2000); difference is x - mean.
double deviance(double x, double mean, double difference) {
    if (std::abs(difference) >= 0.1 * (x + mean)) return x * std::log(x / mean) - difference;
    const double v = difference / (x + mean);
    double sum = difference * v, term = 2 * x * v;
    for (int j = 3; j < 2000; j += 2) {
        term *= v * v;
        const double next = sum + term / j;
        if (next == sum) break;
        sum = next;
    }
    return sum;
}

// The continued fraction of the incomplete beta function, by the method of Lentz; for x up to (a+1) / (a+b+2).
double beta_fraction(double a, double b, double x) {
    constexpr double kTiny = 1e-300;
    const auto nonzero = [](double value) { return std::abs(value) < kTiny ? kTiny : value; };
    double c = 1, d = 1 / nonzero(1 - (a + b) * x / (a + 1)), h = d;
    for (double m = 1; m < 1e6; ++m) {
        const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 / nonzero(1 + even * d);
        c = nonzero(1 + even / c);
        h *= d * c;
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / nonzero(1 + odd * d);
        c = nonzero(1 + odd / c);
        const double change = d * c;
        h *= change;
        if (std::abs(change - 1) <= 2 * kEpsilon) break;
    }
    return h;
}

}  // namespace

Beta::Beta(double of_a, double of_b)
    : a(of_a),
      b(of_b),
      factor_(std::sqrt(a * b / (2 * std::numbers::pi * (a + b))) *
              std::exp(stirling_error(a + b) - stirling_error(a) - stirling_error(b))) {}

Beta::Shares Beta::shares(double x, double y) const {
    if (!(x > 0)) return {0, 1, 0};
    if (!(y > 0)) return {1, 0, 0};
    const double n = a + b;
    const double difference =
        x < y ? a - n * x : n * y - b;  // x + y is 1 but for the last digit of the larger one
    const double distance = deviance(a, n * x, difference) + deviance(b, n * y, -difference);
    const double power = factor_ * std::exp(-distance);
    if (x < (a + 1) / (n + 2)) {
        const double below = std::min(power * beta_fraction(a, b, x) / a, 1.0);
        return {below, 1 - below, power};
    }
    const double above = std::min(power * beta_fraction(b, a, y) / b, 1.0);
    return {1 - above, above, power};
}

// Wichura (1988), algorithm AS 241: 16 digits.
double normal_quantile(double below, double above) {
    const double q = below <= above ? below - 0.5 : 0.5 - above;
    if (std::abs(q) <= 0.425) {
        const double r = 0.180625 - q * q;
        return q *
               polynomial<8>({2.5090809287301226727e+3, 3.3430575583588128105e+4, 6.7265770927008700853e+4,
                              4.5921953931549871457e+4, 1.3731693765509461125e+4, 1.9715909503065514427e+3,
                              1.3314166789178437745e+2, 3.3871328727963666080e+0},
                             r) /
               polynomial<8>({5.2264952788528545610e+3, 2.8729085735721942674e+4, 3.9307895800092710610e+4,
                              2.1213794301586595867e+4, 5.3941960214247511077e+3, 6.8718700749205790830e+2,
                              4.2313330701600911252e+1, 1.0},
                             r);
    }
    double r = std::sqrt(-std::log(std::min(below, above))), value;
    if (r <= 5) {
        r -= 1.6;
        value = polynomial<8>({7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
                               1.27045825245236838258e+0, 3.64784832476320460504e+0, 5.76949722146069140550e+0,
                               4.63033784615654529590e+0, 1.42343711074968357734e+0},
                              r) /
                polynomial<8>({1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
                               1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e+0,
                               2.05319162663775882187e+0, 1.0},
                              r);
    } else {
        r -= 5;
        value = polynomial<8>({2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
                               2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e+0,
                               5.46378491116411436990e+0, 6.65790464350110377720e+0},
                              r) /
                polynomial<8>({2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
                               7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
                               5.99832206555887937690e-1, 1.0},
                              r);
    }
    return below < above ? -value : value;
}

namespace {

// An approximation of Student's t at a share above it, by Hill (1970), algorithm 396.
double student_t_guess(double above, double freedom) {
    const double P = 2 * above, a = 1 / (freedom - 0.5), b = 48 / (a * a);
    double c = ((20700 * a / b - 98) * a - 16) * a + 96.36;
    const double d = ((94.5 / (b + c) - 3) / b + 1) * std::sqrt(a * std::numbers::pi / 2) * freedom;
    double y = std::pow(d * P, 2 / freedom);
    if (y > 0.05 + a) {
        const double x = normal_quantile(above, 1 - above);
        y = x * x;
        if (freedom < 5) c += 0.3 * (freedom - 4.5) * (x + 0.6);
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b;
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x;
        y = std::expm1(a * y * y);
    } else {
        y = ((1 / (((freedom + 6) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2) * 3) +
              0.5 / (freedom + 4)) *
                 y -
             1) *
                (freedom + 1) / (freedom + 2) +
            1 / y;
    }
    return std::sqrt(freedom * y);
}

}  // namespace

StudentT::StudentT(double of_freedom) : freedom(of_freedom), beta_(freedom / 2, 0.5) {}

double StudentT::quantile(double below, double above) const {
    const double tail = std::min(below, above), centre = std::abs(below <= above ? below - 0.5 : 0.5 - above);
    if (centre == 0) return 0;
    // The smaller share of the two is the one without cancellation: beyond t, or from 0 to t.
    const bool by_tail = tail < 0.25;
    const double wanted = std::log(2 * (by_tail ? tail : centre));
    double t = student_t_guess(tail, freedom), low = 0, high = std::numeric_limits<double>::infinity();
    if (!(t > 0) || !std::isfinite(t)) t = 1;
    // Newton's method for the logarithm of the share by that of t, within bounds that close in.
    for (int iteration = 0; iteration < 200; ++iteration) {
        const double square = t * t, x = freedom / (freedom + square), y = square / (freedom + square);
        const Beta::Shares shares = beta_.shares(x, y);
        const double share = by_tail ? shares.below : shares.above;
        const double excess = std::log(share) - wanted;
        if (excess == 0) break;
        ((excess > 0) == by_tail ? low : high) = t;
        // t times twice the density, by which both shares change; y = t^2 x / freedom.
        const double slope = 2 * shares.power / share;
        const double change = (by_tail ? excess : -excess) / slope;
        const double next = t * std::exp(change);
        if (std::abs(change) <= 1e-8) {  // the error is squared by each step
            t = next;
            break;
        }
        t = next > low && next < high ? next : std::isfinite(high) ? 0.5 * (low + high) : 2 * t;
    }
    return below < above ? -t : t;
}

double negative_binomial_quantile(double below, double above, double mean, double dispersion) {
    if (mean > kExactMean) {
        // The same variance in units of the mean.
        const double scaled = dispersion + (1 / mean - 1 / kExactMean);
        const double least = kLeastDispersion * kLeastDispersion;
        const double smaller = negative_binomial_quantile(below, above, kExactMean, std::max(scaled, least));
        return std::floor(smaller * (mean / kExactMean));
    }
    const double ratio = mean * dispersion, count = 1 / dispersion;
    const double tail = 1 / (1 + ratio), success = ratio / (1 + ratio);
    const double zero = std::exp(-count * std::log1p(ratio));
    double term = zero, sum = zero, first = 0;
    if (zero > 1e-290) {
        for (; first < kSummed; ++first) {
            if (sum >= below) return first;
            term *= success * (count + first) / (first + 1);
            sum += term;
        }
    }
    const auto reached = [&](double k) {
        const Beta::Shares shares = Beta(count, k + 1).shares(tail, success);
        return below <= above ? shares.below >= below : shares.above <= above;
    };
    // The smallest k that is reached lies in (low, high]; the search starts near Cornish and Fisher's
    // approximation.
    const double deviation = std::sqrt(mean * (1 + ratio)), skewness = (1 + 2 * ratio) / deviation;
    const double z = normal_quantile(below, above);
    const double guess = std::floor(mean + deviation * (z + skewness * (z * z - 1) / 6));
    double low = first - 1, step = std::max(1.0, std::floor(deviation / 16)), high = std::max(guess, first);
    if (!reached(high)) {
        for (low = high; !reached(high = low + step); step *= 2) low = high;
    } else {
        for (; high - step > low; step *= 2) {
            if (!reached(high - step)) {
                low = high - step;
                break;
            }
            high -= step;
        }
    }
    while (high - low > 1) {
        const double middle = std::floor(low + (high - low) / 2);
        (reached(middle) ? high : low) = middle;
    }
    return high;
}

namespace {

// A mixture of normals, in units of its scale.
struct Mixture {
    std::array<double, kComponents> location, scale, weight;

    explicit Mixture(const float* outputs) {
        double largest = -std::numeric_limits<double>::infinity(), sum = 0;
        for (int64_t k = 0; k < kComponents; ++k)
            largest = std::max<double>(largest, outputs[2 * kComponents + k]);
        for (int64_t k = 0; k < kComponents; ++k) {
            location[k] = outputs[k];
            scale[k] = kLeastComponent + exponential(outputs[kComponents + k]);
            weight[k] = std::exp(outputs[2 * kComponents + k] - largest);
            sum += weight[k];
        }
        for (double& each : weight) each /= sum;
    }

    // The share below x, or that above, whichever is wanted, and the density.
    std::array<double, 2> share(double x, bool lower) const {
        double total = 0, density = 0;
        for (int64_t k = 0; k < kComponents; ++k) {
            const double z = (x - location[k]) / scale[k];
            total += weight[k] * 0.5 * std::erfc((lower ? -z : z) * (0.5 * std::numbers::sqrt2));
            density += weight[k] / scale[k] * std::exp(-0.5 * z * z);
        }
        return {total, density * (0.5 * std::numbers::inv_sqrtpi * std::numbers::sqrt2)};
    }

    double quantile(double below, double above) const {
        const bool lower = below <= above;
        const double wanted = std::min(below, above), z = normal_quantile(below, above);
        double low = std::numeric_limits<double>::infinity(), high = -low;
        for (int64_t k = 0; k < kComponents; ++k) {
            low = std::min(low, location[k] + scale[k] * z);
            high = std::max(high, location[k] + scale[k] * z);
        }
        double x = low + 0.5 * (high - low);
        // Newton's method within bounds that close in; halves them where it would leave them or is slow.
        double before = high - low;
        for (int iteration = 0; iteration < 400 && low < high; ++iteration) {
            const auto [share_here, density] = share(x, lower);
            const double excess = lower ? share_here - wanted : wanted - share_here;
            if (excess == 0) break;
            (excess < 0 ? low : high) = x;
            double next = x - excess / density;
            if (!(next >= low && next <= high) || std::abs(next - x) > 0.5 * before)
                next = low + 0.5 * (high - low);
            before = std::abs(next - x);
            x = next;
            if (before <= kEpsilon * std::abs(x) || before < 1e-300) break;
        }
        return x;
    }
};

}  // namespace

// Quantiles of a distribution of location 0 and scale 1.
void Distribution::standard_quantiles(const float* outputs, double* to) const {
    const int64_t count = static_cast<int64_t>(levels.size());
    if (family == Family::normal) {
        for (int64_t k = 0; k < count; ++k) to[k] = normal_quantile(levels[k], 1 - levels[k]);
    } else if (family == Family::mixture) {
        const Mixture mixture(outputs + 2);
        for (int64_t k = 0; k < count; ++k) to[k] = mixture.quantile(levels[k], 1 - levels[k]);
    } else {
        const StudentT law(kLeastFreedom + softplus(std::min<double>(outputs[2], kLargestFreedom)));
        for (int64_t k = 0; k < count; ++k) {
            // Levels are often in pairs around 0.5, but for the last digit of 1 less a level.
            int64_t pair = 0;
            while (pair < k && std::abs(levels[pair] + levels[k] - 1) > kEpsilon) ++pair;
            to[k] = pair < k && levels[pair] >= 1e-3 ? -to[pair] : law.quantile(levels[k], 1 - levels[k]);
        }
    }
}

void Distribution::quantiles(const float* outputs, double unit, double* to) const {
    const int64_t size = outputs_of(family);
    const int64_t count = static_cast<int64_t>(levels.size());
    if (!std::all_of(outputs, outputs + size, [](float each) { return std::isfinite(each); })) {
        std::fill_n(to, count, kNaN);
        return;
    }
    if (counts(family)) {
        const double mean = std::min(unit * (kLeastMean + softplus(outputs[0])), kLargestMean);
        const double dispersion = kLeastDispersion + exponential(outputs[1], kLargestLogDispersion);
        // Shares of further zeros, and of the others.
        const double zeros = family == Family::zero_inflated ? 1 / (1 + std::exp(-double(outputs[2]))) : 0;
        const double others = family == Family::zero_inflated ? 1 / (1 + std::exp(double(outputs[2]))) : 1;
        for (int64_t k = 0; k < count; ++k) {
            const double below = levels[k], above = 1 - below;
            to[k] = below <= zeros || above >= others
                        ? 0
                        : negative_binomial_quantile((below - zeros) / others, above / others, mean, dispersion);
        }
    } else {
        standard_quantiles(outputs, to);
        const double location = outputs[0], scale = kLeastScale + exponential(outputs[1]);
        for (int64_t k = 0; k < count; ++k) to[k] = location + scale * to[k];
    }
    for (int64_t k = 1; k < count; ++k) to[k] = std::max(to[k], to[k - 1]);
}

}  // namespace gatewright
