#define GATEWRIGHT_TARGET baseline
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

const Target baseline_target = {"baseline", {&baseline::kernels<float, 4>}, {&baseline::kernels<double, 2>}};

}  // namespace gatewright
