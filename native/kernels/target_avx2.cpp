#define GATEWRIGHT_TARGET avx2
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

const Kernels<float>* const avx2_f32[] = {&avx2::kernels<float, 8>, nullptr};
const Kernels<double>* const avx2_f64[] = {&avx2::kernels<double, 4>, nullptr};
const Kernels<float, BFloat16>* const avx2_bf16[] = {&avx2::bfloat16_kernels<8>, nullptr};

const Target avx2_target = {"avx2", avx2_f32, avx2_f64, avx2_bf16, &avx2::int8_kernels<8>};

}  // namespace gatewright
