// Models and streams: values against plain loops, and the same bits however steps are taken.
#include <array>

#include "stream_problem.h"
#include "support/threads.h"

namespace gatewright::tests {

namespace {

// Of the greatest magnitude, or of 1 where that is more.  Of two numbers that are as good as equal, one may round
// up and one down.
constexpr double kTolerance = 3e-5, kRoundedTolerance = 2e-2;

#if defined(GATEWRIGHT_THREAD_SANITIZER)
constexpr bool kSlow = true;
#else
constexpr bool kSlow = false;
#endif

StreamCall whole(const StreamProblem& problem, int threads, bool record) {
    return {all_sessions(problem), 0, problem.of.T, threads, record};
}

// Whether operands of products are rounded.
bool rounds(const StreamProblem& problem) {
    return problem.of.kept == Kept::bfloat16 || problem.of.kept == Kept::int8;
}

// The gates of an sLSTM (slstm_cell.h) as the plain loops have them, (keep, slope of log f, z, o).
Outcome decoded(const StreamProblem& problem, Outcome outcome) {
    if (!problem.of.heads) return outcome;
    for (std::size_t at = 0; at < outcome["gates"].size();)
        for (const ModelParts::Layer& layer : problem.parts.layers) {
            for (int64_t k = 0; k < 2 * layer.H; ++k) {
                double& gate = outcome["gates"][at + k];
                if (k >= layer.H)
                    gate = std::abs(gate);
                else if (std::signbit(gate))
                    gate += 1;
            }
            at += 4 * layer.H;
        }
    return outcome;
}

void check_close(const Outcome& got, const Outcome& expected, double tolerance = kTolerance) {
    for (const auto& [name, values] : got) {
        const auto& right = expected.at(name);
        CHECK_SAYING(values.size() == right.size(), name + ": another size");
        if (values.size() != right.size()) continue;
        double scale = 1;
        for (const double each : right)
            if (!std::isnan(each)) scale = std::max(scale, std::abs(each));
        int64_t wrong = 0;
        for (std::size_t k = 0; k < values.size(); ++k)
            wrong += std::isnan(right[k]) ? !std::isnan(values[k])
                                          : !(std::abs(values[k] - right[k]) <= tolerance * scale);
        CHECK_SAYING(wrong == 0, name + ": " + std::to_string(wrong) + " values are off");
    }
}

// The encoding to its bits: bare layers that read what the plain loops make of each row, rounded once.
void check_encoding(const StreamProblem& problem, const std::vector<double>& read, Outcome got) {
    ModelParts parts = problem.parts;
    parts.reads = Reads::features;
    parts.head_W = nullptr;
    parts.columns = {};
    const auto model = std::make_shared<const Model>(parts);
    const std::vector<float> x(read.begin(), read.end());
    const std::vector<int64_t> sessions = all_sessions(problem);
    std::vector<float> y(problem.of.T * problem.of.S * model->output_width());
    Stream bare(model, problem.of.S);
    problem.start(bare);
    bare.advance({sessions.data(), problem.of.S, problem.of.T, x.data(), y.data(), nullptr, nullptr}, 1);
    Outcome states;
    add_states(bare, states);
    for (const char* const name : {"hidden", "cell"})
        CHECK_SAYING(same_bits(states[name], got[name]), std::string(name) + ": other bits than of encoded rows");
}

void check_order(const StreamProblem& problem, const std::vector<double>& output) {
    const std::size_t quantiles = problem.of.columns.quantiles;
    bool sorted = true;
    for (std::size_t k = 1; k < output.size(); ++k) sorted &= k % quantiles == 0 || output[k - 1] <= output[k];
    CHECK_SAYING(sorted, "quantiles are out of order");
}

// Enough for several calls: steps cut at random, in threads and with records as they come.
std::vector<StreamCall> pieces(const StreamProblem& problem, std::mt19937& random) {
    std::vector<StreamCall> calls;
    for (int64_t t = 0; t < problem.of.T;) {
        const int64_t steps = std::min<int64_t>(problem.of.T - t, 1 + random() % (problem.of.T / 2 + 1));
        calls.push_back({all_sessions(problem), t, steps, 1 + static_cast<int>(random() % 3), random() % 2 == 0});
        t += steps;
    }
    return calls;
}

std::vector<StreamCall> single_steps(const StreamProblem& problem, int threads, bool record) {
    std::vector<StreamCall> calls;
    for (int64_t t = 0; t < problem.of.T; ++t) calls.push_back({all_sessions(problem), t, 1, threads, record});
    return calls;
}

std::vector<StreamCall> sessions_alone(const StreamProblem& problem, int64_t stride) {
    std::vector<StreamCall> calls;
    for (int64_t s = 0; s < problem.of.S; s += stride) calls.push_back({{s}, 0, problem.of.T, 1, true});
    return calls;
}

// Sessions in any order, in calls of some of them, each session at a pace of its own.
std::vector<StreamCall> any_order(const StreamProblem& problem, std::mt19937& random) {
    std::vector<StreamCall> calls;
    std::vector<int64_t> sessions = all_sessions(problem);
    for (int64_t t = 0; t < problem.of.T;) {
        const int64_t steps = std::min<int64_t>(problem.of.T - t, 1 + random() % 3);
        std::shuffle(sessions.begin(), sessions.end(), random);
        for (auto from = sessions.begin(); from != sessions.end();) {
            const auto to = from + 1 + random() % (sessions.end() - from);
            calls.push_back({{from, to}, t, steps, 1 + static_cast<int>(random() % 3), true});
            from = to;
        }
        t += steps;
    }
    return calls;
}

// A copy goes on where the stream was, and neither moves the other.
void check_copy(const std::shared_ptr<const Model>& model, const StreamProblem& problem, const Outcome& expected) {
    const int64_t half = problem.of.T / 2;
    const StreamCall first{all_sessions(problem), 0, half}, second{first.sessions, half, problem.of.T - half};
    Outcome outcome, before, after;
    Stream stream(model, problem.of.S);
    problem.start(stream);
    take_steps(stream, problem, first, outcome);
    add_states(stream, before);
    Outcome of_copy = outcome;
    {
        Stream copy(stream);
        take_steps(copy, problem, second, of_copy);
        add_states(copy, of_copy);
    }
    check_same_bits(of_copy, expected, "a copy");
    add_states(stream, after);
    check_same_bits(after, before, "a copy that went on");
    take_steps(stream, problem, second, outcome);
    add_states(stream, outcome);
    check_same_bits(outcome, expected, "a stream after it was copied");
}

// One session back at its beginning, the others where they were.
void check_reset(const std::shared_ptr<const Model>& model, const StreamProblem& problem) {
    Stream stream(model, problem.of.S), fresh(model, problem.of.S);
    Outcome outcome, expected;
    const int64_t chosen = problem.of.S / 2;
    std::vector<int64_t> others = all_sessions(problem);
    others.erase(others.begin() + chosen);
    take_steps(stream, problem, whole(problem, 1, false), outcome);
    stream.reset(chosen);
    if (!others.empty()) take_steps(fresh, problem, {others, 0, problem.of.T}, expected);
    outcome.clear(), expected.clear();
    add_states(stream, outcome);
    add_states(fresh, expected);
    check_same_bits(outcome, expected, "a session reset");
}

void check_nothing_to_do(const std::shared_ptr<const Model>& model, const StreamProblem& problem) {
    Stream stream(model, problem.of.S);
    problem.start(stream);
    Outcome before, after;
    add_states(stream, before);
    const std::vector<int64_t> sessions = all_sessions(problem);
    for (const Advance& call : {Advance{sessions.data(), problem.of.S, 0, nullptr, nullptr, nullptr, nullptr},
                                Advance{nullptr, 0, 3, nullptr, nullptr, nullptr, nullptr}}) {
        CHECK(stream.check(call).kind == Fault::Kind::none);
        stream.advance(call, 3);
    }
    add_states(stream, after);
    check_same_bits(after, before, "nothing to do");
}

void test_case(const StreamCase& given) {
    const StreamProblem problem(given);
    std::vector<double> read;
    const Outcome expected = stream_reference(problem, &read);
    std::mt19937 random(3);
    for_all_targets([&](const Target& target) {
        context = std::string(target.name) + " " + problem.of.text();
        const auto model = problem.model();
        const Outcome got = run_calls(model, problem, {whole(problem, 1, true)});
        check_close(decoded(problem, got), expected, rounds(problem) ? kRoundedTolerance : kTolerance);
        if (problem.of.reads == Reads::series) {
            check_encoding(problem, read, got);
            check_order(problem, got.at("output"));
            CHECK(same_bits(got.at("last"), expected.at("last")));
        }
        if (problem.of.kept == Kept::bfloat16_float32) {
            ModelParts wide = problem.parts;
            wide.kept = Kept::float32;
            check_same_bits(run_calls(std::make_shared<const Model>(wide), problem, {whole(problem, 1, true)}),
                            got, "weights in full width");
        }
        const auto check_calls = [&](const std::vector<StreamCall>& calls, const char* what) {
            check_same_bits(run_calls(model, problem, calls), got, what);
        };
        check_calls({whole(problem, 1, false)}, "no record");
        check_calls({whole(problem, 2, true)}, "2 threads");
        check_calls({whole(problem, 3, false)}, "3 threads, no record");
        check_calls(single_steps(problem, 1, false), "single steps");
        check_calls(single_steps(problem, 3, true), "single steps in 3 threads");
        check_calls(pieces(problem, random), "pieces");
        check_calls(sessions_alone(problem, 1), "sessions alone");
        check_calls(any_order(problem, random), "sessions in any order");
        check_copy(model, problem, got);
        check_reset(model, problem);
        check_nothing_to_do(model, problem);
    });
    context.clear();
}

// A call too large for its rows, or its steps, to walk together, in parts that are cut unevenly.
void test_large(const StreamCase& given) {
    const StreamProblem problem(given);
    const Outcome expected = stream_reference(problem);
    for_all_targets([&](const Target& target) {
        context = std::string(target.name) + " " + problem.of.text();
        const auto model = problem.model();
        const Outcome got = run_calls(model, problem, {whole(problem, 1, true)});
        check_close(got, expected, rounds(problem) ? kRoundedTolerance : kTolerance);
        for (int threads = 1; threads <= 3; ++threads)
            check_same_bits(run_calls(model, problem, {whole(problem, threads, false)}), got, "threads");
        const StreamCall half{all_sessions(problem), 0, problem.of.T / 2};
        const StreamCall rest{half.sessions, half.steps, problem.of.T - half.steps, 3, true};
        check_same_bits(run_calls(model, problem, {half, rest}), got, "two halves");
    });
    context.clear();
}

// Sizes on and off every vector width, with every option in turn.
void test_small() {
    std::mt19937 random(7);
    const auto pick = [&](std::initializer_list<int64_t> all) { return all.begin()[random() % all.size()]; };
    const char* const reads[] = {"change", "level", "both", "nothing"};
    const std::vector<int64_t> seasons[] = {{2, 4}, {1}, {}};
    for (int n = 0; n < (kSlow ? 12 : 36); ++n) {
        StreamCase c;
        c.reads = n % 3 == 0 ? Reads::features : n % 3 == 1 ? Reads::symbols : Reads::series;
        c.layers = 1 + n / 3 % 3;
        c.D = pick({1, 2, 3, 5, 8, 9, 17});
        c.H = pick({1, 3, 4, 7, 8, 13, 16, 31, 33});
        if (random() % 2) c.P = pick({1, 3, 5, 8, 17, 33});
        if (random() % 2) c.out = pick({1, 3, 8, 17, 33});
        c.bias = random() % 4 != 0;
        c.kept = std::array{Kept::float32, Kept::bfloat16, Kept::bfloat16_float32, Kept::int8,
                            Kept::int8_float32}[random() % 5];
        c.T = pick({1, 2, 5, 9});
        if (c.reads == Reads::features && c.out) c.pooling = static_cast<Pooling>(n / 3 % 4);
        c.S = pick({1, 2, 3, 7, 13});
        c.columns = columns_of({pick({1, 2, 3}), pick({0, 1, 2}), pick({0, 1, 2}), pick({0, 2, 4}),
                                pick({1, 2, 3}), pick({1, 2, 5}), pick({1, 3, 5})},
                               reads[n / 3 % 4]);
        if (c.columns.observed) c.columns.seasons = seasons[n / 3 % 3];
        const int64_t inputs = c.columns.past + c.columns.statics + c.columns.known;
        for (int64_t k = n / 3 % 3; n / 3 % 2 && k < inputs; k += 2)
            c.columns.categories.push_back({k, 2 + k, 1 + k % 3, {}});
        if (c.reads == Reads::features && n / 3 % 2) c.columns.past = inputs;
        test_case(c);
    }
}

// Cells other than the plain one: sizes on and off vectors, and threads that divide rows.
void test_cells() {
    constexpr auto hard = Activation::hard, identity = Activation::identity;
    const Cell cells[] = {
        {.peephole = true},
        {.layer_norm = true},
        {.clip = 0.4},
        {.rates = {0.3, 0.4, 0.5, 0.6}},  // no dropout where nothing is drawn
        {.coupled = true, .output = identity},
        {.no_input_gate = true, .candidate = identity, .clip = 0.7},
        {.no_forget_gate = true, .no_output_gate = true, .gate = hard, .candidate = hard, .output = hard},
        {.peephole = true, .gate = hard, .layer_norm = true, .clip = 1.5, .rates = {0.2, 0.3}},
    };
    for (const Cell& cell : cells)
        for (const Kept kept : {Kept::float32, Kept::bfloat16}) {
            test_case({.layers = 2,
                       .D = 5,
                       .H = 14,
                       .bias = kept == Kept::float32,
                       .T = 5,
                       .S = 7,
                       .kept = kept,
                       .cell = cell});
            if (cell.rates[1] == 0)
                test_case({.reads = Reads::symbols,
                           .D = 3,
                           .H = 33,
                           .P = 5,
                           .out = 4,
                           .T = 6,
                           .S = 3,
                           .kept = kept,
                           .cell = cell});
        }
    for (const Kept kept : {Kept::float32, Kept::bfloat16})
        for (const bool exponential : {false, true})
            for (const int64_t heads : {1, 2, 3, 7}) {
                StreamCase c{.layers = 2, .D = 5, .H = 7 * heads, .T = 6, .S = 7, .kept = kept};
                c.heads = heads, c.exponential_forget = exponential, c.bias = heads != 3;
                test_case(c);
                c.reads = Reads::symbols, c.layers = 1, c.H = 16 * heads, c.out = 4;
                test_case(c);
            }
    for (const Kept kept : {Kept::float32, Kept::bfloat16, Kept::int8_float32})
        for (const int64_t steps : {1, 6})
            test_case({.layers = 3,
                       .D = 4,
                       .H = 9,
                       .P = 5,
                       .out = 3,
                       .T = steps,
                       .S = 7,
                       .kept = kept,
                       .residual = true});
    // Enough work for threads to be woken.
    test_case({.layers = 2, .D = 9, .H = 64, .out = 5, .T = 12, .S = 11, .heads = 4});
    test_case({.layers = 2, .D = 9, .H = 33, .out = 5, .T = 12, .S = 11, .cell = cells[std::size(cells) - 1]});
}

}  // namespace

void test_stream() {
    test_small();
    test_cells();
    // Enough work for threads to be woken.
    test_case({.layers = 2, .D = 9, .H = 33, .out = 5, .T = 12, .S = 11});
    test_case({.reads = Reads::symbols, .layers = 2, .D = 17, .H = 33, .P = 7, .out = 7, .T = 12, .S = 20});
    test_case({.reads = Reads::series,
               .layers = 2,
               .H = 40,
               .columns = columns_of({2, 1, 1, 2, 2, 3, 5}, "both"),
               .T = 12,
               .S = 11});
    for (const Pooling pooling : {Pooling::mean, Pooling::max, Pooling::attention})
        test_case({.D = 3, .H = 9, .out = 4, .T = 40, .S = 3, .pooling = pooling});
    test_large({.D = 2, .H = 3, .T = 520, .S = 49});
    test_large({.layers = 2, .D = 9, .H = 17, .P = 3, .T = 530, .S = 5});
    test_large({.layers = 2, .D = 9, .H = 17, .P = 3, .T = 530, .S = 5, .kept = Kept::bfloat16});
    test_large({.reads = Reads::symbols, .layers = 2, .D = 9, .H = 17, .T = 530, .S = 5, .kept = Kept::int8});
    test_large({.layers = 2, .D = 9, .H = 17, .T = 23, .S = 49, .kept = Kept::int8});
    test_large({.reads = Reads::series,
                .H = 5,
                .columns = columns_of({2, 1, 1, 2, 1, 2, 3}, "change"),
                .T = 23,
                .S = 100});
    CHECK(pool_size() == 2);
    context.clear();
}

}  // namespace gatewright::tests
