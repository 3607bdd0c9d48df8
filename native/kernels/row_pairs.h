// The rows of a chunk in pairs, once a chunk: products of bfloat16 take two numbers at once of what they sum over,
// which for the gradients of weights are rows.
#pragma once

#include "kernels/gemm.h"
#include "kernels/lstm.h"

namespace gatewright::GATEWRIGHT_TARGET {

// The rows of some segments, one after the other.
template <class In>
class RowCursor {
  public:
    RowCursor(const Segment<In>* segment, int64_t skipped) : segment_(segment), row_(skipped) {}
    In next() {
        while (row_ >= segment_->count) row_ -= segment_++->count;
        return segment_->data + row_++ * segment_->row;
    }

  private:
    const Segment<In>* segment_;
    int64_t row_;  // of the segment
};

// Pairs of two rows of `width` numbers; the second may be null, for zeros.
template <int V, class In>
void pair_numbers(In first, In second, int64_t width, uint32_t* out) {
    for (int64_t k = 0; k < width; k += V) {
        const Vec<float, V> a = load<V>(first + k, width - k);
        const Vec<float, V> b = second ? load<V>(second + k, width - k) : Vec<float, V>{};
        store<V>(out + k, zipped<V>(a, b), width - k);
    }
}

// The same of rows of `width` bfloat16 numbers, a multiple of V: (N, V) of each to (N, V).
template <int V, int N>
GATEWRIGHT_INLINE void pair_vectors(const uint16_t* first, const uint16_t* second, uint32_t* out) {
    constexpr auto lanes = std::make_index_sequence<2 * V>{};
    if constexpr (N % 2 == 0) {
        GATEWRIGHT_UNROLL
        for (int n = 0; n < N; n += 2) {
            const Vec<uint16_t, 2 * V> a = load<2 * V>(first + n * V);
            const Vec<uint16_t, 2 * V> b = second ? load<2 * V>(second + n * V) : Vec<uint16_t, 2 * V>{};
            store<2 * V>(reinterpret_cast<uint16_t*>(out + n * V),
                         interleave<2 * V, uint16_t>(a, b, false, lanes));
            store<2 * V>(reinterpret_cast<uint16_t*>(out + (n + 1) * V),
                         interleave<2 * V, uint16_t>(a, b, true, lanes));
        }
    } else {
        for (int64_t k = 0; k < N * V; ++k) out[k] = first[k] | (second ? uint32_t{second[k]} << 16 : 0);
    }
}

// Row 2 n of rows of `width` operands, as bits, and the row after it; null past the end.
struct TwoRows {
    const uint16_t *first, *second;

    TwoRows(const uint32_t* rows, int64_t width, int64_t count, int64_t pair)
        : first(reinterpret_cast<const uint16_t*>(rows + 2 * pair * width)),
          second(2 * pair + 1 < count ? first + 2 * width : nullptr) {}
};

template <class T, int V>
void pair_rows(const Backward<T, BFloat16>& b, const Chunk<T, BFloat16>& chunk, int rank, int size) {
    const RowPairs& pairs = chunk.pairs;
    const int64_t D = b.sizes.D, P = b.sizes.P, blocks = blocks_of<V>(b.sizes.H), count = pairs.count;
    const Part part(count, rank, size);
    const auto numbers = [&](const Segment<Either<const std::byte>>* segments, int64_t width, uint32_t* out) {
        RowCursor cursor(segments, 2 * part.begin);
        for (int64_t n = part.begin; n < part.end; ++n) {
            const auto first = cursor.next();
            const bool both = 2 * n + 1 < chunk.rows;
            pair_numbers<V>(first, both ? cursor.next() : nullptr, width, out + n * width);
        }
    };
    if (b.dW_ih) numbers(chunk.x, D, pairs.x);
    if (b.dW_hh) numbers(chunk.h, P, pairs.h);
    if (b.db || b.dW_ih || b.dW_hh)
        for (int64_t n = part.begin; n < part.end; ++n) {
            const TwoRows rows(chunk.dgates, blocks * 2 * V, chunk.rows, n);
            for (int64_t block = 0; block < blocks; ++block) {
                const int64_t at = block * 4 * V;
                pair_vectors<V, 4>(rows.first + at, rows.second ? rows.second + at : nullptr,
                                   pairs.dgates + (block * count + n) * 4 * V);
            }
        }
    if (!b.dW_hr) return;
    for (int64_t n = part.begin; n < part.end; ++n) {
        const int64_t width = operands_of<uint32_t>(P);
        const TwoRows projected(chunk.dprojected, width, chunk.rows, n);
        for (int64_t p = 0; p < P; ++p)
            pairs.dprojected[n * P + p] =
                projected.first[p] | (projected.second ? uint32_t{projected.second[p]} << 16 : 0);
        const TwoRows hidden(chunk.hidden, blocks * V / 2, chunk.rows, n);
        for_groups(0, blocks, blocks, [&]<int N>(int64_t block) {
            const int64_t at = block * V;
            pair_vectors<V, N>(hidden.first + at, hidden.second ? hidden.second + at : nullptr,
                               pairs.hidden + (block * count + n * N) * V);
        });
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
