// A sequence forward with weights of 8 or 16 bits, for streams whose weights would not stay in a cache.
//
// A weight is widened as it is loaded, and all else is as in forward.h.  With bfloat16 the results are the bits
// that those weights would give in full width; with int8 a row's scale multiplies its sum, not each weight.
#pragma once

#include "kernels/forward.h"

namespace gatewright::GATEWRIGHT_TARGET {

// Row k of a panel (k, V): a lane holds int8 weights of all four gates, that of i in its lowest byte.
template <class T, int V>
GATEWRIGHT_INLINE void widen_int8(const uint32_t* panel, int64_t k, Vec<T, V> (&weights)[4]) {
    const Vec<uint32_t, V> four = load<V>(panel + k * V);
    GATEWRIGHT_UNROLL
    for (int j = 0; j < 4; ++j) {
        // In the highest byte it has its sign, and is 2^24 times itself: the scale knows.
        const Vec<uint32_t, V> one = four << (24 - 8 * j) & 0xFF000000u;
        weights[j] = __builtin_convertvector((Vec<int32_t, V>)one, Vec<T, V>);
    }
}

// Row k of a panel (k, 2, V): a lane holds bfloat16 weights of two gates, the first in its lower half.
template <class T, int V>
GATEWRIGHT_INLINE void widen_bfloat16(const uint32_t* panel, int64_t k, Vec<T, V> (&weights)[4]) {
    GATEWRIGHT_UNROLL
    for (int j = 0; j < 2; ++j) {
        const Vec<uint32_t, V> two = load<V>(panel + (k * 2 + j) * V);
        weights[2 * j] = __builtin_convertvector((Vec<float, V>)(two << 16), Vec<T, V>);
        weights[2 * j + 1] = __builtin_convertvector((Vec<float, V>)(two & 0xFFFF0000u), Vec<T, V>);
    }
}

template <int R, int V, class T, bool Int8>
GATEWRIGHT_INLINE void accumulate_narrow(Vec<T, V> (&tile)[R][4], const T* __restrict a, int64_t row,
                                         const Narrow& W, int64_t block, int64_t width) {
    const uint32_t* const panel = W.data + block * width * (Int8 ? 1 : 2) * V;
    Vec<T, V> sum[R][4]{};
    auto& to = Int8 ? sum : tile;
    for (int64_t k = 0; k < width; ++k) {
        Vec<T, V> right[4];
        if constexpr (Int8)
            widen_int8<T, V>(panel, k, right);
        else
            widen_bfloat16<T, V>(panel, k, right);
        GATEWRIGHT_UNROLL
        for (int r = 0; r < R; ++r) {
            const Vec<T, V> left = broadcast<V>(a[r * row + k]);
            GATEWRIGHT_UNROLL
            for (int j = 0; j < 4; ++j) to[r][j] = Lanes<T, V>::fma(left, right[j], to[r][j]);
        }
    }
    if constexpr (!Int8) return;
    for (int j = 0; j < 4; ++j) {
        const Vec<float, V> scale = load<V>(W.scale + (block * 4 + j) * V);
        GATEWRIGHT_UNROLL
        for (int r = 0; r < R; ++r)
            tile[r][j] = Lanes<T, V>::fma(sum[r][j], __builtin_convertvector(scale, Vec<T, V>), tile[r][j]);
    }
}

template <class T, int V, bool Int8>
void narrow_steps(const Forward<T>& f, const Narrow& W_ih, const Narrow& W_hh, const Share& share) {
    const Sizes& n = f.sizes;
    for (int64_t s = f.begin; s < f.end; ++s) {
        const int64_t t = f.steps.time(s);
        const T* const h = f.h[s % 2];
        for (int64_t block = share.block_begin; block < share.block_end; ++block)
            for_tiles<kTileRows / 2>(share.row_begin, share.row_end, [&]<int R>(int64_t row) {
                Vec<T, V> tile[R][4];
                start_with_bias<T, V, R>(tile, f, block);
                accumulate_narrow<R, V, T, Int8>(tile, f.x.at(f.steps, t, row), f.x.row, W_ih, block, n.D);
                accumulate_narrow<R, V, T, Int8>(tile, h + row * n.P, n.P, W_hh, block, n.P);
                finish<T, V, R>(tile, f, s, t, block, row);
            });
        if (n.projected) project<T, V>(f, s, share.row_begin, share.row_end);
    }
}

template <class T, int V>
void forward_narrow(const Forward<T>& f, const Narrow& W_ih, const Narrow& W_hh, const Share& share) {
    if (W_ih.scale)
        narrow_steps<T, V, true>(f, W_ih, W_hh, share);
    else
        narrow_steps<T, V, false>(f, W_ih, W_hh, share);
}

}  // namespace gatewright::GATEWRIGHT_TARGET
