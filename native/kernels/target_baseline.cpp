#define GATEWRIGHT_TARGET baseline
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

namespace {

const Kernels<float>* const f32[] = {&baseline::kernels<float, 4>, nullptr};
const Kernels<double>* const f64[] = {&baseline::kernels<double, 2>, nullptr};
const Kernels<float, BFloat16>* const bf16[] = {&baseline::bfloat16_kernels<4>, nullptr};

}  // namespace

const Target baseline_target = {"baseline", f32, f64, bf16, &baseline::int8_kernels<4>};

}  // namespace gatewright
