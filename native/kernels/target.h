// Everything of one target; a target_*.cpp sets GATEWRIGHT_TARGET and includes this.
#pragma once

#include "kernels/adjoint.h"
#include "kernels/byte_panels.h"
#include "kernels/forward.h"
#include "kernels/general_adjoint.h"
#include "kernels/general_forward.h"
#include "kernels/linear.h"
#include "kernels/panels.h"
#include "kernels/products.h"
#include "kernels/slstm_adjoint.h"
#include "kernels/slstm_forward.h"

namespace gatewright::GATEWRIGHT_TARGET {

template <class T, int V, Vec<T, V> (*Function)(Vec<T, V>)>
void map(const T* x, T* y, int64_t count) {
    for (int64_t k = 0; k < count; k += V) store<V>(y + k, Function(load<V>(x + k, count - k)), count - k);
}

// As many independent chains of fma as fill the pipes, all in registers.
template <class T, int V>
double fma_rounds(int64_t rounds) {
    constexpr int kChains = 12;
    using L = Lanes<T, V>;
    Vec<T, V> chain[kChains];
    GATEWRIGHT_UNROLL
    for (int k = 0; k < kChains; ++k) chain[k] = L::all(k);
    const Vec<T, V> factor = L::all(0.9999), term = L::all(1e-3);
    for (int64_t n = 0; n < rounds; ++n) {
        GATEWRIGHT_UNROLL
        for (int k = 0; k < kChains; ++k) chain[k] = L::fma(chain[k], factor, term);
    }
    Vec<T, V> sum = chain[0];
    GATEWRIGHT_UNROLL
    for (int k = 1; k < kChains; ++k) sum += chain[k];
    volatile T kept = sum[0];  // so that none of it is left out
    (void)kept;
    return 2.0 * kChains * V * rounds;
}

template <class T, int V>
constexpr Kernels<T> kernels = {V,
                                panels_size<T, V>,
                                layout<T, V>,
                                pack<T, V>,
                                to_operands<T, V, T>,
                                forward<T, T, V>,
                                adjoint<T, V, T>,
                                hidden_mask<T>,
                                nullptr,
                                products<T, V, T>,
                                unpack<T, V>,
                                unpack_vectors<T, V, T>,
                                linear_size<T, V, T>,
                                pack_linear<T, V, T>,
                                linear<T, V, T>,
                                map<T, V, sigmoid<T, V>>,
                                map<T, V, tanh<T, V>>,
                                map<T, V, exp_minus<T, V>>,
                                map<T, V, log_sigmoid<T, V>>,
                                fma_rounds<T, V>};

template <int V>
constexpr Int8Kernels int8_kernels = {V, int8_panels_size<V>, int8_layout<V>, int8_pack<V>, int8_forward<V>};

// Products of bfloat16; what is no product is that of float.
template <int V>
constexpr Kernels<float, BFloat16> bfloat16_kernels = {V,
                                                       panels_size<float, V, BFloat16>,
                                                       layout<float, V, BFloat16>,
                                                       pack<float, V, BFloat16>,
                                                       to_operands<float, V, BFloat16>,
                                                       forward<float, BFloat16, V>,
                                                       adjoint<float, V, BFloat16>,
                                                       hidden_mask<float>,
                                                       pair_rows<float, V>,
                                                       products<float, V, BFloat16>,
                                                       unpack<float, V, BFloat16>,
                                                       unpack_vectors<float, V, BFloat16>,
                                                       linear_size<float, V, BFloat16>,
                                                       pack_linear<float, V, BFloat16>,
                                                       linear<float, V, BFloat16>,
                                                       nullptr,
                                                       nullptr,
                                                       nullptr,
                                                       nullptr,
                                                       nullptr};

}  // namespace gatewright::GATEWRIGHT_TARGET
