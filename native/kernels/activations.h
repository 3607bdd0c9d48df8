// sigmoid and tanh, and the logarithms and exponentials of the sLSTM, each with its greatest error and its range.
//
//                  float       double      range
//   sigmoid        2.5 ULP     2.5 ULP     all; exact limits 0 and 1, subnormal results included; NaN stays NaN
//   tanh           2.5 ULP     3 ULP       all; exact limits -1 and 1; keeps the sign of zero; NaN stays NaN
//   exp(-a)        1.5 ULP     1.5 ULP     a >= 0; exact limits 1 and 0, subnormal results included; NaN stays NaN
//   log sigmoid    2.5 ULP     2.5 ULP     all; 0 or less, x itself from where it rounds to that; NaN stays NaN
//
// ULP of the result, against correctly rounded values; tests/kernels/test_activations.py and the native tests
// measure them over the whole range.  Over all floats: sigmoid 2.481; tanh 2.267, without fused multiply-adds
// 2.444.
//
// In float all targets with fused multiply-adds give the same bits.
//
// exp(v) = 2^n exp(r), with n = round(v / ln 2) and |r| <= ln(2) / 2.  expm1(r) = r + r^2 P(r), with P the minimax
// polynomial of (expm1(r) - r) / r^2 on that interval (Remez exchange, error below 2^-26 of r for float, 2^-55 for
// double).  The integer n is found by adding 1.5 * 2^(mantissa bits), which rounds to nearest and leaves n in the
// low bits; strict arithmetic keeps compilers from undoing that.
#pragma once

#include "kernels/simd.h"

namespace gatewright::GATEWRIGHT_TARGET {

template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
    static constexpr int mantissa = 23;
    static constexpr int32_t one = 0x3f800000;
    static constexpr double magic = 12582912.0;      // 1.5 * 2^23
    static constexpr double ln2_high = 0.693359375;  // 9 bits: n * ln2_high is exact
    static constexpr double ln2_low = -2.12194440e-4;
    static constexpr double ln2 = 0x1.62e43p-1;  // 21 bits, 2^-29 off: n * ln2 is exact for n < 8
    static constexpr int terms = 5;
    static constexpr double P[terms] = {0.5000000058665638, 0.16666545009056833, 0.041666288994044151,
                                        0.0083664071798796737, 0.0013946108597737975};
    static constexpr int lift = 24;  // as below
    static constexpr double drop = 0x1p-24;
    static constexpr double zero_from = 104.0;  // exp(-104) rounds to 0
    static constexpr int log_terms = 5;
    static constexpr double log[log_terms] = {0.6666666735512317553, 0.39999696307472955893,
                                              0.28592810686403194047, 0.21700041656190830183,
                                              0.23253782684702396927};
};

template <>
struct ExpConstants<double> {
    static constexpr int mantissa = 52;
    static constexpr int64_t one = 0x3ff0000000000000;
    static constexpr double magic = 6755399441055744.0;          // 1.5 * 2^52
    static constexpr double ln2_high = 0.693147180369123816490;  // 33 bits
    static constexpr double ln2_low = 1.90821492927058770002e-10;
    static constexpr int lift = 512;  // keeps 2^(n + lift) normal for every n in use
    static constexpr double drop = 0x1p-512;
    static constexpr double zero_from = 746.0;  // exp(-746) rounds to 0
    static constexpr int terms = 10;
    static constexpr double P[terms] = {
        0.50000000000000046204,   0.16666666666666684371,    0.041666666666581441299,   0.0083333333333155188521,
        0.0013888888930396946642, 0.00019841269901240648825, 2.4801506397926898585e-05, 2.7557229385066792866e-06,
        2.762566931798445749e-07, 2.5114065751952249935e-08};
    static constexpr int log_terms = 11;
    static constexpr double log[log_terms] = {
        0.66666666666666666898, 0.39999999999999500001,  0.28571428571606796993, 0.22222222197463864819,
        0.18181819943244194679, 0.15384542441470474511,  0.13335209826197363636, 0.11733883771996175366,
        0.10848204968067310019, 0.074793154737617747292, 0.15653684847178257903};
};

// The integer nearest to a, and its bits shifted to where an exponent stands.
template <class T, int V>
struct Nearest {
    Vec<T, V> n;
    Vec<Bits<T>, V> exponent;
};

// Of v * factor, which is rounded once with it where multiply-adds are fused.
template <class T, int V>
GATEWRIGHT_INLINE Nearest<T, V> nearest(Vec<T, V> v, double factor) {
    using L = Lanes<T, V>;
    using C = ExpConstants<T>;
    const Vec<T, V> rounded = L::fma(v, L::all(factor), L::all(C::magic));
    return {rounded - L::all(C::magic), (Vec<Bits<T>, V>)rounded << C::mantissa};
}

constexpr double kLog2e = 1.4426950408889634;

// sigmoid(x) = s / (s + s exp(-x)) with s = 2^-24, so that s exp(-x) is finite wherever the result is not 0.
template <int V>
GATEWRIGHT_INLINE Vec<float, V> sigmoid_of(Vec<float, V> x) {
    using L = Lanes<float, V>;
    using C = ExpConstants<float>;
    constexpr int kShift = 24;
    // sigmoid(-104) rounds to 0, sigmoid(70) to 1.
    x = L::at_most(L::at_least(x, -104), 70);
    const auto [n, exponent] = nearest<float, V>(x, -kLog2e);
    const Vec<float, V> r = L::fma(n, L::all(-C::ln2_low), L::fma(n, L::all(-C::ln2_high), -x));
    Vec<float, V> p = L::all(C::P[C::terms - 1]);
    GATEWRIGHT_UNROLL
    for (int k = C::terms - 2; k >= 0; --k) p = L::fma(p, r, L::all(C::P[k]));
    p = L::fma(L::fma(p, r, L::all(1)), r, L::all(1));
    const auto scale = (Vec<float, V>)(exponent + (C::one - (kShift << C::mantissa)));
    const Vec<float, V> s = L::all(0x1p-24);
    return s / L::fma(p, scale, s);
}

// tanh(a) = m / (2 - m) with m = -expm1(-2 a) = (1 - 2^-n) + 2^-n q, q = -expm1(-2 h), 2 a = n ln 2 + 2 h.
template <int V>
GATEWRIGHT_INLINE Vec<float, V> tanh_of(Vec<float, V> x) {
    using L = Lanes<float, V>;
    using C = ExpConstants<float>;
    const Vec<float, V> a = L::at_most(L::abs(x), 10);  // tanh(10) rounds to 1
    const auto [n, exponent] = nearest<float, V>(a, 2 * kLog2e);
    // What ln2 is off by n times counts for less and less of m.
    const Vec<float, V> h = L::fma(n, L::all(-C::ln2 / 2), a);
    Vec<float, V> q = L::all(-64 * C::P[4]);  // q / h = 2 + 2 r P(r) with r = -2 h
    q = L::fma(q, h, L::all(32 * C::P[3]));
    q = L::fma(q, h, L::all(-16 * C::P[2]));
    q = L::fma(q, h, L::all(8 * C::P[1]));
    q = L::fma(q, h, L::all(-4 * C::P[0]));
    q = L::fma(q, h, L::all(2));
    const auto scale = (Vec<float, V>)(C::one - exponent);
    const Vec<float, V> part = h * scale, one = L::all(1);
    // 2 - m from its parts: what m was rounded by is not in it a second time.
    return L::with_sign_of(L::fma(part, q, one - scale) / L::fma(-part, q, one + scale), x);
}

template <int V>
struct Exp {
    Vec<double, V> expm1;      // of r
    Vec<int64_t, V> exponent;  // n, shifted to where an exponent stands
};

// exp(-a) = 2^n (1 + expm1(r)) for 0 <= a <= zero_from.
template <int V>
GATEWRIGHT_INLINE Exp<V> exp_of_minus(Vec<double, V> a) {
    using L = Lanes<double, V>;
    using C = ExpConstants<double>;
    const auto [n, exponent] = nearest<double, V>(a, -kLog2e);
    const Vec<double, V> r = L::fma(n, L::all(-C::ln2_low), L::fma(n, L::all(-C::ln2_high), -a));
    Vec<double, V> p = L::all(C::P[C::terms - 1]);
    GATEWRIGHT_UNROLL
    for (int k = C::terms - 2; k >= 0; --k) p = L::fma(p, r, L::all(C::P[k]));
    return {L::fma(p, r * r, r), exponent};
}

template <int V>
GATEWRIGHT_INLINE Vec<double, V> sigmoid_of(Vec<double, V> x) {
    using L = Lanes<double, V>;
    using C = ExpConstants<double>;
    const auto e = exp_of_minus<V>(L::at_most(L::abs(x), C::zero_from));
    const auto scale = (Vec<double, V>)(e.exponent + (C::one + (int64_t{C::lift} << C::mantissa)));
    const Vec<double, V> exp = L::fma(e.expm1, scale, scale) * L::all(C::drop);
    return (x < L::all(0) ? exp : L::all(1)) / (L::all(1) + exp);
}

template <int V>
GATEWRIGHT_INLINE Vec<double, V> tanh_of(Vec<double, V> x) {
    using L = Lanes<double, V>;
    using C = ExpConstants<double>;
    const Vec<double, V> a = L::at_most(L::abs(x), 20);  // tanh(20) rounds to 1
    const auto e = exp_of_minus<V>(a + a);
    const auto scale = (Vec<double, V>)(e.exponent + C::one);
    const Vec<double, V> expm1 = L::fma(e.expm1, scale, scale - L::all(1));
    return L::with_sign_of(L::abs(expm1) / (L::all(2) + expm1), x);
}

// exp(-a) for a >= 0.
template <int V>
GATEWRIGHT_INLINE Vec<float, V> exp_minus_of(Vec<float, V> a) {
    using L = Lanes<float, V>;
    using C = ExpConstants<float>;
    a = L::at_most(a, C::zero_from);
    const auto [n, exponent] = nearest<float, V>(a, -kLog2e);
    const Vec<float, V> r = L::fma(n, L::all(-C::ln2_low), L::fma(n, L::all(-C::ln2_high), -a));
    Vec<float, V> p = L::all(C::P[C::terms - 1]);
    GATEWRIGHT_UNROLL
    for (int k = C::terms - 2; k >= 0; --k) p = L::fma(p, r, L::all(C::P[k]));
    p = L::fma(L::fma(p, r, L::all(1)), r, L::all(1));
    return p * (Vec<float, V>)(exponent + (C::one + (C::lift << C::mantissa))) * L::all(C::drop);
}

template <int V>
GATEWRIGHT_INLINE Vec<double, V> exp_minus_of(Vec<double, V> a) {
    using L = Lanes<double, V>;
    using C = ExpConstants<double>;
    const auto e = exp_of_minus<V>(L::at_most(a, C::zero_from));
    const auto scale = (Vec<double, V>)(e.exponent + (C::one + (int64_t{C::lift} << C::mantissa)));
    return L::fma(e.expm1, scale, scale) * L::all(C::drop);
}

template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> exp_minus(Vec<T, V> a) {
    return exp_minus_of<V>(a);
}

// log1p(e) for 0 <= e <= 1: 2 atanh(s) with s = e / (2 + e), that is e - s (e - s^2 Q(s^2)), with Q the minimax
// polynomial of 2 (atanh(s) - s) / s^3 (error below 2^-31 of the result for float, 2^-62 for double).
template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> log1p_of(Vec<T, V> e) {
    using L = Lanes<T, V>;
    using C = ExpConstants<T>;
    const Vec<T, V> s = e / (L::all(2) + e), u = s * s;
    Vec<T, V> q = L::all(C::log[C::log_terms - 1]);
    GATEWRIGHT_UNROLL
    for (int k = C::log_terms - 2; k >= 0; --k) q = L::fma(q, u, L::all(C::log[k]));
    return L::fma(-s, L::fma(-u, q, e), e);
}

// log(sigmoid(x)) = min(x, 0) - log1p(exp(-|x|)), and what sigmoid(-x) is made of: its derivative.
template <class T, int V>
struct LogSigmoid {
    Vec<T, V> value, e;  // e = exp(-|x|)
};

template <class T, int V>
GATEWRIGHT_INLINE LogSigmoid<T, V> log_sigmoid_of(Vec<T, V> x) {
    using L = Lanes<T, V>;
    const Vec<T, V> e = exp_minus<T, V>(L::abs(x));
    return {L::at_most(x, 0) - log1p_of<T, V>(e), e};
}

template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> log_sigmoid(Vec<T, V> x) {
    return log_sigmoid_of<T, V>(x).value;
}

template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> sigmoid(Vec<T, V> x) {
    return sigmoid_of<V>(x);
}

template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> tanh(Vec<T, V> x) {
    return tanh_of<V>(x);
}

}  // namespace gatewright::GATEWRIGHT_TARGET
