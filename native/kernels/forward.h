// A sequence forward: one walk over the steps for some rows and some blocks of hidden units.
#pragma once

#include "kernels/cell.h"
#include "kernels/gemm.h"
#include "kernels/lstm.h"
#include "support/threads.h"

namespace gatewright::GATEWRIGHT_TARGET {

// bias + W_ih x of some steps at once, for one share: (steps, blocks, rows, 4, V), time ascending.
template <class T>
struct Ahead {
    T* data;
    int64_t first;  // the lowest time held
    int64_t blocks, rows;

    T* at(int64_t t, int64_t block, int64_t row, int64_t width) const {
        return data + (((t - first) * blocks + block) * rows + row) * width;
    }
};

template <class T, int V, int R>
GATEWRIGHT_INLINE void start_with_bias(Vec<T, V> (&tile)[R][4], const Forward<T>& f, int64_t block) {
    for (int j = 0; j < 4; ++j) {
        const Vec<T, V> bias = load<V>(f.panels.bias + (block * 4 + j) * V);
        GATEWRIGHT_UNROLL
        for (int r = 0; r < R; ++r) tile[r][j] = bias;
    }
}

// Asks for the memory that a tile will be written to, so that it arrives while the tile is computed.
template <class T, int V, int R>
GATEWRIGHT_INLINE void expect_writes(const Forward<T>& f, int64_t t, int64_t block, int64_t row) {
    if (!f.gates) return;
    const int64_t H = f.sizes.H, place = f.steps.start(t) + row - f.saved;
    for (int r = 0; r < R; ++r) {
        const T* const gates = f.gates + (place + r) * 4 * H + block * V;
        for (int j = 0; j < 4; ++j) __builtin_prefetch(gates + j * H, 1);
        __builtin_prefetch(f.cell + (place + r) * H + block * V, 1);
        if (f.y.data && !f.sizes.projected) __builtin_prefetch(f.y.at(f.steps, t, row + r) + block * V, 1);
    }
}

// Activates the pre-activations of some rows and writes all that step s leaves behind.  What does not depend on
// each other stands together: an activation takes some 80 cycles, but a new one can start in 12.
template <class T, int V, int R, bool Keep>
GATEWRIGHT_INLINE void finish_rows(const Vec<T, V> (*tile)[4], const Forward<T>& f, int64_t s, int64_t t,
                                   int64_t block, int64_t row) {
    const Sizes& n = f.sizes;
    const int64_t unit = block * V, lanes = n.H - unit;
    const int64_t place = f.steps.start(t) + row - f.saved;
    T* const h_next = n.projected ? f.hidden : f.h[1 - s % 2];
    const bool shown = f.y.data && !n.projected;
    Gates<T, V> gate[R];
    Vec<T, V> c[R];
    GATEWRIGHT_UNROLL
    for (int r = 0; r < R; ++r) {
        gate[r] = activate<T, V>(tile[r]);
        if constexpr (!Keep) continue;
        T* const gates = f.gates + (place + r) * 4 * n.H + unit;
        store<V>(gates, gate[r].i, lanes);
        store<V>(gates + n.H, gate[r].f, lanes);
        store<V>(gates + 2 * n.H, gate[r].g, lanes);
        store<V>(gates + 3 * n.H, gate[r].o, lanes);
    }
    GATEWRIGHT_UNROLL
    for (int r = 0; r < R; ++r) {
        T* const c_place = f.c + (row + r) * n.H + unit;
        c[r] = next_cell<T, V>(gate[r], load<V>(c_place, lanes));
        store<V>(c_place, c[r], lanes);
        if constexpr (Keep) store<V>(f.cell + (place + r) * n.H + unit, c[r], lanes);
    }
    GATEWRIGHT_UNROLL
    for (int r = 0; r < R; ++r) {
        const Vec<T, V> h = next_hidden<T, V>(gate[r], c[r]);
        store<V>(h_next + (row + r) * n.H + unit, h, lanes);
        if (shown) store<V>(f.y.at(f.steps, t, row + r) + unit, h, lanes);
    }
}

template <class T, int V, int R>
GATEWRIGHT_INLINE void finish(const Vec<T, V> (&tile)[R][4], const Forward<T>& f, int64_t s, int64_t t,
                              int64_t block, int64_t row) {
    if (!f.gates) return finish_rows<T, V, R, false>(tile, f, s, t, block, row);
    // Gates are kept in memory that is in no cache: more such writes at once would stop everything else.
    for (int r = 0; r < R; ++r) finish_rows<T, V, 1, true>(tile + r, f, s, t, block, row + r);
}

// Computes `count` steps ahead, from the lowest time on.
template <class T, int V>
void look_ahead(const Forward<T>& f, const Share& share, const Ahead<T>& ahead, int64_t count) {
    const int64_t D = f.sizes.D, rows = ahead.rows;
    // Where rows of successive steps stand at one distance, tiles go across steps.
    const bool joined = !f.steps.sizes && rows == f.sizes.B && (rows == 1 || f.x.step == f.x.row * rows);
    const int64_t stride = rows == 1 ? f.x.step : f.x.row;
    for (int64_t block = share.block_begin; block < share.block_end; ++block) {
        const T* const panel = f.panels.W_ih + block * D * 4 * V;
        for (int64_t step = 0; step < (joined ? 1 : count); ++step) {
            const int64_t t = ahead.first + step;
            const T* const x = f.x.at(f.steps, t, share.row_begin);
            const int64_t own = joined ? rows * count : f.steps.rows(t) - share.row_begin;
            for_tiles(0, joined || own < rows ? own : rows, [&]<int R>(int64_t first) {
                Vec<T, V> tile[R][4];
                start_with_bias<T, V, R>(tile, f, block);
                accumulate<R, 4, V>(tile, x + first * stride, stride, 1, panel, D);
                for (int r = 0; r < R; ++r) {
                    const int64_t place = first + r;
                    T* const out = ahead.at(t + place / rows, block - share.block_begin, place % rows, 4 * V);
                    for (int j = 0; j < 4; ++j) store<V>(out + j * V, tile[r][j]);
                }
            });
        }
    }
}

template <class T, int V>
void step(const Forward<T>& f, const Share& share, const Ahead<T>* ahead, int64_t s, int64_t row_end) {
    const Sizes& n = f.sizes;
    const int64_t t = f.steps.time(s);
    const T* const h = f.h[s % 2];
    for (int64_t k = share.block_begin; k < share.block_end; ++k) {
        // To and fro, so that a step begins with the weights that the one before left in the second cache.
        const int64_t block = s % 2 ? share.block_begin + share.block_end - 1 - k : k;
        for_tiles(share.row_begin, row_end, [&]<int R>(int64_t row) {
            Vec<T, V> tile[R][4];
            expect_writes<T, V, R>(f, t, block, row);
            if (ahead) {
                const T* const from = ahead->at(t, block - share.block_begin, row - share.row_begin, 4 * V);
                GATEWRIGHT_UNROLL
                for (int r = 0; r < R; ++r)
                    for (int j = 0; j < 4; ++j) tile[r][j] = load<V>(from + (r * 4 + j) * V);
            } else {
                start_with_bias<T, V, R>(tile, f, block);
                accumulate<R, 4, V>(tile, f.x.at(f.steps, t, row), f.x.row, 1, f.panels.W_ih + block * n.D * 4 * V,
                                    n.D);
            }
            accumulate<R, 4, V>(tile, h + row * n.P, n.P, 1, f.panels.W_hh + block * n.P * 4 * V, n.P);
            finish<T, V, R>(tile, f, s, t, block, row);
        });
    }
}

// h = W_hr o tanh(c)   (Sak et al. 2014, arXiv:1402.1128, equation 11, without the non-recurrent part)
template <class T, int V>
void project(const Forward<T>& f, int64_t s, int64_t row_begin, int64_t row_end) {
    const Sizes& n = f.sizes;
    const int64_t t = f.steps.time(s);
    product<V>(Left<T>{f.hidden, n.H, 1, n.H, 0}, row_begin, row_end, f.panels.W_hr, 0, blocks_of<V>(n.P), n.P,
               [&](int64_t row, int64_t column, Vec<T, V> value, int64_t lanes) {
                   store<V>(f.h[1 - s % 2] + row * n.P + column, value, lanes);
                   if (f.y.data) store<V>(f.y.at(f.steps, t, row) + column, value, lanes);
               });
}

template <class T, int V>
void keep_checkpoint(const Forward<T>& f, const Share& share, int64_t s) {
    const int64_t H = f.sizes.H;
    const int64_t end = share.block_end * V < H ? share.block_end * V : H;
    T* const place = f.checkpoints + s / f.every * f.sizes.B * H;
    for (int64_t b = share.row_begin; b < share.row_end; ++b)
        for (int64_t k = share.block_begin * V; k < end; ++k) place[b * H + k] = f.c[b * H + k];
}

template <class T, int V>
void forward(const Forward<T>& f, const Share& share, Team* barrier) {
    const int64_t rows = share.row_end - share.row_begin;
    Ahead<T> ahead{f.ahead ? f.ahead + share.rank * f.ahead_size : nullptr, 0, share.block_end - share.block_begin,
                   rows};
    for (int64_t s = f.begin; s < f.end; ++s) {
        const int64_t t = f.steps.time(s), with_step = f.steps.rows(t);
        const int64_t row_end = share.row_end < with_step ? share.row_end : with_step;
        if (f.checkpoints && s % f.every == 0) keep_checkpoint<T, V>(f, share, s);
        if (ahead.data && (s - f.begin) % f.ahead_steps == 0) {
            const int64_t count = f.end - s < f.ahead_steps ? f.end - s : f.ahead_steps;
            ahead.first = f.steps.reverse ? t - count + 1 : t;
            look_ahead<T, V>(f, share, ahead, count);
        }
        step<T, V>(f, share, ahead.data ? &ahead : nullptr, s, row_end);
        if (f.sizes.projected) project<T, V>(f, s, share.row_begin, row_end);
        if (barrier) barrier->barrier();
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
