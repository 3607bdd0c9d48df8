#define GATEWRIGHT_TARGET neondot
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

const Target neondot_target = {"neondot", neon_f32, neon_f64, neon_bf16, &neondot::int8_kernels<4>};

}  // namespace gatewright
