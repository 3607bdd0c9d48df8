#define GATEWRIGHT_TARGET avx2
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

const Target avx2_target = {"avx2", {&avx2::kernels<float, 8>}, {&avx2::kernels<double, 4>}};

}  // namespace gatewright
