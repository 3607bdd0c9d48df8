// What the walk does with the general cell: from pre-activations to all that a step leaves behind.
//
// Each in a function of its own, over a tile in memory: the code of a tile's products stays as it is.
#pragma once

#include "kernels/forward.h"
#include "kernels/general_cell.h"
#include "kernels/random.h"

namespace gatewright::GATEWRIGHT_TARGET {

// Sums over the units of a row: 16 of them side by side, whatever the vectors, and then those in one order.
template <class T, int V>
struct RowSum {
    static constexpr int kSums = 16 / V;
    Vec<T, V> sum[kSums]{};

    GATEWRIGHT_INLINE void add(int64_t block, Vec<T, V> value) { sum[block % kSums] += value; }
    GATEWRIGHT_INLINE T total() const {
        T all[16];
        for (int k = 0; k < kSums; ++k) store<V>(all + k * V, sum[k]);
        for (int width = 8; width > 0; width /= 2)
            for (int k = 0; k < width; ++k) all[k] += all[k + width];
        return all[0];
    }
};

// The first `lanes` of a vector; zeros elsewhere.
template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> first_lanes(Vec<T, V> v, int64_t lanes) {
    if (lanes < V)
        for (int64_t k = lanes; k < V; ++k) v[k] = 0;
    return v;
}

template <class T>
struct Norm {
    T mean, factor;  // 1 / sqrt(variance + 1e-5)
};

// Of H numbers, a vector of which value(block) gives.
template <class T, int V, class Value>
GATEWRIGHT_INLINE Norm<T> norm_of(int64_t H, const Value& value) {
    const int64_t blocks = blocks_of<V>(H);
    RowSum<T, V> sum, squares;
    for (int64_t block = 0; block < blocks; ++block)
        sum.add(block, first_lanes<T, V>(value(block), H - block * V));
    const T mean = sum.total() / static_cast<T>(H);
    const Vec<T, V> means = broadcast<V>(mean);
    for (int64_t block = 0; block < blocks; ++block) {
        const Vec<T, V> off = first_lanes<T, V>(value(block) - means, H - block * V);
        squares.add(block, off * off);
    }
    const T variance = squares.total() / static_cast<T>(H) + static_cast<T>(1e-5);
    if constexpr (sizeof(T) == 4)
        return {mean, 1 / __builtin_sqrtf(variance)};
    else
        return {mean, 1 / __builtin_sqrt(variance)};
}

// Where step s writes of row b, all of it at unit 0.
template <class T, class S>
struct RowPlaces {
    typename Stored<S>::Out gates, cell, y;
    T *c, *h_last, *extra;
    const T* mask;
    Operand<S>* operands;

    GATEWRIGHT_INLINE RowPlaces(const Forward<T, S>& f, int64_t s, int64_t t, int64_t b) {
        const Sizes& n = f.sizes;
        const int64_t place = kept_at<true>(f, t, b), width = operands_of<Operand<S>>(n.H);
        gates = f.gates ? f.gates + place * 4 * n.H : nullptr;
        cell = f.gates ? f.cell + place * n.H : nullptr;
        extra = f.extra ? f.extra + place * norm_width(n.H) : nullptr;
        y = nullptr;
        if (f.y.data && !n.projected) y = row_at<true>(f, f.y, t, b);
        c = f.c + b * n.H;
        const bool last = f.h_last && !n.projected && b >= rows_kept(f, s);
        h_last = last ? f.h_last + b * n.H : nullptr;
        mask = f.mask && !n.projected ? f.mask + b * n.H : nullptr;
        operands = (n.projected ? f.hidden : f.h[1 - s % 2]) + b * width;
    }
};

// The factors of a row of a share, made by draw_step().
template <class T>
struct StepFactors {
    T* data;  // (rows, kPurposes, width)
    int64_t width;
    bool drawn[kPurposes];

    template <class S>
    GATEWRIGHT_INLINE StepFactors(const Forward<T, S>& f, const Share& share)
        : data(f.factors ? f.factors + share.rank * f.factors_size : nullptr), width(factor_width(f.sizes.H)) {
        for (int k = 0; k < kPurposes; ++k)
            drawn[k] = f.variant.drawn(static_cast<Purpose>(k)) && k != static_cast<int>(Purpose::hidden_dropout);
    }
    GATEWRIGHT_INLINE T* at(int64_t row_of_share, int purpose) const {
        return data + (row_of_share * kPurposes + purpose) * width;
    }
    GATEWRIGHT_INLINE Factors4<T> of(int64_t row_of_share) const {
        Factors4<T> factors;
        for (int k = 0; k < kPurposes; ++k) factors.of[k] = drawn[k] ? at(row_of_share, k) : nullptr;
        return factors;
    }
};

// Draws what a share's part of a step needs.
template <class T, int V, class S>
void draw_step(const Forward<T, S>& f, const Share& share, int64_t t, int64_t row_end) {
    const StepFactors<T> factors(f, share);
    const int64_t begin = share.block_begin * V,
                  end = share.block_end * V < f.sizes.H ? share.block_end * V : f.sizes.H;
    for (int k = 0; k < kPurposes; ++k)
        for (int64_t b = share.row_begin; factors.drawn[k] && b < row_end; ++b)
            draw_factors(f.variant, static_cast<Purpose>(k), place_of(f, t, b).t, b, begin, end,
                         factors.at(b - share.row_begin, k));
}

// c', and what is kept of it and the gates.
template <class T, int V, class S>
GATEWRIGHT_INLINE Advanced<T, V> advance_units(const Units<T, V>& units, const Gates<T, V>& pre,
                                               const RowPlaces<T, S>& to, const Factors4<T>& factors) {
    const int64_t H = units.H, unit = units.unit, lanes = units.lanes;
    const Advanced<T, V> next = advance<T, V>(units, pre, load<V>(to.c + unit, lanes), factors);
    store<V>(to.c + unit, next.c, lanes);
    if (!to.gates) return next;
    store_as<T, V>(to.gates + unit, next.gate.i, lanes);
    store_as<T, V>(to.gates + (H + unit), next.gate.f, lanes);
    store_as<T, V>(to.gates + (2 * H + unit), next.gate.g, lanes);
    store_as<T, V>(to.gates + (3 * H + unit), next.gate.o, lanes);
    store_as<T, V>(to.cell + unit, next.c, lanes);
    return next;
}

// h', and where it goes.
template <class T, int V, class S>
GATEWRIGHT_INLINE void show_units(const Units<T, V>& units, Vec<T, V> o, Vec<T, V> shown,
                                  const RowPlaces<T, S>& to, const Factors4<T>& factors) {
    using L = Lanes<T, V>;
    const int64_t unit = units.unit, lanes = units.lanes;
    Vec<T, V> h = hidden_of<T, V>(units.cell, o, shown);
    if (units.cell.rate(Purpose::zoneout_hidden) > 0) {
        const Vec<T, V> kept = factors.template zoneout<V>(units, Purpose::zoneout_hidden);
        h = L::fma(kept, load<V>(to.h_last + unit, lanes), (L::all(1) - kept) * h);
    }
    if (to.h_last) store<V>(to.h_last + unit, h, lanes);
    if (to.y) store_as<T, V>(to.y + unit, h, lanes);
    if (to.mask) h = h * load<V>(to.mask + unit, lanes);
    store_operands<T, V>(to.operands, unit, h, lanes);
}

template <class T, int V>
GATEWRIGHT_INLINE Gates<T, V> load_tile(const T* tile) {
    return {load<V>(tile), load<V>(tile + V), load<V>(tile + 2 * V), load<V>(tile + 3 * V)};
}

// The rows of a tile, (rows, 4, V), of step s.
template <class T, int V, class S>
__attribute__((noinline)) void finish_general(const Forward<T, S>& f, const Share& share, const T* tile,
                                              int64_t rows, int64_t s, int64_t t, int64_t block, int64_t row) {
    const StepFactors<T> drawn(f, share);
    const Units<T, V> units{f.variant, f.sizes.H, block * V, f.sizes.H - block * V};
    for (int64_t r = 0; r < rows; ++r) {
        const RowPlaces<T, S> to(f, s, t, row + r);
        const Factors4<T> factors = drawn.of(row + r - share.row_begin);
        const auto next = advance_units<T, V, S>(units, load_tile<T, V>(tile + r * 4 * V), to, factors);
        show_units<T, V, S>(units, next.gate.o, next.c, to, factors);
    }
}

// One row with layer norm: its gates before that, (blocks, 4, V), which this overwrites.
template <class T, int V, class S>
__attribute__((noinline)) void finish_normed(const Forward<T, S>& f, const Share& share, T* pre, int64_t s,
                                             int64_t t, int64_t row) {
    using L = Lanes<T, V>;
    const int64_t H = f.sizes.H, blocks = blocks_of<V>(H);
    const Variant<T>& cell = f.variant;
    const RowPlaces<T, S> to(f, s, t, row);
    const Factors4<T> factors = StepFactors<T>(f, share).of(row - share.row_begin);
    for (int j = 0; j < 4; ++j) {
        const Norm<T> norm = norm_of<T, V>(H, [&](int64_t block) { return load<V>(pre + (block * 4 + j) * V); });
        const Vec<T, V> mean = broadcast<V>(norm.mean), factor = broadcast<V>(norm.factor);
        if (to.extra) to.extra[4 * H + j] = norm.factor;
        for (int64_t block = 0; block < blocks; ++block) {
            const int64_t unit = block * V, lanes = H - unit;
            T* const place = pre + (block * 4 + j) * V;
            const Vec<T, V> normed = (load<V>(place) - mean) * factor;
            if (to.extra) store<V>(to.extra + j * H + unit, normed, lanes);
            store<V>(place, L::fma(load<V>(cell.gains + j * H + unit, lanes), normed,
                                   load<V>(cell.bias + (block * 4 + j) * V)));
        }
    }
    // o and c' of the row stay in `pre` for what depends on the norm of c'.
    for (int64_t block = 0; block < blocks; ++block) {
        const Units<T, V> units{cell, H, block * V, H - block * V};
        T* const place = pre + block * 4 * V;
        const auto next = advance_units<T, V, S>(units, load_tile<T, V>(place), to, factors);
        store<V>(place, next.gate.o);
        store<V>(place + V, next.c);
    }
    const Norm<T> norm = norm_of<T, V>(H, [&](int64_t block) { return load<V>(pre + (block * 4 + 1) * V); });
    const Vec<T, V> mean = broadcast<V>(norm.mean), factor = broadcast<V>(norm.factor);
    if (to.extra) to.extra[4 * H + 4] = norm.mean, to.extra[4 * H + 5] = norm.factor;
    for (int64_t block = 0; block < blocks; ++block) {
        const Units<T, V> units{cell, H, block * V, H - block * V};
        const T* const place = pre + block * 4 * V;
        const Vec<T, V> normed = (load<V>(place + V) - mean) * factor;
        show_units<T, V, S>(units, load<V>(place),
                            L::fma(units.of(cell.cell_gain), normed, units.of(cell.cell_bias)), to, factors);
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
