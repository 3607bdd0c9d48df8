// The weights of the gates in each format, as the walk reads them: W_ih or W_hh of one block of hidden units.
//
// Full and narrow: a narrow weight is widened as it is loaded.  With bfloat16 the results are the bits that those
// weights would give in full width; with int8 a row's scale multiplies its sum, not each weight.  Weights of int8
// are also multiplied as they are with operands of one byte (bytes.h).
#pragma once

#include "kernels/bytes.h"
#include "kernels/gemm.h"
#include "kernels/lstm.h"

namespace gatewright::GATEWRIGHT_TARGET {

// As they lie in panels: W is a number, or a pair of bfloat16.
template <class W, int V>
struct GatePanel : FullPanel<W, V, 4> {
    using Input = GatePanel;
    using Recurrent = GatePanel;
    static constexpr int kRows = kRowsOf<W>;  // of a tile
    static constexpr int kNeighbours = 1;     // in a lane, of numbers that are multiplied one by one
    static constexpr bool kScaled = false, kBytes = false;

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
    static constexpr bool kBytes = false;

    const uint32_t* row;

    static GATEWRIGHT_INLINE const Narrow& input(const Panels<T>& panels) { return panels.narrow_ih; }
    static GATEWRIGHT_INLINE const Narrow& recurrent(const Panels<T>& panels) { return panels.narrow_hh; }
};

// A lane holds two neighbours, the first in its lower half.
template <class T, int V>
struct BFloat16Panel : NarrowPanel<T> {
    using Input = BFloat16Panel;
    using Recurrent = BFloat16Panel;
    static constexpr int kNeighbours = 2;
    static constexpr bool kScaled = false;

    GATEWRIGHT_INLINE BFloat16Panel(const Narrow& W, int64_t block, int64_t width)
        : NarrowPanel<T>{W.data + block * operands_of<uint32_t>(width) * 4 * V} {}
    GATEWRIGHT_INLINE Vec<T, V> vector(int j, int neighbour) const {
        const Vec<uint32_t, V> weight = load<V>(this->row + j * V) << (16 - 16 * neighbour) & 0xFFFF0000u;
        return __builtin_convertvector((Vec<float, V>)weight, Vec<T, V>);
    }
    GATEWRIGHT_INLINE void next() { this->row += 4 * V; }
};

// A lane holds four neighbours, the first in its lowest byte.
template <class T, int V>
struct Int8Panel : NarrowPanel<T> {
    static constexpr int kNeighbours = 4;
    static constexpr bool kScaled = true;

    const float* scale;  // (4, V)

    GATEWRIGHT_INLINE Int8Panel(const Narrow& W, int64_t block, int64_t width)
        : NarrowPanel<T>{W.data + block * quads_of(width) * 4 * V}, scale(W.scale + block * 4 * V) {}
    GATEWRIGHT_INLINE Vec<T, V> vector(int j, int neighbour) const {
        // In the highest byte a weight has its sign, and is 2^24 times itself: the scale takes that back.
        const Vec<uint32_t, V> weight = load<V>(this->row + j * V) << (24 - 8 * neighbour) & 0xFF000000u;
        return __builtin_convertvector((Vec<int32_t, V>)weight, Vec<T, V>);
    }
    GATEWRIGHT_INLINE void next() { this->row += 4 * V; }
    GATEWRIGHT_INLINE Vec<T, V> scales(int j) const {
        return __builtin_convertvector(load<V>(scale + j * V), Vec<T, V>);
    }
};

// The same, for operands of one byte; OfRow: each row of them is of numbers of its own size.
template <int V, bool OfRow>
struct BytePanel : NarrowPanel<float> {
    static constexpr int kRows = kByteRows;
    static constexpr bool kBytes = true, kOfRow = OfRow;

    const float* scale;    // (4, V)
    const int32_t* start;  // (4, V)

    GATEWRIGHT_INLINE BytePanel(const Narrow& W, int64_t block, int64_t quads)
        : NarrowPanel<float>{W.data + block * quads * 4 * V},
          scale(W.scale + block * 4 * V),
          start(W.start + block * 4 * V) {}
    GATEWRIGHT_INLINE Vec<uint32_t, V> vector(int j) const { return load<V>(this->row + j * V); }
    GATEWRIGHT_INLINE void next() { this->row += 4 * V; }
};

// Panels of a walk with weights of int8 that are widened, and of one of bytes.
template <int V>
struct WidenedFormat {
    using Input = Int8Panel<float, V>;
    using Recurrent = Input;
    static constexpr int kRows = Input::kRows;
};
template <int V, bool OfRow>
struct ByteFormat {
    using Input = BytePanel<V, true>;
    using Recurrent = BytePanel<V, OfRow>;
    static constexpr int kRows = kByteRows;
};

// What a panel's weights are multiplied with, in memory.
template <class Panel, class S>
using LeftOf = std::conditional_t<Panel::kBytes, uint32_t, Operand<S>>;

// Elements of those in a row of `width` numbers.
template <class Panel, class S>
GATEWRIGHT_INLINE int64_t depth_of(int64_t width) {
    return Panel::kBytes ? quads_of(width) : operands_of<Operand<S>>(width);
}

// One k of accumulate(), whose weights are neighbours of others.
template <int R, int V, class T, class S, class Panel>
GATEWRIGHT_INLINE void accumulate_neighbour(Vec<T, V> (&tile)[R][4], const S* a, int64_t row, const Panel& panel,
                                            int neighbour) {
    Vec<T, V> left[R];
    GATEWRIGHT_UNROLL
    for (int r = 0; r < R; ++r) left[r] = broadcast<V>(static_cast<T>(a[r * row]));
    GATEWRIGHT_UNROLL
    for (int j = 0; j < 4; ++j) {
        const Vec<T, V> right = panel.vector(j, neighbour);
        GATEWRIGHT_UNROLL
        for (int r = 0; r < R; ++r) tile[r][j] = fma_of<T, V>(left[r], right, tile[r][j]);
    }
}

// accumulate() of weights that are widened as they are loaded.
template <int R, int V, class T, class S, class Panel>
GATEWRIGHT_INLINE void accumulate_widened(Vec<T, V> (&tile)[R][4], const S* __restrict a, int64_t row, Panel panel,
                                          int64_t count) {
    constexpr int kNeighbours = Panel::kNeighbours;
    for (; count >= kNeighbours; count -= kNeighbours, a += kNeighbours, panel.next()) {
        GATEWRIGHT_UNROLL
        for (int k = 0; k < kNeighbours; ++k) accumulate_neighbour<R, V, T>(tile, a + k, row, panel, k);
    }
    for (int k = 0; k < count; ++k) accumulate_neighbour<R, V, T>(tile, a + k, row, panel, k);
}

// tile[r] += W a[r * row], for a of `width` operands.
//   scales  what a row of bytes is whole numbers of, where each has its own
template <int R, int V, class T, class S, class Panel>
GATEWRIGHT_INLINE void add_gates(Vec<T, V> (&tile)[R][4], const S* a, int64_t row, const Panel& W, int64_t width,
                                 [[maybe_unused]] const float* scales) {
    if constexpr (Panel::kBytes) {
        Vec<int32_t, V> sum[R][4];
        for (int j = 0; j < 4; ++j) {
            const Vec<int32_t, V> start = load<V>(W.start + j * V);
            GATEWRIGHT_UNROLL
            for (int r = 0; r < R; ++r) sum[r][j] = start;
        }
        accumulate<R, 4, V, int32_t>(sum, a, row, 1, W, width);
        for (int j = 0; j < 4; ++j) {
            const Vec<T, V> of_weights = load<V>(W.scale + j * V);
            GATEWRIGHT_UNROLL
            for (int r = 0; r < R; ++r) {
                Vec<T, V> scale = of_weights;
                if constexpr (Panel::kOfRow) scale = scale * broadcast<V>(scales[r]);
                tile[r][j] = Lanes<T, V>::fma(__builtin_convertvector(sum[r][j], Vec<T, V>), scale, tile[r][j]);
            }
        }
    } else if constexpr (Panel::kScaled) {
        Vec<T, V> sum[R][4]{};
        accumulate_widened<R, V, T>(sum, a, row, W, width);
        for (int j = 0; j < 4; ++j) {
            const Vec<T, V> scale = W.scales(j);
            GATEWRIGHT_UNROLL
            for (int r = 0; r < R; ++r) tile[r][j] = Lanes<T, V>::fma(sum[r][j], scale, tile[r][j]);
        }
    } else if constexpr (Panel::kNeighbours > 1) {
        accumulate_widened<R, V, T>(tile, a, row, W, width);
    } else {
        accumulate<R, 4, V, T>(tile, a, row, 1, W, width);
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
