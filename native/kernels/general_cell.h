// The general cell (variant.h) for one vector of hidden units of one row, and right below each part its adjoint.
//
// Peepholes: Gers & Schmidhuber 2000, Recurrent Nets that Time and Count, IJCNN.  Coupled gates, and gates that
// are not there: Greff et al. 2017, IEEE Trans. on Neural Networks and Learning Systems 28(10).  Zoneout: Krueger
// et al. 2017, arXiv:1606.01305.  Dropout of the candidate: Semeniuta et al. 2016, arXiv:1603.05118; of h, one
// mask a sequence: Gal & Ghahramani 2016, arXiv:1512.05287.  Layer norm: Ba et al. 2016, arXiv:1607.06450.
//
// What is said of all lanes is asked at run time: such a branch goes the same way each time.
#pragma once

#include "kernels/cell.h"
#include "kernels/lstm.h"

namespace gatewright::GATEWRIGHT_TARGET {

template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> clipped(Vec<T, V> x, double low, double high) {
    return Lanes<T, V>::at_most(Lanes<T, V>::at_least(x, low), high);
}

template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> gate_of(Activation kind, Vec<T, V> x) {
    using L = Lanes<T, V>;
    if (kind == Activation::smooth) return sigmoid<T, V>(x);
    return clipped<T, V>(L::fma(x, L::all(1.0 / 6), L::all(0.5)), 0, 1);
}

// From the gate itself.
template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> gate_slope(Activation kind, Vec<T, V> gate) {
    using L = Lanes<T, V>;
    const Vec<T, V> zero{}, one = L::all(1);
    if (kind == Activation::smooth) return gate * (one - gate);
    return gate > zero ? (gate < one ? L::all(1.0 / 6) : zero) : zero;
}

template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> squashed(Activation kind, Vec<T, V> x) {
    if (kind == Activation::smooth) return tanh<T, V>(x);
    return kind == Activation::hard ? clipped<T, V>(x, -1, 1) : x;
}

// From the result, which is at its limit from `limit` on: less than 1 where it is not known to the last bit.
template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> squash_slope(Activation kind, Vec<T, V> y, double limit = 1) {
    using L = Lanes<T, V>;
    const Vec<T, V> zero{}, one = L::all(1);
    if (kind == Activation::smooth) return one - y * y;
    return kind == Activation::identity ? one : L::abs(y) < L::all(limit) ? one : zero;
}

// Some units of a row: where they stand, and their vectors of the cell.
template <class T, int V>
struct Units {
    const Variant<T>& cell;
    int64_t H, unit, lanes;
    bool narrow = false;  // whether gates are in bfloat16

    GATEWRIGHT_INLINE Vec<T, V> of(const T* vector) const { return load<V>(vector + unit, lanes); }
    // Of i, f, o, as 0, 1, 2.
    GATEWRIGHT_INLINE Vec<T, V> peephole(int gate) const { return of(cell.peepholes + gate * H); }
    // The gate, or what it is held at.
    GATEWRIGHT_INLINE Vec<T, V> held(int gate, Vec<T, V> value) const {
        if (!cell.clamps) return value;
        const Vec<T, V> clamp = of(cell.clamps + gate * H);
        return clamp == clamp ? clamp : value;
    }
    // What goes back through the gate: nothing where it is held.
    GATEWRIGHT_INLINE Vec<T, V> free(int gate, Vec<T, V> d) const {
        if (!cell.clamps) return d;
        const Vec<T, V> clamp = of(cell.clamps + gate * H);
        return clamp == clamp ? Vec<T, V>{} : d;
    }
};

// Factors of the units of a row: null where there is none, or where its expectation stands for it.
template <class T>
struct Factors4 {
    const T* of[kPurposes];

    // How much of what a unit had it keeps.
    template <int V>
    GATEWRIGHT_INLINE Vec<T, V> zoneout(const Units<T, V>& units, Purpose purpose) const {
        const T* const drawn = of[static_cast<int>(purpose)];
        return drawn ? load<V>(drawn + units.unit) : Lanes<T, V>::all(units.cell.rate(purpose));
    }
    GATEWRIGHT_INLINE const T* candidate() const { return of[static_cast<int>(Purpose::candidate_dropout)]; }
};

// The gates and c' of one vector; `pre` with the bias.  Of the gates o too, which reads c'.
template <class T, int V>
struct Advanced {
    Gates<T, V> gate;  // g as it is written, after its dropout
    Vec<T, V> c;
};

template <class T, int V>
GATEWRIGHT_INLINE Advanced<T, V> advance(const Units<T, V>& units, const Gates<T, V>& pre, Vec<T, V> c,
                                         const Factors4<T>& factors) {
    using L = Lanes<T, V>;
    const Variant<T>& cell = units.cell;
    const Vec<T, V> one = L::all(1);
    Vec<T, V> i_pre = pre.i, f_pre = pre.f, o_pre = pre.o;
    if (cell.peepholes) {
        i_pre = L::fma(units.peephole(0), c, i_pre);
        f_pre = L::fma(units.peephole(1), c, f_pre);
    }
    Gates<T, V> gate;
    gate.f = units.held(1, cell.no_forget_gate ? one : gate_of<T, V>(cell.gate, f_pre));
    gate.i = cell.no_input_gate ? one : cell.coupled ? one - gate.f : gate_of<T, V>(cell.gate, i_pre);
    gate.i = units.held(0, gate.i);
    gate.g = units.held(2, squashed<T, V>(cell.candidate, pre.g));
    if (factors.candidate()) gate.g = gate.g * load<V>(factors.candidate() + units.unit);
    Vec<T, V> next = next_cell<T, V>(gate, c);
    if (cell.cell_clip > 0) next = clipped<T, V>(next, -cell.cell_clip, cell.cell_clip);
    if (cell.rate(Purpose::zoneout_cell) > 0) {
        const Vec<T, V> kept = factors.template zoneout<V>(units, Purpose::zoneout_cell);
        next = L::fma(kept, c, (one - kept) * next);
    }
    if (cell.peepholes) o_pre = L::fma(units.peephole(2), next, o_pre);
    gate.o = units.held(3, cell.no_output_gate ? one : gate_of<T, V>(cell.gate, o_pre));
    return {gate, next};
}

// d: all that depends on the gates, beside c'; of o that by h', too.
template <class T, int V>
struct Returned {
    Gates<T, V> dpre;
    Vec<T, V> dc;  // with respect to c
};

template <class T, int V>
GATEWRIGHT_INLINE Returned<T, V> advance_adjoint(const Units<T, V>& units, const Gates<T, V>& gate, Vec<T, V> c,
                                                 Vec<T, V> dc_next, const Gates<T, V>& d,
                                                 const Factors4<T>& factors) {
    using L = Lanes<T, V>;
    const Variant<T>& cell = units.cell;
    const Vec<T, V> zero{}, one = L::all(1);
    Returned<T, V> back{};
    back.dpre.o = cell.no_output_gate ? zero : units.free(3, d.o * gate_slope<T, V>(cell.gate, gate.o));
    if (cell.peepholes) dc_next = L::fma(back.dpre.o, units.peephole(2), dc_next);
    if (cell.rate(Purpose::zoneout_cell) > 0) {
        const Vec<T, V> kept = factors.template zoneout<V>(units, Purpose::zoneout_cell);
        back.dc = kept * dc_next;
        dc_next = (one - kept) * dc_next;
    }
    if (cell.cell_clip > 0) {
        const Vec<T, V> limit = L::all(cell.cell_clip);
        dc_next = L::abs(next_cell<T, V>(gate, c)) > limit ? zero : dc_next;
    }
    const Vec<T, V> di = units.free(0, L::fma(dc_next, gate.g, d.i));
    Vec<T, V> df = L::fma(dc_next, c, d.f);
    if (cell.coupled) df = df - di;
    Vec<T, V> dg = L::fma(dc_next, gate.i, d.g), g = gate.g;
    double limit = 1;
    if (factors.candidate()) {
        const Vec<T, V> factor = load<V>(factors.candidate() + units.unit);
        dg = dg * factor;
        g = g * L::all(1 - cell.rate(Purpose::candidate_dropout));  // where it was not dropped
        limit = units.narrow ? 1 - 0x1p-8 : 1 - 0x1p-20;
    }
    back.dpre.f = cell.no_forget_gate ? zero : units.free(1, df) * gate_slope<T, V>(cell.gate, gate.f);
    back.dpre.i = cell.no_input_gate || cell.coupled ? zero : di * gate_slope<T, V>(cell.gate, gate.i);
    back.dpre.g = units.free(2, dg) * squash_slope<T, V>(cell.candidate, g, limit);
    back.dc = L::fma(dc_next, gate.f, back.dc);
    if (cell.peepholes)
        back.dc = L::fma(back.dpre.i, units.peephole(0), L::fma(back.dpre.f, units.peephole(1), back.dc));
    return back;
}

// h' from c', or from the norm of c', and h.
template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> hidden_of(const Variant<T>& cell, Vec<T, V> o, Vec<T, V> shown) {
    return o * squashed<T, V>(cell.output, shown);
}

template <class T, int V>
struct HiddenAdjoint {
    Vec<T, V> d_o, dshown, dh;  // with respect to o, what was shown, and h
};

template <class T, int V>
GATEWRIGHT_INLINE HiddenAdjoint<T, V> hidden_adjoint(const Units<T, V>& units, Vec<T, V> o, Vec<T, V> shown,
                                                     Vec<T, V> dh_next, const Factors4<T>& factors) {
    HiddenAdjoint<T, V> back{};
    if (units.cell.rate(Purpose::zoneout_hidden) > 0) {
        const Vec<T, V> kept = factors.template zoneout<V>(units, Purpose::zoneout_hidden);
        back.dh = kept * dh_next;
        dh_next = (Lanes<T, V>::all(1) - kept) * dh_next;
    }
    const Vec<T, V> a = squashed<T, V>(units.cell.output, shown);
    back.d_o = dh_next * a;
    back.dshown = dh_next * o * squash_slope<T, V>(units.cell.output, a);
    return back;
}

}  // namespace gatewright::GATEWRIGHT_TARGET
