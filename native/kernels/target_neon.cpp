#define GATEWRIGHT_TARGET neon
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

namespace {

const Kernels<float>* const f32[] = {&neon::kernels<float, 4>, nullptr};
const Kernels<double>* const f64[] = {&neon::kernels<double, 2>, nullptr};
const Kernels<float, BFloat16>* const bf16[] = {&neon::bfloat16_kernels<4>, nullptr};

}  // namespace

const Target neon_target = {"neon", f32, f64, bf16, &neon::int8_kernels<4>};

}  // namespace gatewright
