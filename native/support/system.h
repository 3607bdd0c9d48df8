// What POSIX and Windows each have under a name of their own: memory by alignment, and functions of libraries that
// are loaded already.
#pragma once

#include <cstddef>
#include <cstdlib>
#if defined(_WIN32)
#include <malloc.h>
#else
#include <dlfcn.h>
#include <pthread.h>
#endif

namespace gatewright {

// A multiple of `alignment` bytes, or null; free_aligned gives it back.
inline void* allocate_aligned(std::size_t alignment, std::size_t bytes) {
#if defined(_WIN32)
    return _aligned_malloc(bytes, alignment);
#else
    return std::aligned_alloc(alignment, bytes);
#endif
}

inline void free_aligned(void* memory) {
#if defined(_WIN32)
    _aligned_free(memory);
#else
    std::free(memory);
#endif
}

// A function of whatever library of this process has it, or null.  Always null on Windows, where OpenMP's
// libraries do not offer what this is asked for.
inline void* loaded_function([[maybe_unused]] const char* name) {
#if defined(_WIN32)
    return nullptr;
#else
    return dlsym(RTLD_DEFAULT, name);
#endif
}

// Calls what a fork needs: before, in the parent and in the child.  Windows has no fork.
inline void at_fork([[maybe_unused]] void (*before)(), [[maybe_unused]] void (*parent)(),
                    [[maybe_unused]] void (*child)()) {
#if !defined(_WIN32)
    pthread_atfork(before, parent, child);
#endif
}

}  // namespace gatewright
