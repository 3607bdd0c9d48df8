// A sequence backward, chunk by chunk: the recurrence.  Then products.h, over all rows of the chunk.
#pragma once

#include "kernels/cell.h"
#include "kernels/forward.h"
#include "kernels/gemm.h"
#include "kernels/heads.h"
#include "kernels/lstm.h"
#include "support/threads.h"

namespace gatewright::GATEWRIGHT_TARGET {

// Of the general cell: general_adjoint.h.
template <class T, int V, class S>
void general_adjoint_row(const Backward<T, S>& b, const Chunk<T, S>& chunk, int64_t s, int64_t row,
                         const Share& share);
template <class T, int V, class S>
void finish_dh(const Backward<T, S>& b, int64_t row_begin, int64_t row_end, int64_t begin, int64_t end);

// Whether a row's step at time t starts from the reset state.
template <bool Tabled, class T, class S>
GATEWRIGHT_INLINE bool is_cut(const Backward<T, S>& b, int64_t t, int64_t row) {
    if constexpr (Tabled) return b.table->before && b.table->before[b.steps.start(t) + row] & kCut;
    return false;
}

// c before step s in row b.
template <bool Tabled, class T, class S>
GATEWRIGHT_INLINE typename Stored<S>::In cell_before(const Backward<T, S>& b, int64_t s, int64_t row) {
    const int64_t H = b.sizes.H;
    if constexpr (Tabled) {
        const int64_t caller = b.table->caller(row);
        if (is_cut<Tabled>(b, b.steps.time(s), row)) return b.reset.c + caller * b.reset.c_row;
        if (s == 0 || row >= b.steps.rows(b.steps.time(s - 1))) return b.c_0 + caller * H;
        if (s == b.first && b.c_before) return b.c_before + row * H;
        return b.cell + kept_at<Tabled>(b, b.steps.time(s - 1), row) * H;
    }
    if (s == 0 || row >= b.steps.rows(b.steps.time(s - 1))) return b.c_0 + row * H;
    if (s == b.first && b.c_before) return b.c_before + row * H;
    return b.cell + (b.steps.start(b.steps.time(s - 1)) + row - b.saved) * H;
}

template <bool Tabled, class Rows, class T, class S>
GATEWRIGHT_INLINE auto row_or_null(const Backward<T, S>& b, const Rows& rows, int64_t t, int64_t row) {
    return rows.data ? row_at<Tabled>(b, rows, t, row) : decltype(rows.data)(nullptr);
}

// Four vectors, i f g o, as operands of dh and dx.
template <class T, int V, class W>
GATEWRIGHT_INLINE void store_gates(W* out, const Gates<T, V>& gates) {
    if constexpr (std::is_same_v<W, T>) {
        store<V>(out, gates.i);
        store<V>(out + V, gates.f);
        store<V>(out + 2 * V, gates.g);
        store<V>(out + 3 * V, gates.o);
    } else {
        store<V>(out, paired<V>(gates.i, gates.f));
        store<V>(out + V, paired<V>(gates.g, gates.o));
    }
}

// o tanh(c) of one block of a row, for the gradient of the projection.
template <class T, int V, class S>
GATEWRIGHT_INLINE void store_hidden(const Chunk<T, S>& chunk, int64_t local, int64_t block, int64_t blocks,
                                    Vec<T, V> hidden) {
    if constexpr (kPairs<S>) {
        store_operands<T, V>(chunk.hidden + local * blocks * V / 2, block * V, hidden, V);
    } else {
        const int64_t group = block / kGroup * kGroup, left = blocks - group;
        const int64_t vectors = left < kGroup ? left : kGroup;
        store<V>(chunk.hidden + (group * chunk.rows + local * vectors + block - group) * V, hidden);
    }
}

// dgates of one row at step s, for these blocks.  Kept, Dy: how these are stored.
template <class T, int V, bool Tabled, class S, class Kept, class Dy>
void adjoint_row(const Backward<T, S>& b, const Chunk<T, S>& chunk, int64_t s, int64_t row, const Share& share,
                 Kept gates, Kept cell, Dy dy) {
    const bool projected = b.sizes.projected;
    const int64_t H = b.sizes.H, t = b.steps.time(s), blocks = blocks_of<V>(H);
    const int64_t local = chunk.first[s - chunk.begin] + row;
    constexpr int64_t kBlock = operands_of<Operand<S>>(4 * V);
    const auto before = cell_before<Tabled>(b, s, row);
    const auto dgates_in = row_or_null<Tabled>(b, b.dgates_in, t, row);
    const auto dcell_in = row_or_null<Tabled>(b, b.dcell_in, t, row);
    const T* const dh = projected ? chunk.dhidden + row * H : b.dh + row * H;
    T* const dc = b.dc + row * H;
    Operand<S>* const out = chunk.dgates + local * blocks * kBlock;
    const auto adjoint_block = [&](int64_t block, int64_t lanes) GATEWRIGHT_INLINE_LAMBDA {
        const int64_t unit = block * V;
        Gates<T, V> d{};
        if (dgates_in) d = load_gates<T, V>(dgates_in + unit, H, lanes);
        Vec<T, V> dc_next = load<V>(dc + unit, lanes), dh_next = load<V>(dh + unit, lanes);
        if (dcell_in) dc_next += load<V>(dcell_in + unit, lanes);
        if (dy) dh_next += load<V>(dy + unit, lanes);
        const Gates<T, V> gate = load_gates<T, V>(gates + unit, H, lanes);
        const Vec<T, V> c = load<V>(cell + unit, lanes);
        const auto adjoint = cell_adjoint<T, V>(gate, load<V>(before + unit, lanes), c, dh_next, dc_next, d);
        store<V>(dc + unit, adjoint.dc, lanes);
        store_gates<T, V>(out + block * kBlock, adjoint.dpre);
        if (projected) store_hidden<T, V>(chunk, local, block, blocks, next_hidden<T, V>(gate, c));
    };
    const int64_t whole = H / V < share.block_end ? H / V : share.block_end;
    for (int64_t block = share.block_begin; block < whole; ++block) adjoint_block(block, V);
    if (share.block_end > whole) adjoint_block(whole, H - whole * V);
}

// The same with the types found.
template <class T, int V, bool Tabled, class S>
void adjoint_row(const Backward<T, S>& b, const Chunk<T, S>& chunk, int64_t s, int64_t row, const Share& share) {
    const int64_t H = b.sizes.H, t = b.steps.time(s), place = kept_at<Tabled>(b, t, row);
    // With a projection dy has gone into dh already.
    const auto dy = b.sizes.projected ? decltype(b.dy.data)(nullptr) : row_or_null<Tabled>(b, b.dy, t, row);
    with_type(
        [&](auto gates, auto cell) {
            with_type([&](auto dy) { adjoint_row<T, V, Tabled>(b, chunk, s, row, share, gates, cell, dy); }, dy);
        },
        b.gates + place * 4 * H, b.cell + place * H);
}

// Asks for a row of `width` numbers.
template <class In>
GATEWRIGHT_INLINE void expect_row(In row, int64_t width) {
    constexpr int64_t kLine = 64;
    const auto* const bytes = static_cast<const char*>(address(row));
    for (int64_t k = 0; k < width * bytes_of(row); k += kLine) __builtin_prefetch(bytes + k);
}

// Asks for what the adjoint of a row will read: going back in time is not what hardware foresees.
template <bool Tabled, class T, class S>
GATEWRIGHT_INLINE void expect_reads(const Backward<T, S>& b, int64_t s, int64_t row) {
    const int64_t H = b.sizes.H, t = b.steps.time(s), place = kept_at<Tabled>(b, t, row);
    expect_row(b.gates + place * 4 * H, 4 * H);
    expect_row(b.cell + place * H, H);
    if (b.dy.data) expect_row(row_at<Tabled>(b, b.dy, t, row), b.sizes.P);
}

// dh before projection from dh after it.
template <class T, int V, bool Tabled, class S>
void project_adjoint(const Backward<T, S>& b, const Chunk<T, S>& chunk, int64_t s, int64_t row_begin,
                     int64_t row_end) {
    const Sizes& n = b.sizes;
    const int64_t depth = operands_of<Operand<S>>(n.P);
    Operand<S>* const projected = chunk.dprojected + chunk.first[s - chunk.begin] * depth;
    for (int64_t row = row_begin; row < row_end; ++row) {
        const auto dy = row_or_null<Tabled>(b, b.dy, b.steps.time(s), row);
        for (int64_t k = 0; k < n.P; k += V) {
            Vec<T, V> outer{};
            if (dy) outer = load<V>(dy + k, n.P - k);
            store_operands<T, V>(projected + row * depth, k, load<V>(b.dh + row * n.P + k, n.P - k) + outer,
                                 n.P - k);
        }
    }
    product<V>(Left<Operand<S>>{projected, depth, 1, depth, 0}, row_begin, row_end, b.panels.W_hr_t, 0,
               blocks_of<V>(n.H), n.H, [&](int64_t row, int64_t column, Vec<T, V> value, int64_t lanes) {
                   store<V>(chunk.dhidden + row * n.H + column, value, lanes);
               });
}

// The part of dh and dc that a share gives: columns.
struct Columns {
    int64_t h_begin, h_end, c_begin, c_end;
};

// Adds numbers first .. last - 1 of a row to `to`, and makes them zero where they are taken.
template <int V, class T, class In>
GATEWRIGHT_INLINE void add_numbers(T* to, In from, int64_t first, int64_t last) {
    for (int64_t k = first; k < last; k += V)
        store<V>(to + k, load<V>(to + k, last - k) + load<V>(from + k, last - k), last - k);
}
template <int V, class T>
GATEWRIGHT_INLINE void move_numbers(T* to, T* from, int64_t first, int64_t last) {
    if (to) add_numbers<V>(to, from, first, last);
    for (int64_t k = first; k < last; ++k) from[k] = 0;
}

// Goes back from a row's step at `to`, or from its end (T), to its step at `from`, or to its beginning (-1): the
// state was carried over the times between, and y and the record show it there; a reset ends it.
template <class T, int V, class S>
void adjoint_between(const Backward<T, S>& b, int64_t row, int64_t from, int64_t to, uint8_t what,
                     const Columns& n) {
    const StepTable& table = *b.table;
    const int64_t caller = table.caller(row);
    const int64_t H = b.sizes.H, c_rows = b.variant.cell_rows();
    T *const dh = b.dh + row * b.sizes.P, *const dc = b.dc + row * c_rows * H;
    const auto end_state = [&] {
        move_numbers<V>(b.dh_reset ? b.dh_reset + caller * b.sizes.P : nullptr, dh, n.h_begin, n.h_end);
        for (int64_t k = 0; k < c_rows; ++k)
            move_numbers<V>(b.dc_reset ? b.dc_reset + (caller * c_rows + k) * H : nullptr, dc + k * H, n.c_begin,
                            n.c_end);
    };
    if (to < table.T && table.resets(to, caller)) end_state();
    if (!(what & kGap)) return;
    table.back_through_gap(caller, from, to, [&](int64_t t) {
        const Place place{static_cast<int32_t>(t), static_cast<int32_t>(caller)};
        if (b.dy.data) add_numbers<V>(dh, b.dy.at(place), n.h_begin, n.h_end);
        if (b.dcell_in.data) add_numbers<V>(dc, b.dcell_in.at(place), n.c_begin, n.c_end);
        if (table.resets(t, caller)) end_state();
    });
}

// The same from all rows' ends to their last steps.
template <class T, int V, class S>
void adjoint_after(const Backward<T, S>& b, const Share& share, const Columns& n) {
    if (!b.table->after) return;
    int64_t s = b.steps.T - 1;
    for (int64_t row = share.row_begin; row < share.row_end; ++row) {
        while (s >= 0 && b.steps.rows(s) <= row) --s;  // rows have fewer and fewer steps
        if (const uint8_t what = b.table->after[row])
            adjoint_between<T, V>(b, row, s < 0 ? -1 : place_of(b, s, row).t, b.table->T, what, n);
    }
}

// And from step s to the ones before.
template <class T, int V, class S>
void adjoint_before(const Backward<T, S>& b, const Share& share, int64_t s, int64_t row_end, const Columns& n) {
    if (!b.table->before) return;
    const int64_t t = b.steps.time(s);
    const uint8_t* const before = b.table->before + b.steps.start(t);
    for (int64_t row = share.row_begin; row < row_end; ++row)
        if (before[row])
            adjoint_between<T, V>(b, row, s == 0 ? -1 : place_of(b, b.steps.time(s - 1), row).t,
                                  place_of(b, t, row).t, before[row], n);
}

template <class T, int V, bool Tabled, class S>
void adjoint_steps(const Backward<T, S>& b, const Chunk<T, S>& chunk, const Share& share, Team* barrier) {
    const Sizes& n = b.sizes;
    const int64_t blocks = blocks_of<V>(n.H), depth = operands_of<Operand<S>>(blocks * 4 * V);
    // With all units of its rows a share also gives all of dh, whose width is another where it is projected.
    const int64_t columns_begin = barrier ? share.block_begin : 0;
    const int64_t columns_end = barrier ? share.block_end : blocks_of<V>(n.P);
    const Columns columns{columns_begin * V, columns_end * V < n.P ? columns_end * V : n.P, share.block_begin * V,
                          share.block_end * V < n.H ? share.block_end * V : n.H};
    if constexpr (Tabled)
        if (chunk.end == b.steps.T) adjoint_after<T, V>(b, share, columns);
    for (int64_t s = chunk.end - 1; s >= chunk.begin; --s) {
        const int64_t with_step = b.steps.rows(b.steps.time(s));
        const int64_t row_end = share.row_end < with_step ? share.row_end : with_step;
        if (n.projected) project_adjoint<T, V, Tabled>(b, chunk, s, share.row_begin, row_end);
        for (int64_t row = share.row_begin; row < row_end; ++row) {
            constexpr int64_t kAhead = 2;  // rows
            if (row + kAhead < row_end)
                expect_reads<Tabled>(b, s, row + kAhead);
            else if (s > chunk.begin)  // its first rows follow
                expect_reads<Tabled>(b, s - 1, share.row_begin + row + kAhead - row_end);
            if (Tabled && b.variant.general)
                general_adjoint_row<T, V>(b, chunk, s, row, share);
            else
                adjoint_row<T, V, Tabled>(b, chunk, s, row, share);
        }
        if (!b.panels.W_hh_t) continue;  // the only step, and nobody wants dh before it
        if (barrier) barrier->barrier();
        const Left<Operand<S>> dgates{chunk.dgates + chunk.first[s - chunk.begin] * depth, depth, 1, depth, 0};
        if (n.head)
            product_by_heads<T, V>(n, dgates, share.row_begin, row_end, b.panels.W_hh_t, columns_begin,
                                   columns_end, b.dh);
        else
            product<V>(dgates, share.row_begin, row_end, b.panels.W_hh_t, columns_begin, columns_end, n.P,
                       [&](int64_t row, int64_t column, Vec<T, V> value, int64_t lanes) {
                           store<V>(b.dh + row * n.P + column, value, lanes);
                       });
        if (b.variant.general) finish_dh<T, V>(b, share.row_begin, row_end, columns_begin, columns_end);
        if constexpr (Tabled) adjoint_before<T, V>(b, share, s, row_end, columns);
    }
}

template <class T, int V, class S>
void adjoint(const Backward<T, S>& b, const Chunk<T, S>& chunk, const Share& share, Team* barrier) {
    if (b.variant.general)
        adjoint_steps<T, V, true>(with_table(b), chunk, share, barrier);
    else if (b.table)
        adjoint_steps<T, V, true>(b, chunk, share, barrier);
    else
        adjoint_steps<T, V, false>(b, chunk, share, barrier);
}

}  // namespace gatewright::GATEWRIGHT_TARGET
