#define GATEWRIGHT_TARGET avxvnni
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

const Target avxvnni_target = {"avxvnni", avx2_f32, avx2_f64, avx2_bf16, &avxvnni::int8_kernels<8>};

}  // namespace gatewright
