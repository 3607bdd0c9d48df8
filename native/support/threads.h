// The threads of a call: from a small pool that sleeps when idle, or, where torch is at work, from torch's OpenMP.
//
// Threads of OpenMP spin for milliseconds after each region, waiting for the next.  A second pool beside them
// would have to share the cores with that, so with torch in the process a call runs as a region of its OpenMP.
//
// A call takes idle workers for itself, as many as it may and as there are, and gives them back: calls from many
// threads at once do not wait for each other, they only get fewer workers.  What is computed does not depend on
// it. After a fork the child starts with an empty pool.
#pragma once

#include <atomic>

namespace gatewright {

// The threads of one call; they all run at once, so that barriers are safe.
class Team {
  public:
    explicit Team(int size) : size_(size) {}
    int size() const { return size_.load(std::memory_order_relaxed); }
    void resize(int size) { size_.store(size, std::memory_order_relaxed); }
    // Waits until every thread of the team is here: spins for some microseconds, then yields.
    void barrier();

  private:
    std::atomic<int> size_;
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<int> round_{0};
};

// Calls job(context, rank, team) on up to `threads` threads at once, the calling one as rank 0.  job must not
// throw.
void run_team(int threads, void (*job)(void* context, int rank, Team& team), void* context);

template <class Body>
void run_team(int threads, Body&& body) {
    run_team(
        threads, [](void* context, int rank, Team& team) { (*static_cast<Body*>(context))(rank, team); }, &body);
}

// From now on runs calls as regions of the OpenMP that this process has loaded; false if it has none.
bool share_openmp();
bool shares_openmp();

// Workers of the pool that exist now, idle ones included.
int pool_size();

}  // namespace gatewright
