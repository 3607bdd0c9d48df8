#define GATEWRIGHT_TARGET avx512bf16
#include "kernels/dispatch.h"
#include "kernels/target.h"

namespace gatewright {

namespace {

const Kernels<float, BFloat16>* const bf16[] = {&avx512bf16::bfloat16_kernels<16>, nullptr};

}  // namespace

const Target avx512bf16_target = {"avx512bf16", avx512_f32, avx512_f64, bf16, &avx512vnni_int8};

}  // namespace gatewright
