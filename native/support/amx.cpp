#include "support/amx.h"

#include <cstdint>
#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace gatewright {

#if defined(__x86_64__) && defined(__linux__)

namespace {

bool bit(unsigned word, int place) { return word >> place & 1; }

// AMX-TILE and AMX-BF16, with registers of 16 rows of 64 bytes.
bool in_processor() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !bit(c, 27)) return false;  // OSXSAVE, without which xgetbv fails
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !bit(d, 24) || !bit(d, 22)) return false;
    if (!__get_cpuid_count(0x1d, 1, &a, &b, &c, &d)) return false;  // palette 1
    return b >> 16 >= 8 && (b & 0xffff) >= 64 && (c & 0xffff) >= 16;
}

// The system saves configuration and registers of each thread.
bool in_system() {
    constexpr uint32_t kTiles = 3u << 17;
    uint32_t lower, upper;
    asm volatile("xgetbv" : "=a"(lower), "=d"(upper) : "c"(0));
    return (lower & kTiles) == kTiles;
}

bool granted() {
    constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace

bool amx_permitted() {
    static const bool permitted = in_processor() && in_system() && granted();
    return permitted;
}

#else

bool amx_permitted() { return false; }

#endif

}  // namespace gatewright
