// What stands behind a stack of layers: y = b + W x, for some rows.
#pragma once

#include "kernels/gemm.h"
#include "kernels/panels.h"

namespace gatewright::GATEWRIGHT_TARGET {

template <class T, int V>
int64_t linear_size(int64_t in, int64_t out) {
    return blocks_of<V>(out) * V * (1 + in);
}

// W (out, in), b (out) or null, to: b (blocks, V), then W (groups of up to 4 blocks of `out`, in, blocks, V).
template <class T, int V>
void pack_linear(const T* W, const T* b, int64_t in, int64_t out, T* panel) {
    const int64_t lanes = blocks_of<V>(out) * V;
    for (int64_t k = 0; k < lanes; ++k) panel[k] = b && k < out ? b[k] : T(0);
    pack_projection<T, V>(W, out, in, panel + lanes);
}

// Each output is one chain, like a gate's: bias, then x, k ascending.
template <class T, int V>
void linear(const Linear<T>& linear, const T* x, T* y, int64_t row_begin, int64_t row_end) {
    const int64_t in = linear.in, out = linear.out, blocks = blocks_of<V>(out);
    const T* const W = linear.panel + blocks * V;
    for_groups(0, blocks, blocks, [&]<int N>(int64_t block) {
        for_tiles(row_begin, row_end, [&]<int R>(int64_t row) {
            Vec<T, V> tile[R][N];
            for (int j = 0; j < N; ++j) {
                const Vec<T, V> bias = load<V>(linear.panel + (block + j) * V);
                GATEWRIGHT_UNROLL
                for (int r = 0; r < R; ++r) tile[r][j] = bias;
            }
            accumulate<R, N, V, T>(tile, x + row * in, in, 1, FullPanel<T, V, N>{W + block * V * in}, in);
            for (int r = 0; r < R; ++r)
                for (int j = 0; j < N; ++j) {
                    const int64_t column = (block + j) * V;
                    store<V>(y + (row + r) * out + column, tile[r][j], out - column);
                }
        });
    });
}

}  // namespace gatewright::GATEWRIGHT_TARGET
