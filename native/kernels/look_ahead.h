// What the tiles of several steps start from, where few rows would fill a tile of one step badly: x's share of
// them, computed at once.
#pragma once

#include "kernels/walk_rows.h"

namespace gatewright::GATEWRIGHT_TARGET {

// What the tiles of some steps start from, bias + W_ih x, for one share: (blocks, steps, rows, 4, V).
//
//   block 0   step t: row 0, row 1, ...   step t + 1: row 0, row 1, ...   ...
//   block 1   step t: row 0, row 1, ...   step t + 1: row 0, row 1, ...   ...
//   ...
//   each row: i f g o, V hidden units of each
template <class T, int V>
struct Ahead {
    static constexpr int64_t kRow = 4 * V;
    T* data;              // null: nothing is computed ahead
    int64_t step, block;  // strides
    int64_t first_time;   // the lowest that is held

    GATEWRIGHT_INLINE T* at(int64_t block_of_share, int64_t t, int64_t row_of_share) const {
        return data + block_of_share * block + (t - first_time) * step + row_of_share * kRow;
    }
};

template <class T, int V, class S>
GATEWRIGHT_INLINE Ahead<T, V> ahead_of(const Forward<T, S>& f, const Share& share) {
    const int64_t step = (share.row_end - share.row_begin) * Ahead<T, V>::kRow;
    return {f.ahead ? f.ahead + share.rank * f.ahead_size : nullptr, step, f.ahead_steps * step, 0};
}

template <class T, int V, int R, class S>
GATEWRIGHT_INLINE void start_with_bias(Vec<T, V> (&tile)[R][4], const Forward<T, S>& f, int64_t block) {
    for (int j = 0; j < 4; ++j) {
        const Vec<T, V> bias = load<V>(f.panels.bias + (block * 4 + j) * V);
        GATEWRIGHT_UNROLL
        for (int r = 0; r < R; ++r) tile[r][j] = bias;
    }
}

// x of the steps that are computed ahead, in runs of rows that stand at one distance.
template <class Left>
struct InputRuns {
    OperandRows<Left> first;
    int64_t runs, rows, apart;  // apart: from one run to the next
};

template <class Panel, class T, int V, class S>
InputRuns<LeftOf<Panel, S>> input_runs(const Forward<T, S>& f, const Share& share, int64_t first_time,
                                       int64_t steps) {
    const int64_t rows = share.row_end - share.row_begin;
    if constexpr (Panel::kBytes) {
        const auto to = byte_rows(f.x_bytes, share, f.sizes.D);
        for (int64_t n = 0; n < steps; ++n)
            to_bytes<V, Panel::kOfRow>(f.x.at(f.steps, first_time + n, share.row_begin), f.x.row, f.sizes.D,
                                       to.data + n * rows * to.row, to.scales + n * rows, rows);
        return {{to.data, to.row, to.scales}, 1, steps * rows, 0};
    } else if constexpr (std::is_same_v<S, BFloat16>) {
        const int64_t depth = operands_of<Operand<S>>(f.sizes.D);
        Operand<S>* const operands = f.operands + share.rank * f.operands_size;
        for (int64_t n = 0; n < steps; ++n)
            to_operands<T, V, S>(f.x.at(f.steps, first_time + n, share.row_begin), f.x.row, f.sizes.D,
                                 operands + n * rows * depth, rows);
        return {{operands, depth}, 1, steps * rows, 0};
    } else {
        const S* const x = f.x.at(f.steps, first_time, share.row_begin);
        // One row a step, or the whole batch without gaps: rows of successive steps stand at one distance in x,
        // as they always do in `ahead`, and tiles may go across steps.
        if (rows == 1) return {{x, f.x.step}, 1, steps, 0};
        if (rows == f.sizes.B && f.x.step == rows * f.x.row) return {{x, f.x.row}, 1, steps * rows, 0};
        return {{x, f.x.row}, steps, rows, f.x.step};
    }
}

// Computes what `steps` steps start from, beginning with ahead.first_time.
template <class Panel, class T, int V, class S>
void look_ahead(const Forward<T, S>& f, const Share& share, const Ahead<T, V>& ahead, int64_t steps) {
    const int64_t depth = depth_of<Panel, S>(f.sizes.D);
    const auto x = input_runs<Panel, T, V>(f, share, ahead.first_time, steps);
    for (int64_t block = share.block_begin; block < share.block_end; ++block) {
        const Panel W_ih(Panel::input(f.panels), block, depth);
        for (int64_t run = 0; run < x.runs; ++run) {
            const auto* const first = x.first.data + run * x.apart;
            T* const out = ahead.at(block - share.block_begin, ahead.first_time + run, 0);
            for_tiles<Panel::kRows>(0, x.rows, [&]<int R>(int64_t row) {
                Vec<T, V> tile[R][4];
                start_with_bias<T, V, R>(tile, f, block);
                add_gates<R, V, T>(tile, first + row * x.first.row, x.first.row, W_ih, depth,
                                   x.first.scales_at(row));
                for (int r = 0; r < R; ++r)
                    for (int j = 0; j < 4; ++j) store<V>(out + (row + r) * ahead.kRow + j * V, tile[r][j]);
            });
        }
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
