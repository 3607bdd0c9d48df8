// Weights of the gates into panels of whole numbers of one byte, with a scale for each of their rows.
#pragma once

#include "kernels/bytes.h"
#include "kernels/panels.h"

namespace gatewright::GATEWRIGHT_TARGET {

template <int V>
int64_t int8_panels_size(const Sizes& n) {
    const int64_t rows = blocks_of<V>(n.H) * 4 * V;
    const int64_t projection = n.projected ? blocks_of<V>(n.P) * V * n.H : 0;
    return rows * (5 + quads_of(n.D) + quads_of(n.P)) + projection;
}

template <int V>
Panels<float> int8_layout(const Sizes& n, Bytes x, Bytes h, uint32_t* memory) {
    const int64_t rows = blocks_of<V>(n.H) * 4 * V;
    const auto take = [&](int64_t size) {
        uint32_t* const here = memory;
        memory += size;
        return here;
    };
    const auto narrow = [&](int64_t width, Bytes operands) -> Narrow {
        uint32_t* const weights = take(rows * quads_of(width));
        auto* const scale = reinterpret_cast<float*>(take(rows));
        return {weights, operands, scale, reinterpret_cast<int32_t*>(take(rows))};
    };
    Panels<float> panels{};
    panels.format = WeightFormat::int8;
    panels.bias = reinterpret_cast<float*>(take(rows));
    if (n.projected) panels.W_hr = reinterpret_cast<float*>(take(blocks_of<V>(n.P) * V * n.H));
    panels.narrow_ih = narrow(n.D, x);
    panels.narrow_hh = narrow(n.P, h);
    return panels;
}

// V quads of a row of weights, of which `count` numbers are left: whole numbers of `unit`; none of unit 0.
template <int V>
GATEWRIGHT_INLINE Vec<uint32_t, V> load_quads(const float* weights, int64_t count, float unit) {
    uint32_t quads[V];
    for (int n = 0; n < 4; ++n) {
        Vec<uint32_t, V> numbers{};
        if (unit > 0 && count > n * V)
            numbers = whole<V>(load<V>(weights + n * V, count - n * V) / broadcast<V>(unit));
        store<V>(reinterpret_cast<uint8_t*>(quads) + n * V, __builtin_convertvector(numbers, Vec<uint8_t, V>));
    }
    return load<V>(quads);
}

template <int V>
GATEWRIGHT_INLINE Vec<int32_t, V> sum_of(Vec<uint32_t, V> quads) {
    Vec<int32_t, V> sum{};
    for (int n = 0; n < 4; ++n) sum += (Vec<int32_t, V>)(quads << (24 - 8 * n)) >> 24;
    return sum;
}

// weights (4H, width) to narrow weights, for these blocks; the unit of a row is its largest weight over 127.
template <int V>
void pack_bytes(const float* weights, int64_t H, int64_t width, const Narrow& to, int64_t begin, int64_t end) {
    const int64_t depth = quads_of(width);
    const float divisor = to.operands == Bytes::none ? 0x1p24f : to.operands == Bytes::of_one ? 127 : 1;
    for (int64_t block = begin; block < end; ++block) {
        const int64_t lanes = at_most(H - block * V, V);
        for (int64_t gate = 0; gate < 4; ++gate) {
            const float* const rows = weights + (gate * H + block * V) * width;
            uint32_t* const panel = to.data + (block * depth * 4 + gate) * V;
            float unit[V]{}, scale[V]{};
            for (int64_t v = 0; v < lanes; ++v) {
                const float most = largest<V>(rows + v * width, width);
                unit[v] = is_finite(most) ? most / 127 : 0;
                scale[v] = is_finite(most) ? unit[v] / divisor : __builtin_nanf("");
            }
            Vec<int32_t, V> sum{};
            for (int64_t k = 0; k < depth; k += V) {
                const int64_t columns = at_most(depth - k, V);
                Vec<uint32_t, V> square[V];
                for (int64_t v = 0; v < V; ++v)
                    square[v] = v < lanes ? load_quads<V>(rows + v * width + 4 * k, width - 4 * k, unit[v])
                                          : Vec<uint32_t, V>{};
                transpose<V, uint32_t>(square);
                for (int64_t n = 0; n < columns; ++n) {
                    store<V>(panel + (k + n) * 4 * V, square[n]);
                    sum += sum_of<V>(square[n]);
                }
            }
            store<V>(to.scale + (block * 4 + gate) * V, load<V>(scale));
            store<V>(to.start + (block * 4 + gate) * V, sum * -static_cast<int32_t>(kOffset));
        }
    }
}

template <int V>
void int8_pack(const Sizes& n, const Weights<float>& weights, const Panels<float>& panels, int rank, int size) {
    const Part blocks(blocks_of<V>(n.H), rank, size);
    pack_bias<float, V>(weights, n.H, panels.bias, blocks.begin, blocks.end);
    pack_bytes<V>(weights.W_ih, n.H, n.D, panels.narrow_ih, blocks.begin, blocks.end);
    pack_bytes<V>(weights.W_hh, n.H, n.P, panels.narrow_hh, blocks.begin, blocks.end);
    if (n.projected && rank == 0) pack_projection<float, V>(weights.W_hr, n.P, n.H, panels.W_hr);
}

}  // namespace gatewright::GATEWRIGHT_TARGET
