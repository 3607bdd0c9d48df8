// The sLSTM for one vector of hidden units of one row, and right below it its adjoint.
//
//   log i = i_pre                         m' = max(log f + m, log i)
//   log f = log sigmoid(f_pre), or f_pre  c' = F c + I z     F = exp(log f + m - m')
//   z = tanh(z_pre)   o = sigmoid(o_pre)  n' = F n + I       I = exp(log i - m')     h' = o c' / n'
//
// Beck et al. 2024, xLSTM: Extended Long Short-Term Memory, arXiv:2405.04517, section 2.2.  The state is c, n, m.
// Where n is 0 nothing was read yet, and m counts for nothing.  One of F and I is 1, always.
//
// The adjoint is that of averages: with a = c / n and l = m + log n, which is what m and n stand for,
//
//   a' = keep a + share z   keep = F n / n' = sigmoid(log f + l - log i)   share = I / n' = 1 - keep
//   l' = log(exp(log f + l) + exp(log i))                                 h' = o a'
//
// so that it needs neither n nor m, but at the ends of a sequence, where da, dl are those of c, n, m.  What a loss
// reads of m beyond that (`rest`) goes back along the branch of the maximum.
//
// Kept of a step are, in the places of i f g o: keep or, with the sign bit set, minus share, whichever is less, so
// that neither loses digits; the derivative of log f, with the sign bit set where the maximum is log i; z; o.
#pragma once

#include "kernels/cell.h"

namespace gatewright::GATEWRIGHT_TARGET {

template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> signed_if(Vec<Bits<T>, V> negative, Vec<T, V> positive) {
    return negative ? -positive : positive;
}

// All bits of a lane set where its sign bit is.
template <class T, int V>
GATEWRIGHT_INLINE Vec<Bits<T>, V> sign_of(Vec<T, V> v) {
    return (Vec<Bits<T>, V>)v < Vec<Bits<T>, V>{};
}

template <class T, int V>
struct Averaging {
    Vec<T, V> c, n, m;  // the next state
    Vec<T, V> average;  // c / n of it
    Vec<T, V> z, o;
    Vec<T, V> keep, take;      // F n and I
    Vec<Bits<T>, V> of_input;  // where the maximum is log i
    Vec<T, V> f_pre, e;        // of which the derivative of log f is made
};

template <class T, int V>
GATEWRIGHT_INLINE Averaging<T, V> average_step(const Vec<T, V> (&pre)[4], bool exponential_forget, Vec<T, V> c,
                                               Vec<T, V> n, Vec<T, V> m) {
    using L = Lanes<T, V>;
    const Vec<T, V> one = L::all(1), log_i = pre[0];
    Averaging<T, V> next{};
    next.f_pre = pre[1];
    Vec<T, V> log_f = pre[1];
    if (!exponential_forget) {
        const auto [value, e] = log_sigmoid_of<T, V>(pre[1]);
        log_f = value;
        next.e = e;
    }
    const Vec<T, V> kept = n == Vec<T, V>{} ? L::all(-__builtin_inf()) : log_f + m;
    next.of_input = kept <= log_i;
    const Vec<T, V> e = exp_minus<T, V>(L::abs(kept - log_i));
    const Vec<T, V> F = next.of_input ? e : one;
    next.take = next.of_input ? one : e;
    next.m = next.of_input ? log_i : kept;
    next.z = tanh<T, V>(pre[2]);
    next.o = sigmoid<T, V>(pre[3]);
    next.keep = F * n;
    next.n = next.keep + next.take;
    next.c = L::fma(next.take, next.z, F * c);
    next.average = next.c / next.n;
    return next;
}

// What is kept of a step.
template <class T, int V>
GATEWRIGHT_INLINE Gates<T, V> kept_of(const Averaging<T, V>& step, bool exponential_forget) {
    using L = Lanes<T, V>;
    const Vec<T, V> one = L::all(1);
    Vec<T, V> slope = one;
    if (!exponential_forget) slope = (step.f_pre > Vec<T, V>{} ? step.e : one) / (one + step.e);
    const Vec<T, V> weight = step.keep <= step.take ? step.keep : -step.take;
    return {weight / step.n, signed_if<T, V>(step.of_input, slope), step.z, step.o};
}

template <class T, int V>
struct AverageAdjoint {
    Gates<T, V> dpre;
    Vec<T, V> da, dl, rest;  // with respect to the state before
};

// d: what depends on keep (with share as 1 - keep), nothing, z and o themselves, beside a' and h'.
template <class T, int V>
GATEWRIGHT_INLINE AverageAdjoint<T, V> average_adjoint(const Gates<T, V>& kept, Vec<T, V> average_before,
                                                       Vec<T, V> average, Vec<T, V> dh_next, Vec<T, V> da_next,
                                                       Vec<T, V> dl_next, Vec<T, V> rest_next,
                                                       const Gates<T, V>& d) {
    using L = Lanes<T, V>;
    const Vec<T, V> zero{}, one = L::all(1), less = L::abs(kept.i), more = one - less;
    const auto shared = sign_of<T, V>(kept.i), of_input = sign_of<T, V>(kept.f);
    const Vec<T, V> keep = shared ? more : less, share = shared ? less : more, z = kept.g, o = kept.o;
    const Vec<T, V> da = L::fma(dh_next, o, da_next), d_o = L::fma(dh_next, average, d.o);
    const Vec<T, V> dkeep = L::fma(da, average_before - z, d.i) * (keep * share);
    const Vec<T, V> dl = L::fma(dl_next, keep, dkeep), dlog_i = L::fma(dl_next, share, -dkeep);
    const Vec<T, V> rest = of_input ? zero : rest_next;
    return {{of_input ? dlog_i + rest_next : dlog_i, (dl + rest) * L::abs(kept.f),
             L::fma(da, share, d.g) * (one - z * z), d_o * (o * (one - o))},
            da * keep,
            dl,
            rest};
}

}  // namespace gatewright::GATEWRIGHT_TARGET
