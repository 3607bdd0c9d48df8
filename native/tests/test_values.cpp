// Values, gradients and records of every target against the reference, and the same bits however they are made.
#include "problem.h"
#include "support/threads.h"

namespace gatewright::tests {

namespace {

// Of the greatest magnitude of an array, or of 1 where that is more.
template <class T>
constexpr double kTolerance = sizeof(T) == 4 ? 2e-5 : 2e-14;

template <class T>
void check_close(const Named<T>& got, const Named<long double>& expected) {
    for (const auto& [name, values] : got) {
        const auto& right = expected.at(name);
        CHECK_SAYING(values.size() == right.size(), name + ": another size");
        if (values.size() != right.size()) continue;
        long double scale = 1, worst = 0;
        for (std::size_t k = 0; k < values.size(); ++k) {
            scale = std::max(scale, std::abs(right[k]));
            worst = std::max(worst, std::abs(values[k] - right[k]));
        }
        CHECK_SAYING(worst <= kTolerance<T> * scale,
                     name + ": off by " + std::to_string(double(worst / scale * 1e9)) + "e-9 of the greatest");
    }
}

template <class T>
void check_same_bits(const Named<T>& got, const Named<T>& expected, const std::string& what) {
    for (const auto& [name, values] : got) {
        const auto found = expected.find(name);
        if (found == expected.end()) continue;
        CHECK_SAYING(same_bits(values, found->second), name + ": other bits with " + what);
    }
}

// Step by step with packed weights, all rows together and each row alone.
template <class T>
void check_steps(const Kernels<T>& kernels, const Problem<T>& p, const Named<T>& expected) {
    const Sizes& n = p.sizes;
    if (p.of.packed || p.of.reverse || p.of.held || p.of.table || p.of.lie != Lie::dense) return;
    Output<T> memory(kernels.panels_size(n, true, false));
    const Panels<T> panels = pack_weights(kernels, n, p.weights(), memory.data());
    memory.check_written("panels");
    for (int64_t first = 0; first < n.B; ++first) {
        Sizes some = n;
        some.B = first == 0 ? n.B : 1;
        std::vector<T> h(p.h_0.begin() + first * n.P, p.h_0.begin() + (first + some.B) * n.P);
        std::vector<T> c(p.c_0.begin() + first * n.H, p.c_0.begin() + (first + some.B) * n.H);
        for (int64_t t = 0; t < n.T; ++t) {
            const T* const row = p.x.at(p.steps, t, first);
            const std::vector<T> x(row, row + some.B * n.D);
            Output<T> h_next(some.B * n.P), c_next(some.B * n.H);
            run_step(kernels, some, panels, x.data(), h.data(), c.data(), h_next.data(), c_next.data());
            h_next.check_written("h of a step");
            c_next.check_written("c of a step");
            h.assign(h_next.data(), h_next.data() + h_next.size());
            c.assign(c_next.data(), c_next.data() + c_next.size());
            const auto y = expected.at("y").begin() + (t * n.B + first) * n.P;
            check_same_bits<T>({{"y", h}}, {{"y", {y, y + some.B * n.P}}}, "single steps");
        }
        const auto c_n = expected.at("c_n").begin() + first * n.H;
        check_same_bits<T>({{"c_n", c}}, {{"c_n", {c_n, c_n + some.B * n.H}}}, "single steps");
    }
}

template <class T>
void test_case(const Case& given) {
    const Problem<T> problem(given);
    const Named<long double> expected = reference(problem);
    std::string last_target;
    Named<T> of_target;
    for_all_kernels<T>([&](const Target& target, const Kernels<T>& kernels) {
        context = std::string(target.name) + " V=" + std::to_string(kernels.width) +
                  (sizeof(T) == 4 ? " float " : " double ") + given.text();
        soil_memory();
        const Named<T> got = run(kernels, problem, {});
        check_close(got, expected);
        // Sums over hidden units are in the order of the vectors, sums forward are not.
        const Named<T> forward = run(kernels, problem, {1, Split::automatic, Keep::nothing});
        check_same_bits(forward, got, "nothing kept");
        if (last_target == target.name) check_same_bits(forward, of_target, "vectors of another width");
        last_target = target.name;
        of_target = forward;
        const Named<T> checkpoints = run(kernels, problem, {1, Split::automatic, Keep::checkpoints});
        check_close(checkpoints, expected);
        check_same_bits(checkpoints, got, "checkpoints");
        check_steps(kernels, problem, got);
        check_same_bits(run(kernels, problem, {2, Split::rows, Keep::record}), got, "rows split in 2");
        check_same_bits(run(kernels, problem, {2, Split::units, Keep::record}), got, "units split in 2");
        check_same_bits(run(kernels, problem, {3, Split::automatic, Keep::record}), got, "3 threads");
        check_same_bits(run(kernels, problem, {3, Split::rows, Keep::checkpoints}), got,
                        "checkpoints, rows split in 3");
        if (given.T > 100) return;  // with more threads than cores a barrier takes long
        check_same_bits(run(kernels, problem, {3, Split::units, Keep::checkpoints}), got,
                        "checkpoints, units split in 3");
    });
    context.clear();
}

#if defined(GATEWRIGHT_THREAD_SANITIZER)
constexpr bool kSlow = true;  // and both types share memory in the same way
#else
constexpr bool kSlow = false;
#endif

void test_both(const Case& given) {
    test_case<float>(given);
    if (!kSlow) test_case<double>(given);
}

// Sizes on and off every vector width and tile height, with every option in turn.
void test_small() {
    std::mt19937 random(5);
    const auto pick = [&](std::initializer_list<int64_t> all) { return all.begin()[random() % all.size()]; };
    const auto often = [&](unsigned of) { return random() % of != 0; };
    for (int n = 0; n < (kSlow ? 12 : 48); ++n) {
        Case c{pick({1, 2, 3, 5, 8}), pick({1, 2, 3, 5, 7, 13}), pick({1, 2, 3, 4, 5, 8, 9, 17}),
               pick({1, 3, 4, 7, 8, 9, 16, 31, 33})};
        if (n % 3 == 2) c.P = pick({1, 3, 5, 8, 17, 33});
        c.reverse = n % 2 == 1;
        c.packed = n % 4 >= 2;
        c.lie = n % 5 == 0 ? Lie::gaps : n % 5 == 1 ? Lie::batch_first : Lie::dense;
        c.bias = often(4);
        c.state = often(4);
        c.shown = often(6);
        c.record = often(2);
        c.need_x = often(6);
        c.need_weights = often(6);
        c.saturation = n % 8 == 7 ? 1e4 : 0;
        test_both(c);
        c.held = true;
        if (n % 7 < 3) test_both(c);
        c.packed = false, c.table = true;
        if (n % 3 == 0) test_both(c);
        c.held = false;
        test_both(c);
    }
}

}  // namespace

void test_values() {
    test_small();
    test_both({.T = 0, .B = 3, .D = 2, .H = 5});
    test_both({.T = 3, .B = 0, .D = 2, .H = 5});
    test_both({.T = 2, .B = 3, .D = 4, .H = 257, .record = true});
    test_both({.T = 4, .B = 1, .D = 300, .H = 100});
    // Enough work for threads to be woken, in one chunk and in several.
    test_both({.T = 40, .B = 5, .D = 9, .H = 33, .record = true});
    test_both({.T = 60, .B = 1, .D = 16, .H = 48, .reverse = true});
    test_both({.T = 30, .B = 7, .D = 3, .H = 40, .reverse = true, .packed = true, .record = true});
    test_both({.T = 80, .B = 13, .D = 3, .H = 65, .P = 5, .record = true});
    test_both({.T = 80, .B = 13, .D = 2, .H = 65, .packed = true, .record = true});
    test_both({.T = 80, .B = 13, .D = 1, .H = 65, .reverse = true, .lie = Lie::gaps, .checkpoint = 2});
    test_both({.T = 40, .B = 5, .D = 9, .H = 33, .held = true});
    test_both({.T = 60, .B = 1, .D = 16, .H = 48, .reverse = true, .held = true});
    test_both({.T = 30, .B = 7, .D = 3, .H = 40, .P = 5, .reverse = true, .packed = true, .held = true});
    test_both({.T = 40, .B = 9, .D = 17, .H = 33, .record = true, .table = true});
    test_both({.T = 60, .B = 5, .D = 2, .H = 65, .P = 5, .reverse = true, .checkpoint = 2, .table = true});
    test_both({.T = 60, .B = 1, .D = 16, .H = 48, .reverse = true, .table = true});
    test_case<double>({.T = 140, .B = 1, .D = 2, .H = 257, .lie = Lie::gaps, .record = true});
    CHECK(pool_size() == 2);
}

}  // namespace gatewright::tests
