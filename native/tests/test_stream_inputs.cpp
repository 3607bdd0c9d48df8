// Input of a stream: what is refused, and where; and the greatest values that are not.
#include "stream_problem.h"

namespace gatewright::tests {

namespace {

// One input with a value put in its place, which is to be found there; and no state moves for it.
class Refused {
  public:
    explicit Refused(const StreamProblem& problem)
        : p(problem), model_(problem.model()), stream_(model_, problem.of.S), sessions_(all_sessions(problem)) {
        p.start(stream_);
        add_states(stream_, before_);
    }

    template <class T>
    void check_value(const std::vector<T>& input, int64_t t, int64_t b, int64_t column, T value,
                     Fault::Kind expected) {
        std::vector<T> x = input;
        x[(t * p.of.S + b) * model_->input_width() + column] = value;
        const Fault fault = look(sessions_, x.data());
        CHECK_SAYING(fault.kind == expected, "fault of " + std::to_string(value) + " in column " +
                                                 std::to_string(column) + " is kind " +
                                                 std::to_string(static_cast<int>(fault.kind)));
        if (expected == Fault::Kind::none) return;
        CHECK(fault.t == t && fault.b == b && fault.column == column);
    }

    // Sessions of which number b is wrong.
    void check_sessions(std::vector<int64_t> sessions, int64_t b, Fault::Kind expected, const void* input) {
        const Fault fault = look(sessions, input);
        CHECK(fault.kind == expected && fault.t == 0 && fault.b == b && fault.column == 0);
        CHECK(look(sessions_, input).kind == Fault::Kind::none);  // nothing of it is remembered
    }

  private:
    const StreamProblem& p;
    std::shared_ptr<const Model> model_;
    Stream stream_;
    std::vector<int64_t> sessions_;
    Outcome before_;

    Fault look(const std::vector<int64_t>& sessions, const void* input) {
        const Fault fault = stream_.check(
            {sessions.data(), static_cast<int64_t>(sessions.size()), p.of.T, input, nullptr, nullptr, nullptr});
        Outcome after;
        add_states(stream_, after);
        check_same_bits(after, before_, "a check");
        return fault;
    }
};

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void test_refused_sessions() {
    const StreamProblem problem({.D = 2, .H = 3, .T = 2, .S = 4});
    context = "sessions refused";
    Refused refused(problem);
    using Kind = Fault::Kind;
    const float* const x = problem.features.data();
    refused.check_sessions({0, 1, -1, 2}, 2, Kind::session, x);
    refused.check_sessions({4}, 0, Kind::session, x);
    refused.check_sessions({1, 2, std::numeric_limits<int64_t>::max()}, 2, Kind::session, x);
    refused.check_sessions({std::numeric_limits<int64_t>::min()}, 0, Kind::session, x);
    refused.check_sessions({3, 3}, 1, Kind::repeated, x);
    refused.check_sessions({0, 1, 2, 0}, 3, Kind::repeated, x);
    refused.check_sessions({1, 0, 1, 7}, 2, Kind::repeated, x);
}

void test_refused_features() {
    const StreamProblem problem({.D = 5, .H = 3, .T = 3, .S = 4});
    context = "features refused";
    Refused refused(problem);
    constexpr float kMost = std::numeric_limits<float>::max();
    for (int64_t t = 0; t < 3; ++t)
        for (int64_t b = 0; b < 4; ++b)
            for (int64_t k = 0; k < 5; ++k) {
                for (const float bad : {std::nanf(""), float(kInfinity), -float(kInfinity)})
                    refused.check_value(problem.features, t, b, k, bad, Fault::Kind::value);
                for (const float good : {kMost, -kMost, 0.0f})
                    refused.check_value(problem.features, t, b, k, good, Fault::Kind::none);
            }
}

void test_refused_symbols() {
    const StreamProblem problem({.reads = Reads::symbols, .D = 5, .H = 3, .T = 3, .S = 4});
    context = "symbols refused";
    Refused refused(problem);
    const int64_t count = problem.parts.symbols;
    for (int64_t t = 0; t < 3; ++t)
        for (int64_t b = 0; b < 4; ++b) {
            for (const int64_t bad :
                 {int64_t(-1), count, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()})
                refused.check_value(problem.symbols, t, b, 0, bad, Fault::Kind::symbol);
            for (const int64_t good : {int64_t(0), count - 1})
                refused.check_value(problem.symbols, t, b, 0, good, Fault::Kind::none);
        }
}

// Where the scaler has the numbers of a row's column; none for phases, which are as they are.
int64_t scaler_column(const Columns& n, int64_t column) {
    const int64_t statics = n.targets + n.past, phases = statics + n.statics, known = phases + n.phases;
    if (column < statics) return column;
    if (column < phases) return statics + n.known + column - statics;
    return column < known ? -1 : statics + (column - known) / n.horizon;
}

void test_refused_rows() {
    StreamProblem problem(
        {.reads = Reads::series, .H = 3, .columns = columns_of({2, 3, 2, 2, 3, 4, 3}, "both"), .T = 2, .S = 3});
    context = "rows refused";
    // So far apart that what is too much for one column is not for another.
    Columns& n = problem.parts.columns;
    for (std::size_t k = 0; k < n.scale.size(); ++k) n.scale[k] = std::pow(1e3, double(k) - 4);
    Refused refused(problem);
    using Kind = Fault::Kind;
    for (int64_t t = 0; t < 2; ++t)
        for (int64_t b = 0; b < 3; ++b)
            for (int64_t k = 0; k < n.width(); ++k) {
                const int64_t column = scaler_column(n, k);
                const double scale = column < 0 ? 1 : n.scale[column];
                refused.check_value(problem.table, t, b, k, std::nan(""),
                                    k < n.targets ? Kind::none : Kind::value);
                for (const double sign : {-1, 1}) {
                    refused.check_value(problem.table, t, b, k, sign * kInfinity, Kind::value);
                    refused.check_value(problem.table, t, b, k, sign * 1.1e20 * scale, Kind::value);
                    refused.check_value(problem.table, t, b, k, sign * 0.9e20 * scale, Kind::none);
                }
            }
}

// A category is an index of its values, wherever a row has it.
void test_refused_categories() {
    StreamCase of{
        .reads = Reads::series, .H = 3, .columns = columns_of({1, 2, 1, 2, 2, 3, 1}, "both"), .T = 2, .S = 3};
    of.columns.categories = {{1, 2, 3, {}}, {2, 5, 1, {}}, {4, 7, 2, {}}};
    const StreamProblem problem(of);
    context = "categories refused";
    Refused refused(problem);
    using Kind = Fault::Kind;
    for (const Category& each : problem.parts.columns.categories) {
        const int64_t first = problem.parts.columns.place(each), steps = problem.parts.columns.steps(each);
        CHECK(first == (each.input == 1 ? 2 : each.input == 2 ? 3 : 9) && steps == (each.input == 4 ? 3 : 1));
        for (int64_t k = first; k < first + steps; ++k) {
            const double count = static_cast<double>(each.count);
            for (const double bad :
                 {-1.0, -0.5, 0.5, count, count - 0.5, 1e300, kInfinity, -kInfinity, std::nan("")})
                refused.check_value(problem.table, 1, 2, k, bad, Kind::category);
            for (const double good : {0.0, -0.0, count - 1})
                refused.check_value(problem.table, 0, 1, k, good, Kind::none);
        }
    }
}

// Also where a value is as great as may be: what comes of it is finite.
void test_greatest_values() {
    const StreamProblem problem(
        {.reads = Reads::series, .H = 5, .columns = columns_of({2, 1, 1, 2, 1, 2, 3}, "both"), .T = 3, .S = 2});
    context = "greatest values";
    Stream stream(problem.model(), 2);
    const Model& model = stream.model();
    const std::vector<int64_t> sessions = {0, 1};
    for (const double value : {0.9e20, -0.9e20}) {
        const std::vector<double> x(2 * model.input_width(), value);
        Output<double> y(2 * model.output_width());
        const Advance call{sessions.data(), 2, 1, x.data(), y.data(), nullptr, nullptr};
        CHECK(stream.check(call).kind == Fault::Kind::none);
        stream.advance(call, 1);
        y.check_written("forecast");
    }
}

}  // namespace

void test_stream_inputs() {
    test_refused_sessions();
    test_refused_features();
    test_refused_symbols();
    test_refused_rows();
    test_refused_categories();
    test_greatest_values();
    context.clear();
}

}  // namespace gatewright::tests
