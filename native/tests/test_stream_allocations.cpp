// Steps of a stream allocate nothing.
#include <cstdlib>
#include <numeric>

#include "allocations.h"
#include "stream_problem.h"

namespace gatewright::tests {

namespace {

// A call in whose inputs nothing is wrong, in memory that is there before it.
class Measured {
  public:
    Measured(const StreamProblem& problem, int64_t B, int64_t T, bool record)
        : of_(problem.of.reads), sessions_(B) {
        std::iota(sessions_.begin(), sessions_.end(), 0);
        const auto model = problem.model();
        const int64_t places = B * T;
        output_.resize(places * model->output_width());
        gates_.resize(record ? places * 4 * model->units() : 0);
        kept_.resize(record ? places * model->units() : 0);
        call_ = {sessions_.data(),
                 B,
                 T,
                 input(problem),
                 output_.data(),
                 record ? gates_.data() : nullptr,
                 record ? kept_.data() : nullptr};
    }

    int64_t allocations_of(Stream& stream) {
        const int64_t before = allocations();
        const Fault fault = stream.check(call_);
        stream.advance(call_, 1);
        const int64_t made = allocations() - before;
        CHECK(fault.kind == Fault::Kind::none);
        return made;
    }

  private:
    const Reads of_;
    std::vector<int64_t> sessions_;
    std::vector<double> output_;  // room for floats, too
    std::vector<float> gates_, kept_;
    Advance call_{};

    const void* input(const StreamProblem& problem) const {
        if (of_ == Reads::features) return problem.features.data();
        return of_ == Reads::symbols ? static_cast<const void*>(problem.symbols.data()) : problem.table.data();
    }
};

void test_case(const StreamCase& given) {
    const StreamProblem problem(given);
    for_all_targets([&](const Target& target) {
        context = std::string(target.name) + " allocations of " + problem.of.text();
        Stream fresh(problem.model(), problem.of.S);
        CHECK(Measured(problem, 1, 1, false).allocations_of(fresh) == 0);
        for (const int64_t B : {2, 5, 48, 60})
            for (const int64_t T : {1, 7}) {
                Stream stream(problem.model(), problem.of.S);
                stream.reserve(B, T, 1);
                CHECK(Measured(problem, B, T, false).allocations_of(stream) == 0);
                CHECK(Measured(problem, B - 1, 1, false).allocations_of(stream) == 0);
                Measured recorded(problem, B, T, true);
                recorded.allocations_of(stream);  // a record makes its room when it is first wanted
                CHECK(recorded.allocations_of(stream) == 0);
            }
    });
}

}  // namespace

void test_stream_allocations() {
    const Kept kept[] = {Kept::float32, Kept::bfloat16, Kept::int8};
    for (const Reads reads : {Reads::features, Reads::symbols, Reads::series})
        for (const int64_t P : {0, 5})
            test_case({.reads = reads,
                       .layers = 2,
                       .D = 9,
                       .H = 13,
                       .P = P,
                       .out = 11,
                       // More quantiles than a sort of few elements is made for.
                       .columns = columns_of({2, 1, 1, 2, 2, 3, 40}, "both"),
                       .T = 7,
                       .S = 60,
                       .kept = kept[(static_cast<int>(reads) + (P > 0)) % 3]});
    for (const Kept each : {Kept::float32, Kept::bfloat16}) {
        test_case({.layers = 2,
                   .D = 9,
                   .H = 13,
                   .T = 7,
                   .S = 60,
                   .kept = each,
                   .cell = {.layer_norm = true, .rates = {0.1, 0.2}}});
        test_case({.layers = 2, .D = 9, .H = 15, .T = 7, .S = 60, .kept = each, .heads = 3});
    }
    context = "allocations";
    // They are counted at all; volatile, so that no compiler leaves out what nobody uses.
    const int64_t before = allocations();
    void* volatile block = ::operator new(3);
    const int64_t between = allocations();
    ::operator delete(block);
    block = std::malloc(3);
    const int64_t after = allocations();
    std::free(block);
    CHECK(between > before);
    CHECK(after == between + counts_malloc());
    context.clear();
}

}  // namespace gatewright::tests
