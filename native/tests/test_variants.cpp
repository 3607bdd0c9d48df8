// Cells other than the plain one: gradients against finite differences, float and bfloat16 next to double, and the
// same bits however they are made.  Their values against other loops: tests/kernels/test_variants.py.
#include "problem.h"

namespace gatewright::tests {

namespace {

// What the gradients of run() are gradients of.
double loss(const Kernels<double>& kernels, const Problem<double>& p) {
    const Named<double> got = run(kernels, p, {});
    double sum = 0;
    const auto add = [&](const std::vector<double>& values, const std::vector<double>& d) {
        for (std::size_t k = 0; k < d.size(); ++k) sum += values[k] * d[k];
    };
    const auto add_rows = [&](const std::vector<double>& values, const Rows<const double>& d, int64_t width) {
        if (d.data)
            each_row(p.steps, d, [&](const double* row, int64_t place) {
                for (int64_t k = 0; k < width; ++k) sum += values[place * width + k] * row[k];
            });
    };
    add(got.at("h_n"), p.dh_n);
    add(got.at("c_n"), p.dc_n);
    add_rows(got.at("y"), p.dy, p.sizes.P);
    std::vector<double> gates = got.at("gates");
    for (std::size_t k = 0; p.of.cell.heads > 0 && k < gates.size(); ++k)
        if (k / p.sizes.H % 4 == 1) gates[k] = 0;  // no gate
    add_rows(gates, p.dgates, 4 * p.sizes.H);
    add_rows(got.at("cell"), p.dcell, p.sizes.H);
    return sum;
}

// Some elements of every gradient against differences of the loss.
void check_differences(const Kernels<double>& kernels, Problem<double>& p, const Named<double>& got) {
    constexpr double kStep = 1e-6;
    std::mt19937 random(3);
    const auto check_element = [&](const char* name, double& element, double derivative) {
        const double there = element;
        element = there + kStep;
        const double above = loss(kernels, p);
        element = there - kStep;
        const double below = loss(kernels, p);
        element = there;
        const double expected = (above - below) / (2 * kStep);
        CHECK_SAYING(std::abs(expected - derivative) <= 1e-5 + 1e-5 * std::abs(expected),
                     std::string(name) + ": " + std::to_string(derivative) + ", differences give " +
                         std::to_string(expected));
    };
    const auto check_some = [&](const char* name, std::vector<double>& values) {
        if (values.empty()) return;
        for (int n = 0; n < 4; ++n) {
            const std::size_t k = random() % values.size();
            check_element(name, values[k], got.at(name)[k]);
        }
    };
    check_some("dW_ih", p.W_ih);
    check_some("dW_hh", p.W_hh);
    check_some("db", p.b_ih);
    if (p.of.P) check_some("dW_hr", p.W_hr);
    if (p.of.state) check_some("dh_0", p.h_0), check_some("dc_0", p.c_0);
    check_some("dh_reset", p.h_reset);
    check_some("dc_reset", p.c_reset);
    check_some("dpeepholes", p.peepholes);
    check_some("dgains", p.gains);
    check_some("dcell_gain", p.cell_gain);
    check_some("dcell_bias", p.cell_bias);
    for (int n = 0; n < 4; ++n) {
        const int64_t t = random() % p.steps.T, b = random() % p.steps.rows(t), k = random() % p.sizes.D;
        auto* const x = const_cast<double*>(p.x.at(p.steps, t, b)) + k;
        check_element("dx", *x, got.at("dx")[(p.steps.start(t) + b) * p.sizes.D + k]);
    }
}

template <class T, class Expected>
void check_near(const Named<T>& got, const Named<Expected>& expected, double tolerance) {
    for (const auto& [name, values] : got) {
        const auto found = expected.find(name);
        if (found == expected.end() || found->second.size() != values.size()) continue;
        double scale = 1, worst = 0;
        for (std::size_t k = 0; k < values.size(); ++k) {
            scale = std::max<double>(scale, std::abs(found->second[k]));
            worst = std::max<double>(worst, std::abs(values[k] - found->second[k]));
        }
        CHECK_SAYING(worst <= tolerance * scale,
                     name + ": off by " + std::to_string(worst / scale * 1e6) + "e-6 of the greatest");
    }
}

template <class T>
void check_bits(const Named<T>& got, const Named<T>& expected, const std::string& what) {
    for (const auto& [name, values] : got)
        if (const auto found = expected.find(name); found != expected.end())
            CHECK_SAYING(same_bits(values, found->second), name + ": other bits with " + what);
}

// What the case at hand gave in double, next to which the other types stand.
Named<double> exact;

template <class T, class S>
void test_kernels(const Case& given, const char* what, double tolerance) {
    Problem<T> problem(given);
    std::string last_target;
    Named<T> of_target;
    for_all_kernels<T, S>([&](const Target& target, const Kernels<T, S>& kernels) {
        context = std::string(target.name) + " V=" + std::to_string(kernels.width) + " " + what + given.text();
        soil_memory();
        const Named<T> got = run(kernels, problem, {});
        if constexpr (sizeof(T) == 8) {
            if (last_target != target.name) check_differences(kernels, problem, got);
            exact = got;
        }
        check_near(got, exact, tolerance);
        const Named<T> forward = run(kernels, problem, {1, Split::automatic, Keep::nothing});
        check_bits(forward, got, "nothing kept");
        if (last_target == target.name) check_bits(forward, of_target, "vectors of another width");
        last_target = target.name;
        of_target = forward;
        check_bits(run(kernels, problem, {1, Split::automatic, Keep::checkpoints}), got, "checkpoints");
        check_bits(run(kernels, problem, {2, Split::rows, Keep::record}), got, "rows split in 2");
        check_bits(run(kernels, problem, {2, Split::units, Keep::record}), got, "units split in 2");
        check_bits(run(kernels, problem, {3, Split::units, Keep::checkpoints}), got,
                   "checkpoints, units split in 3");
        check_bits(run(kernels, problem, {3, Split::rows, Keep::checkpoints}), got,
                   "checkpoints, rows split in 3");
    });
    context.clear();
}

void test_cell(Case given, const Cell& cell, const char* what) {
    given.cell = cell;
    test_kernels<double, double>(given, what, 1e-12);
    test_kernels<float, float>(given, what, 1e-4);
    // Rounding moves some c over the bound of clipping, past which they have no derivative.
    test_kernels<float, BFloat16>(given, what, cell.clip > 0 ? 0.2 : 0.1);
}

// Heads that end where vectors do, between them, and many in one.
void test_slstm() {
    // In bfloat16 without adjoints of last states: where the maximum is the other one, that of m goes another way.
    const auto test = [](Case given, const Cell& cell) {
        given.cell = cell;
        test_kernels<double, double>(given, "sLSTM ", 1e-12);
        test_kernels<float, float>(given, "sLSTM ", 1e-4);
        given.state = false;
        test_kernels<double, double>(given, "sLSTM ", 1e-12);
        test_kernels<float, BFloat16>(given, "sLSTM ", 0.1);
    };
    for (const bool exponential : {false, true}) {
        const auto cell = [&](int64_t heads, bool drawn = false) {
            return Cell{.rates = {0, 0, 0.4}, .drawn = drawn, .heads = heads, .exponential_forget = exponential};
        };
        test({.T = 5, .B = 3, .D = 4, .H = 32, .record = true}, cell(2));
        test({.T = 7, .B = 5, .D = 9, .H = 33, .reverse = true, .packed = true, .lie = Lie::gaps}, cell(3, true));
        test({.T = 1, .B = 1, .D = 1, .H = 1}, cell(1));
        test({.T = 4, .B = 2, .D = 3, .H = 24, .record = true}, cell(8));
        test({.T = 6, .B = 7, .D = 5, .H = 60}, cell(3));
        test({.T = 6, .B = 5, .D = 3, .H = 18, .record = true, .table = true}, cell(3, true));
        test({.T = 6, .B = 9, .D = 3, .H = 32, .reverse = true, .table = true}, cell(2));
    }
    test({.T = 40, .B = 9, .D = 8, .H = 128, .lie = Lie::batch_first}, {.heads = 2});
    test({.T = 40, .B = 9, .D = 8, .H = 33, .table = true}, {.heads = 1});
}

}  // namespace

void test_variants() {
    constexpr auto hard = Activation::hard, identity = Activation::identity;
    std::vector<std::pair<const char*, Cell>> cells = {
        {"peephole ", {.peephole = true}},
        {"coupled ", {.peephole = true, .coupled = true}},
        {"no input gate ", {.no_input_gate = true, .output = identity}},
        {"no forget gate ", {.no_forget_gate = true, .candidate = identity, .clip = 0.8}},
        {"no output gate ", {.peephole = true, .no_output_gate = true}},
        {"hard ", {.gate = hard, .candidate = hard, .output = hard, .rates = {0, 0, 0, 0.3}, .drawn = true}},
        {"expected zoneout ", {.rates = {0.2, 0.3, 0.4, 0.5}}},
        {"zoneout ", {.rates = {0.2, 0.3, 0, 0}, .drawn = true}},
        {"dropout ", {.rates = {0, 0, 0.4, 0.3}, .drawn = true}},
        {"layer norm ", {.layer_norm = true}},
        {"all ",
         {.peephole = true, .layer_norm = true, .clip = 1.5, .rates = {0.2, 0.3, 0.4, 0.3}, .drawn = true}},
    };
    for (const auto& [what, cell] : cells) {
        test_cell({.T = 5, .B = 3, .D = 4, .H = 9, .record = true}, cell, what);
        test_cell({.T = 7, .B = 5, .D = 9, .H = 33, .reverse = true, .packed = true, .lie = Lie::gaps}, cell,
                  what);
        test_cell({.T = 1, .B = 1, .D = 1, .H = 1}, cell, what);
        if (cell.rates[1] == 0) test_cell({.T = 4, .B = 2, .D = 3, .H = 17, .P = 5, .record = true}, cell, what);
        if (cell.rates[1] == 0)
            test_cell({.T = 4, .B = 2, .D = 3, .H = 8, .record = true, .held = true}, cell, what);
        test_cell({.T = 6, .B = 5, .D = 3, .H = 17, .record = true, .table = true}, cell, what);
        if (cell.rates[1] == 0)
            test_cell({.T = 5, .B = 4, .D = 3, .H = 9, .P = 5, .reverse = true, .table = true}, cell, what);
    }
    test_slstm();
    test_cell({.T = 60, .B = 13, .D = 3, .H = 65, .record = true}, cells.back().second, "all ");
    test_cell({.T = 60, .B = 1, .D = 16, .H = 48, .reverse = true}, cells.back().second, "all ");
    test_cell({.T = 40, .B = 9, .D = 17, .H = 33, .reverse = true, .table = true}, cells.back().second, "all ");
}

}  // namespace gatewright::tests
