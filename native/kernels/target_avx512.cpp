#define GATEWRIGHT_TARGET avx512
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

const Target avx512_target = {"avx512",
                              {&avx512::kernels<float, 16>, &avx512::kernels<float, 8>},
                              {&avx512::kernels<double, 8>, &avx512::kernels<double, 4>}};

}  // namespace gatewright
