// sigmoid and tanh, each with its greatest error and its range.
//
//              float       double      range
//   sigmoid    2.5 ULP     2.5 ULP     all; exact limits 0 and 1, subnormal results included; NaN stays NaN
//   tanh       2.5 ULP     3 ULP       all; exact limits -1 and 1; keeps the sign of zero; NaN stays NaN
//
// ULP of the result, against correctly rounded values; tests/kernels/test_activations.py measures them over the
// whole range.
//
// Both come from exp(-a) for a = |x| or 2|x|:  -a = n ln 2 + r with |r| <= ln(2) / 2, and
// expm1(r) = r + r^2 P(r), with P the minimax polynomial of (expm1(r) - r) / r^2 on that interval (Remez exchange,
// error below 2^-26 of r for float, 2^-55 for double).  The integer n is found by adding 1.5 * 2^(mantissa bits),
// which rounds to nearest and leaves n in the low bits; strict arithmetic keeps compilers from undoing that.
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
    static constexpr int lift = 64;  // keeps 2^(n + lift) normal for every n in use
    static constexpr double drop = 0x1p-64;
    static constexpr double zero_from = 104.0;  // exp(-104) rounds to 0
    static constexpr int terms = 5;
    static constexpr double P[terms] = {0.5000000058665638, 0.16666545009056833, 0.041666288994044151,
                                        0.0083664071798796737, 0.0013946108597737975};
};

template <>
struct ExpConstants<double> {
    static constexpr int mantissa = 52;
    static constexpr int64_t one = 0x3ff0000000000000;
    static constexpr double magic = 6755399441055744.0;          // 1.5 * 2^52
    static constexpr double ln2_high = 0.693147180369123816490;  // 33 bits
    static constexpr double ln2_low = 1.90821492927058770002e-10;
    static constexpr int lift = 512;
    static constexpr double drop = 0x1p-512;
    static constexpr double zero_from = 746.0;
    static constexpr int terms = 10;
    static constexpr double P[terms] = {
        0.50000000000000046204,   0.16666666666666684371,    0.041666666666581441299,   0.0083333333333155188521,
        0.0013888888930396946642, 0.00019841269901240648825, 2.4801506397926898585e-05, 2.7557229385066792866e-06,
        2.762566931798445749e-07, 2.5114065751952249935e-08};
};

template <class T, int V>
struct Exp {
    Vec<T, V> expm1;    // of r
    Vec<Bits<T>, V> n;  // shifted to where an exponent stands
};

// exp(-a) = 2^n (1 + expm1(r)) for 0 <= a <= zero_from.
template <class T, int V>
GATEWRIGHT_INLINE Exp<T, V> exp_of_minus(Vec<T, V> a) {
    using L = Lanes<T, V>;
    using C = ExpConstants<T>;
    const Vec<T, V> rounded = L::fma(a, L::all(-1.4426950408889634), L::all(C::magic));
    const Vec<T, V> n = rounded - L::all(C::magic);
    const Vec<T, V> r = L::fma(n, L::all(-C::ln2_low), L::fma(n, L::all(-C::ln2_high), -a));
    Vec<T, V> p = L::all(C::P[C::terms - 1]);
    GATEWRIGHT_UNROLL
    for (int k = C::terms - 2; k >= 0; --k) p = L::fma(p, r, L::all(C::P[k]));
    return {L::fma(p, r * r, r), (Vec<Bits<T>, V>)rounded << C::mantissa};
}

template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> sigmoid(Vec<T, V> x) {
    using L = Lanes<T, V>;
    using C = ExpConstants<T>;
    const auto e = exp_of_minus<T, V>(L::at_most(L::abs(x), L::all(C::zero_from)));
    const Vec<T, V> scale = (Vec<T, V>)(e.n + (C::one + (Bits<T>(C::lift) << C::mantissa)));
    const Vec<T, V> exp = L::fma(e.expm1, scale, scale) * L::all(C::drop);
    return (x < L::all(0) ? exp : L::all(1)) / (L::all(1) + exp);
}

template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> tanh(Vec<T, V> x) {
    using L = Lanes<T, V>;
    using C = ExpConstants<T>;
    const Vec<T, V> a = L::at_most(L::abs(x), L::all(20));  // tanh(20) is 1 in both types
    const auto e = exp_of_minus<T, V>(a + a);
    const Vec<T, V> scale = (Vec<T, V>)(e.n + C::one);
    const Vec<T, V> expm1 = L::fma(e.expm1, scale, scale - L::all(1));
    return L::with_sign_of(L::abs(expm1) / (L::all(2) + expm1), x);
}

}  // namespace gatewright::GATEWRIGHT_TARGET
