// The parts of a model as C gives them, checked; and the checks that calls of a stream need too.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "c/gatewright.h"
#include "stream/stream.h"

namespace gatewright {

constexpr int64_t kLargest = std::numeric_limits<int32_t>::max();
constexpr int64_t kMost = int64_t{1} << 40;  // elements of one array: far beyond memory, far below an overflow

// Thrown while a model is made, and caught in guarded().  Steps say what is wrong without: a throw allocates.
struct Refused {
    gatewright_status status;
};

inline bool is_size(int64_t value, int64_t least = 1) { return value >= least && value <= kLargest; }

// A product of sizes, none below 0; -1 beyond kMost.
template <class... Sizes>
int64_t product(Sizes... sizes) {
    int64_t result = 1;
    for (const int64_t size : {int64_t{sizes}...}) {
        if (size > 0 && result > kMost / size) return -1;
        result *= size;
    }
    return result;
}

template <class T>
bool finite(const T* data, int64_t count) {
    bool good = true;
    for (int64_t k = 0; k < count; ++k) good &= std::isfinite(data[k]);
    return good;
}

// Whether numbers are a sum of attention's weights and the exponent of what they are multiplied by.
inline bool is_softmax_state(const double* total) {
    return total[0] >= 0.7 && total[1] == std::nearbyint(total[1]);
}

// Checks all that is given; throws Refused.
ModelParts parts_of(const gatewright_parts& given);

}  // namespace gatewright
