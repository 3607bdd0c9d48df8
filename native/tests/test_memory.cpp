// The memory that is kept between calls.
#include <limits>
#include <mutex>
#include <new>
#include <random>
#include <thread>

#include "check.h"

namespace gatewright::tests {

namespace {

void fill(void* block, std::size_t bytes, int byte) { std::memset(block, byte, bytes); }

bool holds(const void* block, std::size_t bytes, int byte) {
    const auto* const p = static_cast<const unsigned char*>(block);
    return bytes == 0 || (p[0] == byte && std::memcmp(p, p + 1, bytes - 1) == 0);
}

void test_blocks() {
    release_memory();
    CHECK(kept_memory() == 0);
    give_memory(nullptr);
    bool refused = false;
    try {
        give_memory(take_memory(std::numeric_limits<std::size_t>::max() - 100));
    } catch (const std::bad_alloc&) {
        refused = true;
    }
    CHECK(refused);
    for (const std::size_t bytes : {1u, 63u, 64u, 4096u, 65'407u, 65'408u, 65'536u, 100'000u, 1'000'000u,
                                    2'097'024u, 2'097'152u, 5'000'001u}) {
        release_memory();
        void* const block = take_memory(bytes);
        CHECK(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
        fill(block, bytes, 1);  // to its last byte
        CHECK(kept_memory() == 0);
        give_memory(block);
        const std::size_t kept = kept_memory();
        CHECK(kept == 0 ? bytes < 65'536 : kept >= bytes);
        if (kept) {
            void* const again = take_memory(bytes);
            CHECK(again == block && kept_memory() == 0);
            give_memory(again);
        }
    }
    CHECK(kept_memory() > 0);
    release_memory();
    CHECK(kept_memory() == 0);
}

// What is kept and what is in use is never more than what was once in use.
void test_limit() {
    release_memory();
    constexpr std::size_t kBytes = 1 << 20;
    for (int n = 0; n < 20; ++n) {
        void* const block = take_memory(kBytes + n * (kBytes / 2));
        give_memory(block);
    }
    CHECK(kept_memory() < 13 * kBytes);
    release_memory();
}

// Threads take, fill, pass on and give; nobody's block is ever another's.
void test_threads() {
    std::mutex mutex;
    std::vector<std::pair<void*, std::pair<std::size_t, int>>> passed;
    std::atomic<int> broken{0};
    std::vector<std::thread> threads;
    for (int n = 0; n < 4; ++n)
        threads.emplace_back([&, n] {
            std::mt19937 random(n);
            for (int round = 0; round < 150; ++round) {
                const std::size_t bytes = 1 + random() % (round % 8 ? 200'000 : 3'000'000);
                void* const block = take_memory(bytes);
                const int mark = 1 + (n * 150 + round) % 250;
                fill(block, bytes, mark);
                std::pair<void*, std::pair<std::size_t, int>> mine{block, {bytes, mark}};
                {
                    const std::lock_guard lock(mutex);
                    passed.push_back(mine);
                    std::swap(passed[random() % passed.size()], passed.back());
                    mine = passed.back();
                    passed.pop_back();
                    if (round % 10 == 0) {  // keep a few in use
                        passed.push_back(mine);
                        mine = {nullptr, {0, 0}};
                    }
                }
                broken += !holds(mine.first, mine.second.first, mine.second.second);
                give_memory(mine.first);
                if (round % 50 == 49) release_memory();
                kept_memory();
            }
        });
    for (std::thread& each : threads) each.join();
    for (const auto& [block, mark] : passed) {
        broken += !holds(block, mark.first, mark.second);
        give_memory(block);
    }
    CHECK(broken == 0);
    release_memory();
    CHECK(kept_memory() == 0);
}

}  // namespace

void test_memory() {
    context = "memory";
    test_blocks();
    test_limit();
    test_threads();
    context.clear();
}

}  // namespace gatewright::tests
