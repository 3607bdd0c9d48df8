#define GATEWRIGHT_TARGET avx2
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

namespace {

const Kernels<float>* const f32[] = {&avx2::kernels<float, 8>, nullptr};
const Kernels<double>* const f64[] = {&avx2::kernels<double, 4>, nullptr};
const Kernels<float, BFloat16>* const bf16[] = {&avx2::bfloat16_kernels<8>, nullptr};

}  // namespace

const Target avx2_target = {"avx2", f32, f64, bf16, &avx2::int8_kernels<8>};

}  // namespace gatewright
