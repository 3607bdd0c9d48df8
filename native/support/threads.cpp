#include "support/threads.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "support/system.h"

namespace gatewright {

namespace {

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Spins until done, but not for long: the next step, layer or call mostly follows within this time, and waking a
// thread costs tens of microseconds.  Returns whether it is done.
template <class Done>
bool spin(Done&& done) {
    using clock = std::chrono::steady_clock;
    constexpr std::chrono::microseconds kPatience{200};
    clock::time_point start{};
    for (int n = 0; !done(); ++n) {
        relax();
        if (n % 64 != 63) continue;
        const clock::time_point now = clock::now();
        if (n == 63)
            start = now;
        else if (now - start > kPatience)
            return false;
    }
    return true;
}

template <class Done>
void spin_then_yield(Done&& done) {
    if (spin(done)) return;
    while (!done()) std::this_thread::yield();
}

struct Job {
    void (*function)(void*, int, Team&) = nullptr;
    void* context = nullptr;
    int rank = 0;
    Team* team = nullptr;
};

struct Worker {
    std::atomic<bool> ready{false};
    std::mutex mutex;
    std::condition_variable wake;
    Job job;
    std::atomic<int>* left = nullptr;

    void give(const Job& next, std::atomic<int>* count) {
        job = next;
        left = count;
        {
            const std::lock_guard lock(mutex);
            ready.store(true, std::memory_order_release);
        }
        wake.notify_one();
    }

    void wait() {
        if (spin([this] { return ready.load(std::memory_order_acquire); })) return;
        std::unique_lock lock(mutex);
        wake.wait(lock, [this] { return ready.load(std::memory_order_acquire); });
    }

    void loop() {
        for (;;) {
            wait();
            ready.store(false, std::memory_order_relaxed);
            job.function(job.context, job.rank, *job.team);
            left->fetch_sub(1, std::memory_order_release);  // the caller may return now: touch nothing of its call
        }
    }
};

// What GCC's and LLVM's OpenMP both offer to code compiled for OpenMP, found when asked for: no need to link to
// either.
struct OpenMP {
    void (*parallel)(void (*)(void*), void*, unsigned, unsigned) = nullptr;
    int (*thread)() = nullptr;
    int (*threads)() = nullptr;
};

OpenMP openmp;
std::atomic<bool> sharing{false};

// Never destroyed: workers may outlive static objects at exit.
struct Pool {
    std::mutex mutex;
    std::vector<Worker*> idle;
    int size = 0;
};

alignas(Pool) unsigned char pool_memory[sizeof(Pool)];
Pool* pool = nullptr;

// In the child there is only the thread that forked; workers, and locks that they held, are gone, and an OpenMP
// that was used before the fork may not be used after it.
void start_afresh() {
    pool = new (pool_memory) Pool;
    sharing.store(false, std::memory_order_relaxed);
}

Pool& the_pool() {
    static const bool once = [] {
        start_afresh();
        at_fork([] { pool->mutex.lock(); }, [] { pool->mutex.unlock(); }, start_afresh);
        return true;
    }();
    (void)once;
    return *pool;
}

std::vector<Worker*> take(int wanted) {
    std::vector<Worker*> taken;
    if (wanted <= 0) return taken;
    Pool& pool = the_pool();
    const std::lock_guard lock(pool.mutex);
    taken.reserve(wanted);
    pool.idle.reserve(pool.size + wanted);
    while (static_cast<int>(taken.size()) < wanted && !pool.idle.empty()) {
        taken.push_back(pool.idle.back());
        pool.idle.pop_back();
    }
    while (static_cast<int>(taken.size()) < wanted && pool.size < wanted) {
        auto* const worker = new Worker;
        try {
            std::thread([worker] { worker->loop(); }).detach();
        } catch (const std::system_error&) {  // no more threads to be had: go on with those there are
            delete worker;
            break;
        }
        ++pool.size;
        taken.push_back(worker);
    }
    return taken;
}

void give_back(const std::vector<Worker*>& taken) {
    Pool& pool = the_pool();
    const std::lock_guard lock(pool.mutex);
    pool.idle.insert(pool.idle.end(), taken.rbegin(), taken.rend());
}

}  // namespace

void Team::barrier() {
    const int size = this->size();
    if (size == 1) return;
    const int round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size - 1) {
        arrived_.store(0, std::memory_order_relaxed);
        round_.store(round + 1, std::memory_order_release);
        return;
    }
    spin_then_yield([&] { return round_.load(std::memory_order_acquire) != round; });
}

namespace {

struct Region {
    void (*job)(void*, int, Team&);
    void* context;
    Team team;
};

void run_region(int threads, void (*job)(void*, int, Team&), void* context) {
    Region region{job, context, Team(threads)};
    openmp.parallel(
        [](void* data) {
            Region& region = *static_cast<Region*>(data);
            region.team.resize(openmp.threads());  // it may give fewer; every thread writes the same number
            region.job(region.context, openmp.thread(), region.team);
        },
        &region, static_cast<unsigned>(threads), 0);
}

}  // namespace

bool share_openmp() {
    OpenMP found;
    found.parallel = reinterpret_cast<decltype(found.parallel)>(loaded_function("GOMP_parallel"));
    found.thread = reinterpret_cast<decltype(found.thread)>(loaded_function("omp_get_thread_num"));
    found.threads = reinterpret_cast<decltype(found.threads)>(loaded_function("omp_get_num_threads"));
    if (!found.parallel || !found.thread || !found.threads) return shares_openmp();
    const std::lock_guard lock(the_pool().mutex);  // a pool, so that a fork is noticed
    if (shares_openmp()) return true;
    openmp = found;
    sharing.store(true, std::memory_order_release);
    return true;
}

bool shares_openmp() { return sharing.load(std::memory_order_acquire); }

void run_team(int threads, void (*job)(void*, int, Team&), void* context) {
    if (threads <= 1) {
        Team alone(1);
        return job(context, 0, alone);
    }
    if (shares_openmp()) return run_region(threads, job, context);
    const std::vector<Worker*> workers = take(threads - 1);
    const int helpers = static_cast<int>(workers.size());
    Team team(helpers + 1);
    std::atomic<int> left{helpers};
    for (int n = 0; n < helpers; ++n) workers[n]->give({job, context, n + 1, &team}, &left);
    job(context, 0, team);
    spin_then_yield([&] { return left.load(std::memory_order_acquire) == 0; });
    if (helpers) give_back(workers);
}

int pool_size() {
    Pool& pool = the_pool();
    const std::lock_guard lock(pool.mutex);
    return pool.size;
}

}  // namespace gatewright
