// The scale of a forecaster's window: how much a target moves from row to row since a session began.
//
// It is causal: a row changes it for itself and what follows.  Training and streams call these functions alone:
// the same bits in both.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace gatewright {

// What a session has seen of a target, transformed: all NaN before the first observed value.
enum WindowNumber : int64_t {
    kOrigin = 0,  // the first observed value
    kMoved,       // sum of the sizes of changes
    kSize,        // sum of the sizes of values
    kDrift,       // sum of the differences of values from the origin
    kCount,       // number of these values, at most the window
    kWindowNumbers
};

// Changes that a window has seen before its first row, in effect.
constexpr double kPrior = 32;

// A row of a target, in units of its window.
struct Placed {
    double change, level;  // since the last observation, 0 without; less the window's mean
    double last, scale;    // the last observed value, transformed, and the unit: a forecast is last + scale * y
    float recent;          // the last observed value less the origin, in units of the training part; NaN before it
};

struct WindowScale {
    int64_t rows = 0;  // of a window; 0: targets have the scale of the training part
    // Of targets: the smallest mean change; mean change over mean size; deviation over mean change.
    std::vector<double> least{}, ratio{}, factor{};

    explicit operator bool() const { return rows > 0; }

    // Reads a value z of target k, NaN where it is missing.
    //   before        the last observed value, NaN without one
    //   mean, change  of the training part: they stand in before the first observation
    //   unit          of `recent`
    Placed read(int64_t k, double z, double before, double mean, double change, double unit, double* of) const {
        if (!std::isnan(z)) {
            if (std::isnan(of[kOrigin])) {
                of[kOrigin] = before = z;
                std::fill(of + kMoved, of + kWindowNumbers, 0.0);
            } else if (of[kCount] >= static_cast<double>(rows)) {  // older rows count less from here on
                const double kept = 1 - 1 / static_cast<double>(rows);
                for (const WindowNumber sum : {kMoved, kSize, kDrift}) of[sum] *= kept;
                of[kCount] = static_cast<double>(rows - 1);
            }
            of[kMoved] += std::abs(z - before);
            of[kSize] += std::abs(z);
            of[kDrift] += z - of[kOrigin];
            of[kCount] += 1;
        }
        if (std::isnan(of[kOrigin]))
            return {0, 0, mean, factor[k] * std::max(least[k], change), std::numeric_limits<float>::quiet_NaN()};
        // With changes of the size that the level leads to expect: a scale is there from the first row on, and
        // steady.
        const double expected = std::max(least[k], ratio[k] * (of[kSize] / of[kCount]));
        const double move = std::max(least[k], (of[kMoved] + kPrior * expected) / (of[kCount] - 1 + kPrior));
        const double scale = factor[k] * move, last = std::isnan(z) ? before : z;
        return {(last - before) / move, (last - of[kOrigin] - of[kDrift] / of[kCount]) / scale, last, scale,
                static_cast<float>((last - of[kOrigin]) / unit)};
    }
};

// Whether numbers may be those of a session whose last observed value this is, NaN before the first.
inline bool is_window(const double* of, double last, int64_t rows) {
    const auto missing = [](double number) { return std::isnan(number); };
    const auto finite = [](double number) { return std::isfinite(number); };
    if (std::isnan(last)) return std::all_of(of, of + kWindowNumbers, missing);
    return std::all_of(of, of + kWindowNumbers, finite) && of[kMoved] >= 0 && of[kSize] >= 0 && of[kCount] >= 1 &&
           of[kCount] <= static_cast<double>(rows);
}

}  // namespace gatewright
