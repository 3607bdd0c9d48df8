// Products of pairs of bfloat16 by the tile registers of Intel AMX, 16 pairs of the sum at once.
#pragma once

#include "kernels/amx_registers.h"

namespace gatewright::GATEWRIGHT_TARGET {

// Left operands of 16 rows and 16 pairs of k.  Pair k of row r stands at a[r * row + k * step].
struct LeftSquare {
    alignas(64) uint32_t pairs[kSide * kSide]{};  // rows past the last one stay zero

    GATEWRIGHT_INLINE void copy(const uint32_t* a, int64_t row, int64_t step, int rows) {
        if (step == 1) {
            for (int r = 0; r < rows; ++r) store<kSide>(pairs + r * kSide, load<kSide>(a + r * row));
            return;
        }
        // The gradients of weights sum over rows of memory: rows = columns of x or h, side by side.
        Vec<uint32_t, kSide> square[kSide];
        for (int k = 0; k < kSide; ++k) square[k] = load<kSide>(a + k * step, rows);
        transpose<kSide, uint32_t>(square);
        for (int r = 0; r < rows; ++r) store<kSide>(pairs + r * kSide, square[r]);
    }
};

// sums (16, N, 16) += a b for `count` pairs, a multiple of 16, of `rows` rows of a.  Row k of b has N vectors and
// stands at b + k * apart.  Sums of further rows stay as they are.
template <int N>
__attribute__((noinline)) void add_squares(float* sums, int rows, const uint32_t* a, int64_t row, int64_t step,
                                           const uint32_t* b, int64_t apart, int64_t count) {
    constexpr int64_t kSums = N * kSide * sizeof(float), kSquare = kSide * sizeof(uint32_t);
    const int64_t right_row = apart * static_cast<int64_t>(sizeof(uint32_t));
    const bool direct = rows == kSide && step == 1;
    LeftSquare left;
    load_tile<0>(sums, kSums);
    if constexpr (N > 1) load_tile<1>(sums + kSide, kSums);
    if constexpr (N > 2) load_tile<2>(sums + 2 * kSide, kSums);
    if constexpr (N > 3) load_tile<3>(sums + 3 * kSide, kSums);
    for (int64_t k = 0; k < count; k += kSide) {
        if (direct) {
            load_tile<4>(a + k, row * static_cast<int64_t>(sizeof(uint32_t)));
        } else {
            left.copy(a + k * step, row, step, rows);
            load_tile<4>(left.pairs, kSquare);
        }
        const uint32_t* const right = b + k * apart;
        load_tile<5>(right, right_row);
        multiply_tiles<0, 4, 5>();
        if constexpr (N > 1) {
            load_tile<6>(right + kSide, right_row);
            multiply_tiles<1, 4, 6>();
        }
        if constexpr (N > 2) {
            load_tile<7>(right + 2 * kSide, right_row);
            multiply_tiles<2, 4, 7>();
        }
        if constexpr (N > 3) {
            load_tile<5>(right + 3 * kSide, right_row);
            multiply_tiles<3, 4, 5>();
        }
    }
    store_tile<0>(sums, kSums);
    if constexpr (N > 1) store_tile<1>(sums + kSide, kSums);
    if constexpr (N > 2) store_tile<2>(sums + 2 * kSide, kSums);
    if constexpr (N > 3) store_tile<3>(sums + 3 * kSide, kSums);
}

// The same for a tile of R rows.
template <int R, int N>
GATEWRIGHT_INLINE void add_squares(Vec<float, kSide> (&tile)[R][N], const uint32_t* a, int64_t row, int64_t step,
                                   const uint32_t* b, int64_t apart, int64_t count) {
    static_assert(R <= kSide && N <= 4);
    if constexpr (R == kSide) {
        add_squares<N>(reinterpret_cast<float*>(tile), R, a, row, step, b, apart, count);
    } else {
        Vec<float, kSide> sums[kSide][N]{};
        for (int r = 0; r < R; ++r)
            for (int j = 0; j < N; ++j) sums[r][j] = tile[r][j];
        add_squares<N>(reinterpret_cast<float*>(sums), R, a, row, step, b, apart, count);
        for (int r = 0; r < R; ++r)
            for (int j = 0; j < N; ++j) tile[r][j] = sums[r][j];
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
