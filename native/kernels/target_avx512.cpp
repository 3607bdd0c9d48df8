#define GATEWRIGHT_TARGET avx512
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

const Kernels<float>* const avx512_f32[] = {&avx512::kernels<float, 16>, &avx512::kernels<float, 8>, nullptr};
const Kernels<double>* const avx512_f64[] = {&avx512::kernels<double, 8>, &avx512::kernels<double, 4>, nullptr};

const Kernels<float, BFloat16>* const avx512_bf16[] = {&avx512::bfloat16_kernels<16>, nullptr};

const Int8Kernels avx512_int8 = avx512::int8_kernels<16>;

const Target avx512_target = {"avx512", avx512_f32, avx512_f64, avx512_bf16, &avx512_int8};

}  // namespace gatewright
