#include "support/processor.h"

#if defined(__x86_64__)

#include <cpuid.h>

#include <cstdint>

namespace gatewright {

namespace {

struct Leaf {
    unsigned a = 0, b = 0, c = 0, d = 0;
};

Leaf leaf(unsigned number, unsigned part = 0) {
    Leaf found;
    if (!__get_cpuid_count(number, part, &found.a, &found.b, &found.c, &found.d)) return {};
    return found;
}

bool bit(unsigned word, int place) { return word >> place & 1; }

// The registers that the system saves: a bit each, of XCR0.
uint32_t saved_registers() {
    uint32_t lower, upper;
    asm volatile("xgetbv" : "=a"(lower), "=d"(upper) : "c"(0));
    return lower;
}

Processor ask() {
    constexpr uint32_t kAvx = 6, kAvx512 = 0xe6, kTiles = 3u << 17;
    Processor has;
    const Leaf basic = leaf(1), more = leaf(7), rest = more.a >= 1 ? leaf(7, 1) : Leaf{}, tiles = leaf(0x1d, 1),
               amd = leaf(0x8000001a);
    if (!bit(basic.c, 27)) return has;  // OSXSAVE, without which xgetbv fails
    const uint32_t saved = saved_registers();
    has.avx2 = (saved & kAvx) == kAvx && bit(basic.c, 28) && bit(basic.c, 12) && bit(more.b, 5);
    has.avxvnni = has.avx2 && bit(rest.a, 4);
#if defined(__APPLE__)
    const bool saves_512 = true;  // macOS begins to save them when they are first used
#else
    const bool saves_512 = (saved & kAvx512) == kAvx512;
#endif
    has.avx512 = has.avx2 && saves_512 && bit(more.b, 16) && bit(more.b, 17) && bit(more.b, 30) && bit(more.b, 31);
    has.avx512_vnni = has.avx512 && bit(more.c, 11);
    has.avx512_bf16 = has.avx512_vnni && bit(rest.a, 5);
    has.amx = has.avx512_bf16 && (saved & kTiles) == kTiles && bit(more.d, 24) && bit(more.d, 22) &&
              tiles.b >> 16 >= 8 && (tiles.b & 0xffff) >= 64 && (tiles.c & 0xffff) >= 16;
    has.halved_512 = bit(amd.a, 2) && !bit(amd.a, 3);  // FP256, and no FP512
    return has;
}

}  // namespace

const Processor& processor() {
    static const Processor found = ask();
    return found;
}

}  // namespace gatewright

#endif
