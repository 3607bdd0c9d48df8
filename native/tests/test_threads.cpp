// Many threads that call at once, and children of a process whose pool has worked.
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "problem.h"
#include "support/threads.h"

namespace gatewright::tests {

namespace {

const Case kCase{.T = 40, .B = 6, .D = 8, .H = 40, .record = true};

template <class T>
bool same(const Named<T>& a, const Named<T>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& left, const auto& right) {
        return left.first == right.first && same_bits(left.second, right.second);
    });
}

// The target that runs, at the width that it chooses.
template <class T, class S = T>
Named<T> run_chosen(const Problem<T>& problem, int threads, Split split) {
    return run(kernels_for<T, S>(target(), problem.sizes.H), problem, {threads, split, Keep::record});
}

// Has a child compute; true if it came to the same bits.  A child that hangs is ended by its alarm.
bool child_agrees(const Problem<float>& problem, const Named<float>& expected) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(60);
        const bool good = same(run_chosen(problem, 3, Split::rows), expected) &&
                          same(run_chosen(problem, 2, Split::units), expected);
        release_memory();
        _exit(good ? 0 : 1);
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

// Runs before all else, so that everything that is made on first use is made by several threads at once.
void test_concurrent_calls() {
    const Problem<float> single(kCase);
    const Problem<double> wide(kCase);
    constexpr int kCallers = 4;
    std::vector<Named<float>> singles(kCallers), narrows(kCallers);
    std::vector<Named<double>> wides(kCallers);
    std::atomic<int> ready{0};
    std::vector<std::thread> callers;
    for (int n = 0; n < kCallers; ++n)
        callers.emplace_back([&, n] {
            context = "caller " + std::to_string(n);
            ++ready;
            while (ready < kCallers) std::this_thread::yield();
            for (int round = 0; round < 4; ++round) {
                const Split split = round % 2 ? Split::units : Split::rows;
                singles[n] = run_chosen(single, 2 + n % 2, split);
                wides[n] = run_chosen(wide, 2 + round % 2, split);
                narrows[n] = run_chosen<float, BFloat16>(single, 2 + n % 2, split);
                if (round == 2) release_memory();
            }
        });
    for (std::thread& caller : callers) caller.join();
    const Named<float> expected = run_chosen(single, 1, Split::automatic);
    const Named<double> expected_wide = run_chosen(wide, 1, Split::automatic);
    const Named<float> expected_narrow = run_chosen<float, BFloat16>(single, 1, Split::automatic);
    for (int n = 0; n < kCallers; ++n) {
        CHECK(same(singles[n], expected) && same(wides[n], expected_wide));
        CHECK(same(narrows[n], expected_narrow));
    }
    CHECK(pool_size() == 2);
}

void test_fork() {
    const Problem<float> problem(kCase);
    const Named<float> expected = run_chosen(problem, 1, Split::automatic);
    CHECK(same(run_chosen(problem, 3, Split::rows), expected));
    CHECK(child_agrees(problem, expected));
#if !defined(GATEWRIGHT_ADDRESS_SANITIZER)
    // Also while another thread is in the middle of a call.  The sanitizer's own allocator may hold a lock then.
    std::atomic<bool> done{false};
    std::thread caller([&] {
        while (!done) run_chosen(problem, 3, Split::rows);
    });
    for (int n = 0; n < 5; ++n) CHECK(child_agrees(problem, expected));
    done = true;
    caller.join();
#endif
}

}  // namespace gatewright::tests
