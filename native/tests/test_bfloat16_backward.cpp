// The backward pass in bfloat16 of every target: near plain loops, and the same bits however it is run.
#include "problem.h"

namespace gatewright::tests {

namespace {

// Of a tensor, relative to its norm: every operand has 8 binary digits.
constexpr long double kClose = 0.03L;

bool is_close(const std::vector<float>& got, const std::vector<long double>& expected) {
    long double error = 0, norm = 0;
    for (std::size_t k = 0; k < got.size(); ++k) {
        error += (got[k] - expected[k]) * (got[k] - expected[k]);
        norm += expected[k] * expected[k];
    }
    return got.size() == expected.size() && error <= kClose * kClose * norm;  // not where one is NaN
}

void test_case(const Case& of, bool against_loops = true) {
    const Problem<float> problem(of);
    const Named<long double> expected = against_loops ? reference(problem) : Named<long double>();
    for_all_kernels<float, BFloat16>([&](const Target& target, const Kernels<float, BFloat16>& kernels) {
        context = std::string(target.name) + " bfloat16 backward " + of.text();
        soil_memory();
        const Named<float> found = run(kernels, problem, {});
        for (const auto& [name, values] : found)
            CHECK_SAYING(!against_loops || values.empty() || is_close(values, expected.at(name)),
                         name + " is not near plain loops");
        const auto check_same = [&](const How& how) {
            const Named<float> other = run(kernels, problem, how);
            for (const auto& [name, values] : other)
                if (found.count(name)) CHECK_SAYING(values == found.at(name), name + " differs");
        };
        check_same({2, Split::rows, Keep::record});
        check_same({3, Split::units, Keep::record});
        check_same({1, Split::automatic, Keep::checkpoints});
        check_same({2, Split::units, Keep::checkpoints});
    });
    context.clear();
}

}  // namespace

void test_bfloat16_backward() {
    for (const int64_t P : {0, 7})
        for (const bool packed : {false, true}) {
            Case of{7, 5, 6, 33, P, packed, packed};
            of.record = !packed;
            of.lie = packed ? Lie::dense : Lie::gaps;
            test_case(of);
            of.D = 3;  // a narrow input
            test_case(of);
            of.packed = false, of.table = true;
            test_case(of);
        }
    test_case({3, 1, 1, 1});
    const Case chunks{24, 43, 5, 140};  // two, the first with an odd number of rows
    CHECK(chunk_steps(Problem<float>(chunks).sizes, sizeof(BFloat16)) == 21);
    test_case(chunks, false);
}

}  // namespace gatewright::tests
