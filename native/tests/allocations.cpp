// Stands in for operator new everywhere, and for malloc and its kin where nobody else does: the sanitizers bring
// their own, which may not be replaced, and other C libraries than glibc have no second name for theirs.
#include "allocations.h"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>

#include "check.h"

#if defined(__GLIBC__) && !defined(GATEWRIGHT_ADDRESS_SANITIZER) && !defined(GATEWRIGHT_THREAD_SANITIZER)
#define GATEWRIGHT_COUNT_MALLOC 1
#endif

namespace {

std::atomic<int64_t> count{0};

void* allocate(std::size_t bytes, std::size_t alignment) {
    ++count;
    return alignment <= alignof(std::max_align_t)
               ? std::malloc(bytes ? bytes : 1)
               : std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
}

void* allocate_or_throw(std::size_t bytes, std::size_t alignment) {
    if (void* const block = allocate(bytes, alignment)) return block;
    throw std::bad_alloc();
}

}  // namespace

namespace gatewright::tests {

int64_t allocations() { return count; }

bool counts_malloc() {
#if defined(GATEWRIGHT_COUNT_MALLOC)
    return true;
#else
    return false;
#endif
}

}  // namespace gatewright::tests

// All forms: the sanitizers bring their own of those that are not here, too.
void* operator new(std::size_t bytes) { return allocate_or_throw(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return allocate_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes) { return allocate_or_throw(bytes, 1); }
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
    return allocate_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return allocate(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes, 1); }
void* operator new[](std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t, const std::nothrow_t&) noexcept { std::free(block); }
void operator delete[](void* block) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t) noexcept { std::free(block); }
void operator delete[](void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }
void operator delete[](void* block, const std::nothrow_t&) noexcept { std::free(block); }
void operator delete[](void* block, std::align_val_t, const std::nothrow_t&) noexcept { std::free(block); }

#if defined(GATEWRIGHT_COUNT_MALLOC)
extern "C" {

void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t bytes) noexcept {
    ++count;
    return __libc_malloc(bytes);
}

void* calloc(std::size_t number, std::size_t bytes) noexcept {
    ++count;
    return __libc_calloc(number, bytes);
}

void* realloc(void* block, std::size_t bytes) noexcept {
    ++count;
    return __libc_realloc(block, bytes);
}

void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
    ++count;
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void** block, std::size_t alignment, std::size_t bytes) noexcept {
    ++count;
    *block = __libc_memalign(alignment, bytes);
    return *block ? 0 : ENOMEM;
}

}  // extern "C"
#endif
