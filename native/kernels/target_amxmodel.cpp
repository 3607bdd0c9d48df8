#define GATEWRIGHT_TARGET amxmodel
#define GATEWRIGHT_AMX
#define GATEWRIGHT_AMX_MODEL
#include "kernels/amx_target.h"
#include "kernels/dispatch.h"

namespace gatewright {

namespace {

const Kernels<float, BFloat16>* const bf16[] = {&amxmodel::tile_kernels, nullptr};

}  // namespace

const Target amxmodel_target = {"amx-model", avx512_f32, avx512_f64, bf16, &avx512_int8};

}  // namespace gatewright
