#include "kernels/dispatch.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace gatewright {

namespace {

const Target* const kTargets[] = {
#if defined(__x86_64__)
    &avx512bf16_target, &avx512_target, &avx2_target,
#elif defined(__aarch64__)
    &neon_target,
#endif
#if !defined(__aarch64__)
    &baseline_target,
#endif
    nullptr};

}  // namespace

const Target* const* targets() { return kTargets; }

// Here, and not with the target: its own source may use instructions that this machine lacks.
bool supported([[maybe_unused]] const Target& target) {
#if defined(__x86_64__)
    if (&target == &avx512bf16_target) return supported(avx512_target) && __builtin_cpu_supports("avx512bf16");
    if (&target == &avx512_target)
        return supported(avx2_target) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (&target == &avx2_target) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return true;
}

namespace {

const Target* find(const char* name) {
    for (const Target* const* each = kTargets; *each; ++each)
        if (std::strcmp((*each)->name, name) == 0 && supported(**each)) return *each;
    return nullptr;
}

const Target* best() {
    const char* const wish = std::getenv("GATEWRIGHT_TARGET");
    if (wish && *wish)
        if (const Target* const found = find(wish)) return found;
    const Target* const* each = kTargets;
    while (!supported(**each)) ++each;
    return *each;
}

std::atomic<const Target*> chosen{nullptr};

}  // namespace

const Target& target() {
    static const Target* const found = best();
    const Target* const wish = chosen.load(std::memory_order_acquire);
    return wish ? *wish : *found;
}

bool select(const char* name) {
    const Target* const found = name && *name ? find(name) : nullptr;
    if (name && *name && !found) return false;
    chosen.store(found, std::memory_order_release);
    return true;
}

bool forced() { return chosen.load(std::memory_order_acquire) != nullptr; }

const char* refused_target() {
    const char* const wish = std::getenv("GATEWRIGHT_TARGET");
    return wish && *wish && !find(wish) ? wish : nullptr;
}

namespace {

template <class T, class S>
const Kernels<T, S>& least_waste(const Kernels<T, S>* const* widths, int64_t H) {
    const Kernels<T, S>* chosen = nullptr;
    const auto padded = [H](const Kernels<T, S>& k) { return (H + k.width - 1) / k.width * k.width; };
    for (; *widths; ++widths)
        if (!chosen || padded(**widths) < padded(*chosen)) chosen = *widths;
    return *chosen;
}

}  // namespace

template <>
const Kernels<float>& kernels_for(const Target& target, int64_t H) {
    return least_waste(target.f32, H);
}

template <>
const Kernels<double>& kernels_for(const Target& target, int64_t H) {
    return least_waste(target.f64, H);
}

template <>
const Kernels<float, BFloat16>& kernels_for(const Target& target, int64_t H) {
    return least_waste(target.bf16, H);
}

}  // namespace gatewright
