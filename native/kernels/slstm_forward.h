// What the walk does with the sLSTM: from pre-activations to all that a step leaves behind.
#pragma once

#include "kernels/general_forward.h"
#include "kernels/slstm_cell.h"

namespace gatewright::GATEWRIGHT_TARGET {

// The rows of a tile, (rows, 4, V), of step s.
template <class T, int V, class S>
__attribute__((noinline)) void finish_slstm(const Forward<T, S>& f, const T* tile, int64_t rows, int64_t s,
                                            int64_t t, int64_t block, int64_t row) {
    const int64_t H = f.sizes.H, unit = block * V, lanes = H - unit;
    const bool exponential = f.variant.exponential_forget;
    for (int64_t r = 0; r < rows; ++r, tile += 4 * V) {
        const RowPlaces<T, S> to(f, s, t, row + r);
        T* const state = f.c + (row + r) * 3 * H + unit;
        const Vec<T, V> pre[4] = {load<V>(tile), load<V>(tile + V), load<V>(tile + 2 * V), load<V>(tile + 3 * V)};
        const auto next = average_step<T, V>(pre, exponential, load<V>(state, lanes), load<V>(state + H, lanes),
                                             load<V>(state + 2 * H, lanes));
        store<V>(state, next.c, lanes);
        store<V>(state + H, next.n, lanes);
        store<V>(state + 2 * H, next.m, lanes);
        Vec<T, V> h = next.o * next.average;
        if (to.h_last) store<V>(to.h_last + unit, h, lanes);
        if (to.y) store_as<T, V>(to.y + unit, h, lanes);
        if (to.mask) h = h * load<V>(to.mask + unit, lanes);
        // Past the units c / n is 0 / 1, for which `to.operands` has room.
        store_operands<T, V>(to.operands, unit, h, lanes);
        if (!to.gates) continue;
        const Gates<T, V> kept = kept_of<T, V>(next, exponential);
        store_as<T, V>(to.gates + unit, kept.i, lanes);
        store_as<T, V>(to.gates + (H + unit), kept.f, lanes);
        store_as<T, V>(to.gates + (2 * H + unit), kept.g, lanes);
        store_as<T, V>(to.gates + (3 * H + unit), kept.o, lanes);
        store_as<T, V>(to.cell + unit, next.average, lanes);
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
