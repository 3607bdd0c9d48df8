// Transforms of a forecaster's targets.  Training and streams call these functions alone: the same bits in both.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace gatewright {

enum class Transform : int32_t { none = 0, log, log1p, asinh, boxcox };

// Largest value that is transformed, and that an inverse gives: a float holds it.
constexpr double kLargestValue = 1e38;

// A transform with its number: the unit of log1p and asinh, above 0; the power of boxcox; nothing else.
struct TargetTransform {
    Transform kind = Transform::none;
    double number = 0;

    // NaN for NaN, and for a value that the transform does not allow.
    double apply(double value) const {
        if (kind == Transform::none) return value;
        const bool positive = kind == Transform::log || kind == Transform::boxcox;
        if (!(std::abs(value) <= kLargestValue) || (positive && value <= 0))
            return std::numeric_limits<double>::quiet_NaN();
        switch (kind) {
            case Transform::log1p:
                return std::copysign(std::log1p(std::abs(value) / number), value);
            case Transform::asinh:
                return std::asinh(value / number);
            case Transform::boxcox:
                return number == 0 ? std::log(value) : std::expm1(number * std::log(value)) / number;
            default:
                return std::log(value);
        }
    }

    // Rises with z; finite, whatever z is but NaN.
    double invert(double z) const {
        if (kind == Transform::none) return z;
        double value;
        switch (kind) {
            case Transform::log1p:
                value = std::copysign(number * std::expm1(std::abs(z)), z);
                break;
            case Transform::asinh:
                value = number * std::sinh(z);
                break;
            case Transform::boxcox:
                // Beyond the range of the transform: its nearest end.
                if (number == 0)
                    value = std::exp(z);
                else if (number * z <= -1)
                    value = number > 0 ? 0 : kLargestValue;
                else
                    value = std::exp(std::log1p(number * z) / number);
                break;
            default:
                value = std::exp(z);
        }
        return std::clamp(value, -kLargestValue, kLargestValue);
    }
};

}  // namespace gatewright
