// The cell for one vector of hidden units of one row, and right below it its adjoint.
//
//   i = sigmoid(i_pre)   f = sigmoid(f_pre)   g = tanh(g_pre)   o = sigmoid(o_pre)
//   c' = f c + i g       h' = o tanh(c')
//
// Hochreiter & Schmidhuber 1997, Neural Computation 9(8), with the forget gate of Gers et al. 2000, Neural
// Computation 12(10).
#pragma once

#include "kernels/activations.h"
#include "kernels/bfloat16.h"

namespace gatewright::GATEWRIGHT_TARGET {

template <class T, int V>
struct Gates {
    Vec<T, V> i, f, g, o;
};

template <class T, int V>
GATEWRIGHT_INLINE Gates<T, V> activate(const Vec<T, V> (&pre)[4]) {
    return {sigmoid<T, V>(pre[0]), sigmoid<T, V>(pre[1]), tanh<T, V>(pre[2]), sigmoid<T, V>(pre[3])};
}

// Four rows of H numbers, i f g o; the first `lanes` of a vector of each.
template <class T, int V, class In>
GATEWRIGHT_INLINE Gates<T, V> load_gates(In p, int64_t H, int64_t lanes) {
    return {load<V>(p, lanes), load<V>(p + H, lanes), load<V>(p + 2 * H, lanes), load<V>(p + 3 * H, lanes)};
}

template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> next_cell(const Gates<T, V>& gate, Vec<T, V> c) {
    return Lanes<T, V>::fma(gate.i, gate.g, gate.f * c);
}

template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> next_hidden(const Gates<T, V>& gate, Vec<T, V> c_next) {
    return gate.o * tanh<T, V>(c_next);
}

template <class T, int V>
struct CellAdjoint {
    Gates<T, V> dpre;  // with respect to the gates before activation
    Vec<T, V> dc;      // with respect to c
};

// d: what depends on the gates themselves, beside c' and h'; dc_next: all that depends on c', beside h'.
template <class T, int V>
GATEWRIGHT_INLINE CellAdjoint<T, V> cell_adjoint(const Gates<T, V>& gate, Vec<T, V> c, Vec<T, V> c_next,
                                                 Vec<T, V> dh_next, Vec<T, V> dc_next, const Gates<T, V>& d) {
    using L = Lanes<T, V>;
    const Vec<T, V> one = L::all(1), tanh_c = tanh<T, V>(c_next);
    const Vec<T, V> dc_all = L::fma(dh_next * gate.o, one - tanh_c * tanh_c, dc_next);
    const Gates<T, V> dgate = {L::fma(dc_all, gate.g, d.i), L::fma(dc_all, c, d.f), L::fma(dc_all, gate.i, d.g),
                               L::fma(dh_next, tanh_c, d.o)};
    return {{dgate.i * (gate.i * (one - gate.i)), dgate.f * (gate.f * (one - gate.f)),
             dgate.g * (one - gate.g * gate.g), dgate.o * (gate.o * (one - gate.o))},
            dc_all * gate.f};
}

}  // namespace gatewright::GATEWRIGHT_TARGET
