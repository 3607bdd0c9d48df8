#include "kernels/plan.h"

#include <algorithm>

namespace gatewright {

namespace {

constexpr int64_t kStep = 200'000;  // FLOPs of a step's recurrence below which a barrier a step costs more
constexpr int64_t kSecondCache = 768 << 10;  // bytes of weights that stay in a core's second cache
constexpr int64_t kThirdCache = 12 << 20;   // bytes of weights beyond which threads read them as fast as memory is
constexpr int64_t kLongStep = 20'000'000;   // FLOPs of a step's recurrence next to which a barrier is nothing
constexpr int64_t kAheadBytes = 256 << 10;  // of x's share of the gates, a thread
constexpr int64_t kAheadRows = 8;           // more rows fill the tiles of a single step

}  // namespace

Share Plan::share(int rank, int size, int64_t B, int64_t blocks, int64_t unit) const {
    if (!by_units) return {rank, size, row_bounds[rank], row_bounds[rank + 1], 0, blocks};
    const int64_t units = blocks_of(blocks, unit);
    const int64_t begin = std::min(blocks, units * rank / size * unit);
    const int64_t end = std::min(blocks, units * (rank + 1) / size * unit);
    return {rank, size, 0, B, begin, end};
}

void Plan::cut_rows(const Steps& steps, int size) {
    row_bounds.assign(size + 1, steps.B);
    row_bounds[0] = 0;
    if (!steps.sizes) {
        for (int n = 1; n < size; ++n) row_bounds[n] = steps.B * n / size;
        return;
    }
    int64_t length = steps.T, done = 0;
    int bound = 1;
    for (int64_t b = 0; b < steps.B && bound < size; ++b) {
        while (length > 0 && steps.sizes[length - 1] <= b) --length;
        done += length;
        while (bound < size && done * size >= steps.starts[steps.T] * bound) row_bounds[bound++] = b + 1;
    }
}

Split forward_split(const Sizes& n, Split split, std::size_t element) {
    const int64_t weights = 4 * n.H * (n.D + n.read()) * static_cast<int64_t>(element);
    const bool far = weights > kThirdCache && 8 * n.B * n.H * n.read() > kLongStep;
    return split == Split::automatic && far ? Split::units : split;
}

Plan plan_for(const Sizes& n, int threads, Split split, int64_t width, std::size_t element) {
    const double work = 8.0 * n.T * n.B * n.H * (n.D + n.read());
    Plan plan{std::max(1, threads), false, {}};
    if (work < kLittle) plan.threads = 1;
    const int64_t weights = 4 * n.H * (n.D + n.read()) * static_cast<int64_t>(element);
    const int64_t rows = n.B / plan.threads;
    const int64_t step = 8 * n.B * n.H * n.read();
    plan.by_units = !n.projected && step > kStep && rows <= 4 && (rows < 1 || weights > kSecondCache);
    if (split != Split::automatic) plan.by_units = split == Split::units && !n.projected;
    plan.threads = static_cast<int>(
        std::min<int64_t>(plan.threads, plan.by_units ? blocks_of(n.H, width) : std::max<int64_t>(n.B, 1)));
    plan.row_bounds.reserve(plan.threads + 1);
    return plan;
}

int64_t ahead_steps(const Sizes& n, int64_t T, int64_t rows, int64_t lanes, std::size_t element) {
    if (n.D < 8 || rows > kAheadRows) return 0;
    const int64_t bytes = rows * 4 * lanes * static_cast<int64_t>(element);
    return std::min(T, std::max<int64_t>(2, kAheadBytes / std::max<int64_t>(bytes, 1)));
}

int64_t most_ahead(int64_t lanes, std::size_t element) {
    return std::max(2 * kAheadRows * 4 * lanes, kAheadBytes / static_cast<int64_t>(element));
}

int64_t chunk_steps(const Sizes& n, std::size_t element) {
    const int64_t row = 4 * n.H * static_cast<int64_t>(element);
    const int64_t rows = std::max(kLeastChunk, kChunkBytes / row);
    return std::max<int64_t>(1, rows / std::max<int64_t>(n.B, 1));
}

}  // namespace gatewright
