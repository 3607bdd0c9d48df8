// A small pool of threads that sleeps when idle.
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
    int size() const { return size_; }
    // Waits until every thread of the team is here: spins for some microseconds, then yields.
    void barrier();

  private:
    const int size_;
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

// Workers that exist now, idle ones included.
int pool_size();

}  // namespace gatewright
