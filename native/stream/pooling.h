// Pooling: what a head reads of the steps so far, and the state that it takes to go on from there.
//
// The training's module computes the very same operations in the same order, in double (nn/pooling.py).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace gatewright {

enum class Pooling { none, mean, max, attention };

// 2^z as mantissa * 2^exponent, the exponent whole.  From additions and multiplications alone, so that every
// program has the same bits: sums of such shares may be scaled by powers of two without another rounding.
struct SoftmaxShare {
    double mantissa, exponent;

    static SoftmaxShare of(double z) {
        constexpr double kTaylor[] = {
            // ln(2)^k / k!
            1.0,
            0.6931471805599453,
            0.24022650695910072,
            0.05550410866482158,
            0.009618129107628477,
            0.0013333558146428443,
            0.0001540353039338161,
            1.5252733804059841e-05,
            1.321548679014431e-06,
            1.01780860092397e-07,
            7.054911620801123e-09,
            4.4455382718708116e-10,
            2.5678435993488206e-11,
            1.3691488853904128e-12,
        };
        const double exponent = std::nearbyint(z), rest = z - exponent;
        double mantissa = 0;
        for (int k = 13; k >= 0; --k) mantissa = mantissa * rest + kTaylor[k];
        return {mantissa, exponent};
    }
};

// 2^exponent of a whole exponent up to 0; 0 below the smallest normal number.
inline double power_of_two(double exponent) {
    const int64_t biased = static_cast<int64_t>(std::max(exponent, -1023.0)) + 1023;
    return std::bit_cast<double>(static_cast<uint64_t>(biased) << 52);
}

// Doubles that a session keeps for hidden states of width P.  Mean: their sum.  Maximum: that.  Attention: their
// sum, weighed; the sum of the weights; and the power of two that all of these are to be multiplied by.
inline int64_t pooled_width(Pooling pooling, int64_t P) {
    return pooling == Pooling::none ? 0 : pooling == Pooling::attention ? P + 2 : P;
}

// Adds the hidden state h (P) of a step to what a session keeps, NaN before its first step, and writes what the
// head reads (P).  steps: taken so far, this one included.  weight (P): the query of attention.
inline void pool(Pooling pooling, const float* weight, const float* h, int64_t P, int64_t steps, double* kept,
                 float* y) {
    const bool first = std::isnan(kept[0]);
    if (pooling == Pooling::mean) {
        for (int64_t k = 0; k < P; ++k) {
            kept[k] = (first ? 0.0 : kept[k]) + h[k];
            y[k] = static_cast<float>(kept[k] / static_cast<double>(steps));
        }
    } else if (pooling == Pooling::max) {
        for (int64_t k = 0; k < P; ++k) {
            if (first || h[k] >= kept[k]) kept[k] = h[k];
            y[k] = static_cast<float>(kept[k]);
        }
    } else {
        constexpr double kLog2OfE = 1.4426950408889634;
        double score = 0, &total = kept[P], &exponent = kept[P + 1];
        for (int64_t k = 0; k < P; ++k) score += static_cast<double>(h[k]) * weight[k];
        const SoftmaxShare share = SoftmaxShare::of(score * kLog2OfE);
        if (first) {
            std::fill_n(kept, P + 1, 0.0);
            exponent = share.exponent;
        } else if (share.exponent > exponent) {
            const double less = power_of_two(exponent - share.exponent);
            for (int64_t k = 0; k <= P; ++k) kept[k] *= less;
            exponent = share.exponent;
        }
        const double weighed = share.mantissa * power_of_two(share.exponent - exponent);
        total += weighed;
        for (int64_t k = 0; k < P; ++k) {
            kept[k] += weighed * h[k];
            y[k] = static_cast<float>(kept[k] / total);
        }
    }
}

}  // namespace gatewright
