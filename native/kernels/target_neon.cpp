#define GATEWRIGHT_TARGET neon
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

const Kernels<float>* const neon_f32[] = {&neon::kernels<float, 4>, nullptr};
const Kernels<double>* const neon_f64[] = {&neon::kernels<double, 2>, nullptr};
const Kernels<float, BFloat16>* const neon_bf16[] = {&neon::bfloat16_kernels<4>, nullptr};

const Target neon_target = {"neon", neon_f32, neon_f64, neon_bf16, &neon::int8_kernels<4>};

}  // namespace gatewright
