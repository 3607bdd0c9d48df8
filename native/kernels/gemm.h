// The register tile: R rows times N vectors of a packed panel, and how panels are packed.
//
// Each output is one chain: its start value, then one product after the other, k ascending.  Nothing about the
// tile, its height, the thread or the batch changes that chain, so that none of them changes a bit of the result.
#pragma once

#include "kernels/bfloat16.h"
#include "kernels/simd.h"
#if defined(GATEWRIGHT_AMX)
#include "kernels/amx_products.h"
#endif

namespace gatewright::GATEWRIGHT_TARGET {

// 32 vector registers hold 6 x 4 accumulators, 6 broadcasts and a vector of weights; 16 hold 3 x 4.  A tile that
// goes through the registers of AMX has more rows than its vectors have room: these go through in parts.
#if defined(GATEWRIGHT_AMX)
constexpr int kVectorRows = 4, kTileRows = kSide;
#elif defined(__AVX512F__) || defined(__aarch64__)
constexpr int kVectorRows = 6, kTileRows = kVectorRows;
#else
constexpr int kVectorRows = 3, kTileRows = kVectorRows;
#endif

// The same where panels are of W: parts of pairs, or of four bytes, take registers too, where there are few.
template <class W>
constexpr int kRowsOf = std::is_same_v<W, uint32_t> && kTileRows == 3 ? 2 : kTileRows;

// A panel of N vectors a row, of operands of the arithmetic.  Formats that are widened as they are loaded:
// weights.h.
template <class T, int V, int N>
struct FullPanel {
    const T* row;

    GATEWRIGHT_INLINE Vec<T, V> vector(int j) const { return load<V>(row + j * V); }
    GATEWRIGHT_INLINE int64_t stride() const { return N * V; }
    GATEWRIGHT_INLINE void next() { row += N * V; }
};

// The rows of a panel that are too few for a tile register.
template <class Panel>
struct Rest : Panel {};

// Whether products of operands S and a panel go through tile registers.
#if defined(GATEWRIGHT_AMX)
template <class S, class Panel>
constexpr bool kInTiles = std::is_same_v<S, uint32_t>;
template <class S, class Panel>
constexpr bool kInTiles<S, Rest<Panel>> = false;
#else
template <class S, class Panel>
constexpr bool kInTiles = false;
#endif

// tile[r][j] += sum over k of a[r * row + k * step] * panel[k][j], for k = 0 .. count - 1.  S: how a is stored.
template <int R, int N, int V, class T, class S, class Panel>
    requires(!kInTiles<S, Panel>)
GATEWRIGHT_INLINE void accumulate(Vec<T, V> (&tile)[R][N], const S* __restrict a, int64_t row, int64_t step,
                                  Panel panel, int64_t count) {
    using F = Factors<T, V, S>;
    for (int64_t k = 0; k < count; ++k) {
        GATEWRIGHT_UNROLL
        for (int round = 0; round < F::kRounds; ++round) {
            decltype(F::left(S(), 0)) left[R];
            GATEWRIGHT_UNROLL
            for (int r = 0; r < R; ++r) left[r] = F::left(a[r * row], round);
            GATEWRIGHT_UNROLL
            for (int j = 0; j < N; ++j) {
                const auto right = F::right(panel.vector(j), round);
                GATEWRIGHT_UNROLL
                for (int r = 0; r < R; ++r) tile[r][j] = F::add(left[r], right, tile[r][j]);
            }
        }
        a += step;
        panel.next();
    }
}

#if defined(GATEWRIGHT_AMX)
// The same of pairs: 16 at a time in tile registers, whatever the number of rows, so that no bit depends on that;
// the rest as above.
template <int R, int N, int V, class T, class S, class Panel>
    requires(kInTiles<S, Panel>)
GATEWRIGHT_INLINE void accumulate(Vec<T, V> (&tile)[R][N], const S* __restrict a, int64_t row, int64_t step,
                                  Panel panel, int64_t count) {
    if (const int64_t whole = count / kSide * kSide; whole > 0) {
        add_squares<R, N>(tile, a, row, step, panel.row, panel.stride(), whole);
        a += whole * step;
        panel.row += whole * panel.stride();
        count -= whole;
    }
    if (count == 0) return;
    constexpr int kRows = R < kVectorRows ? R : kVectorRows;
    static_assert(R % kRows == 0);
    for (int first = 0; first < R; first += kRows) {
        Vec<T, V> part[kRows][N];
        for (int r = 0; r < kRows; ++r)
            for (int j = 0; j < N; ++j) part[r][j] = tile[first + r][j];
        accumulate<kRows, N, V, T>(part, a + first * row, row, step, Rest<Panel>{panel}, count);
        for (int r = 0; r < kRows; ++r)
            for (int j = 0; j < N; ++j) tile[first + r][j] = part[r][j];
    }
}
#endif

// Calls body.template operator()<R>(first, ...) for tiles of at most kTileRows rows, heights as equal as can be.
template <int Max, class Body>
GATEWRIGHT_INLINE void with_height(int64_t rows, Body&& body) {
    if constexpr (Max > 1) {
        if (rows != Max) return with_height<Max - 1>(rows, body);
    }
    body.template operator()<Max>();
}

template <int Max = kTileRows, class Body>
GATEWRIGHT_INLINE void for_tiles(int64_t begin, int64_t end, Body&& body) {
#if defined(GATEWRIGHT_AMX)
    // The registers multiply 16 rows at once.  Each height is code of its own: there are those of 16, 8, 4, 2, 1.
    for (; end - begin >= Max; begin += Max) body.template operator()<Max>(begin);
    if constexpr (Max > 1) for_tiles<Max / 2>(begin, end, body);
#else
    if (end <= begin) return;
    const int64_t tiles = (end - begin + Max - 1) / Max;
    const int64_t height = (end - begin) / tiles, taller = (end - begin) % tiles;
    for (int64_t n = 0, first = begin; n < tiles; ++n) {
        const int64_t rows = height + (n < taller ? 1 : 0);
        with_height<Max>(rows, [&]<int R>() { body.template operator()<R>(first); });
        first += rows;
    }
#endif
}

// Columns stand in groups of up to kGroup vectors: group n starts at column kGroup n V.

template <int V>
GATEWRIGHT_INLINE int64_t blocks_of(int64_t width) {
    return (width + V - 1) / V;
}

template <class Body>
GATEWRIGHT_INLINE void for_groups(int64_t block_begin, int64_t block_end, int64_t blocks, Body&& body) {
    for (int64_t first = block_begin; first < block_end; first += kGroup) {
        const int64_t vectors = blocks - first < kGroup ? blocks - first : kGroup;
        with_height<kGroup>(vectors, [&]<int N>() { body.template operator()<N>(first); });
    }
}

// A matrix whose k dimension lies in `pieces` of `length`, `apart` elements from one to the next.
template <class S>
struct Left {
    const S* data;
    int64_t row;
    int64_t pieces, length, apart;
};

// The type of sums of products whose panels are of W.
template <class W>
using SumOf = std::conditional_t<std::is_same_v<W, uint32_t>, float, W>;

// out(row, column)[0 .. columns - column) = sum over k of left[row][k] * panel[k][column], for these rows and
// blocks. Panel: (groups, k, N, V).
template <int V, class S, class W, class Out>
GATEWRIGHT_INLINE void product(const Left<S>& left, int64_t row_begin, int64_t row_end, const W* panel,
                               int64_t block_begin, int64_t block_end, int64_t columns, Out&& out) {
    using T = SumOf<W>;
    const int64_t depth = left.pieces * left.length;
    for_groups(block_begin, block_end, blocks_of<V>(columns), [&]<int N>(int64_t block) {
        const W* const group = panel + block * V * depth;
        for_tiles<kRowsOf<W>>(row_begin, row_end, [&]<int R>(int64_t row) {
            Vec<T, V> tile[R][N]{};
            for (int64_t piece = 0; piece < left.pieces; ++piece)
                accumulate<R, N, V, T>(tile, left.data + piece * left.apart + row * left.row, left.row, 1,
                                       FullPanel<W, V, N>{group + piece * left.length * N * V}, left.length);
            for (int r = 0; r < R; ++r)
                for (int j = 0; j < N; ++j) out(row + r, (block + j) * V, tile[r][j], columns - (block + j) * V);
        });
    });
}

// The part of `count` things that falls to a rank.
struct Part {
    int64_t begin, end;
    Part(int64_t count, int rank, int size) : begin(count * rank / size), end(count * (rank + 1) / size) {}
};

}  // namespace gatewright::GATEWRIGHT_TARGET
