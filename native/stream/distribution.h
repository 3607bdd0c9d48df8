// Distributions of a forecast: from the numbers that a head gives to quantiles.  Training and streams call these
// functions alone: the same bits in both.
#pragma once

#include <cstdint>
#include <vector>

namespace gatewright {

// What the numbers of a head are, in order.  Scales and dispersions are exponentials.
enum class Family : int32_t {
    none = 0,           // quantiles
    normal,             // location, log of the scale
    student_t,          // location, log of the scale, degrees of freedom above 2 before softplus
    mixture,            // location, log of the scale; of each component its location, log of its scale, logit
    negative_binomial,  // mean before softplus, log of the dispersion
    zero_inflated       // the same, and the logit of the share of further zeros
};

constexpr int32_t kLastFamily = static_cast<int32_t>(Family::zero_inflated);
constexpr int64_t kComponents = 3;  // normals in a mixture

// A distribution of whole numbers has no location: nothing is added to the numbers of the head.
constexpr bool counts(Family family) {
    return family == Family::negative_binomial || family == Family::zero_inflated;
}

// Numbers that a head gives for a step ahead and target; 0 for quantiles, which are as many as the levels.
constexpr int64_t outputs_of(Family family) {
    switch (family) {
        case Family::none:
            return 0;
        case Family::student_t:
        case Family::zero_inflated:
            return 3;
        case Family::mixture:
            return 2 + 3 * kComponents;
        default:
            return 2;
    }
}

struct Distribution {
    Family family = Family::none;
    std::vector<double> levels;  // between 0 and 1, rising

    // Writes a quantile for each level: in the units of the head, or of the table for whole numbers, whose mean is
    // in units of `unit`.  NaN where an output is no finite number; never less than the one before.
    void quantiles(const float* outputs, double unit, double* to) const;

  private:
    void standard_quantiles(const float* outputs, double* to) const;
};

// A beta distribution.
class Beta {
  public:
    Beta(double a, double b);

    // Shares below and above x, each to the last digits of its own, and x^a y^b / B(a, b); y is 1 - x.
    struct Shares {
        double below, above, power;
    };
    Shares shares(double x, double y) const;

    const double a, b;

  private:
    const double factor_;
};

// Quantiles, at a share that is `below` and 1 - below, `above`, of the distribution.
double normal_quantile(double below, double above);
double negative_binomial_quantile(double below, double above, double mean, double dispersion);

class StudentT {
  public:
    explicit StudentT(double freedom);
    double quantile(double below, double above) const;

    const double freedom;

  private:
    const Beta beta_;
};

}  // namespace gatewright
