#include "problem.h"

namespace gatewright::tests {

namespace {

// An output of (T, B, width), laid out as the problem says.
template <class T>
struct RowsOut {
    const Problem<T>& problem;
    const int64_t width;
    int64_t size = 0;
    Rows<T> rows;
    Output<T> memory;

    RowsOut(const Problem<T>& p, int64_t w) : problem(p), width(w), rows(p.place(w, &size)), memory(size) {
        rows.data = memory.data();
    }
    Rows<const T> read() const { return {rows.data, rows.step, rows.row}; }

    // Checked, and without gaps.
    std::vector<T> values(const char* name) const {
        std::vector<char> used(size, 0);
        std::vector<T> all(problem.rows * width);
        each_row(problem.steps, rows, [&](const T* row, int64_t place) {
            std::fill_n(used.begin() + (row - rows.data), width, 1);
            std::copy_n(row, width, all.begin() + place * width);
        });
        memory.check_written(name, &used);
        return all;
    }
};

template <class T>
std::vector<T> values(const char* name, Output<T>& output) {
    output.check_written(name);
    return {output.data(), output.data() + output.size()};
}

// Of an sLSTM keep in the place of which of keep and share is less, and the derivative of log f without the sign
// that says where m came from: numbers that rounding changes little.
template <class T>
void show_averaging(std::vector<T>& gates, int64_t H) {
    for (std::size_t k = 0; k < gates.size(); ++k) {
        const std::size_t gate = k / H % 4;
        if (gate == 0 && std::signbit(gates[k])) gates[k] = 1 + gates[k];
        if (gate == 1) gates[k] = std::abs(gates[k]);
    }
}

template <class T>
const T* or_null(const std::vector<T>& v) {
    return v.empty() ? nullptr : v.data();
}

}  // namespace

template <class T, class S>
Named<T> run(const Kernels<T, S>& kernels, const Problem<T>& p, const How& how) {
    const Sizes& n = p.sizes;
    const int64_t every = p.of.checkpoint * chunk_steps(n, kOperandBytes<T, S>);
    const auto [W_ih, W_hh, b_ih, b_hh, W_hr] = p.weights();
    const auto in = [](const Rows<const T>& rows) {
        return gatewright::RowsIn<S>{rows.data, rows.step, rows.row};
    };
    const auto out = [](const Rows<T>& rows) { return gatewright::RowsOut<S>{rows.data, rows.step, rows.row}; };
    const bool normed = p.of.cell.layer_norm;
    const int64_t cell_width = p.variant().cell_rows() * n.H;
    const bool record = how.keep == Keep::record, checkpoints = how.keep == Keep::checkpoints;
    Named<T> results;

    RowsOut<T> y(p, n.P);
    Output<T> h_n(n.B * n.P), c_n(n.B * cell_width), gates(record ? p.rows * 4 * n.H : 0),
        cell(record ? p.rows * n.H : 0), extra(record && normed ? p.rows * norm_width(n.H) : 0),
        kept(checkpoints ? (n.T + every - 1) / every * n.B * cell_width : 0);
    ForwardCall<T, S> call{};
    call.sizes = n;
    call.steps = p.steps;
    call.weights = {W_ih, W_hh, b_ih, b_hh, W_hr};
    call.x = in(p.x);
    call.h_0 = p.of.state ? p.h_0.data() : nullptr;
    call.c_0 = p.of.state ? p.c_0.data() : nullptr;
    call.y = out(y.rows);
    call.h_n = h_n.data();
    call.c_n = c_n.data();
    call.gates = record ? gates.data() : nullptr;
    call.cell = record ? cell.data() : nullptr;
    call.checkpoints = checkpoints ? kept.data() : nullptr;
    call.every = every;
    call.variant = p.variant();
    call.extra = extra.size() ? extra.data() : nullptr;
    call.threads = how.threads;
    call.split = how.split;
    if (p.plan) {
        const StepPlan& plan = *p.plan;
        call.table = &plan.table();
        call.sizes.T = plan.steps();
        if (plan.table().order) call.steps = {plan.steps(), n.B, plan.sizes(), plan.starts(), false};
        call.h_reset = p.h_reset.data();
        call.c_reset = p.c_reset.data();
        call.fill_kept = true;
    }
    run_forward(kernels, call);
    results["y"] = y.values("y");
    results["h_n"] = values("h_n", h_n);
    results["c_n"] = values("c_n", c_n);
    if (record) results["gates"] = values("gates", gates), results["cell"] = values("cell", cell);
    if (record && p.of.cell.heads > 0) show_averaging(results["gates"], n.H);
    if (checkpoints && !p.plan) results["checkpoints"] = values("checkpoints", kept);
    if (extra.size() && !p.plan) results["extra"] = values("extra", extra);
    if (how.keep == Keep::nothing) return results;

    RowsOut<T> dx(p, p.of.need_x ? n.D : 0);
    const int64_t wanted = p.of.need_weights;
    Output<T> dh_0(n.B * n.P), dc_0(n.B * cell_width), dW_ih(wanted * 4 * n.H * n.D),
        dW_hh(wanted * 4 * n.H * n.read()), db(wanted * 4 * n.H), dW_hr(wanted * n.projected * n.P * n.H);
    Output<T> dpeepholes(wanted * p.peepholes.size()), dgains(wanted * p.gains.size()),
        dcell_gain(wanted * p.cell_gain.size()), dcell_bias(wanted * p.cell_bias.size());
    const auto data = [](Output<T>& output) { return output.size() ? output.data() : nullptr; };
    BackwardCall<T, S> back{};
    back.sizes = call.sizes;
    back.steps = call.steps;
    back.table = call.table;
    back.h_reset = call.h_reset;
    back.c_reset = call.c_reset;
    Output<T> dh_reset(p.h_reset.size()), dc_reset(p.c_reset.size());
    back.dh_reset = data(dh_reset);
    back.dc_reset = data(dc_reset);
    back.weights = {W_ih, W_hh, b_ih, b_hh, W_hr};
    back.x = in(p.x);
    back.y = in(y.read());
    back.h_0 = p.h_0.data();
    back.c_0 = p.c_0.data();
    back.c_n = c_n.data();
    back.gates = call.gates;
    back.cell = call.cell;
    back.checkpoints = call.checkpoints;
    back.every = every;
    back.dy = in(p.dy);
    back.dgates = in(p.dgates);
    back.dcell = in(p.dcell);
    back.dh_n = or_null(p.dh_n);
    back.dc_n = or_null(p.dc_n);
    back.dx = out(p.of.need_x ? dx.rows : Rows<T>{});
    back.dh_0 = dh_0.data();
    back.dc_0 = dc_0.data();
    back.dW_ih = wanted ? dW_ih.data() : nullptr;
    back.dW_hh = wanted ? dW_hh.data() : nullptr;
    back.db = wanted ? db.data() : nullptr;
    back.dW_hr = wanted && n.projected ? dW_hr.data() : nullptr;
    back.variant = call.variant;
    back.extra = call.extra;
    back.d_variant = {data(dpeepholes), data(dgains), data(dcell_gain), data(dcell_bias), nullptr};
    back.threads = how.threads;
    back.split = how.split;
    run_backward(kernels, back);
    if (p.of.need_x) results["dx"] = dx.values("dx");
    results["dh_0"] = values("dh_0", dh_0);
    results["dc_0"] = values("dc_0", dc_0);
    if (p.plan)
        results["dh_reset"] = values("dh_reset", dh_reset), results["dc_reset"] = values("dc_reset", dc_reset);
    if (!wanted) return results;
    results["dW_ih"] = values("dW_ih", dW_ih);
    results["dW_hh"] = values("dW_hh", dW_hh);
    results["db"] = values("db", db);
    results["dW_hr"] = values("dW_hr", dW_hr);
    if (dpeepholes.size()) results["dpeepholes"] = values("dpeepholes", dpeepholes);
    if (!normed) return results;
    results["dgains"] = values("dgains", dgains);
    results["dcell_gain"] = values("dcell_gain", dcell_gain);
    results["dcell_bias"] = values("dcell_bias", dcell_bias);
    return results;
}

template Named<float> run(const Kernels<float>&, const Problem<float>&, const How&);
template Named<double> run(const Kernels<double>&, const Problem<double>&, const How&);
template Named<float> run(const Kernels<float, BFloat16>&, const Problem<float>&, const How&);

}  // namespace gatewright::tests
