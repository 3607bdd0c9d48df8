#include "support/amx.h"

#include "support/processor.h"
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace gatewright {

#if defined(__x86_64__) && defined(__linux__)

namespace {

bool granted() {
    constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace

bool amx_permitted() {
    static const bool permitted = processor().amx && granted();
    return permitted;
}

#else

bool amx_permitted() { return false; }

#endif

}  // namespace gatewright
