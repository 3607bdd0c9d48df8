// Memory that is kept for the next call: fresh pages of hundreds of megabytes cost as much as the work done in
// them.
#pragma once

#include <cstddef>

namespace gatewright {

// A block of at least `bytes`, aligned to 64, contents undefined; throws std::bad_alloc.
void* take_memory(std::size_t bytes);

// Gives back what take_memory returned; kept for the next, within a limit, or freed.  Null is fine.
void give_memory(void* block) noexcept;

// Asks for huge pages in memory of somebody else's that is about to be written for the first time: one fault there
// instead of 512.
void expect_writes(void* memory, std::size_t bytes) noexcept;

// Bytes kept and not in use; release_memory frees them.
std::size_t kept_memory();
void release_memory() noexcept;

// A block for as long as this lives.
template <class T>
class Workspace {
  public:
    explicit Workspace(std::size_t count = 0)
        : data_(count ? static_cast<T*>(take_memory(count * sizeof(T))) : nullptr) {}
    ~Workspace() { give_memory(data_); }
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;
    T* get() const { return data_; }

  private:
    T* const data_;
};

}  // namespace gatewright
