// The targets that were compiled, which of them this machine can run, and which one runs.
#pragma once

#include "kernels/lstm.h"

namespace gatewright {

struct Target {
    const char* name;
    // By vector width, widest first; null-terminated.  A result of the forward pass does not depend on which.
    const Kernels<float>* const* f32;
    const Kernels<double>* const* f64;
    const Kernels<float, BFloat16>* const* bf16;  // sums in float, of products of bfloat16
    const Int8Kernels* int8;                      // of the width of the first of f32
};

extern const Target baseline_target, avx2_target, avxvnni_target, avx512_target, avx512vnni_target;
extern const Target avx512bf16_target, amx_target, neon_target, neondot_target;

// The bits of amx on any machine with AVX-512, slowly: for tests, by its name alone and not among targets().
extern const Target amxmodel_target;

// Of avx2 and of neon; avxvnni and neondot have them too, and products of int8 of their own.
extern const Kernels<float>*const avx2_f32[], *const neon_f32[];
extern const Kernels<double>*const avx2_f64[], *const neon_f64[];
extern const Kernels<float, BFloat16>*const avx2_bf16[], *const neon_bf16[];

// Of avx512; avx512vnni has them too, and with avx512bf16 and amx products of int8; these have products of
// bfloat16 of their own.
extern const Kernels<float>* const avx512_f32[];
extern const Kernels<double>* const avx512_f64[];
extern const Kernels<float, BFloat16>* const avx512_bf16[];
extern const Int8Kernels avx512_int8, avx512vnni_int8;

// All that were compiled, best first; null-terminated.
const Target* const* targets();

// Whether this machine runs a target.
bool supported(const Target& target);

// The one in use: forced by select(), else by GATEWRIGHT_TARGET in the environment, else the best supported.
const Target& target();

// Forces a target by name; null or "" undoes that.  False if there is none of that name that runs here.
bool select(const char* name);
bool forced();

// Whether GATEWRIGHT_TARGET names a target that cannot be used here.
const char* refused_target();

// The width at which fewest lanes are wasted on H.
template <class T, class S = T>
const Kernels<T, S>& kernels_for(const Target& target, int64_t H);

// The fastest width for H on this machine, for what only goes forward: gradients depend on the width in their last
// bits, and have to be the same on every machine.
template <class T, class S = T>
const Kernels<T, S>& forward_kernels_for(const Target& target, int64_t H);

}  // namespace gatewright
