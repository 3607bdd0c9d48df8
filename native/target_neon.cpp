#define GATEWRIGHT_TARGET neon
#include "dispatch.h"
#include "target.h"

namespace gatewright {

const Target neon_target = {"neon", {&neon::kernels<float, 4>}, {&neon::kernels<double, 2>}};

}  // namespace gatewright
