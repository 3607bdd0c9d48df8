// What the native tests stand on: a check that counts, outputs that notice what is written around them, and memory
// that holds NaN where the kernels expect nothing.
#pragma once

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "support/workspace.h"

#if defined(__SANITIZE_ADDRESS__)
#define GATEWRIGHT_ADDRESS_SANITIZER 1
#elif defined(__SANITIZE_THREAD__)
#define GATEWRIGHT_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GATEWRIGHT_ADDRESS_SANITIZER 1
#elif __has_feature(thread_sanitizer)
#define GATEWRIGHT_THREAD_SANITIZER 1
#endif
#endif

namespace gatewright::tests {

inline std::atomic<int64_t> checks{0}, failures{0};
inline thread_local std::string context;  // printed with a failure: what is being run

inline void check(bool good, const std::string& what, const char* file, int line) {
    ++checks;
    if (good) return;
    if (++failures <= 40) std::fprintf(stderr, "%s:%d: %s: %s\n", file, line, context.c_str(), what.c_str());
}

#define CHECK(condition) ::gatewright::tests::check((condition), #condition, __FILE__, __LINE__)
#define CHECK_SAYING(condition, what) ::gatewright::tests::check((condition), (what), __FILE__, __LINE__)

// The entries of a target for type T and storage S.
template <class T, class S>
const Kernels<T, S>* const* kernels_of(const Target& target) {
    if constexpr (std::is_same_v<S, BFloat16>)
        return target.bf16;
    else if constexpr (sizeof(T) == 4)
        return target.f32;
    else
        return target.f64;
}

// Calls visit(target, kernels) for every width of every target that runs here, that target being selected; once
// for entries that two targets share.
template <class T, class S = T, class Visit>
void for_all_kernels(Visit&& visit) {
    for (const Target* const* each = targets(); *each; ++each) {
        if (!supported(**each)) continue;
        if (each[1] && kernels_of<T, S>(**each) == kernels_of<T, S>(*each[1])) continue;
        CHECK(select((*each)->name) && &target() == *each);
        for (const Kernels<T, S>* const* widths = kernels_of<T, S>(**each); *widths; ++widths)
            visit(**each, **widths);
    }
#if defined(__x86_64__)
    if (std::is_same_v<S, BFloat16> && select(amxmodel_target.name))
        visit(amxmodel_target, **kernels_of<T, S>(amxmodel_target));
#endif
    select(nullptr);
}

// Calls visit(target) for every target that runs here, that one being selected.
template <class Visit>
void for_all_targets(Visit&& visit) {
    for (const Target* const* each = targets(); *each; ++each) {
        if (!supported(**each)) continue;
        CHECK(select((*each)->name) && &target() == *each);
        visit(**each);
    }
    select(nullptr);
}

// A NaN that no arithmetic makes: where it still stands, nothing was written.
template <class T>
T untouched() {
    T value;
    if constexpr (sizeof(T) == 4) {
        const uint32_t bits = 0x7fc0dead;
        std::memcpy(&value, &bits, sizeof value);
    } else {
        const uint64_t bits = 0x7ff80000deadbeef;
        std::memcpy(&value, &bits, sizeof value);
    }
    return value;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// An output between two zones that nobody may write; so overruns are found without a sanitizer, too.
template <class T>
class Output {
  public:
    explicit Output(int64_t size) : size_(size), memory_(size + 2 * kZone, untouched<T>()) {}
    T* data() { return memory_.data() + kZone; }
    int64_t size() const { return size_; }

    // All of it has been written, or where `used` is given what that says; and nothing else.
    void check_written(const char* name, const std::vector<char>* used = nullptr) const {
        const T fresh = untouched<T>();
        int64_t missing = 0, strange = 0;
        for (int64_t k = 0; k < static_cast<int64_t>(memory_.size()); ++k) {
            const bool inside = k >= kZone && k < kZone + size_ && (!used || (*used)[k - kZone]);
            if (inside)
                missing += std::isnan(memory_[k]);
            else
                strange += std::memcmp(&memory_[k], &fresh, sizeof(T)) != 0;
        }
        CHECK_SAYING(missing == 0, std::string(name) + ": " + std::to_string(missing) + " elements are NaN");
        CHECK_SAYING(strange == 0, std::string(name) + ": " + std::to_string(strange) + " written outside");
    }

  private:
    static constexpr int64_t kZone = 64;
    const int64_t size_;
    std::vector<T> memory_;
};

// Leaves NaN in the blocks that the next call will work in: one of each size that take_memory gives up to a limit.
inline void soil_memory() {
    constexpr std::size_t kMost = 640 << 10;
    std::vector<void*> blocks;
    for (std::size_t bytes = 64 << 10; bytes < kMost; bytes += bytes / 9) {
        blocks.push_back(take_memory(bytes));
        std::memset(blocks.back(), 0xff, bytes);
    }
    for (void* const block : blocks) give_memory(block);
}

void test_activations();
void test_amx();
void test_bfloat16();
void test_bfloat16_backward();
void test_dispatch();
void test_memory();
void test_concurrent_calls();
void test_fork();
void test_int8();
void test_int8_emulated();
void test_linear();
void test_stream();
void test_stream_allocations();
void test_stream_inputs();
void test_storage();
void test_values();
void test_variants();

}  // namespace gatewright::tests
