#include "kernels/dispatch.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include "support/amx.h"
#include "support/processor.h"

namespace gatewright {

namespace {

const Target* const kTargets[] = {
#if defined(__x86_64__)
    &amx_target,      &avx512bf16_target, &avx512vnni_target, &avx512_target, &avxvnni_target, &avx2_target,
#elif defined(__aarch64__)
    &neondot_target, &neon_target,
#endif
#if !defined(__aarch64__)
    &baseline_target,
#endif
    nullptr};

}  // namespace

const Target* const* targets() { return kTargets; }

namespace {

// Products of bytes on ARM, sdot.
[[maybe_unused]] bool has_byte_products() {
#if defined(__aarch64__) && defined(__linux__)
    constexpr unsigned long kDotProducts = 1ul << 20;  // HWCAP_ASIMDDP
    return getauxval(AT_HWCAP) & kDotProducts;
#elif defined(__aarch64__) && defined(__APPLE__)
    return true;  // every processor of Apple's that runs macOS
#else
    return false;
#endif
}

}  // namespace

// Here, and not with the target: its own source may use instructions that this machine lacks.
bool supported([[maybe_unused]] const Target& target) {
#if defined(__x86_64__)
    if (&target == &amx_target) return amx_permitted();
    if (&target == &avx512_target || &target == &amxmodel_target) return processor().avx512;
    if (&target == &avx512bf16_target) return processor().avx512_bf16;
    if (&target == &avx512vnni_target) return processor().avx512_vnni;
    if (&target == &avxvnni_target) return processor().avxvnni;
    if (&target == &avx2_target) return processor().avx2;
#elif defined(__aarch64__)
    if (&target == &neondot_target) return has_byte_products();
#endif
    return true;
}

namespace {

const Target* find(const char* name) {
    for (const Target* const* each = kTargets; *each; ++each)
        if (std::strcmp((*each)->name, name) == 0 && supported(**each)) return *each;
#if defined(__x86_64__)
    if (std::strcmp(amxmodel_target.name, name) == 0 && supported(amxmodel_target)) return &amxmodel_target;
#endif
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

namespace {

// Whether vectors of 512 bits gain nothing.
bool halved_vectors() {
#if defined(__x86_64__)
    return processor().halved_512;
#else
    return false;
#endif
}

template <class T>
const Kernels<T>& fewest_vectors(const Kernels<T>* const* widths, int64_t H) {
    const Kernels<T>* chosen = nullptr;
    const auto vectors = [H](const Kernels<T>& k) { return (H + k.width - 1) / k.width; };
    for (; *widths; ++widths)
        if (!chosen || vectors(**widths) <= vectors(*chosen)) chosen = *widths;
    return *chosen;
}

template <class T>
const Kernels<T>& fastest(const Target& target, const Kernels<T>* const* widths, int64_t H) {
    static const bool halved = halved_vectors();
    return halved ? kernels_for<T>(target, H) : fewest_vectors(widths, H);
}

}  // namespace

template <>
const Kernels<float>& forward_kernels_for(const Target& target, int64_t H) {
    return fastest(target, target.f32, H);
}

template <>
const Kernels<double>& forward_kernels_for(const Target& target, int64_t H) {
    return fastest(target, target.f64, H);
}

template <>
const Kernels<float, BFloat16>& forward_kernels_for(const Target& target, int64_t H) {
    return kernels_for<float, BFloat16>(target, H);
}

}  // namespace gatewright
