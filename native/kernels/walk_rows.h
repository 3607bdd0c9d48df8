// Where the rows of a step stand: in arrays, as operands of products, and among what is kept.
#pragma once

#include "kernels/gemm.h"
#include "kernels/lstm.h"
#include "kernels/weights.h"

namespace gatewright::GATEWRIGHT_TARGET {

// The same walk with a table that says nothing, where it has none: of the general cell there is no other code.
template <class Walk>
GATEWRIGHT_INLINE Walk with_table(const Walk& walk) {
    static constexpr StepTable kNone{};
    Walk tabled = walk;
    if (!tabled.table) tabled.table = &kNone;
    return tabled;
}

// Where a row's step at time t stands in x, y and what else is (T, B, width).  Tabled: whether a walk looks at a
// table of steps; one that does not has no trace of it.
template <class Walk>
GATEWRIGHT_INLINE Place place_of(const Walk& walk, int64_t t, int64_t row) {
    const Place* const places = walk.table->places;
    if (places) return places[walk.steps.start(t) + row];
    return {static_cast<int32_t>(t), static_cast<int32_t>(row)};
}

template <bool Tabled, class Walk, class Rows>
GATEWRIGHT_INLINE auto row_at(const Walk& walk, const Rows& rows, int64_t t, int64_t row) {
    if constexpr (Tabled)
        if (walk.table->places) return rows.at(place_of(walk, t, row));
    return rows.at(walk.steps, t, row);
}

// Index of a row's step in gates and cells that are kept.
template <bool Tabled, class Walk>
GATEWRIGHT_INLINE int64_t kept_at(const Walk& walk, int64_t t, int64_t row) {
    if constexpr (Tabled)
        if (walk.table->places && walk.table->kept_in_place) {
            const Place place = place_of(walk, t, row);
            return place.t * walk.steps.B + place.b;
        }
    return walk.steps.start(t) + row - walk.saved;
}

// Rows in which a step follows step s: in the others h is kept as it is, where the walk rounds it.
template <class T, class S>
GATEWRIGHT_INLINE int64_t rows_going_on(const Forward<T, S>& f, int64_t s) {
    if (!std::is_same_v<S, BFloat16> || !f.h_last) return f.sizes.B;
    return s + 1 == f.steps.T ? 0 : f.steps.rows(f.steps.time(s + 1));
}

// The same with the general cell, whose h may have to be kept at each step.
template <class T, class S>
GATEWRIGHT_INLINE int64_t rows_kept(const Forward<T, S>& f, int64_t s) {
    return f.variant.keeps_hidden() ? 0 : rows_going_on(f, s);
}

// Rows of x or h as operands of products, `row` from one to the next.
template <class Left>
struct OperandRows {
    const Left* data;
    int64_t row;
    const float* scales = nullptr;  // of rows of bytes

    GATEWRIGHT_INLINE const Left* at(int64_t n) const { return data + n * row; }
    GATEWRIGHT_INLINE const float* scales_at(int64_t n) const { return scales ? scales + n : nullptr; }
};

// Where a share has such rows as bytes.
struct ByteMemory {
    uint32_t* data;
    int64_t row;
    float* scales;
};
GATEWRIGHT_INLINE ByteMemory byte_rows(const ByteRows& all, const Share& share, int64_t width) {
    const int64_t row = quads_of(width), first = share.rank * all.rows;
    return {all.data + first * row, row, all.scales + first};
}

// x of a share at time t, up to row_end.
template <class Panel, class T, int V, bool Tabled, class S>
GATEWRIGHT_INLINE OperandRows<LeftOf<Panel, S>> input_rows(const Forward<T, S>& f, const Share& share, int64_t t,
                                                           int64_t row_end) {
    if constexpr (Tabled && !Panel::kBytes)
        if (f.table->places) {
            const int64_t depth = operands_of<Operand<S>>(f.sizes.D);
            Operand<S>* const operands = f.operands + share.rank * f.operands_size;
            for (int64_t row = share.row_begin; row < row_end; ++row)
                to_operands<T, V, S>(f.x.at(place_of(f, t, row)), 0, f.sizes.D,
                                     operands + (row - share.row_begin) * depth, 1);
            return {operands, depth};
        }
    const auto x = f.x.at(f.steps, t, share.row_begin);
    if constexpr (Panel::kBytes) {
        const auto to = byte_rows(f.x_bytes, share, f.sizes.D);
        to_bytes<V, Panel::kOfRow>(x, f.x.row, f.sizes.D, to.data, to.scales, row_end - share.row_begin);
        return {to.data, to.row, to.scales};
    } else if constexpr (std::is_same_v<S, BFloat16>) {
        Operand<S>* const operands = f.operands + share.rank * f.operands_size;
        to_operands<T, V, S>(x, f.x.row, f.sizes.D, operands, row_end - share.row_begin);
        return {operands, operands_of<Operand<S>>(f.sizes.D)};
    } else {
        return {x, f.x.row};
    }
}

// h before step s, from row 0 of the batch on.
template <class Panel, class T, int V, class S>
GATEWRIGHT_INLINE OperandRows<LeftOf<Panel, S>> hidden_rows(const Forward<T, S>& f,
                                                            [[maybe_unused]] const Share& share, int64_t s,
                                                            [[maybe_unused]] int64_t row_end) {
    const Operand<S>* const h = f.h[s % 2];
    if constexpr (Panel::kBytes) {
        const int64_t P = f.sizes.P, begin = share.row_begin;
        const auto to = byte_rows(f.h_bytes, share, P);
        to_bytes<V, Panel::kOfRow>(h + begin * P, P, P, to.data + begin * to.row, to.scales + begin,
                                   row_end - begin);
        return {to.data, to.row, to.scales};
    } else {
        return {h, operands_of<Operand<S>>(f.sizes.P)};
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
