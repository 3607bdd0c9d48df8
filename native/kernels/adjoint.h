// A sequence backward, chunk by chunk: the recurrence, then the products over all rows of the chunk.
#pragma once

#include "kernels/cell.h"
#include "kernels/gemm.h"
#include "kernels/lstm.h"
#include "support/threads.h"

namespace gatewright::GATEWRIGHT_TARGET {

// c before step s in row b.
template <class T>
GATEWRIGHT_INLINE const T* cell_before(const Backward<T>& b, int64_t s, int64_t row) {
    const int64_t H = b.sizes.H;
    if (s == b.first && b.c_before) return b.c_before + row * H;
    if (s == 0) return b.c_0 + row * H;
    const int64_t t = b.steps.time(s - 1);
    return row < b.steps.rows(t) ? b.cell + (b.steps.start(t) + row - b.saved) * H : b.c_0 + row * H;
}

template <class T>
GATEWRIGHT_INLINE const T* row_or_null(const Rows<const T>& rows, const Steps& steps, int64_t t, int64_t row) {
    return rows.data ? rows.at(steps, t, row) : nullptr;
}

// dgates of one row at step s, for these blocks.
template <class T, int V>
void adjoint_row(const Backward<T>& b, const Chunk<T>& chunk, int64_t s, int64_t row, int64_t block_begin,
                 int64_t block_end) {
    const bool projected = b.sizes.projected;
    const int64_t H = b.sizes.H, t = b.steps.time(s), place = b.steps.start(t) + row - b.saved;
    const int64_t local = chunk.first[s - chunk.begin] + row;
    const T* const gates = b.gates + place * 4 * H;
    const T* const cell = b.cell + place * H;
    const T* const before = cell_before(b, s, row);
    const T* const dgates_in = row_or_null(b.dgates_in, b.steps, t, row);
    const T* const dcell_in = row_or_null(b.dcell_in, b.steps, t, row);
    // With a projection dy has gone into dh already.
    const T* const dy = projected ? nullptr : row_or_null(b.dy, b.steps, t, row);
    const T* const dh = projected ? chunk.dhidden + row * H : b.dh + row * H;
    T* const dc = b.dc + row * H;
    T* out = chunk.dgates + (local * blocks_of<V>(H) + block_begin) * 4 * V;
    for (int64_t block = block_begin; block < block_end; ++block, out += 4 * V) {
        const int64_t unit = block * V, lanes = H - unit;
        Gates<T, V> d{};
        if (dgates_in) d = load_gates<T, V>(dgates_in + unit, H, lanes);
        Vec<T, V> dc_next = load<V>(dc + unit, lanes), dh_next = load<V>(dh + unit, lanes);
        if (dcell_in) dc_next += load<V>(dcell_in + unit, lanes);
        if (dy) dh_next += load<V>(dy + unit, lanes);
        const Gates<T, V> gate = load_gates<T, V>(gates + unit, H, lanes);
        const Vec<T, V> c = load<V>(cell + unit, lanes);
        const auto adjoint = cell_adjoint<T, V>(gate, load<V>(before + unit, lanes), c, dh_next, dc_next, d);
        store<V>(dc + unit, adjoint.dc, lanes);
        store<V>(out, adjoint.dpre.i);
        store<V>(out + V, adjoint.dpre.f);
        store<V>(out + 2 * V, adjoint.dpre.g);
        store<V>(out + 3 * V, adjoint.dpre.o);
        if (projected) {
            const int64_t group = block / kGroup * kGroup, left = blocks_of<V>(H) - group;
            const int64_t vectors = left < kGroup ? left : kGroup;
            store<V>(chunk.hidden + (group * chunk.rows + local * vectors + block - group) * V,
                     next_hidden<T, V>(gate, c));
        }
    }
}

// Asks for what the adjoint of a row will read: going back in time is not what hardware foresees.
template <class T>
GATEWRIGHT_INLINE void expect_reads(const Backward<T>& b, int64_t s, int64_t row) {
    constexpr int64_t kLine = 64 / sizeof(T);
    const int64_t H = b.sizes.H, t = b.steps.time(s), place = b.steps.start(t) + row - b.saved;
    for (int64_t k = 0; k < 4 * H; k += kLine) __builtin_prefetch(b.gates + place * 4 * H + k);
    for (int64_t k = 0; k < H; k += kLine) __builtin_prefetch(b.cell + place * H + k);
    if (b.dy.data)
        for (int64_t k = 0; k < b.sizes.P; k += kLine) __builtin_prefetch(b.dy.at(b.steps, t, row) + k);
}

// dh before projection from dh after it.
template <class T, int V>
void project_adjoint(const Backward<T>& b, const Chunk<T>& chunk, int64_t s, int64_t row_begin, int64_t row_end) {
    const Sizes& n = b.sizes;
    T* const projected = chunk.dprojected + chunk.first[s - chunk.begin] * n.P;
    for (int64_t row = row_begin; row < row_end; ++row) {
        const T* const dy = b.dy.data ? b.dy.at(b.steps, b.steps.time(s), row) : nullptr;
        for (int64_t k = 0; k < n.P; ++k) projected[row * n.P + k] = b.dh[row * n.P + k] + (dy ? dy[k] : T(0));
    }
    product<V>(Left<T>{projected, n.P, 1, n.P, 0}, row_begin, row_end, b.panels.W_hr_t, 0, blocks_of<V>(n.H), n.H,
               [&](int64_t row, int64_t column, Vec<T, V> value, int64_t lanes) {
                   store<V>(chunk.dhidden + row * n.H + column, value, lanes);
               });
}

template <class T, int V>
void adjoint(const Backward<T>& b, const Chunk<T>& chunk, const Share& share, Team* barrier) {
    const Sizes& n = b.sizes;
    const int64_t blocks = blocks_of<V>(n.H), depth = blocks * 4 * V;
    // With all units of its rows a share also gives all of dh, whose width is another where it is projected.
    const int64_t columns_begin = barrier ? share.block_begin : 0;
    const int64_t columns_end = barrier ? share.block_end : blocks_of<V>(n.P);
    for (int64_t s = chunk.end - 1; s >= chunk.begin; --s) {
        const int64_t with_step = b.steps.rows(b.steps.time(s));
        const int64_t row_end = share.row_end < with_step ? share.row_end : with_step;
        if (n.projected) project_adjoint<T, V>(b, chunk, s, share.row_begin, row_end);
        for (int64_t row = share.row_begin; row < row_end; ++row) {
            constexpr int64_t kAhead = 2;  // rows
            if (row + kAhead < row_end)
                expect_reads(b, s, row + kAhead);
            else if (s > chunk.begin)  // its first rows follow
                expect_reads(b, s - 1, share.row_begin + row + kAhead - row_end);
            adjoint_row<T, V>(b, chunk, s, row, share.block_begin, share.block_end);
        }
        if (barrier) barrier->barrier();
        const Left<T> dgates{chunk.dgates + chunk.first[s - chunk.begin] * depth, depth, 1, depth, 0};
        product<V>(dgates, share.row_begin, row_end, b.panels.W_hh_t, columns_begin, columns_end, n.P,
                   [&](int64_t row, int64_t column, Vec<T, V> value, int64_t lanes) {
                       store<V>(b.dh + row * n.P + column, value, lanes);
                   });
    }
}

// Where row `local` of a chunk stands in dx.
template <class T>
GATEWRIGHT_INLINE T* place_in_dx(const Backward<T>& b, const Chunk<T>& chunk, int64_t local) {
    int64_t step = local / b.steps.B;  // no step has more rows than that
    while (chunk.first[step + 1] <= local) ++step;
    return b.dx.at(b.steps, b.steps.time(chunk.begin + step), local - chunk.first[step]);
}

template <class T, int V>
void input_adjoint(const Backward<T>& b, const Chunk<T>& chunk, int64_t row_begin, int64_t row_end) {
    const int64_t D = b.sizes.D, blocks = blocks_of<V>(b.sizes.H);
    if (D > kNarrowInput) {
        const int64_t depth = blocks * 4 * V;
        product<V>(Left<T>{chunk.dgates, depth, 1, depth, 0}, row_begin, row_end, b.panels.W_ih_t, 0,
                   blocks_of<V>(D), D, [&](int64_t row, int64_t column, Vec<T, V> value, int64_t lanes) {
                       store<V>(place_in_dx(b, chunk, row) + column, value, lanes);
                   });
        return;
    }
    for (int64_t row = row_begin; row < row_end; ++row) {
        T* const dx = place_in_dx(b, chunk, row);
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
}

// The dgates of one block: its four vectors in each row.
template <class T, int V>
struct BlockPanel {
    const T* row;
    int64_t apart;  // from one row to the next

    GATEWRIGHT_INLINE Vec<T, V> vector(int j) const { return load<V>(row + j * V); }
    GATEWRIGHT_INLINE void next() { row += apart; }
};

// dW[column][gate][unit] += sum over rows of left[row][column] * dgates[row][gate][unit], for one block.
template <class T, int V>
void weight_adjoint(const Segment<T>* left, int64_t segments, BlockPanel<T, V> dgates, T* dW, int64_t begin,
                    int64_t end) {
    for_tiles(begin, end, [&]<int R>(int64_t column) {
        T* const out = dW + column * 4 * V;
        // Gradients of large layers are in no near cache: ask for the tile, so that it arrives during the sum.
        GATEWRIGHT_UNROLL
        for (int j = 0; j < R * 4; ++j) __builtin_prefetch(out + j * V, 1);
        Vec<T, V> tile[R][4]{};
        BlockPanel<T, V> panel = dgates;
        for (int64_t n = 0; n < segments; ++n) {
            accumulate<R, 4, V, T>(tile, left[n].data + column, 1, left[n].row, panel, left[n].count);
            panel.row += left[n].count * panel.apart;
        }
        for (int r = 0; r < R; ++r)
            for (int j = 0; j < 4; ++j) {
                T* const place = out + (r * 4 + j) * V;
                store<V>(place, load<V>(place) + tile[r][j]);
            }
    });
}

template <class T, int V>
void bias_adjoint(BlockPanel<T, V> dgates, int64_t rows, T* db) {
    Vec<T, V> sum[4]{};
    for (int64_t row = 0; row < rows; ++row, dgates.next()) {
        GATEWRIGHT_UNROLL
        for (int j = 0; j < 4; ++j) sum[j] += dgates.vector(j);
    }
    for (int j = 0; j < 4; ++j) store<V>(db + j * V, load<V>(db + j * V) + sum[j]);
}

// dW_hr[p][unit] += sum over rows of dprojected[row][p] * hidden[row][unit].
template <class T, int V>
void projection_adjoint(const Backward<T>& b, const Chunk<T>& chunk, int64_t begin, int64_t end) {
    const int64_t H = b.sizes.H, P = b.sizes.P, blocks = blocks_of<V>(H);
    for_groups(0, blocks, blocks, [&]<int N>(int64_t block) {
        for_tiles(begin, end, [&]<int R>(int64_t p) {
            Vec<T, V> tile[R][N]{};
            accumulate<R, N, V, T>(tile, chunk.dprojected + p, 1, P,
                                   FullPanel<T, V, N>{chunk.hidden + block * chunk.rows * V}, chunk.rows);
            for (int r = 0; r < R; ++r)
                for (int j = 0; j < N; ++j) {
                    const int64_t unit = (block + j) * V;
                    T* const out = b.dW_hr + (p + r) * H + unit;
                    store<V>(out, load<V>(out, H - unit) + tile[r][j], H - unit);
                }
        });
    });
}

// What a chunk gives to dx and to the weights.  Outputs are split between threads, never the sum over rows.
template <class T, int V>
void products(const Backward<T>& b, const Chunk<T>& chunk, int rank, int size) {
    const int64_t D = b.sizes.D, P = b.sizes.P, width = D + P;
    if (b.dx.data) {
        const Part rows(chunk.rows, rank, size);
        input_adjoint<T, V>(b, chunk, rows.begin, rows.end);
    }
    const Part columns(blocks_of<V>(b.sizes.H) * width, rank, size);
    for (int64_t at = columns.begin; at < columns.end;) {
        const int64_t block = at / width, begin = at % width;
        const int64_t end = columns.end - block * width < width ? columns.end - block * width : width;
        const BlockPanel<T, V> dgates{chunk.dgates + block * 4 * V, blocks_of<V>(b.sizes.H) * 4 * V};
        if (b.db && begin == 0) bias_adjoint<T, V>(dgates, chunk.rows, b.db + block * 4 * V);
        if (b.dW_ih && begin < D)
            weight_adjoint<T, V>(chunk.x, chunk.x_count, dgates, b.dW_ih + block * D * 4 * V, begin,
                                 end < D ? end : D);
        if (b.dW_hh && end > D)
            weight_adjoint<T, V>(chunk.h, chunk.h_count, dgates, b.dW_hh + block * P * 4 * V,
                                 begin > D ? begin - D : 0, end - D);
        at = block * width + end;
    }
    if (b.dW_hr) {
        const Part p(P, rank, size);
        projection_adjoint<T, V>(b, chunk, p.begin, p.end);
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
