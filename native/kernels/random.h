// Random factors of the units of a row, by Philox4x32-10 (variant.h): many counters at once.
#pragma once

#include "kernels/gemm.h"
#include "kernels/lstm.h"

namespace gatewright::GATEWRIGHT_TARGET {

#if defined(__AVX512F__)
constexpr int kWords = 16;
#elif defined(__AVX2__)
constexpr int kWords = 8;
#else
constexpr int kWords = 4;
#endif
using Word = Vec<uint32_t, kWords>;

// Factors of a row have room for whole rounds of kWords counters, four units each.
constexpr int64_t kRound = 4 * kWords;
GATEWRIGHT_INLINE int64_t factor_width(int64_t width) { return (width + kRound - 1) / kRound * kRound; }

// The upper and lower halves of x * factor.
struct WideProduct {
    Word upper, lower;
};

GATEWRIGHT_INLINE WideProduct wide_product(Word x, uint32_t factor) {
    using Wide = Vec<uint64_t, kWords / 2>;
    Wide even, odd;
#if defined(__AVX512F__)
    const __m512i m = _mm512_set1_epi64(factor);
    even = (Wide)_mm512_maskz_mul_epu32(0xFF, (__m512i)x, m);
    odd = (Wide)_mm512_maskz_mul_epu32(0xFF, (__m512i)((Wide)x >> 32), m);
#elif defined(__AVX2__)
    const __m256i m = _mm256_set1_epi64x(factor);
    even = (Wide)_mm256_mul_epu32((__m256i)x, m);
    odd = (Wide)_mm256_mul_epu32((__m256i)((Wide)x >> 32), m);
#elif defined(__x86_64__)
    const __m128i m = _mm_set1_epi64x(factor);
    even = (Wide)_mm_mul_epu32((__m128i)x, m);
    odd = (Wide)_mm_mul_epu32((__m128i)((Wide)x >> 32), m);
#else
    even = ((Wide)x & 0xffffffffu) * uint64_t{factor};
    odd = ((Wide)x >> 32) * uint64_t{factor};
#endif
    return {(Word)(even >> 32 | (odd & 0xffffffff00000000u)), (Word)((even & 0xffffffffu) | odd << 32)};
}

GATEWRIGHT_INLINE void philox(Word (&c)[4], uint64_t seed) {
    auto k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        const WideProduct a = wide_product(c[0], 0xD2511F53u), b = wide_product(c[2], 0xCD9E8D57u);
        c[0] = b.upper ^ c[1] ^ k0;
        c[2] = a.upper ^ c[3] ^ k1;
        c[1] = b.lower;
        c[3] = a.lower;
    }
}

// Stores 0 or `scale` as the words of hits, (kWords) of 0 or 1, say.
template <class T>
GATEWRIGHT_INLINE void store_factors(T* out, Word hits, double scale) {
    constexpr int V = sizeof(T) == 4 ? kWords : kWords / 2;
    constexpr auto lanes = std::make_index_sequence<V>{};
    const auto store_part = [&](Vec<uint32_t, V> part, T* to) {
        store<V>(to,
                 __builtin_convertvector((Vec<int32_t, V>)part, Vec<T, V>) * broadcast<V>(static_cast<T>(scale)));
    };
    if constexpr (V == kWords) {
        store_part(hits, out);
    } else {
        (void)lanes;
        store_part(half_of<kWords, uint32_t>(hits, false, lanes), out);
        store_part(half_of<kWords, uint32_t>(hits, true, lanes), out + V);
    }
}

// Factors of units begin .. end - 1 of row b at time t, and of some next to them, to out[unit]: of zoneout 1 where
// a unit keeps what it had, else 0; of dropout 0 where it is dropped, else 1 / (1 - rate).
template <class T>
__attribute__((noinline)) void draw_factors(const Variant<T>& variant, Purpose purpose, int64_t t, int64_t b,
                                            int64_t begin, int64_t end, T* out) {
    const double rate = variant.rate(purpose), words = rate * 0x1p32;
    const uint32_t limit = words >= 0x1p32 ? 0xffffffffu : static_cast<uint32_t>(words);
    const bool dropout = purpose == Purpose::hidden_dropout || purpose == Purpose::candidate_dropout;
    const auto step = static_cast<uint32_t>(purpose == Purpose::hidden_dropout ? 0 : variant.draws.first_step + t);
    constexpr auto lanes = std::make_index_sequence<kWords>{};
    const Word zero{}, step_word = zero + step, row_word = zero + static_cast<uint32_t>(variant.draws.row(b));
    const Word stream_word = zero + (variant.draws.stream + static_cast<uint32_t>(purpose));
    Word places{};
    for (int k = 0; k < kWords; ++k) places[k] = static_cast<uint32_t>(k);
    for (int64_t unit = begin / kRound * kRound; unit < end; unit += kRound) {
        Word c[4] = {step_word, row_word, places + static_cast<uint32_t>(unit / 4), stream_word};
        philox(c, variant.draws.seed);
        for (Word& word : c) word = (dropout ? (Word)(word >= limit) : (Word)(word < limit)) & 1u;
        for (int half = 0; half < 2; ++half) {
            const Word even = interleave<kWords, uint32_t>(c[0], c[2], half, lanes);
            const Word odd = interleave<kWords, uint32_t>(c[1], c[3], half, lanes);
            const double scale = dropout ? 1 / (1 - rate) : 1;
            store_factors(out + unit + 2 * half * kWords, interleave<kWords, uint32_t>(even, odd, false, lanes),
                          scale);
            store_factors(out + unit + (2 * half + 1) * kWords,
                          interleave<kWords, uint32_t>(even, odd, true, lanes), scale);
        }
    }
}

// One mask a sequence on the h that W_hh reads, for rows begin .. end - 1 of (B, P); through a row of factor_width
// elements of one thread.
template <class T>
void hidden_mask(const Variant<T>& variant, int64_t P, int64_t begin, int64_t end, T* row, T* mask) {
    for (int64_t b = begin; b < end; ++b) {
        draw_factors(variant, Purpose::hidden_dropout, 0, b, 0, P, row);
        for (int64_t k = 0; k < P; ++k) mask[b * P + k] = row[k];
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
