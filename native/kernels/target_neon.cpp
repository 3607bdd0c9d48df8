#define GATEWRIGHT_TARGET neon
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

const Target neon_target = {"neon", {&neon::kernels<float, 4>}, {&neon::kernels<double, 2>}};

}  // namespace gatewright
