// How a call is divided: among threads, into chunks of time, and into steps whose share of x is computed ahead.
#pragma once

#include <vector>

#include "kernels/sequence.h"

namespace gatewright {

constexpr int64_t kLittle = 2'000'000;  // FLOPs below which waking a thread costs more than it gives

inline int64_t blocks_of(int64_t units, int64_t width) { return (units + width - 1) / width; }

// Who does what.
struct Plan {
    int threads;
    bool by_units;
    std::vector<int64_t> row_bounds;  // (threads + 1), by rows; room for all is made before threads start

    // What a rank of a team of `size` does; by units, in multiples of `unit` blocks.
    Share share(int rank, int size, int64_t B, int64_t blocks, int64_t unit) const;
    // Gives each of `size` threads rows with as many steps as the others have.
    void cut_rows(const Steps& steps, int size);
};

// How a forward pass is cut: by units where its weights come from memory in each step, of which each thread then
// reads its part only.  Going back that gains nothing.
Split forward_split(const Sizes& sizes, Split split, std::size_t element);

// width: lanes of what a thread cannot share with another, where threads share out hidden units.
Plan plan_for(const Sizes& sizes, int threads, Split split, int64_t width, std::size_t element);

}  // namespace gatewright
