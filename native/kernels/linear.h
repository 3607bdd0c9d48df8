// What stands behind a stack of layers: y = b + W x, for some rows.
#pragma once

#include "kernels/gemm.h"
#include "kernels/panels.h"

namespace gatewright::GATEWRIGHT_TARGET {

template <class T, int V, class S>
int64_t linear_size(int64_t in, int64_t out) {
    return blocks_of<V>(out) * V * (1 + operands_of<Operand<S>>(in));
}

// W (out, in), b (out) or null, to: b (blocks, V), then W (groups of up to 4 blocks of `out`, in, blocks, V).
template <class T, int V, class S>
void pack_linear(WeightsIn<T, S> W, WeightsIn<T, S> b, int64_t in, int64_t out, T* panel) {
    const int64_t lanes = blocks_of<V>(out) * V;
    for (int64_t k = 0; k < lanes; k += V)
        store<V>(panel + k, b && k < out ? load<V>(b + k, out - k) : Vec<T, V>{});
    using Element = PanelElement<T, S>;
    pack_projection<Element, V>(W, out, in, reinterpret_cast<Element*>(panel + lanes));
}

// Each output is one chain, like a gate's: bias, then x, k ascending.
template <class T, int V, class S>
void linear(const Linear<T>& linear, const Operand<S>* x, typename Stored<S>::Out y, int64_t row_begin,
            int64_t row_end) {
    using Element = PanelElement<T, S>;
    const int64_t in = operands_of<Element>(linear.in), out = linear.out, blocks = blocks_of<V>(out);
    const auto* const W = reinterpret_cast<const Element*>(linear.panel + blocks * V);
    for_groups(0, blocks, blocks, [&]<int N>(int64_t block) {
        for_tiles<kRowsOf<Element>>(row_begin, row_end, [&]<int R>(int64_t row) {
            Vec<T, V> tile[R][N];
            for (int j = 0; j < N; ++j) {
                const Vec<T, V> bias = load<V>(linear.panel + (block + j) * V);
                GATEWRIGHT_UNROLL
                for (int r = 0; r < R; ++r) tile[r][j] = bias;
            }
            accumulate<R, N, V, T>(tile, x + row * in, in, 1, FullPanel<Element, V, N>{W + block * V * in}, in);
            for (int r = 0; r < R; ++r)
                for (int j = 0; j < N; ++j) {
                    const int64_t column = (block + j) * V;
                    store_as<T, V>(y + ((row + r) * out + column), tile[r][j], out - column);
                }
        });
    });
}

}  // namespace gatewright::GATEWRIGHT_TARGET
