// The entries of a target with tile registers; its source sets GATEWRIGHT_AMX, and GATEWRIGHT_AMX_MODEL for those
// of the model.
#pragma once

#include "kernels/target.h"

namespace gatewright::GATEWRIGHT_TARGET {

// An entry with this thread's tile registers configured.
template <auto Entry>
struct WithTiles;
template <class... Arguments, void (*Entry)(Arguments...)>
struct WithTiles<Entry> {
    static void call(Arguments... arguments) {
        const TileScope scope;
        Entry(arguments...);
    }
};

constexpr Kernels<float, BFloat16> tile_kernels = [] {
    Kernels<float, BFloat16> all = bfloat16_kernels<kSide>;
    all.forward = WithTiles<forward<float, BFloat16, kSide>>::call;
    all.adjoint = WithTiles<adjoint<float, kSide, BFloat16>>::call;
    all.products = WithTiles<products<float, kSide, BFloat16>>::call;
    all.linear = WithTiles<linear<float, kSide, BFloat16>>::call;
    return all;
}();

}  // namespace gatewright::GATEWRIGHT_TARGET
