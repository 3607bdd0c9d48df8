// A sequence forward: one walk over the steps for some rows and some blocks of hidden units.
#pragma once

#include "kernels/cell.h"
#include "kernels/heads.h"
#include "kernels/look_ahead.h"
#include "kernels/walk_rows.h"
#include "support/threads.h"

namespace gatewright::GATEWRIGHT_TARGET {

template <class T, int V, class S>
void draw_step(const Forward<T, S>& f, const Share& share, int64_t t, int64_t row_end);
template <class T, int V, class S>
void finish_general(const Forward<T, S>& f, const Share& share, const T* tile, int64_t rows, int64_t s, int64_t t,
                    int64_t block, int64_t row);
template <class T, int V, class S>
void finish_normed(const Forward<T, S>& f, const Share& share, T* pre, int64_t s, int64_t t, int64_t row);
template <class T, int V, class S>
void finish_slstm(const Forward<T, S>& f, const T* tile, int64_t rows, int64_t s, int64_t t, int64_t block,
                  int64_t row);

// Asks for the memory that a tile will be written to, so that it arrives while the tile is computed.
template <class T, int V, int R, bool Tabled, class S>
GATEWRIGHT_INLINE void expect_writes(const Forward<T, S>& f, int64_t t, int64_t block, int64_t row) {
    const int64_t H = f.sizes.H, first = f.steps.start(t) + row - f.saved;
    for (int r = 0; r < R; ++r) {
        if (f.y.data && !f.sizes.projected)
            __builtin_prefetch(address(row_at<Tabled>(f, f.y, t, row + r) + block * V), 1);
        if (!f.gates) continue;
        const int64_t place = Tabled ? kept_at<Tabled>(f, t, row + r) : first + r;
        const auto gates = f.gates + (place * 4 * H + block * V);
        for (int j = 0; j < 4; ++j) __builtin_prefetch(address(gates + j * H), 1);
        __builtin_prefetch(address(f.cell + (place * H + block * V)), 1);
    }
}

// Activates the pre-activations of some rows and writes all that step s leaves behind.  What does not depend on
// each other stands together: an activation takes some 80 cycles, but a new one can start in 12.
template <class T, int V, int R, bool Keep, bool Tabled, class S>
GATEWRIGHT_INLINE void finish_rows(const Vec<T, V> (*tile)[4], const Forward<T, S>& f, int64_t s, int64_t t,
                                   int64_t block, int64_t row) {
    const Sizes& n = f.sizes;
    const int64_t unit = block * V, H = n.H, lanes = H - unit, y_row = f.y.row, width = operands_of<Operand<S>>(H);
    const int64_t first = f.steps.start(t) + row - f.saved;
    const auto place = [&](int r) { return Tabled ? kept_at<Tabled>(f, t, row + r) : first + r; };
    // Read once: what is stored below could be any of f, as far as a compiler sees.
    const bool projected = n.projected;
    Operand<S>* const h_next = (projected ? f.hidden : f.h[1 - s % 2]) + row * width;
    T* const c_rows = f.c + row * H + unit;
    typename Stored<S>::Out y = nullptr;
    if (f.y.data && !projected) y = row_at<Tabled>(f, f.y, t, row) + unit;
    const int64_t last = projected ? R : rows_going_on(f, s) - row;
    T* const h_last = last < R ? f.h_last + row * H + unit : nullptr;
    const auto gates = f.gates, cell = f.cell;
    Gates<T, V> gate[R];
    Vec<T, V> c[R];
    GATEWRIGHT_UNROLL
    for (int r = 0; r < R; ++r) {
        gate[r] = activate<T, V>(tile[r]);
        if constexpr (!Keep) continue;
        const auto out = gates + (place(r) * 4 * H + unit);
        store_as<T, V>(out, gate[r].i, lanes);
        store_as<T, V>(out + H, gate[r].f, lanes);
        store_as<T, V>(out + 2 * H, gate[r].g, lanes);
        store_as<T, V>(out + 3 * H, gate[r].o, lanes);
    }
    GATEWRIGHT_UNROLL
    for (int r = 0; r < R; ++r) {
        c[r] = next_cell<T, V>(gate[r], load<V>(c_rows + r * H, lanes));
        store<V>(c_rows + r * H, c[r], lanes);
        if constexpr (Keep) store_as<T, V>(cell + (place(r) * H + unit), c[r], lanes);
    }
    GATEWRIGHT_UNROLL
    for (int r = 0; r < R; ++r) {
        const Vec<T, V> h = next_hidden<T, V>(gate[r], c[r]);
        store_operands<T, V>(h_next + r * width, unit, h, lanes);
        if (r >= last) store<V>(h_last + r * H, h, lanes);
        if (y) store_as<T, V>(Tabled ? f.y.at(place_of(f, t, row + r)) + unit : y + r * y_row, h, lanes);
    }
}

template <class T, int V, int R, bool Tabled, class S>
GATEWRIGHT_INLINE void finish(const Vec<T, V> (&tile)[R][4], const Forward<T, S>& f, int64_t s, int64_t t,
                              int64_t block, int64_t row) {
    if constexpr (R <= kVectorRows) {
        if (!f.gates) return finish_rows<T, V, R, false, Tabled>(tile, f, s, t, block, row);
    } else if (!f.gates) {
        for (int r = 0; r < R; r += kVectorRows)
            finish_rows<T, V, kVectorRows, false, Tabled>(tile + r, f, s, t, block, row + r);
        return;
    }
    // Gates are kept in memory that is in no cache: more such writes at once would stop everything else.  In
    // bfloat16 they are half as many.
    constexpr int kTogether = kPairs<S> && R % 3 == 0 ? 3 : 1;
    for (int r = 0; r < R; r += kTogether)
        finish_rows<T, V, kTogether, true, Tabled>(tile + r, f, s, t, block, row + r);
}

// The gates of a row of a share before layer norm, (blocks, 4, V).
template <class T, int V, class S>
GATEWRIGHT_INLINE T* before_norm(const Forward<T, S>& f, const Share& share, int64_t row) {
    return f.before_norm +
           (share.rank * f.before_norm_rows + row - share.row_begin) * blocks_of<V>(f.sizes.H) * 4 * V;
}

// What h adds to a tile, head by head: a W_hh that is whole is one.
template <class Recurrent, class T, int V, int R, class S, class Hidden>
GATEWRIGHT_INLINE void add_heads(Vec<T, V> (&tile)[R][4], const Forward<T, S>& f, const Hidden& h, int64_t row,
                                 int64_t block) {
    using W = PanelElement<T, S>;
    const Sizes& n = f.sizes;
    const int64_t depth = depth_of<Recurrent, S>(n.read());
    const Range heads = heads_of_block<V>(n, block);
    Recurrent W_hh(Recurrent::recurrent(f.panels), block, recurrent_rows<W, V>(n));
    for (int64_t head = heads.begin; head < heads.end; ++head) {
        add_gates<R, V, T>(tile, h.at(row) + first_operand<W>(n, head), h.row, W_hh, depth, h.scales_at(row));
        W_hh.row += depth * 4 * V;
    }
}

// One step: gates, cell state and hidden state of a share, before projection.
template <class Format, class T, int V, bool General, bool Tabled, class S>
void step(const Forward<T, S>& f, const Share& share, const Ahead<T, V>& ahead, int64_t s, int64_t row_end) {
    using Input = typename Format::Input;
    using Recurrent = typename Format::Recurrent;
    const Sizes& n = f.sizes;
    const int64_t t = f.steps.time(s), D = depth_of<Input, S>(n.D), P = depth_of<Recurrent, S>(n.P);
    const auto h = hidden_rows<Recurrent, T, V>(f, share, s, row_end);
    OperandRows<LeftOf<Input, S>> x{};
    if (!ahead.data) x = input_rows<Input, T, V, Tabled>(f, share, t, row_end);
    if constexpr (General) draw_step<T, V>(f, share, t, row_end);
    for (int64_t k = share.block_begin; k < share.block_end; ++k) {
        // To and fro, so that a step begins with the weights that the one before left in the second cache.
        const int64_t block = s % 2 ? share.block_begin + share.block_end - 1 - k : k;
        const Input W_ih(Input::input(f.panels), block, D);
        const Recurrent W_hh(Recurrent::recurrent(f.panels), block, P);
        for_tiles<Format::kRows>(share.row_begin, row_end, [&]<int R>(int64_t row) {
            Vec<T, V> tile[R][4];
            expect_writes<T, V, R, Tabled>(f, t, block, row);
            if (ahead.data) {
                const T* const start = ahead.at(block - share.block_begin, t, row - share.row_begin);
                GATEWRIGHT_UNROLL
                for (int r = 0; r < R; ++r)
                    for (int j = 0; j < 4; ++j) tile[r][j] = load<V>(start + r * ahead.kRow + j * V);
            } else {
                start_with_bias<T, V, R>(tile, f, block);
                const int64_t n = row - share.row_begin;
                add_gates<R, V, T>(tile, x.at(n), x.row, W_ih, D, x.scales_at(n));
            }
            if constexpr (General)
                add_heads<Recurrent, T, V>(tile, f, h, row, block);
            else
                add_gates<R, V, T>(tile, h.at(row), h.row, W_hh, P, h.scales_at(row));
            if constexpr (General) {
                T here[R * 4 * V];
                const bool normed = f.variant.gains != nullptr;
                T* const to = normed ? before_norm<T, V>(f, share, row) + block * 4 * V : here;
                const int64_t apart = normed ? blocks_of<V>(n.H) * 4 * V : 4 * V;
                for (int r = 0; r < R; ++r)
                    for (int j = 0; j < 4; ++j) store<V>(to + r * apart + j * V, tile[r][j]);
                if (f.variant.slstm)
                    finish_slstm<T, V>(f, here, R, s, t, block, row);
                else if (!normed)
                    finish_general<T, V>(f, share, here, R, s, t, block, row);
            } else {
                finish<T, V, R, Tabled>(tile, f, s, t, block, row);
            }
        });
    }
    if constexpr (General)
        for (int64_t row = share.row_begin; f.variant.gains && row < row_end; ++row)
            finish_normed<T, V>(f, share, before_norm<T, V>(f, share, row), s, t, row);
}

// h = W_hr o tanh(c)   (Sak et al. 2014, arXiv:1402.1128, equation 11, without the non-recurrent part)
template <class T, int V, bool Tabled, class S>
void project(const Forward<T, S>& f, int64_t s, int64_t row_begin, int64_t row_end) {
    const Sizes& n = f.sizes;
    const int64_t t = f.steps.time(s), H = operands_of<Operand<S>>(n.H), P = operands_of<Operand<S>>(n.P);
    const int64_t last = rows_kept(f, s);
    const T* const mask = f.mask;
    product<V>(Left<Operand<S>>{f.hidden, H, 1, H, 0}, row_begin, row_end, f.panels.W_hr, 0, blocks_of<V>(n.P),
               n.P, [&](int64_t row, int64_t column, Vec<T, V> value, int64_t lanes) {
                   if (row >= last) store<V>(f.h_last + row * n.P + column, value, lanes);
                   if (f.y.data) store_as<T, V>(row_at<Tabled>(f, f.y, t, row) + column, value, lanes);
                   if (mask) value = value * load<V>(mask + row * n.P + column, lanes);
                   store_operands<T, V>(f.h[1 - s % 2] + row * P, column, value, lanes);
               });
}

template <class T, int V, class S>
void keep_checkpoint(const Forward<T, S>& f, const Share& share, int64_t s) {
    const int64_t H = f.sizes.H, rows = f.variant.cell_rows();
    const int64_t end = share.block_end * V < H ? share.block_end * V : H;
    T* const place = f.checkpoints + s / f.every * f.sizes.B * rows * H;
    for (int64_t b = share.row_begin * rows; b < share.row_end * rows; ++b)
        for (int64_t k = share.block_begin * V; k < end; ++k) place[b * H + k] = f.c[b * H + k];
}

// Puts the reset state in the place of that before step s, in the rows where it is cut: what a share writes of it.
template <class T, int V, bool General, class S>
void cut_states(const Forward<T, S>& f, const Share& share, int64_t s) {
    const int64_t P = f.sizes.P, H = f.sizes.H, first = f.steps.start(f.steps.time(s));
    const int64_t with_step = f.steps.rows(f.steps.time(s));
    const int64_t end = share.block_end, h_end = f.sizes.projected ? blocks_of<V>(P) : end;
    for (int64_t row = share.row_begin; row < share.row_end && row < with_step; ++row) {
        if (!(f.table->before[first + row] & kCut)) continue;
        const int64_t b = f.table->caller(row);
        Operand<S>* const h = f.h[s % 2] + row * operands_of<Operand<S>>(P);
        for (int64_t k = share.block_begin * V; k < h_end * V && k < P; k += V) {
            Vec<T, V> state = load<V>(f.reset.h + b * f.reset.h_row + k, P - k);
            if (General && f.variant.keeps_hidden()) store<V>(f.h_last + row * P + k, state, P - k);
            if (General && f.mask) state = state * load<V>(f.mask + row * P + k, P - k);
            store_operands<T, V>(h, k, state, P - k);
        }
        const int64_t c_rows = General ? f.variant.cell_rows() : 1;
        for (int64_t n = 0; n < c_rows; ++n) {
            const T* const from = f.reset.c + b * f.reset.c_row + n * H;
            T* const to = f.c + (row * c_rows + n) * H;
            for (int64_t k = share.block_begin * V; k < end * V && k < H; k += V)
                store<V>(to + k, load<V>(from + k, H - k), H - k);
        }
    }
}

// General: whether the cell is another than the plain one; Tabled: whether it looks at a table of steps, as the
// general one always does.  A walk without these has no trace of them.
template <class Format, class T, int V, bool General = false, bool Tabled = General, class S>
void walk(const Forward<T, S>& f, const Share& share, Team* barrier) {
    Ahead<T, V> ahead = ahead_of<T, V>(f, share);
    if constexpr (Tabled)
        if (f.table->before && f.begin < f.end) {
            cut_states<T, V, General>(f, share, f.begin);
            if (barrier) barrier->barrier();
        }
    for (int64_t s = f.begin; s < f.end; ++s) {
        const int64_t t = f.steps.time(s), with_step = f.steps.rows(t);
        const int64_t row_end = share.row_end < with_step ? share.row_end : with_step;
        if (f.checkpoints && s % f.every == 0) keep_checkpoint<T, V>(f, share, s);
        if (ahead.data && (s - f.begin) % f.ahead_steps == 0) {
            const int64_t steps = f.end - s < f.ahead_steps ? f.end - s : f.ahead_steps;
            ahead.first_time = f.steps.reverse ? t - steps + 1 : t;
            look_ahead<typename Format::Input, T, V>(f, share, ahead, steps);
        }
        step<Format, T, V, General, Tabled>(f, share, ahead, s, row_end);
        if (f.sizes.projected) project<T, V, Tabled>(f, s, share.row_begin, row_end);
        if constexpr (Tabled)
            if (f.table->before && s + 1 < f.end) cut_states<T, V, General>(f, share, s + 1);
        if (barrier) barrier->barrier();
    }
}

template <class T, class S, int V>
void forward(const Forward<T, S>& f, const Share& share, Team* barrier) {
    using Full = GatePanel<PanelElement<T, S>, V>;
    if constexpr (std::is_same_v<T, float> && std::is_same_v<S, float>)
        if (f.panels.format == WeightFormat::bfloat16) return walk<BFloat16Panel<T, V>, T, V>(f, share, barrier);
    if (f.variant.general) return walk<Full, T, V, true>(with_table(f), share, barrier);
    if (f.table) return walk<Full, T, V, false, true>(f, share, barrier);
    walk<Full, T, V>(f, share, barrier);
}

template <int V>
void int8_forward(const Forward<float>& f, const Share& share, Team* barrier) {
    switch (f.panels.narrow_hh.operands) {
        case Bytes::none:
            return walk<WidenedFormat<V>, float, V>(f, share, barrier);
        case Bytes::of_one:
            return walk<ByteFormat<V, false>, float, V>(f, share, barrier);
        case Bytes::of_row:
            return walk<ByteFormat<V, true>, float, V>(f, share, barrier);
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
