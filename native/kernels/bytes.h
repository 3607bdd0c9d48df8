// Rows of float to whole numbers of one byte, and the product of four of them with four weights of int8.
//
// A byte holds a whole number from -127 to 127, plus kOffset.  Sums of such products are of integers, and exact:
// every target has the same.  They start from -kOffset times the sum of the weights, which takes that back.
#pragma once

#include "kernels/gemm.h"
#include "kernels/simd.h"

namespace gatewright::GATEWRIGHT_TARGET {

// Instructions of x86 multiply bytes without a sign by such with one; those of ARM two with a sign.
#if defined(__ARM_FEATURE_DOTPROD)
constexpr uint32_t kOffset = 0;
#else
constexpr uint32_t kOffset = 128;
#endif

// The largest magnitude of a row; NaN or infinite where one of its numbers is.
template <int V>
GATEWRIGHT_INLINE float largest(const float* row, int64_t width) {
    // Without their sign, numbers are in the order of their bits, infinity and then NaN above all others.
    Vec<int32_t, V> most{};
    for (int64_t k = 0; k < width; k += V) {
        const auto here = (Vec<int32_t, V>)Lanes<float, V>::abs(load<V>(row + k, width - k));
        most = here > most ? here : most;
    }
    int32_t result = 0;
    for (int v = 0; v < V; ++v) result = most[v] > result ? most[v] : result;
    return __builtin_bit_cast(float, result);
}

GATEWRIGHT_INLINE bool is_finite(float magnitude) { return magnitude <= 0x1.fffffep127f; }

// The nearest whole numbers, at most 127 in magnitude, ties to even; in the lowest byte of each lane.
template <int V>
GATEWRIGHT_INLINE Vec<uint32_t, V> whole(Vec<float, V> numbers) {
    using L = Lanes<float, V>;
    // Next to 1.5 * 2^23 a float has no fraction: the sum rounds to the nearest, and ends with its bits.
    return (Vec<uint32_t, V>)(L::at_most(L::at_least(numbers, -127), 127) + L::all(0x1.8p23));
}

// Rows of `width` numbers, `row` elements apart, to contiguous rows of bytes, the last word filled up.
//   scales  (rows): what a row is whole numbers of; only where they are those of each row
template <int V, bool OfRow>
void to_bytes(const float* from, int64_t row, int64_t width, uint32_t* to, float* scales, int64_t rows) {
    static_assert(V % 4 == 0);
    const int64_t depth = quads_of(width);
    for (int64_t n = 0; n < rows; ++n, from += row) {
        auto* const bytes = reinterpret_cast<uint8_t*>(to + n * depth);
        float factor = 127;
        if constexpr (OfRow) {
            // Of a row whose largest number is next to 0 all others are 0: no factor is infinite.
            const float most = largest<V>(from, width);
            factor = most > 0x1p-100f ? 127 / most : 0;
            scales[n] = is_finite(most) ? most / 127 : __builtin_nanf("");
        }
        for (int64_t k = 0; k < width; k += V) {
            const auto bits = whole<V>(load<V>(from + k, width - k) * broadcast<V>(factor)) + kOffset;
            store<V>(bytes + k, __builtin_convertvector(bits, Vec<uint8_t, V>), quads_of(width - k) * 4);
        }
    }
}

// Rows of a tile of them.
#if defined(__AVXVNNI__)
constexpr int kByteRows = kTileRows;  // one instruction reads both factors as they are
#elif defined(__ARM_FEATURE_DOTPROD)
constexpr int kByteRows = 5;  // compilers load all four vectors of weights at once, next to 20 sums and 5 of x
#else
constexpr int kByteRows = kRowsOf<uint32_t>;
#endif

template <int V>
struct Factors<int32_t, V, uint32_t> {
#if defined(__AVX512VNNI__)
    static_assert(V == 16);
    static constexpr int kRounds = 1;
    static GATEWRIGHT_INLINE Vec<uint32_t, V> left(uint32_t quad, int) { return broadcast<V>(quad); }
    static GATEWRIGHT_INLINE Vec<uint32_t, V> right(Vec<uint32_t, V> quads, int) { return quads; }
    static GATEWRIGHT_INLINE Vec<int32_t, V> add(Vec<uint32_t, V> left, Vec<uint32_t, V> right,
                                                 Vec<int32_t, V> sum) {
        // GCC 12 copies and spills around the intrinsic.
        asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(left), "v"(right));
        return sum;
    }
#elif defined(__AVXVNNI__)
    static_assert(V == 8);
    static constexpr int kRounds = 1;
    static GATEWRIGHT_INLINE Vec<uint32_t, V> left(uint32_t quad, int) {
        return (Vec<uint32_t, V>)broadcast<V>(__builtin_bit_cast(float, quad));  // as in bfloat16.h
    }
    static GATEWRIGHT_INLINE Vec<uint32_t, V> right(Vec<uint32_t, V> quads, int) { return quads; }
    static GATEWRIGHT_INLINE Vec<int32_t, V> add(Vec<uint32_t, V> left, Vec<uint32_t, V> right,
                                                 Vec<int32_t, V> sum) {
        asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(left), "x"(right));  // as above
        return sum;
    }
#elif defined(__ARM_FEATURE_DOTPROD)
    static_assert(V == 4);
    static constexpr int kRounds = 1;
    static GATEWRIGHT_INLINE Vec<uint32_t, V> left(uint32_t quad, int) { return broadcast<V>(quad); }
    static GATEWRIGHT_INLINE Vec<uint32_t, V> right(Vec<uint32_t, V> quads, int) { return quads; }
    static GATEWRIGHT_INLINE Vec<int32_t, V> add(Vec<uint32_t, V> left, Vec<uint32_t, V> right,
                                                 Vec<int32_t, V> sum) {
        return (Vec<int32_t, V>)vdotq_s32((int32x4_t)sum, (int8x16_t)right, (int8x16_t)left);
    }
#elif defined(__SSE2__)
    // The even bytes of each word, then the odd ones, as numbers of 16 bits.
    static constexpr int kRounds = 2;
    static GATEWRIGHT_INLINE Vec<uint32_t, V> left(uint32_t quad, int round) {
        const auto quads = (Vec<uint32_t, V>)broadcast<V>(__builtin_bit_cast(float, quad));  // as in bfloat16.h
        return (round == 0 ? quads : quads >> 8) & 0x00FF00FFu;
    }
    static GATEWRIGHT_INLINE Vec<int16_t, 2 * V> right(Vec<uint32_t, V> quads, int round) {
        const auto halves = (Vec<int16_t, 2 * V>)quads;
        return (round == 0 ? halves << 8 : halves) >> 8;
    }
    static GATEWRIGHT_INLINE Vec<int32_t, V> add(Vec<uint32_t, V> left, Vec<int16_t, 2 * V> right,
                                                 Vec<int32_t, V> sum) {
#if defined(__AVX512BW__)
        if constexpr (V == 16) return sum + (Vec<int32_t, V>)_mm512_madd_epi16((__m512i)left, (__m512i)right);
#endif
#if defined(__AVX2__)
        if constexpr (V == 8) return sum + (Vec<int32_t, V>)_mm256_madd_epi16((__m256i)left, (__m256i)right);
#endif
        if constexpr (V == 4) return sum + (Vec<int32_t, V>)_mm_madd_epi16((__m128i)left, (__m128i)right);
    }
#else
    static constexpr int kRounds = 4;
    static GATEWRIGHT_INLINE Vec<int32_t, V> left(uint32_t quad, int round) {
        return broadcast<V>(static_cast<int32_t>(quad >> 8 * round & 0xFFu));
    }
    static GATEWRIGHT_INLINE Vec<int32_t, V> right(Vec<uint32_t, V> quads, int round) {
        return (Vec<int32_t, V>)(quads << (24 - 8 * round)) >> 24;
    }
    static GATEWRIGHT_INLINE Vec<int32_t, V> add(Vec<int32_t, V> left, Vec<int32_t, V> right,
                                                 Vec<int32_t, V> sum) {
        return sum + left * right;
    }
#endif
};

}  // namespace gatewright::GATEWRIGHT_TARGET
