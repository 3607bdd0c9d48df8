// Runs every native test; exits with 1 if anything failed.
#include <chrono>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "check.h"

using namespace gatewright::tests;

#if defined(GATEWRIGHT_ADDRESS_SANITIZER)
// Fresh memory is NaN.
extern "C" const char* __asan_default_options() {
    return "max_malloc_fill_size=1000000000:malloc_fill_byte=255:detect_stack_use_after_return=1";
}
#endif

namespace {

void measure(const char* name, void (*test)()) {
    const auto begin = std::chrono::steady_clock::now();
    const int64_t before = checks;
    test();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    std::printf("%-19s %8lld checks %7.2f s\n", name, static_cast<long long>(checks - before), seconds.count());
    std::fflush(stdout);
}

}  // namespace

int main() {
#if defined(__GLIBC__) && !defined(GATEWRIGHT_ADDRESS_SANITIZER) && !defined(GATEWRIGHT_THREAD_SANITIZER)
    mallopt(M_PERTURB, 0x80);  // fresh memory is 0x7f: numbers so great that they would be seen
#endif
    measure("concurrent calls", test_concurrent_calls);
    for (const gatewright::Target* const* each = gatewright::targets(); *each; ++each)
        std::printf("target %-11s %s\n", (*each)->name, supported(**each) ? "runs" : "is not supported here");
    measure("dispatch", test_dispatch);
    measure("memory", test_memory);
    measure("activations", test_activations);
    measure("linear", test_linear);
    measure("bfloat16", test_bfloat16);
    measure("bfloat16 backward", test_bfloat16_backward);
    measure("int8", test_int8);
    measure("storage", test_storage);
    measure("values", test_values);
    measure("variants", test_variants);
    measure("stream", test_stream);
    measure("stream inputs", test_stream_inputs);
    measure("stream allocations", test_stream_allocations);
#if !defined(GATEWRIGHT_THREAD_SANITIZER)  // which does not follow a fork of several threads, nor exceptions
    measure("amx", test_amx);
    measure("int8 emulated", test_int8_emulated);
    measure("fork", test_fork);
#endif
    std::printf("%lld failed\n", static_cast<long long>(failures));
    return failures ? 1 : 0;
}
