#define GATEWRIGHT_TARGET amx
#define GATEWRIGHT_AMX
#include "kernels/amx_target.h"
#include "kernels/dispatch.h"

namespace gatewright {

namespace {

const Kernels<float, BFloat16>* const bf16[] = {&amx::tile_kernels, nullptr};

}  // namespace

const Target amx_target = {"amx", avx512_f32, avx512_f64, bf16, &avx512vnni_int8};

}  // namespace gatewright
