// Vectors of float to bfloat16 and back, and the product of pairs of bfloat16.
//
// A pair is a lane of 32 bits with two neighbours, the first in the lower half.  Its product with another and a
// sum, fma(a[0], b[0], fma(a[1], b[1], sum)), is one instruction with AVX-512 BF16 and two elsewhere; that
// instruction takes and gives subnormal numbers as zeros, and so does every other with FlushSubnormals
// (support/subnormals.h).
#pragma once

#include "kernels/simd.h"

namespace gatewright::GATEWRIGHT_TARGET {

template <int V, class Lane, std::size_t... N>
GATEWRIGHT_INLINE Vec<Lane, V> every_second(Vec<Lane, V> a, Vec<Lane, V> b, bool odd, std::index_sequence<N...>) {
    return odd ? __builtin_shufflevector(a, b, (2 * N + 1)...) : __builtin_shufflevector(a, b, (2 * N)...);
}

// to_bfloat16 of each lane, in its upper half; the lower one is not cleared.
template <int V>
GATEWRIGHT_INLINE Vec<uint32_t, V> rounded_to_upper(Vec<float, V> v) {
    const Vec<uint32_t, V> bits = (Vec<uint32_t, V>)v, magnitude = bits & 0x7fffffffu;
    const Vec<uint32_t, V> rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    const Vec<uint32_t, V> number = magnitude < 0x00800000u ? bits & 0x80000000u : rounded;
    return magnitude > 0x7f800000u ? bits | 0x00400000u : number;
}

// To bfloat16, as bits.
template <int V>
GATEWRIGHT_INLINE Vec<uint16_t, V> narrowed(Vec<float, V> v) {
#if defined(__AVX512BF16__)
    if constexpr (V == 16) return (Vec<uint16_t, V>)_mm512_cvtneps_pbh((__m512)v);
    if constexpr (V == 8) return (Vec<uint16_t, V>)_mm256_cvtneps_pbh((__m256)v);
#endif
    return __builtin_convertvector(rounded_to_upper<V>(v) >> 16, Vec<uint16_t, V>);
}

// Pairs of the 2V numbers of `first` and then `second`.
template <int V>
GATEWRIGHT_INLINE Vec<uint32_t, V> paired(Vec<float, V> first, Vec<float, V> second) {
#if defined(__AVX512BF16__)
    if constexpr (V == 16) return (Vec<uint32_t, V>)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    if constexpr (V == 8) return (Vec<uint32_t, V>)_mm256_cvtne2ps_pbh((__m256)second, (__m256)first);
#endif
    constexpr auto lanes = std::make_index_sequence<V>{};
    const Vec<uint32_t, V> a = rounded_to_upper<V>(first), b = rounded_to_upper<V>(second);
    return every_second<V, uint32_t>(a, b, false, lanes) >> 16 |
           (every_second<V, uint32_t>(a, b, true, lanes) & 0xffff0000u);
}

// One instruction: GCC 12 makes five of a conversion of 16 lanes.
template <int V>
GATEWRIGHT_INLINE Vec<float, V> widened(Vec<uint16_t, V> v) {
#if defined(__AVX512F__)
    if constexpr (V == 16)  // with a mask, or GCC 12 warns of its own header
        return (Vec<float, V>)((Vec<uint32_t, V>)_mm512_maskz_cvtepu16_epi32(0xFFFF, (__m256i)v) << 16);
#endif
    return (Vec<float, V>)(__builtin_convertvector(v, Vec<uint32_t, V>) << 16);
}

// The lanes of the lower half and of the upper one in turn.
template <int V, class Lane, std::size_t... N>
GATEWRIGHT_INLINE Vec<Lane, V> halves_in_turn(Vec<Lane, V> v, std::index_sequence<N...>) {
    return __builtin_shufflevector(v, v, (N / 2 + N % 2 * (V / 2))...);
}

// Pairs of a number of `first` and the one in the same lane of `second`.
template <int V>
GATEWRIGHT_INLINE Vec<uint32_t, V> zipped(Vec<float, V> first, Vec<float, V> second) {
#if defined(__AVX512BF16__)
    constexpr auto lanes = std::make_index_sequence<2 * V>{};
    const auto both = (Vec<uint16_t, 2 * V>)paired<V>(first, second);
    return (Vec<uint32_t, V>)halves_in_turn<2 * V, uint16_t>(both, lanes);
#else
    return rounded_to_upper<V>(first) >> 16 | (rounded_to_upper<V>(second) & 0xffff0000u);
#endif
}

template <int V>
GATEWRIGHT_INLINE Vec<float, V> load(NarrowPointer p, int64_t count) {
    return widened<V>(load<V>(reinterpret_cast<const uint16_t*>(p.data), count));
}

// The first `count` lanes, of which there may be none.
template <int V>
GATEWRIGHT_INLINE Vec<float, V> load(Either<const std::byte> p, int64_t count) {
    if (count <= 0) return Vec<float, V>{};
    if (p.narrow) return widened<V>(load<V>(reinterpret_cast<const uint16_t*>(p.data), count));
    return load<V>(reinterpret_cast<const float*>(p.data), count);
}

template <class T, int V>
GATEWRIGHT_INLINE void store_as(Either<std::byte> p, Vec<T, V> v, int64_t count) {
    if (p.narrow)
        store<V>(reinterpret_cast<uint16_t*>(p.data), narrowed<V>(v), count);
    else
        store<V>(reinterpret_cast<float*>(p.data), v, count);
}

// Into a row of operands, at element `unit`, a multiple of V.  With pairs, the lane past an odd width, which is
// zero in what the kernels compute, fills the last one.
template <class T, int V, class S>
GATEWRIGHT_INLINE void store_operands(S* row, int64_t unit, Vec<T, V> v, int64_t count) {
    if constexpr (std::is_same_v<S, uint32_t>)
        store<V>(reinterpret_cast<uint16_t*>(row) + unit, narrowed<V>(v), count + count % 2);
    else
        store_as<T, V>(row + unit, v, count);
}

// V operands from the k-th on of a row of `width` numbers; zeros past its end.
template <class W, int V, class In>
GATEWRIGHT_INLINE Vec<W, V> load_operands(In row, int64_t k, int64_t width) {
    if constexpr (std::is_same_v<W, uint32_t>)
        return paired<V>(load<V>(row + 2 * k, width - 2 * k), load<V>(row + (2 * k + V), width - 2 * k - V));
    else
        return load<V>(row + k, width - k);
}

// Rows of `width` numbers, `row` elements apart, to contiguous rows of operands; from null: zeros.
template <class T, int V, class S>
void to_operands(typename Stored<S>::In from, int64_t row, int64_t width, Operand<S>* to, int64_t rows) {
    const int64_t depth = operands_of<Operand<S>>(width);
    for (int64_t n = 0; n < rows; ++n, to += depth)
        for (int64_t k = 0; k < depth; k += V)
            store<V>(to + k, from ? load_operands<Operand<S>, V>(from + n * row, k, width) : Vec<Operand<S>, V>{},
                     depth - k);
}

// Products of operands: how many rounds one takes, and the two factors of each.
template <class T, int V, class S>
struct Factors {  // numbers
    static constexpr int kRounds = 1;
    static GATEWRIGHT_INLINE Vec<T, V> left(S number, int) { return broadcast<V>(static_cast<T>(number)); }
    static GATEWRIGHT_INLINE Vec<T, V> right(Vec<T, V> vector, int) { return vector; }
    static GATEWRIGHT_INLINE Vec<T, V> add(Vec<T, V> left, Vec<T, V> right, Vec<T, V> sum) {
        return fma_of<T, V>(left, right, sum);
    }
};

template <int V>
struct Factors<float, V, uint32_t> {  // pairs
#if defined(__AVX512BF16__)
    static constexpr int kRounds = 1;
    static GATEWRIGHT_INLINE Vec<uint32_t, V> left(uint32_t pair, int) { return broadcast<V>(pair); }
    static GATEWRIGHT_INLINE Vec<uint32_t, V> right(Vec<uint32_t, V> pairs, int) { return pairs; }
    static GATEWRIGHT_INLINE Vec<float, V> add(Vec<uint32_t, V> left, Vec<uint32_t, V> right, Vec<float, V> sum) {
        if constexpr (V == 16)
            return (Vec<float, V>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)left, (__m512bh)right);
        else
            return (Vec<float, V>)_mm256_dpbf16_ps((__m256)sum, (__m256bh)left, (__m256bh)right);
    }
#else
    static constexpr int kRounds = 2;  // the upper half comes first
    // Broadcast as a float: GCC 12 would do the rest on the number, and bring each half into vectors by itself.
    static GATEWRIGHT_INLINE Vec<float, V> left(uint32_t pair, int round) {
        return right((Vec<uint32_t, V>)broadcast<V>(__builtin_bit_cast(float, pair)), round);
    }
    static GATEWRIGHT_INLINE Vec<float, V> right(Vec<uint32_t, V> pairs, int round) {
        return (Vec<float, V>)(round == 0 ? pairs & 0xffff0000u : pairs << 16);
    }
    static GATEWRIGHT_INLINE Vec<float, V> add(Vec<float, V> left, Vec<float, V> right, Vec<float, V> sum) {
        return fma_of<float, V>(left, right, sum);
    }
#endif
};

}  // namespace gatewright::GATEWRIGHT_TARGET
