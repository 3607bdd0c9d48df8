// W_hh where it is block diagonal, by heads: which heads the units of a block belong to, and panels of their
// blocks alone.
//
// Heads need not begin where blocks of V units do.  A block then has a panel for each head that it has units of,
// with zeros in the columns of the others, so that an output is one chain over the k of its own head, and zeros.
//
//   W_hh    (blocks, heads of a block, operands of a head, 4, V); all blocks have room for as many heads
//   W_hh_t  (groups of P, blocks of H that have units of the group's heads, 4, V, N, V); a group begins where it
//           would if all blocks of H were there
//   dW_hh   (blocks, units of the heads of a block, 4, V)
#pragma once

#include "kernels/gemm.h"
#include "kernels/lstm.h"

namespace gatewright::GATEWRIGHT_TARGET {

// Heads, or other things in a row.
struct Range {
    int64_t begin, end;
};

// Those of units begin .. end - 1, as far as there are so many.
GATEWRIGHT_INLINE Range heads_of(const Sizes& n, int64_t begin, int64_t end) {
    return {begin / n.head, ((end < n.H ? end : n.H) - 1) / n.head + 1};
}

// The heads of a block; W_hh as a whole counts as one.
template <int V>
GATEWRIGHT_INLINE Range heads_of_block(const Sizes& n, int64_t block) {
    if (!n.head) return {0, 1};
    return heads_of(n, block * V, block * V + V);
}

// How many a block has at most.
template <int V>
GATEWRIGHT_INLINE int64_t heads_in_block(const Sizes& n) {
    if (!n.head || n.head % V == 0) return 1;
    const int64_t heads = n.H / n.head, most = V % n.head == 0 ? V / n.head : (V + n.head - 2) / n.head + 1;
    return heads < most ? heads : most;
}

// Whether each block is of one head.
template <int V>
GATEWRIGHT_INLINE bool aligned(const Sizes& n) {
    return heads_in_block<V>(n) == 1;
}

// The first operand of h that a head reads: of pairs, one that may begin with the last unit of the head before.
template <class W>
GATEWRIGHT_INLINE int64_t first_operand(const Sizes& n, int64_t head) {
    return std::is_same_v<W, uint32_t> ? head * n.head / 2 : head * n.head;
}

// Rows of a block's panel of W_hh.
template <class W, int V>
GATEWRIGHT_INLINE int64_t recurrent_rows(const Sizes& n) {
    return heads_in_block<V>(n) * operands_of<W>(n.read());
}

// Rows of a block's panel of dW_hh, and the unit of h that the first one is of.
template <int V>
GATEWRIGHT_INLINE int64_t recurrent_columns(const Sizes& n) {
    return heads_in_block<V>(n) * n.read();
}
template <int V>
GATEWRIGHT_INLINE Range columns_of_block(const Sizes& n, int64_t block) {
    if (!n.head) return {0, n.P};
    const Range heads = heads_of_block<V>(n, block);
    return {heads.begin * n.head, heads.end * n.head};
}

// Blocks of h that one product gives: as many as make whole heads, or few next to those of a head.
template <int V>
GATEWRIGHT_INLINE int64_t blocks_of_group(const Sizes& n) {
    if (n.head % (4 * V) == 0) return 4;
    if (n.head % (2 * V) == 0) return 2;
    return n.head >= 8 * V ? 4 : 1;
}

// Blocks of H with units of the heads that blocks begin .. end - 1 have.
template <int V>
GATEWRIGHT_INLINE Range blocks_read(const Sizes& n, int64_t begin, int64_t end) {
    const Range heads = heads_of(n, begin * V, end * V);
    return {heads.begin * n.head / V, (heads.end * n.head + V - 1) / V};
}

// W_hh (4H, head) to its panels, for these blocks.  Where each block is of one head these are those of a matrix.
template <class W, int V, class In>
void pack_heads(In weights, const Sizes& n, W* panels, int64_t begin, int64_t end) {
    const int64_t d = n.head, depth = operands_of<W>(d), rows = recurrent_rows<W, V>(n);
    const auto number = [&](int64_t gate, int64_t unit, int64_t head, int64_t column) {
        const bool inside = unit < n.H && unit / d == head && column >= head * d && column < (head + 1) * d;
        const In weight = weights + (inside ? (gate * n.H + unit) * d + column - head * d : 0);
        if constexpr (std::is_same_v<W, uint32_t>)
            return inside ? uint32_t{number_of(weight).bits} : 0u;
        else
            return inside ? *weight : W(0);
    };
    for (int64_t block = begin; block < end; ++block) {
        const Range heads = heads_of_block<V>(n, block);
        W* out = panels + block * rows * 4 * V;
        for (int64_t head = heads.begin; head < heads.end; ++head)
            for (int64_t k = first_operand<W>(n, head); k < first_operand<W>(n, head) + depth; ++k)
                for (int64_t gate = 0; gate < 4; ++gate)
                    for (int64_t unit = block * V; unit < block * V + V; ++unit, ++out) {
                        if constexpr (std::is_same_v<W, uint32_t>)
                            *out = number(gate, unit, head, 2 * k) | number(gate, unit, head, 2 * k + 1) << 16;
                        else
                            *out = number(gate, unit, head, k);
                    }
    }
}

// What W_hh has in one row of a gate, at columns begin .. end - 1 of h; zeros outside of the unit's head.  Pairs:
// the first or the second number of each.
template <class W, class In>
void pack_head_row(In weights, const Sizes& n, int64_t gate, int64_t unit, Range columns, W* out, int second) {
    const int64_t d = n.head, head = unit < n.H ? unit / d : -1;
    const In row = weights + (head < 0 ? 0 : (gate * n.H + unit) * d);
    for (int64_t column = columns.begin; column < columns.end; ++column) {
        const int64_t k = column - head * d;
        const bool inside = head >= 0 && k >= 0 && k < d;
        if constexpr (std::is_same_v<W, uint32_t>)
            reinterpret_cast<BFloat16*>(out + (column - columns.begin))[second] =
                inside ? number_of(row + k) : BFloat16{0};
        else
            out[column - columns.begin] = inside ? row[k] : W(0);
    }
}

// W_hh to its transposed panels, rows of these blocks of H.
template <class W, int V, class In>
void pack_transposed_heads(In weights, const Sizes& n, W* panels, int64_t begin, int64_t end) {
    constexpr bool kPaired = std::is_same_v<W, uint32_t>;
    constexpr int64_t kBlock = operands_of<W>(4 * V);
    const int64_t blocks = blocks_of<V>(n.H), together = blocks_of_group<V>(n);
    for (int64_t first = 0; first < blocks; first += together) {
        const int64_t last = first + together < blocks ? first + together : blocks;
        const Range read = blocks_read<V>(n, first, last);
        W* const group = panels + first * V * blocks * kBlock;
        for (int64_t block = begin > read.begin ? begin : read.begin; block < end && block < read.end; ++block)
            for (int64_t k = 0; k < kBlock; ++k) {
                const int64_t place = kPaired ? 2 * k : k, gate = place / V, unit = block * V + place % V;
                W* const row = group + ((block - read.begin) * kBlock + k) * (last - first) * V;
                for (int second = 0; second < (kPaired ? 2 : 1); ++second)
                    pack_head_row<W>(weights, n, gate, unit + second, {first * V, last * V}, row, second);
            }
    }
}

// From the panels of dW_hh to (4H, head), for these blocks.
template <class T, int V>
void unpack_heads(const T* panels, const Sizes& n, T* W, int64_t begin, int64_t end) {
    const int64_t d = n.head;
    for (int64_t unit = begin * V; unit < end * V && unit < n.H; ++unit) {
        const int64_t block = unit / V, first = unit / d * d - columns_of_block<V>(n, block).begin;
        const T* const panel = panels + block * recurrent_columns<V>(n) * 4 * V + unit % V;
        for (int64_t gate = 0; gate < 4; ++gate)
            for (int64_t k = 0; k < d; ++k) W[(gate * n.H + unit) * d + k] = panel[((first + k) * 4 + gate) * V];
    }
}

// dh of a step, for these rows and blocks, from what goes back to the gates.
template <class T, int V, class S, class W>
__attribute__((noinline)) void product_by_heads(const Sizes& n, const Left<S>& dgates, int64_t row_begin,
                                                int64_t row_end, const W* panels, int64_t begin, int64_t end,
                                                T* dh) {
    constexpr int64_t kBlock = operands_of<W>(4 * V);
    const int64_t blocks = blocks_of<V>(n.H), together = blocks_of_group<V>(n);
    for (int64_t first = begin; first < end; first += together) {
        const int64_t last = first + together < blocks ? first + together : blocks;
        const Range read = blocks_read<V>(n, first, last);
        const W* const group = panels + first * V * blocks * kBlock;
        const S* const left = dgates.data + read.begin * kBlock;
        with_height<kGroup>(last - first, [&]<int N>() {
            for_tiles<kRowsOf<W>>(row_begin, row_end, [&]<int R>(int64_t row) {
                Vec<T, V> tile[R][N]{};
                accumulate<R, N, V, T>(tile, left + row * dgates.row, dgates.row, 1, FullPanel<W, V, N>{group},
                                       (read.end - read.begin) * kBlock);
                for (int r = 0; r < R; ++r)
                    for (int j = 0; j < N; ++j) {
                        const int64_t column = (first + j) * V;
                        store<V>(dh + (row + r) * n.P + column, tile[r][j], n.P - column);
                    }
            });
        });
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
