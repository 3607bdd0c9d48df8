// The smallest vector wrapper: load, store, fma, broadcast, minimum, blend; on compiler vector extensions.
//
// A target's source defines GATEWRIGHT_TARGET (its namespace) before it includes this.  Vec<T, V> is V lanes; what
// a lane computes does not depend on V.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "kernels/lstm.h"

#if defined(__FAST_MATH__)
#error "the kernels need strict arithmetic: build them without -ffast-math"
#endif

#if defined(__clang__)
#define GATEWRIGHT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define GATEWRIGHT_UNROLL _Pragma("GCC unroll 16")
#endif

namespace gatewright::GATEWRIGHT_TARGET {

template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
    using type = int32_t;
};
template <>
struct BitsOf<double> {
    using type = int64_t;
};
template <class T>
using Bits = typename BitsOf<T>::type;

template <class T, int V>
struct VecOf {
    typedef T type __attribute__((vector_size(V * sizeof(T))));
    // As it lies in memory: anywhere, and under other names.
    typedef T memory __attribute__((vector_size(V * sizeof(T)), aligned(alignof(T)), may_alias));
};
template <class T, int V>
using Vec = typename VecOf<T, V>::type;

template <int V, class T>
GATEWRIGHT_INLINE Vec<T, V> load(const T* p) {
    return *reinterpret_cast<const typename VecOf<T, V>::memory*>(p);
}

template <int V, class T>
GATEWRIGHT_INLINE void store(T* p, Vec<T, V> v) {
    *reinterpret_cast<typename VecOf<T, V>::memory*>(p) = v;
}

// A number of 32 bits: moved as one of float is.
template <class T>
constexpr bool kWord = std::is_same_v<T, float> || std::is_same_v<T, uint32_t>;

// The first `count` lanes, at least one; the others are zero, and their memory is not touched.
template <int V, class T>
GATEWRIGHT_INLINE Vec<T, V> load(const T* p, int64_t count) {
    if (count >= V) return load<V>(p);
    [[maybe_unused]] const unsigned lanes = (1u << count) - 1;
#if defined(__AVX512F__)
    if constexpr (kWord<T> && V == 16)
        return (Vec<T, V>)_mm512_maskz_loadu_ps(static_cast<__mmask16>(lanes), p);
    else if constexpr (kWord<T> && V == 8)
        return (Vec<T, V>)_mm256_maskz_loadu_ps(static_cast<__mmask8>(lanes), p);
    else if constexpr (std::is_same_v<T, uint16_t> && V == 16)
        return (Vec<T, V>)_mm256_maskz_loadu_epi16(static_cast<__mmask16>(lanes), p);
    else if constexpr (std::is_same_v<T, double> && V == 8)
        return (Vec<T, V>)_mm512_maskz_loadu_pd(static_cast<__mmask8>(lanes), p);
    else if constexpr (std::is_same_v<T, double> && V == 4)
        return (Vec<T, V>)_mm256_maskz_loadu_pd(static_cast<__mmask8>(lanes), p);
#elif defined(__AVX2__)
    if constexpr (kWord<T> && V == 8) {
        const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        const __m256i first = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), places);
        return (Vec<T, V>)_mm256_maskload_ps(reinterpret_cast<const float*>(p), first);
    } else if constexpr (std::is_same_v<T, double> && V == 4) {
        const __m256i first = _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
        return (Vec<T, V>)_mm256_maskload_pd(p, first);
    }
#endif
    Vec<T, V> v{};
    for (int64_t k = 0; k < count; ++k) v[k] = p[k];
    return v;
}

template <int V, class T, std::size_t... Lane>
GATEWRIGHT_INLINE Vec<T, V / 2> half_of(Vec<T, V> v, bool upper, std::index_sequence<Lane...>) {
    return upper ? __builtin_shufflevector(v, v, (V / 2 + Lane)...) : __builtin_shufflevector(v, v, Lane...);
}

// A half, a quarter, ... of the vector, as the bits of count < V say: a masked store is slow with AVX2.
template <int V, class T>
GATEWRIGHT_INLINE void store_halves(T* p, Vec<T, V> v, int64_t count) {
    if constexpr (V > 1) {
        constexpr auto lanes = std::make_index_sequence<V / 2>{};
        Vec<T, V / 2> rest = half_of<V, T>(v, false, lanes);
        if (count & (V / 2)) {
            store<V / 2>(p, rest);
            p += V / 2;
            rest = half_of<V, T>(v, true, lanes);
        }
        store_halves<V / 2, T>(p, rest, count);
    }
}

template <int V, class T>
GATEWRIGHT_INLINE void store(T* p, Vec<T, V> v, int64_t count) {
    if (count >= V) return store<V>(p, v);
#if defined(__AVX512F__)
    [[maybe_unused]] const unsigned lanes = (1u << count) - 1;
    if constexpr (kWord<T> && V == 16)
        return _mm512_mask_storeu_ps(p, static_cast<__mmask16>(lanes), (__m512)v);
    else if constexpr (kWord<T> && V == 8)
        return _mm256_mask_storeu_ps(p, static_cast<__mmask8>(lanes), (__m256)v);
    else if constexpr (std::is_same_v<T, double> && V == 8)
        return _mm512_mask_storeu_pd(p, static_cast<__mmask8>(lanes), (__m512d)v);
    else if constexpr (std::is_same_v<T, uint16_t> && V == 16)
        return _mm256_mask_storeu_epi16(p, static_cast<__mmask16>(lanes), (__m256i)v);
    else if constexpr (std::is_same_v<T, double> && V == 4)
        return _mm256_mask_storeu_pd(p, static_cast<__mmask8>(lanes), (__m256d)v);
#endif
    store_halves<V, T>(p, v, count);
}

// Stores in the type that the memory is of (S), which may be another than that of the arithmetic (T).
template <class T, int V, class S>
GATEWRIGHT_INLINE void store_as(S* p, Vec<T, V> v, int64_t count) {
    if constexpr (std::is_same_v<S, T>)
        store<V>(p, v, count);
    else
        store<V>(p, __builtin_convertvector(v, Vec<S, V>), count);
}

template <int V, class T>
GATEWRIGHT_INLINE Vec<T, V> broadcast(T s) {
    if constexpr (V == 1) {
        return Vec<T, V>{s};
    } else if constexpr (std::is_integral_v<T>) {
        return Vec<T, V>{} + s;
#if defined(__AVX512F__)
    } else if constexpr (V * sizeof(T) == 64 && sizeof(T) == 4) {
        return (Vec<T, V>)_mm512_set1_ps(s);
    } else if constexpr (V * sizeof(T) == 64) {
        return (Vec<T, V>)_mm512_set1_pd(s);
#endif
#if defined(__AVX__)
    } else if constexpr (V * sizeof(T) == 32 && sizeof(T) == 4) {
        return (Vec<T, V>)_mm256_set1_ps(s);
    } else if constexpr (V * sizeof(T) == 32) {
        return (Vec<T, V>)_mm256_set1_pd(s);
#endif
#if defined(__x86_64__)
    } else if constexpr (V * sizeof(T) == 16 && sizeof(T) == 4) {
        return (Vec<T, V>)_mm_set1_ps(s);
    } else {
        return (Vec<T, V>)_mm_set1_pd(s);
#elif defined(__aarch64__)
    } else if constexpr (sizeof(T) == 4) {
        return (Vec<T, V>)vdupq_n_f32(s);
    } else {
        return (Vec<T, V>)vdupq_n_f64(s);
#endif
    }
}

// a * b + c, rounded once where the target has such an instruction, else twice.
template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> fma_of(Vec<T, V> a, Vec<T, V> b, Vec<T, V> c) {
#if defined(__AVX512F__)
    if constexpr (V * sizeof(T) == 64 && sizeof(T) == 4)
        return (Vec<T, V>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
    else if constexpr (V * sizeof(T) == 64)
        return (Vec<T, V>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
    else
#endif
#if defined(__FMA__)
        if constexpr (V * sizeof(T) == 32 && sizeof(T) == 4)
        return (Vec<T, V>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
    else
        return (Vec<T, V>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
    if constexpr (sizeof(T) == 4)
        return (Vec<T, V>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
    else
        return (Vec<T, V>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}

// The lesser, or the greater, of x and limit; NaN where x is, as x86 has it for the second operand.
template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> lesser(Vec<T, V> x, Vec<T, V> limit) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float> && V == 16)
        return (Vec<T, V>)_mm512_maskz_min_ps(0xFFFF, (__m512)limit, (__m512)x);
#endif
#if defined(__AVX2__)
    if constexpr (std::is_same_v<T, float> && V == 8) return (Vec<T, V>)_mm256_min_ps((__m256)limit, (__m256)x);
#endif
    return x > limit ? limit : x;
}

template <class T, int V>
GATEWRIGHT_INLINE Vec<T, V> greater(Vec<T, V> x, Vec<T, V> limit) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float> && V == 16)
        return (Vec<T, V>)_mm512_maskz_max_ps(0xFFFF, (__m512)limit, (__m512)x);
#endif
#if defined(__AVX2__)
    if constexpr (std::is_same_v<T, float> && V == 8) return (Vec<T, V>)_mm256_max_ps((__m256)limit, (__m256)x);
#endif
    return x < limit ? limit : x;
}

// A vector type with its operations, so that the code above reads as arithmetic.
template <class T, int V>
struct Lanes {
    using Vector = Vec<T, V>;
    using Integer = Vec<Bits<T>, V>;

    static GATEWRIGHT_INLINE Vector all(double s) { return broadcast<V>(static_cast<T>(s)); }
    static GATEWRIGHT_INLINE Vector fma(Vector a, Vector b, Vector c) { return fma_of<T, V>(a, b, c); }
    static GATEWRIGHT_INLINE Vector at_most(Vector x, double limit) { return lesser<T, V>(x, all(limit)); }
    static GATEWRIGHT_INLINE Vector at_least(Vector x, double limit) { return greater<T, V>(x, all(limit)); }
    static GATEWRIGHT_INLINE Vector abs(Vector x) { return (Vector)((Integer)x & ~sign_bits()); }
    static GATEWRIGHT_INLINE Vector with_sign_of(Vector magnitude, Vector x) {
        return (Vector)((Integer)magnitude | ((Integer)x & sign_bits()));
    }
    static GATEWRIGHT_INLINE Integer sign_bits() { return (Integer)all(-0.0); }
};

// The lanes of a and b in turn: those of their lower halves, or of their upper ones.
template <int V, class T, std::size_t... Lane>
GATEWRIGHT_INLINE Vec<T, V> interleave(Vec<T, V> a, Vec<T, V> b, bool upper, std::index_sequence<Lane...>) {
    return upper ? __builtin_shufflevector(a, b, (Lane / 2 + V / 2 + Lane % 2 * V)...)
                 : __builtin_shufflevector(a, b, (Lane / 2 + Lane % 2 * V)...);
}

// Rows to columns: log2(V) rounds of interleaving row n with row n + V / 2.
template <int V, class T>
GATEWRIGHT_INLINE void transpose(Vec<T, V> (&rows)[V]) {
    constexpr auto lanes = std::make_index_sequence<V>{};
    GATEWRIGHT_UNROLL
    for (int round = 1; round < V; round *= 2) {
        Vec<T, V> next[V];
        GATEWRIGHT_UNROLL
        for (int n = 0; n < V / 2; ++n) {
            next[2 * n] = interleave<V, T>(rows[n], rows[n + V / 2], false, lanes);
            next[2 * n + 1] = interleave<V, T>(rows[n], rows[n + V / 2], true, lanes);
        }
        GATEWRIGHT_UNROLL
        for (int n = 0; n < V; ++n) rows[n] = next[n];
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
