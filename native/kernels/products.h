// What a chunk gives to dx and to the weights: products over all of its rows.
#pragma once

#include "kernels/gemm.h"
#include "kernels/heads.h"
#include "kernels/lstm.h"
#include "kernels/row_pairs.h"
#include "kernels/walk_rows.h"

namespace gatewright::GATEWRIGHT_TARGET {

// Where row `local` of a chunk stands in dx, or in what else has a row for each step.
template <class Rows, class T, class S>
GATEWRIGHT_INLINE auto place_in(const Rows& rows, const Backward<T, S>& b, const Chunk<T, S>& chunk,
                                int64_t local) {
    if (b.table && b.table->places) return rows.at(b.table->places[b.steps.starts[chunk.begin] + local]);
    int64_t step = local / b.steps.B;  // no step has more rows than that
    while (chunk.first[step + 1] <= local) ++step;
    return rows.at(b.steps, b.steps.time(chunk.begin + step), local - chunk.first[step]);
}

// dx of one row, a dot product a column.
template <class T, int V>
void narrow_input_adjoint(const Backward<T, T>& b, const Chunk<T, T>& chunk, int64_t row) {
    const int64_t D = b.sizes.D, blocks = blocks_of<V>(b.sizes.H);
    T* const dx = place_in(b.dx, b, chunk, row);
    for (int64_t k = 0; k < D; ++k) {
        Vec<T, V> sum[4]{};
        for (int64_t block = 0; block < blocks; ++block) {
            const T* const dgates = chunk.dgates + (row * blocks + block) * 4 * V;
            const T* const W = b.panels.W_ih + (block * D + k) * 4 * V;
            GATEWRIGHT_UNROLL
            for (int j = 0; j < 4; ++j)
                sum[j] = Lanes<T, V>::fma(load<V>(dgates + j * V), load<V>(W + j * V), sum[j]);
        }
        const Vec<T, V> all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        T total = 0;
        for (int v = 0; v < V; ++v) total += all[v];
        dx[k] = total;
    }
}

template <class T, int V>
void narrow_input_adjoint(const Backward<T, BFloat16>& b, const Chunk<T, BFloat16>& chunk, int64_t row) {
    using F = Factors<T, V, uint32_t>;
    constexpr int kChains = 4;
    const int64_t D = b.sizes.D, depth = blocks_of<V>(b.sizes.H) * 2 * V;
    const uint32_t* const dgates = chunk.dgates + row * depth;
    Vec<T, V> dx{};
    for (int64_t column = 0; column < D; ++column) {
        const uint32_t* const W = b.panels.W_ih_t + column * depth;
        Vec<T, V> sum[kChains]{};
        for (int64_t k = 0; k < depth; k += kChains * V) {
            GATEWRIGHT_UNROLL
            for (int j = 0; j < kChains; ++j) {
                if (k + j * V >= depth) continue;
                const Vec<uint32_t, V> left = load<V>(dgates + k + j * V), right = load<V>(W + k + j * V);
                GATEWRIGHT_UNROLL
                for (int round = 0; round < F::kRounds; ++round)
                    sum[j] = F::add(F::right(left, round), F::right(right, round), sum[j]);
            }
        }
        const Vec<T, V> all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        T total = 0;
        for (int v = 0; v < V; ++v) total += all[v];
        dx[column] = total;
    }
    store_as<T, V>(place_in(b.dx, b, chunk, row), dx, D);
}

template <class T, int V, class S>
void input_adjoint(const Backward<T, S>& b, const Chunk<T, S>& chunk, int64_t row_begin, int64_t row_end) {
    const int64_t D = b.sizes.D, depth = operands_of<Operand<S>>(blocks_of<V>(b.sizes.H) * 4 * V);
    if (D <= kNarrowInput) {
        for (int64_t row = row_begin; row < row_end; ++row) narrow_input_adjoint<T, V>(b, chunk, row);
        return;
    }
    product<V>(Left<Operand<S>>{chunk.dgates, depth, 1, depth, 0}, row_begin, row_end, b.panels.W_ih_t, 0,
               blocks_of<V>(D), D, [&](int64_t row, int64_t column, Vec<T, V> value, int64_t lanes) {
                   store_as<T, V>(place_in(b.dx, b, chunk, row) + column, value, lanes);
               });
}

// The dgates of one block: its four vectors in each row, or pair of rows.
template <class W, int V>
struct BlockPanel {
    const W* row;
    int64_t apart;  // from one row to the next

    GATEWRIGHT_INLINE Vec<W, V> vector(int j) const { return load<V>(row + j * V); }
    GATEWRIGHT_INLINE int64_t stride() const { return apart; }
    GATEWRIGHT_INLINE void next() { row += apart; }
};

// What the sums over the rows of a chunk multiply: operands of single rows, or of pairs of rows.
template <class W>
struct SummedRows {
    int64_t count;
    const Segment<const W*>* x;
    int64_t x_count;  // segments
    const Segment<const W*>* h;
    int64_t h_count;
    const W* dgates;
    int64_t dgates_block, dgates_row;  // strides
    const W *dprojected, *hidden;      // (count, P), (groups of blocks of H, count, blocks, V)
    bool first;                        // of all chunks: there are no sums yet
};

// A factor of one for each row.
template <class W>
constexpr W kOnes = W(1);
template <>
inline constexpr uint32_t kOnes<uint32_t> = 0x3f803f80;

// Adds what a chunk gives to sums of chunks before.
template <class T, int V, int R, class Before>
GATEWRIGHT_INLINE void store_sums(T* out, const Vec<T, V> (&tile)[R][4], Before&& before) {
    for (int r = 0; r < R; ++r)
        for (int j = 0; j < 4; ++j) {
            T* const place = out + (r * 4 + j) * V;
            store<V>(place, before(place) + tile[r][j]);
        }
}

// dW[column][gate][unit] += sum over rows of left[row][column] * dgates[row][gate][unit], for one block.
template <class T, int V, class W>
void weight_adjoint(const Segment<const W*>* left, int64_t segments, BlockPanel<W, V> dgates, T* dW, int64_t begin,
                    int64_t end, bool first) {
    for_tiles<kRowsOf<W>>(begin, end, [&]<int R>(int64_t column) {
        T* const out = dW + column * 4 * V;
        // Gradients of large layers are in no near cache: ask for the tile, so that it arrives during the sum.
        GATEWRIGHT_UNROLL
        for (int j = 0; j < R * 4; ++j) __builtin_prefetch(out + j * V, 1);
        Vec<T, V> tile[R][4]{};
        BlockPanel<W, V> panel = dgates;
        for (int64_t n = 0; n < segments; ++n) {
            accumulate<R, 4, V, T>(tile, left[n].data + column, 1, left[n].row, panel, left[n].count);
            panel.row += left[n].count * panel.apart;
        }
        if (first) return store_sums<T, V>(out, tile, [](const T*) { return Vec<T, V>{}; });
        store_sums<T, V>(out, tile, [](const T* place) { return load<V>(place); });
    });
}

// As the gradient of a weight of a column of ones.
template <class T, int V, class W>
void bias_adjoint(BlockPanel<W, V> dgates, int64_t rows, T* db, bool first) {
    const Segment<const W*> ones{&kOnes<W>, 0, rows};
    weight_adjoint<T, V>(&ones, 1, dgates, db, 0, 1, first);
}

// dW_hr[p][unit] += sum over rows of dprojected[row][p] * hidden[row][unit].
template <class T, int V, class W>
void projection_adjoint(const Sizes& n, const SummedRows<W>& rows, T* dW_hr, int64_t begin, int64_t end) {
    const int64_t H = n.H, blocks = blocks_of<V>(H);
    for_groups(0, blocks, blocks, [&]<int N>(int64_t block) {
        for_tiles<kRowsOf<W>>(begin, end, [&]<int R>(int64_t p) {
            Vec<T, V> tile[R][N]{};
            accumulate<R, N, V, T>(tile, rows.dprojected + p, 1, n.P,
                                   FullPanel<W, V, N>{rows.hidden + block * rows.count * V}, rows.count);
            for (int r = 0; r < R; ++r)
                for (int j = 0; j < N; ++j) {
                    const int64_t unit = (block + j) * V;
                    T* const out = dW_hr + (p + r) * H + unit;
                    store<V>(out, load<V>(out, H - unit) + tile[r][j], H - unit);
                }
        });
    });
}

// Outputs are split between threads, never the sum over rows.
template <class T, int V, class S, class W>
void weight_adjoints(const Backward<T, S>& b, const SummedRows<W>& rows, int rank, int size) {
    const int64_t D = b.sizes.D, width = D + recurrent_columns<V>(b.sizes);
    const Part columns(blocks_of<V>(b.sizes.H) * width, rank, size);
    for (int64_t at = columns.begin; at < columns.end;) {
        const int64_t block = at / width, begin = at % width;
        const int64_t end = columns.end - block * width < width ? columns.end - block * width : width;
        const BlockPanel<W, V> dgates{rows.dgates + block * rows.dgates_block, rows.dgates_row};
        if (b.db && begin == 0) bias_adjoint<T, V>(dgates, rows.count, b.db + block * 4 * V, rows.first);
        if (b.dW_ih && begin < D)
            weight_adjoint<T, V>(rows.x, rows.x_count, dgates, b.dW_ih + block * D * 4 * V, begin,
                                 end < D ? end : D, rows.first);
        if (b.dW_hh && end > D) {
            const Range read = columns_of_block<V>(b.sizes, block);
            const int64_t first = read.begin + (begin > D ? begin - D : 0), last = read.begin + end - D;
            weight_adjoint<T, V>(rows.h, rows.h_count, dgates,
                                 b.dW_hh + (block * (width - D) - read.begin) * 4 * V, first,
                                 last < read.end ? last : read.end, rows.first);
        }
        at = block * width + end;
    }
    if (b.dW_hr) {
        const Part p(b.sizes.P, rank, size);
        projection_adjoint<T, V>(b.sizes, rows, b.dW_hr, p.begin, p.end);
    }
}

// The dgates of rows of the chunk, to those who form products of their own from them.
template <class T, int V, class S>
void give_dgates(const Backward<T, S>& b, const Chunk<T, S>& chunk, int64_t row_begin, int64_t row_end) {
    const int64_t H = b.sizes.H, blocks = blocks_of<V>(H);
    for (int64_t row = row_begin; row < row_end; ++row) {
        T* const out = place_in(b.dpre, b, chunk, row);
        const T* from = chunk.dgates + row * blocks * 4 * V;
        for (int64_t unit = 0; unit < H; unit += V)
            for (int64_t gate = 0; gate < 4; ++gate, from += V)
                store<V>(out + gate * H + unit, load<V>(from), H - unit);
    }
}

// Of the general cell: general_adjoint.h.
template <class T, int V, class S>
void vector_adjoints(const Backward<T, S>& b, const Chunk<T, S>& chunk, int rank, int size);

template <class T, int V, class S>
void products(const Backward<T, S>& b, const Chunk<T, S>& chunk, int rank, int size) {
    using W = Operand<S>;
    const bool first = chunk.end == b.steps.T;
    if constexpr (!kPairs<S>)
        if (b.dpre.data) {
            const Part rows(chunk.rows, rank, size);
            give_dgates<T, V>(b, chunk, rows.begin, rows.end);
        }
    if (b.dvectors) vector_adjoints<T, V>(with_table(b), chunk, rank, size);
    if (b.dx.data) {
        const Part rows(chunk.rows, rank, size);
        input_adjoint<T, V, S>(b, chunk, rows.begin, rows.end);
    }
    if constexpr (kPairs<S>) {
        const RowPairs& pairs = chunk.pairs;
        const Segment<const W*> x{pairs.x, b.sizes.D, pairs.count}, h{pairs.h, b.sizes.P, pairs.count};
        const SummedRows<W> rows{
            pairs.count,      &x,           1,    &h, 1, pairs.dgates, pairs.count * 4 * V, 4 * V,
            pairs.dprojected, pairs.hidden, first};
        weight_adjoints<T, V>(b, rows, rank, size);
    } else {
        const int64_t row = blocks_of<V>(b.sizes.H) * 4 * V;
        const SummedRows<W> rows{chunk.rows, chunk.x, chunk.x_count,    chunk.h,      chunk.h_count, chunk.dgates,
                                 4 * V,      row,     chunk.dprojected, chunk.hidden, first};
        weight_adjoints<T, V>(b, rows, rank, size);
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
