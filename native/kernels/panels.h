// Weights into panels, and gradients back out of them.
#pragma once

#include "kernels/gemm.h"
#include "kernels/heads.h"
#include "kernels/lstm.h"

namespace gatewright::GATEWRIGHT_TARGET {

template <class T, int V, class S = T>
int64_t panels_size(const Sizes& n, bool forward, bool backward) {
    using W = PanelElement<T, S>;
    const int64_t H = blocks_of<V>(n.H) * V, P = blocks_of<V>(n.P) * V, D = blocks_of<V>(n.D) * V;
    int64_t size = 0;
    if (forward) {
        size += 4 * H * (1 + operands_of<W>(n.D) + recurrent_rows<W, V>(n));
        if (n.projected) size += P * operands_of<W>(n.H);
    }
    if (backward) {
        size += operands_of<W>(4 * H) * (D + P);
        if (n.projected) size += H * operands_of<W>(n.P);
    }
    return size;
}

template <class T, int V, class S = T>
Panels<T, PanelElement<T, S>> layout(const Sizes& n, T* memory, bool forward, bool backward) {
    using W = PanelElement<T, S>;
    static_assert(sizeof(W) == sizeof(T));
    const int64_t H = blocks_of<V>(n.H) * V, P = blocks_of<V>(n.P) * V, D = blocks_of<V>(n.D) * V;
    const auto take = [&](bool wanted, int64_t size) {
        T* const here = memory;
        memory += wanted ? size : 0;
        return wanted ? here : nullptr;
    };
    const auto weights = [&](bool wanted, int64_t size) { return reinterpret_cast<W*>(take(wanted, size)); };
    return {take(forward, 4 * H),
            weights(forward, 4 * H * operands_of<W>(n.D)),
            weights(forward, 4 * H * recurrent_rows<W, V>(n)),
            weights(forward && n.projected, P * operands_of<W>(n.H)),
            weights(backward, operands_of<W>(4 * H) * D),
            weights(backward, operands_of<W>(4 * H) * P),
            weights(backward && n.projected, H * operands_of<W>(n.P)),
            WeightFormat::full,
            {},
            {}};
}

// A square of up to V rows and V operands from the k-th on, turned; what is past their ends is zero.
template <class W, int V, class In>
GATEWRIGHT_INLINE void load_turned(Vec<W, V> (&square)[V], In source, int64_t width, int64_t rows, int64_t k) {
    for (int v = 0; v < V; ++v)
        square[v] = v < rows ? load_operands<W, V>(source + v * width, k, width) : Vec<W, V>{};
    transpose<V, W>(square);
}

// Asks for the lines of the operands of a square from the k-th on: rows at a distance are not what hardware
// foresees.
template <class W, int V, class In>
GATEWRIGHT_INLINE void expect_square(In source, int64_t width, int64_t rows, int64_t k) {
    constexpr int64_t kLine = 64, kNumbers = std::is_same_v<W, uint32_t> ? 2 * V : V;
    const In first = source + kNumbers / V * k;
    const int64_t bytes = kNumbers * bytes_of(source);
    for (int64_t v = 0; v < rows; ++v) {
        const auto* const row = static_cast<const char*>(address(first + v * width));
        for (int64_t n = 0; n < bytes; n += kLine) __builtin_prefetch(row + n);
    }
}

GATEWRIGHT_INLINE int64_t at_most(int64_t count, int64_t limit) { return count < limit ? count : limit; }

// weights (4H, width) to (blocks, width, 4, V), for these blocks.
template <class W, int V, class In>
void pack_gates(In weights, int64_t H, int64_t width, W* panels, int64_t begin, int64_t end) {
    const int64_t depth = operands_of<W>(width);
    for (int64_t block = begin; block < end; ++block) {
        W* const panel = panels + block * depth * 4 * V;
        const int64_t lanes = at_most(H - block * V, V);
        for (int64_t gate = 0; gate < 4; ++gate) {
            const In source = weights + (gate * H + block * V) * width;
            for (int64_t k = 0; k < depth; k += V) {
                const int64_t columns = at_most(depth - k, V);
                if (k + V < depth)
                    expect_square<W, V>(source, width, lanes, k + V);
                else if (gate < 3)
                    expect_square<W, V>(source + H * width, width, lanes, 0);
                Vec<W, V> square[V];
                load_turned<W, V>(square, source, width, lanes, k);
                for (int64_t n = 0; n < columns; ++n) store<V>(panel + ((k + n) * 4 + gate) * V, square[n]);
            }
        }
    }
}

// Operands of two rows of weights: of one column each a lane.  Numbers: those of the first row alone.
template <class W, int V, class In>
GATEWRIGHT_INLINE Vec<W, V> load_rows(In first, In second, int64_t column, int64_t width) {
    if constexpr (std::is_same_v<W, uint32_t>) {
        const auto row = [&](In p) { return p ? load<V>(p + column, width - column) : Vec<float, V>{}; };
        return zipped<V>(row(first), row(second));
    } else {
        return first ? load<V>(first + column, width - column) : Vec<W, V>{};
    }
}

// One row of `width` columns, or the pairs of two, to row k of panels (groups, depth, N, V); null: zeros.
template <class W, int V, class In>
void pack_row(In first, In second, int64_t width, W* panels, int64_t depth, int64_t k) {
    for_groups(0, blocks_of<V>(width), blocks_of<V>(width), [&]<int N>(int64_t block) {
        W* const row = panels + block * V * depth + k * N * V;
        for (int64_t j = 0; j < N; ++j)
            store<V>(row + j * V, load_rows<W, V>(first, second, (block + j) * V, width));
    });
}

// weights (4H, width) to (groups of width, blocks of H, 4, V, N, V), rows in the order in which dgates lie.
template <class W, int V, class In>
void pack_transposed(In weights, int64_t H, int64_t width, W* panels, int64_t begin, int64_t end) {
    constexpr int64_t kRows = 4 * V / operands_of<W>(4 * V);  // of an operand
    const auto row = [&](int64_t gate, int64_t unit) -> In {
        return unit < H ? weights + (gate * H + unit) * width : nullptr;
    };
    const int64_t depth = operands_of<W>(blocks_of<V>(H) * 4 * V);
    for (int64_t k = operands_of<W>(begin * 4 * V); k < operands_of<W>(end * 4 * V); ++k) {
        const int64_t place = k * kRows, unit = place / (4 * V) * V + place % V, gate = place / V % 4;
        pack_row<W, V, In>(row(gate, unit), row(gate, unit + 1), width, panels, depth, k);
    }
}

// Pairs of weights (4H, width) to (width, blocks, 4, V / 2), in the order in which dgates lie: for narrow inputs.
template <int V, class In>
void pack_columns(In weights, int64_t H, int64_t width, uint32_t* columns, int64_t begin, int64_t end) {
    const int64_t depth = operands_of<uint32_t>(blocks_of<V>(H) * 4 * V);
    for (int64_t column = 0; column < width; ++column) {
        auto* const out = reinterpret_cast<BFloat16*>(columns + column * depth);
        for (int64_t place = begin * 4 * V; place < end * 4 * V; ++place) {
            const int64_t unit = place / (4 * V) * V + place % V, gate = place / V % 4;
            out[place] = unit < H ? number_of(weights + ((gate * H + unit) * width + column)) : BFloat16{0};
        }
    }
}

// weights (P, H) to (groups of P, H, N, V).
template <class W, int V, class In>
void pack_projection(In weights, int64_t P, int64_t H, W* panels) {
    const int64_t depth = operands_of<W>(H);
    for_groups(0, blocks_of<V>(P), blocks_of<V>(P), [&]<int N>(int64_t first) {
        W* const group = panels + first * V * depth;
        for (int64_t j = 0; j < N; ++j) {
            const int64_t p = (first + j) * V;
            for (int64_t k = 0; k < depth; k += V) {
                const int64_t columns = at_most(depth - k, V);
                Vec<W, V> square[V];
                load_turned<W, V>(square, weights + p * H, H, P - p, k);
                for (int64_t n = 0; n < columns; ++n) store<V>(group + ((k + n) * N + j) * V, square[n]);
            }
        }
    });
}

// b_ih + b_hh to (blocks, 4, V), for these blocks.
template <class T, int V, class S>
void pack_bias(const Weights<T, S>& weights, int64_t H, T* bias, int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block)
        for (int64_t gate = 0; gate < 4; ++gate) {
            const int64_t row = gate * H + block * V, lanes = H - block * V;
            Vec<T, V> sum{};
            if (weights.b_ih) sum = load<V>(weights.b_ih + row, lanes) + load<V>(weights.b_hh + row, lanes);
            store<V>(bias + (block * 4 + gate) * V, sum);
        }
}

template <class T, int V, class S = T>
void pack(const Sizes& n, const Weights<T, S>& weights, const Panels<T, PanelElement<T, S>>& panels, bool forward,
          bool backward, int rank, int size) {
    using W = PanelElement<T, S>;
    const Part blocks(blocks_of<V>(n.H), rank, size);
    if (forward) {
        pack_bias<T, V>(weights, n.H, panels.bias, blocks.begin, blocks.end);
        pack_gates<W, V>(weights.W_ih, n.H, n.D, panels.W_ih, blocks.begin, blocks.end);
        if (aligned<V>(n))
            pack_gates<W, V>(weights.W_hh, n.H, n.read(), panels.W_hh, blocks.begin, blocks.end);
        else
            pack_heads<W, V>(weights.W_hh, n, panels.W_hh, blocks.begin, blocks.end);
        if (n.projected && rank == 0) pack_projection<W, V>(weights.W_hr, n.P, n.H, panels.W_hr);
    }
    if (!backward) return;
    if (panels.W_ih_t && kPairs<S> && n.D <= kNarrowInput)
        if constexpr (kPairs<S>) pack_columns<V>(weights.W_ih, n.H, n.D, panels.W_ih_t, blocks.begin, blocks.end);
    if (panels.W_ih_t && (!kPairs<S> || n.D > kNarrowInput))
        pack_transposed<W, V>(weights.W_ih, n.H, n.D, panels.W_ih_t, blocks.begin, blocks.end);
    if (panels.W_hh_t && n.head)
        pack_transposed_heads<W, V>(weights.W_hh, n, panels.W_hh_t, blocks.begin, blocks.end);
    else if (panels.W_hh_t)
        pack_transposed<W, V>(weights.W_hh, n.H, n.P, panels.W_hh_t, blocks.begin, blocks.end);
    if (!n.projected) return;
    using In = WeightsIn<T, S>;
    const Part operands(operands_of<W>(n.P), rank, size);
    for (int64_t k = operands.begin; k < operands.end; ++k) {
        const int64_t p = kPairs<S> ? 2 * k : k;
        pack_row<W, V, In>(weights.W_hr + p * n.H, p + 1 < n.P ? weights.W_hr + (p + 1) * n.H : In(nullptr), n.H,
                           panels.W_hr_t, operands_of<W>(n.P), k);
    }
}

// (blocks, width, 4, V) to (4H, width), for these blocks.
template <class T, int V>
void unpack_gates(const T* panels, int64_t H, int64_t width, T* W, int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
        const T* const panel = panels + block * width * 4 * V;
        const int64_t lanes = at_most(H - block * V, V);
        for (int64_t gate = 0; gate < 4; ++gate) {
            T* const rows = W + (gate * H + block * V) * width;
            for (int64_t k = 0; k < width; k += V) {
                const int64_t columns = at_most(width - k, V);
                Vec<T, V> square[V];
                load_turned<T, V>(square, panel + (k * 4 + gate) * V, 4 * V, columns, 0);
                for (int64_t v = 0; v < lanes; ++v) store<V>(rows + v * width + k, square[v], columns);
            }
        }
    }
}

// (blocks, 4, V) to (4H), for these blocks.
template <class T, int V>
void unpack_bias(const T* panels, int64_t H, T* bias, int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block)
        for (int64_t gate = 0; gate < 4; ++gate)
            store<V>(bias + gate * H + block * V, load<V>(panels + (block * 4 + gate) * V), H - block * V);
}

template <class T, int V, class S = T>
void unpack(const Backward<T, S>& b, T* dW_ih, T* dW_hh, T* db, int rank, int size) {
    const Part blocks(blocks_of<V>(b.sizes.H), rank, size);
    if (dW_ih) unpack_gates<T, V>(b.dW_ih, b.sizes.H, b.sizes.D, dW_ih, blocks.begin, blocks.end);
    if (dW_hh && aligned<V>(b.sizes))
        unpack_gates<T, V>(b.dW_hh, b.sizes.H, b.sizes.read(), dW_hh, blocks.begin, blocks.end);
    else if (dW_hh)
        unpack_heads<T, V>(b.dW_hh, b.sizes, dW_hh, blocks.begin, blocks.end);
    if (db) unpack_bias<T, V>(b.db, b.sizes.H, db, blocks.begin, blocks.end);
}

}  // namespace gatewright::GATEWRIGHT_TARGET
