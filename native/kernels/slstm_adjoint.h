// The adjoint of the sLSTM: one row of a step.  dc has da, dl and rest (slstm_cell.h).
#pragma once

#include "kernels/general_adjoint.h"
#include "kernels/slstm_cell.h"

namespace gatewright::GATEWRIGHT_TARGET {

template <class T, int V, class S>
__attribute__((noinline)) void slstm_adjoint_row(const Backward<T, S>& b, const Chunk<T, S>& chunk, int64_t s,
                                                 int64_t row, const Share& share) {
    const int64_t H = b.sizes.H, t = b.steps.time(s), blocks = blocks_of<V>(H);
    const int64_t place = kept_at<true>(b, t, row), local = chunk.first[s - chunk.begin] + row;
    constexpr int64_t kBlock = operands_of<Operand<S>>(4 * V);
    const auto gates = b.gates + place * 4 * H;
    const auto cell = b.cell + place * H;
    const auto before = cell_before<true>(b, s, row);
    const auto dgates_in = row_or_null<true>(b, b.dgates_in, t, row);
    const auto dcell_in = row_or_null<true>(b, b.dcell_in, t, row);
    const auto dy = row_or_null<true>(b, b.dy, t, row);
    const T* const dh = b.dh + row * H;
    T* const state = b.dc + row * 3 * H;
    Operand<S>* const out = chunk.dgates + local * blocks * kBlock;
    for (int64_t block = share.block_begin; block < share.block_end; ++block) {
        const int64_t unit = block * V, lanes = H - unit;
        Gates<T, V> d{};
        if (dgates_in) d = load_gates<T, V>(dgates_in + unit, H, lanes);
        Vec<T, V> dh_next = load<V>(dh + unit, lanes), da_next = load<V>(state + unit, lanes);
        if (dy) dh_next += load<V>(dy + unit, lanes);
        if (dcell_in) da_next += load<V>(dcell_in + unit, lanes);
        const auto back = average_adjoint<T, V>(
            load_gates<T, V>(gates + unit, H, lanes), load<V>(before + unit, lanes), load<V>(cell + unit, lanes),
            dh_next, da_next, load<V>(state + H + unit, lanes), load<V>(state + 2 * H + unit, lanes), d);
        store<V>(state + unit, back.da, lanes);
        store<V>(state + H + unit, back.dl, lanes);
        store<V>(state + 2 * H + unit, back.rest, lanes);
        store_gates<T, V>(out + block * kBlock, back.dpre);
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
