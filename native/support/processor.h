// What an x86 processor and its system offer, asked of the processor itself: not every compiler's library answers
// __builtin_cpu_supports, and clang on Windows links none.
#pragma once

#if defined(__x86_64__)

namespace gatewright {

// Sets of instructions; each has what those before it in its line need, registers that the system saves included.
struct Processor {
    bool avx2 = false;         // with FMA
    bool avxvnni = false;      // products of bytes in registers of AVX2
    bool avx512 = false;       // F, DQ, BW and VL
    bool avx512_vnni = false;  // products of bytes
    bool avx512_bf16 = false;  // products of bfloat16
    bool amx = false;          // TILE and BF16, in registers of 16 rows of 64 bytes
    bool halved_512 = false;   // an instruction of 512 bits takes the time of two of 256, as on Zen 4
};

// Asks once a process.
const Processor& processor();

}  // namespace gatewright

#endif
