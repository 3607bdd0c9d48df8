#define GATEWRIGHT_TARGET avx512vnni
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

const Int8Kernels avx512vnni_int8 = avx512vnni::int8_kernels<16>;

const Target avx512vnni_target = {"avx512vnni", avx512_f32, avx512_f64, avx512_bf16, &avx512vnni_int8};

}  // namespace gatewright
