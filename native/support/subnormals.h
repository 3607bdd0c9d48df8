// Arithmetic without subnormal numbers, for as long as a scope lasts.
#pragma once

#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gatewright {

// In this thread, takes subnormal numbers as zeros and gives zeros for them; the mode before returns at the end.
class FlushSubnormals {
  public:
    explicit FlushSubnormals(bool wanted) : wanted_(wanted) {
        if (!wanted_) return;
        before_ = mode();
        set_mode(before_ | kFlush);
    }
    ~FlushSubnormals() {
        if (wanted_) set_mode(before_);
    }
    FlushSubnormals(const FlushSubnormals&) = delete;
    FlushSubnormals& operator=(const FlushSubnormals&) = delete;

  private:
    const bool wanted_;
    uint64_t before_ = 0;

#if defined(__x86_64__)
    static constexpr uint64_t kFlush = 0x8040;  // of results, and of operands
    static uint64_t mode() { return _mm_getcsr(); }
    static void set_mode(uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
    static constexpr uint64_t kFlush = 1 << 24;
    static uint64_t mode() {
        uint64_t mode;
        asm volatile("mrs %0, fpcr" : "=r"(mode));
        return mode;
    }
    static void set_mode(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#else
    static constexpr uint64_t kFlush = 0;
    static uint64_t mode() { return 0; }
    static void set_mode(uint64_t) {}
#endif
};

}  // namespace gatewright
