#include "support/workspace.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <vector>

#include "support/system.h"

namespace gatewright {

namespace {

constexpr std::size_t kPage = std::size_t{2} << 20;  // a huge page: one fault instead of 512
constexpr std::size_t kHeader = 64;
constexpr std::size_t kSmall = std::size_t{64} << 10;  // below, malloc keeps memory itself

struct Header {
    std::size_t bytes;
};

struct Store {
    std::mutex mutex;
    std::vector<Header*> kept;
    std::size_t kept_bytes = 0, used_bytes = 0, most_bytes = 0;
};

alignas(Store) unsigned char store_memory[sizeof(Store)];

Store& store() {
    static Store* const made = [] {
        auto* const fresh = new (store_memory) Store;
        static Store* const same = fresh;
        at_fork([] { same->mutex.lock(); }, [] { same->mutex.unlock(); }, [] { same->mutex.unlock(); });
        return fresh;
    }();
    return *made;
}

Header* allocate(std::size_t bytes) {
    const bool huge = bytes >= kPage;
    void* const memory = allocate_aligned(huge ? kPage : kHeader, bytes);
    if (!memory) throw std::bad_alloc();
#if defined(__linux__)
    if (huge) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return new (memory) Header{bytes};
}

// Blocks are larger than what was asked for, and live on when given back: lets AddressSanitizer know what of one
// may be touched.
void* allow([[maybe_unused]] Header* header, [[maybe_unused]] std::size_t bytes) {
    unsigned char* const block = reinterpret_cast<unsigned char*>(header) + kHeader;
#if defined(__SANITIZE_ADDRESS__)
    ASAN_POISON_MEMORY_REGION(block, header->bytes - kHeader);
    ASAN_UNPOISON_MEMORY_REGION(block, bytes);
#endif
    return block;
}

// Not so many sizes that none fits the next call, nor so few that memory is wasted: eighths of a power of two.
std::size_t rounded(std::size_t bytes) {
    std::size_t unit = 4096;
    while (unit * 16 < bytes) unit *= 2;
    return (bytes + unit - 1) / unit * unit;
}

}  // namespace

void* take_memory(std::size_t bytes) {
    if (bytes > std::numeric_limits<std::size_t>::max() / 4) throw std::bad_alloc();
    const std::size_t asked = bytes;
    bytes = (bytes + 2 * kHeader - 1) / kHeader * kHeader;
    if (bytes < kSmall) return allow(allocate(bytes), asked);
    bytes = bytes >= kPage ? (rounded(bytes) + kPage - 1) / kPage * kPage : rounded(bytes);
    Store& s = store();
    Header* header = nullptr;
    {
        const std::lock_guard lock(s.mutex);
        const auto fits = [&](const Header* each) {
            return each->bytes >= bytes && each->bytes <= bytes + bytes / 4;
        };
        // The last one given back is the one most likely still in a cache.
        const auto found = std::find_if(s.kept.rbegin(), s.kept.rend(), fits);
        if (found != s.kept.rend()) {
            header = *found;
            s.kept.erase(std::next(found).base());
            s.kept_bytes -= header->bytes;
        }
    }
    if (!header) header = allocate(bytes);
    const std::lock_guard lock(s.mutex);
    s.used_bytes += header->bytes;
    s.most_bytes = std::max(s.most_bytes, s.used_bytes);
    return allow(header, asked);
}

void give_memory(void* block) noexcept {
    if (!block) return;
    auto* const header = reinterpret_cast<Header*>(static_cast<unsigned char*>(block) - kHeader);
    allow(header, 0);
    if (header->bytes < kSmall) return free_aligned(header);
    Store& s = store();
    std::vector<Header*> surplus;
    {
        const std::lock_guard lock(s.mutex);
        s.used_bytes -= header->bytes;
        s.kept.push_back(header);
        s.kept_bytes += header->bytes;
        // Never hold more than was once in use at the same time; the oldest go first.
        while (s.used_bytes + s.kept_bytes > s.most_bytes && !s.kept.empty()) {
            surplus.push_back(s.kept.front());
            s.kept_bytes -= s.kept.front()->bytes;
            s.kept.erase(s.kept.begin());
        }
    }
    for (Header* each : surplus) free_aligned(each);
}

void expect_writes([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__linux__)
    if (bytes < kPage) return;
    const auto begin = (reinterpret_cast<std::uintptr_t>(memory) + kPage - 1) / kPage * kPage;
    const auto end = (reinterpret_cast<std::uintptr_t>(memory) + bytes) / kPage * kPage;
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

std::size_t kept_memory() {
    Store& s = store();
    const std::lock_guard lock(s.mutex);
    return s.kept_bytes;
}

void release_memory() noexcept {
    Store& s = store();
    std::vector<Header*> all;
    {
        const std::lock_guard lock(s.mutex);
        all.swap(s.kept);
        s.kept_bytes = 0;
        s.most_bytes = s.used_bytes;
    }
    for (Header* each : all) free_aligned(each);
}

}  // namespace gatewright
