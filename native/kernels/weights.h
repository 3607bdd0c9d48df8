// The weights of the gates in each format, as the walk reads them: W_ih or W_hh of one block of hidden units.
//
// Full and narrow: a narrow weight is widened as it is loaded.  With bfloat16 the results are the bits that those
// weights would give in full width; with int8 a row's scale multiplies its sum, not each weight.
#pragma once

#include "kernels/gemm.h"
#include "kernels/lstm.h"

namespace gatewright::GATEWRIGHT_TARGET {

// As they lie in panels: W is a number, or a pair of bfloat16.
template <class W, int V>
struct GatePanel : FullPanel<W, V, 4> {
    static constexpr int kRows = kTileRows;  // of a tile
    static constexpr bool kScaled = false;

    GATEWRIGHT_INLINE GatePanel(const W* weights, int64_t block, int64_t width)
        : FullPanel<W, V, 4>{weights + block * width * 4 * V} {}
    template <class T>
    static GATEWRIGHT_INLINE const W* input(const Panels<T, W>& panels) {
        return panels.W_ih;
    }
    template <class T>
    static GATEWRIGHT_INLINE const W* recurrent(const Panels<T, W>& panels) {
        return panels.W_hh;
    }
};

template <class T>
struct NarrowPanel {
    static constexpr int kRows = (kTileRows + 1) / 2;  // widening takes registers too

    const uint32_t* row;

    static GATEWRIGHT_INLINE const Narrow& input(const Panels<T>& panels) { return panels.narrow_ih; }
    static GATEWRIGHT_INLINE const Narrow& recurrent(const Panels<T>& panels) { return panels.narrow_hh; }
};

// A lane holds two neighbours, the first in its lower half: as products of bfloat16 read them, here one by one.
template <class T, int V>
struct BFloat16Panel : NarrowPanel<T> {
    static constexpr bool kScaled = false;

    uint32_t shift = 16;  // what brings the weight of this k into the upper half

    GATEWRIGHT_INLINE BFloat16Panel(const Narrow& W, int64_t block, int64_t width)
        : NarrowPanel<T>{W.data + block * operands_of<uint32_t>(width) * 4 * V} {}
    GATEWRIGHT_INLINE Vec<T, V> vector(int j) const {
        const Vec<uint32_t, V> weight = load<V>(this->row + j * V) << shift & 0xFFFF0000u;
        return __builtin_convertvector((Vec<float, V>)weight, Vec<T, V>);
    }
    GATEWRIGHT_INLINE void next() {
        this->row += shift == 0 ? 4 * V : 0;
        shift ^= 16;
    }
};

// A lane holds all four gates, that of i in its lowest byte.
template <class T, int V>
struct Int8Panel : NarrowPanel<T> {
    static constexpr bool kScaled = true;

    const float* scale;  // (4, V)

    GATEWRIGHT_INLINE Int8Panel(const Narrow& W, int64_t block, int64_t width)
        : NarrowPanel<T>{W.data + block * width * V}, scale(W.scale + block * 4 * V) {}
    GATEWRIGHT_INLINE Vec<T, V> vector(int j) const {
        // In the highest byte a weight has its sign, and is 2^24 times itself: the scale takes that back.
        const Vec<uint32_t, V> weight = load<V>(this->row) << (24 - 8 * j) & 0xFF000000u;
        return __builtin_convertvector((Vec<int32_t, V>)weight, Vec<T, V>);
    }
    GATEWRIGHT_INLINE void next() { this->row += V; }
    GATEWRIGHT_INLINE Vec<T, V> scales(int j) const {
        return __builtin_convertvector(load<V>(scale + j * V), Vec<T, V>);
    }
};

// tile[r] += W a[r * row], for a of `width` operands.
template <int R, int V, class T, class S, class Panel>
GATEWRIGHT_INLINE void add_gates(Vec<T, V> (&tile)[R][4], const S* a, int64_t row, const Panel& W, int64_t width) {
    if constexpr (Panel::kScaled) {
        Vec<T, V> sum[R][4]{};
        accumulate<R, 4, V, T>(sum, a, row, 1, W, width);
        for (int j = 0; j < 4; ++j) {
            const Vec<T, V> scale = W.scales(j);
            GATEWRIGHT_UNROLL
            for (int r = 0; r < R; ++r) tile[r][j] = Lanes<T, V>::fma(sum[r][j], scale, tile[r][j]);
        }
    } else {
        accumulate<R, 4, V, T>(tile, a, row, 1, W, width);
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
